"""A `ConformalRejector` as a torch module and as an ONNX file: what `decide` says."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import (
    ConformalRejector,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.export import to_onnx, to_torch

pytestmark = pytest.mark.skipif(
    torch.__version__ < (2, 9), reason="older exporters of torch fix the size of the batch"
)


@pytest.fixture(scope="module")
def data():
    """Digits and logits, in three parts; the last has pictures of nothing among it."""
    X, y = load_digits(return_X_y=True)
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(len(y), 10)) + 3 * np.eye(10)[y]
    X = np.c_[X + 0.1 * generator.normal(size=X.shape), logits]
    X[1500:] *= np.where(np.arange(len(y) - 1500) % 3, 1.0, -1.0)[:, None]
    return (X[:900], y[:900]), (X[900:1300], y[900:1300]), X[1300:]


def _decided(rejector, X, folder):
    """Return what module and file say of features."""
    to_onnx(rejector, folder / "rejector.onnx")
    session = onnxruntime.InferenceSession(folder / "rejector.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["reasons"])[0] == ""
    names = [output.name for output in session.get_outputs()]
    file = dict(zip(names, session.run(names, {"features": X.astype(np.float32)}), strict=True))
    module = to_torch(rejector)(torch.from_numpy(X.astype(np.float32)))._asdict()
    return {k: v.numpy() for k, v in module.items() if v is not None}, file


CLASSIFIERS = {
    "open-set": OpenSetClassifier(),
    "gaussian": GaussianDensityClassifier("tied_diag"),
    "softmax": SoftmaxClassifier(),
}


@pytest.mark.parametrize(
    ("classifier", "parameters"),
    [
        ("open-set", {"alpha": 0.1}),
        ("open-set", {"alpha": 0.1, "criterion": "known"}),
        ("open-set", {"alpha": 0.03, "criterion": "score_samples", "per_class": False}),
        ("softmax", {"risk": 0.05}),
        ("gaussian", {"alpha": 0.2, "per_class": False}),
        ("gaussian", {"risk": 0.05}),
        ("gaussian", {"risk": 0.05, "criterion": "score_samples"}),
        ("softmax", {"alpha": 0.1}),
        ("softmax", {"alpha": 0.5}),
    ],
    ids=str,
)
def test_module_and_file_decide_as_the_rejector_does(data, tmp_path, classifier, parameters):
    train, calibration, X = data
    columns = slice(64, None) if classifier == "softmax" else slice(None)
    model = CLASSIFIERS[classifier].fit(train[0][:, columns], train[1])
    rejector = ConformalRejector(model, **parameters).fit(
        calibration[0][:, columns], calibration[1]
    )
    given = X[:, columns].astype(np.float32)
    label, accepted, reason = rejector.decide(given.astype(np.float64))
    assert 0.05 < accepted.mean() < 0.99
    words = np.array(["", "not sure", "not known"])
    for found in _decided(rejector, given, tmp_path):
        np.testing.assert_array_equal(model.classes_[found["label"]], label)
        np.testing.assert_array_equal(found["accepted"], accepted)
        np.testing.assert_array_equal(words[found["reason"]], reason)


def test_calibration_samples_at_the_threshold_are_decided_alike(data, tmp_path):
    """Their scores are equal to it: accepted by p-values, not by a threshold of the risk."""
    logits = np.round(data[1][0][:, 64:]).astype(np.float64)  # ties, and exact in float32
    for parameters in ({"alpha": 0.1}, {"alpha": 0.1, "per_class": False}, {"risk": 0.2}):
        model = SoftmaxClassifier().fit(logits, data[1][1])
        rejector = ConformalRejector(model, **parameters).fit(logits, data[1][1])
        accepted = rejector.decide(logits).accepted
        for found in _decided(rejector, logits, tmp_path):
            assert (found["accepted"] != accepted).mean() < 0.01  # those that round to another side


# The rejectors warn of just what is exported here; tests/test_rejection.py asserts the warnings.
@pytest.mark.filterwarnings("ignore:alpha=0.05 needs", "ignore:no coverage keeps")
def test_where_too_few_calibrate_nothing_or_everything_is_rejected(data, tmp_path):
    train, (Z, y), X = data
    model = GaussianDensityClassifier().fit(*train)
    for parameters, share in (({}, 1.0), ({"risk": 0.001}, 0.0)):
        rejector = ConformalRejector(model, **parameters).fit(Z[:100], y[:100])
        for found in _decided(rejector, X, tmp_path):
            assert found["accepted"].mean() == share
            assert set(found["reason"]) == {0 if share else 1}


@pytest.mark.parametrize("inside", [False, True])
def test_a_pipeline_is_rejected_from_its_samples_on(data, tmp_path, inside):
    (X, y), (Z, y_new), new = data
    torch.manual_seed(0)
    extractor = FeatureExtractor(nn.Sequential(nn.Linear(74, 30), nn.ReLU()))
    classifier = GaussianDensityClassifier("tied_diag")
    if inside:
        rejector = ConformalRejector(classifier, alpha=0.2, random_state=0)
        model = make_pipeline(extractor, rejector).fit(np.r_[X, Z], np.r_[y, y_new])
        label, accepted, reason = model[-1].decide(extractor.transform(new))
    else:
        model = ConformalRejector(make_pipeline(extractor, classifier).fit(X, y), alpha=0.2)
        label, accepted, reason = model.fit(Z, y_new).decide(new)
    to_onnx(model, tmp_path / "pipe.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "pipe.onnx")
    names = ["label", "accepted", "reason"]
    new = new.astype(np.float32)
    new[0, 0] = np.nan
    found = session.run(names, {"samples": new})
    assert [values[0] for values in found] == [-1, False, 1]
    assert (found[0] != label)[1:].mean() < 0.01
    assert (found[1] != accepted)[1:].mean() < 0.01
    assert np.array_equal(found[2] == 0, found[1])
    assert set(reason) == {"", "not sure"}
