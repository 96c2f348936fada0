"""Class-conditional densities on the activations of a network, and the softmax baseline."""

from sklearn_densconf.density._density_classifier import DensityClassifier
from sklearn_densconf.density._gaussian_classifier import GaussianDensityClassifier
from sklearn_densconf.density._softmax import SoftmaxClassifier

__all__ = ["DensityClassifier", "GaussianDensityClassifier", "SoftmaxClassifier"]
