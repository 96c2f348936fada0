"""Sums of squared distances to classes: by products of matrices, and again where these cancel.

The square (x - μ)² is expanded about a center c, and of its terms all but the distance D cancels:
what is left is wrong by about the rounding of D + M, with M the squared distance of μ from c. Where
the sum of f M over the blocks, each with the factor f of its distance, is within `ROUNDED`, that
is nothing to speak of. Only a class beyond is remote, and only its samples with D < `NEAR` M are
measured again, from its own mean. So the error of every sum S, Σ f D, is at most about

    u d (ROUNDED + S / NEAR),  u = 2⁻⁵³,

beside what rounding of the means and covariances themselves does (`docs/user_guide.md`).
"""

from collections.abc import Sequence

import numpy as np

from sklearn_densconf._array import Array, as_like, namespace, to_numpy
from sklearn_densconf.density._covariance_types import COVARIANCE_TYPES
from sklearn_densconf.density._gaussians import Gaussians
from sklearn_densconf.density._range import FAR

ROUNDED = 2.0**17
NEAR = 1 / 16

Plan = tuple[Array, Gaussians, float]  # samples of a block (n, d), overwritten; its factor


def write_affine(out: Array, plans: Sequence[Plan], offset: Array | float) -> Array | float:
    """Write offset_k + Σ factor x squared distance, less what all classes share.

    Parameters
    ----------
    out : array of shape (n, k)
        What is written to.
    plans : sequence of Plan
        Of each block. All factors have the same sign.
    offset : array of shape (k,), (1,) or (), or float
        Added to each row.

    Returns
    -------
    array of shape (n, 1) or 0.0
        What is shared, to be added.
    """
    constant = offset
    for _, gaussians, factor in plans:
        constant = constant + factor * gaussians.constant
    remote = _remote(plans, offset)
    kept = [copied(X) for X, _, _ in plans] if remote.size else []
    _center(plans, kept)
    out[...] = constant
    shared: Array | float = 0.0
    for X, gaussians, factor in plans:
        row = COVARIANCE_TYPES[gaussians.covariance_type]
        shared = shared + row.add_distance(out, X, gaussians, factor)
    if remote.size:
        distances = _from_center(plans)
        offset = namespace(out).zeros_like(distances) + offset
        near = _near(out, shared, remote, distances, offset)
        shared = _unshared(out, shared, near)
        for column, k in enumerate(remote.tolist()):
            again = [(X, *plan[1:]) for X, plan in zip(kept, plans, strict=True)]
            _measure_again(out, k, near[:, column], again, offset[k])
    return shared


def _from_center(plans: Sequence[Plan]) -> Array:
    """Compute Σ |factor| M of each class, (k,)."""
    return sum(abs(factor) * gaussians.from_center for _, gaussians, factor in plans)


def _remote(plans: Sequence[Plan], offset: Array | float) -> np.ndarray:
    """Find the classes that may have to be measured from their own means: those that count."""
    if sum(abs(factor) * gaussians.furthest for _, gaussians, factor in plans) <= ROUNDED:
        return np.empty(0, dtype=np.int64)
    counts = np.isfinite(to_numpy(offset))  # log 0 is the prior of a class without samples
    return np.flatnonzero((to_numpy(_from_center(plans)) > ROUNDED) & counts)


def _near(
    out: Array, shared: Array | float, remote: np.ndarray, distances: Array, offset: Array
) -> Array:
    """Mark samples so near to a remote class that their distance is mostly rounding, (n, m)."""
    xp, columns = namespace(out), as_like(remote, out)
    measured = xp.take(out, columns, axis=1) + shared - xp.take(offset, columns, axis=0)
    return xp.abs(measured) < NEAR * xp.take(distances, columns, axis=0)


def _unshared(out: Array, shared: Array | float, near: Array) -> Array | float:
    """Add what is shared to the rows that are measured again; return what is left of it."""
    if isinstance(shared, float):
        return shared
    xp = namespace(out)
    added = xp.where(xp.any(near, axis=1, keepdims=True), shared, xp.zeros_like(shared))
    out += added
    return shared - added


def _measure_again(out: Array, k: int, near: Array, plans: Sequence[Plan], offset: Array) -> None:
    """Write to one column, where samples are near, distances from the mean of the class."""
    xp = namespace(out)
    rows = np.flatnonzero(near) if xp is np else slice(None)  # others take no positions
    value = offset
    for X, gaussians, factor in plans:
        to_class = COVARIANCE_TYPES[gaussians.covariance_type].to_class
        value = value + factor * to_class(X[rows, :] - gaussians.mean[k, :], gaussians, k)
    out[rows, k] = value if xp is np else xp.where(near, value, out[:, k])


def _center(plans: Sequence[Plan], kept: Sequence[Array]) -> None:
    """Write the deviation from the center to the samples; far points approach it on their ray.

    In all blocks by the same factor: where each feature were cut off by itself, the direction
    would be another, and with it the class. Copies that were kept move along.
    """
    beyond: Array | None = None
    for plan in plans:
        deviation, gaussians, _ = plan
        deviation -= gaussians.center
        if not _lies_within(deviation, gaussians.nearest):
            reach = _reach(deviation, gaussians.limit)
            beyond = reach if beyond is None else namespace(reach).maximum(beyond, reach)
    if beyond is None:
        return
    for plan in plans:
        deviation = plan[0]
        deviation /= beyond
    for X, (deviation, gaussians, _) in zip(kept, plans, strict=False):
        X[...] = namespace(X).where(beyond > 1, gaussians.center + deviation, X)


def _reach(deviation: Array, limit: Array) -> Array:
    """Compute how many times the limit each sample is out, at least 1, (n, 1)."""
    xp = namespace(deviation)
    reach = xp.max(xp.abs(deviation) / FAR / limit, axis=1, keepdims=True)  # no quotient overflows
    return xp.clip(reach, 1 / FAR, None) * FAR


def _lies_within(deviation: Array, nearest: float) -> bool:
    """Return whether no point is far, by what takes less time than a division."""
    if deviation.shape[0] == 0:
        return True
    xp = namespace(deviation)
    return float(xp.max(deviation)) <= nearest and float(xp.min(deviation)) >= -nearest


def clip(values: Array, low: Array | float, high: Array | None) -> None:
    """Clip values in place."""
    xp = namespace(values)
    if xp is np:
        np.clip(values, low, high, out=values)
    else:
        values[...] = xp.clip(values, low, high)


def copied(X: Array) -> Array:
    """Return a copy."""
    return namespace(X).asarray(X, copy=True)
