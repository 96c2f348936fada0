"""The network's posterior, discounted where a density says that a picture is unfamiliar."""

from sklearn_densconf.openset._open_set_classifier import OpenSetClassifier

__all__ = ["OpenSetClassifier"]
