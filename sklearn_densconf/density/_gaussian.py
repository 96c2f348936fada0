"""Gaussian log-densities of many classes as matrix products: pure functions on arrays.

For a diagonal covariance, ``Σ_j (x_j - μ_kj)² / σ²_kj = x² @ P.T - 2 x @ (P μ).T + Σ_j P_kj μ_kj²``
with P = 1 / σ²: two products of matrices and no array of shape (n, k, d). Centring x and μ at
the grand mean first keeps the differences of large numbers accurate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from sklearn_densconf._array import Array, as_like, namespace
from sklearn_densconf.density._moments import (
    Moments,
    grand_mean,
    total_variance,
    within_diagonal,
)

LARGEST = 1e290  # a squared distance that, summed and scaled, still is a float64
# The background's standard deviation is twice that of the broadest class: broader in every
# direction, so that it outweighs every class far away, and no broader, so that it is felt early.
BREADTH = 4.0
Terms = tuple[Array, Array, Array, Array]  # quadratic, linear, constant, log-determinant


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of k classes in d dimensions, ready for evaluation.

    The squared distance is that of ``_DISTANCE[covariance_type]``: ``quadratic`` holds precisions,
    or, for "tied" and "full", whitening matrices; ``linear`` (d, k) and ``constant`` (k,) belong to
    it. ``log_determinant`` (k,) is log |Σ_k|. ``limit`` bounds |x - center| so that the squares of
    far points stay finite.
    """

    covariance_type: str
    center: Array
    quadratic: Array
    linear: Array
    constant: Array
    log_determinant: Array
    limit: float


def covariances(moments: Moments, covariance_type: str, smoothing: float, shrinkage: Any) -> Array:
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
    xp = namespace(moments.mean)
    value = _COVARIANCE[covariance_type](moments)
    if covariance_type in ("tied", "full"):
        if shrinkage is not None:
            value = _shrunk(value, shrinkage)
        eye = as_like(np.eye(moments.mean.shape[1]), moments.mean)
        return value + smoothing_variance(moments, smoothing) * eye
    return value + xp.zeros_like(value) + smoothing_variance(moments, smoothing)


def smoothing_variance(moments: Moments, fraction: float) -> float:
    """Give the variance that smoothing adds; 1 stands for the scale of data without any."""
    largest = float(namespace(moments.mean).max(total_variance(moments)))
    return fraction * (largest if largest > 0 else 1.0)


def _safe_count(moments: Moments) -> Array:
    xp = namespace(moments.mean)
    return xp.where(moments.count > 0, moments.count, xp.ones_like(moments.count))


def _diag(moments: Moments) -> Array:
    return moments.scatter / _safe_count(moments)[:, None]


def _spherical(moments: Moments) -> Array:
    return namespace(moments.mean).mean(_diag(moments), axis=1)


def _tied_diag(moments: Moments) -> Array:
    return within_diagonal(moments) / namespace(moments.mean).sum(moments.count)


def _tied(moments: Moments) -> Array:
    return moments.scatter / namespace(moments.mean).sum(moments.count)


def _full(moments: Moments) -> Array:
    return moments.scatter / _safe_count(moments)[:, None, None]


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
    d = covariance.shape[-1]
    weight = as_like(shrinkage, covariance, xp.float64)[..., None, None]
    scale = xp.sum(xp.linalg.diagonal(covariance), axis=-1)[..., None, None] / d
    eye = as_like(np.eye(d), covariance)
    shrunk = (1 - weight) * covariance + weight * scale * eye
    return shrunk if covariance.ndim == 3 else xp.reshape(shrunk, (d, d))


def prepare(mean: Array, covariance: Array, covariance_type: str, center: Array) -> Gaussians:
    """Prepare Gaussians for evaluation, once a fit.

    Parameters
    ----------
    mean : array of shape (k, d)
        Means.
    covariance : array
        As :func:`covariances` gives it.
    covariance_type : {"diag", "spherical", "tied_diag", "tied", "full"}
        The type.
    center : array of shape (d,)
        Subtracted from means and samples before they are multiplied.

    Returns
    -------
    Gaussians
        What :func:`squared_distance` takes.

    Raises
    ------
    ValueError
        If a covariance is not positive definite.
    """
    terms = _PREPARE[covariance_type](mean - center, covariance)
    steepest = float(namespace(mean).max(namespace(mean).abs(terms[0])))
    if covariance_type in ("tied", "full"):
        steepest = steepest**2 * mean.shape[1]  # whitening matrices hold roots of precisions
    limit = min(1e140, (LARGEST / (mean.shape[1] * max(steepest, 1e-300))) ** 0.5)
    return Gaussians(covariance_type, center, *terms, limit=limit)


def squared_distance(X: Array, gaussians: Gaussians) -> Array:
    """Give the squared Mahalanobis distance to each class.

    Parameters
    ----------
    X : array of shape (n, d), float64
        Samples; far ones are moved to the largest distance that can be squared.
    gaussians : Gaussians
        The classes.

    Returns
    -------
    array of shape (n, k), float64
        Squared distances, at least 0.
    """
    xp = namespace(X)
    deviation = X - gaussians.center
    deviation = xp.clip(deviation, -gaussians.limit, gaussians.limit)
    distance = _DISTANCE[gaussians.covariance_type](deviation, gaussians)
    return xp.clip(distance, 0.0, None)  # rounding of a difference can fall below 0


def log_density(X: Array, gaussians: Gaussians, scale: float = 1.0) -> Array:
    """Give log N(x; μ_k, scale Σ_k), in nats, (n, k)."""
    d = X.shape[1]
    log_normaliser = gaussians.log_determinant + d * math.log(2 * math.pi * scale)
    result = squared_distance(X, gaussians)
    result *= -0.5 / scale
    result -= 0.5 * log_normaliser
    return result


def broadest(moments: Moments, covariance: Array, covariance_type: str) -> Gaussians:
    """Give the background: one Gaussian broader than every class in every direction.

    Its mean is the grand mean; its covariance is ``BREADTH`` times the smallest multiple of the
    total covariance (for diagonal types: of each feature's largest variance) that is at least as
    broad as every class.
    """
    xp = namespace(moments.mean)
    center = grand_mean(moments)
    if covariance_type in ("tied", "full"):
        value = BREADTH * _covering(moments, covariance)
        return prepare(center[None, :], value, "tied", center)
    per_class = covariance[:, None] if covariance_type == "spherical" else covariance
    per_class = xp.reshape(per_class, (-1, per_class.shape[-1]))
    largest = xp.max(per_class, axis=0)  # (d,) or (1,)
    value = BREADTH * xp.maximum(largest, total_variance(moments))
    return prepare(center[None, :], value, "tied_diag", center)


def _covering(moments: Moments, covariance: Array) -> Array:
    """Give a multiple, at least 1, of the total covariance that no class's exceeds."""
    xp = namespace(covariance)
    share = moments.count / xp.sum(moments.count)
    deviation = (moments.mean - grand_mean(moments)) * xp.sqrt(share)[:, None]
    within = covariance
    if covariance.ndim == 3:
        within = xp.sum(share[:, None, None] * covariance, axis=0)
    total = within + deviation.T @ deviation
    whiten, _ = _whitening(total)
    relative = whiten.T @ covariance @ whiten
    largest = float(xp.max(xp.linalg.eigvalsh(relative)))
    return total * max(1.0, largest)


def _prepare_diag(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    weighted = mean / covariance  # (k, d)
    constant = xp.sum(mean * weighted, axis=1)
    log_determinant = xp.sum(xp.log(covariance), axis=1)
    return (1 / covariance).T, 2 * weighted.T, constant, log_determinant


def _prepare_spherical(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    weighted = mean / covariance[:, None]
    constant = xp.sum(mean * weighted, axis=1)
    log_determinant = mean.shape[1] * xp.log(covariance)
    return 1 / covariance[None, :], 2 * weighted.T, constant, log_determinant


def _prepare_tied_diag(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    weighted = mean / covariance
    constant = xp.sum(mean * weighted, axis=1)
    log_determinant = xp.sum(xp.log(covariance)) + xp.zeros_like(constant)
    return 1 / covariance[:, None], 2 * weighted.T, constant, log_determinant


def _prepare_tied(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    whiten, log_determinant = _whitening(covariance)
    white = mean @ whiten
    constant = xp.sum(white * white, axis=1)
    return whiten, 2 * white.T, constant, log_determinant + xp.zeros_like(constant)


def _prepare_full(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    pairs = [_whitening(covariance[k, ...], k) for k in range(mean.shape[0])]
    whiten = xp.stack([pair[0] for pair in pairs])  # (k, d, d)
    offset = xp.stack([mean[k, :] @ whiten[k, ...] for k in range(mean.shape[0])])
    log_determinant = xp.stack([pair[1] for pair in pairs])
    return whiten, offset, xp.zeros_like(log_determinant), log_determinant


def _whitening(covariance: Array, k: int | None = None) -> tuple[Array, Array]:
    """Give W with WᵀΣW = I, from Σ = LLᵀ, and log |Σ|."""
    xp = namespace(covariance)
    try:
        factor = xp.linalg.cholesky(covariance)
    except Exception as error:  # each array library has its own class for it
        of = "" if k is None else f" of class number {k}"
        raise ValueError(
            f"the covariance{of} is not positive definite: its class has fewer different samples "
            "than features, or features are linear functions of others. Set shrinkage='auto' or a "
            "float in (0, 1], or raise var_smoothing"
        ) from error
    eye = as_like(np.eye(covariance.shape[0]), covariance)
    log_determinant = 2 * xp.sum(xp.log(xp.linalg.diagonal(factor)))
    return xp.linalg.solve(factor, eye).T, log_determinant


_PREPARE: dict[str, Callable[[Array, Array], Terms]] = {
    "diag": _prepare_diag,
    "spherical": _prepare_spherical,
    "tied_diag": _prepare_tied_diag,
    "tied": _prepare_tied,
    "full": _prepare_full,
}


def _distance_diag(deviation: Array, of: Gaussians) -> Array:
    distance = (deviation * deviation) @ of.quadratic  # (n, k), or (n, 1) where it is tied
    return distance - deviation @ of.linear + of.constant


def _distance_spherical(deviation: Array, of: Gaussians) -> Array:
    norm = namespace(deviation).sum(deviation * deviation, axis=1, keepdims=True)
    return norm * of.quadratic - deviation @ of.linear + of.constant


def _distance_tied(deviation: Array, of: Gaussians) -> Array:
    white = deviation @ of.quadratic
    norm = namespace(deviation).sum(white * white, axis=1, keepdims=True)
    return norm - white @ of.linear + of.constant


def _distance_full(deviation: Array, of: Gaussians) -> Array:
    xp = namespace(deviation)
    columns = []
    for k in range(of.linear.shape[0]):
        white = deviation @ of.quadratic[k, ...] - of.linear[k, :]
        columns.append(xp.sum(white * white, axis=1))
    return xp.stack(columns, axis=1)


_DISTANCE: dict[str, Callable[[Array, Gaussians], Array]] = {
    "diag": _distance_diag,
    "spherical": _distance_spherical,
    "tied_diag": _distance_diag,
    "tied": _distance_tied,
    "full": _distance_full,
}
