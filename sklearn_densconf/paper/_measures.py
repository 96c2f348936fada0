"""From outcomes and confidences of pictures to the numbers of figures and tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from sklearn_densconf.metrics import (
    confidence_monotonicity,
    confidence_rises,
    expected_calibration_error,
)

Confidences = Mapping[str, np.ndarray]


def mean_confidences(confidences: Confidences) -> dict[str, Any]:
    """Give the mean of each confidence (n_severities, n_pictures) at each severity."""
    return {name: {"mean": values.mean(axis=1).tolist()} for name, values in confidences.items()}


def measure_sweep(
    severities: Sequence[float], correct: np.ndarray, confidences: Confidences
) -> dict[str, Any]:
    """Measure a sweep: curves, their shape, and errors told from right labels over all of it.

    Parameters
    ----------
    severities : sequence of float
        The mildest first.
    correct : ndarray of shape (n_severities, n_pictures), bool
        Whether the network's label is right.
    confidences : mapping of str to ndarray of shape (n_severities, n_pictures)
        Each confidence in that label.

    Returns
    -------
    dict
        "severity", "accuracy" and, for each confidence, "mean" at each severity; "tau" and
        "rises" of that curve; "left", the strongest as a fraction of the mildest; and "auroc" and
        "calibration error" over all pictures at all severities.
    """
    means = mean_confidences(confidences)
    return {
        "severity": list(severities),
        "accuracy": correct.mean(axis=1).tolist(),
        "confidences": {
            name: means[name]
            | _shape(severities, means[name]["mean"])
            | _ranking(correct.ravel(), values.ravel())
            for name, values in confidences.items()
        },
    }


def measure_attack(
    clean: Confidences, attacked: Confidences, norms: np.ndarray, success: np.ndarray
) -> dict[str, Any]:
    """Count the confidences that rise under attack: table 1.

    Parameters
    ----------
    clean, attacked : mapping of str to ndarray of shape (n_pictures,)
        Each confidence in the network's label, before and after.
    norms : ndarray of shape (n_pictures,)
        Euclidean lengths of the changes, pixels in [0, 1].
    success : ndarray of shape (n_pictures,), bool
        Whether the label changed.

    Returns
    -------
    dict
        "n", "fooled" (fraction), "norm" (mean) and, for each confidence, "rises" (count), "share"
        of the pictures, and its means "clean" and "attacked".
    """
    return {
        "n": len(norms),
        "fooled": float(success.mean()),
        "norm": float(norms.mean()),
        "confidences": {name: _rises(before, attacked[name]) for name, before in clean.items()},
    }


def measure_strangers(known: Confidences, strange: Confidences) -> dict[str, Any]:
    """Give, for each score, the AUROC of telling known pictures (positive) from strange ones."""
    return {
        name: {
            "auroc": roc_auc_score(
                np.repeat([1, 0], [len(values), len(strange[name])]),
                np.concatenate([values, strange[name]]),
            )
        }
        for name, values in known.items()
    }


def _shape(severities: Sequence[float], means: Sequence[float]) -> dict[str, Any]:
    if len(severities) < 2:
        return {}
    downwards = severities[0] > severities[-1]  # JPEG: a larger quality is milder
    order = np.negative(severities) if downwards else severities
    tau, n_rises = confidence_monotonicity(order, means)
    tau_or_none = None if np.isnan(tau) else tau  # all equal: JSON has no NaN
    return {"tau": tau_or_none, "rises": n_rises, "left": means[-1] / means[0]}


def _ranking(correct: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    both = 0 < correct.mean() < 1
    return {
        "auroc": float(roc_auc_score(correct, confidence)) if both else None,
        "calibration error": expected_calibration_error(correct, confidence),
    }


def _rises(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    n_rises = confidence_rises(before, after)
    return {
        "rises": n_rises,
        "share": n_rises / len(before),
        "clean": float(before.mean()),
        "attacked": float(after.mean()),
    }
