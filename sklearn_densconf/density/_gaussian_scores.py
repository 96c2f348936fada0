"""What follows from the moments of Gaussians: densities, distances and the learned attributes."""

import math
from typing import Any

import numpy as np
from scipy.special import chdtrc
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import (
    Array,
    as_like,
    device_of,
    log_sum_exp,
    namespace,
    pick,
    to_numpy,
)
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf._posterior import PosteriorMixin
from sklearn_densconf._validation import check_priors
from sklearn_densconf.density import _checks, _covariances, _gaussian, _moments
from sklearn_densconf.density._gaussian import Gaussians
from sklearn_densconf.density._moments import Moments


class GaussianScores(PosteriorMixin):
    """The part of GaussianDensityClassifier that evaluates; nothing here learns.

    Everything is derived from the moments with the parameters as they are now, so that a parameter
    set on a fitted classifier acts at once.
    """

    covariance_type: str
    temperature: str | float
    covariance_scale: str | float
    shrinkage: Any
    shrinkage_: Any
    var_smoothing: float
    priors: Any
    background: float
    classes_: Array
    n_features_in_: int
    _moments: Moments
    _derived: tuple[tuple, tuple[Gaussians, Gaussians | None]] | None = None

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
        X = self._checked(X, "score_samples")
        gaussians, _ = self._gaussians(X)
        log_prior = self._log_prior(X)

        def evidence(chunk: Array, memory: Array) -> Array:
            _gaussian.write_log_density(memory, chunk, gaussians, log_prior=log_prior)
            return log_sum_exp(memory)[:, 0]

        return self._mapped(evidence, X)

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
        X = self._checked(X, "mahalanobis")
        gaussians, _ = self._gaussians(X)

        def write(chunk: Array, memory: Array) -> None:
            _gaussian.write_squared_distance(memory, chunk, gaussians)

        return self._filled(write, X)

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
        X = self._checked(X, "typicality")
        gaussians, _ = self._gaussians(X)

        def tail(chunk: Array, memory: Array, codes: Array) -> Array:
            _gaussian.write_squared_distance(memory, chunk, gaussians)
            distance = to_numpy(pick(memory, codes))
            return as_like(chdtrc(self.n_features_in_, distance), chunk)

        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return self._mapped(tail, X, codes)

    @property
    def class_count_(self) -> Array:
        """Sum of the weights of each class's samples, (n_classes,)."""
        check_is_fitted(self)
        return self._moments.count

    @property
    def class_prior_(self) -> Array:
        """Class priors, (n_classes,)."""
        check_is_fitted(self)
        return self._prior(self._moments.count)

    @property
    def means_(self) -> Array:
        """Mean of each class, (n_classes, n_features)."""
        check_is_fitted(self)
        return self._moments.mean

    @property
    def covariances_(self) -> Array:
        """Covariances, shrunk and smoothed; the shape depends on ``covariance_type``."""
        check_is_fitted(self)
        return self._covariance(self._moments)

    @property
    def _home(self) -> Array:
        return self._moments.mean

    @property
    def _multiplications(self) -> float:
        d, k = self.n_features_in_, self._n_classes
        return {"tied": d * (d + k), "full": d * d * k}.get(self.covariance_type, 2 * d * k)

    @property
    def _multiplications_to_prepare(self) -> float:
        d, k = self.n_features_in_, self._n_classes
        return {"tied": d**3, "full": d**3 * k}.get(self.covariance_type, 2 * d * k)

    def _write_joint(self, X: Array, own: Array) -> Array | float:
        gaussians, wide = self._gaussians(X)
        d, log_prior = X.shape[1], self._log_prior(X)
        spread = {
            "temperature": d if self.temperature == "n_features" else float(self.temperature),
            "scale": d if self.covariance_scale == "n_features" else float(self.covariance_scale),
        }
        if wide is None:
            _gaussian.write_log_density(own, X, gaussians, log_prior=log_prior, **spread)
            return 0.0
        shared = namespace(X).zeros_like(own[:, :1])
        _gaussian.write_log_density(shared, X + 0.0, wide, **spread)
        _gaussian.write_log_density(own, X, gaussians, **spread)
        own -= shared
        own[...] = _mixed(own, self.background) + log_prior
        return shared

    def _gaussians(self, X: Array) -> tuple[Gaussians, Gaussians | None]:
        """Give the Gaussians and the background, where X is; made anew only when they change."""
        made_from = (
            self.covariance_type,
            self.var_smoothing,
            self.shrinkage,
            self.background > 0,
            namespace(X),
            device_of(X),
        )
        derived = self._derived  # once: another thread may replace it
        if derived is None or derived[0] != made_from:
            with one_thread_if_few(self._multiplications_to_prepare):
                derived = made_from, self._prepared(_moments.like(self._moments, X))
            self._derived = derived
        return derived[1]

    def _prepared(self, moments: Moments) -> tuple[Gaussians, Gaussians | None]:
        _checks.check_parameters(self)
        kind = self.covariance_type
        covariance = _covariances.fill_absent(self._covariance(moments), moments.count, kind)
        _checks.check_positive(covariance, kind)
        center = _moments.grand_mean(moments)
        gaussians = _gaussian.prepare(moments.mean, covariance, kind, center)
        wide = _gaussian.broadest(moments, covariance, gaussians) if self.background > 0 else None
        return gaussians, wide

    def _covariance(self, moments: Moments) -> Array:
        _checks.check_kind(moments, self.covariance_type)
        shrinkage = (
            getattr(self, "shrinkage_", None) if self.shrinkage == "auto" else self.shrinkage
        )
        return _covariances.derive(moments, self.covariance_type, self.var_smoothing, shrinkage)

    def _prior(self, count: Array) -> Array:
        given = check_priors(self.priors, self._n_classes)
        return count / namespace(count).sum(count) if given is None else as_like(given, count)

    def _log_prior(self, X: Array) -> Array:
        count = as_like(self._moments.count, X)
        xp, prior = namespace(count), self._prior(count)
        with np.errstate(divide="ignore"):  # log 0 is meant: no samples, or a prior of 0
            return xp.log(xp.where(count > 0, prior, xp.zeros_like(prior)))


def _mixed(log_ratio: Array, share: float) -> Array:
    """Give log((1 - share) exp(log_ratio) + share)."""
    xp = namespace(log_ratio)
    log_share = xp.full_like(log_ratio[:, :1], math.log(share))
    return xp.logaddexp(log_ratio + math.log1p(-share), log_share)
