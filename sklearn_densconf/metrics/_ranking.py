"""A confidence as a ranking: are errors, or out-of-distribution samples, ranked last?"""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import roc_curve
from sklearn.utils import check_consistent_length

from sklearn_densconf.metrics._predictions import (
    _as_vector,
    _check_confidence,
    _check_outcomes,
    _rank,
)


class RiskCoverageCurve(NamedTuple):
    """Risk when only the most confident predictions are kept, at every coverage.

    Attributes
    ----------
    coverage : ndarray of shape (n_samples,), float64
        Fraction of the predictions kept: 1/n, 2/n, ..., 1.
    risk : ndarray of shape (n_samples,), float64
        Fraction of wrong labels among those kept.
    threshold : ndarray of shape (n_samples,), float64
        Confidence of the last prediction kept.
    """

    coverage: np.ndarray
    risk: np.ndarray
    threshold: np.ndarray


def risk_coverage_curve(correct: ArrayLike, confidence: ArrayLike) -> RiskCoverageCurve:
    r"""Compute the error rate of the most confident predictions, for every number of them kept.

    .. math:: r(i) = \frac{1}{i} \sum_{j \le i} 1[\text{the } j\text{-th most confident is wrong}]

    Where confidences tie, the order is not known. The risk is then the expectation over all orders
    of the tied predictions, so the result does not depend on the order of the samples.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Any score that is larger where the label is more certain; -inf and inf are scores too.

    Returns
    -------
    RiskCoverageCurve
        ``coverage``, ``risk`` and ``threshold``, each of shape (n_samples,).

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is NaN or ``correct`` is not boolean.

    Examples
    --------
    >>> from sklearn_densconf.metrics import risk_coverage_curve
    >>> risk_coverage_curve([True, True, False, True], [0.9, 0.8, 0.3, 0.3]).risk.round(3).tolist()
    [0.0, 0.0, 0.167, 0.25]
    """
    threshold, n_wrong = _count_errors(correct, confidence)
    n_kept = np.arange(1, len(threshold) + 1)
    return RiskCoverageCurve(n_kept / len(threshold), n_wrong / n_kept, threshold)


def _count_errors(correct: ArrayLike, confidence: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return confidences, the largest first, and the expected number of errors down to each."""
    correct, confidence = _check_outcomes(correct, confidence)
    order = np.argsort(-confidence)
    threshold = confidence[order]
    n_kept = np.arange(1, len(order) + 1)
    n_wrong = np.cumsum(1 - correct[order])
    # Within a run of equal confidences the expected number of errors grows linearly.
    last_of_run = np.append(threshold[1:] != threshold[:-1], True)
    n_wrong = np.interp(
        n_kept, np.append(0, n_kept[last_of_run]), np.append(0, n_wrong[last_of_run])
    )
    return threshold, n_wrong


def area_under_risk_coverage(correct: ArrayLike, confidence: ArrayLike) -> float:
    r"""Compute AURC, the mean risk over all coverages: smaller is better.

    .. math:: \mathrm{AURC} = \frac{1}{n} \sum_{i=1}^{n} r(i)

    with :math:`r` of :func:`risk_coverage_curve`, ties included.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Any score that is larger where the label is more certain; -inf and inf are scores too.

    Returns
    -------
    float
        AURC, in [0, 1]. It counts accuracy as well as ranking: see
        :func:`excess_area_under_risk_coverage`.

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is NaN or ``correct`` is not boolean.

    References
    ----------
    Y. Geifman, G. Uziel, R. El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", ICLR 2019, section 2. There, tied predictions enter together, with the risk of
    their last one; here they enter one by one in random order, so that a tie costs as much, on
    average, as breaking it by chance, and AURC is continuous in the confidences.

    Examples
    --------
    >>> from sklearn_densconf.metrics import area_under_risk_coverage
    >>> area_under_risk_coverage([True, True, False], [0.9, 0.8, 0.1])
    0.1111111111111111
    """
    return float(risk_coverage_curve(correct, confidence).risk.mean())


def excess_area_under_risk_coverage(correct: ArrayLike, confidence: ArrayLike) -> float:
    """Compute E-AURC, the AURC above that of the best order of the same predictions.

    The best order puts every error last. Accuracy thus cancels out: 0 is a perfect ranking, even
    of a poor classifier.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Any score that is larger where the label is more certain; -inf and inf are scores too.

    Returns
    -------
    float
        E-AURC, in [0, 1].

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is NaN or ``correct`` is not boolean.

    References
    ----------
    Y. Geifman, G. Uziel, R. El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", ICLR 2019, section 3. The best AURC is taken from the sample itself, not from
    the paper's limit for large n, r + (1 - r) ln(1 - r), which can make E-AURC negative.

    Examples
    --------
    >>> from sklearn_densconf.metrics import excess_area_under_risk_coverage
    >>> excess_area_under_risk_coverage([True, True, False], [0.9, 0.8, 0.1])
    0.0
    """
    best = area_under_risk_coverage(correct, correct)
    return area_under_risk_coverage(correct, confidence) - best


def normalized_area_under_risk_coverage(correct: ArrayLike, confidence: ArrayLike) -> float:
    r"""Compute NAURC, the AURC between that of the best order (0) and that of a random one (1).

    .. math:: \mathrm{NAURC} = \frac{\mathrm{AURC} - \mathrm{AURC}^*}{r - \mathrm{AURC}^*}

    with :math:`\mathrm{AURC}^*` of the best order and the error rate :math:`r`, which is the AURC
    of a constant confidence. Rankings of classifiers of different accuracy can thus be compared.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Any score that is larger where the label is more certain; -inf and inf are scores too.

    Returns
    -------
    float
        NAURC, at least 0, and above 1 where the ranking is worse than chance: smaller is better.
        NaN, with a warning, where all labels are right or all are wrong: there is no order then,
        so that it is no score to choose among candidates by.

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is NaN or ``correct`` is not boolean.

    References
    ----------
    L. F. P. Cattelan, D. Silva, "How to fix a broken confidence estimator: evaluating post-hoc
    methods for selective classification with deep neural networks", UAI 2024, section 2.

    Examples
    --------
    >>> from sklearn_densconf.metrics import normalized_area_under_risk_coverage
    >>> round(normalized_area_under_risk_coverage([True, False, True], [0.9, 0.8, 0.1]), 4)
    0.75
    """
    risk = risk_coverage_curve(correct, confidence).risk
    best = area_under_risk_coverage(correct, correct)
    if risk[-1] == best:
        warnings.warn(
            "NAURC is not defined where all labels are right or all are wrong: NaN is returned",
            UndefinedMetricWarning,
            stacklevel=2,
        )
        return np.nan
    return float((risk.mean() - best) / (risk[-1] - best))


def area_under_generalized_risk_coverage(correct: ArrayLike, confidence: ArrayLike) -> float:
    r"""Compute AUGRC, the mean risk of an error that is not rejected: smaller is better.

    The generalized risk is the fraction of all predictions that are kept and wrong. AURC's risk is
    the fraction of those kept, so that the few most confident errors decide it; here each error
    counts by the number of predictions that are less confident. Integrated over the coverage,

    .. math:: \mathrm{AUGRC} = (1 - \mathrm{AUROC})\, a\, (1 - a) + \tfrac{1}{2} (1 - a)^2

    with the accuracy :math:`a` and the AUROC of error detection, ties included.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Any score that is larger where the label is more certain; -inf and inf are scores too.

    Returns
    -------
    float
        AUGRC, in [0, 1/2]. Like AURC it counts accuracy as well as ranking, and it is defined, and
        0, where there is no error.

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is NaN or ``correct`` is not boolean.

    References
    ----------
    J. Traub et al., "Overcoming common flaws in the evaluation of selective classification
    systems", NeurIPS 2024, arXiv:2407.01032, section 3. The integral is exact: the curve is linear
    between its points, from no error at no coverage. A mean over the points is larger by
    (1 - a) / (2 n).

    Examples
    --------
    >>> from sklearn_densconf.metrics import area_under_generalized_risk_coverage
    >>> area_under_generalized_risk_coverage([True, True, False, False], [0.9, 0.8, 0.7, 0.1])
    0.125
    """
    n_wrong = _count_errors(correct, confidence)[1]
    return float((n_wrong.sum() - n_wrong[-1] / 2) / len(n_wrong) ** 2)


def scod_area_under_risk_coverage(
    correct: ArrayLike, confidence: ArrayLike, ood_confidence: ArrayLike
) -> float:
    """Compute the AURC of selective classification with out-of-distribution data (SCOD).

    Errors and out-of-distribution samples stand in one risk-coverage curve: keeping either of them
    is wrong, and a confidence is good if it ranks both below the right labels. AURC of errors or
    AUROC of out-of-distribution detection alone reward a confidence that confuses the other two.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label of the in-distribution samples is right.
    confidence : array-like of shape (n_samples,), floating
        Any score that is larger where the label is more certain; -inf and inf are scores too.
    ood_confidence : array-like of shape (n_ood_samples,), floating
        The same score of the out-of-distribution samples, whose labels are all wrong.

    Returns
    -------
    float
        AURC, in [0, 1]: smaller is better. It depends on the share of out-of-distribution samples,
        so that only values with the same share can be compared.

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is NaN, ``correct`` is not boolean or one of the parts
        is empty.

    References
    ----------
    G. Xia, C.-S. Bouganis, "Augmenting softmax information for selective classification with
    out-of-distribution data", ACCV 2022, section 3, which states the task. H. Narasimhan et al.,
    "Plugin estimators for selective classification with out-of-distribution detection", ICLR 2024,
    arXiv:2301.12386, report the area; here both mistakes cost the same.

    Examples
    --------
    >>> from sklearn_densconf.metrics import scod_area_under_risk_coverage
    >>> scod_area_under_risk_coverage([True, True, False], [0.9, 0.8, 0.1], [0.2])
    0.20833333333333331
    """
    correct, confidence = _check_outcomes(correct, confidence)
    ood_confidence = _check_confidence(ood_confidence, "ood_confidence")
    outcomes = np.append(correct, np.zeros(ood_confidence.size))
    return area_under_risk_coverage(outcomes, np.append(confidence, ood_confidence))


def fpr_at_tpr(
    y_true: ArrayLike, score: ArrayLike, *, tpr: float = 0.95, pos_label: int | str = 1
) -> float:
    """Compute the fraction of negatives above the threshold that accepts a share of positives.

    The threshold is the largest score that accepts at least ``tpr`` of the positives; a sample is
    accepted when its score is at least the threshold. Tied samples are therefore accepted together,
    and no operating point is interpolated that no threshold reaches.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        Labels; those equal to ``pos_label`` are the positives, all others the negatives.
    score : array-like of shape (n_samples,), floating
        Larger where a sample is more likely positive; -inf and inf are scores too.
    tpr : float in (0, 1], default=0.95
        Share of the positives to accept.
    pos_label : int or str, default=1
        The positive class. With a confidence as the score it is the in-distribution (or the right)
        samples, as in Liang et al.; papers in which the
        out-of-distribution samples are the positive class report another number.

    Returns
    -------
    float
        False positive rate, in [0, 1]: smaller is better.

    Raises
    ------
    ValueError
        If ``tpr`` is outside (0, 1], a score is NaN, or one of the two classes is empty.

    References
    ----------
    S. Liang, Y. Li, R. Srikant, "Enhancing the reliability of out-of-distribution image detection
    in neural networks", ICLR 2018, section 4.

    Examples
    --------
    >>> from sklearn_densconf.metrics import fpr_at_tpr
    >>> fpr_at_tpr([1, 1, 1, 0, 0], [0.9, 0.8, 0.4, 0.5, 0.1])
    0.5
    """
    if not 0 < tpr <= 1:
        raise ValueError(f"tpr must be in (0, 1], got {tpr}")
    positive, score = _as_vector(y_true) == pos_label, _check_confidence(score, "score")
    check_consistent_length(positive, score)
    if positive.all() or not positive.any():
        raise ValueError(
            f"y_true needs both classes, got {positive.sum()} of {positive.size} samples equal to "
            f"pos_label={pos_label!r}: check pos_label"
        )
    # Ranks, because roc_curve refuses -inf; all thresholds, because by default it drops some.
    rates = roc_curve(positive, _rank(score), drop_intermediate=False)
    false_positive_rate, true_positive_rate = rates[:2]
    return float(false_positive_rate[np.argmax(true_positive_rate >= tpr)])
