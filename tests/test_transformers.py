"""Networks of transformers: held, saved, remembered, copied to other processes."""

import os
import subprocess
import sys
from pathlib import Path

import conftest
import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.usefixtures("frozen_unchanged")
PICTURES = np.random.default_rng(0).random((6, 3, 32, 32), np.float32)
SMALL = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}


def _vit():
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        **SMALL, intermediate_size=48, image_size=32, patch_size=8, num_labels=4
    )
    return transformers.ViTForImageClassification(config)


def _resnet():
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic", num_labels=4
    )
    return transformers.ResNetForImageClassification(config)


NETWORKS = {"vit": _vit, "resnet": _resnet}


def _logits(network, X):
    with torch.inference_mode():
        return network.eval()(torch.from_numpy(X)).logits.numpy()


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_logits_and_the_penultimate_layer(make):
    network = make()
    extractor = FeatureExtractor(network, layer=["penultimate", "output"]).fit(PICTURES)
    features = extractor.transform(PICTURES)
    logits = features[:, extractor.feature_groups_["output"]]
    np.testing.assert_allclose(logits, _logits(network, PICTURES), rtol=1e-4, atol=1e-5)
    linear = [part for part in network.modules() if isinstance(part, torch.nn.Linear)][-1]
    with torch.inference_mode():
        again = linear(torch.from_numpy(features[:, extractor.feature_groups_["penultimate"]]))
    np.testing.assert_allclose(again, logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_it_is_saved_and_read_in_another_process(make, tmp_path):
    network = make()
    extractor = FeatureExtractor(network).fit(PICTURES)
    joblib.dump((extractor, PICTURES), tmp_path / "extractor.joblib")
    code = (
        "import conftest, joblib, sys; e, X = joblib.load(sys.argv[1] + '/extractor.joblib')\n"
        "joblib.dump((e.transform(X), e.backbone_.fingerprint), sys.argv[1] + '/features.joblib')"
    )
    paths = os.pathsep.join([str(Path(__file__).resolve().parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=True)
    features, fingerprint = joblib.load(tmp_path / "features.joblib")
    np.testing.assert_allclose(features, _logits(network, PICTURES), rtol=1e-4, atol=1e-5)
    again = clone(extractor).fit(PICTURES)
    assert fingerprint == again.backbone_.fingerprint


def test_its_features_are_remembered(tmp_path, monkeypatch):
    extractor = FeatureExtractor(_vit(), memory=tmp_path)
    expected = extractor.fit_transform(PICTURES)
    monkeypatch.setattr("sklearn_densconf.features._forward.Forward.__call__", None)
    again = FeatureExtractor(_vit(), memory=tmp_path).fit(PICTURES).transform(PICTURES)
    np.testing.assert_array_equal(again, expected)


def test_two_jobs_give_the_same():
    y = np.arange(6) % 2
    # Unpickled first in a worker, which then has the repair of torchvision on the test machine.
    passing = FunctionTransformer(conftest.unchanged)
    pipe = make_pipeline(passing, FeatureExtractor(_vit()), GaussianDensityClassifier())
    one, two = (
        cross_val_score(pipe, PICTURES, y, cv=3, n_jobs=n_jobs, scoring="neg_log_loss")
        for n_jobs in (1, 2)
    )
    np.testing.assert_allclose(one, two, rtol=1e-3)


def test_a_network_that_records_its_layers_is_saved(tmp_path):
    torch.manual_seed(0)
    config = transformers.SegformerConfig(
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        decoder_hidden_size=8,
        num_attention_heads=[1, 1, 1, 1],
        num_labels=3,
    )
    network = transformers.SegformerForSemanticSegmentation(config).eval()
    X = np.random.default_rng(0).random((2, 3, 32, 32), np.float32)
    expected = _logits(network, X).mean((2, 3))  # which installs hooks that cannot be pickled
    extractor = FeatureExtractor(network).fit(X)
    np.testing.assert_allclose(extractor.transform(X), expected, rtol=1e-4, atol=1e-5)
    joblib.dump((extractor, X), tmp_path / "extractor.joblib")
    code = (
        "import conftest, joblib, sys; e, X = joblib.load(sys.argv[1] + '/extractor.joblib')\n"
        "joblib.dump(e.transform(X), sys.argv[1] + '/features.joblib')"
    )
    paths = os.pathsep.join([str(Path(__file__).resolve().parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=True)
    found = joblib.load(tmp_path / "features.joblib")
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
