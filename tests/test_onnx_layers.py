"""Layers of ONNX files: named by node or tensor, pooled as those of torch's networks."""

import sys
import warnings

import numpy as np
import pytest
import torch
from networks import Convolutional
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.features._onnx_export import relative_difference

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
GREY = np.random.default_rng(0).random((6, 1, 12, 12), np.float32)
TOKENS = np.random.default_rng(0).random((6, 5, 4), np.float32)


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.norm, self.head = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 3)

    def forward(self, X):
        return self.head(self.norm(torch.relu(self.inner(X))).mean(1))


def written(network, X, path, **options):
    """Write a network as a file; return what its nodes are, by operation."""
    n = torch.export.Dim("n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.eval(),
            (torch.from_numpy(X[:2]),),
            input_names=["X"],
            output_names=["logits"],
            dynamic_shapes=({0: n},),
            dynamo=True,
            verbose=False,
        )
    program.save(str(path), **options)
    nodes = onnx.load(str(path), load_external_data=False).graph.node
    return {node.op_type: node for node in nodes}


@pytest.fixture(scope="module")
def convolutional(tmp_path_factory):
    pytest.importorskip("onnxscript")
    path = tmp_path_factory.mktemp("onnx") / "network.onnx"
    return path, written(Convolutional(), GREY, path)


def assert_as_torch(path, layers, network, names, X, **settings):
    extractor = FeatureExtractor(f"onnx:{path}", layer=layers, device="cpu", **settings).fit(X)
    expected = FeatureExtractor(network, layer=names, device="cpu", **settings).fit_transform(X)
    assert relative_difference(expected, extractor.transform(X)) < 1e-4
    return extractor


@pytest.mark.parametrize("pooling", ["avg", "max", "flatten"])
def test_maps_and_the_penultimate_layer_are_as_of_torch(convolutional, pooling):
    path, nodes = convolutional
    layers = [nodes["Conv"].output[0], "penultimate", "output"]
    names = ["body.3", "penultimate", "output"]
    extractor = assert_as_torch(path, layers, Convolutional(), names, GREY, pooling=pooling)
    assert list(extractor.feature_groups_) == layers


def test_nodes_and_their_tensors_are_both_names(convolutional):
    path, nodes = convolutional
    relu = nodes["Relu"]
    of_node, of_tensor = (
        FeatureExtractor(f"onnx:{path}", layer=name).fit_transform(GREY)
        for name in (relu.name, relu.output[0])
    )
    np.testing.assert_array_equal(of_node, of_tensor)


def test_a_file_is_run_in_the_same_way_whatever_the_engine(convolutional):
    path, _ = convolutional
    features, again = (
        FeatureExtractor(f"onnx:{path}", engine=engine).fit_transform(GREY)
        for engine in ("torch", "onnxruntime")
    )
    np.testing.assert_array_equal(features, again)


def test_a_layer_that_does_not_exist_is_told_with_near_names(convolutional):
    path, _ = convolutional
    with pytest.raises(ValueError, match=r"'logit' does not .*'logits'.*onnx.load\(file\)") as told:
        FeatureExtractor(f"onnx:{path}", layer="logit").fit(GREY)
    assert "named_modules" not in str(told.value)
    nodes = onnx.load(path).graph.node  # as the error says
    for name in ([n.name for n in nodes][-1], [n.output[0] for n in nodes][-1]):
        FeatureExtractor(f"onnx:{path}", layer=name).fit(GREY)


def test_tokens_have_their_channels_last(tmp_path):
    pytest.importorskip("onnxscript")
    network = Tokens()
    nodes = written(network, TOKENS, tmp_path / "tokens.onnx")
    layers = [nodes["LayerNormalization"].output[0], nodes["Relu"].output[0]]
    path = tmp_path / "tokens.onnx"
    found = FeatureExtractor(f"onnx:{path}", layer=layers).fit_transform(TOKENS)
    with torch.inference_mode():
        maps = torch.relu(network.inner(torch.from_numpy(TOKENS)))
        expected = torch.cat([network.norm(maps).mean(1), maps.mean(1)], 1).numpy()
    assert relative_difference(expected, found) < 1e-4


def model_of(path, nodes, weights, output="out"):
    """Write a model of some nodes, for maps (n, 2, 3)."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("X", kind, ["n", 2, 3])],
        [helper.make_tensor_value_info(output, kind, None)],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)


MAPS = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)


def test_an_axis_that_is_not_known_is_asked_for(tmp_path):
    make = onnx.helper.make_node
    model_of(tmp_path / "m.onnx", [make("Transpose", ["X"], ["out"], perm=[0, 2, 1])], {})
    backbone = f"onnx:{tmp_path / 'm.onnx'}"
    with pytest.raises(ValueError, match=r"nodes do not tell which axis has .* channel_axis=1"):
        FeatureExtractor(backbone).fit(MAPS)
    found = FeatureExtractor(backbone, channel_axis=-1).fit_transform(MAPS)
    np.testing.assert_allclose(found, MAPS.mean(2), rtol=1e-5, atol=1e-6)


def test_products_of_activations_are_no_linear_layers(tmp_path):
    make, weight = onnx.helper.make_node, np.ones((3, 4), np.float32)
    nodes = [
        make("Relu", ["X"], ["relu"]),
        make("MatMul", ["relu", "weight"], ["linear"]),
        make("Transpose", ["linear"], ["turned"], perm=[0, 2, 1]),
        make("MatMul", ["linear", "turned"], ["out"]),
    ]
    model_of(tmp_path / "m.onnx", nodes, {"weight": weight})
    backbone = f"onnx:{tmp_path / 'm.onnx'}"
    found = FeatureExtractor(backbone, layer="penultimate").fit_transform(MAPS)
    np.testing.assert_allclose(found, np.maximum(MAPS, 0).mean(1), rtol=1e-5, atol=1e-6)
    model_of(tmp_path / "other.onnx", nodes[:1], {}, output="relu")
    with pytest.raises(ValueError, match="has no Gemm or MatMul with weights: name a tensor"):
        FeatureExtractor(f"onnx:{tmp_path / 'other.onnx'}", layer="penultimate").fit(MAPS)


def test_a_layer_without_an_axis_of_samples_is_refused(tmp_path):
    make = onnx.helper.make_node
    nodes = [make("ReduceMean", ["X"], ["mean"], axes=[0]), make("Add", ["X", "mean"], ["out"])]
    model_of(tmp_path / "m.onnx", nodes, {})
    with pytest.raises(ValueError, match=r"layer 'mean' gives activations of shape \(1, 2, 3\)"):
        FeatureExtractor(f"onnx:{tmp_path / 'm.onnx'}", layer="mean", batch_size=4).fit(
            np.concatenate([MAPS, MAPS])
        ).transform(MAPS)


def test_weights_in_another_file_are_found_for_layers_too(tmp_path):
    pytest.importorskip("onnxscript")
    network, path = Convolutional(), tmp_path / "network.onnx"
    nodes = written(network, GREY, path, external_data=True)
    assert path.with_name("network.onnx.data").exists()
    assert_as_torch(path, nodes["Conv"].output[0], network, "body.3", GREY)


def test_layers_of_a_file_need_onnx_and_its_output_does_not(convolutional, monkeypatch):
    path, _ = convolutional
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert FeatureExtractor(f"onnx:{path}").fit_transform(GREY).shape == (6, 5)
    with pytest.raises(ImportError, match=r"Taking layers of an ONNX model needs onnx.*\[onnx\]"):
        FeatureExtractor(f"onnx:{path}", layer="penultimate").fit(GREY)
