"""The confidences that every experiment compares, from one pass through the network."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.paper._data import Pictures
from sklearn_densconf.paper._progress import track

SOFTMAX, DENSITY = "softmax", "density"
_READINGS: dict[str, dict[str, Any]] = {
    DENSITY: {},
    "literal dΣ": {"temperature": 1.0, "covariance_scale": "n_features"},
    "plain Bayes": {"temperature": 1.0},
}
CONFIDENCES = (SOFTMAX, *_READINGS)
# For figure 1 alone: the largest posterior, whatever the network says, and with a background.
OWN_LABEL, BACKGROUND = "density, own label", "density, 1 % background"


class Opinions(NamedTuple):
    """What a network says of pictures, and how sure each confidence is of it.

    Attributes
    ----------
    labels : ndarray of shape (n_pictures,), int64
        The network's labels, argmax z: the paper's rule, the same for every confidence.
    confidences : dict of str to ndarray of shape (n_pictures,)
        Confidence in that label, in [0, 1].
    """

    labels: np.ndarray
    confidences: dict[str, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A trained network under examination.

    Attributes
    ----------
    extractor : FeatureExtractor
        From pictures to logits z; keeps what it has seen.
    models : dict of str to classifier
        Each confidence under its name, fitted to z.
    """

    extractor: FeatureExtractor
    models: dict[str, Any]

    def examine(self, pixels: np.ndarray, names: Iterable[str] = CONFIDENCES) -> Opinions:
        """Give labels and confidences of pictures.

        Parameters
        ----------
        pixels : ndarray of shape (n_pictures, c, height, width)
            Floating in [0, 1] or uint8.
        names : iterable of str
            Which confidences.

        Returns
        -------
        Opinions
            All of them from one pass through the network.
        """
        return self.judge(self.extractor.transform(pixels), names)

    def judge(self, z: np.ndarray, names: Iterable[str] = CONFIDENCES) -> Opinions:
        """Give labels and confidences of pictures whose logits (n_pictures, n_classes) are known.

        Parameters
        ----------
        z : ndarray of shape (n_pictures, n_classes), float32
            Logits.
        names : iterable of str
            Which confidences.

        Returns
        -------
        Opinions
            Labels and confidences.
        """
        confidences = {name: self.models[name].confidence(z).astype(np.float64) for name in names}
        return Opinions(z.argmax(axis=1), confidences)


def fit_subject(network: nn.Module, pictures: Pictures, memory: Path) -> Subject:
    """Fit every confidence to the training pictures: steps 2 and 3 of the method.

    Parameters
    ----------
    network : torch.nn.Module
        From pixels in [0, 1] to logits, one a class.
    pictures : Pictures
        What it was trained on.
    memory : Path
        Folder that keeps the features.

    Returns
    -------
    Subject
        The network and its confidences.
    """
    classes = np.unique(pictures.y)
    densities = {name: _density(**reading) for name, reading in _READINGS.items()}
    densities |= {OWN_LABEL: GaussianDensityClassifier(), BACKGROUND: _density(background=0.01)}
    extractor = FeatureExtractor(network, memory=memory).fit(pictures.read(np.arange(1)))
    start = 0
    for pixels in track(pictures.chunks(), pictures.n_chunks, "fitting"):
        z, y = extractor.transform(pixels), pictures.y[start : start + len(pixels)]
        start += len(pixels)
        for density in densities.values():
            density.partial_fit(z, y, classes)
    softmax = SoftmaxClassifier().fit(np.eye(len(classes)), classes)
    return Subject(extractor, {SOFTMAX: softmax, **densities})


def _density(**reading: Any) -> GaussianDensityClassifier:
    return GaussianDensityClassifier(predict_from="features", **reading)
