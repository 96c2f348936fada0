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

    A subclass has ``classes_``, ``predict_from`` ("posterior" or "features") and, for a chunk of
    checked samples, ``_write_joint(X, own)``, which writes to ``own`` (n, k), may use up X, and
    gives what all classes share, (n, 1) or 0.0; the sum of both is log p(z | k) + log π_k. What is
    shared is apart, so that it does not drown, far away, what the classes differ in. ``_home``, if
    not None, is a learned array: X must be where it is.
    """

    _home: Array = None

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
        """Give the posterior p(y | z), the density confidence.

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
        """Give the logarithm of the posterior.

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
        """Give log p(z | y) + log p(y), before it is normalised over the classes.

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
        """Give the posterior of one label of each sample.

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

        def of_predicted(chunk: Array, own: Array) -> Array:
            return namespace(own).max(self._posterior(chunk, own), axis=1)

        def of_labels(chunk: Array, own: Array, codes: Array) -> Array:
            return pick(self._posterior(chunk, own), codes)

        X = self._checked(X, "confidence")
        if y is None and self.predict_from == "posterior":
            return self._mapped(of_predicted, X)
        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return self._mapped(of_labels, X, codes)

    def _write_joint(self, X: Array, own: Array) -> Array | float:
        raise NotImplementedError

    def _posterior(self, X: Array, own: Array) -> Array:
        _to_posterior(own, self._write_joint(X, own))
        return own

    @property
    def _n_classes(self) -> int:
        return self.classes_.shape[0]

    def _checked(self, X: Any, method: str) -> Array:
        check_is_fitted(self)
        X = check_features(self, X, reset=False)
        if self._home is not None:
            check_same_namespace(X, self._home, f"{type(self).__name__}.{method}()")
        return X

    @property
    def _multiplications(self) -> float:
        """About how many a sample takes, in products of matrices."""
        return math.inf

    def _mapped(self, function: Callable[..., Array], X: Array, *others: Array) -> Array:
        with one_thread_if_few(X.shape[0] * self._multiplications):
            return map_rows(function, self._n_classes, X, *others)

    def _filled(self, write: Callable[[Array, Array], object], X: Array) -> Array:
        with one_thread_if_few(X.shape[0] * self._multiplications):
            return fill_rows(write, self._n_classes, X)

    def _normalised(self, normalise: Callable[[Array, Array | float], None], X: Array) -> Array:
        def write(chunk: Array, own: Array) -> None:
            normalise(own, self._write_joint(chunk, own))

        return self._filled(write, X)

    def _predicted_codes(self, X: Array) -> Array:
        def largest(chunk: Array, own: Array) -> Array:
            self._write_joint(chunk, own)
            return namespace(own).argmax(own, axis=1)

        if self.predict_from == "features":
            return namespace(X).argmax(X, axis=1)
        return self._mapped(largest, X)

    def _codes(self, y: Any, X: Array) -> Array:
        codes = encode_labels(y, self.classes_)
        if codes.shape != (X.shape[0],):
            raise ValueError(f"y must have one label a sample, ({X.shape[0]},), got {codes.shape}")
        return as_like(codes, X)


def _to_joint(own: Array, shared: Array | float) -> None:
    own += shared


def _to_log_posterior(own: Array, _shared: Array | float) -> None:
    own -= log_sum_exp(own)


def _to_posterior(own: Array, _shared: Array | float) -> None:
    xp = namespace(own)
    own -= xp.max(own, axis=1, keepdims=True)
    if xp is np:
        np.exp(own, out=own)
    elif hasattr(own, "exp_"):
        own.exp_()
    else:
        own[...] = xp.exp(own)
    own /= xp.sum(own, axis=1, keepdims=True)
