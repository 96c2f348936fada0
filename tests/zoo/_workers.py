"""The task of a worker process, in a file that lets it import torchvision first."""

from typing import Any

import numpy as np

from sklearn_densconf import FeatureExtractor
from tests import conftest  # noqa: F401 - lets torchvision import beside a CPU build of torch


def transformed(extractor: FeatureExtractor, X: Any) -> np.ndarray:
    """Return the features of samples."""
    return extractor.transform(X)
