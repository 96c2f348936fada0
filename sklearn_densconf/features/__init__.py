"""Activations of a trained torch network, as a scikit-learn transformer."""

from sklearn_densconf.features._extractor import FeatureExtractor
from sklearn_densconf.features._frozen import FrozenBackbone

__all__ = ["FeatureExtractor", "FrozenBackbone"]
