"""The extractor against bare loops: what it adds to the cost of the network."""

import shutil
import tempfile
from collections.abc import Callable
from functools import cache, partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn
from torch.utils.data import DataLoader, Dataset

from sklearn_densconf import FeatureExtractor, _machine
from sklearn_densconf.datasets import load_mnist
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.paper._networks import LeNet5
from tests.benchmarks._harness import Case, Pair
from tests.benchmarks._inputs import DATA, imagenet_net

WORKERS = 2
FEW = "MobileNetV2, 10 calls of 8 pictures, 1,000 features and classes"
GRID = {
    "temperature": ["n_features", 1.0, 2.0, 4.0],
    "covariance_type": ["diag", "tied_diag", "tied"],
}


def _lenet_on_mnist() -> Pair:
    X = torch.from_numpy(load_mnist(DATA / "mnist")[0][:, None] / np.float32(255))
    return _extractor_and_bare_loop(LeNet5(), X, batch_size=256)


def _mobilenet_on_pictures() -> Pair:
    return _extractor_and_bare_loop(imagenet_net().mobilenet_v2(), _tensors(500), batch_size=50)


def _extractor_and_bare_loop(network: nn.Module, X: torch.Tensor, batch_size: int) -> Pair:
    extractor = FeatureExtractor(network, batch_size=batch_size, device="cpu").fit(X)
    return (
        lambda: extractor.transform(X),
        lambda: _bare_loop(network, X.split(batch_size)),
    )


def _mobilenet_on_paths() -> Pair:
    net = imagenet_net()
    network, paths = net.mobilenet_v2(), _paths(1000)
    extractor = FeatureExtractor(
        network, preprocessing=net.preprocess, batch_size=50, num_workers=WORKERS, device="cpu"
    ).fit(paths)
    loader = DataLoader(_Pictures(paths, net.preprocess), batch_size=50, num_workers=WORKERS)
    return lambda: extractor.transform(paths), lambda: _bare_loop(network, loader)


def _three_layers() -> Pair:
    network, X = imagenet_net().mobilenet_v2(), _tensors(500)
    three, one = (
        FeatureExtractor(network, layer=layer, batch_size=50, device="cpu").fit(X)
        for layer in (["conv_10", "features", None], None)
    )
    return lambda: three.transform(X), lambda: one.transform(X)


def _compiled() -> Pair:
    network, X = imagenet_net().mobilenet_v2(), _tensors(500)
    compiled, eager = (
        FeatureExtractor(network, compile=made, batch_size=50, device="cpu").fit(X)
        for made in (True, False)
    )
    return lambda: compiled.transform(X), lambda: eager.transform(X)


def _small_batches_and_network() -> Pair:
    pipe, X = _scoring_few()
    return _ten_times(partial(pipe.predict_proba, X)), _ten_times(partial(pipe[0].transform, X))


def _small_batches_and_all_threads() -> Pair:
    """Give them with small products in one thread, and in all."""
    pipe, X = _scoring_few()
    ours = _ten_times(partial(pipe.predict_proba, X))

    def peer() -> None:
        with patch.object(_machine, "MOST", 0):
            ours()

    return ours, peer


def _scoring_few() -> tuple[Pipeline, torch.Tensor]:
    """Give a pipeline of a network and 1,000 classes, and a few pictures."""
    X = _tensors(8)
    extractor = FeatureExtractor(imagenet_net().mobilenet_v2(), device="cpu").fit(X)
    d, random, y = extractor.transform(X).shape[1], np.random.default_rng(0), np.arange(20_000)
    density = GaussianDensityClassifier().fit(random.standard_normal((len(y), d)), y % 1000)
    return make_pipeline(extractor, density), X


def _ten_times(call: Callable[[], object]) -> Callable[[], object]:
    return lambda: [call() for _ in range(10)]


def _grid_search(n_folds: int) -> Pair:
    X, y = load_mnist(DATA / "mnist", split="test")
    network = LeNet5()

    def ours() -> None:
        folder = tempfile.mkdtemp()
        extractor = FeatureExtractor(network, memory=folder, device="cpu")
        pipe = make_pipeline(extractor, GaussianDensityClassifier())
        prefixed = {f"gaussiandensityclassifier__{name}": values for name, values in GRID.items()}
        GridSearchCV(pipe, prefixed, cv=n_folds, refit=False).fit(X, y)
        shutil.rmtree(folder)

    def peer() -> None:
        Z = FeatureExtractor(network, device="cpu").fit_transform(X)
        GridSearchCV(GaussianDensityClassifier(), GRID, cv=n_folds, refit=False).fit(Z, y)

    return ours, peer


class _Pictures(Dataset):
    def __init__(self, paths: list[str], preprocess: Any) -> None:
        self.paths, self.preprocess = paths, preprocess

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.preprocess(self.paths[index])


@torch.inference_mode()
def _bare_loop(network: nn.Module, batches: Any) -> np.ndarray:
    network.eval()
    return torch.cat([network(batch) for batch in batches]).numpy()


def _paths(n: int) -> list[str]:
    return sorted(map(str, (DATA / "imagenet20").glob("*/val/*/*")))[:n]


@cache
def _tensors(n: int) -> torch.Tensor:
    return torch.stack([imagenet_net().preprocess(path) for path in _paths(n)])


CASES = [
    Case(
        "FeatureExtractor, tensors in memory",
        "bare eval + inference_mode loop",
        "LeNet-5, 60,000 MNIST pictures, batch 256",
        ">= 0.95",
        _lenet_on_mnist,
    ),
    Case(
        "FeatureExtractor, tensors in memory",
        "bare eval + inference_mode loop",
        "MobileNetV2, 500 pictures, batch 50",
        ">= 0.95",
        _mobilenet_on_pictures,
    ),
    Case(
        "FeatureExtractor, paths",
        "bare DataLoader + loop, 2 workers each",
        "MobileNetV2, 1,000 pictures, batch 50",
        ">= 0.95",
        _mobilenet_on_paths,
    ),
    Case(
        "three layers in one pass",
        "one layer",
        "MobileNetV2, 500 pictures, batch 50",
        "<= 1.05",
        _three_layers,
    ),
    Case(
        "FeatureExtractor(compile=True), compiled before",
        "compile=False",
        "MobileNetV2, 500 pictures, batch 50",
        ">= 1",
        _compiled,
    ),
    Case(
        "Pipeline.predict_proba, few pictures a call",
        "its extractor alone",
        FEW,
        "<= 1.1",
        _small_batches_and_network,
    ),
    Case(
        "Pipeline.predict_proba, few pictures a call",
        "the same with small products in all threads of BLAS",
        FEW,
        ">= 1",
        _small_batches_and_all_threads,
    ),
    Case(
        "grid search with the extractor's memory",
        "features of all pictures once + grid search of the density alone",
        "12 candidates x 5 folds, LeNet-5, 10,000 MNIST pictures",
        "<= 1.2",
        partial(_grid_search, 5),
        pairs=15,
    ),
    Case(
        "grid search with the extractor's memory",
        "features of all pictures once + grid search of the density alone",
        "12 candidates x 20 folds, LeNet-5, 10,000 MNIST pictures",
        "",
        partial(_grid_search, 20),
    ),
]
