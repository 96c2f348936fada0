"""The densities against scikit-learn's and pytorch-ood's, and against the bare arithmetic."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.naive_bayes import GaussianNB
from threadpoolctl import threadpool_info

from sklearn_densconf import GaussianDensityClassifier
from sklearn_densconf._machine import keep_freed_memory
from tests.benchmarks._harness import Case, Pair, Row
from tests.benchmarks._inputs import torchvision

N, D, K = 5_000, 1_000, 1_000
LARGE = f"{N:,} x {D:,}, {K:,} classes"
SHARE = 0.1  # of shrinkage: classes of 100 samples have singular covariances in 512 dimensions
SHORT = 25  # pairs of what takes less than a second
TIED, FULL = "10,000 x 512, 100 classes", f"10,000 x 512, 100 classes, shrinkage {SHARE}"
Data = tuple[np.ndarray, np.ndarray]


def _samples(n: int, d: int, k: int, dtype: Any = np.float64) -> Data:
    """Give n samples of k classes around centres of their own."""
    random, y = np.random.default_rng(0), np.arange(n) % k
    return (random.standard_normal((n, d)) + random.standard_normal((k, d))[y]).astype(dtype), y


def _predict(n: int, d: int, k: int, dtype: Any = np.float64, times: int = 1) -> Pair:
    """Give predict_proba of ours and of GaussianNB, fitted to 20 samples a class."""
    X, y = _samples(max(n, 20 * k), d, k, dtype)
    ours, peer = _fitted(GaussianDensityClassifier(), X, y), _fitted(GaussianNB(), X, y)
    return _repeated(ours.predict_proba, X[:n], times), _repeated(peer.predict_proba, X[:n], times)


def _predict_with_kept_memory() -> Pair:
    """Let this process keep the memory of GaussianNB's temporaries, 20 MB each, from here on."""
    keep_freed_memory()
    return _predict(N, D, K, np.float32)


def _predict_and(dtype: Any, product: Callable[[np.ndarray], Callable[[], object]]) -> Pair:
    X, y = _samples(20 * K, D, K, dtype)
    return partial(_fitted(GaussianDensityClassifier(), X, y).predict_proba, X[:N]), product(X[:N])


def _two_products(X: np.ndarray) -> Callable[[], object]:
    """Give the product of (x, x²) with weights of all classes, as one."""
    weights = np.ones((2 * D, K), X.dtype)
    return partial(np.matmul, np.hstack([X, X * X]), weights)


def _one_product(X: np.ndarray) -> Callable[[], object]:
    return partial(np.matmul, X, np.ones((D, K), X.dtype))


def _fit(n: int, d: int, k: int) -> Pair:
    X, y = _samples(n, d, k)
    return partial(GaussianDensityClassifier().fit, X, y), partial(GaussianNB().fit, X, y)


def _fit_and_sum(n: int, d: int, k: int) -> Pair:
    X, y = _samples(n, d, k)
    return partial(GaussianDensityClassifier().fit, X, y), partial(X.sum, axis=0)


def _fit_and_predict(ours: BaseEstimator, peer: BaseEstimator) -> Pair:
    X, y = _samples(10_000, 512, 100)
    return (lambda: _fitted(ours, X, y).predict_proba(X)), (
        lambda: _fitted(peer, X, y).predict_proba(X)
    )


def _detect(score: Callable[[np.ndarray, np.ndarray], object], peer: str, **options: Any) -> Pair:
    """Give fit and scores of ours and of a detector of pytorch-ood, on the same features."""
    torchvision()  # pytorch-ood imports it
    from pytorch_ood import detector

    X, y = _samples(10_000, 512, 100, np.float32)
    z, labels = torch.from_numpy(X), torch.from_numpy(y)

    def theirs() -> object:
        fitted = getattr(detector, peer)(None, **options).fit_features(z, labels)
        return fitted.predict_features(z)

    return partial(score, X, y), theirs


def _nearest(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _fitted(GaussianDensityClassifier("tied"), X, y).mahalanobis(X).min(axis=1)


def _evidence(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    full = GaussianDensityClassifier("full", shrinkage=SHARE)
    return _fitted(full, X, y).score_samples(X)


def _fitted(model: Any, X: np.ndarray, y: np.ndarray) -> Any:
    return model.fit(X, y)


def _repeated(call: Callable[[Any], object], X: np.ndarray, times: int) -> Callable[[], object]:
    return lambda: [call(X) for _ in range(times)]


def float32_error() -> Row:
    """What evaluation in float32 would cost: errors of log-densities, beside a proven bound.

    With u = 2⁻²⁴, the two products of d terms err by at most γ = 2 d u / (1 - 2 d u) times the sum
    of their terms' sizes, whatever the order of summation (Higham, "Accuracy and stability of
    numerical algorithms", section 3.1); the terms are those after centring.
    """
    X, y = _samples(20 * K, D, K)
    density = _fitted(GaussianDensityClassifier(), X, y)
    deviation, means = X[:N] - X.mean(axis=0), density.means_ - X.mean(axis=0)
    precision = 1 / density.covariances_
    weights = np.hstack([-2 * means * precision, precision]).T  # (2 d, k)
    terms = np.hstack([deviation, deviation**2])  # (n, 2 d)
    exact = terms @ weights
    error = np.abs(terms.astype(np.float32) @ weights.astype(np.float32) - exact) / 2
    bound = 2 * D * 2.0**-24 * (np.abs(terms) @ np.abs(weights)) / 2
    return Row(
        "log-density by float32 products: largest error in nats",
        "float64 products",
        LARGE,
        "",
        *[float(error.max())] * 3,
        unit="nats",
        note=f"the proven bound is {float(np.median(bound)):.3g} nats (median)",
    )


def float64_by_idle_kernels() -> Row:
    """Run the float64 case with the AVX-512 kernels that OpenBLAS did not choose."""
    return _by_idle_kernels("predict_proba, diag, float64")


def float32_by_idle_kernels() -> Row:
    """Run the float32 case with them."""
    return _by_idle_kernels("predict_proba, diag, float32")


def _by_idle_kernels(name: str) -> Row:
    code = f"""if True:
    import dataclasses, json
    from tests.benchmarks import bench_density, _harness
    case = next(case for case in bench_density.CASES if case.name == {name!r})
    print(json.dumps(dataclasses.asdict(_harness.measure(case))))"""
    command, told = [sys.executable, "-c", code], {"OPENBLAS_CORETYPE": "SkylakeX"}
    run = subprocess.run(command, env=os.environ | told, check=True, stdout=subprocess.PIPE)
    row = Row(**json.loads(run.stdout))
    return replace(row, name=f"{row.name}, OPENBLAS_CORETYPE=SkylakeX", goal="")


def _are_kernels_idle() -> bool:
    """Tell whether the CPU has AVX-512, and numpy's OpenBLAS does without."""
    about = Path("/proc/cpuinfo")
    blas = {str(of.get("architecture")) for of in threadpool_info() if of["user_api"] == "blas"}
    has_avx512 = about.exists() and "avx512f" in about.read_text()
    return has_avx512 and not blas & {"SkylakeX", "Cooperlake", "SapphireRapids"}


CASES = [
    Case("predict_proba, diag, float64", "GaussianNB", LARGE, ">= 70", partial(_predict, N, D, K)),
    Case(
        "predict_proba, diag, float64",
        f"bare product with as many multiplications, ({N:,} x {2 * D:,}) @ ({2 * D:,} x {K:,})",
        LARGE,
        "<= 1.5",
        partial(_predict_and, np.float64, _two_products),
    ),
    Case(
        "predict_proba, diag, float64",
        f"half of them: one product, ({N:,} x {D:,}) @ ({D:,} x {K:,})",
        LARGE,
        "",
        partial(_predict_and, np.float64, _one_product),
    ),
    Case(
        "predict_proba, diag, float32",
        "GaussianNB on the same float32",
        LARGE,
        ">= 40",
        partial(_predict, N, D, K, np.float32),
    ),
    Case(
        "predict_proba, diag, float32: what sums in float64 cost",
        "bare float32 product with as many multiplications",
        LARGE,
        "",
        partial(_predict_and, np.float32, _two_products),
    ),
    Case(
        "predict_proba, diag",
        "GaussianNB",
        "50,000 x 10, 10 classes",
        ">= 1.5",
        partial(_predict, 50_000, 10, 10),
    ),
    Case(
        "predict_proba, diag",
        "GaussianNB",
        "1 x 10, 10 classes, 500 times",
        "<= 1",
        partial(_predict, 1, 10, 10, times=500),
    ),
    Case(
        "fit, diag",
        "GaussianNB",
        "20,000 x 1,000, 1,000 classes",
        ">= 2",
        partial(_fit, 20_000, D, K),
        pairs=SHORT,
    ),
    Case(
        "fit, diag",
        "GaussianNB",
        "60,000 x 10, 10 classes",
        "<= 1",
        partial(_fit, 60_000, 10, 10),
        pairs=SHORT,
    ),
    Case(
        "fit, diag",
        "X.sum(axis=0)",
        "20,000 x 1,000, 1,000 classes",
        "<= 8",
        partial(_fit_and_sum, 20_000, D, K),
        pairs=SHORT,
    ),
    Case(
        "fit, diag",
        "X.sum(axis=0)",
        "60,000 x 10, 10 classes",
        "<= 8",
        partial(_fit_and_sum, 60_000, 10, 10),
        pairs=SHORT,
    ),
    *(
        Case(
            "fit + predict_proba, tied",
            f"LinearDiscriminantAnalysis({solver!r})",
            TIED,
            ">= 1",
            partial(
                _fit_and_predict,
                GaussianDensityClassifier("tied"),
                LinearDiscriminantAnalysis(solver=solver),
            ),
        )
        for solver in ("svd", "lsqr")
    ),
    Case(
        "fit + predict_proba, full",
        "QuadraticDiscriminantAnalysis('eigen')",
        FULL,
        ">= 1",
        partial(
            _fit_and_predict,
            GaussianDensityClassifier("full", shrinkage=SHARE),
            QuadraticDiscriminantAnalysis(solver="eigen", shrinkage=SHARE),
        ),
    ),
    Case(
        "fit + mahalanobis, tied",
        "pytorch-ood Mahalanobis",
        f"{TIED}, float32",
        ">= 1",
        partial(_detect, _nearest, "Mahalanobis"),
    ),
    Case(
        "fit + score_samples, full",
        "pytorch-ood GMM",
        f"{FULL}, float32",
        ">= 1",
        partial(_detect, _evidence, "GMM", reg=SHARE),
    ),
    Case(
        "predict_proba, diag, float32",
        "GaussianNB on the same float32, in a process that does not give freed memory back",
        LARGE,
        ">= 40",
        _predict_with_kept_memory,
    ),
]
FIGURES = [float32_error]
if _are_kernels_idle():
    FIGURES += [float64_by_idle_kernels, float32_by_idle_kernels]
