"""A confidence for deep classifiers that falls when it should, as scikit-learn estimators.

Public names are imported on first use: ``import sklearn_densconf`` imports neither torch nor
matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {  # public name -> module that defines it
    "ConformalRejector": "rejection",
    "DensityClassifier": "density",
    "FeatureExtractor": "features",
    "GaussianDensityClassifier": "density",
    "OpenSetClassifier": "openset",
    "SoftmaxClassifier": "density",
}

__all__ = [
    "ConformalRejector",
    "DensityClassifier",
    "FeatureExtractor",
    "GaussianDensityClassifier",
    "OpenSetClassifier",
    "SoftmaxClassifier",
]

if TYPE_CHECKING:
    from sklearn_densconf.density import (
        DensityClassifier,
        GaussianDensityClassifier,
        SoftmaxClassifier,
    )
    from sklearn_densconf.features import FeatureExtractor
    from sklearn_densconf.openset import OpenSetClassifier
    from sklearn_densconf.rejection import ConformalRejector


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
