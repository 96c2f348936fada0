"""Covariances of five types, derived from moments: maximum likelihood, shrunk, smoothed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from sklearn_densconf._array import Array, as_like, map_rows, namespace, to_numpy
from sklearn_densconf.density._moments import Moments, at_least_one, total_variance, within_diagonal

MATRIX_TYPES = ("tied", "full")


def derive(moments: Moments, covariance_type: str, smoothing: float, shrinkage: Any) -> Array:
    """Derive the covariances from the moments.

    Parameters
    ----------
    moments : Moments
        Moments of the kind that the type needs.
    covariance_type : {"diag", "spherical", "tied_diag", "tied", "full"}
        The type.
    smoothing : float
        Added to every variance: this fraction of the largest variance of a feature.
    shrinkage : float or array of shape (k,), or None
        Weight of the mean variance times identity, for "tied" and "full".

    Returns
    -------
    array of shape (k, d), (k,), (d,), (d, d) or (k, d, d)
        Maximum-likelihood covariances, shrunk, then smoothed.
    """
    covariance = _COVARIANCE[covariance_type](moments)
    added = smoothing_variance(moments, smoothing)
    if covariance_type not in MATRIX_TYPES:
        covariance += added
        return covariance
    if shrinkage is not None:
        covariance = _shrunk(covariance, shrinkage)
    return covariance + added * _identity(covariance)


def smoothing_variance(moments: Moments, fraction: float) -> float:
    """Give the variance that smoothing adds; 1 stands for the scale of data without any."""
    largest = float(namespace(moments.mean).max(total_variance(moments)))
    return fraction * (largest if largest > 0 else 1.0)


def variances(covariance: Array, covariance_type: str) -> Array:
    """Give the variances: the diagonals where there are matrices."""
    matrix = covariance_type in MATRIX_TYPES
    return namespace(covariance).linalg.diagonal(covariance) if matrix else covariance


def fill_absent(covariance: Array, count: Array, covariance_type: str) -> Array:
    """Give a class without samples the identity: any will do, its prior is 0."""
    xp = namespace(covariance)
    if covariance_type.startswith("tied") or bool(xp.all(count > 0)):
        return covariance
    one = _identity(covariance) if covariance_type == "full" else xp.ones_like(covariance)
    present = xp.reshape(count > 0, (-1,) + (1,) * (covariance.ndim - 1))
    return xp.where(present, covariance, one)


def ledoit_wolf(X: Array, codes: Array, weight: Array, moments: Moments) -> Array:
    """Give the shrinkage of Ledoit and Wolf: one for "tied", one for each class for "full".

    As scikit-learn's, but with weights: a weight of 2 is two copies. With S the covariance of n
    samples x about their mean, and m the mean of its diagonal, it is the smaller of 1 and
    (Σ ‖x‖⁴ / n - ‖S‖²) / n over ‖S - m I‖².

    References
    ----------
    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88 (2004), section 3.
    """
    xp, count = namespace(moments.mean), moments.count
    fourth = _fourth_moments(X, codes, weight, moments)
    if moments.kind == "tied":
        count, fourth = xp.sum(count), xp.sum(fourth)
    covariance = _COVARIANCE[moments.kind](moments)
    squares = xp.sum(covariance**2, axis=(-2, -1))
    level = xp.mean(xp.linalg.diagonal(covariance), axis=-1)
    scatter = squares - moments.mean.shape[1] * level**2  # ‖S - m I‖²
    error = (fourth / count - squares) / count
    whole = error >= scatter  # as for one feature, or one sample, where both are 0
    return xp.where(
        whole, xp.ones_like(error), error / xp.where(whole, xp.ones_like(error), scatter)
    )


def _fourth_moments(X: Array, codes: Array, weight: Array, moments: Moments) -> Array:
    """Give the sum of w ‖x - μ‖⁴ over each class's samples, (k,)."""

    def squared_norms(chunk: Array, _memory: Array, codes: Array) -> Array:
        xp = namespace(chunk)
        return xp.sum((chunk - xp.take(moments.mean, codes, axis=0)) ** 2, axis=1)

    squared = to_numpy(map_rows(squared_norms, 0, X, codes)).astype(np.float64)
    sums = np.bincount(to_numpy(codes), to_numpy(weight) * squared**2, moments.count.shape[0])
    return as_like(sums, X)


def _diag(moments: Moments) -> Array:
    return moments.scatter / at_least_one(moments.count)[:, None]


def _spherical(moments: Moments) -> Array:
    return namespace(moments.mean).mean(_diag(moments), axis=1)


def _tied_diag(moments: Moments) -> Array:
    return within_diagonal(moments) / namespace(moments.mean).sum(moments.count)


def _tied(moments: Moments) -> Array:
    return moments.scatter / namespace(moments.mean).sum(moments.count)


def _full(moments: Moments) -> Array:
    return moments.scatter / at_least_one(moments.count)[:, None, None]


_COVARIANCE: dict[str, Callable[[Moments], Array]] = {
    "diag": _diag,
    "spherical": _spherical,
    "tied_diag": _tied_diag,
    "tied": _tied,
    "full": _full,
}


def _shrunk(covariance: Array, shrinkage: Any) -> Array:
    """Give (1 - a) Σ + a trace(Σ) / d I."""
    xp = namespace(covariance)
    weight = as_like(shrinkage, covariance, xp.float64)[..., None, None]
    scale = xp.mean(xp.linalg.diagonal(covariance), axis=-1)[..., None, None]
    shrunk = (1 - weight) * covariance + weight * scale * _identity(covariance)
    return xp.reshape(shrunk, covariance.shape)


def _identity(covariance: Array) -> Array:
    return as_like(np.eye(covariance.shape[-1]), covariance)
