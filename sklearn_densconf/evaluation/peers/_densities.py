"""Confidences of this package: the paper's readings of the logits, and distances of features.

References
----------
A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in deep neural networks via density
modelling", arXiv:1707.07013. J. Ren et al., "A Simple Fix to Mahalanobis Distance for Improving
Near-OOD Detection", arXiv:2106.09022 (relative). M. Müller, M. Hein, "Mahalanobis++: Improving OOD
Detection via Feature Normalization", arXiv:2505.18032.
"""

from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np
from sklearn.preprocessing import normalize

from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.evaluation.peers._peer import Activations, Known, Peer, Posterior, Score
from sklearn_densconf.openset import OpenSetClassifier

_READINGS: dict[str, tuple[dict[str, Any], str]] = {
    "density": ({}, "the paper's, d-th root of the densities: the default of this package"),
    "density, literal dΣ": (
        {"temperature": 1.0, "covariance_scale": "n_features"},
        "the paper's words taken literally",
    ),
    "density, plain Bayes": ({"temperature": 1.0}, "Bayes' rule without any correction"),
}


def _density(reading: dict[str, Any], known: Known) -> GaussianDensityClassifier:
    model = GaussianDensityClassifier(predict_from="features", **reading)
    return model.fit(known.train.logits, known.y)


def _fit_reading(reading: dict[str, Any], known: Known) -> Score:
    return Posterior(_density(reading, known), itemgetter(1))


def _fit_evidence(known: Known) -> Score:
    return partial(_evidence, _density({}, known))


def _evidence(model: GaussianDensityClassifier, activations: Activations) -> np.ndarray:
    return model.score_samples(activations.logits)


def _gaussian(
    features: np.ndarray, y: np.ndarray, shrinkage: str | float = "auto"
) -> GaussianDensityClassifier:
    """Fit one covariance of features of length 1, by default with Ledoit and Wolf's shrinkage."""
    return GaussianDensityClassifier("tied", shrinkage=shrinkage).fit(normalize(features), y)


def _fit_nearest(known: Known) -> Score:
    return partial(_nearest, _gaussian(known.train.features, known.y))


def _nearest(classes: GaussianDensityClassifier, activations: Activations) -> np.ndarray:
    """Compute -½ min_k D_k, the log-density of the nearest class up to a constant."""
    return -classes.mahalanobis(normalize(activations.features)).min(axis=1) / 2


def _fit_relative(known: Known) -> Score:
    # A background with a shrinkage of its own, which is smaller, is the narrower of the two where
    # nothing varies: out-of-distribution pictures would be the most familiar ones.
    classes = _gaussian(known.train.features, known.y)
    everything = np.zeros_like(known.y)
    background = _gaussian(known.train.features, everything, float(classes.shrinkage_))
    return partial(_relative, classes, background)


def _relative(
    classes: GaussianDensityClassifier,
    background: GaussianDensityClassifier,
    activations: Activations,
) -> np.ndarray:
    """Compute ½ (D_background - min_k D_k): the same against what all classes share."""
    return _nearest(classes, activations) - _nearest(background, activations)


def _open_set(known: Known) -> OpenSetClassifier:
    model = OpenSetClassifier()
    X_val = np.hstack(known.held_out)
    return model.fit(np.hstack(known.train), known.y, X_val=X_val, y_val=known.y_held_out)


def _fit_open_set(known: Known) -> Score:
    return Posterior(_open_set(known), np.hstack)


def _fit_familiarity(known: Known) -> Score:
    return partial(_familiarity, _open_set(known))


def _familiarity(model: OpenSetClassifier, activations: Activations) -> np.ndarray:
    return model.score_samples(np.hstack(activations))


OPEN_SET = "open-set"
PEERS = (
    Peer(OPEN_SET, _fit_open_set, "softmax, discounted where unfamiliar", is_probability=True),
    Peer("open-set, known?", _fit_familiarity, "the discount alone: is it of the known world?"),
    *(
        Peer(name, partial(_fit_reading, reading), about, is_probability=True)
        for name, (reading, about) in _READINGS.items()
    ),
    Peer("density, log p(z)", _fit_evidence, "the density itself, of the logits"),
    Peer("Mahalanobis++", _fit_nearest, "ours: features of length 1, Ledoit and Wolf's shrinkage"),
    Peer("Mahalanobis++, relative", _fit_relative, "ours: the same against a background"),
)
