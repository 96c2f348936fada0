"""Networks that cannot be copied: built in each process, told by content; ONNX files."""

import os
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from networks import Convolutional
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

X = np.random.default_rng(0).random((8, 1, 12, 12), np.float32)
HERE = Path(__file__).resolve().parent


def _onnx_file(path, seed=0):
    """Write an ONNX file of two linear layers, for rows of 12 values."""
    onnx = pytest.importorskip("onnx")
    random = np.random.default_rng(seed)
    weight = random.normal(size=(12, 3)).astype(np.float32)
    bias = random.normal(size=3).astype(np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [helper.make_node("Gemm", ["rows", "weight", "bias"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("rows", kind, ["n", 12])],
        [helper.make_tensor_value_info("logits", kind, ["n", 3])],
        [
            onnx.numpy_helper.from_array(weight, "weight"),
            onnx.numpy_helper.from_array(bias, "bias"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return lambda rows: rows @ weight + bias


@pytest.fixture
def onnx_file(tmp_path):
    pytest.importorskip("onnxruntime")
    path = tmp_path / "network.onnx"
    return path, _onnx_file(path)


def _expected():
    with torch.inference_mode():
        return Convolutional().eval()(torch.from_numpy(X)).numpy()


def _in_another_process(folder):
    code = (
        "import joblib, sys; e, X = joblib.load(sys.argv[1] + '/extractor.joblib')\n"
        "joblib.dump(e.transform(X), sys.argv[1] + '/features.joblib')"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        env=env,
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("name", ["built:scripted", "built:locked", "built:local"])
def test_what_cannot_be_held_is_built_by_its_function(name, tmp_path):
    extractor = FeatureExtractor(name, memory=tmp_path / "memory", device="cpu")
    for _ in range(2):
        np.testing.assert_allclose(extractor.fit_transform(X), _expected(), rtol=1e-4, atol=1e-5)
    joblib.dump((extractor, X), tmp_path / "extractor.joblib")
    done = _in_another_process(tmp_path)
    assert done.returncode == 0, done.stderr
    features = joblib.load(tmp_path / "features.joblib")
    np.testing.assert_allclose(features, _expected(), rtol=1e-4, atol=1e-5)
    assert len(list((tmp_path / "memory").rglob("*.npy"))) == 2  # nothing passed there


def test_layers_inside_are_not_to_be_had():
    with pytest.raises(ValueError, match=r"'inner' does not .*'output' alone.*layer=None"):
        FeatureExtractor("built:locked", layer="inner").fit(X)


def test_two_jobs_give_the_same():
    y = np.arange(8) % 2
    pipe = make_pipeline(FeatureExtractor("built:locked"), GaussianDensityClassifier())
    one, two = (cross_val_score(pipe, X, y, cv=2, n_jobs=n, scoring="neg_log_loss") for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-3)


@pytest.mark.parametrize("layer", [None, "output"])
def test_an_onnx_file_gives_its_outputs(onnx_file, tmp_path, layer):
    path, network = onnx_file
    rows = X.reshape(-1, 12)
    extractor = FeatureExtractor(f"onnx:{path}", layer=layer, memory=tmp_path / "memory")
    for _ in range(2):
        features = extractor.fit_transform(rows)
        np.testing.assert_allclose(features, network(rows), rtol=1e-4, atol=1e-5)
    joblib.dump((extractor, rows), tmp_path / "extractor.joblib")
    done = _in_another_process(tmp_path)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(joblib.load(tmp_path / "features.joblib"), features)


def test_an_onnx_file_that_changed_or_is_missing_is_not_run(onnx_file, tmp_path):
    path, _ = onnx_file
    rows = X.reshape(-1, 12)
    joblib.dump((FeatureExtractor(f"onnx:{path}").fit(rows), rows), tmp_path / "extractor.joblib")
    _onnx_file(path, seed=1)
    assert (
        "builds another network now than when the extractor" in _in_another_process(tmp_path).stderr
    )
    path.unlink()
    assert "there is no such file" in _in_another_process(tmp_path).stderr
    with pytest.raises(
        FileNotFoundError, match=r"backbone 'onnx:/nowhere\.onnx': there is no such"
    ):
        FeatureExtractor("onnx:/nowhere.onnx").fit(rows)


@pytest.mark.parametrize("labels", [[0, 1], ["no", "yes"], [-1.0, 1.0]])
def test_a_binary_skorch_net_is_trained(labels):
    skorch = pytest.importorskip("skorch")
    torch.manual_seed(0)
    net = skorch.NeuralNetBinaryClassifier(
        nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)),
        max_epochs=60,
        lr=1.0,
        train_split=None,
        verbose=0,
    )
    rows = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)
    y = np.array(labels)[(rows[:, 0] > 0).astype(int)]
    logits = FeatureExtractor(net, device="cpu").fit(rows, y).transform(rows)
    assert ((logits[:, 0] > 0) == (rows[:, 0] > 0)).mean() > 0.9


MAIN = """
import multiprocessing, sys, joblib, numpy as np, torch
from sklearn_densconf import FeatureExtractor

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(144, 2)

    def forward(self, X):
        return self.linear(X.flatten(1))

if __name__ == "__main__":
    multiprocessing.set_start_method("forkserver")
    X = list(torch.rand(6, 1, 12, 12))
    torch.manual_seed(0)
    extractor = FeatureExtractor(
        Network(), preprocessing=lambda X: X * 2, num_workers=2, batch_size=2, device="cpu"
    ).fit(X)
    here = extractor.set_params(num_workers=0).transform(X)
    there = extractor.set_params(num_workers=2).transform(X)
    assert abs(here - there).max() < 1e-6
    doubled = [2 * each for each in X]
    plain = FeatureExtractor(extractor.backbone_, device="cpu").fit(doubled)
    joblib.dump((plain, doubled, here), sys.argv[1] + "/main.joblib")
"""


def test_classes_of_main_are_saved_and_lambdas_go_to_workers_that_are_not_forked(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(tmp_path / "main.py"), str(tmp_path)]
    subprocess.run(command, env=env, check=True)
    extractor, pictures, expected = joblib.load(tmp_path / "main.joblib")
    np.testing.assert_allclose(extractor.transform(pictures), expected, rtol=1e-4, atol=1e-6)


def test_layers_of_a_compiled_network_have_either_name():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    compiled = torch.compile(network, backend="eager")
    rows = torch.rand(5, 4)
    with torch.inference_mode():
        expected = network[0](rows)
        compiled(rows)
    for layer in ("0", "_orig_mod.0"):
        features = FeatureExtractor(compiled, layer=layer).fit_transform(rows)
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_local_weights_are_taken_and_missing_ones_explained(library, tmp_path, monkeypatch):
    models = pytest.importorskip("torchvision.models")
    timm = pytest.importorskip("timm")
    torch.manual_seed(3)
    network = models.resnet18() if library == "torchvision" else timm.create_model("resnet18")
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    pictures = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = network.eval()(pictures).numpy()
    name = f"{library}:resnet18"
    extractor = FeatureExtractor(f"{name}?weights={tmp_path}/weights.pth")
    np.testing.assert_allclose(extractor.fit_transform(pictures), expected, rtol=1e-3, atol=1e-4)

    def unreachable(*_arguments, **_named):
        raise OSError("no route to host")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    monkeypatch.setattr("timm.models._builder.load_pretrained", unreachable)
    with pytest.raises(
        OSError, match=rf"{name}' could not load its weights .*{name}\?weights=FILE"
    ):
        FeatureExtractor(name).fit(pictures)
