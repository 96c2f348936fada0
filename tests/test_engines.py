"""engine="onnxruntime": the same features by another engine, or a word that says why not."""

import copy
import io
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from networks import Convolutional
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.nn import functional

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.features import _onnx_export
from sklearn_densconf.features._onnx_export import Exporting, relative_difference

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.skipif(
    torch.__version__ < (2, 9), reason="refused: older exporters of torch fix the size of the batch"
)
HERE = Path(__file__).resolve().parent
RANDOM = np.random.default_rng(0)
GREY = RANDOM.random((12, 1, 12, 12), np.float32)
COLOUR = RANDOM.random((3, 3, 64, 64), np.float32)


def extractors(network, X, **settings):
    """Return two fitted extractors, of torch and of onnxruntime."""
    settings = {"device": "cpu", "backbone": network, **settings}
    return [
        FeatureExtractor(engine=engine, **settings).fit(X) for engine in ("torch", "onnxruntime")
    ]


def pickled(extractor):
    file = io.BytesIO()
    joblib.dump(extractor, file)
    file.seek(0)
    return joblib.load(file)


def assert_near(features, expected):
    assert features.dtype == np.float32
    assert relative_difference(expected, features) < 1e-4


@pytest.fixture(scope="module")
def both():
    return extractors(Convolutional(), GREY, layer=["body", "penultimate", None], batch_size=5)


def test_layers_maps_and_batches_of_any_size_are_as_of_torch(both):
    of_torch, of_onnx = both
    assert of_torch.feature_groups_ == of_onnx.feature_groups_
    for X in (GREY, GREY[:1], GREY[:2], GREY[:7]):
        assert_near(of_onnx.transform(X), of_torch.transform(X))
    assert_near(np.concatenate(list(of_onnx.iter_transform(GREY))), of_torch.transform(GREY))


def test_it_is_onnxruntime_that_computes(both, monkeypatch):
    monkeypatch.setattr(functional, "conv2d", None)
    _, of_onnx = both
    with pytest.raises(TypeError):
        nn.Conv2d(1, 1, 1)(torch.zeros(1, 1, 2, 2))
    assert of_onnx.transform(GREY).shape == (12, 19)


def test_other_types_and_places_of_the_same_samples_give_the_same(both):
    _, of_onnx = both
    expected = of_onnx.transform(GREY)
    assert_near(of_onnx.transform(torch.from_numpy(GREY)), expected)
    assert_near(of_onnx.transform(GREY.astype(np.float64)), expected)
    assert_near(of_onnx.transform(np.asfortranarray(GREY)[::-1])[::-1], expected)


@pytest.mark.parametrize(
    ("name", "layer", "pooling"),
    [
        ("torchvision:resnet18?weights=none", ["layer2", "avgpool", None], "max"),
        ("timm:test_vit?weights=none", ["blocks", "penultimate"], "cls"),
        ("timm:test_efficientnet?weights=none", ["conv_head", "penultimate", "output"], "avg"),
    ],
)
def test_networks_of_libraries_give_the_same(name, layer, pooling):
    pytest.importorskip(name.partition(":")[0])
    X = RANDOM.random((3, 3, 160 if "timm" in name else 64, 160 if "timm" in name else 64))
    of_torch, of_onnx = extractors(
        name, X.astype(np.float32), layer=layer, pooling={layer[0]: pooling}, batch_size=2
    )
    assert_near(of_onnx.transform(X), of_torch.transform(X))


def test_mappings_and_their_masks_give_the_same():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 50}
    config = transformers.BertConfig(**sizes, intermediate_size=48, num_labels=4)
    network = transformers.BertForSequenceClassification(config).eval()
    ids = RANDOM.integers(5, 50, (6, 8))
    mask = (np.arange(8) < RANDOM.integers(3, 8, (6, 1))).astype(np.int64)
    X = {"input_ids": ids * mask, "attention_mask": mask}
    of_torch, of_onnx = extractors(network, X, layer=["bert.encoder", "output"])
    assert_near(of_onnx.transform(X), of_torch.transform(X))
    for fewer in ({name: each[:1] for name, each in X.items()}, shorter(X), shorter(X, 1)):
        assert_near(of_onnx.transform(fewer), of_torch.transform(fewer))


def shorter(X, n_samples=None):
    return {name: each[:n_samples, :5] for name, each in X.items()}


def test_a_network_of_float64_is_run_in_float64_or_refused():
    rows = RANDOM.normal(size=(4, 3)) + 2.0**27
    network = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).double()
    of_torch, of_onnx = extractors(network, rows)
    assert_near(of_onnx.transform(rows), of_torch.transform(rows))


@pytest.mark.parametrize("copied", [copy.deepcopy, pickled])
def test_copies_keep_what_was_exported(both, copied, monkeypatch):
    monkeypatch.setattr(Exporting, "model", None)
    _, of_onnx = both
    assert_array_equal(copied(of_onnx).transform(GREY), of_onnx.transform(GREY))


def test_another_process_needs_no_exporter(both, tmp_path):
    _, of_onnx = both
    joblib.dump((of_onnx, GREY), tmp_path / "extractor.joblib")
    code = (
        "import sys; sys.modules['onnxscript'] = sys.modules['onnx'] = None\n"
        "import joblib; e, X = joblib.load(sys.argv[1] + '/extractor.joblib')\n"
        "joblib.dump(e.transform(X), sys.argv[1] + '/features.joblib')"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    command = [sys.executable, "-W", "ignore", "-c", code, str(tmp_path)]
    subprocess.run(command, env=env, check=True)
    assert_near(joblib.load(tmp_path / "features.joblib"), of_onnx.transform(GREY))


def test_use_changes_neither_pickle_nor_hash_and_the_engine_no_fingerprint(both):
    of_torch, of_onnx = both
    before = joblib.hash(of_onnx)
    of_onnx.transform(GREY)
    assert joblib.hash(of_onnx) == before
    assert fingerprint(of_onnx) == fingerprint(of_torch)


def test_clones_folds_and_candidates_export_once(tmp_path, monkeypatch):
    made = []
    make = Exporting._made
    monkeypatch.setattr(Exporting, "_made", lambda *args: made.append(1) or make(*args))
    monkeypatch.setattr(_onnx_export, "_RECENT", type(_onnx_export._RECENT)())
    y = np.arange(12) % 2
    extractor = FeatureExtractor(Convolutional(seed=1), engine="onnxruntime", device="cpu")
    pipe = make_pipeline(clone(extractor), GaussianDensityClassifier(var_smoothing=0.1))
    grid = {"gaussiandensityclassifier__temperature": [1.0, 2.0]}
    GridSearchCV(pipe, grid, cv=2).fit(GREY, y)
    assert len(made) == 1


def test_two_jobs_give_what_one_gives():
    y = np.arange(12) % 2
    extractor = FeatureExtractor(Convolutional(), engine="onnxruntime", device="cpu")
    pipe = make_pipeline(extractor, GaussianDensityClassifier(var_smoothing=0.1))
    one, two = (
        cross_val_predict(pipe, GREY, y, cv=2, method="predict_proba", n_jobs=n) for n in (1, 2)
    )
    assert_allclose(one, two, rtol=1e-3, atol=1e-6)


def test_memory_keeps_the_model_and_shares_features_with_torch(tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx_export, "_RECENT", type(_onnx_export._RECENT)())
    settings = {"backbone": Convolutional(seed=2), "device": "cpu", "memory": tmp_path}
    of_onnx = FeatureExtractor(engine="onnxruntime", **settings).fit(GREY[:6])
    features = of_onnx.transform(GREY[:6])
    (path,) = tmp_path.rglob("*.onnx")
    of_torch = FeatureExtractor(**settings).fit(GREY[:6])
    assert_array_equal(of_torch.transform(GREY[:6]), features)  # those of the first run

    _onnx_export._RECENT.clear()
    with monkeypatch.context() as patch:
        patch.setattr(Exporting, "_made", None)
        again = FeatureExtractor(engine="onnxruntime", **settings).fit(GREY)
        assert_near(again.transform(GREY), FeatureExtractor(**settings).fit_transform(GREY))
    path.write_bytes(path.read_bytes()[:-100])  # damaged: it is exported again
    _onnx_export._RECENT.clear()
    again = FeatureExtractor(engine="onnxruntime", **settings).fit(GREY[:6])
    more = RANDOM.random((2, 1, 12, 12), np.float32)
    of_torch.set_params(memory=None)
    assert_near(again.transform(more), of_torch.transform(more))
    assert len(list(tmp_path.rglob("*.onnx"))) == 1


def test_the_engine_may_be_another_after_fit(both):
    of_torch, of_onnx = map(copy.copy, both)
    expected = of_torch.transform(GREY)
    assert_near(of_torch.set_params(engine="onnxruntime").transform(GREY), expected)
    assert_array_equal(of_onnx.set_params(engine="torch").transform(GREY), expected)


def test_another_pooling_after_fit_is_seen(both):
    of_torch, of_onnx = map(copy.copy, both)
    largest = of_onnx.set_params(pooling="max").transform(GREY)
    assert_near(largest, of_torch.set_params(pooling="max").transform(GREY))


def test_many_threads_get_the_serial_result(both):
    _, of_onnx = both
    expected = of_onnx.transform(GREY)
    with ThreadPoolExecutor(12) as threads:
        for features in threads.map(lambda _: of_onnx.transform(GREY), range(60)):
            assert_array_equal(features, expected)


def test_as_many_threads_as_torch_has(both):
    _, of_onnx = both
    model = of_onnx._models._last[1]
    n_threads = torch.get_num_threads()
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            of_onnx.transform(GREY)
            assert model.session.get_session_options().intra_op_num_threads == n
            assert model.session is model.session
    finally:
        torch.set_num_threads(n_threads)


class Logarithm(nn.Module):
    """Finite for positive numbers only."""

    def __init__(self, pooled):
        super().__init__()
        self.line, self.pooled = nn.Conv2d(1, 2, 1), pooled
        nn.init.ones_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, X):
        maps = self.line(torch.log(X))
        return maps if self.pooled else maps.mean((2, 3))


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize("value", [-1.0, 0.0])
@pytest.mark.parametrize("row", [0, 2])
def test_activations_that_are_not_finite_are_refused_by_name(pooled, value, row):
    extractor = FeatureExtractor(
        Logarithm(pooled), engine="onnxruntime", pooling="max", device="cpu"
    ).fit(GREY + 1)
    X = GREY + 1
    X[row, 0, 3, 3] = value
    with pytest.raises(ValueError, match=f"sample {row} has NaN or infinite activations in layer"):
        extractor.transform(X)


class Losing(nn.Module):
    """Makes NaN of negative numbers, which onnxruntime's maximum of a map drops."""

    def forward(self, X):
        return functional.max_pool2d(torch.log(X + 5), 4).mean((2, 3))


def test_a_nan_that_the_engine_loses_is_warned_of():
    with pytest.warns(UserWarning, match="onnxruntime gives numbers in layer 'output' for an out"):
        FeatureExtractor(Losing(), engine="onnxruntime", device="cpu").fit(GREY + 1)


class Depends(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 3)

    def forward(self, X):
        return self.line(X) if X.sum() > 0 else self.line(X) * 2


class Imprecise(nn.Module):
    """What the exporter writes as logarithms of exponentials, which underflow."""

    def forward(self, X):
        return torch.logaddexp(X - 200, X - 201)


ROWS = RANDOM.random((5, 4), np.float32)


@pytest.mark.parametrize(
    ("network", "X", "message"),
    [
        (Depends(), ROWS, r"torch cannot export it .* Set engine='torch'"),
        (Imprecise(), ROWS, r"other features than torch for layer 'output': they differ by .*"),
        ("built:locked", GREY, r"takes a torch.nn.Module or an ONNX file, and BuiltBackbone"),
        (nn.Linear(4, 3).bfloat16(), ROWS, r"(cannot run|computes in float32)"),
        (nn.Conv2d(1, 2, 3).double(), GREY, r"onnxruntime cannot run the exported network"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_network_that_it_cannot_run_is_refused_with_the_cause(network, X, message):
    assert FeatureExtractor(network, device="cpu").fit_transform(X).shape[0] == len(X)
    with pytest.raises(ValueError, match=message) as caught:
        FeatureExtractor(network, engine="onnxruntime", device="cpu").fit(X)
    assert "engine='torch'" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "onnx"}, "engine must be one of"),
        ({"precision": "bfloat16"}, "computes with precision='float32' only, got 'bfloat16'"),
        ({"compile": True}, "computes with compile=False only, got True"),
        ({"device": "cuda"}, "computes on the CPU: set device='cpu' or engine='torch'"),
    ],
)
def test_what_the_engine_does_not_do_is_refused_also_after_fit(both, settings, message):
    settings = {"engine": "onnxruntime", **settings}
    with pytest.raises(ValueError, match=message):
        FeatureExtractor(Convolutional(), **settings).fit(GREY)
    with pytest.raises(ValueError, match=message):
        copy.copy(both[1]).set_params(**settings).transform(GREY)


@pytest.mark.parametrize("library", ["onnxruntime", "onnx", "onnxscript"])
def test_a_missing_library_is_named_with_its_extra(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    extractor = FeatureExtractor(nn.Linear(4, 3), engine="onnxruntime", device="cpu")
    with pytest.raises(ImportError, match=rf"engine='onnxruntime' needs {library}.*densconf\[onnx"):
        extractor.fit(ROWS)


def test_a_shape_that_the_network_refuses_is_told_as_by_torch():
    with pytest.raises(ValueError, match="the network refuses samples of shape"):
        FeatureExtractor(nn.Linear(3, 2), engine="onnxruntime", device="cpu").fit(ROWS)


def test_samples_of_several_shapes_are_refused():
    extractor = FeatureExtractor(Convolutional(), engine="onnxruntime", device="cpu").fit(GREY)
    tap = extractor._extraction()._replica.tap
    tap(torch.rand(1, 1, 12, 12))
    with pytest.raises(ValueError, match=r"one shape, got \(1, 12, 12\) and \(1, 14, 14"):
        tap(torch.rand(1, 1, 14, 14))


def test_the_difference_is_relative_to_the_largest_of_a_row():
    wanted = np.array([[1.0, 100.0], [0.0, 0.0], [np.nan, 1.0]], np.float32)
    found = np.array([[1.01, 100.0], [0.001, 0.0], [5.0, 1.0]], np.float32)
    assert_allclose(relative_difference(wanted, found), 0.01, rtol=1e-3)
    assert np.isnan(relative_difference(wanted, np.full_like(wanted, np.nan)))
    assert relative_difference(wanted[2:], found[2:]) == 0
