"""A confidence as a probability: are 80 % of the labels predicted with 0.8 right?"""

import math
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_scalar

from sklearn_densconf.metrics._predictions import _check_outcomes


class ReliabilityCurve(NamedTuple):
    """Predictions gathered into bins of confidence; empty bins are left out.

    Attributes
    ----------
    confidence : ndarray of shape (n_filled_bins,), float64
        Mean confidence in each bin, in [0, 1].
    accuracy : ndarray of shape (n_filled_bins,), float64
        Fraction of right labels in each bin.
    n_samples : ndarray of shape (n_filled_bins,), int
        Number of predictions in each bin.
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    n_samples: np.ndarray


def reliability_curve(
    correct: ArrayLike, confidence: ArrayLike, *, n_bins: int | str = 15, strategy: str = "uniform"
) -> ReliabilityCurve:
    """Compute the mean confidence and the accuracy in bins of confidence.

    A bin includes its upper edge but not its lower one; the first also includes 0.
    Equal confidences always share a bin, so the order of the samples does not matter.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Probability of the predicted label, in [0, 1].
    n_bins : int or "cube_root", default=15
        Number of bins, at least 1; "cube_root" is the cube root of ``n_samples``, rounded up, as
        in scikit-learn 1.10: with strategy "quantile", bias and variance then fall alike.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width in [0, 1], or with equally many predictions (as near as ties allow).

    Returns
    -------
    ReliabilityCurve
        ``confidence``, ``accuracy`` and ``n_samples`` of the bins that are not empty.

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is outside [0, 1], ``correct`` is not boolean,
        ``n_bins`` is below 1 or no number but "cube_root", or the strategy is unknown.

    Examples
    --------
    >>> from sklearn_densconf.metrics import reliability_curve
    >>> curve = reliability_curve([True, False, True], [0.5, 0.5, 1.0], n_bins=2)
    >>> curve.confidence.tolist(), curve.accuracy.tolist(), curve.n_samples.tolist()
    ([0.5, 1.0], [0.5, 1.0], [2, 1])
    """
    correct, confidence = _check_outcomes(correct, confidence)
    n_bins = _count_bins(n_bins, confidence.size)
    if strategy not in _EDGES:
        raise ValueError(f"strategy must be one of {sorted(_EDGES)}, got {strategy!r}")
    if confidence.min() < 0 or confidence.max() > 1:
        raise ValueError(
            f"confidences must be probabilities in [0, 1], got {confidence.min()} to "
            f"{confidence.max()}: pass predict_proba of the predicted label"
        )
    # side="left": a confidence on an edge belongs to the bin below.
    bins = np.searchsorted(_EDGES[strategy](confidence, n_bins), confidence, side="left")
    count = np.bincount(bins)
    filled = count > 0
    count = count[filled]
    mean_confidence = np.bincount(bins, confidence)[filled] / count
    accuracy = np.bincount(bins, correct)[filled] / count
    return ReliabilityCurve(mean_confidence, accuracy, count)


def expected_calibration_error(
    correct: ArrayLike, confidence: ArrayLike, *, n_bins: int | str = 15, strategy: str = "uniform"
) -> float:
    r"""Compute the mean distance between confidence and accuracy over bins of confidence.

    .. math:: \mathrm{ECE} = \sum_b \frac{n_b}{n} \, |\mathrm{acc}_b - \mathrm{conf}_b|

    over the bins of :func:`reliability_curve`.

    Parameters
    ----------
    correct : array-like of shape (n_samples,), bool
        Whether each predicted label is right.
    confidence : array-like of shape (n_samples,), floating
        Probability of the predicted label, in [0, 1].
    n_bins : int or "cube_root", default=15
        Number of bins, at least 1; "cube_root" is the cube root of ``n_samples``, rounded up, as
        in scikit-learn 1.10: with strategy "quantile", bias and variance then fall alike.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width in [0, 1], or with equally many predictions (as near as ties allow).

    Returns
    -------
    float
        Calibration error, in [0, 1]: smaller is better. It is an estimate with an upward bias that
        grows with ``n_bins``; compare only values with the same bins and sample size.

    Raises
    ------
    ValueError
        If the lengths differ, a confidence is outside [0, 1], ``correct`` is not boolean,
        ``n_bins`` is below 1 or no number but "cube_root", or the strategy is unknown.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks", ICML
    2017, equation 3 (equal width, 15 bins). J. Nixon et al., "Measuring calibration in deep
    learning", CVPR workshops 2019 (equal mass).

    Examples
    --------
    >>> from sklearn_densconf.metrics import expected_calibration_error
    >>> expected_calibration_error([True, True, False, False], [1.0, 1.0, 1.0, 1.0])
    0.5
    """
    curve = reliability_curve(correct, confidence, n_bins=n_bins, strategy=strategy)
    gaps = np.abs(curve.accuracy - curve.confidence)
    return float(np.average(gaps, weights=curve.n_samples))


def _count_bins(n_bins: int | str, n_samples: int) -> int:
    if n_bins == "cube_root":
        return math.ceil(n_samples ** (1 / 3))
    if isinstance(n_bins, str):
        raise ValueError(f"n_bins must be a whole number or 'cube_root', got {n_bins!r}")
    return int(check_scalar(n_bins, "n_bins", Integral, min_val=1))


def _uniform_edges(confidence: np.ndarray, n_bins: int) -> np.ndarray:  # noqa: ARG001
    # 7 / 10 is the float that "0.7" is parsed to; linspace's 0.7 is one ulp above it.
    return np.arange(1, n_bins) / n_bins


def _quantile_edges(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    # Order statistics at integer ranks; the floating-point ranks of np.quantile can be off by one.
    ranks = -(-np.arange(1, n_bins) * confidence.size // n_bins)
    return np.sort(confidence)[ranks - 1]


_EDGES = {"quantile": _quantile_edges, "uniform": _uniform_edges}
