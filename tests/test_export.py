"""Pipelines as torch modules and ONNX files: from samples, and what is refused."""

import copy
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import pytest
import torch
from networks import Convolutional
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional

from sklearn_densconf import (
    ConformalRejector,
    DensityClassifier,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.export import Confidence, to_onnx, to_torch

pytestmark = pytest.mark.skipif(
    torch.__version__ < (2, 9), reason="older exporters of torch fix the size of the batch"
)
LAYERS = ["body", "penultimate", "output"]
NAMES = np.array(["zéro", "un", "deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf"])


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X[:600].reshape(-1, 1, 8, 8) / 16).astype(np.float32), NAMES[y[:600]]


def _pipe(digits, classifier=None, network=None, **parameters):
    network = network or Convolutional(10)
    classifier = classifier or GaussianDensityClassifier("tied", shrinkage=0.1, background=0.01)
    extractor = FeatureExtractor(network, device="cpu", **{"layer": LAYERS, **parameters})
    return make_pipeline(extractor, classifier).fit(*digits)


def _of_file(file, **inputs):
    session = onnxruntime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def _of_module(module, *inputs, **named):
    with torch.no_grad():
        found = module(*inputs, **named)
    return {name: value.numpy() for name, value in found._asdict().items() if value is not None}


def _check_equal(found, pipe, X, atol=1e-5):
    assert np.array_equal(pipe.classes_[found["label"]], pipe.predict(X))
    assert np.allclose(found["probabilities"], pipe.predict_proba(X), rtol=0, atol=atol)
    for name, method in {"known": "known_proba", "score": "score_samples"}.items():
        assert (name in found) == hasattr(pipe[-1], method)
        if name in found:
            wanted = getattr(pipe[-1], method)(pipe[0].transform(X))
            assert np.allclose(found[name], wanted, rtol=atol, atol=atol)


CLASSIFIERS = {
    "two blocks": (GaussianDensityClassifier(blocks=[6, 18]), LAYERS),
    "background": (GaussianDensityClassifier("tied", shrinkage=0.1, background=0.01), LAYERS),
    "softmax": (SoftmaxClassifier(temperature=2.0), None),
    "open set": (OpenSetClassifier(), LAYERS),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_module_and_file_give_what_the_pipeline_gives(digits, name, tmp_path):
    classifier, layer = CLASSIFIERS[name]
    pipe = _pipe(digits, copy.deepcopy(classifier), layer=layer)
    X = digits[0]

    to_onnx(pipe, tmp_path / "model.onnx")

    _check_equal(_of_module(to_torch(pipe), torch.from_numpy(X)), pipe, X)
    _check_equal(_of_file(tmp_path / "model.onnx", samples=X), pipe, X)
    _check_equal(_of_file(tmp_path / "model.onnx", samples=X[:1]), pipe, X[:1])


ALONE = """
import json, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "sklearn", "scipy", "sklearn_densconf"}:
            raise ImportError(f"{name} is not to be had here")
sys.meta_path.insert(0, Blocked())
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
label, probabilities = session.run(["label", "probabilities"], {"samples": np.load(sys.argv[2])})
print(json.dumps([[classes[code] for code in label], probabilities.tolist()]))
"""


def test_a_file_predicts_where_there_is_neither_torch_nor_scikit_learn(digits, tmp_path):
    pipe, X = _pipe(digits), digits[0][:50]
    to_onnx(pipe, tmp_path / "model.onnx")
    np.save(tmp_path / "X.npy", X)

    command = [sys.executable, "-c", ALONE, tmp_path / "model.onnx", tmp_path / "X.npy"]
    out = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout

    labels, probabilities = json.loads(out)
    assert labels == pipe.predict(X).tolist()
    assert np.allclose(probabilities, pipe.predict_proba(X), rtol=0, atol=1e-5)


def test_it_can_be_exported_compiled_copied_and_pickled(digits):
    pipe, X = _pipe(digits, OpenSetClassifier()), digits[0][:50]
    module, taken = to_torch(pipe), torch.from_numpy(X)
    sizes = (({0: torch.export.Dim("n")},),)

    exported = torch.export.export(module, (taken[:2],), dynamic_shapes=sizes).module()
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True)

    for made in (exported, compiled, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        found = made(taken)
        assert isinstance(found, Confidence)
        _check_equal({name: v.detach().numpy() for name, v in found._asdict().items()}, pipe, X)


def test_half_precision_is_that_of_the_network_alone(digits):
    pipe, X = _pipe(digits), digits[0][:50]

    halved = _of_module(to_torch(pipe).half(), torch.from_numpy(X))

    assert halved["probabilities"].dtype == np.float64
    error = np.abs(halved["probabilities"] - pipe.predict_proba(X)).max()
    assert 1e-7 < error < 0.05
    _check_equal(_of_module(to_torch(pipe), torch.from_numpy(X)), pipe, X)


def test_threads_do_not_mix_their_samples(digits):
    module = to_torch(_pipe(digits))
    parts = torch.from_numpy(digits[0]).split(50)
    wanted = [module(part).probabilities for part in parts]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda part: module(part).probabilities, parts))

    for each, right in zip(found, wanted, strict=True):
        assert torch.allclose(each, right, rtol=0, atol=1e-6)


def test_a_network_in_training_mode_is_exported_in_evaluation_mode(digits, tmp_path):
    network = Convolutional(10).train()
    pipe = _pipe(digits, network=network)
    module = to_torch(pipe).train()

    to_onnx(pipe, tmp_path / "model.onnx")

    assert network.training
    _check_equal(_of_module(module, torch.from_numpy(digits[0])), pipe, digits[0])
    _check_equal(_of_file(tmp_path / "model.onnx", samples=digits[0]), pipe, digits[0])


SHAPES = {
    "channels last": lambda X: np.moveaxis(X, 1, -1),
    "without a channel": lambda X: X[:, 0],
    "flat": lambda X: X.reshape(len(X), -1),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_are_taken_as_the_pipeline_takes_them(digits, shape, tmp_path):
    X, y = SHAPES[shape]((digits[0] * 255).round().astype(np.uint8)), digits[1]
    pipe = _pipe((X, y), input_shape=(1, 8, 8))

    to_onnx(pipe, tmp_path / "model.onnx", example=X[:1])

    _check_equal(_of_module(to_torch(pipe, example=X[:2]), torch.from_numpy(X)), pipe, X)
    _check_equal(_of_file(tmp_path / "model.onnx", samples=X), pipe, X)


class Normalize(nn.Module):
    """A preprocessing that does the same to a picture and to a batch."""

    def forward(self, X):
        return (X.float() - 100) / 50


class Standardize(nn.Module):
    """A preprocessing that looks at all that it is given together."""

    def forward(self, X):
        return (X.float() - X.float().mean()) / 50


def test_a_preprocessing_that_is_a_module_becomes_a_part(digits, tmp_path):
    X, y = digits[0] * 255, digits[1]
    pipe = _pipe((X, y), preprocessing=Normalize())

    to_onnx(pipe, tmp_path / "model.onnx")

    _check_equal(_of_module(to_torch(pipe), torch.from_numpy(X)), pipe, X)
    _check_equal(_of_file(tmp_path / "model.onnx", samples=X), pipe, X)


def test_a_preprocessing_that_cannot_be_exported_can_be_left_out(digits, tmp_path):
    X, y = digits[0] * 255, digits[1]
    pipe = _pipe((X, y), preprocessing=lambda picture: (picture - 100) / 50)

    with pytest.raises(TypeError, match=r"preprocessing=<function.*pass preprocessed=True"):
        to_onnx(pipe, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())

    to_onnx(pipe, tmp_path / "model.onnx", preprocessed=True)
    _check_equal(_of_file(tmp_path / "model.onnx", samples=(X - 100) / 50), pipe, X)


def test_a_preprocessing_that_mixes_samples_is_refused(digits):
    pipe = _pipe((digits[0] * 255, digits[1]), preprocessing=Standardize())

    with pytest.raises(ValueError, match=r"Standardize makes.*same to a batch as to each"):
        to_torch(pipe)


class Tokens(nn.Module):
    """Embeds tokens and sums those that are no padding."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(9, 12)
        self.head = nn.Linear(12, 10)

    def forward(self, tokens, attention_mask):
        embedded = self.embedding(tokens) * attention_mask[..., None]
        return self.head(embedded.sum(1))


def test_several_inputs_keep_their_names(digits, tmp_path):
    generator = np.random.default_rng(0)
    X = {"tokens": generator.integers(0, 9, (600, 5))}
    X["attention_mask"] = (np.arange(5) < generator.integers(1, 6, (600, 1))).astype(np.int64)
    pipe = _pipe((X, digits[1]), network=Tokens(), layer=["embedding", "output"])

    with pytest.raises(ValueError, match=r"several inputs by name: pass example="):
        to_torch(pipe)
    to_onnx(pipe, tmp_path / "model.onnx", example={name: each[:2] for name, each in X.items()})

    _check_equal(_of_file(tmp_path / "model.onnx", **X), pipe, X)


class Inner(nn.Module):
    """A convolution whose output is pooled by a maximum, and overflows for large inputs."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 12, 3)
        self.head = nn.Linear(12, 10)

    def forward(self, X):
        maps = functional.relu(self.convolution(X)) ** 9
        return self.head(maps.amax((2, 3)).clamp(max=5))


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_sample_that_is_not_finite_has_no_label_and_changes_no_other(digits, pooling, tmp_path):
    pipe = _pipe(digits, network=Inner(), layer=["convolution", "output"], pooling=pooling)
    X = digits[0][:20].copy()
    X[0, 0, 7, 7], X[6, 0, 0, 0], X[9, 0, 4, 4] = np.nan, np.inf, -np.inf
    weight = pipe[0].backbone_.network().convolution.weight.detach().numpy()
    largest = np.abs(weight).sum((1, 2, 3)).argmax()
    X[12, 0, :3, :3] = 3e38 * np.sign(weight[largest, 0])  # the convolution makes an infinity of it
    to_onnx(pipe, tmp_path / "model.onnx")
    rest = np.setdiff1d(np.arange(20), [0, 6, 9, 12])

    for found in (
        _of_module(to_torch(pipe), torch.from_numpy(X)),
        _of_file(tmp_path / "model.onnx", samples=X),
    ):
        assert np.flatnonzero(found["label"] == -1).tolist() == [0, 6, 9, 12]
        assert np.isnan(found["probabilities"][[0, 6, 9, 12]]).all()
        assert np.isnan(found["score"][[0, 6, 9, 12]]).all()
        _check_equal({name: each[rest] for name, each in found.items()}, pipe, X[rest])


def _largest(estimator, X):
    return estimator.predict_proba(X).max(axis=1)


class _Relabelled:
    """Fits a classifier to other names of the labels."""

    def __init__(self, names):
        self.names = names

    def fit(self, X, y):
        return GaussianDensityClassifier().fit(X, self.names[y])


REFUSED = {
    "another step": (
        lambda: make_pipeline(StandardScaler(), GaussianDensityClassifier()),
        TypeError,
        r"StandardScaler cannot be exported: a pipeline must be .* follows, pipeline\[1:\], and",
    ),
    "a step before the network": (
        lambda: make_pipeline(
            StandardScaler(), FeatureExtractor(nn.Linear(12, 2)), GaussianDensityClassifier()
        ),
        TypeError,
        r"StandardScaler cannot be exported.* pipeline\[1:\], and apply the steps before it",
    ),
    "a step after the network": (
        lambda: make_pipeline(
            FeatureExtractor(nn.Linear(12, 2)), StandardScaler(), GaussianDensityClassifier()
        ),
        TypeError,
        r"StandardScaler cannot be exported.* pipeline\[2:\], and apply the steps before it",
    ),
    "another classifier": (
        LogisticRegression,
        TypeError,
        r"LogisticRegression cannot be exported, only GaussianDensityClassifier, Softmax",
    ),
    "a density of any kind": (
        lambda: DensityClassifier(GaussianMixture()),
        TypeError,
        r"DensityClassifier cannot be exported, only .*no formula",
    ),
    "a rejector with a criterion of its own": (
        lambda: ConformalRejector(GaussianDensityClassifier(), criterion=_largest, per_class=False),
        TypeError,
        r"criterion=<function _largest .* cannot be exported: export its estimator_",
    ),
    "a rejector of another classifier": (
        lambda: ConformalRejector(LogisticRegression(max_iter=9), per_class=False),
        TypeError,
        r"LogisticRegression cannot be exported, only",
    ),
    "an open set with another posterior": (
        lambda: OpenSetClassifier(posterior=LogisticRegression(max_iter=9)),
        TypeError,
        r"LogisticRegression cannot be exported",
    ),
    "dates as labels": (
        lambda: _Relabelled(np.array(["2026-01-01"], "datetime64[ns]") + np.arange(3)),
        TypeError,
        r"labels must be strings or numbers .* of datetime64\[ns\]: fit .* y.astype\(str\)",
    ),
    "days as labels": (
        lambda: _Relabelled(np.array(["2026-01-01"], "datetime64[D]") + np.arange(3)),
        TypeError,
        r"labels must be strings or numbers to be exported, got .* of datetime64\[D\]",
    ),
    "not fitted": (GaussianDensityClassifier, NotFittedError, r"is not fitted yet"),
}


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_exported_is_named_before_anything_is_written(what, tmp_path):
    make, kind, message = REFUSED[what]
    X, y = np.random.default_rng(0).normal(size=(60, 12)), np.arange(60) % 3
    model = make() if what == "not fitted" else make().fit(X, y)

    for export in (to_torch, lambda model: to_onnx(model, tmp_path / "model.onnx")):
        with pytest.raises(kind, match=message):
            export(model)
    assert not list(tmp_path.iterdir())


class Random(nn.Module):
    """Draws in evaluation mode too."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, X):
        return functional.dropout(self.head(X.flatten(1)), training=True)


class Choosing(nn.Module):
    """Chooses by the values of a batch."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, X):
        return self.head(X.flatten(1)) * (2.0 if float(X.sum()) > 0 else 1.0)


class Mixing(nn.Module):
    """Centres its samples at the mean of the batch."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, X):
        return self.head(X.flatten(1) - X.flatten(1).mean(0))


UNFIT = {
    Random: (ValueError, r"other features for the same samples a second time"),
    Choosing: (RuntimeError, r"torch cannot export the network"),
    Mixing: (RuntimeError, r"samples of this network depend on each other"),
}


@pytest.mark.filterwarnings("ignore:the features of a sample depend on the others")
@pytest.mark.parametrize("network", UNFIT)
def test_a_network_that_cannot_be_kept_in_a_file_is_refused(digits, network, tmp_path):
    file = tmp_path / "model.onnx"
    file.write_text("as it was")
    pipe = _pipe(digits, network=network(), layer=None)
    kind, message = UNFIT[network]

    with pytest.raises(kind, match=message):
        to_onnx(pipe, file)

    assert file.read_text() == "as it was"
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_network_that_is_built_in_each_process_is_refused(tmp_path):
    X, y = np.random.default_rng(0).random((20, 1, 12, 12), np.float32), np.arange(20) % 5
    pipe = make_pipeline(FeatureExtractor("built:locked", device="cpu"), SoftmaxClassifier())

    with pytest.raises(TypeError, match=r"cannot be made a module of"):
        to_torch(pipe.fit(X, y))


def test_a_library_network_takes_what_its_preprocessing_gives(digits, tmp_path):
    X = np.random.default_rng(0).random((20, 3, 64, 64), np.float32)
    network = "torchvision:squeezenet1_1?weights=none"
    pipe = make_pipeline(
        FeatureExtractor(network, layer="features", device="cpu"),
        GaussianDensityClassifier("tied_diag"),
    ).fit(X, np.arange(20) % 4)

    with pytest.raises(TypeError, match=r"the library's preprocessing is Python code"):
        to_torch(pipe)

    found = _of_module(to_torch(pipe, preprocessed=True), torch.from_numpy(X))
    _check_equal(found, pipe, X, atol=1e-4)


def test_wrong_arguments_are_named(digits, tmp_path):
    pipe = _pipe(digits)
    with pytest.raises(ValueError, match=r"precision must be one of"):
        to_torch(pipe, precision="float16")
    with pytest.raises(ValueError, match=r"example has samples of shape \(2, 8, 8\).*fitted to"):
        to_torch(pipe, example=np.zeros((2, 2, 8, 8), np.float32))
    with pytest.raises(ValueError, match=r"example must be a batch of samples"):
        to_torch(pipe, example=np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=r"example must have features \(n, 24\)"):
        to_onnx(pipe[-1], tmp_path / "model.onnx", example=np.zeros((2, 3)))
    with pytest.raises(FileNotFoundError, match=r"there is no folder .* to write model.onnx to"):
        to_onnx(pipe, tmp_path / "no" / "model.onnx")
