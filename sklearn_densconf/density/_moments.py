"""Count, mean and scatter of each class: all that a Gaussian needs, additive over samples.

They are the state of :class:`GaussianDensityClassifier`; variances, smoothing and shrinkage are
derived from them, so that parts fitted apart and merged equal the whole. Deviations, from a sample
of the same class, are taken before squares, and all sums are in float64.

References
----------
T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", COMPSTAT 1982; "Algorithms for computing the sample variance: analysis and
recommendations", The American Statistician 37 (1983), section 3 (shifted data).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from sklearn_densconf._array import Array, as_like, chunks, float64, namespace, to_numpy
from sklearn_densconf._machine import ahead, number_of_threads

# Of samples a block. Small ones stay in the cache while they are passed four times; a product of
# matrices wants larger ones.
BLOCK_BYTES = {"diag": 2**22, "tied": 2**23, "full": 2**23}
MOST_THREADS = 4  # that measure blocks, three times whose memory each takes


@dataclass(frozen=True)
class Moments:
    """Weighted count, mean and scatter of each of k classes in d dimensions, float64.

    ``scatter`` is the weighted sum of products of deviations from the class's own mean: (k, d)
    for kind "diag", (d, d), summed over the classes, for "tied", (k, d, d) for "full". A class
    without samples has count, mean and scatter 0.
    """

    kind: str
    count: Array
    mean: Array
    scatter: Array


def measure(
    X: Array,
    codes: np.ndarray,
    weight: Array,
    n_classes: int,
    kind: str,
    *,
    prepare: Callable[[Array], Array] | None = None,
) -> Moments:
    """Measure the moments of each class, block by block of samples sorted by class.

    Parameters
    ----------
    X : array of shape (n, d)
        Samples.
    codes : ndarray of shape (n,)
        The class of each sample, 0 ... n_classes - 1.
    weight : array of shape (n,), float64
        Weight of each sample.
    n_classes : int
        Number of classes k.
    kind : {"diag", "tied", "full"}
        Which scatter is kept.
    prepare : callable, default=None
        What is made of each block of samples, float64, first: no copy of them all is needed. It
        may overwrite the block.

    Returns
    -------
    Moments
        Of all samples.
    """
    xp, d = namespace(X), X.shape[1]
    shape = {"diag": (n_classes, d), "tied": (d, d), "full": (n_classes, d, d)}[kind]
    shapes = (n_classes,), (n_classes, d), shape
    zeros = (as_like(np.zeros(each), X) for each in shapes)
    whole = Moments(kind, *zeros)
    # By class, so that a block has few: small sums; the heaviest of a class first, its origin.
    weights = to_numpy(weight)
    order = np.lexsort((-weights, codes))
    codes, weights = codes[order], weights[order]

    def measured(part: slice) -> tuple[int, Moments]:
        first = codes[part.start]
        # numpy's take would first copy all columns of a view of some
        rows = X[order[part]] if xp is np else xp.take(X, as_like(order[part], X), axis=0)
        values = float64(rows)
        values = values if prepare is None else prepare(values)
        return int(first), _measure_block(values, codes[part] - first, weights[part], kind)

    parts = list(_blocks(codes, 8 * d, kind))
    for first, block in _each(measured, parts, in_threads=xp is np and kind == "diag"):
        _absorb(whole, first, block)
    return whole


def merge(first: Moments, second: Moments) -> Moments:
    """Merge the moments of two disjoint sets of samples (Chan, Golub, LeVeque)."""
    count = first.count + second.count
    share = second.count / at_least_one(count)  # (k,)
    delta = second.mean - first.mean  # (k, d)
    cross = _CROSS[first.kind](delta, first.count * share)
    scatter = first.scatter + second.scatter + cross
    return Moments(first.kind, count, first.mean + delta * share[:, None], scatter)


def like(moments: Moments, X: Array) -> Moments:
    """Bring moments to the namespace and device of an array."""
    return Moments(moments.kind, *(as_like(part, X) for part in _arrays(moments)))


def as_numpy(moments: Moments) -> Moments:
    """Bring moments to numpy."""
    return Moments(moments.kind, *(to_numpy(part) for part in _arrays(moments)))


def total_variance(moments: Moments) -> Array:
    """Compute the variance of each feature over all classes together, (d,); 0 if it is constant."""
    deviation = moments.mean - grand_mean(moments)
    deviation *= deviation
    total = namespace(deviation).sum(moments.count)
    return within_diagonal(moments) / total + _share(moments) @ deviation


def grand_mean(moments: Moments) -> Array:
    """Compute the mean over all classes together, (d,): from one class's, so equal ones stay."""
    origin = moments.mean[int(namespace(moments.count).argmax(moments.count)), :]
    return origin + _share(moments) @ (moments.mean - origin)


def within_diagonal(moments: Moments) -> Array:
    """Compute the diagonal of the within-class scatter, summed over the classes, (d,)."""
    xp = namespace(moments.mean)
    if moments.kind == "diag":
        return xp.sum(moments.scatter, axis=0)
    scatter = moments.scatter if moments.kind == "tied" else xp.sum(moments.scatter, axis=0)
    return xp.linalg.diagonal(scatter)


def _arrays(moments: Moments) -> tuple[Array, Array, Array]:
    return moments.count, moments.mean, moments.scatter


def _share(moments: Moments) -> Array:
    return moments.count / namespace(moments.count).sum(moments.count)


def at_least_one(count: Array) -> Array:
    """Return a divisor: the count, or 1 for a class without samples."""
    xp = namespace(count)
    return xp.where(count > 0, count, xp.ones_like(count))


def _blocks(codes: np.ndarray, row_bytes: int, kind: str) -> Iterator[slice]:
    """Cut sorted samples into blocks, of one class each where the scatter of a class is large."""
    inner = (np.flatnonzero(np.diff(codes)) + 1).tolist() if kind == "full" else []
    for start, stop in pairwise([0, *inner, codes.shape[0]]):
        for part in chunks(stop - start, row_bytes, BLOCK_BYTES[kind]):
            yield slice(start + part.start, start + part.stop)


def _each(
    measured: Callable[[slice], tuple[int, Moments]], parts: list[slice], *, in_threads: bool
) -> Iterator[tuple[int, Moments]]:
    """Yield what was measured of each block, in order; threads measure the next ones meanwhile."""
    n_threads = min(number_of_threads(), MOST_THREADS) if in_threads and len(parts) > 1 else 1
    if n_threads == 1:
        return map(measured, parts)
    return ahead(measured, parts, n_threads=n_threads, n_waiting=n_threads + 1)


def _absorb(whole: Moments, first: int, block: Moments) -> None:
    """Add a block: as samples are sorted, no class but its first can have been begun."""
    begun = merge(_of_class(whole, first), _of_class(block, 0))
    present = slice(first, first + block.count.shape[0])
    for total, new, first_class in zip(_arrays(whole), _arrays(block), _arrays(begun), strict=True):
        if total.shape == first_class.shape:  # one class in all, or a scatter of all classes
            total[...] = first_class
        else:
            new[:1, ...] = first_class
            total[present, ...] = new


def _of_class(moments: Moments, k: int) -> Moments:
    row = slice(k, k + 1)
    scatter = moments.scatter if moments.kind == "tied" else moments.scatter[row, ...]
    return Moments(moments.kind, moments.count[row], moments.mean[row, ...], scatter)


def _measure_block(values: Array, codes: np.ndarray, weight: Array, kind: str) -> Moments:
    """Measure samples sorted by class, whose codes go from 0 to the last; values are overwritten.

    Deviations are from each class's first sample. As no other is heavier, the scatter about it is
    at most n + 1 times that about the mean: taking the one from the other is safe, wherever the
    origin is, and a feature that is constant in a class has a scatter of 0 exactly.
    """
    xp = namespace(values)
    count = as_like(np.bincount(codes, weight), values)  # (k,)
    first = np.searchsorted(codes, np.arange(count.shape[0]))
    origin = xp.take(values, as_like(first, values), axis=0)  # (k, d)
    values -= xp.take(origin, as_like(codes, values), axis=0)
    members, weight = _membership(codes, weight, values), as_like(weight, values)
    shift = (members @ values) / at_least_one(count)[:, None]
    scatter = _SCATTER[kind](values, weight, members) - _CROSS[kind](shift, count)
    present = float64(count > 0)[:, None]  # else the mean is 0
    return Moments(kind, count, present * (origin + shift), scatter)


def _membership(codes: np.ndarray, weight: np.ndarray, like: Array) -> Any:
    """Build the (k, n) matrix that holds each sample's weight in its class's row."""
    n, k = codes.shape[0], int(codes[-1]) + 1
    if namespace(like) is np:
        return csc_array((weight, codes, np.arange(n + 1)), shape=(k, n))
    return as_like(codes == np.arange(k)[:, None], like, like.dtype) * as_like(weight, like)


def _diag_scatter(deviation: Array, _weight: Array, members: Any) -> Array:
    deviation *= deviation
    return members @ deviation


def _tied_scatter(deviation: Array, weight: Array, _members: Any) -> Array:
    return (deviation * weight[:, None]).T @ deviation


def _full_scatter(deviation: Array, weight: Array, members: Any) -> Array:
    return _tied_scatter(deviation, weight, members)[None, ...]  # a block has one class


def _diag_cross(delta: Array, weight: Array) -> Array:
    return weight[:, None] * delta**2


def _tied_cross(delta: Array, weight: Array) -> Array:
    return (weight[:, None] * delta).T @ delta


def _full_cross(delta: Array, weight: Array) -> Array:
    return weight[:, None, None] * delta[:, :, None] * delta[:, None, :]


_SCATTER: dict[str, Callable[..., Array]] = {
    "diag": _diag_scatter,
    "tied": _tied_scatter,
    "full": _full_scatter,
}
_CROSS: dict[str, Callable[..., Array]] = {
    "diag": _diag_cross,
    "tied": _tied_cross,
    "full": _full_cross,
}
