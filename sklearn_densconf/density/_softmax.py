"""SoftmaxClassifier: the confidence that the density confidence is compared with."""

from typing import Any, Self

from sklearn_densconf._array import Array
from sklearn_densconf._validation import (
    check_features,
    check_labels,
    check_one_feature_per_class,
)
from sklearn_densconf.density._posterior import PosteriorMixin


class SoftmaxClassifier(PosteriorMixin):
    r"""Softmax over the logits of a network: the usual confidence.

    .. math:: p(y \mid z) = \exp(z_y) / \sum_k \exp(z_k)

    Nothing is learned but the labels. Temperature scaling is scikit-learn's
    ``CalibratedClassifierCV(FrozenEstimator(...), method="temperature")``.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted: feature k is the logit of ``classes_[k]``.
    n_features_in_ : int
        Number of logits, that of the classes.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    Examples
    --------
    >>> from sklearn_densconf import SoftmaxClassifier
    >>> SoftmaxClassifier().fit([[4.0, 0.0], [0.0, 4.0]], [0, 1]).predict_proba([[1.0, 1.0]])
    array([[0.5, 0.5]])
    """

    predict_from = "posterior"  # the largest posterior is the largest logit

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: ARG002 - as all
        """Learn which labels there are.

        Parameters
        ----------
        X : array of shape (n_samples, n_classes)
            Logits, in the order of the sorted labels.
        y : array of shape (n_samples,)
            Labels; every class must be among them.
        sample_weight : array of shape (n_samples,), default=None
            Ignored: there is nothing to weigh. Here for a common interface.

        Returns
        -------
        SoftmaxClassifier
            Itself.

        Raises
        ------
        ValueError
            If the number of features is not that of the classes.
        """
        X = check_features(self, X, reset=True)
        self.classes_ = check_labels(y, X)[1]
        check_one_feature_per_class("softmax", X.shape[1], self.classes_.shape[0])
        return self

    def _head(self, _X: Array) -> "_Logits":
        return _Logits()


class _Logits:
    """The head of softmax: logits are joint log-probabilities as they are."""

    n_multiplications = 0.0

    def joint(self, X: Array, _out: Array) -> tuple[Array, float]:
        return X, 0.0
