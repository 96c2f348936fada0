"""Start-up and memory: what importing costs, and what grows with the data.

Memory is what the system counts (Linux's VmHWM, the peak of the resident set), in processes of
their own.
"""

import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from sklearn_densconf import GaussianDensityClassifier
from tests.benchmarks._harness import Row

N_IMPORTS = 15
STREAM, D, K = 2_000_000, 1_000, 100
BATCH = 10_000
MB = 1e6


def import_package() -> Row:
    """Milliseconds that the package takes beyond scikit-learn; it imports little at first."""
    return _import_time("import sklearn_densconf", "import sklearn", "<= 50")


def import_classifier() -> Row:
    """Milliseconds that the classifier takes beyond GaussianNB."""
    return _import_time(
        "from sklearn_densconf import GaussianDensityClassifier",
        "from sklearn.naive_bayes import GaussianNB",
        "",
    )


def _import_time(ours: str, peer: str, goal: str) -> Row:
    more = sorted(1000 * (_started(ours) - _started(peer)) for _ in range(N_IMPORTS))
    return Row(
        f"`{ours}`, beyond",
        f"`{peer}`",
        f"fresh processes, {N_IMPORTS} pairs",
        goal,
        statistics.median(more),
        more[0],
        more[-1],
        unit="ms",
    )


def _started(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def peak_of_predict_float64() -> Row:
    """Peak of predict_proba beyond its result."""
    return _peak_of_predict("float64")


def peak_of_predict_float32() -> Row:
    """Peak of predict_proba beyond its result, on float32."""
    return _peak_of_predict("float32")


def _peak_of_predict(dtype: str) -> Row:
    return Row(
        f"peak memory of predict_proba beyond its result, {dtype}",
        "–",
        "50,000 x 1,000, 1,000 classes",
        "<= 64",
        *[_elsewhere(f"peak_beyond_result({dtype!r})")] * 3,
        unit="MB",
    )


def peak_beyond_result(dtype: str) -> float:
    """Give the megabytes that one predict_proba takes beyond its result."""
    X, y = _batch(0, 20 * K, 1_000)
    density = GaussianDensityClassifier().fit(X.astype(dtype), y)
    X = np.concatenate([_batch(part, 5_000, 1_000)[0].astype(dtype) for part in range(10)])
    density.predict_proba(X[:1])  # what is derived once
    before = _reset_peak()
    result = density.predict_proba(X)
    return (_peak() - before - result.nbytes) / MB


def growth_over_chunks() -> Row:
    """Peak of a fit in 100 chunks beyond that of one in 10 chunks of the same size."""
    peaks = [_elsewhere(f"peak_of_chunks({n})") for n in (10, 100)]
    return Row(
        "peak memory of a fit, 100 chunks beyond 10",
        f"{peaks[0]:.3g} MB of 10 chunks",
        f"chunks of {BATCH:,} x {D:,} float32, {K} classes",
        "<= 8",
        *[peaks[1] - peaks[0]] * 3,
        unit="MB",
        note="flat",
    )


def peak_of_chunks(n_chunks: int) -> float:
    """Give the megabytes that fit_batches takes beyond the first chunk."""
    chunks = (_batch(part, BATCH, K) for part in range(n_chunks))
    GaussianDensityClassifier().fit_batches([next(chunks)], range(K))
    before = _reset_peak()
    GaussianDensityClassifier().fit_batches(chunks, range(K))
    return (_peak() - before) / MB


def stream() -> Row:
    """Fit a stream that is never whole; compare with the closed form."""
    after_first, after_all, error, seconds = _elsewhere("fitted_stream()")
    return Row(
        f"growth of the resident set over a stream of {STREAM:,} x {D:,} float32",
        f"{after_first:.4g} MB after its first 20 batches",
        f"fit_batches, batches of {BATCH:,}, {K} classes",
        "<= 8",
        *[after_all - after_first] * 3,
        unit="MB",
        note=f"{seconds:.0f} s; from the closed form by {error:.1g}, relative, at most",
    )


def fitted_stream() -> tuple[float, float, float, float]:
    """Give resident megabytes early and at the end, the relative error, and seconds."""
    resident, start = [], time.perf_counter()

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for part in range(STREAM // BATCH):
            resident.append(_status("VmRSS"))
            yield _known_batch(part)

    density = GaussianDensityClassifier(var_smoothing=0.0).fit_batches(batches(), range(K))
    resident.append(_status("VmRSS"))
    mean, variance = _closed_form()
    error = max(
        float(np.abs(density.means_ / mean - 1).max()),
        float(np.abs(density.covariances_ / variance - 1).max()),
    )
    return resident[20] / MB, resident[-1] / MB, error, time.perf_counter() - start


def _known_batch(part: int) -> tuple[np.ndarray, np.ndarray]:
    """Give whole numbers, exact in float32: of each class, 0 ... m - 1 in turn, at its offset."""
    rank = np.arange(part * BATCH, (part + 1) * BATCH) // K  # the how-manieth of its class
    y = np.arange(BATCH) % K
    values = (rank[:, None] + np.arange(D)) % _M
    return (values + 10.0 * (y[:, None] + 1)).astype(np.float32), y


def _closed_form() -> tuple[np.ndarray, float]:
    """Give mean (k, 1) and variance of 0 ... m - 1, each as often."""
    assert STREAM % (K * _M) == 0
    return (_M - 1) / 2 + 10.0 * (np.arange(K)[:, None] + 1), (_M**2 - 1) / 12


_M = 1_000


def _batch(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    random, y = np.random.default_rng(seed), np.arange(n) % k
    return random.standard_normal((n, D), np.float32) + np.float32(y[:, None] % 10), y


def _elsewhere(call: str) -> Any:
    """Call a function of this module in a process of its own."""
    code = f"from tests.benchmarks import bench_footprint as here; print(here.{call})"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    values = [float(value) for value in run.stdout.strip("() \n").split(",")]
    return values[0] if len(values) == 1 else values


def _reset_peak() -> float:
    """Let the peak start from what is resident now, and give that, in bytes."""
    ctypes.CDLL(None).malloc_trim(0)  # else memory freed before would be used again, uncounted
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return _status("VmRSS")


def _peak() -> float:
    return _status("VmHWM")


def _status(name: str) -> float:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name))
    return float(line.split()[1]) * 1024


FIGURES = [
    import_package,
    import_classifier,
    peak_of_predict_float64,
    peak_of_predict_float32,
    growth_over_chunks,
    stream,
]
