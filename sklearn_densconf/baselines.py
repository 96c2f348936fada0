"""Where joblib files of early commits look for SoftmaxClassifier; import it from the package."""

from sklearn_densconf.density import SoftmaxClassifier

__all__ = ["SoftmaxClassifier"]
