"""Gaussian log-densities of many classes as matrix products: pure functions on arrays.

For a diagonal covariance, ``Σ_j (x_j - μ_kj)² / σ²_kj = x² @ P.T - 2 x @ (P μ).T + Σ_j P_kj μ_kj²``
with P = 1 / σ²: two products of matrices and no array of shape (n, k, d). Centring x and μ at
the grand mean first keeps the differences of large numbers accurate.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg.lapack import dtrtri

from sklearn_densconf._array import Array, as_like, namespace
from sklearn_densconf.density._covariances import MATRIX_TYPES
from sklearn_densconf.density._moments import Moments, grand_mean, total_variance

ROOT_LARGEST = 1e140  # a distance whose square, summed over features and scaled, is a float64
FAR = 1e150  # a deviation whose square is a float64
# The background's standard deviation is twice that of the broadest class: broader in every
# direction, so that it outweighs every class far away, and no broader, so that it is felt early.
BREADTH = 4.0
# So many rows of a triangle are one block: LAPACK inverts it in one thread. The rest is left to
# numpy's products, since scipy's BLAS has threads of its own, which wait milliseconds for numpy's.
BLOCK = 128
Terms = tuple[Array, Array, Array, Array, Array]  # as in Gaussians, from quadratic to steepest


@dataclass(frozen=True)
class Gaussians:
    """Gaussians of k classes in d dimensions, ready for evaluation.

    The squared distance is ``constant`` plus what ``_ADD_DISTANCE[covariance_type]`` makes of
    ``linear`` and of ``quadratic``: precisions, or, for "tied" and "full", inverse Cholesky
    factors. ``log_determinant`` (k,) is log |Σ_k|. ``limit`` (d,) bounds |x - center| so that the
    squares of far points stay finite.
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
    out = _room(X, gaussians)
    write_squared_distance(out, X + 0.0, gaussians)
    return out


def log_density(X: Array, gaussians: Gaussians, scale: float = 1.0) -> Array:
    """Give log N(x; μ_k, scale Σ_k), in nats, (n, k)."""
    out = _room(X, gaussians)
    write_log_density(out, X + 0.0, gaussians, scale=scale)
    return out


def write_squared_distance(out: Array, X: Array, gaussians: Gaussians) -> None:
    """Write :func:`squared_distance` to ``out``; X is used up."""
    _write_affine(out, X, gaussians, 1.0, namespace(X).zeros_like(gaussians.constant))
    _clip(out, 0.0, None)  # rounding of a difference can fall below 0


def write_log_density(
    out: Array,
    X: Array,
    gaussians: Gaussians,
    *,
    scale: float = 1.0,
    temperature: float = 1.0,
    log_prior: Array | float = 0.0,
) -> None:
    """Write log N(x; μ_k, scale Σ_k) / temperature + log_prior_k to ``out`` (n, k).

    X is used up.
    """
    normaliser = gaussians.log_determinant + X.shape[1] * math.log(2 * math.pi * scale)
    factor = -0.5 / temperature
    _write_affine(out, X, gaussians, factor / scale, factor * normaliser + log_prior)


def _write_affine(out: Array, X: Array, gaussians: Gaussians, factor: float, offset: Array) -> None:
    """Write offset_k + factor x squared distance: factor and sums ride on the products."""
    X -= gaussians.center
    if not _lies_within(X, gaussians.limit):
        _clip(X, -gaussians.limit, gaussians.limit)
    out[...] = offset + factor * gaussians.constant
    _ADD_DISTANCE[gaussians.covariance_type](out, X, gaussians, factor)


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
    log_determinant = xp.sum(xp.log(covariance), axis=1)
    precision = 1 / covariance  # (k, d)
    steepest = xp.sqrt(xp.max(precision, axis=0))
    linear = mean * precision
    constant = xp.vecdot(mean, linear)
    linear *= -2.0
    return precision.T, linear.T, constant, log_determinant, steepest


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
    if xp is np:
        return _inverted(factor), log_determinant
    eye = as_like(np.eye(covariance.shape[0]), covariance)
    return xp.tril(xp.linalg.solve(factor, eye)), log_determinant


def _inverted(factor: np.ndarray) -> np.ndarray:
    """Invert a lower triangle."""
    if len(factor) <= BLOCK:
        return dtrtri(factor.T)[0].T  # in Fortran's order it is an upper triangle
    half = len(factor) // 2
    upper, lower = _inverted(factor[:half, :half]), _inverted(factor[half:, half:])
    inverse = np.zeros_like(factor)
    inverse[:half, :half], inverse[half:, half:] = upper, lower
    inverse[half:, :half] = -lower @ (factor[half:, :half] @ upper)
    return inverse


_PREPARE: dict[str, Callable[[Array, Array], Terms]] = {
    "diag": _prepare_diag,
    "spherical": _prepare_spherical,
    "tied_diag": _prepare_tied_diag,
    "tied": _prepare_tied,
    "full": _prepare_full,
}


def _room(X: Array, gaussians: Gaussians) -> Array:
    return namespace(X).zeros_like(X[:, :1] + gaussians.constant)


def _lies_within(deviation: Array, limit: Array) -> bool:
    """Tell whether no point is far, where that is sooner told than done."""
    if namespace(deviation) is not np or deviation.size == 0:
        return False
    nearest = limit.min()
    return bool(deviation.max() <= nearest and deviation.min() >= -nearest)


def _clip(values: Array, low: Array | float, high: Array | None) -> None:
    xp = namespace(values)
    if xp is np:
        np.clip(values, low, high, out=values)
    else:
        values[...] = xp.clip(values, low, high)


def _add_product(total: Array, left: Array, right: Array, factor: float) -> None:
    """Add factor * left @ right, in one pass where the library can.

    Not by scipy's dgemm, which can: see BLOCK.
    """
    if hasattr(total, "addmm_"):
        total.addmm_(left, right, alpha=factor)
    else:
        product = left @ right
        product *= factor
        total += product


def _add_diag(total: Array, deviation: Array, of: Gaussians, factor: float) -> None:
    _add_product(total, deviation, of.linear, factor)
    deviation *= deviation
    _add_product(total, deviation, of.quadratic, factor)


def _add_tied_diag(total: Array, deviation: Array, of: Gaussians, factor: float) -> None:
    _add_product(total, deviation, of.linear, factor)
    deviation *= deviation
    total += factor * (deviation @ of.quadratic)  # (n, 1)


def _add_spherical(total: Array, deviation: Array, of: Gaussians, factor: float) -> None:
    _add_product(total, deviation, of.linear, factor)
    deviation *= deviation
    norm = namespace(deviation).sum(deviation, axis=1, keepdims=True)
    _add_product(total, norm, of.quadratic, factor)


def _add_tied(total: Array, deviation: Array, of: Gaussians, factor: float) -> None:
    white = _whitened(deviation, of.quadratic)
    _add_product(total, white, of.linear, factor)
    white *= white
    total += factor * namespace(white).sum(white, axis=1, keepdims=True)


def _add_full(total: Array, deviation: Array, of: Gaussians, factor: float) -> None:
    for k in range(of.linear.shape[0]):
        white = _whitened(deviation, of.quadratic[k, ...])
        white -= of.linear[k, :]
        white *= white
        total[:, k] += factor * namespace(white).sum(white, axis=1)


def _whitened(deviation: Array, inverse: Array) -> Array:
    """Give deviation @ inverse.T, without most of the products with the zeros of a triangle."""
    if namespace(deviation) is not np:
        return deviation @ inverse.T
    white = np.empty_like(deviation)
    for start in range(0, len(inverse), BLOCK):
        block = slice(start, start + BLOCK)
        known = slice(0, start + BLOCK)
        np.matmul(deviation[:, known], inverse[block, known].T, out=white[:, block])
    return white


_ADD_DISTANCE: dict[str, Callable[[Array, Array, Gaussians, float], None]] = {
    "diag": _add_diag,
    "spherical": _add_spherical,
    "tied_diag": _add_tied_diag,
    "tied": _add_tied,
    "full": _add_full,
}
