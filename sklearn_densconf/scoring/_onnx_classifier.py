"""A file of `export.to_onnx` where a fitted classifier is wanted."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.metaestimators import available_if

from sklearn_densconf.scoring._code import function_of
from sklearn_densconf.scoring._onnx import OnnxScorer


def _has_score(model: "OnnxClassifier") -> bool:
    return "score" in model.gives


class OnnxClassifier(ClassifierMixin, BaseEstimator):
    """A file of `export.to_onnx` as a fitted classifier of paths and pictures of PIL.

    Parameters
    ----------
    file : Path
        The file.
    preprocessing : str or None
        As of the command line.
    """

    def __init__(self, file: Path, preprocessing: str | None = None) -> None:
        self.file = file
        self.preprocessing = preprocessing
        function = None if preprocessing is None else function_of(preprocessing, "--preprocessing")
        self._scorer = OnnxScorer(file, function, n_threads=0)
        self.classes_ = self._scorer.classes
        self.gives = self._scorer.gives
        self._last: tuple[Any, dict[str, np.ndarray]] = None, {}

    def fit(self, *_: Any) -> "OnnxClassifier":
        """Do nothing: the file is fitted."""
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of classes."""
        return self._outputs(X)["probabilities"]

    def predict(self, X: Any) -> np.ndarray:
        """Return labels."""
        return self.classes_[self._outputs(X)["label"]]

    @available_if(_has_score)
    def score_samples(self, X: Any) -> np.ndarray:
        """Return how familiar pictures are."""
        return self._outputs(X)["score"]

    def _outputs(self, X: Any) -> dict[str, np.ndarray]:
        """Return what the file gives; the same pictures, asked for again, pass once."""
        if self._last[0] is not X:
            self._last = X, self._scorer.outputs(X)
        return self._last[1]
