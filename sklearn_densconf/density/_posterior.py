"""What follows from log p(z | k) + log π_k: the part that all classifiers here share.

Imports no estimator of this package.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

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
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf._validation import check_features, check_same_namespace, encode_labels


class PosteriorMixin(ClassifierMixin, BaseEstimator):
    """Turns joint log-probabilities of samples and classes into everything else.

    A subclass has ``classes_``, ``predict_from`` ("posterior" or "features") and
    ``_joint(X, out)``. That gets a chunk of checked samples (n, d), float64, which it may
    overwrite, and returns two terms whose sum is log p(z | k) + log π_k: what the classes differ
    in, (n, k), and what they share, (n, 1) or 0.0. They are apart because far away the second
    would drown the first. ``out``, float64 of shape (n, k), may be used for the first and returned,
    which spares a copy. ``_learned``, if not None, is a learned array: X must be where it is.
    """

    _learned: Array = None

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
            Logarithms of probabilities, log p(y | z), in nats.
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

    def confidence(self, X: Any, y: Any = None) -> Array:
        """Compute the posterior of one label per sample.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.
        y : array of shape (n_samples,), default=None
            The labels in question; None stands for the predicted ones.

        Returns
        -------
        array of shape (n_samples,)
            Posterior of the label, in [0, 1].

        Raises
        ------
        ValueError
            If ``y`` has a label that is not in ``classes_``, or another number of samples.
        """

        def largest(chunk: Array, out: Array) -> Array:
            return namespace(out).max(self._posterior(chunk, out), axis=1)

        def of_label(chunk: Array, out: Array, codes: Array) -> Array:
            return pick(self._posterior(chunk, out), codes)

        X = self._checked(X, "confidence")
        if y is None and self.predict_from == "posterior":
            return self._mapped(largest, X)
        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return self._mapped(of_label, X, codes)

    def _joint(self, X: Array, out: Array) -> tuple[Array, Array | float]:
        raise NotImplementedError

    def _posterior(self, X: Array, out: Array) -> Array:
        joint, shared = self._joint(X, out)
        _to_posterior(joint, shared)
        return joint

    @property
    def _n_classes(self) -> int:
        return self.classes_.shape[0]

    @property
    def _multiplications(self) -> float:
        """About how many one sample takes, in products of matrices."""
        return math.inf

    def _checked(self, X: Any, method: str) -> Array:
        check_is_fitted(self)
        X = check_features(self, X, reset=False)
        if self._learned is not None:
            check_same_namespace(X, self._learned, f"{type(self).__name__}.{method}()")
        return X

    def _mapped(self, function: Callable[..., Array], X: Array, *others: Array) -> Array:
        with one_thread_if_few(X.shape[0] * self._multiplications):
            return map_rows(function, self._n_classes, X, *others)

    def _filled(self, function: Callable[[Array, Array], Array], X: Array) -> Array:
        with one_thread_if_few(X.shape[0] * self._multiplications):
            return fill_rows(function, self._n_classes, X)

    def _normalised(self, normalise: Callable[[Array, Array | float], None], X: Array) -> Array:
        def rows(chunk: Array, out: Array) -> Array:
            joint, shared = self._joint(chunk, out)
            normalise(joint, shared)
            return joint

        return self._filled(rows, X)

    def _predicted_codes(self, X: Array) -> Array:
        def largest(chunk: Array, out: Array) -> Array:
            joint, _ = self._joint(chunk, out)
            return namespace(joint).argmax(joint, axis=1)

        if self.predict_from == "features":
            return namespace(X).argmax(X, axis=1)
        return self._mapped(largest, X)

    def _codes(self, y: Any, X: Array) -> Array:
        codes = encode_labels(y, self.classes_)
        if codes.shape != (X.shape[0],):
            raise ValueError(
                f"y must have one label per sample, ({X.shape[0]},), got {codes.shape}"
            )
        return as_like(codes, X)


# Each normalises the differences (n, k) in place.


def _to_joint(joint: Array, shared: Array | float) -> None:
    joint += shared


def _to_log_posterior(joint: Array, _shared: Array | float) -> None:
    joint -= log_sum_exp(joint)


def _to_posterior(joint: Array, _shared: Array | float) -> None:
    xp = namespace(joint)
    joint -= xp.max(joint, axis=1, keepdims=True)
    if xp is np:
        np.exp(joint, out=joint)
    elif hasattr(joint, "exp_"):
        joint.exp_()
    else:
        joint[...] = xp.exp(joint)
    joint /= xp.sum(joint, axis=1, keepdims=True)
