"""The metrics as scorers for ``cross_validate`` and ``GridSearchCV``: larger is better."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from sklearn_densconf.metrics._calibration import expected_calibration_error
from sklearn_densconf.metrics._predictions import _predict_ranked, _rank
from sklearn_densconf.metrics._ranking import (
    area_under_generalized_risk_coverage,
    area_under_risk_coverage,
    excess_area_under_risk_coverage,
)

# name -> (sign that makes larger better, metric of correct and score)
_OF_RANKING: dict[str, tuple[int, Callable[[ArrayLike, ArrayLike], float]]] = {
    "error_detection_auroc": (
        1,
        lambda correct, score: roc_auc_score(correct, _rank(np.asarray(score))),
    ),
    "neg_area_under_generalized_risk_coverage": (-1, area_under_generalized_risk_coverage),
    "neg_area_under_risk_coverage": (-1, area_under_risk_coverage),
    "neg_excess_area_under_risk_coverage": (-1, excess_area_under_risk_coverage),
}
_OF_PROBABILITY: dict[str, tuple[int, Callable[[ArrayLike, ArrayLike], float]]] = {
    "neg_expected_calibration_error": (-1, expected_calibration_error),
}
_METRICS = _OF_RANKING | _OF_PROBABILITY


def _score(name: str, estimator: Any, X: Any, y: ArrayLike) -> float:
    correct, confidence, score = _predict_ranked(estimator, X, y)
    sign, metric = _METRICS[name]
    return sign * metric(correct, score if name in _OF_RANKING else confidence)


def confidence_scorer(estimator: Any, X: Any, y: ArrayLike) -> dict[str, float]:
    """Compute every score of a fitted classifier's confidence, with one pass through the network.

    For ``cross_validate(..., scoring=confidence_scorer)``, which takes a function that returns a
    dict. ``GridSearchCV`` takes it too; its ``refit`` then names the score to choose by.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier with ``predict_proba``, or a Pipeline that ends in one.
    X : array-like or list of length n_samples
        What the estimator takes: arrays, paths, pictures.
    y : array-like of shape (n_samples,)
        True labels.

    Returns
    -------
    dict of str to float
        ``accuracy``, ``mean_confidence`` and the scores named in ``SCORERS``. What ranks goes by
        log-odds where the classifier has them: probabilities that round to 1 tie. Where all labels
        are right, or all are wrong, there are no errors to detect: ``error_detection_auroc`` is
        then NaN, with scikit-learn's warning, and ``GridSearchCV`` ranks a candidate without a
        single error last. To choose among candidates use ``neg_area_under_risk_coverage`` or
        ``neg_area_under_generalized_risk_coverage``, which are defined for all of them and best,
        0, where there is no error.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from sklearn_densconf.metrics import confidence_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> model = LogisticRegression(C=0.1)
    >>> scores = cross_validate(model, X, y, cv=3, scoring=confidence_scorer)
    >>> scores["test_error_detection_auroc"].round(2).tolist()
    [0.85, 0.91, 0.96]
    """
    correct, confidence, score = _predict_ranked(estimator, X, y)
    scores = {
        name: sign * metric(correct, score if name in _OF_RANKING else confidence)
        for name, (sign, metric) in _METRICS.items()
    }
    means = {"accuracy": correct.mean(), "mean_confidence": confidence.mean(dtype=np.float64)}
    return {name: float(value) for name, value in (means | scores).items()}


SCORERS: dict[str, Callable[[Any, Any, ArrayLike], float]] = {
    name: partial(_score, name) for name in _METRICS
}
