"""Covariances of five types, derived from moments: maximum likelihood, shrunk, smoothed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.covariance import ledoit_wolf_shrinkage

from sklearn_densconf._array import Array, as_like, namespace
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
        return covariance + added
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


def ledoit_wolf(X: np.ndarray, codes: np.ndarray, mean: np.ndarray, covariance_type: str) -> Any:
    """Give the shrinkage of Ledoit and Wolf: one for "tied", one for each class for "full"."""
    deviation = X - mean[codes]  # (n, d)
    if covariance_type == "tied":
        return ledoit_wolf_shrinkage(deviation, assume_centered=True)
    parts = (deviation[codes == k] for k in range(mean.shape[0]))
    # a single sample deviates by 0 from its mean: there is nothing to shrink
    return np.array(
        [
            ledoit_wolf_shrinkage(part, assume_centered=True) if len(part) > 1 else 0
            for part in parts
        ]
    )


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
