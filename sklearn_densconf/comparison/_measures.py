"""The numbers of a comparison: of probabilities, and of scores that only rank. A leaf.

A confidence is any number, -inf among them; of a probability it is the log-odds, which keep the
order of those that round to 1.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from sklearn_densconf.metrics import (
    area_under_generalized_risk_coverage,
    area_under_risk_coverage,
    confidence_monotonicity,
    expected_calibration_error,
    fpr_at_tpr,
    scod_area_under_risk_coverage,
)


def measure_errors(
    severities: Sequence[float],
    correct: np.ndarray,
    confidences: Mapping[str, np.ndarray],
    probabilities: Sequence[str],
) -> dict[str, Any]:
    """Measure a sweep, the mildest severity first, by all of its pictures together.

    ``correct`` and each confidence are (n_severities, n_pictures). Each gets "auroc", "aurc" and
    "augrc" of errors, "mean" at each severity with "tau" and "rises" of that curve; those in
    ``probabilities`` also the "calibration error".
    """
    return {
        "severity": list(severities),
        "accuracy": correct.mean(axis=1).tolist(),
        "confidences": {
            name: _ranking(correct.ravel(), values.ravel())
            | _curve(severities, expit(values) if name in probabilities else values)
            | (_calibration(correct, values) if name in probabilities else {})
            for name, values in confidences.items()
        },
    }


def _ranking(correct: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    return {
        "auroc": auroc(correct, confidence) if 0 < correct.mean() < 1 else None,
        "aurc": area_under_risk_coverage(correct, confidence),
        "augrc": area_under_generalized_risk_coverage(correct, confidence),
    }


def _calibration(correct: np.ndarray, log_odds: np.ndarray) -> dict[str, Any]:
    return {
        "calibration error": expected_calibration_error(correct.ravel(), expit(log_odds.ravel()))
    }


def _curve(severities: Sequence[float], confidence: np.ndarray) -> dict[str, Any]:
    means = confidence.mean(axis=1)
    finite = [float(mean) if np.isfinite(mean) else None for mean in means]  # for JSON
    if len(severities) < 2:
        return {"mean": finite}
    order = np.negative(severities) if severities[0] > severities[-1] else severities
    tau, n_rises = confidence_monotonicity(order, means)
    return {"mean": finite, "tau": None if np.isnan(tau) else tau, "rises": n_rises}


def measure_unknown(
    correct: np.ndarray, known: Mapping[str, np.ndarray], unknown: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Measure how out-of-distribution pictures are told from known ones, (n_pictures,) each.

    "auroc"; "fpr" at 95 % of the known; and "scod", the AURC of errors and of these together.
    """
    return {name: _apart(correct, values, unknown[name]) for name, values in known.items()}


def _apart(correct: np.ndarray, known: np.ndarray, unknown: np.ndarray) -> dict[str, Any]:
    is_known = np.repeat([1, 0], [len(known), len(unknown)])
    both = np.concatenate([known, unknown])
    return {
        "auroc": auroc(is_known, both),
        "fpr": fpr_at_tpr(is_known, both),
        "scod": scod_area_under_risk_coverage(correct, known, unknown),
    }


def measure_attack(clean: np.ndarray, attacked: np.ndarray) -> dict[str, Any]:
    """Measure the share of pictures that rise under attack, and how the attacked are told."""
    is_clean = np.repeat([1, 0], [len(clean), len(attacked)])
    return {
        "share": float((attacked > clean).mean()),
        "auroc": auroc(is_clean, np.concatenate([clean, attacked])),
    }


def auroc(positive: np.ndarray, score: np.ndarray) -> float:
    """Compute the AUROC of a score, which may be -inf or inf."""
    return float(roc_auc_score(positive, rankdata(score)))
