"""The recipes of docs/registries.md: skops, MLflow, a model card, and a service on loopback."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline

from sklearn_densconf import (
    ConformalRejector,
    DensityClassifier,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.export import to_onnx

SERVICE = Path(__file__).parents[1] / "docs" / "examples" / "serve.py"


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X.astype(np.float32) / 16, y


@pytest.fixture(scope="module")
def fitted(digits):
    """Classifiers of each kind, with what they take."""
    X, y = digits
    linear = LogisticRegression(max_iter=300).fit(X, y)
    logits = linear.decision_function(X)
    some = X[:, 20:30]
    mixture = DensityClassifier(GaussianMixture(2, covariance_type="diag", random_state=0))
    return {
        **{
            kind: (GaussianDensityClassifier(kind, shrinkage=0.1 * (kind == "full")).fit(X, y), X)
            for kind in ("diag", "spherical", "tied", "tied_diag", "full")
        },
        "blocks": (GaussianDensityClassifier(blocks=[32, 32], background=0.01).fit(X, y), X),
        "softmax": (SoftmaxClassifier().fit(logits, y), logits),
        "open-set": (OpenSetClassifier().fit(np.c_[X, logits], y), np.c_[X, logits]),
        "mixture": (mixture.fit(some, y), some),
        "rejector": (ConformalRejector(linear).fit(X, y), X),
    }


def _trusted(types):
    return [name for name in types if name.startswith("sklearn_densconf.")]


@pytest.mark.parametrize(
    "kind",
    [
        *("diag", "spherical", "tied", "tied_diag", "full", "blocks"),
        *("softmax", "open-set", "mixture", "rejector"),
    ],
)
def test_skops_keeps_classifiers_to_the_last_bit(fitted, tmp_path, kind):
    sio = pytest.importorskip("skops.io")
    model, Z = fitted[kind]
    sio.dump(model, tmp_path / "model.skops")
    types = sio.get_untrusted_types(file=tmp_path / "model.skops")
    assert _trusted(types) == types
    loaded = sio.load(tmp_path / "model.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(Z), model.predict_proba(Z))


@pytest.fixture
def onnx_pipe(digits, tmp_path):
    onnx = pytest.importorskip("onnx")
    weight = np.random.default_rng(0).normal(size=(64, 20)).astype(np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Relu", ["m"], ["z"])],
        "net",
        [helper.make_tensor_value_info("x", kind, ["n", 64])],
        [helper.make_tensor_value_info("z", kind, ["n", 20])],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "net.onnx")
    extractor = FeatureExtractor(f"onnx:{tmp_path / 'net.onnx'}")
    return make_pipeline(extractor, GaussianDensityClassifier()).fit(*digits)


def test_skops_keeps_pipelines_whose_backbone_is_an_onnx_file(digits, onnx_pipe, tmp_path):
    sio = pytest.importorskip("skops.io")
    X = digits[0]
    sio.dump(onnx_pipe, tmp_path / "pipe.skops")
    types = sio.get_untrusted_types(file=tmp_path / "pipe.skops")
    assert _trusted(types) == types
    loaded = sio.load(tmp_path / "pipe.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(X), onnx_pipe.predict_proba(X))
    file = tmp_path / "net.onnx"
    file.write_bytes(file.read_bytes().replace(b"net", b"nex"))
    code = "import sys, skops.io as sio; sio.load(sys.argv[1], trusted=sys.argv[2:])"
    command = [sys.executable, "-c", code, str(tmp_path / "pipe.skops"), *types]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "builds another network now than when the extractor was fitted" in done.stderr


NETWORK = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Linear(64, 20), torch.nn.ReLU())
"""


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_skops_keeps_pipelines_whose_backbone_is_a_function(digits, tmp_path, monkeypatch, engine):
    """Its name stands among the types, so that nobody calls it who has not trusted it."""
    sio = pytest.importorskip("skops.io")
    (tmp_path / f"nets_of_{engine}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(tmp_path)
    X, y = digits
    extractor = FeatureExtractor(f"nets_of_{engine}:build", engine=engine)
    pipe = make_pipeline(extractor, GaussianDensityClassifier()).fit(X, y)
    wanted = pipe.predict_proba(X)  # the session of onnxruntime is open
    sio.dump(pipe, tmp_path / "pipe.skops")
    types = sio.get_untrusted_types(file=tmp_path / "pipe.skops")
    assert set(types) - set(_trusted(types)) == {f"nets_of_{engine}.build"}
    with pytest.raises(sio.exceptions.UntrustedTypesFoundException, match="build"):
        sio.load(tmp_path / "pipe.skops", trusted=_trusted(types))
    loaded = sio.load(tmp_path / "pipe.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(X), wanted)
    assert sio.loads(sio.dumps(loaded), trusted=types)[0].backbone == extractor.backbone
    code = "import sys, skops.io as sio; sio.load(sys.argv[1], trusted=sys.argv[2:])"
    other = NETWORK.replace("ReLU", "Tanh").replace(
        "torch.nn.Linear(64, 20)", "torch.nn.Identity()"
    )
    (tmp_path / f"nets_of_{engine}.py").write_text(other)
    command = [sys.executable, "-c", code, str(tmp_path / "pipe.skops"), *types]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "builds another network now than when the extractor was fitted" in done.stderr


def test_skops_keeps_pipelines_of_a_librarys_network(tmp_path):
    sio = pytest.importorskip("skops.io")
    pytest.importorskip("torchvision.models")
    pictures = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    X, y = [Image.fromarray(pixels) for pixels in pictures], np.arange(8) % 2
    backbone = "torchvision:squeezenet1_1?weights=none"
    pipe = make_pipeline(FeatureExtractor(backbone), GaussianDensityClassifier()).fit(X, y)
    sio.dump(pipe, tmp_path / "pipe.skops")
    types = sio.get_untrusted_types(file=tmp_path / "pipe.skops")
    assert _trusted(types) == types
    loaded = sio.load(tmp_path / "pipe.skops", trusted=types)
    np.testing.assert_array_equal(loaded.predict_proba(X), pipe.predict_proba(X))


def test_skops_cannot_hold_a_module_and_is_told_what_can(digits):
    sio = pytest.importorskip("skops.io")
    network = torch.nn.Linear(64, 5)
    for engine in ("torch", "onnxruntime"):
        pipe = make_pipeline(FeatureExtractor(network, engine=engine), GaussianDensityClassifier())
        with pytest.raises(TypeError, match=r"save with sklearn_densconf\.io\.save"):
            sio.dumps(pipe.fit(*digits))


def test_a_classifier_from_skops_goes_behind_an_extractor_that_is_named_again(digits):
    sio = pytest.importorskip("skops.io")
    X, y = digits
    pipe = make_pipeline(FeatureExtractor("torch.nn:Flatten"), GaussianDensityClassifier())
    content = sio.dumps(pipe.fit(X, y)[-1])
    classifier = sio.loads(content, trusted=_trusted(sio.get_untrusted_types(data=content)))
    again = make_pipeline(FeatureExtractor("torch.nn:Flatten").fit(X[:1]), classifier)
    np.testing.assert_array_equal(again.predict_proba(X), pipe.predict_proba(X))


def test_a_model_card_has_the_figures(fitted, tmp_path):
    card = pytest.importorskip("skops.card")
    page = card.Card(fitted["diag"][0])
    page.add(**{"Model description": "Density confidence of a network for digits."})
    page.add_metrics(accuracy=0.97, area_under_risk_coverage=0.004)
    page.save(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for word in ("Density confidence", "covariance_type", "area_under_risk_coverage", "0.004"):
        assert word in text


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # MLflow's own, of what it imports
def test_mlflow_logs_loads_and_predicts(digits, fitted, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    mlflow = pytest.importorskip("mlflow", reason="MLflow takes 200 MB: pip install 'mlflow>=3'")
    sio = pytest.importorskip("skops.io")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.create_experiment("here", artifact_location=(tmp_path / "files").as_uri())
    mlflow.set_experiment("here")
    (X, y), (classifier, _) = digits, fitted["diag"]
    network = torch.nn.Sequential(torch.nn.Linear(64, 20), torch.nn.ReLU())
    pipe = make_pipeline(FeatureExtractor(network), GaussianDensityClassifier()).fit(X, y)
    trusted = _trusted(sio.get_untrusted_types(data=sio.dumps(classifier)))
    for model, how in (
        (classifier, {"skops_trusted_types": trusted}),
        (pipe, {"serialization_format": "cloudpickle", "pyfunc_predict_fn": "predict_proba"}),
    ):
        with mlflow.start_run():
            logged = mlflow.sklearn.log_model(
                model, name="confidence", pip_requirements=["sklearn_densconf"], **how
            )
        loaded = mlflow.sklearn.load_model(logged.model_uri)
        np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
        plain = mlflow.pyfunc.load_model(logged.model_uri).predict(X[:5])
        wanted = getattr(model, how.get("pyfunc_predict_fn", "predict"))(X[:5])
        np.testing.assert_array_equal(plain, wanted)


@pytest.fixture
def service(digits, tmp_path):
    """The service in a process of its own, on a port that was free."""
    if torch.__version__ < (2, 9):
        pytest.skip("older exporters of torch fix the size of the batch")
    for library in ("fastapi", "uvicorn"):
        pytest.importorskip(library)
    X, y = digits
    names = np.array([f"digit {label}" for label in y])
    pipe = make_pipeline(FeatureExtractor(torch.nn.Flatten()), GaussianDensityClassifier())
    pipe.fit(X.reshape(-1, 1, 8, 8), names)
    to_onnx(pipe, tmp_path / "model.onnx")
    command = [sys.executable, str(SERVICE), str(tmp_path / "model.onnx"), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield pipe, process.stdout.readline().strip()
        finally:
            process.terminate()
    assert process.returncode in (0, -15)


def _ask(address, content):
    request = urllib.request.Request(f"{address}/score", content)
    open_here = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
    with open_here(request, timeout=30) as answer:
        return json.load(answer)


def test_a_service_answers_what_the_pipeline_says(service):
    pipe, address = service
    pixels = (load_digits().images[:5] * 15.9).astype(np.uint8)
    X = pixels[:, None].astype(np.float32) / 255
    probabilities = pipe.predict_proba(X)
    for index, picture in enumerate(pixels):
        file = BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        answer = _ask(address, file.getvalue())
        assert answer.keys() == {"label", "confidence", "score"}
        assert answer["label"] == pipe.predict(X[[index]])[0]
        assert answer["confidence"] == pytest.approx(probabilities[index].max(), abs=1e-5)
    for content, code in ((b"no picture", 422), (bytes(11 * 2**20), 413)):
        with pytest.raises(urllib.error.HTTPError, match=str(code)) as refused:
            _ask(address, content)
        refused.value.close()
