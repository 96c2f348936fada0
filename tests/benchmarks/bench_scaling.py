"""How time and bytes grow with n samples, d features and k classes: what docs/scaling.md quotes.

An exponent is the a of time ~ size^a, by least squares on the logarithms: the median, smallest and
largest of several runs over all sizes. One thread computes, so that the constants are those of one
core.
"""

import math
import pickle
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch.utils.flop_counter import FlopCounterMode

from sklearn_densconf import GaussianDensityClassifier
from tests.benchmarks._harness import Row
from tests.benchmarks._inputs import torchvision
from tests.benchmarks.bench_distributed import mobilenet, pictures

Size = dict[str, int]

RUNS = 5
SIZES = [1, 2, 4, 8]  # times the smallest


def _samples(n: int, d: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.arange(n) % k
    X = np.random.default_rng(0).standard_normal((n, d), np.float32)
    return X + y[:, None].astype(np.float32), y


def _fit(size: Size) -> Callable[[], object]:
    X, y = _samples(**size)
    return lambda: GaussianDensityClassifier().partial_fit(X, y, range(size["k"]))


def _predict(size: Size) -> Callable[[], object]:
    X, y = _samples(**size)
    density = GaussianDensityClassifier().fit(X, y)
    return lambda: density.predict_proba(X)


def _merge(size: Size) -> Callable[[], object]:
    density, other = (GaussianDensityClassifier().fit(*_samples(**size)) for _ in range(2))
    return lambda: density.merge(other)


# what is timed: how to prepare it, its middle size, and the sizes whose product is its work
OPERATIONS: dict[str, tuple[Callable[[Size], Callable[[], object]], Size, str]] = {
    "partial_fit": (_fit, {"n": 20_000, "d": 256, "k": 100}, "nd"),
    "predict_proba": (_predict, {"n": 2_000, "d": 256, "k": 256}, "ndk"),
    "merge": (_merge, {"n": 8_000, "d": 512, "k": 512}, "dk"),
}


def _growth(operation: str, by: str) -> Callable[[], Row]:
    prepare, middle, _ = OPERATIONS[operation]

    def figure() -> Row:
        sizes = [{**middle, by: middle[by] * times // 2} for times in SIZES]
        runs = _timed([prepare(size) for size in sizes])
        grown = np.log([size[by] for size in sizes])
        exponents = [float(np.polyfit(grown, np.log(run), 1)[0]) for run in runs]
        seconds = statistics.median(run[-1] for run in runs)
        others = ", ".join(f"{name} = {middle[name]:,}" for name in middle if name != by)
        return Row(
            f"exponent of the time of {operation} in {by}",
            "–",
            f"{by} = {sizes[0][by]:,} to {sizes[-1][by]:,}, {others}, float32",
            "",
            *_spread(exponents),
            unit="",
            note=f"at the largest {seconds:.3g} s",
        )

    figure.__name__ = f"{operation}_{by}"
    return figure


def _constant(operation: str) -> Callable[[], Row]:
    prepare, middle, work = OPERATIONS[operation]

    def figure() -> Row:
        size = {name: number * SIZES[-1] // 2 for name, number in middle.items()}
        numbers = math.prod(size[name] for name in work)
        constants = [seconds / numbers * 1e9 for (seconds,) in _timed([prepare(size)])]
        sizes = ", ".join(f"{name} = {number:,}" for name, number in size.items())
        return Row(
            f"time of {operation} over {' '.join(work)}",
            "–",
            f"{sizes}, float32, one core",
            "",
            *_spread(constants),
            unit="ns",
        )

    figure.__name__ = f"{operation}_constant"
    return figure


def _timed(calls: list[Callable[[], object]]) -> list[list[float]]:
    with threadpool_limits(1):
        for call in calls:
            call()
        return [[_seconds(call) for call in calls] for _ in range(RUNS)]


def bytes_of_state() -> Row:
    """Bytes that travel for a part of a fit, by numbers of the state."""
    k, d = 1_000, 1_000
    density = GaussianDensityClassifier().partial_fit(*_samples(2 * k, d, k), range(k))
    ratio = len(pickle.dumps(density)) / (k * d)
    return Row(
        "bytes of a part that is merged, diag", "k d", "d = 1,000, k = 1,000", "", *[ratio] * 3
    )


def pictures_read() -> Row:
    """Pictures that one core decodes, resizes and crops in a second."""
    paths, preprocessing = pictures()[0], mobilenet().preprocessing
    runs = _timed([lambda: [preprocessing(path) for path in paths]])
    rates = [len(paths) / seconds for (seconds,) in runs]
    return Row(
        "JPEG pictures decoded, resized and cropped to 224 px",
        "–",
        "one core",
        "",
        *_spread(rates),
        unit="a second",
    )


def bytes_of_a_picture() -> Row:
    """Mean size of a picture's file."""
    sizes = [Path(path).stat().st_size for path in pictures()[0]]
    mean = statistics.mean(sizes)
    return Row(
        "bytes of a JPEG picture, mean", "–", f"{len(sizes)} files", "", *[mean] * 3, unit=""
    )


def operations_of_vgg16() -> Row:
    """Floating-point operations of VGG-16 on one picture, as torch counts them."""
    with torch.device("meta"):
        network, picture = torchvision().models.vgg16(weights=None), torch.empty(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(picture)
    count = counter.get_total_flops() / 1e9
    return Row("operations of VGG-16", "–", "one picture of 224 px", "", *[count] * 3, unit="GFLOP")


def _spread(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


FIGURES = [
    *(_growth(operation, by) for operation in ("partial_fit", "predict_proba") for by in "ndk"),
    *(_growth("merge", by) for by in "dk"),
    *map(_constant, OPERATIONS),
    bytes_of_state,
    pictures_read,
    bytes_of_a_picture,
    operations_of_vgg16,
]
