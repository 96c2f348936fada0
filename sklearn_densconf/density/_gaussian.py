"""Gaussian log-densities of many classes as matrix products: pure functions on arrays.

For a diagonal covariance, ``Σ_j (x_j - μ_kj)² / σ²_kj = x² @ P.T - 2 x @ (P μ).T + Σ_j P_kj μ_kj²``
with P = 1 / σ²: two products of matrices and no array of shape (n, k, d). Centring x and μ at
the grand mean first keeps the differences of large numbers accurate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.blas import dtrmm

from sklearn_densconf._array import Array, as_like, namespace
from sklearn_densconf.density._covariances import MATRIX_TYPES
from sklearn_densconf.density._moments import Moments, grand_mean, total_variance

ROOT_LARGEST = 1e140  # a distance whose square, summed over features and scaled, is a float64
FAR = 1e150  # a deviation whose square is a float64
# The background's standard deviation is twice that of the broadest class: broader in every
# direction, so that it outweighs every class far away, and no broader, so that it is felt early.
BREADTH = 4.0
Terms = tuple[Array, Array, Array, Array, Array]  # as in Gaussians, from quadratic to steepest


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of k classes in d dimensions, ready for evaluation.

    The squared distance is that of ``_DISTANCE[covariance_type]``: ``quadratic`` holds precisions,
    or, for "tied" and "full", inverse Cholesky factors; ``linear`` and ``constant`` belong to it.
    ``log_determinant`` (k,) is log |Σ_k|. ``limit`` (d,) bounds |x - center| so that the squares
    of far points stay finite.
    """

    covariance_type: str
    center: Array
    quadratic: Array
    linear: Array
    constant: Array
    log_determinant: Array
    limit: Array


def prepare(mean: Array, covariance: Array, covariance_type: str, center: Array) -> Gaussians:
    """Prepare Gaussians for evaluation, once a fit.

    Parameters
    ----------
    mean : array of shape (k, d)
        Means.
    covariance : array
        As :func:`_covariances.derive` gives it.
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
    limit = ROOT_LARGEST / (mean.shape[1] * terms[-1])  # (d,): each feature in its own scale
    limit = namespace(mean).clip(limit, None, FAR)
    return Gaussians(covariance_type, center, *terms[:-1], limit)


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
    deviation = xp.clip(X - gaussians.center, -gaussians.limit, gaussians.limit)
    distance = _DISTANCE[gaussians.covariance_type](deviation, gaussians)
    return xp.clip(distance, 0.0, None)  # rounding of a difference can fall below 0


def log_density(X: Array, gaussians: Gaussians, scale: float = 1.0) -> Array:
    """Give log N(x; μ_k, scale Σ_k), in nats, (n, k)."""
    log_normaliser = gaussians.log_determinant + X.shape[1] * math.log(2 * math.pi * scale)
    result = squared_distance(X, gaussians)
    result *= -0.5 / scale
    result -= 0.5 * log_normaliser
    return result


def broadest(moments: Moments, covariance: Array, classes: Gaussians) -> Gaussians:
    """Give the background of classes: one Gaussian broader than each in every direction.

    Its mean is the grand mean; its covariance is ``BREADTH`` times the smallest multiple of the
    total covariance (for diagonal types: of each feature's largest variance) that is at least as
    broad as every class.
    """
    xp, mean = namespace(covariance), classes.center[None, :]
    if classes.covariance_type in MATRIX_TYPES:
        value = BREADTH * _covering(moments, covariance)
        wide = prepare(mean, value, "tied", classes.center)
    else:
        columns = 1 if classes.covariance_type == "spherical" else covariance.shape[-1]
        largest = xp.max(xp.reshape(covariance, (-1, columns)), axis=0)  # (d,) or (1,)
        value = BREADTH * xp.maximum(largest, total_variance(moments))
        wide = prepare(mean, value, "tied_diag", classes.center)
    return replace(wide, limit=classes.limit)  # so that far points are the same for both


def _covering(moments: Moments, covariance: Array) -> Array:
    """Give a multiple, at least 1, of the total covariance that no class's exceeds."""
    xp = namespace(covariance)
    share = moments.count / xp.sum(moments.count)
    deviation = moments.mean - grand_mean(moments)
    within = covariance
    if covariance.ndim == 3:
        within = xp.sum(share[:, None, None] * covariance, axis=0)
    total = within + (share[:, None] * deviation).T @ deviation
    inverse, _ = _whitening(total)
    relative = inverse @ covariance @ inverse.T
    return total * max(1.0, float(xp.max(xp.linalg.eigvalsh(relative))))


def _prepare_diag(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    precision = 1 / covariance  # (k, d)
    weighted = mean * precision
    constant = xp.sum(mean * weighted, axis=1)
    log_determinant = xp.sum(xp.log(covariance), axis=1)
    steepest = xp.sqrt(xp.max(precision, axis=0))
    return precision.T, -2 * weighted.T, constant, log_determinant, steepest


def _prepare_spherical(mean: Array, covariance: Array) -> Terms:
    """As for "diag", but for precisions (1, k), the same for every feature."""
    quadratic, linear, constant, log_determinant, steepest = _prepare_diag(
        mean, covariance[:, None]
    )
    return quadratic, linear, constant, mean.shape[1] * log_determinant, steepest


def _prepare_tied_diag(mean: Array, covariance: Array) -> Terms:
    """As for "diag", but for precisions (d, 1) and a log-determinant (1,)."""
    return _prepare_diag(mean, covariance[None, :])


def _prepare_tied(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    inverse, log_determinant = _whitening(covariance)
    white = mean @ inverse.T
    constant = xp.sum(white * white, axis=1)
    return inverse, -2 * white.T, constant, log_determinant, xp.max(xp.abs(inverse), axis=0)


def _prepare_full(mean: Array, covariance: Array) -> Terms:
    xp = namespace(mean)
    inverse, log_determinant = xp.zeros_like(covariance), xp.zeros_like(mean[:, 0])
    for k in range(mean.shape[0]):
        inverse[k, ...], log_determinant[k] = _whitening(covariance[k, ...], k)
    white = (inverse @ mean[:, :, None])[:, :, 0]
    steepest = xp.max(xp.abs(inverse), axis=(0, 1))
    return inverse, white, xp.zeros_like(log_determinant), log_determinant, steepest


def _whitening(covariance: Array, k: int | None = None) -> tuple[Array, Array]:
    """Give L⁻¹ with Σ = LLᵀ, lower triangular, and log |Σ|."""
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
    log_determinant = 2 * xp.sum(xp.log(xp.linalg.diagonal(factor)))
    eye = as_like(np.eye(covariance.shape[0]), covariance)
    if xp is np:
        inverse = solve_triangular(factor, eye, lower=True)
        return np.ascontiguousarray(inverse), log_determinant  # as _whitened passes it on
    return xp.tril(xp.linalg.solve(factor, eye)), log_determinant


_PREPARE: dict[str, Callable[[Array, Array], Terms]] = {
    "diag": _prepare_diag,
    "spherical": _prepare_spherical,
    "tied_diag": _prepare_tied_diag,
    "tied": _prepare_tied,
    "full": _prepare_full,
}


def _distance_diag(deviation: Array, of: Gaussians) -> Array:
    distance = deviation @ of.linear  # (n, k)
    distance += of.constant
    deviation *= deviation
    distance += deviation @ of.quadratic  # (n, k), or (n, 1) where it is tied
    return distance


def _distance_spherical(deviation: Array, of: Gaussians) -> Array:
    norm = namespace(deviation).sum(deviation * deviation, axis=1, keepdims=True)
    return norm * of.quadratic + deviation @ of.linear + of.constant


def _distance_tied(deviation: Array, of: Gaussians) -> Array:
    white = _whitened(deviation, of.quadratic)
    norm = namespace(white).sum(white * white, axis=1, keepdims=True)
    return white @ of.linear + of.constant + norm


def _distance_full(deviation: Array, of: Gaussians) -> Array:
    xp = namespace(deviation)
    columns = []
    for k in range(of.linear.shape[0]):
        white = _whitened(deviation, of.quadratic[k, ...]) - of.linear[k, :]
        columns.append(xp.sum(white * white, axis=1))
    return xp.stack(columns, axis=1)


def _whitened(deviation: Array, inverse: Array) -> Array:
    """Give deviation @ inverse.T; BLAS takes half the time for a triangle."""
    if namespace(deviation) is np:
        return dtrmm(1.0, inverse.T, deviation.T, trans_a=1).T  # views that Fortran takes as is
    return deviation @ inverse.T


_DISTANCE: dict[str, Callable[[Array, Gaussians], Array]] = {
    "diag": _distance_diag,
    "spherical": _distance_spherical,
    "tied_diag": _distance_diag,
    "tied": _distance_tied,
    "full": _distance_full,
}
