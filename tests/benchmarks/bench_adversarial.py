"""DeepFool against foolbox's, on the same network and pictures, with equal norms."""

import warnings

import numpy as np
import torch

from sklearn_densconf.adversarial import deepfool
from sklearn_densconf.datasets import load_mnist
from sklearn_densconf.paper._train import train_lenet5
from tests.benchmarks._harness import Case, Pair
from tests.benchmarks._inputs import DATA

N = 1000


def _pictures(split: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = load_mnist(DATA / "mnist", split=split)
    return X[:n, None] / np.float32(255), y[:n]


def _deepfool() -> Pair:
    import foolbox

    network = train_lenet5(*_pictures("train", 20_000), epochs=1)
    X = torch.from_numpy(_pictures("test", N)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02)
    labels = network(X).argmax(1)

    def ours() -> float:
        return float(deepfool(network, X, bounds=(0, 1), device="cpu").norms.mean())

    def peer() -> float:
        adversarial = attack(model, X, labels, epsilons=None)[0]
        return float((adversarial - X).flatten(1).norm(dim=1).mean())

    norm, wanted = ours(), peer()
    if abs(norm - wanted) > 0.02 * wanted:
        raise AssertionError(f"mean norms differ by more than 2 %: {norm} and {wanted}")
    return ours, peer


CASES = [
    Case(
        "DeepFool, equal mean norms to 2 %",
        "foolbox",
        f"LeNet-5, {N:,} MNIST pictures",
        ">= 1",
        _deepfool,
    ),
]
