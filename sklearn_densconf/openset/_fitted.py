"""What a fitted open-set classifier says of pictures, and what it says it from."""

from copy import copy
from typing import Any

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch, Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import Array, as_like, float64, map_rows, namespace, pick, to_numpy
from sklearn_densconf._validation import check_features, check_priors, check_same_namespace
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.density import _moments as moments_of
from sklearn_densconf.density._logits import (
    fit_temperature,
    in_order,
    softmax_of_labels,
    warn_of_chance,
)
from sklearn_densconf.density._moments import Moments
from sklearn_densconf.density._posterior import PosteriorMixin
from sklearn_densconf.openset._discount import LogProba
from sklearn_densconf.openset._explanation import explain
from sklearn_densconf.openset._familiarity import Familiarity, familiarity, gaussians, unit
from sklearn_densconf.openset._head import OpenSetHead
from sklearn_densconf.openset._network_posterior import (
    Given,
    Softmax,
    check_same_classes,
    columns_of,
)


class FittedMixin(PosteriorMixin):
    """Reads moments, discount and posterior, which the fit of a subclass has learned."""

    classes_: Array
    n_features_in_: int
    density: GaussianDensityClassifier | None
    density_: GaussianDensityClassifier
    background_: GaussianDensityClassifier
    location_: np.ndarray
    scale_: np.ndarray
    temperature_: float
    posterior: Any
    posterior_: Any
    priors: Any
    _moments: Moments
    _width: int  # of the columns that are features; the others are logits
    _order: np.ndarray | None  # of the logits
    _evaluated: Familiarity | None = None  # made again when it is used
    _fitted_here = False  # whether posterior_ was fitted to the logits by `fit`

    def confidence(self, X: Any, y: Any = None, *, log_odds: bool = False) -> Array:
        """Compute the posterior of one label per picture, or its log-odds.

        Rank by log-odds: they differ where posteriors round to 1, and where they round to the
        priors, since a ρ below 1e-9 is kept from vanishing beside them.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.
        y : array of shape (n_samples,), default=None
            The labels in question; None stands for the network's.
        log_odds : bool, default=False
            Whether to compute log p - log(1 - p) instead of p.

        Returns
        -------
        array of shape (n_samples,)
            Posterior p of the label, in [0, 1]; with ``log_odds``, in [-inf, inf], in nats, and
            float64 for float32 input too, which could not resolve it.

        Raises
        ------
        ValueError
            If ``y`` has a label that is not in ``classes_``, or another number of samples.
        """
        X = self._checked(X, "confidence")
        return super().confidence(float64(X) if log_odds else X, y, log_odds=log_odds)

    def known_proba(self, X: Any) -> Array:
        """Compute ρ, the probability that a picture is of the known world.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.

        Returns
        -------
        array of shape (n_samples,)
            Probability ρ, in [0, 1].
        """
        X = self._checked(X, "known_proba")
        head = self._head(X)
        return self._mapped(head.known, head, X)

    def score_samples(self, X: Any) -> Array:
        """Compute the log-odds of ρ: how familiar a picture is; low for what is unlike anything.

        It ranks as `known_proba` does, and keeps ranking where that rounds to 0 or 1.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.

        Returns
        -------
        array of shape (n_samples,)
            Log-odds, log ρ - log(1 - ρ), in nats.
        """
        X = self._checked(X, "score_samples")
        head = self._head(X)
        return self._mapped(head.log_odds, head, X)

    def explain(self, X: Any) -> Bunch:
        """Take the log-odds of ρ apart: which factor and which features lower it.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.

        Returns
        -------
        Bunch
            Arrays of numpy, in nats. ``log_odds`` (n_samples,) is `score_samples`: the sum of
            ``factors`` (n_samples, 2), the log-odds of each factor, and of ``both`` (n_samples,),
            at most 0, since both factors have to hold. A factor is its ``offset`` (2,) and the sum
            of its ``features`` (n_samples, 2, n_columns), where a quadratic form vᵀ Σ⁻¹ v has the
            parts v_j (Σ⁻¹ v)_j. ``names`` are "nearest" and "relative"; ``nearest`` (n_samples,)
            is the label of the nearest class.
        """
        X = to_numpy(float64(self._checked(X, "explain")))
        directions = unit(X[:, : self._width].copy())
        densities = copy(self.density_), copy(self.background_)  # copies are numpy's
        return explain(directions, *densities, self.location_, self.scale_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "location_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as numpy arrays: what was fitted on a GPU loads where there is none."""
        state = dict(super().__getstate__())
        state.pop("_evaluated", None)
        if "_moments" in state:
            state["_moments"] = moments_of.as_numpy(self._moments)
        return state | {name: to_numpy(state[name]) for name in {"classes_"} & set(state)}

    def _checked(self, X: Any, method: str) -> Array:
        if hasattr(self, "_moments") and not hasattr(self, "location_"):
            raise NotFittedError(
                f"{method} needs a discount, and parts were added after the last one was fitted: "
                "call calibrate(X_val, y_val) first"
            )
        if "location_" not in vars(self):  # of a fitted one each call would ask for its tags
            check_is_fitted(self)
        return self._checked_place(check_features(self, X, reset=False), method)

    def _checked_place(self, X: Array, method: str) -> Array:
        check_same_namespace(X, self._moments.mean, f"{type(self).__name__}.{method}()")
        return X

    def _check_measured(self, method: str) -> None:
        if not hasattr(self, "_moments"):
            raise NotFittedError(
                f"{method} needs Gaussians, but this {type(self).__name__} has seen no pictures: "
                "call fit or partial_fit first"
            )

    def _template(self) -> GaussianDensityClassifier:
        default = GaussianDensityClassifier("tied", shrinkage="auto")
        return default if self.density is None else self.density

    def _derive(self, X: Array) -> None:
        """Derive the Gaussians, where X is."""
        moments = moments_of.like(self._moments, X)
        self.density_, self.background_ = gaussians(moments, self.classes_, self._template())

    def _familiarity(self, X: Array) -> Familiarity:
        classes, background = self.density_._head(X), self.background_._head(X)
        kept = self._evaluated  # once: another thread may replace it
        if kept is None or kept.classes is not classes or kept.background is not background:
            self._evaluated = kept = familiarity(classes, background)
        return kept

    def _scores(self, X: Array) -> np.ndarray:
        """Compute the two scores, (n, 2)."""
        scores, n_classes = self._familiarity(X).scores, len(self.density_.classes_)
        return to_numpy(float64(map_rows(scores, n_classes, X[:, : self._width])))

    def _log_proba(self, X: Array, codes: np.ndarray) -> tuple[LogProba, float]:
        """Return log q of labels as a function of log T, and the T of q alone."""
        if self.posterior_ is None:
            logits = to_numpy(float64(self._logits(X)))
            warn_of_chance(logits, codes, "X_val and y_val")
            return softmax_of_labels(logits, codes), fit_temperature(logits, codes)
        posterior = self._log_posterior()

        def of_labels(chunk: Array, _out: Array, codes: Array) -> Array:
            return pick(posterior(chunk), codes)

        log_proba = to_numpy(float64(map_rows(of_labels, 0, X, as_like(codes, X))))
        return lambda _: (log_proba, 0.0), 1.0

    def _log_posterior(self) -> Softmax | Given:
        if self.posterior_ is None:
            return Softmax(self._width, self._order, self.temperature_)
        return self._given_posterior()

    def _check_posterior(self) -> None:
        """Check that the posterior, if one is given, is fitted and fits."""
        if self.posterior is None:
            self.posterior_ = None
            return
        if not hasattr(self, "posterior_"):  # after partial_fit, which sees no logits twice
            check_is_fitted(self.posterior)
            self.posterior_ = self.posterior
        self._given_posterior()

    def _given_posterior(self) -> Given:
        """Return what evaluates a classifier; one that was fitted here takes sorted logits."""
        check_same_classes(self.posterior_, self.classes_)
        if self._fitted_here:
            return Given(self.posterior_, slice(self._width, None), self._order)
        n_logits = self.n_features_in_ - self._width
        return Given(self.posterior_, columns_of(self.posterior_, self._width, n_logits))

    def _log_prior(self) -> np.ndarray:
        count = to_numpy(self._moments.count)
        given = check_priors(self.priors, len(self.classes_))
        with np.errstate(divide="ignore"):  # log 0 is meant: a class that is not expected
            return np.log(count / count.sum() if given is None else given)

    def _logits(self, X: Array) -> Array:
        return in_order(X[:, self._width :], self._order)

    def _head(self, X: Array) -> OpenSetHead:
        familiarity = self._familiarity(X)
        return OpenSetHead(
            width=self._width,
            log_posterior=self._log_posterior(),
            familiarity=familiarity,
            location=as_like(self.location_, X),
            scale=as_like(self.scale_, X),
            log_prior=as_like(self._log_prior(), X),
            n_multiplications=familiarity.n_multiplications,
        )

    def _predicted_codes(self, X: Array) -> Array:
        return namespace(X).argmax(self._logits(X), axis=1)
