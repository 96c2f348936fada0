"""GaussianDensityClassifier: one Gaussian a class, and Bayes' rule."""

import math
import os
import sys
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from scipy.stats import chi2
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import (
    Array,
    as_like,
    log_sum_exp,
    namespace,
    pick,
    rowwise,
    to_numpy,
)
from sklearn_densconf._posterior import PosteriorMixin
from sklearn_densconf._validation import (
    LABEL_RULES,
    check_features,
    check_label_rule,
    check_labels,
    check_number,
    check_option,
    check_present,
    check_priors,
    check_scale,
    check_weight,
    unique_labels,
)
from sklearn_densconf.density import _gaussian, _moments


class GaussianDensityClassifier(PosteriorMixin):
    r"""Bayes' rule on one Gaussian a class: a confidence that falls off the training data.

    ``predict_proba`` is the paper's density confidence

    .. math:: p(y \mid z) = \frac{q(z \mid y) \, \pi_y}{\sum_k q(z \mid k) \, \pi_k}, \quad
        q(z \mid k) = \mathcal{N}(z; \mu_k, s \, \Sigma_k)^{1 / T},

    where z are the activations of a trained network. With ``background`` ε > 0, q is replaced by
    :math:`(1 - \varepsilon) \, q(z \mid k) + \varepsilon \, q_0(z)`, where :math:`q_0` is tempered
    in the same way and belongs to a Gaussian broader than every class in every direction: the
    posterior then falls to the priors far away, along any ray.

    Parameters
    ----------
    covariance_type : {"diag", "spherical", "tied_diag", "tied", "full"}, default="diag"
        Shape of Σ: a variance for each class and feature (the paper), one for each class, one for
        each feature, one full matrix for all classes, or one for each class (O(k d²) memory).
    temperature : "n_features" or float, default="n_features"
        Root T, above 0. The annulus correction: "n_features" takes the d-th root of the
        densities, so that they count per dimension. 1.0 is plain Bayes.
    covariance_scale : "n_features" or float, default=1.0
        Factor s of the covariances, above 0. The paper taken literally is ``temperature=1.0,
        covariance_scale="n_features"``; beyond ten or so dimensions the log-determinants alone
        then choose the class.
    shrinkage : None, "auto" or float in [0, 1], default=None
        For "tied" and "full": weight of the mean variance times identity. "auto" is Ledoit and
        Wolf's, which needs all samples at once: not for ``partial_fit`` or ``merge``.
    var_smoothing : float, default=1e-9
        Fraction of the largest variance of a feature that is added to all variances; at least 0.
    priors : None, "uniform" or array of shape (n_classes,), default=None
        Class priors π; None takes the (weighted) class frequencies, as the paper does.
    background : float, default=0.0
        Weight ε of the background, in [0, 1).
    predict_from : {"posterior", "features"}, default="posterior"
        Label rule: the largest posterior, or the largest activation, as the paper does; the
        latter needs one feature a class, in the order of ``classes_``.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted.
    class_count_ : array of shape (n_classes,)
        Sum of the weights of each class's samples.
    class_prior_ : array of shape (n_classes,)
        π.
    means_ : array of shape (n_classes, n_features)
        μ.
    covariances_ : array
        Σ, shrunk and smoothed: (n_classes, n_features), (n_classes,), (n_features,),
        (n_features, n_features) or (n_classes, n_features, n_features) for the types in the order
        above. Divided by the number of samples, not that less one.
    shrinkage_ : float or array of shape (n_classes,)
        The shrinkage used; only for ``shrinkage="auto"``.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in Deep Neural networks via
    density modelling", arXiv:1707.07013, sections 3.2 and 3.3. They scale the covariance by d in
    place of tempering; the two are the same posterior where all log-determinants are equal.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_densconf import GaussianDensityClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> density = GaussianDensityClassifier().fit(X, y)
    >>> density.predict_proba(X[:1]).round(2)
    array([[0.97, 0.02, 0.01]])
    """

    _derived: tuple[Any, Array, Any] | None

    def __init__(
        self,
        covariance_type: str = "diag",
        *,
        temperature: str | float = "n_features",
        covariance_scale: str | float = 1.0,
        shrinkage: str | float | None = None,
        var_smoothing: float = 1e-9,
        priors: Any = None,
        background: float = 0.0,
        predict_from: str = "posterior",
    ) -> None:
        self.covariance_type = covariance_type
        self.temperature = temperature
        self.covariance_scale = covariance_scale
        self.shrinkage = shrinkage
        self.var_smoothing = var_smoothing
        self.priors = priors
        self.background = background
        self.predict_from = predict_from

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit one Gaussian to each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z of the training pictures.
        y : array of shape (n_samples,)
            Labels.
        sample_weight : array of shape (n_samples,), default=None
            Weights, at least 0.

        Returns
        -------
        GaussianDensityClassifier
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range; a value of X is not finite (the sample is named);
            a class has no weight; ``predict_from="features"`` and the numbers of features and
            classes differ; a covariance is singular.
        MemoryError
            If covariances of type "full" or "tied" would not fit into memory (bytes are named).
        """
        self._check_parameters()
        X = check_features(self, X, reset=True)
        y = check_labels(y, X)
        weight = check_weight(sample_weight, X)
        self.classes_ = unique_labels(y)
        self._check_shapes(X.shape[1])
        codes = self._codes(y, X)
        self._moments, self._derived = self._measure(X, codes, weight), None
        check_present(self.classes_, self.class_count_)
        if self.shrinkage == "auto":
            self.shrinkage_ = self._ledoit_wolf(X, codes)
        self._derive()
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add samples; the same as ``fit`` on all samples so far together.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.
        y : array of shape (n_samples,)
            Labels.
        classes : array of shape (n_classes,), default=None
            All labels that will ever be seen; needed in the first call.
        sample_weight : array of shape (n_samples,), default=None
            Weights, at least 0.

        Returns
        -------
        GaussianDensityClassifier
            Itself.

        Raises
        ------
        ValueError
            As ``fit``; if ``classes`` is missing in the first call, or differs later; if a label
            is not among them; if ``shrinkage="auto"``.
        """
        first = not hasattr(self, "_moments")
        self._check_parameters()
        self._check_incremental("partial_fit")
        classes = self._check_classes(classes, first)
        X = check_features(self, X, reset=first)
        y = check_labels(y, X)
        weight = check_weight(sample_weight, X)
        self.classes_ = classes
        self._check_shapes(X.shape[1])
        part = self._measure(X, self._codes(y, X), weight)
        self._moments = part if first else _moments.merge(self._moments, part)
        self._derived = None
        return self

    def fit_batches(self, batches: Iterable[tuple], classes: Any) -> Self:
        """Fit from batches that come one by one, in constant memory.

        Parameters
        ----------
        batches : iterable of tuple
            ``(X, y)`` or ``(X, y, sample_weight)``, as ``partial_fit`` takes them.
        classes : array of shape (n_classes,)
            All labels.

        Returns
        -------
        GaussianDensityClassifier
            Itself, fitted to these batches alone.

        Raises
        ------
        ValueError
            As ``partial_fit``; if there is no batch.
        """
        self._forget()
        for X, y, *weight in batches:
            self.partial_fit(X, y, classes, *weight)
        if not hasattr(self, "_moments"):
            raise ValueError("batches is empty: give at least one (X, y)")
        return self

    def merge(self, other: "GaussianDensityClassifier") -> Self:
        """Add what another classifier was fitted to; the order does not matter.

        Parameters
        ----------
        other : GaussianDensityClassifier
            Fitted with the same classes, features and ``covariance_type``.

        Returns
        -------
        GaussianDensityClassifier
            Itself.

        Raises
        ------
        ValueError
            If classes, number of features or ``covariance_type`` differ, or
            ``shrinkage="auto"``.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        self._check_incremental("merge")
        mine, theirs = (
            (to_numpy(part.classes_).tolist(), part.n_features_in_, part.covariance_type)
            for part in (self, other)
        )
        if mine != theirs:
            raise ValueError(
                "only parts with the same classes, number of features and covariance_type can be "
                f"merged, got {mine} and {theirs}: fit each with partial_fit(classes=...)"
            )
        self._moments = _moments.merge(self._moments, other._moments)
        self._derived = None
        return self

    def score_samples(self, X: Any) -> Array:
        """Give log p(z), an out-of-distribution score: low where no class lies.

        Neither tempered nor scaled, and without the background: a normalised posterior alone is
        no such score.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples,)
            Evidence log Σ_k N(z; μ_k, Σ_k) π_k, in nats.
        """
        X = self._checked(X)
        gaussians, log_prior, _ = self._derive()

        def evidence(chunk: Array) -> Array:
            return log_sum_exp(_gaussian.log_density(chunk, gaussians) + log_prior)

        return rowwise(X, evidence, 1)[:, 0]

    def mahalanobis(self, X: Any) -> Array:
        """Give the squared Mahalanobis distance to each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples, n_classes)
            (z - μ_k)ᵀ Σ_k⁻¹ (z - μ_k).
        """
        X = self._checked(X)
        gaussians = self._derive()[0]

        def distance(chunk: Array) -> Array:
            return _gaussian.squared_distance(chunk, gaussians)

        return rowwise(X, distance, len(self.classes_))

    def typicality(self, X: Any, y: Any = None) -> Array:
        """Give the fraction of a class that lies farther out than a sample.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.
        y : array of shape (n_samples,), default=None
            The class in question; None stands for the predicted one.

        Returns
        -------
        array of shape (n_samples,)
            Upper-tail probability, in [0, 1], of the squared Mahalanobis distance under a
            chi-squared distribution of d degrees of freedom.
        """
        X = self._checked(X)
        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        distance = pick(self.mahalanobis(X), codes)
        return as_like(chi2.sf(to_numpy(distance), self.n_features_in_), X, distance.dtype)

    @property
    def class_count_(self) -> Array:
        """Sum of the weights of each class's samples, (n_classes,)."""
        check_is_fitted(self)
        return self._moments.count

    @property
    def class_prior_(self) -> Array:
        """Class priors, (n_classes,)."""
        check_is_fitted(self)
        xp = namespace(self._moments.count)
        priors = check_priors(self.priors, len(self.classes_))
        if priors is None:
            return self._moments.count / xp.sum(self._moments.count)
        return as_like(priors, self._moments.count)

    @property
    def means_(self) -> Array:
        """Mean of each class, (n_classes, n_features)."""
        check_is_fitted(self)
        return self._moments.mean

    @property
    def covariances_(self) -> Array:
        """Covariances, shrunk and smoothed; the shape depends on ``covariance_type``."""
        check_is_fitted(self)
        return _gaussian.covariances(
            self._moments, self.covariance_type, self.var_smoothing, self._shrinkage()
        )

    def _joint_log_proba(self, X: Array) -> Array:
        gaussians, log_prior, background = self._derive()
        d = X.shape[1]
        temperature = d if self.temperature == "n_features" else float(self.temperature)
        scale = d if self.covariance_scale == "n_features" else float(self.covariance_scale)
        joint = _gaussian.log_density(X, gaussians, scale)
        joint /= temperature
        if background is not None:
            wide = _gaussian.log_density(X, background, scale) / temperature  # (n, 1)
            joint = _mixed(joint, wide, self.background)
        joint += log_prior
        return joint

    def _derive(self) -> tuple[Any, Array, Any]:
        """Give Gaussians, log-priors and background; made once after the moments changed."""
        derived = self._derived or self._derivation()
        self._derived = derived
        return derived

    def _derivation(self) -> tuple[Any, Array, Any]:
        moments, kind, covariance = self._moments, self.covariance_type, self.covariances_
        xp = namespace(moments.mean)
        smallest = covariance if kind not in ("tied", "full") else xp.linalg.diagonal(covariance)
        if not float(xp.min(smallest)) > 0:
            raise ValueError(
                "a variance is 0 (a feature that is constant, in all classes or in one) and "
                f"var_smoothing={self.var_smoothing} does not raise it: set var_smoothing above 0"
            )
        gaussians = _gaussian.prepare(moments.mean, covariance, kind, _moments.grand_mean(moments))
        empty = moments.count == 0
        minus_infinity = xp.where(empty, -xp.inf, 0.0 * moments.count)
        prior = self.class_prior_
        safe = xp.where(prior > 0, prior, xp.ones_like(prior))
        log_prior = xp.where(prior > 0, xp.log(safe), -xp.inf) + minus_infinity
        wide = _gaussian.broadest(moments, covariance, kind) if self.background > 0 else None
        return gaussians, log_prior, wide

    def _measure(self, X: Array, codes: Array, weight: Array) -> _moments.Moments:
        kind = _moments.KIND[self.covariance_type]
        return _moments.measure(X, codes, weight, len(self.classes_), kind)

    def _shrinkage(self) -> Any:
        return self.shrinkage_ if self.shrinkage == "auto" else self.shrinkage

    def _ledoit_wolf(self, X: Array, codes: Array) -> Any:
        if self.covariance_type not in ("tied", "full"):
            return None
        deviation, codes = to_numpy(X), to_numpy(codes)
        deviation = deviation - to_numpy(self._moments.mean)[codes]
        if self.covariance_type == "tied":
            return ledoit_wolf_shrinkage(deviation, assume_centered=True)
        parts = (deviation[codes == k] for k in range(len(self.classes_)))
        return np.array([ledoit_wolf_shrinkage(part, assume_centered=True) for part in parts])

    def _check_parameters(self) -> None:
        check_option("covariance_type", self.covariance_type, _moments.KIND)
        check_option("predict_from", self.predict_from, LABEL_RULES)
        check_scale("temperature", self.temperature)
        check_scale("covariance_scale", self.covariance_scale)
        if self.shrinkage not in (None, "auto"):
            wanted = "None, 'auto' or a float in [0, 1]"
            check_number("shrinkage", self.shrinkage, lambda a: 0 <= a <= 1, wanted)
        wanted = "a finite float of at least 0"
        check_number("var_smoothing", self.var_smoothing, lambda v: 0 <= v < math.inf, wanted)
        check_number("background", self.background, lambda e: 0 <= e < 1, "a float in [0, 1)")

    def _check_incremental(self, method: str) -> None:
        if self.shrinkage == "auto":
            raise ValueError(
                f"{method} cannot be used with shrinkage='auto', which needs all samples at once: "
                "set a float, or use fit"
            )

    def _check_classes(self, classes: Any, first: bool) -> Any:
        if classes is None:
            if first:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return self.classes_
        classes = unique_labels(classes if hasattr(classes, "shape") else np.asarray(classes))
        if not first and to_numpy(classes).tolist() != to_numpy(self.classes_).tolist():
            raise ValueError(
                f"`classes={classes}` is not the same as on last call to partial_fit, was: "
                f"{self.classes_}"
            )
        return classes

    def _check_shapes(self, d: int) -> None:
        k = len(self.classes_)
        check_priors(self.priors, k)
        check_label_rule(self.predict_from, d, k)
        if self.covariance_type in ("tied", "full"):
            _check_memory(self.covariance_type, d, k if self.covariance_type == "full" else 1)

    def _forget(self) -> None:
        for name in ("_moments", "_derived", "classes_", "n_features_in_", "feature_names_in_"):
            if hasattr(self, name):
                delattr(self, name)


def _mixed(joint: Array, wide: Array, share: float) -> Array:
    """Give log((1 - share) exp(joint) + share exp(wide)), neither of which is -inf."""
    xp = namespace(joint)
    return xp.logaddexp(joint + math.log1p(-share), wide + math.log(share))


def _check_memory(covariance_type: str, d: int, n_matrices: int) -> None:
    """Refuse covariances that would not fit: the scatter, the covariances and their whitening."""
    needed = 3 * 8 * n_matrices * d * d
    available = _available_bytes()
    if needed > available:
        raise MemoryError(
            f"covariance_type={covariance_type!r} needs {needed:,} bytes for {n_matrices} matrices "
            f"of {d} x {d}, and {available:,} are free: use 'tied', or 'diag'"
        )


def _available_bytes() -> int:
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system: no way to ask
        return sys.maxsize
