"""Two workers of one thread against one: what a second core is worth.

The one worker is this process, held to one thread, so that it pays for no traffic; it keeps freed
memory as workers do. Both give the same numbers to 1e-9 (checked here).
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed
from sklearn_densconf._machine import keep_freed_memory
from tests.benchmarks._harness import Case, Pair
from tests.benchmarks._inputs import DATA

N_SHARDS = 8
N_PICTURES = 400
N_CLASSES = 100


def _features_from_paths() -> Pair:
    paths = pictures()[0]
    extractor = mobilenet().fit(paths)

    def features() -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            method = {"method": "transform", "shard_size": N_PICTURES // N_SHARDS}
            return np.array(distributed.predict(extractor, paths, folder, **method))

    return _two_workers_and_one(features)


def _fit_on_pictures() -> Pair:
    paths, y = pictures()
    shards = [(paths[part::N_SHARDS], y[part::N_SHARDS]) for part in range(N_SHARDS)]
    return _two_workers_and_one(
        partial(_fitted, make_pipeline(mobilenet(), GaussianDensityClassifier()), shards, range(20))
    )


def _fit_on_files_of_features() -> Pair:
    folder = Path(tempfile.mkdtemp())
    random = np.random.default_rng(0)
    for number in range(N_SHARDS):
        y = random.integers(N_CLASSES, size=20_000)
        X = random.standard_normal((len(y), 500), np.float32) + y[:, None].astype(np.float32)
        np.savez(folder / f"{number}.npz", X=X, y=y)
    shards = [partial(_load, path) for path in sorted(folder.iterdir())]
    return _two_workers_and_one(
        partial(_fitted, GaussianDensityClassifier(), shards, range(N_CLASSES))
    )


def mobilenet() -> FeatureExtractor:
    """Give MobileNetV2 with real weights; workers can import it."""
    sys.path.append(str(DATA.parent))  # loky gives it to the workers, which import the network
    net = import_module("imagenet_net")
    return FeatureExtractor(
        net.mobilenet_v2(), preprocessing=net.preprocess, batch_size=10, device="cpu"
    )


def pictures() -> tuple[list[str], np.ndarray]:
    """Give paths and labels of pictures of all classes."""
    every = sorted(map(str, (DATA / "imagenet20").glob("*/val/*/*")))
    paths = every[:: len(every) // N_PICTURES][:N_PICTURES]
    return paths, np.unique([Path(path).parent.name for path in paths], return_inverse=True)[1]


def _load(path: Path) -> tuple[np.ndarray, np.ndarray]:
    content = np.load(path)
    return content["X"], content["y"]


def _fitted(model: Any, shards: list[Any], classes: range) -> np.ndarray:
    density = distributed.fit(model, shards, classes)
    density = getattr(density, "steps", [("", density)])[-1][1]
    return np.concatenate([density.means_, density.covariances_])


def _two_workers_and_one(call: Callable[[], np.ndarray]) -> Pair:
    def two() -> np.ndarray:
        with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
            return call()

    def one() -> np.ndarray:
        with joblib.parallel_config("sequential"), threadpool_limits(1):
            return call()

    keep_freed_memory()
    torch.set_num_threads(1)  # `two` computes in other processes
    np.testing.assert_allclose(two(), one(), rtol=1e-9, atol=1e-9)
    return two, one


CASES = [
    Case(
        "features of paths, two workers",
        "one worker, one thread each",
        f"MobileNetV2, {N_PICTURES} pictures, 8 shards, into a folder",
        ">= 1.6",
        _features_from_paths,
        pairs=9,
    ),
    Case(
        "distributed.fit of a pipeline, two workers",
        "one worker, one thread each",
        f"MobileNetV2, {N_PICTURES} pictures, 8 shards, 20 classes",
        ">= 1.6",
        _fit_on_pictures,
        pairs=9,
    ),
    Case(
        "distributed.fit of a density, two workers",
        "one worker, one thread each",
        "8 files of 20,000 x 500 float32, 100 classes",
        ">= 1.6",
        _fit_on_files_of_features,
        pairs=25,
    ),
]
