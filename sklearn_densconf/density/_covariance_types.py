"""The table of covariance types, and what is the same for all of them.

A new type is one row here, and its functions in `_diagonal` or `_matrix`. What data they admit is
checked by `_range`.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sklearn_densconf._array import Array, as_like, namespace
from sklearn_densconf.density import _diagonal, _matrix
from sklearn_densconf.density._gaussians import Gaussians, Terms
from sklearn_densconf.density._moments import Moments, grand_mean, total_variance
from sklearn_densconf.density._range import FAR, check_variances

ROOT_LARGEST = 1e140  # a distance whose square, summed over features and scaled, is a float64


@dataclass(frozen=True)
class Family:
    """What covariances have in common: diagonals, or matrices.

    ``background`` is the type of the Gaussian that `broadest` gives the covariance of; only
    matrices are shrunk.
    """

    unit: Callable[[Array], Array]
    variances: Callable[[Array], Array]
    broadest: Callable[[Moments, Array, Gaussians], Array]
    background: str
    shrinks: bool


@dataclass(frozen=True)
class CovarianceType:
    """One type of covariance.

    ``scatter`` is the kind of `Moments` that it is derived from; ``per_class``, whether each class
    has its own; ``cost(d, k)``, about how many multiplications a sample takes, and preparing.
    """

    family: Family
    scatter: str
    per_class: bool
    derive: Callable[[Moments], Array]
    prepare: Callable[[Array, Array], Terms]
    add_distance: Callable[[Array, Array, Gaussians, float], Array | float]
    to_class: Callable[[Array, Gaussians, int], Array]
    cost: Callable[[int, int], tuple[int, int]]


DIAGONAL = Family(_diagonal.unit, _diagonal.variances, _diagonal.broadest, "tied_diag", False)
MATRIX = Family(_matrix.unit, _matrix.variances, _matrix.broadest, "tied", True)


def _cost_of_diagonal(d: int, k: int) -> tuple[int, int]:
    return 2 * d * k, 2 * d * k


# fmt: off
COVARIANCE_TYPES = {
    "diag": CovarianceType(
        DIAGONAL, "diag", True, _diagonal.derive_diag, _diagonal.prepare_diag,
        _diagonal.add_diag, _diagonal.diag_to_class, _cost_of_diagonal),
    "spherical": CovarianceType(
        DIAGONAL, "diag", True, _diagonal.derive_spherical, _diagonal.prepare_spherical,
        _diagonal.add_spherical, _diagonal.spherical_to_class, _cost_of_diagonal),
    "tied_diag": CovarianceType(
        DIAGONAL, "diag", False, _diagonal.derive_tied_diag, _diagonal.prepare_tied_diag,
        _diagonal.add_tied_diag, _diagonal.tied_diag_to_class, _cost_of_diagonal),
    "tied": CovarianceType(
        MATRIX, "tied", False, _matrix.derive_tied, _matrix.prepare_tied,
        _matrix.add_tied, _matrix.tied_to_class, lambda d, k: (d * (d + k), d**3)),
    "full": CovarianceType(
        MATRIX, "full", True, _matrix.derive_full, _matrix.prepare_full,
        _matrix.add_full, _matrix.full_to_class, lambda d, k: (d * d * k, d**3 * k)),
}
# fmt: on


def derive(moments: Moments, covariance_type: str, smoothing: float, shrinkage: Any) -> Array:
    """Derive the covariances from the moments.

    Parameters
    ----------
    moments : Moments
        Moments of the kind that the type needs.
    covariance_type : str
        A key of `COVARIANCE_TYPES`.
    smoothing : float
        Added to every variance: this fraction of the largest variance of a feature.
    shrinkage : float or array of shape (k,), or None
        Weight of the mean variance times identity, for matrices.

    Returns
    -------
    array of shape (k, d), (k,), (d,), (d, d) or (k, d, d)
        Maximum-likelihood covariances, shrunk, then smoothed.

    Raises
    ------
    ValueError
        If the moments are of another kind.
    """
    check_scatter(moments, covariance_type)
    row = COVARIANCE_TYPES[covariance_type]
    covariance = row.derive(moments)
    if shrinkage is not None and row.family.shrinks:
        covariance = _shrunk(covariance, shrinkage, row.family)
    covariance += smoothing_variance(moments, smoothing) * row.family.unit(covariance)
    return covariance


def smoothing_variance(moments: Moments, fraction: float) -> float:
    """Compute the variance that smoothing adds; 1 stands for the scale of data without any."""
    largest = float(namespace(moments.mean).max(total_variance(moments)))
    return fraction * (largest if largest > 0 else 1.0)


def prepare(mean: Array, covariance: Array, covariance_type: str, center: Array) -> Gaussians:
    """Prepare Gaussians for evaluation, once a fit.

    Parameters
    ----------
    mean : array of shape (k, d)
        Means.
    covariance : array
        As :func:`derive` returns it.
    covariance_type : str
        A key of `COVARIANCE_TYPES`.
    center : array of shape (d,)
        Subtracted from means and samples before they are multiplied.

    Returns
    -------
    Gaussians
        What `_head` evaluates.

    Raises
    ------
    ValueError
        If a covariance is not positive definite.
    """
    terms = COVARIANCE_TYPES[covariance_type].prepare(mean - center, covariance)
    limit = ROOT_LARGEST / (mean.shape[1] * terms[-1])  # (d,): each feature in its own scale
    xp, from_center = namespace(mean), terms[3]
    limit = xp.clip(limit, None, FAR)
    furthest, nearest = float(xp.max(from_center)), float(xp.min(limit))
    return Gaussians(covariance_type, center, mean, *terms[:-1], limit, furthest, nearest)


def prepare_classes(
    moments: Moments,
    covariance_type: str,
    smoothing: float,
    shrinkage: Any,
    *,
    with_background: bool,
) -> tuple[Gaussians, Gaussians | None]:
    """Prepare the classes' Gaussians and, if wanted, the background of them.

    The background's mean is the grand mean, and its covariance is broader than that of every class
    in every direction.
    """
    row = COVARIANCE_TYPES[covariance_type]
    covariance = derive(moments, covariance_type, smoothing, shrinkage)
    covariance = _fill_absent(covariance, moments.count, row)
    variances = row.family.variances(covariance)
    check_variances(variances, moments, per_class=row.per_class)
    center = grand_mean(moments)
    xp, present = namespace(center), moments.count > 0
    mean = xp.where(present[:, None], moments.mean, center)  # of the others any will do
    classes = prepare(mean, covariance, covariance_type, center)
    if not with_background:
        return classes, None
    wide = row.family.broadest(moments, covariance, classes)
    background = prepare(center[None, :], wide, row.family.background, center)
    # Far points are the same for both.
    return classes, replace(background, limit=classes.limit, nearest=classes.nearest)


def check_scatter(moments: Moments, covariance_type: str) -> None:
    """Check that the moments are those that a covariance type needs."""
    if moments.kind != COVARIANCE_TYPES[covariance_type].scatter:
        same = [name for name, row in COVARIANCE_TYPES.items() if row.scatter == moments.kind]
        raise ValueError(
            f"covariance_type={covariance_type!r} needs another scatter than the one that was "
            f"measured, which serves {same}: fit again"
        )


def check_memory(covariance_type: str, d: int, k: int) -> None:
    """Refuse matrices that cannot fit: the scatter, the covariances and their factors."""
    row = COVARIANCE_TYPES[covariance_type]
    n_matrices = k if row.per_class else 1
    needed, installed = 3 * 8 * n_matrices * d * d, _installed_bytes()
    if row.family is MATRIX and needed > installed:
        raise MemoryError(
            f"covariance_type={covariance_type!r} needs {needed:,} bytes for {n_matrices} matrices "
            f"of {d} x {d}, and this machine has {installed:,}: use 'tied', or 'diag'"
        )


def _shrunk(covariance: Array, shrinkage: Any, family: Family) -> Array:
    """Compute (1 - a) Σ + a trace(Σ) / d I."""
    xp = namespace(covariance)
    weight = as_like(shrinkage, covariance, xp.float64)[..., None, None]
    scale = xp.mean(family.variances(covariance), axis=-1)[..., None, None]
    shrunk = (1 - weight) * covariance + weight * scale * family.unit(covariance)
    return xp.reshape(shrunk, covariance.shape)


def _fill_absent(covariance: Array, count: Array, row: CovarianceType) -> Array:
    """Set the covariance of a class without samples to another's: the background has to span it."""
    xp = namespace(covariance)
    if not row.per_class or bool(xp.all(count > 0)):
        return covariance
    present = xp.reshape(count > 0, (-1,) + (1,) * (covariance.ndim - 1))
    heaviest = int(xp.argmax(count))
    return xp.where(present, covariance, covariance[heaviest : heaviest + 1, ...])


def _installed_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system: no way to ask
        return sys.maxsize
