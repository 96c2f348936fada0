"""Masked arrays: nothing here knows of masks, so that values under one would count as good ones."""

import numpy as np
import pytest
import torch
from sklearn.pipeline import make_pipeline

from sklearn_densconf import (
    ConformalRejector,
    FeatureExtractor,
    GaussianDensityClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.adversarial import deepfool
from sklearn_densconf.distortions import gaussian_blur
from sklearn_densconf.evaluation import evaluate
from sklearn_densconf.metrics import expected_calibration_error, risk_coverage_curve
from sklearn_densconf.monitoring import DriftMonitor

rng = np.random.default_rng(0)
Y = np.arange(60) % 3
X = rng.normal(size=(60, 3)) + 3 * np.eye(3)[Y]
PICTURES = rng.random((60, 1, 4, 4), np.float32)
NETWORK = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3))


def masked(values, n=2):
    """Return values of which the first are masked."""
    return np.ma.masked_array(values, np.arange(np.size(values)).reshape(np.shape(values)) < n)


def density():
    return GaussianDensityClassifier().fit(X, Y)


def flat():
    return make_pipeline(FeatureExtractor(NETWORK), GaussianDensityClassifier()).fit(PICTURES, Y)


DOORS = {
    "samples to fit": lambda: GaussianDensityClassifier().fit(masked(X), Y),
    "samples": lambda: density().predict_proba(masked(X)),
    "labels to fit": lambda: GaussianDensityClassifier().fit(X, masked(Y)),
    "labels in parts": lambda: GaussianDensityClassifier().partial_fit(X, masked(Y), [0, 1, 2]),
    "weights": lambda: GaussianDensityClassifier().fit(X, Y, masked(np.ones(60))),
    "priors": lambda: GaussianDensityClassifier(priors=masked(np.ones(3) / 3)).fit(X, Y),
    "labels in question": lambda: density().confidence(X, masked(Y)),
    "logits": lambda: SoftmaxClassifier().fit(masked(X), Y),
    "labels to calibrate": lambda: ConformalRejector(density()).fit(X, masked(Y)),
    "scores": lambda: DriftMonitor().fit(masked(X[:, 0])),
    "correct": lambda: risk_coverage_curve(masked(Y == 0), X[:, 0]),
    "confidences": lambda: expected_calibration_error(Y == 0, masked(np.full(60, 0.5))),
    "rows for a network": lambda: FeatureExtractor(NETWORK).fit(masked(PICTURES.reshape(60, 16))),
    "maps for a network": lambda: FeatureExtractor(NETWORK).fit(masked(PICTURES)),
    "single pictures": lambda: FeatureExtractor(NETWORK).fit([masked(each) for each in PICTURES]),
    "arrays by name": lambda: FeatureExtractor(NETWORK).fit({"input": masked(PICTURES)}),
    "pixels to distort": lambda: gaussian_blur(masked(PICTURES), 1.0, channel_axis=1),
    "pixels to attack": lambda: deepfool(NETWORK, masked(PICTURES)),
    "pictures to evaluate": lambda: evaluate({"flat": flat()}, masked(PICTURES), Y),
}


@pytest.mark.parametrize("door", DOORS)
def test_masked_values_are_refused_at_every_door(door):
    wanted = r"masked array in which \d of \d+ values are masked, wanted none: give array.filled"
    with pytest.raises(ValueError, match=wanted):
        DOORS[door]()


def test_a_masked_array_without_a_masked_value_is_an_array():
    plain, whole = density(), GaussianDensityClassifier().fit(masked(X, 0), masked(Y, 0))
    np.testing.assert_array_equal(whole.predict_proba(masked(X, 0)), plain.predict_proba(X))
    extractor = FeatureExtractor(NETWORK)
    features = extractor.fit_transform(masked(PICTURES, 0))
    np.testing.assert_array_equal(features, extractor.fit_transform(PICTURES))
