"""Fitted estimators and pipelines in one file that is loaded without running code."""

from sklearn_densconf.io._io import load, save

__all__ = ["load", "save"]
