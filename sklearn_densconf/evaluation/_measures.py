"""From outcomes and confidences of pictures to the numbers of figures and tables. A leaf."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from sklearn_densconf.metrics import confidence_monotonicity, expected_calibration_error

Confidences = Mapping[str, np.ndarray]


def mean_confidences(confidences: Confidences) -> dict[str, Any]:
    """Return the mean of each confidence (n_severities, n_pictures) at each severity."""
    return {name: {"mean": values.mean(axis=1).tolist()} for name, values in confidences.items()}


def measure_sweep(
    severities: Sequence[float],
    correct: np.ndarray | Mapping[str, np.ndarray],
    confidences: Confidences,
) -> dict[str, Any]:
    """Measure a sweep: curves, their shape, and errors told from right labels over all of it.

    The mildest of the severities is the first. ``correct`` says whether labels are right, bool of
    shape (n_severities, n_pictures): one array if all confidences judge the same labels, else one
    under each name; ``confidences`` are the confidences in them. Each gets "mean" at each severity;
    "tau" and "rises" of that curve; "left", the strongest as a fraction of the mildest, None where
    that is 0; "auroc" and "calibration error" over all pictures at all severities; and "accuracy",
    if not all share one.
    """
    outcomes = correct if isinstance(correct, Mapping) else dict.fromkeys(confidences, correct)
    own = {name: {"accuracy": right.mean(axis=1).tolist()} for name, right in outcomes.items()}
    shared = {} if isinstance(correct, Mapping) else next(iter(own.values()))
    measured = {
        name: ({} if shared else own[name])
        | _shape(severities, values.mean(axis=1).tolist())
        | _ranking(outcomes[name].ravel(), values.ravel())
        for name, values in confidences.items()
    }
    return {"severity": list(severities), **shared, "confidences": measured}


def accuracies(measured: dict[str, Any]) -> dict[str, list[float]]:
    """Return the accuracy at each severity under each name of a measured sweep."""
    return {
        name: confidence.get("accuracy", measured.get("accuracy"))
        for name, confidence in measured["confidences"].items()
    }


def tell_apart(positive: np.ndarray, negative: np.ndarray) -> float:
    """Compute the AUROC of telling two sets apart by a score."""
    is_positive = np.repeat([1, 0], [len(positive), len(negative)])
    return float(roc_auc_score(is_positive, np.concatenate([positive, negative])))


def _shape(severities: Sequence[float], means: Sequence[float]) -> dict[str, Any]:
    if len(severities) < 2:
        return {"mean": means}
    downwards = severities[0] > severities[-1]  # JPEG: a larger quality is milder
    order = np.negative(severities) if downwards else severities
    tau, n_rises = confidence_monotonicity(order, means)
    tau_or_none = None if np.isnan(tau) else tau  # all equal: JSON has no NaN
    left = means[-1] / means[0] if means[0] else None
    return {"mean": means, "tau": tau_or_none, "rises": n_rises, "left": left}


def _ranking(correct: np.ndarray, confidence: np.ndarray) -> dict[str, Any]:
    both = 0 < correct.mean() < 1
    return {
        "auroc": float(roc_auc_score(correct, confidence)) if both else None,
        "calibration error": expected_calibration_error(correct, confidence),
    }
