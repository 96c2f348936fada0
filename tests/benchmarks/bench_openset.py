"""The open-set classifier: what it adds to a network, to one Gaussian, and beside pytorch-ood."""

from functools import cache

import numpy as np
import torch

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, OpenSetClassifier
from tests.benchmarks._harness import Case, Pair
from tests.benchmarks._inputs import DATA, imagenet_net, torchvision

D, K = 1280, 1000
N_PICTURES = 100
N_HELD_OUT = 2_000
N_TRAINED = 5_000


@cache
def _samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give features around class means, rectified, with logits, float32; and labels."""
    random = np.random.default_rng(0)
    y = random.permutation(n) % K  # pytorch-ood takes no class without samples
    features = np.abs(random.standard_normal((n, D), np.float32))
    logits = random.standard_normal((n, K), np.float32)
    features[np.arange(n), y] += 3
    logits[np.arange(n), y] += 8
    return np.hstack([features, logits]), y


def _open_set(X: np.ndarray, y: np.ndarray) -> OpenSetClassifier:
    held_out = X[:N_HELD_OUT], y[:N_HELD_OUT]
    return OpenSetClassifier().fit(X, y, X_val=held_out[0], y_val=held_out[1])


def _beside_the_network() -> Pair:
    net = imagenet_net()
    paths = sorted((DATA / "imagenet20").glob("*/val/*/*"))[:N_PICTURES]
    pictures = torch.stack([net.preprocess(path) for path in paths])
    extractor = FeatureExtractor(
        net.mobilenet_v2(), layer=["features", "output"], batch_size=50, device="cpu"
    ).fit(pictures)
    model, Z = _open_set(*_samples(N_TRAINED)), extractor.transform(pictures)
    return lambda: model.predict_proba(Z), lambda: extractor.transform(pictures)


def _beside_one_gaussian() -> Pair:
    X, y = _samples(100_000)
    features = np.ascontiguousarray(X[:, :D])
    return lambda: _open_set(X, y), lambda: GaussianDensityClassifier("tied").fit(features, y)


def _beside_pytorch_ood() -> Pair:
    torchvision()  # pytorch-ood imports it
    from pytorch_ood import detector

    X, y = _samples(N_TRAINED)
    features, labels = torch.from_numpy(X[:, :D].copy()), torch.from_numpy(y)
    theirs = [
        kind(None).fit_features(features, labels) for kind in (detector.Mahalanobis, detector.RMD)
    ]
    model, few = _open_set(X, y), slice(N_TRAINED // 50)  # of all, theirs take minutes
    return (
        lambda: model.predict_proba(X[few]),
        lambda: [fitted.predict_features(features[few]) for fitted in theirs],
    )


CASES = [
    Case(
        "OpenSetClassifier.predict_proba",
        "the extraction that it follows",
        f"MobileNetV2, {N_PICTURES} pictures, {D:,} features, {K:,} classes",
        "<= 0.03",
        _beside_the_network,
    ),
    Case(
        "OpenSetClassifier.fit, 2,000 held-out pictures",
        "one tied Gaussian",
        f"100,000 x {D:,}, {K:,} classes, float32",
        "<= 1.3",
        _beside_one_gaussian,
    ),
    Case(
        "OpenSetClassifier.predict_proba",
        "pytorch-ood Mahalanobis + RMD, predict_features",
        f"100 x {D:,}, {K:,} classes, float32",
        ">= 20",
        _beside_pytorch_ood,
    ),
]
