"""The four readings of the paper, from one pass through the network."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.evaluation._progress import track
from sklearn_densconf.evaluation._subject import Subject

SOFTMAX, DENSITY = "softmax", "density"
_READINGS: dict[str, dict[str, Any]] = {
    DENSITY: {},
    "literal dΣ": {"temperature": 1.0, "covariance_scale": "n_features"},
    "plain Bayes": {"temperature": 1.0},
}
CONFIDENCES = (SOFTMAX, *_READINGS)
COMPARED = (SOFTMAX, DENSITY)
# For figure 1 alone: the largest posterior, whatever the network says, and with a background.
OWN_LABEL, BACKGROUND = "density, own label", "density, 1 % background"


def fit_subject(network: nn.Module, pictures: Pictures, memory: Path) -> Subject:
    """Fit every confidence to the training pictures: steps 2 and 3 of the method.

    The network gives one logit per class; the label is that of the largest, the paper's rule, the
    same for every confidence. Features are kept in the folder ``memory``.
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
    models = {SOFTMAX: softmax, **densities}
    return Subject(
        extractors=(extractor,),
        models={name: (0, model) for name, model in models.items()},
        names=CONFIDENCES,
        compared=COMPARED,
        one_label=True,
        log_densities={"log p(z)": DENSITY},
        attackable=(0,),
    )


def _density(**reading: Any) -> GaussianDensityClassifier:
    return GaussianDensityClassifier(predict_from="features", **reading)
