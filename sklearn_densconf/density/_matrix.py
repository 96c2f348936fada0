"""Matrix covariances: one for all classes, or one for each class.

The functions of a type are named as in `_diagonal`. Distances are lengths of whitened deviations,
``‖L⁻¹ (x - μ)‖²`` with Σ = LLᵀ; for one matrix the samples are whitened once for all classes.
"""

import numpy as np
from scipy.linalg.lapack import dtrtri

from sklearn_densconf._array import Array, as_like, map_rows, namespace, to_numpy
from sklearn_densconf.density._gaussians import BREADTH, Gaussians, Terms, add_product
from sklearn_densconf.density._moments import Moments, at_least_one, grand_mean

# So many rows of a triangle are one block: LAPACK inverts it in one thread. The rest is left to
# numpy's products, since scipy's BLAS has threads of its own, which wait milliseconds for numpy's.
BLOCK = 128
SMALLEST_SHRINKAGE = 1e-9  # less is rounding of an estimate that is 0
# Of a feature's variance, what others do not explain: less is rounding of a covariance that is
# singular, whose factor may exist nonetheless.
SMALLEST_PIVOT = 1e-13


def derive_tied(moments: Moments) -> Array:
    """Compute the covariance within the classes, (d, d)."""
    return moments.scatter / namespace(moments.mean).sum(moments.count)


def derive_full(moments: Moments) -> Array:
    """Compute the covariance of each class, (k, d, d)."""
    return moments.scatter / at_least_one(moments.count)[:, None, None]


def prepare_tied(mean: Array, covariance: Array) -> Terms:
    """Prepare for one whitening and one product; ``mean`` is centred, (k, d)."""
    xp = namespace(mean)
    inverse, log_determinant = _whitening(covariance)
    white = mean @ inverse.T
    constant = xp.sum(white * white, axis=1)
    steepest = xp.max(xp.abs(inverse), axis=0)
    return inverse, -2 * white.T, constant, constant, log_determinant, steepest


def prepare_full(mean: Array, covariance: Array) -> Terms:
    """Prepare for a whitening of each class; ``mean`` is centred, (k, d)."""
    xp = namespace(mean)
    inverse, log_determinant = xp.zeros_like(covariance), xp.zeros_like(mean[:, 0])
    for k in range(mean.shape[0]):
        inverse[k, ...], log_determinant[k] = _whitening(covariance[k, ...], k)
    white = (inverse @ mean[:, :, None])[:, :, 0]
    steepest = xp.max(xp.abs(inverse), axis=(0, 1))
    zeros, from_center = xp.zeros_like(log_determinant), xp.sum(white * white, axis=1)
    return inverse, white, zeros, from_center, log_determinant, steepest


def add_tied(out: Array, deviation: Array, gaussians: Gaussians, factor: float) -> Array:
    """Add to ``out`` (n, k), and return what all classes share, (n, 1)."""
    white = _whitened(deviation, gaussians.quadratic)
    add_product(out, white, gaussians.linear, factor)
    white *= white
    return factor * namespace(white).sum(white, axis=1, keepdims=True)


def add_full(out: Array, deviation: Array, gaussians: Gaussians, factor: float) -> float:
    """Add to ``out`` (n, k), class by class."""
    for k in range(gaussians.linear.shape[0]):
        white = _whitened(deviation, gaussians.quadratic[k, ...])
        white -= gaussians.linear[k, :]
        white *= white
        out[:, k] += factor * namespace(white).sum(white, axis=1)
    return 0.0


def tied_to_class(deviation: Array, gaussians: Gaussians, _k: int) -> Array:
    """Compute squared lengths, (n,), of deviations from the mean of any class, (n, d)."""
    white = _whitened(deviation, gaussians.quadratic)
    return namespace(white).sum(white * white, axis=1)


def full_to_class(deviation: Array, gaussians: Gaussians, k: int) -> Array:
    """Compute squared lengths, (n,), of deviations from the mean of class k, (n, d)."""
    white = _whitened(deviation, gaussians.quadratic[k, ...])
    return namespace(white).sum(white * white, axis=1)


def unit(covariance: Array) -> Array:
    """Return the identity, (d, d)."""
    return as_like(np.eye(covariance.shape[-1]), covariance)


def variances(covariance: Array) -> Array:
    """Return the diagonals, (..., d)."""
    return namespace(covariance).linalg.diagonal(covariance)


def broadest(moments: Moments, covariance: Array, _classes: Gaussians) -> Array:
    """Compute the covariance (d, d) of the background: broader than each class in all directions.

    It is `BREADTH` times the smallest multiple, of at least 1, of the total covariance that no
    class's covariance exceeds.
    """
    xp = namespace(covariance)
    share = moments.count / xp.sum(moments.count)
    deviation = moments.mean - grand_mean(moments)
    within = covariance
    if covariance.ndim == 3:
        within = xp.sum(share[:, None, None] * covariance, axis=0)
    total = within + (share[:, None] * deviation).T @ deviation
    inverse, _ = _whitening(total)
    relative = inverse @ covariance @ inverse.T
    return BREADTH * max(1.0, float(xp.max(xp.linalg.eigvalsh(relative)))) * total


def ledoit_wolf(X: Array, codes: Array, weight: Array, moments: Moments) -> Array:
    """Compute the shrinkage of Ledoit and Wolf: one for "tied", one for each class for "full".

    As scikit-learn's, but with weights: a weight of 2 is two copies. With S the covariance of n
    samples x about their mean, and m the mean of its diagonal, it is the smaller of 1 and
    (Σ ‖x‖⁴ / n - ‖S‖²) / n over ‖S - m I‖². A class for which it is 0 takes that of all classes.

    References
    ----------
    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88 (2004), section 3.
    """
    xp, count = namespace(moments.mean), moments.count
    fourth = _fourth_moments(X, codes, weight, moments)
    total, all_fourth = xp.sum(count), xp.sum(fourth)
    if moments.kind == "tied":
        return _shrinkage(derive_tied(moments), total, all_fourth)
    each = _shrinkage(derive_full(moments), count, fourth)
    pooled = _shrinkage(xp.sum(moments.scatter, axis=0) / total, total, all_fourth)
    # Two samples lie at equal distances from their mean: the estimated error is 0 whatever it is.
    return xp.where(each > SMALLEST_SHRINKAGE, each, pooled)


def _shrinkage(covariance: Array, count: Array, fourth: Array) -> Array:
    """Compute the shrinkage from covariances, numbers of samples and sums of ‖x - μ‖⁴."""
    xp = namespace(covariance)
    squares = xp.sum(covariance**2, axis=(-2, -1))
    level = xp.mean(variances(covariance), axis=-1)
    scatter = squares - covariance.shape[-1] * level**2  # ‖S - m I‖²
    error = (fourth / count - squares) / count
    whole = error >= scatter  # as for one feature, or one sample, where both are 0
    ratio = error / xp.where(whole, xp.ones_like(error), scatter)
    return xp.where(whole, xp.ones_like(error), xp.clip(ratio, 0.0, 1.0))


def _fourth_moments(X: Array, codes: Array, weight: Array, moments: Moments) -> Array:
    """Compute the sum of w ‖x - μ‖⁴ over each class's samples, (k,)."""

    def squared_norms(chunk: Array, _out: Array, codes: Array) -> Array:
        xp = namespace(chunk)
        return xp.sum((chunk - xp.take(moments.mean, codes, axis=0)) ** 2, axis=1)

    squared = to_numpy(map_rows(squared_norms, 0, X, codes)).astype(np.float64)
    sums = np.bincount(to_numpy(codes), to_numpy(weight) * squared**2, moments.count.shape[0])
    return as_like(sums, X)


def _whitening(covariance: Array, k: int | None = None) -> tuple[Array, Array]:
    """Compute L⁻¹ with Σ = LLᵀ, lower triangular, and log |Σ|."""
    xp = namespace(covariance)
    try:
        factor = xp.linalg.cholesky(covariance)
    except Exception as error:  # each array library has its own class for it
        raise ValueError(_singular(k)) from error
    diagonal = xp.linalg.diagonal(factor)
    if bool(xp.any(diagonal**2 < SMALLEST_PIVOT * xp.linalg.diagonal(covariance))):
        raise ValueError(_singular(k))
    log_determinant = 2 * xp.sum(xp.log(diagonal))
    if xp is np:
        return _inverted(factor), log_determinant
    eye = as_like(np.eye(covariance.shape[0]), covariance)
    return xp.tril(xp.linalg.solve(factor, eye)), log_determinant


def _singular(k: int | None) -> str:
    which = "" if k is None else f" of class number {k}"
    return (
        f"the covariance{which} is not positive definite: its class has fewer different samples "
        "than features, or features are linear functions of others. Set shrinkage='auto' or a "
        "float in (0, 1], or raise var_smoothing"
    )


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


def _whitened(deviation: Array, inverse: Array) -> Array:
    """Compute deviation @ inverse.T, without most of the products with a triangle's zeros."""
    if namespace(deviation) is not np:
        return deviation @ inverse.T
    white = np.empty_like(deviation, order="C")
    for start in range(0, len(inverse), BLOCK):
        block = slice(start, start + BLOCK)
        known = slice(0, start + BLOCK)
        np.matmul(deviation[:, known], inverse[block, known].T, out=white[:, block])
    return white
