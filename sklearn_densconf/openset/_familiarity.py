"""How familiar features are: two scores from one tied Gaussian, and one of all classes together.

Features are brought to length 1, û = u / ‖u‖. With D_k(û) the squared Mahalanobis distance to
class k, and D₀ that to the mean of all under the total covariance, the scores are

- nearest: -½ min_k D_k(û), how near the nearest class is;
- relative: ½ (D₀(û) - min_k D_k(û)), the same against what all classes share.

Both Gaussians come from the same additive moments: total = within + between. The covariance within
is shrunk and smoothed, and the background's is that plus the one between: where the class means do
not differ, the two distances then cancel. With a shrinkage of its own the background has a smaller
ridge, and the relative score of a picture that is unlike all others rises without bound
(MobileNetV2 under noise: to 15 deviations above the known pictures).

So features whitened for the classes serve the background too. With y those of û less the mean of
all, m_k those of the class means, and M the rows √π_k m_k, the total covariance is I + MᵀM there,
whose inverse is I - Mᵀ (I + MMᵀ)⁻¹ M (Woodbury), so that

    D₀ = ‖y‖² - ‖Fᵀ g‖²,  g_k = m_k·y,  F Fᵀ = √Π (I + MMᵀ)⁻¹ √Π,

of which D_k = ‖y‖² - 2 g_k + ‖m_k‖² has all but a product with a matrix of k x k.

References
----------
K. Lee, K. Lee, H. Lee, J. Shin, "A Simple Unified Framework for Detecting Out-of-Distribution
Samples and Adversarial Attacks", NeurIPS 2018. J. Ren et al., "A Simple Fix to Mahalanobis
Distance for Improving Near-OOD Detection", arXiv:2106.09022 (relative). M. Müller, M. Hein,
"Mahalanobis++: Improving OOD Detection via Feature Normalization", arXiv:2505.18032.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from sklearn_densconf._array import Array, as_like, namespace, pick, to_numpy
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.density import _moments as moments_of
from sklearn_densconf.density._covariance_types import smoothing_variance
from sklearn_densconf.density._distances import ROUNDED, clip, write_affine
from sklearn_densconf.density._gaussians import Gaussians
from sklearn_densconf.density._head import Head
from sklearn_densconf.density._moments import Moments
from sklearn_densconf.density._range import check_measured

NAMES = ("nearest", "relative")
SHORTEST, LONGEST = 1e-140, 1e140  # lengths whose squares are float64


@dataclass(frozen=True)
class Familiarity:
    """What is evaluated: the Gaussians of the classes that have samples, and the background.

    Attributes
    ----------
    classes, background : Head
        The Gaussians, with one block.
    between : array of shape (k, k), or None
        F, if D₀ can be had from it; else the background is whitened by itself.
    """

    classes: Head
    background: Head
    between: Array | None = None

    @property
    def n_multiplications(self) -> float:
        """About how many one sample takes, in products of matrices."""
        alone = self.classes.n_multiplications
        if self.between is None:
            return alone + self.background.n_multiplications
        return alone + self.between.shape[0] ** 2

    def scores(self, features: Array, out: Array) -> Array:
        """Compute the two scores of features (n, d), float64; ``out`` (n, k) is room for them."""
        nearest, of_background = self.distances(unit(features), out)
        xp = namespace(out)
        return score(xp.min(nearest, axis=1), of_background)

    def distances(self, directions: Array, out: Array) -> tuple[Array, Array]:
        """Compute D_k (n, k) and D₀ (n,) of features of length 1, which are overwritten."""
        out = out[:, : self.classes.log_prior.shape[0]]
        if self.between is not None:
            return self._joint_distances(directions, out, self.between)
        xp = namespace(directions)
        room = xp.zeros_like(directions[:, :1])
        background = self.background.squared_distance(xp.asarray(directions, copy=True), room)
        return self.classes.squared_distance(directions, out), background[:, 0]

    def _joint_distances(
        self, directions: Array, out: Array, between: Array
    ) -> tuple[Array, Array]:
        """Compute both from one whitening."""
        xp, gaussians = namespace(directions), self.classes.blocks[0].gaussians
        shared: Any = write_affine(out, [(directions, gaussians, 1.0)], 0.0)  # ‖y‖²
        differing = 0.5 * (gaussians.constant - out) @ between
        of_all = shared - xp.sum(differing * differing, axis=1, keepdims=True)
        out += shared
        for each in (out, of_all):
            clip(each, 0.0, None)  # rounding of a difference can fall below 0
        return out, of_all[:, 0]


def familiarity(classes: Head, background: Head) -> Familiarity:
    """Return what is evaluated, by one whitening if that is as exact and takes less."""
    gaussians = classes.blocks[0].gaussians
    k, d = gaussians.mean.shape
    pays = k <= d and gaussians.furthest <= ROUNDED  # else distances are measured twice
    return Familiarity(classes, background, _between(classes, gaussians) if pays else None)


def _between(classes: Head, gaussians: Gaussians) -> Array:
    """Compute F, (k, k)."""
    xp = namespace(gaussians.mean)
    root = xp.exp(0.5 * classes.log_prior)[:, None]
    white = root * (-0.5 * gaussians.linear.T)
    eye = as_like(np.eye(white.shape[0]), white)
    factor = xp.linalg.cholesky(eye + white @ white.T)
    return root * xp.linalg.solve(factor, eye).T


def score(nearest: Array, background: Array) -> Array:
    """Compute the scores, (n, 2), from the distances to the nearest class and to the background."""
    xp = namespace(nearest)
    return 0.5 * xp.stack([-nearest, background - nearest], axis=1)


def unit(features: Array) -> Array:
    """Compute features / their length, in place; rows of 0 stay 0."""
    xp = namespace(features)
    length = _lengths(features)
    if not bool(xp.all((length > SHORTEST) & (length < LONGEST))):  # or squares are no numbers
        largest = xp.max(xp.abs(features), axis=1, keepdims=True)
        features /= xp.where(largest > 0, largest, xp.ones_like(largest))
        length = _lengths(features)
    features /= xp.where(length > 0, length, xp.ones_like(length))
    return features


def _lengths(features: Array) -> Array:
    """Compute ‖u‖, (n, 1)."""
    xp = namespace(features)
    if xp is np:
        return np.sqrt(np.einsum("nj,nj->n", features, features))[:, None]
    return xp.sqrt(xp.sum(features * features, axis=1, keepdims=True))


def measure(features: Array, codes: np.ndarray, weight: Array, n_classes: int) -> Moments:
    """Measure the moments of features of length 1, without a copy of them all."""
    with one_thread_if_few(features.shape[0] * features.shape[1] ** 2):
        moments = moments_of.measure(features, codes, weight, n_classes, "tied", prepare=unit)
    check_measured(moments, features)
    return moments


def gaussians(
    moments: Moments, classes: Array, template: GaussianDensityClassifier
) -> tuple[GaussianDensityClassifier, GaussianDensityClassifier]:
    """Derive the classes' Gaussians, of those that have samples, and the background."""
    present = np.flatnonzero(to_numpy(moments.count) > 0)
    of_moments = as_like(present, moments.mean)
    xp = namespace(moments.mean)
    some = Moments(
        "tied",
        xp.take(moments.count, of_moments, axis=0),
        xp.take(moments.mean, of_moments, axis=0),
        moments.scatter,
    )
    auto = template.shrinkage == "auto"
    shrinkage = shrinkage_of_directions(some) if auto else float(template.shrinkage or 0)
    labels = to_numpy(classes)[present]
    smoothing = float(template.var_smoothing)
    return (
        _fitted(some, labels, template, shrinkage=shrinkage),
        _fitted(
            _together(some, shrinkage, smoothing),
            labels[:1],
            template,
            shrinkage=0.0,
            var_smoothing=0.0,
        ),
    )


def _together(moments: Moments, shrinkage: float, smoothing: float) -> Moments:
    """Merge all classes into one; its scatter is that within, shrunk and smoothed, plus between."""
    xp, mean = namespace(moments.mean), moments_of.grand_mean(moments)
    deviation, d = moments.mean - mean, mean.shape[0]
    between = (deviation * moments.count[:, None]).T @ deviation
    count = xp.sum(moments.count, keepdims=True)
    ridge = shrinkage * xp.linalg.trace(moments.scatter) / d
    ridge = ridge + count * smoothing_variance(moments, smoothing)
    scatter = (1 - shrinkage) * moments.scatter + ridge * as_like(np.eye(d), mean) + between
    return Moments("tied", count, mean[None, :], scatter)


def shrinkage_of_directions(moments: Moments) -> float:
    """Compute the shrinkage of Ledoit and Wolf from the moments of vectors of length 1 alone.

    It needs Σ ‖x - μ‖⁴, which is no moment. For vectors of length 1, ‖x - μ‖² = 1 - 2 xᵀμ + ‖μ‖²,
    so that its sum over a class of n samples and covariance S is n ((1 - ‖μ‖²)² + 4 μᵀSμ). S is
    that of all classes here, which is exact for one class; parts that are merged then equal the
    whole, and no second pass over the samples is made.

    References
    ----------
    O. Ledoit, M. Wolf, "A well-conditioned estimator for large-dimensional covariance matrices",
    Journal of Multivariate Analysis 88 (2004), section 3.
    """
    xp, mean, count = namespace(moments.mean), moments.mean, moments.count
    n = xp.sum(count)
    covariance = moments.scatter / n
    lengths = xp.sum(mean * mean, axis=1)
    fourth = xp.sum(count * ((1 - lengths) ** 2 + 4 * xp.sum((mean @ covariance) * mean, axis=1)))
    squares = float(xp.sum(covariance * covariance))
    error = (float(fourth / n) - squares) / float(n)
    level = float(xp.linalg.trace(covariance)) / mean.shape[1]
    distance = squares - mean.shape[1] * level**2
    return float(np.clip(error / distance, 0, 1)) if error < distance else 1.0


@dataclass(frozen=True)
class Left:
    """What the scores of training samples without themselves are made from.

    Attributes
    ----------
    moments : Moments
        Of all training samples.
    shrinkage : float
        Of the covariance within the classes.
    between, between_of_all : array of shape (k, k), and (k,)
        Squared distances of the class means: of class and class within, and of the mean of all and
        a class under the background's covariance.
    """

    moments: Moments
    shrinkage: float
    between: Array
    between_of_all: Array

    def scores(
        self, of_class: Array, of_all: Array, to_own: Array, codes: Array, weight: Array
    ) -> Array:
        """Compute the scores that samples would have, had they not been among the training ones.

        Without a sample of weight w its class's mean moves, and the scatter, within its class and
        in all, loses w n / (n - w) (x - μ)(x - μ)ᵀ: changes of rank one, so that the distances
        follow from those that there are (Sherman and Morrison). The shrinkage stays as it is.

        Parameters
        ----------
        of_class : array of shape (n, k)
            D_k of the samples.
        of_all : array of shape (n,)
            D₀.
        to_own : array of shape (n,)
            Squared distance to the own class's mean under the background's covariance.
        codes : array of shape (n,)
            Their classes.
        weight : array of shape (n,)
            Their weights.

        Returns
        -------
        array of shape (n, 2)
            The scores.
        """
        xp = namespace(weight)
        total = xp.sum(self.moments.count)
        count = xp.take(self.moments.count, codes, axis=0)
        others = count - weight
        alone = others <= 0  # the only one of its class, whose mean it is: x - μ = 0
        grown = xp.where(alone, xp.zeros_like(others), count / xp.where(alone, count, others))
        share = weight * grown / total
        own = pick(of_class, codes)
        gain = share * (1 - self.shrinkage)
        gain = gain / (1 - gain * own)
        cross = (of_class + own[:, None] - xp.take(self.between, codes, axis=0)) / 2
        left = of_class + gain[:, None] * cross**2
        left_own = xp.where(alone, xp.full_like(own, math.inf), grown**2 * (own + gain * own**2))
        is_own = as_like(np.arange(left.shape[1]), codes) == codes[:, None]
        nearest = xp.min(xp.where(is_own, left_own[:, None], left), axis=1)
        # Of the background, what the shrinkage keeps of the class's own part comes back.
        kept = share * self.shrinkage
        cross = (of_all + to_own - xp.take(self.between_of_all, codes, axis=0)) / 2
        of_all = of_all - kept / (1 + kept * to_own) * cross**2
        of_all = of_all / (1 - weight / (total - weight) * of_all)
        shrunk = (total - weight) / total
        return score(nearest * shrunk, of_all / shrunk)


def _fitted(
    moments: Moments, labels: np.ndarray, template: GaussianDensityClassifier, **numbers: float
) -> GaussianDensityClassifier:
    """Return a classifier fitted to moments, with its shrinkage as a number."""
    density: Any = clone(template).set_params(background=0.0, priors=None, **numbers)
    density.classes_, density.n_features_in_ = labels, moments.mean.shape[1]
    density._moments = (moments,)
    return density
