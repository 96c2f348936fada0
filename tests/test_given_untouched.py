"""What the user gives stays as it is, whatever networks and preprocessings write into."""

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.export import to_torch

X = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
WAYS = {
    "array": X.copy,
    "tensor": lambda: torch.tensor(X),
    "mapping": lambda: {"samples": X.copy()},
    "list of rows": lambda: [{"samples": row.copy()} for row in X],
}


class InPlace(nn.Module):
    """Doubles what it is given where it lies."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.last = nn.Linear(4, 3)

    def forward(self, samples):
        return self.last(samples.mul_(2))


class Uncounted(InPlace):
    """Doubles it where autograd does not count it."""

    def forward(self, samples):
        samples.data.mul_(2)
        return self.last(samples)


class LateInPlace(nn.Module):
    """Writes into its input after the layer that is taken."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, samples):
        return self.first(samples) + self.last(samples.add_(1))


def expected(network):
    with torch.no_grad():
        return copy.deepcopy(network)(torch.tensor(X)).numpy()


def values_of(given):
    if isinstance(given, dict):
        return np.asarray(given["samples"])
    return np.asarray([each["samples"] for each in given] if isinstance(given, list) else given)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch_size", [3, 256])
@pytest.mark.parametrize(
    "network", [InPlace(), Uncounted(), LateInPlace()], ids=["first", "uncounted", "late"]
)
def test_an_in_place_network_leaves_the_samples_as_they_are(network, way, batch_size):
    given = WAYS[way]()
    extractor = FeatureExtractor(network, batch_size=batch_size).fit(given)
    once, again = extractor.transform(given), extractor.transform(given)
    np.testing.assert_array_equal(values_of(given), X)
    np.testing.assert_allclose(once, expected(network), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(once, again)


def test_a_layer_before_the_writing_is_taken_of_samples_as_they_are():
    network, given = LateInPlace(), X.copy()
    layers = ["first", "penultimate", "output"]
    features = FeatureExtractor(network, layer=layers).fit(given).transform(given)
    np.testing.assert_array_equal(given, X)
    first = network.first(torch.tensor(X)).detach().numpy()
    np.testing.assert_allclose(features[:, :3], first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(features[:, 3:7], X + 1, rtol=1e-6)


def test_samples_made_in_inference_mode_stay_as_they_are():
    with torch.inference_mode():
        given = torch.tensor(X)
        extractor = FeatureExtractor(InPlace()).fit(given)
        extractor.transform(given)
    np.testing.assert_array_equal(given.numpy(), X)


def test_onnxruntime_runs_an_in_place_network_and_the_samples_stay_as_they_are():
    pytest.importorskip("onnxruntime")
    given = X.copy()
    features = FeatureExtractor(InPlace(), engine="onnxruntime").fit(given).transform(given)
    np.testing.assert_array_equal(given, X)
    np.testing.assert_allclose(features, expected(InPlace()), rtol=1e-4, atol=1e-5)


def test_an_exported_in_place_network_leaves_the_samples_as_they_are():
    extractor = FeatureExtractor(InPlace())
    Z = extractor.fit_transform(X.copy())
    classifier = GaussianDensityClassifier("tied", shrinkage=0.5).fit(Z, np.arange(7) % 2)
    pipeline = make_pipeline(extractor, classifier)
    given = torch.tensor(X)
    probabilities = to_torch(pipeline)(given).probabilities
    np.testing.assert_array_equal(given.numpy(), X)
    np.testing.assert_allclose(probabilities.numpy(), classifier.predict_proba(Z), atol=1e-6)


@pytest.mark.parametrize("way", ["array", "tensor"])
def test_an_in_place_preprocessing_leaves_the_samples_as_they_are(way):
    given = WAYS[way]()
    extractor = FeatureExtractor(nn.Flatten(), preprocessing=lambda row: row.mul_(2)).fit(given)
    np.testing.assert_array_equal(extractor.transform(given), 2 * X)
    np.testing.assert_array_equal(np.asarray(given), X)


def test_an_in_place_preprocessing_leaves_images_as_they_are():
    image = Image.fromarray(np.full((8, 8, 3), 51, np.uint8))

    def shrunk(picture):
        picture.thumbnail((4, 4))
        return torch.tensor(np.asarray(picture)).permute(2, 0, 1) / 255

    features = FeatureExtractor(nn.Flatten(), preprocessing=shrunk).fit_transform([image, image])
    assert features.shape == (2, 48)
    assert image.size == (8, 8)


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_autocast_around_a_call_changes_no_feature_and_none_that_is_kept(engine, tmp_path):
    if engine == "onnxruntime":
        pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = nn.Linear(4, 3)
    extractor = FeatureExtractor(network, engine=engine, memory=tmp_path)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = extractor.fit(X).transform(X)
    np.testing.assert_allclose(inside, expected(network), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(extractor.transform(X), inside)
