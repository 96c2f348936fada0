"""Class-conditional densities on the activations of a network."""

from sklearn_densconf.density._density_classifier import DensityClassifier
from sklearn_densconf.density._gaussian_classifier import GaussianDensityClassifier

__all__ = ["DensityClassifier", "GaussianDensityClassifier"]
