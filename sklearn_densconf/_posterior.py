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
from sklearn_densconf._validation import check_features


class PosteriorMixin(ClassifierMixin, BaseEstimator):
    """Turns joint log-probabilities of samples and classes into everything else.

    A subclass has ``classes_``, ``predict_from`` ("posterior" or "features") and
    ``_joint_log_proba(X)``: log p(z | k) + log π_k, (n, k), float64, for checked samples.
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
        X = self._checked(X)
        return self._labels(self._predicted_codes(X))

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
        return self._posterior(self._checked(X), _softmax)

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
        result = self._posterior(self._checked(X), _log_softmax)
        xp = namespace(result)
        if result.dtype == xp.float32:  # 0 where predict_proba rounds to 1, so that the two agree
            result = xp.where(result > -(2.0**-25), xp.zeros_like(result), result)
        return result

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
        return self._posterior(self._checked(X), _same)

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
        X = self._checked(X)
        proba = self._posterior(X, _softmax)
        codes = self._predicted_codes(X, proba) if y is None else self._codes(y, X)
        return pick(proba, codes)

    def _joint_log_proba(self, X: Array) -> Array:
        raise NotImplementedError

    def _checked(self, X: Any) -> Array:
        check_is_fitted(self)
        return check_features(self, X, reset=False)

    def _posterior(self, X: Array, normalise: Callable[[Array], Array]) -> Array:
        def of_chunk(chunk: Array) -> Array:
            return normalise(self._joint_log_proba(chunk))

        return rowwise(X, of_chunk, len(self.classes_))

    def _predicted_codes(self, X: Array, scores: Array = None) -> Array:
        xp = namespace(X)
        if self.predict_from == "features":
            return xp.argmax(X, axis=1)
        scores = self._posterior(X, _same) if scores is None else scores
        return xp.argmax(scores, axis=1)

    def _labels(self, codes: Array) -> Array:
        if namespace(self.classes_) is np:
            return self.classes_[to_numpy(codes)]
        return namespace(codes).take(self.classes_, codes, axis=0)

    def _codes(self, y: Any, X: Array) -> Array:
        y = np.asarray(to_numpy(y)) if hasattr(y, "shape") else np.asarray(y)
        classes = to_numpy(self.classes_)
        codes = np.clip(np.searchsorted(classes, y), 0, len(classes) - 1)
        if y.shape != (X.shape[0],):
            raise ValueError(f"y must have one label a sample, ({X.shape[0]},), got {y.shape}")
        if (unknown := classes[codes] != y).any():
            raise ValueError(f"y must hold labels of classes_, got {y[unknown][0]!r}")
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
