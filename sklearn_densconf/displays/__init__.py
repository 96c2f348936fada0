"""Figures of confidences, in the conventions of scikit-learn's displays."""

from sklearn_densconf.displays._confidence_curve import ConfidenceCurveDisplay
from sklearn_densconf.displays._drift import DriftDisplay
from sklearn_densconf.displays._picture_strip import PictureStripDisplay
from sklearn_densconf.displays._rejection import RejectionDisplay
from sklearn_densconf.displays._reliability import ReliabilityDisplay
from sklearn_densconf.displays._risk_coverage import RiskCoverageDisplay

__all__ = [
    "ConfidenceCurveDisplay",
    "DriftDisplay",
    "PictureStripDisplay",
    "RejectionDisplay",
    "ReliabilityDisplay",
    "RiskCoverageDisplay",
]
