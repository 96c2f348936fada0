"""What follows from log p(z | k) + log π_k: the part that all classifiers here share.

Imports no estimator of this package.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
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
from sklearn_densconf._validation import check_features, check_same_namespace, encode_labels


class PosteriorMixin(ClassifierMixin, BaseEstimator):
    """Turns joint log-probabilities of samples and classes into everything else.

    A subclass has ``classes_``, ``predict_from`` ("posterior" or "features") and, for a chunk of
    checked samples, ``_joint_parts(X)``: two arrays of float64, (n, k) and (n, 1), whose sum is
    log p(z | k) + log π_k. What all classes share is apart, so that it does not drown, far away,
    what they differ in. ``_home``, if not None, is a learned array: X must be where it is.
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
        return self._of_parts(_posterior, self._checked(X, "predict_proba"))

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
        return self._of_parts(_log_posterior, self._checked(X, "predict_log_proba"))

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
        return self._of_parts(_joint, self._checked(X, "predict_joint_log_proba"))

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

        def of_labels(chunk: Array, codes: Array) -> Array:
            return pick(_posterior(*self._joint_parts(chunk)), codes)

        X = self._checked(X, "confidence")
        if y is None and self.predict_from == "posterior":
            return self._of_parts(_largest_posterior, X)
        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return rowwise(of_labels, self._n_classes, X, codes)

    def _joint_parts(self, X: Array) -> tuple[Array, Array]:
        raise NotImplementedError

    @property
    def _n_classes(self) -> int:
        return self.classes_.shape[0]

    def _checked(self, X: Any, method: str) -> Array:
        check_is_fitted(self)
        X = check_features(self, X, reset=False)
        if self._home is not None:
            check_same_namespace(X, self._home, f"{type(self).__name__}.{method}()")
        return X

    def _of_parts(self, function: Callable[[Array, Array], Array], X: Array) -> Array:
        def of_chunk(chunk: Array) -> Array:
            return function(*self._joint_parts(chunk))

        return rowwise(of_chunk, self._n_classes, X)

    def _predicted_codes(self, X: Array) -> Array:
        if self.predict_from == "features":
            return namespace(X).argmax(X, axis=1)
        return self._of_parts(_largest, X)

    def _codes(self, y: Any, X: Array) -> Array:
        codes = encode_labels(y, self.classes_)
        if codes.shape != (X.shape[0],):
            raise ValueError(f"y must have one label a sample, ({X.shape[0]},), got {codes.shape}")
        return as_like(codes, X)


def _joint(own: Array, shared: Array) -> Array:
    own += shared
    return own


def _largest(own: Array, _shared: Array) -> Array:
    return namespace(own).argmax(own, axis=1)


def _log_posterior(own: Array, _shared: Array) -> Array:
    own -= log_sum_exp(own)
    return own


def _posterior(own: Array, _shared: Array) -> Array:
    xp = namespace(own)
    own -= xp.max(own, axis=1, keepdims=True)
    own = np.exp(own, out=own) if xp is np else xp.exp(own)
    own /= xp.sum(own, axis=1, keepdims=True)
    return own


def _largest_posterior(own: Array, shared: Array) -> Array:
    return namespace(own).max(_posterior(own, shared), axis=1)
