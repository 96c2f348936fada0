"""Networks of float64: what goes in and what is computed keep their 53 bits."""

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from skorch import NeuralNetRegressor
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features import FrozenBackbone

# The difference of two columns is all that the network gives: in float32 it would be 0 or 8.
X = 2.0**27 + np.array([[1.0, 0.0], [0.0, 3.0], [5.0, 6.0]])
DIFFERENCES = [1.0, -3.0, -1.0]


class Difference(nn.Module):
    """The difference of the first column and the second, or of two inputs by name."""

    def __init__(self, dtype=torch.float64):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0], [-1.0]], dtype=dtype))

    def forward(self, values=None, left=None, right=None):
        values = torch.cat([left, right], 1) if values is None else values
        return values @ self.weight


def _collate(samples):
    return torch.stack([sample[0] for sample in samples])


class _Opened(DataLoader):
    """A DataLoader whose samples a function puts together."""

    def __init__(self, values):
        super().__init__(TensorDataset(torch.from_numpy(values)), 2, collate_fn=_collate)


@pytest.mark.parametrize(
    "container",
    [
        np.array,
        torch.from_numpy,
        lambda values: pd.DataFrame(values, columns=["a", "b"]),
        lambda values: values.tolist(),
        lambda values: {"left": values[:, :1], "right": torch.from_numpy(values[:, 1:])},
        lambda values: [{"left": row[:1], "right": row[1:]} for row in values],
        _Opened,
        lambda values: DataLoader(TensorDataset(torch.from_numpy(values)), 2),
        lambda values: values.astype(np.int64),
    ],
    ids=["array", "tensor", "frame", "list", "mapping", "dicts", "collate", "Dataset", "integers"],
)
def test_samples_are_not_rounded_on_their_way_to_the_network(container):
    extractor = FeatureExtractor(Difference(), device="cpu")
    features = extractor.fit_transform(container(X))
    assert features.dtype == np.float32
    assert features.ravel().tolist() == DIFFERENCES
    assert extractor.transform(container(X)).ravel().tolist() == DIFFERENCES


def test_a_network_of_float32_gets_float32():
    features = FeatureExtractor(Difference(torch.float32), device="cpu").fit_transform(X)
    assert features.ravel().tolist() != DIFFERENCES


def test_a_network_of_float64_is_saved_and_remembered_as_such(tmp_path):
    frozen = FrozenBackbone(Difference())
    extractor = FeatureExtractor(frozen, memory=tmp_path, device="cpu").fit(X)
    assert extractor.transform(X).ravel().tolist() == DIFFERENCES
    assert extractor.transform(X[::-1]).ravel().tolist() == DIFFERENCES[::-1]
    with pytest.raises(ValueError, match="too large for float64, first in sample 1"):
        FeatureExtractor(frozen, device="cpu").fit(X).transform([[1, 2], [np.inf, 0]])
    assert FeatureExtractor(frozen, device="cpu").fit_transform([[1e300, 1e300]]) == 0


@pytest.mark.parametrize("kind", [np.array, list, lambda p: list(map(Image.fromarray, p))])
def test_pixels_are_divided_in_float64(kind):
    pixels = np.arange(2 * 5 * 4, dtype=np.uint8).reshape(2, 5, 4)
    network = nn.Sequential(nn.Conv2d(1, 3, 2), nn.Flatten()).double()
    features = FeatureExtractor(network, device="cpu").fit_transform(kind(pixels))
    with torch.no_grad():
        expected = network(torch.from_numpy(pixels)[:, None].double() / 255)
    np.testing.assert_array_equal(features, expected.float().numpy())


def test_preprocessing_of_float64_is_not_rounded():
    def preprocessing(picture):
        return torch.from_numpy(np.asarray(picture, np.float64).reshape(-1)[:2]) + 2**27

    pictures = [Image.fromarray(np.array([[a, b]], np.uint8)) for a, b in [(1, 0), (0, 3), (5, 6)]]
    extractor = FeatureExtractor(Difference(), preprocessing=preprocessing, device="cpu")
    assert extractor.fit_transform(pictures).ravel().tolist() == DIFFERENCES


def test_maps_are_pooled_in_float64():
    network = nn.Sequential(nn.Conv1d(1, 1, 1, bias=False), nn.Flatten()).double()
    with torch.no_grad():
        network[0].weight.fill_(1)
    signal = 2.0**30 * np.array([[[1.0, -1.0, 1.0, -1.0]]]) + 1 / 3
    pooled = FeatureExtractor(network, layer="0", device="cpu").fit_transform(signal)
    np.testing.assert_allclose(pooled, 1 / 3, rtol=1e-6)


def test_a_skorch_net_of_float64_is_trained_in_float64():
    net = NeuralNetRegressor(Difference, max_epochs=1, lr=0.0, verbose=0, train_split=None)
    extractor = FeatureExtractor(net, device="cpu").fit(X, np.zeros((3, 1)))
    assert extractor.backbone_.dtype == torch.float64
    assert extractor.transform(X).ravel().tolist() == DIFFERENCES


def scripted():
    """Return TorchScript of float64, which is built in each process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        return torch.jit.trace(Difference(), torch.zeros(2, 2, dtype=torch.float64))


def test_networks_that_cannot_be_held_get_float64():
    extractor = FeatureExtractor(f"{__name__}:scripted", device="cpu")
    assert extractor.fit_transform(X).ravel().tolist() == DIFFERENCES


def test_onnx_of_float64_gets_float64(tmp_path):
    onnx = pytest.importorskip("onnx")
    double = onnx.TensorProto.DOUBLE
    shapes = [
        onnx.helper.make_tensor_value_info(n, double, ["n", c]) for n, c in (("x", 2), ("y", 1))
    ]
    weight = onnx.helper.make_tensor("w", double, [2, 1], [1.0, -1.0])
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = onnx.helper.make_graph([node], "difference", shapes[:1], shapes[1:], [weight])
    opset = [onnx.helper.make_opsetid("", 17)]
    path = str(tmp_path / "difference.onnx")
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    extractor = FeatureExtractor(f"onnx:{path}", device="cpu")
    assert extractor.fit_transform(X).ravel().tolist() == DIFFERENCES
