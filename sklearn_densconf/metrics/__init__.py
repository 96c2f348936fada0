"""How good a confidence is: against severity, as a ranking, as a probability, and under attack.

Every metric takes two arrays: ``correct`` (was the predicted label right) and ``confidence`` (of
that label). :func:`predict_with_confidence` computes both for any classifier. What scikit-learn has
is not repeated: the AUROC of error detection is
``sklearn.metrics.roc_auc_score(correct, confidence)``.
"""

from sklearn_densconf.metrics._calibration import (
    ReliabilityCurve,
    expected_calibration_error,
    reliability_curve,
)
from sklearn_densconf.metrics._predictions import predict_with_confidence
from sklearn_densconf.metrics._ranking import (
    RiskCoverageCurve,
    area_under_generalized_risk_coverage,
    area_under_risk_coverage,
    excess_area_under_risk_coverage,
    fpr_at_tpr,
    normalized_area_under_risk_coverage,
    risk_coverage_curve,
    scod_area_under_risk_coverage,
)
from sklearn_densconf.metrics._scorers import SCORERS, confidence_scorer
from sklearn_densconf.metrics._severity import (
    ConfidenceCurve,
    Monotonicity,
    confidence_curve,
    confidence_monotonicity,
    confidence_rises,
)

__all__ = [
    "SCORERS",
    "ConfidenceCurve",
    "Monotonicity",
    "ReliabilityCurve",
    "RiskCoverageCurve",
    "area_under_generalized_risk_coverage",
    "area_under_risk_coverage",
    "confidence_curve",
    "confidence_monotonicity",
    "confidence_rises",
    "confidence_scorer",
    "excess_area_under_risk_coverage",
    "expected_calibration_error",
    "fpr_at_tpr",
    "normalized_area_under_risk_coverage",
    "predict_with_confidence",
    "reliability_curve",
    "risk_coverage_curve",
    "scod_area_under_risk_coverage",
]
