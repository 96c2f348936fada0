"""A confidence against the severity of a distortion of the pictures."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau
from sklearn.utils import assert_all_finite, check_consistent_length

from sklearn_densconf.metrics._predictions import _check_confidence, _predict_outcomes, _rank


class ConfidenceCurve(NamedTuple):
    """Mean confidence of the predicted label, and accuracy, at each severity.

    Attributes
    ----------
    severity : ndarray of shape (n_severities,), float64
        Severities in the order given, the clean pictures first.
    confidence : ndarray of shape (n_severities,), float64
        Mean confidence of the predicted label, in [0, 1].
    accuracy : ndarray of shape (n_severities,), float64
        Fraction of right labels.
    """

    severity: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


class Monotonicity(NamedTuple):
    """How steadily a confidence falls as severity grows.

    Attributes
    ----------
    tau : float
        Kendall's tau-b of severity and confidence, in [-1, 1]: -1 where every step falls. NaN
        where all confidences are equal.
    n_rises : int
        Number of steps to the next severity at which the confidence grows.
    """

    tau: float
    n_rises: int


def confidence_curve(
    estimator: Any,
    pictures: Mapping[float, tuple[Any, ArrayLike]] | Iterable[tuple[float, tuple[Any, ArrayLike]]],
) -> ConfidenceCurve:
    """Compute the mean confidence and the accuracy of a classifier at each severity.

    Parameters
    ----------
    estimator : estimator
        Fitted classifier with ``predict_proba``, or a Pipeline that ends in one.
    pictures : mapping or iterable of pairs, severity -> (X, y)
        Pictures and true labels at each severity, the clean ones first. An iterable, such as a
        generator, is consumed one severity at a time, so only one copy of the pictures is held.

    Returns
    -------
    ConfidenceCurve
        ``severity``, ``confidence`` and ``accuracy``, each of shape (n_severities,).

    Raises
    ------
    ValueError
        If there is no severity, or lengths of X and y differ.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in deep neural networks via
    density modelling", arXiv:1707.07013, figures 2 and 4.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn_densconf.metrics import confidence_curve
    >>> X, y = load_digits(return_X_y=True)
    >>> model = LogisticRegression(max_iter=500).fit(X[:900] / 16, y[:900])
    >>> curve = confidence_curve(model, {s: (X[900:] / 16 * (1 - s), y[900:]) for s in (0, 0.5, 1)})
    >>> curve.confidence.round(2).tolist()
    [0.87, 0.59, 0.41]
    """
    pairs = pictures.items() if isinstance(pictures, Mapping) else pictures
    rows = []
    for severity, (X, y) in pairs:
        correct, confidence = _predict_outcomes(estimator, X, y)
        rows.append((severity, confidence.mean(dtype=np.float64), correct.mean()))
    if not rows:
        raise ValueError("pictures has no severity: pass at least the clean pictures")
    return ConfidenceCurve(*np.array(rows, dtype=np.float64).T)


def confidence_monotonicity(severities: ArrayLike, confidences: ArrayLike) -> Monotonicity:
    """Compute Kendall's tau of severity and confidence, and the number of steps that rise.

    Parameters
    ----------
    severities : array-like of shape (n_severities,), floating
        Distinct severities, in any order. Where a larger number is a milder distortion (JPEG
        quality), pass its negative.
    confidences : array-like of shape (n_severities,), floating
        Mean confidence at each severity; a mean log-density may be -inf.

    Returns
    -------
    Monotonicity
        ``tau``, the tau-b variant of :func:`scipy.stats.kendalltau`, which corrects for ties; and
        ``n_rises``, which counts strict rises from one severity to the next larger one.

    Raises
    ------
    ValueError
        If there are fewer than two severities, two are equal or one is infinite, lengths differ or
        a value is NaN.

    Examples
    --------
    >>> from sklearn_densconf.metrics import confidence_monotonicity
    >>> tau, n_rises = confidence_monotonicity([0, 10, 30, 60], [0.95, 0.92, 0.49, 0.59])
    >>> round(tau, 3), n_rises
    (-0.667, 1)
    """
    severities = _check_confidence(severities, "severities")
    confidences = _rank(_check_confidence(confidences, "confidences"))  # -inf - -inf is no step
    check_consistent_length(severities, confidences)
    assert_all_finite(severities, input_name="severities")
    if severities.size < 2 or np.unique(severities).size < severities.size:
        raise ValueError(f"severities must be at least two, all distinct, got {severities}")
    steps = np.diff(confidences[np.argsort(severities)])
    tau = kendalltau(severities, confidences, variant="b").statistic
    return Monotonicity(float(tau), int(np.sum(steps > 0)))


def confidence_rises(clean: ArrayLike, attacked: ArrayLike) -> int:
    """Count the pictures whose confidence grows from clean to attacked: the failures of table 1.

    Only a strict growth counts, without a tolerance: an equal confidence, such as that of a picture
    that the attack left alone, is not a rise.

    Parameters
    ----------
    clean : array-like of shape (n_pictures,), floating
        Confidence of the label predicted for each clean picture.
    attacked : array-like of shape (n_pictures,), floating
        Confidence of the label predicted for the same pictures after the attack.

    Returns
    -------
    int
        Number of pictures with ``attacked > clean``.

    Raises
    ------
    ValueError
        If the lengths differ or a confidence is NaN.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in deep neural networks via
    density modelling", arXiv:1707.07013, table 1.

    Examples
    --------
    >>> from sklearn_densconf.metrics import confidence_rises
    >>> confidence_rises([0.9, 0.5, 0.7], [0.8, 0.5, 0.75])
    1
    """
    clean, attacked = _check_confidence(clean, "clean"), _check_confidence(attacked, "attacked")
    check_consistent_length(clean, attacked)
    return int(np.sum(attacked > clean))
