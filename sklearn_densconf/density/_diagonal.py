"""Diagonal covariances: a variance for each class and feature, for each class, or each feature.

Each type has four functions: ``derive_…`` from moments to covariances of maximum likelihood,
``prepare_…`` from means and covariances to the terms of `Gaussians`, ``add_…``, which adds a factor
times the squared distances to an array, but for what all classes share, which it returns, and
``…_to_class``, the squared distances to one class. The rows of `COVARIANCE_TYPES` name them.
"""

from sklearn_densconf._array import Array, namespace
from sklearn_densconf.density._gaussians import BREADTH, Gaussians, Terms, add_product
from sklearn_densconf.density._moments import Moments, at_least_one, total_variance, within_diagonal


def derive_diag(moments: Moments) -> Array:
    """Compute the variance of each class and feature, (k, d)."""
    return moments.scatter / at_least_one(moments.count)[:, None]


def derive_spherical(moments: Moments) -> Array:
    """Compute the variance of each class, the mean over the features, (k,)."""
    return namespace(moments.mean).mean(derive_diag(moments), axis=1)


def derive_tied_diag(moments: Moments) -> Array:
    """Compute the variance of each feature within the classes, (d,)."""
    return within_diagonal(moments) / namespace(moments.mean).sum(moments.count)


def prepare_diag(mean: Array, covariance: Array) -> Terms:
    """Prepare for two products of matrices; ``mean`` is centred, (k, d)."""
    xp = namespace(mean)
    log_determinant = xp.sum(xp.log(covariance), axis=1)
    precision = 1 / covariance  # (k, d)
    steepest = xp.sqrt(xp.max(precision, axis=0))
    linear = mean * precision
    constant = xp.vecdot(mean, linear)
    linear *= -2.0
    return precision.T, linear.T, constant, constant, log_determinant, steepest


def prepare_spherical(mean: Array, covariance: Array) -> Terms:
    """Prepare as for "diag", but with precisions (1, k), the same for every feature."""
    *terms, log_determinant, steepest = prepare_diag(mean, covariance[:, None])
    quadratic, linear, constant, from_center = terms
    log_determinant = mean.shape[1] * log_determinant
    return quadratic, linear, constant, from_center, log_determinant, steepest


def prepare_tied_diag(mean: Array, covariance: Array) -> Terms:
    """Prepare as for "diag", but with precisions (d, 1) and a log-determinant (1,)."""
    return prepare_diag(mean, covariance[None, :])


def add_diag(out: Array, deviation: Array, gaussians: Gaussians, factor: float) -> float:
    """Add to ``out`` (n, k); ``deviation`` (n, d) is overwritten."""
    add_product(out, deviation, gaussians.linear, factor)
    deviation *= deviation
    add_product(out, deviation, gaussians.quadratic, factor)
    return 0.0


def add_spherical(out: Array, deviation: Array, gaussians: Gaussians, factor: float) -> float:
    """Add to ``out`` (n, k); ``deviation`` (n, d) is overwritten."""
    add_product(out, deviation, gaussians.linear, factor)
    deviation *= deviation
    norm = namespace(deviation).sum(deviation, axis=1, keepdims=True)
    add_product(out, norm, gaussians.quadratic, factor)
    return 0.0


def add_tied_diag(out: Array, deviation: Array, gaussians: Gaussians, factor: float) -> Array:
    """Add to ``out`` (n, k), and return what is shared (n, 1); ``deviation`` is overwritten."""
    add_product(out, deviation, gaussians.linear, factor)
    deviation *= deviation
    return factor * (deviation @ gaussians.quadratic)


def diag_to_class(deviation: Array, gaussians: Gaussians, k: int) -> Array:
    """Compute squared lengths, (n,), of deviations from the mean of class k, (n, d)."""
    return (deviation * deviation) @ gaussians.quadratic[:, k]


def spherical_to_class(deviation: Array, gaussians: Gaussians, k: int) -> Array:
    """Compute squared lengths, (n,), of deviations from the mean of class k, (n, d)."""
    return namespace(deviation).sum(deviation * deviation, axis=1) * gaussians.quadratic[0, k]


def tied_diag_to_class(deviation: Array, gaussians: Gaussians, _k: int) -> Array:
    """Compute squared lengths, (n,), of deviations from the mean of any class, (n, d)."""
    return (deviation * deviation) @ gaussians.quadratic[:, 0]


def unit(covariance: Array) -> Array:
    """Return variances of 1, in a shape that broadcasts against the covariances."""
    return namespace(covariance).ones_like(covariance[..., :1])


def variances(covariance: Array) -> Array:
    """Return the variances themselves."""
    return covariance


def broadest(moments: Moments, _covariance: Array, classes: Gaussians) -> Array:
    """Compute the variances (d,) of the background: broader than every class in every direction.

    They are `BREADTH` times the larger of each feature's total variance and its largest variance
    in a class.
    """
    xp = namespace(classes.quadratic)
    largest = 1 / xp.min(classes.quadratic, axis=1)  # (d,) or (1,)
    return BREADTH * xp.maximum(largest, total_variance(moments))
