"""From a fitted classifier to labels and their confidence; the checks that all metrics share."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils import assert_all_finite, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import unique_labels

from sklearn_densconf._array import to_numpy


def predict_with_confidence(estimator: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted labels and their probabilities, with one pass through the network.

    The transformers of a Pipeline, among them the network, run once. Its last step then predicts
    twice, labels and probabilities, because the two may follow different rules: the confidence is
    that of the label which ``predict`` returns, and that need not be the most probable one
    (``predict_from="features"``, a moved threshold). An estimator that is itself a network, such as
    a bare skorch net, runs twice: put a :class:`~sklearn_densconf.SoftmaxClassifier` behind a
    :class:`~sklearn_densconf.FeatureExtractor` instead.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier with ``predict`` and ``predict_proba``, a Pipeline that ends in one, or a
        search over either, whose ``best_estimator_`` is used.
    X : array-like or list of length n_samples
        What the estimator takes: arrays, paths, pictures.

    Returns
    -------
    labels : ndarray of shape (n_samples,)
        Predicted labels, with the dtype of ``classes_``.
    confidence : ndarray of shape (n_samples,), floating
        ``predict_proba`` of the predicted label, in [0, 1].

    Raises
    ------
    ValueError
        If the estimator has no ``predict_proba``, or predicts a label that is not in its
        ``classes_``, such as the label of rejected samples: that one has no probability.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_densconf.metrics import predict_with_confidence
    >>> model = GaussianNB().fit([[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1])
    >>> labels, confidence = predict_with_confidence(model, [[0.0], [3.0]])
    >>> labels.tolist(), confidence.round(3).tolist()
    ([0, 1], [0.5, 1.0])
    """
    estimator, X = _last_step(estimator, X)
    if not hasattr(estimator, "predict_proba"):
        raise ValueError(
            f"a confidence needs an estimator with predict_proba, got {estimator}: "
            f"wrap it in sklearn.calibration.CalibratedClassifierCV"
        )
    labels, probabilities, classes = (
        to_numpy(values)
        for values in (estimator.predict(X), estimator.predict_proba(X), estimator.classes_)
    )
    return labels, probabilities[np.arange(len(labels)), _find_columns(labels, classes)]


def _last_step(estimator: Any, X: Any) -> tuple[Any, Any]:
    """Return the classifier at the end of searches and pipelines, and what reaches it."""
    while hasattr(estimator, "best_estimator_") or isinstance(estimator, Pipeline):
        if isinstance(estimator, Pipeline):
            X = estimator[:-1].transform(X) if len(estimator) > 1 else X
        estimator = getattr(estimator, "best_estimator_", None) or estimator[-1]
    return estimator, X


def _find_columns(labels: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the column of each label's class; the classes may be in any order."""
    unique_labels(labels, classes)  # refuses to compare strings with numbers
    order = np.argsort(classes)
    places = np.searchsorted(classes, labels, sorter=order)
    columns = order[np.minimum(places, len(classes) - 1)]
    if (unknown := classes[columns] != labels).any():
        raise ValueError(
            f"predict returned labels {np.unique(labels[unknown])[:5]} that are not in classes_ "
            f"{classes[:5]}, so that they have no probability: pass the classifier without what "
            f"relabels or rejects its predictions"
        )
    return columns


def _predict_outcomes(estimator: Any, X: Any, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each predicted label is right, and its confidence: what the metrics take."""
    correct, confidence, _ = _predict_ranked(estimator, X, y)
    return correct, confidence


def _predict_ranked(
    estimator: Any, X: Any, y: ArrayLike
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return also what to rank by: log-odds where the classifier has them, else the confidence.

    Probabilities that round to 1, as those of many features do without tempering, all tie.
    """
    estimator, X = _last_step(estimator, X)
    labels, confidence = predict_with_confidence(estimator, X)
    y = _as_vector(y)
    check_consistent_length(y, labels)
    unique_labels(y, labels)  # as accuracy_score: "1" and 1 are refused, not called different
    score = confidence
    if "log_odds" in _parameters(getattr(estimator, "confidence", None)):
        score = to_numpy(estimator.confidence(X, log_odds=True))
    return np.asarray(labels == y), confidence, score


def _parameters(method: Any) -> Mapping[str, Any]:
    return signature(method).parameters if callable(method) else {}


def _check_outcomes(correct: ArrayLike, confidence: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 vectors of one length, or say what is wrong with them."""
    outcomes, confidence = _as_vector(correct), _check_confidence(confidence)
    check_consistent_length(outcomes, confidence)
    if not np.isin(outcomes, (0, 1)).all():
        raise ValueError(
            f"correct must hold True or False (1 or 0) for each prediction, "
            f"got {np.unique(outcomes)[:5]}: pass y_true == y_pred"
        )
    return outcomes.astype(np.float64), confidence


def _check_confidence(confidence: ArrayLike, name: str = "confidence") -> np.ndarray:
    """Return confidences as a float64 vector: at least one, infinite ones too, but no NaN.

    A log-density of -inf is a valid score, and every ranking has a place for it. Where a
    probability is needed, the check of its range refuses what is infinite.
    """
    values = np.asarray(_as_vector(confidence), dtype=np.float64)
    assert_all_finite(np.where(np.isinf(values), 0, values), input_name=name)
    if values.size == 0:
        raise ValueError(f"{name} is empty: at least one value is needed")
    return values


def _rank(values: np.ndarray) -> np.ndarray:
    """Return finite numbers in the order of the values, equal where those are equal."""
    return np.asarray(np.unique(values, return_inverse=True)[1], dtype=np.float64)


def _as_vector(values: Any) -> np.ndarray:
    """Return a column or a sequence of any library as a vector of numpy."""
    return np.asarray(column_or_1d(to_numpy(values)))
