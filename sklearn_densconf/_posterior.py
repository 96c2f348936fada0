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

    A subclass has ``classes_``, ``predict_from`` ("posterior" or "features") and
    ``_joint_log_proba(X)``: log p(z | k) + log π_k, (n, k), float64, a new array, for a chunk of
    checked samples. ``_home``, if not None, is a learned array: X must be where it is.
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
        return self._of_joint(_softmax, self._checked(X, "predict_proba"))

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
        return self._of_joint(_log_softmax, self._checked(X, "predict_log_proba"))

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
        return self._of_joint(_same, self._checked(X, "predict_joint_log_proba"))

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
            return pick(_softmax(self._joint_log_proba(chunk)), codes)

        X = self._checked(X, "confidence")
        if y is None and self.predict_from == "posterior":
            return rowwise(self._largest_posterior, self._n_classes, X)
        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return rowwise(of_labels, self._n_classes, X, codes)

    def _joint_log_proba(self, X: Array) -> Array:
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

    def _of_joint(self, function: Callable[[Array], Array], X: Array) -> Array:
        def of_chunk(chunk: Array) -> Array:
            return function(self._joint_log_proba(chunk))

        return rowwise(of_chunk, self._n_classes, X)

    def _largest_posterior(self, chunk: Array) -> Array:
        return namespace(chunk).max(_softmax(self._joint_log_proba(chunk)), axis=1)

    def _predicted_codes(self, X: Array) -> Array:
        def largest(chunk: Array) -> Array:
            of_joint = self.predict_from == "posterior"
            scores = self._joint_log_proba(chunk) if of_joint else chunk
            return namespace(chunk).argmax(scores, axis=1)

        return rowwise(largest, self._n_classes, X)

    def _codes(self, y: Any, X: Array) -> Array:
        codes = encode_labels(y, self.classes_)
        if codes.shape != (X.shape[0],):
            raise ValueError(f"y must have one label a sample, ({X.shape[0]},), got {codes.shape}")
        return as_like(codes, X)


def _same(joint: Array) -> Array:
    return joint


def _log_softmax(joint: Array) -> Array:
    joint -= log_sum_exp(joint)
    return joint


def _softmax(joint: Array) -> Array:
    xp = namespace(joint)
    joint -= xp.max(joint, axis=1, keepdims=True)
    joint = np.exp(joint, out=joint) if xp is np else xp.exp(joint)
    joint /= xp.sum(joint, axis=1, keepdims=True)
    return joint
