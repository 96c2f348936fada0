"""Fitted pipelines and classifiers as one torch module, or as one ONNX file."""

from sklearn_densconf.export._confidence import Confidence, Decided
from sklearn_densconf.export._to_onnx import to_onnx
from sklearn_densconf.export._to_torch import to_torch

__all__ = ["Confidence", "Decided", "to_onnx", "to_torch"]
