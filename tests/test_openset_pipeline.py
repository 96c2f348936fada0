"""OpenSetClassifier behind a real network: pictures in, a confidence to act on out."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, OpenSetClassifier, SoftmaxClassifier
from sklearn_densconf.distortions import gaussian_noise


@pytest.fixture(autouse=True)
def _routing():
    with sklearn.config_context(enable_metadata_routing=True):
        yield


@pytest.fixture(scope="module")
def digits():
    """Return three parts of the digits: to train on, to calibrate on, to measure on."""
    X, y = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
    X_val, X_test, y_val, y_test = train_test_split(X_test, y_test, test_size=0.5, random_state=0)
    return X, y, X_val, y_val, X_test, y_test


@pytest.fixture(scope="module")
def network(digits):
    """Return a small network, trained."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    X, y = torch.tensor(digits[0]), torch.tensor(digits[1])
    for _ in range(20):
        for part in torch.randperm(len(X)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(X[part]), y[part]).backward()
            optimizer.step()
    return network.eval()


def _pipeline(network, classifier):
    extractor = FeatureExtractor(network, layer=["penultimate", "output"], device="cpu")
    return make_pipeline(extractor, classifier, transform_input=["X_val"])


def test_a_pipeline_takes_pictures_to_fit_and_to_calibrate(network, digits):
    X, y, X_val, y_val, X_test, y_test = digits
    pipe = _pipeline(network, OpenSetClassifier()).fit(X, y, X_val=X_val, y_val=y_val)
    rows = pipe[:-1].transform(X), y, None, pipe[:-1].transform(X_val), y_val
    by_hand = OpenSetClassifier().fit(*rows)
    np.testing.assert_allclose(
        pipe.predict_proba(X_test), by_hand.predict_proba(rows_of(pipe, X_test))
    )
    assert pipe.score(X_test, y_test) > 0.9
    without = _pipeline(network, OpenSetClassifier()).fit(X, y)
    assert without[-1].temperature_ == 1
    assert without.score(X_test, y_test) == pipe.score(X_test, y_test)


def test_a_pipeline_takes_pictures_for_the_temperature(network, digits):
    X, y, X_val, y_val, X_test, _ = digits
    extractor = FeatureExtractor(network, device="cpu")
    softmax = SoftmaxClassifier(temperature="nll")
    pipe = make_pipeline(extractor, softmax, transform_input=["X_val"])
    pipe.fit(X, y, X_val=X_val, y_val=y_val)
    assert pipe[-1].temperature_ != 1
    assert np.isfinite(pipe.predict_log_proba(X_test)).all()


def test_it_follows_the_accuracy_under_noise_and_knows_what_is_not_a_digit(network, digits):
    X, y, X_val, y_val, X_test, y_test = digits
    pipe = _pipeline(network, OpenSetClassifier()).fit(X, y, X_val=X_val, y_val=y_val)
    clean = pipe.predict_proba(X_test).max(axis=1)
    noisy = gaussian_noise(X_test, 0.6, random_state=0, channel_axis=1)
    accuracy = pipe.score(noisy, y_test)
    softmax = SoftmaxClassifier().fit(rows_of(pipe, X)[:, 32:], y)
    gap = pipe.predict_proba(noisy).max(axis=1).mean() - accuracy
    assert gap < softmax.confidence(rows_of(pipe, noisy)[:, 32:]).mean() - accuracy - 0.04
    assert abs(clean.mean() - pipe.score(X_test, y_test)) < 0.05
    inverted, is_digit = 1 - X_test, np.repeat([True, False], len(X_test))
    familiar = pipe.score_samples(np.concatenate([X_test, inverted]))
    assert roc_auc_score(is_digit, familiar) > 0.95


def rows_of(pipe, X):
    """Return the features and logits of pictures."""
    return pipe[:-1].transform(X)


def test_held_out_pictures_that_pass_no_network_are_told_how(network, digits):
    X, y, X_val, y_val = digits[:4]
    extractor = FeatureExtractor(network, layer=["penultimate", "output"], device="cpu")
    pipe = make_pipeline(extractor, OpenSetClassifier())
    files = [f"{n}.png" for n in range(len(X_val))]
    for given, shape in [(X_val, r"\(1, 8, 8\)"), (X_val[:, 0, 0], r"\(8,\)"), (files, r"\(\)")]:
        message = rf"X_val has samples of shape {shape}, wanted rows of 42 .*transform_input=\['X_v"
        with pytest.raises(ValueError, match=message):
            pipe.fit(X, y, X_val=given, y_val=y_val)
