"""DeepFool against foolbox's on the same network, pictures, batches and candidates.

Both give the same perturbations (checked here to 2 % in the mean norm, and in their success), so
the ratio is that of equal work.
"""

import os
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sklearn_densconf.adversarial import deepfool
from sklearn_densconf.datasets import load_mnist
from sklearn_densconf.paper._networks import LeNet5
from tests.benchmarks._harness import Case, Pair

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports an old name of scipy's
    import foolbox

DEFAULT_DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
DATA = Path(os.environ.get("DENSCONF_DATA") or DEFAULT_DATA)
BATCH_SIZE = 256
TOLERANCE = 0.02

Bounds = tuple[float, float]


@cache
def _trained_lenet() -> LeNet5:
    images, y = load_mnist(DATA / "mnist", split="train")
    X = torch.from_numpy(images[:, None] / np.float32(255))
    torch.manual_seed(0)
    network = LeNet5()
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for rows in torch.arange(300 * 128).split(128):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(X[rows]), torch.as_tensor(y[rows])).backward()
        optimiser.step()
    return network.eval()


def _against_foolbox(n_samples: int, bounds: Bounds | None) -> Pair:
    network = _trained_lenet()
    images, _ = load_mnist(DATA / "mnist", split="test")
    X = torch.from_numpy(images[:n_samples, None] / np.float32(255))
    ours = partial(deepfool, network, X, bounds=bounds, batch_size=BATCH_SIZE, device="cpu")
    theirs = partial(_foolbox, network, X, bounds or (-1e3, 1e3))
    _check_equal(ours(), *theirs(), X)
    return ours, theirs


def _foolbox(
    network: nn.Module, X: torch.Tensor, bounds: Bounds
) -> tuple[torch.Tensor, torch.Tensor]:
    model = foolbox.PyTorchModel(network, bounds=bounds, device="cpu")
    attack = foolbox.attacks.L2DeepFoolAttack(steps=50, candidates=10, overshoot=0.02)
    parts = [
        attack(model, batch, network(batch).argmax(1), epsilons=None)
        for batch in X.split(BATCH_SIZE)
    ]
    return torch.cat([part[0] for part in parts]), torch.cat([part[2] for part in parts])


def _check_equal(
    ours: object, their_pictures: torch.Tensor, their_success: torch.Tensor, X: torch.Tensor
) -> None:
    their_norms = (their_pictures - X).flatten(1).norm(dim=1)
    torch.testing.assert_close(ours.norms.mean(), their_norms.mean(), rtol=TOLERANCE, atol=0)
    torch.testing.assert_close(ours.success, their_success)


CASES = [
    Case(
        "DeepFool, pixels free",
        "foolbox",
        "LeNet-5, 1,000 MNIST pictures, mean norms equal",
        ">= 1",
        partial(_against_foolbox, 1000, None),
    ),
    Case(
        "DeepFool, pixels kept in [0, 1]",
        "foolbox",
        "LeNet-5, 256 MNIST pictures, mean norms equal",
        ">= 1",
        partial(_against_foolbox, 256, (0, 1)),
    ),
]
