"""Count, mean and scatter of each class: all that a Gaussian needs, additive over samples.

They are the state of :class:`GaussianDensityClassifier`; variances, smoothing and shrinkage are
derived from them, so that parts fitted apart and merged equal the whole. Deviations are taken
before squares and all sums are in float64.

References
----------
T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing
sample variances", COMPSTAT 1982.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csc_array

from sklearn_densconf._array import Array, as_like, chunks, float64, namespace

KIND = {"diag": "diag", "spherical": "diag", "tied_diag": "diag", "tied": "tied", "full": "full"}


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


def measure(X: Array, codes: Array, weight: Array, n_classes: int, kind: str) -> Moments:
    """Measure the moments of each class.

    Parameters
    ----------
    X : array of shape (n, d)
        Samples.
    codes : array of shape (n,)
        The class of each sample, 0 ... n_classes - 1.
    weight : array of shape (n,), float64
        Weight of each sample.
    n_classes : int
        Number of classes k.
    kind : {"diag", "tied", "full"}
        Which scatter is kept.
    """
    xp = namespace(X)
    mean = as_like(np.zeros((n_classes, X.shape[1])), X)
    count = _sums(xp.ones_like(X[:, :1]), codes, weight, mean[:, :1])[:, 0]
    safe = xp.where(count > 0, count, xp.ones_like(count))[:, None]
    mean = _sums(X, codes, weight, mean) / safe
    # the mean of the deviations takes back the rounding of a mean far from the origin
    mean = mean + _sums(X, codes, weight, mean) / safe
    return Moments(kind, count, mean, _SCATTER[kind](X, codes, weight, mean))


def merge(first: Moments, second: Moments) -> Moments:
    """Merge the moments of two disjoint sets of samples (Chan, Golub, LeVeque)."""
    xp = namespace(first.mean)
    count = first.count + second.count
    share = second.count / xp.where(count > 0, count, xp.ones_like(count))  # (k,)
    delta = second.mean - first.mean  # (k, d)
    cross = _CROSS[first.kind](delta, first.count * share)
    scatter = first.scatter + second.scatter + cross
    return Moments(first.kind, count, first.mean + delta * share[:, None], scatter)


def total_variance(moments: Moments) -> Array:
    """Give the variance of each feature over all classes together, (d,)."""
    xp = namespace(moments.mean)
    share = moments.count / xp.sum(moments.count)
    deviation = moments.mean - grand_mean(moments)
    between = xp.sum(share[:, None] * deviation**2, axis=0)
    return within_diagonal(moments) / xp.sum(moments.count) + between


def grand_mean(moments: Moments) -> Array:
    """Give the mean over all classes together, (d,)."""
    xp = namespace(moments.mean)
    share = moments.count / xp.sum(moments.count)
    return xp.sum(share[:, None] * moments.mean, axis=0)


def within_diagonal(moments: Moments) -> Array:
    """Give the diagonal of the within-class scatter, summed over the classes, (d,)."""
    xp = namespace(moments.mean)
    scatter = moments.scatter if moments.kind == "tied" else xp.sum(moments.scatter, axis=0)
    return scatter if moments.kind == "diag" else xp.linalg.diagonal(scatter)


def _parts(X: Array) -> Iterator[slice]:
    return chunks(X.shape[0], 16 * X.shape[1])


def _sums(X: Array, codes: Array, weight: Array, origin: Array) -> Array:
    """Give the weighted sum, over each class's samples, of X less the class's origin, (k, d)."""
    xp = namespace(X)
    sums = xp.zeros_like(origin)
    for part in _parts(X):
        values = float64(X[part])
        if xp.any(origin != 0):
            values = values - xp.take(origin, codes[part], axis=0)
        sums += _membership(codes[part], weight[part], origin.shape[0]) @ values
    return sums


def _membership(codes: Array, weight: Array, n_classes: int) -> Any:
    """Give the (k, n) matrix that holds each sample's weight in its class's row."""
    xp = namespace(weight)
    if xp is np:
        n = codes.shape[0]
        return csc_array((weight, codes, np.arange(n + 1)), shape=(n_classes, n))
    own = codes[None, :] == as_like(np.arange(n_classes), weight, codes.dtype)[:, None]
    return xp.astype(own, xp.float64) * weight[None, :]


def _diag_scatter(X: Array, codes: Array, weight: Array, mean: Array) -> Array:
    xp = namespace(X)
    scatter = xp.zeros_like(mean)  # (k, d)
    for part in _parts(X):
        deviation = float64(X[part]) - xp.take(mean, codes[part], axis=0)
        deviation *= deviation
        scatter += _membership(codes[part], weight[part], mean.shape[0]) @ deviation
    return scatter


def _tied_scatter(X: Array, codes: Array, weight: Array, mean: Array) -> Array:
    xp = namespace(X)
    scatter = xp.zeros_like(mean[:1, :].T @ mean[:1, :])  # (d, d)
    for part in _parts(X):
        deviation = float64(X[part]) - xp.take(mean, codes[part], axis=0)
        scatter += (deviation * weight[part][:, None]).T @ deviation
    return scatter


def _full_scatter(X: Array, codes: Array, weight: Array, mean: Array) -> Array:
    xp = namespace(X)
    scatter = []
    for k in range(mean.shape[0]):
        own = xp.nonzero(codes == k)[0]
        deviation = float64(xp.take(X, own, axis=0)) - mean[k, :]
        scatter.append((deviation * xp.take(weight, own, axis=0)[:, None]).T @ deviation)
    return xp.stack(scatter)  # (k, d, d)


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
