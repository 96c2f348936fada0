"""What follows from log p(z | k) + log π_k: the part that all classifiers here share.

Imports no estimator of this package.
"""

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted, column_or_1d

from sklearn_densconf._array import (
    Array,
    as_like,
    fill_rows,
    log_sum_exp,
    map_rows,
    namespace,
    pick,
    to_numpy,
)
from sklearn_densconf._callbacks import CallbackSupportMixin
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf._validation import check_features, encode_labels
from sklearn_densconf.density._logits import two_of_single


class Head(Protocol):
    """What a fitted classifier evaluates, with its parameters as they are now."""

    @property
    def n_multiplications(self) -> float:
        """About how many one sample takes, in products of matrices; infinity if not known."""

    def joint(self, X: Array, out: Array) -> tuple[Array, Array | float]:
        """Compute two terms whose sum is log p(z | k) + log π_k.

        They are apart because far away the second would drown the first.

        Parameters
        ----------
        X : array of shape (n, d), float64
            A chunk of checked samples; may be overwritten.
        out : array of shape (n, k), float64
            Room that may be used for the first term and returned, which spares a copy.

        Returns
        -------
        differences : array of shape (n, k)
            What the classes differ in; it may be overwritten.
        shared : array of shape (n, 1) or 0.0
            What they share.
        """


class PosteriorMixin(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Turns joint log-probabilities of samples and classes into everything else.

    A subclass has ``classes_``, ``predict_from`` ("posterior" or "features") and ``_head(X)``,
    which returns a `Head` for checked samples, where they are. It is asked for once per call.
    """

    def predict(self, X: Any) -> Array:
        """Predict labels.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples,)
            The class of the largest posterior; with ``predict_from="features"``, the paper's rule,
            the class of the largest activation.
        """
        codes = self._predicted_codes(self._checked(X, "predict"))
        classes = to_numpy(self.classes_)
        if classes.dtype.kind in "biuf":  # numbers follow X; strings can only be numpy's
            return namespace(codes).take(as_like(self.classes_, codes), codes)
        return classes[to_numpy(codes)]

    def predict_proba(self, X: Any) -> Array:
        """Compute the posterior p(y | z), the density confidence.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Probabilities; each row sums to 1. float32 for float32 input, else float64.
        """
        return self._normalised(_to_posterior, self._checked(X, "predict_proba"))

    def predict_log_proba(self, X: Any) -> Array:
        """Compute the logarithm of the posterior.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Logarithms of probabilities, log p(y | z), in nats. Near a probability of 1 they are
            exact as well: -log(1 + Σ exp(log-odds)) over the other classes.
        """
        return self._normalised(_to_log_posterior, self._checked(X, "predict_log_proba"))

    def predict_joint_log_proba(self, X: Any) -> Array:
        """Compute log p(z | y) + log p(y), before it is normalised over the classes.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples, n_classes)
            Joint log-probabilities, in nats; -inf for a class without samples.
        """
        return self._normalised(_to_joint, self._checked(X, "predict_joint_log_proba"))

    def confidence(self, X: Any, y: Any = None, *, log_odds: bool = False) -> Array:
        """Compute the posterior of one label per sample, or its log-odds.

        Rank by log-odds: where a posterior rounds to 1 for many samples, they still differ.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.
        y : array of shape (n_samples,), default=None
            The labels in question; None stands for the predicted ones.
        log_odds : bool, default=False
            Whether to compute log p - log(1 - p) instead of p.

        Returns
        -------
        array of shape (n_samples,)
            Posterior p of the label, in [0, 1]; with ``log_odds``, in [-inf, inf], in nats.

        Raises
        ------
        ValueError
            If ``y`` has a label that is not in ``classes_``, or another number of samples.
        """

        X = self._checked(X, "confidence")
        head = self._head(X)

        def largest(chunk: Array, out: Array) -> Array:
            return namespace(out).max(_posterior(head, chunk, out), axis=1)

        def of_label(chunk: Array, out: Array, codes: Array) -> Array:
            return pick(_posterior(head, chunk, out), codes)

        def odds(chunk: Array, out: Array, codes: Array) -> Array:
            return _log_odds(head.joint(chunk, out)[0], codes)

        if y is None and self.predict_from == "posterior" and not log_odds:
            return self._mapped(largest, head, X)
        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return self._mapped(odds if log_odds else of_label, head, X, codes)

    def _head(self, X: Array) -> Head:
        raise NotImplementedError

    def _checked(self, X: Any, method: str) -> Array:  # noqa: ARG002 - named in a subclass's error
        if "classes_" not in vars(self):  # of a fitted one each call would ask for its tags
            check_is_fitted(self)
        return check_features(self, X, reset=False)

    def _mapped(self, function: Callable[..., Array], head: Head, X: Array, *others: Any) -> Array:
        with one_thread_if_few(X.shape[0] * head.n_multiplications):
            return map_rows(function, self.classes_.shape[0], X, *others)

    def _filled(self, function: Callable[[Array, Array], Array], head: Head, X: Array) -> Array:
        with one_thread_if_few(X.shape[0] * head.n_multiplications):
            return fill_rows(function, self.classes_.shape[0], X)

    def _normalised(self, normalise: Callable[[Array, Array | float], None], X: Array) -> Array:
        head = self._head(X)

        def rows(chunk: Array, out: Array) -> Array:
            joint, shared = head.joint(chunk, out)
            normalise(joint, shared)
            return joint

        return self._filled(rows, head, X)

    def _predicted_codes(self, X: Array) -> Array:
        if self.predict_from == "features":
            return namespace(X).argmax(two_of_single(X, self.classes_.shape[0]), axis=1)
        head = self._head(X)

        def largest(chunk: Array, out: Array) -> Array:
            joint, _ = head.joint(chunk, out)
            return namespace(joint).argmax(joint, axis=1)

        return self._mapped(largest, head, X)

    def _codes(self, y: Any, X: Array) -> Array:
        codes = encode_labels(column_or_1d(to_numpy(y), warn=True), self.classes_)
        if codes.shape != (X.shape[0],):
            raise ValueError(
                f"y must have one label per sample, ({X.shape[0]},), got {codes.shape}"
            )
        return as_like(codes, X)


def _posterior(head: Head, X: Array, out: Array) -> Array:
    joint, shared = head.joint(X, out)
    _to_posterior(joint, shared)
    return joint


# Each normalises the differences (n, k) in place.


def _to_joint(joint: Array, shared: Array | float) -> None:
    joint += shared


def _to_log_posterior(joint: Array, _shared: Array | float) -> None:
    # The largest term is left out of the sum, not subtracted from it: 1 would drown the others.
    xp = _subtract_largest(joint)
    others = xp.where(_columns(joint, xp.argmax(joint, axis=1)), -math.inf, joint)
    joint -= xp.log1p(xp.sum(xp.exp(others), axis=1, keepdims=True))


def _to_posterior(joint: Array, _shared: Array | float) -> None:
    xp = _subtract_largest(joint)
    if xp is np:
        np.exp(joint, out=joint)
    elif hasattr(joint, "exp_"):
        joint.exp_()
    else:
        joint[...] = xp.exp(joint)
    joint /= xp.sum(joint, axis=1, keepdims=True)


def _subtract_largest(joint: Array) -> Any:
    """Subtract the largest of each row in place; return the array's namespace."""
    xp = namespace(joint)
    with np.errstate(over="ignore"):  # -inf is meant where the difference is no float64
        joint -= xp.max(joint, axis=1, keepdims=True)
    return xp


def _log_odds(joint: Array, codes: Array) -> Array:
    """Compute joint_y - log Σ exp(joint_k) over the other classes, for one label y a row, (n,)."""
    others = namespace(joint).where(_columns(joint, codes), -math.inf, joint)
    return pick(joint, codes) - log_sum_exp(others)[:, 0]


def _columns(joint: Array, codes: Array) -> Array:
    """Mark one column in each row, (n, k)."""
    return as_like(np.arange(joint.shape[1]), joint) == codes[:, None]
