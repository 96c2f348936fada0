"""One file, no code: what is loaded is what was saved, to the last bit, or it is refused."""

import functools
import json
import os
import struct
import subprocess
import sys

import joblib
import networks
import numpy as np
import pandas as pd
import pytest
import torch
from networks import Convolutional
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    RobustScaler,
    StandardScaler,
)
from test_built import _onnx_file
from torch import nn

from sklearn_densconf import (
    ConformalRejector,
    DensityClassifier,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
    io,
)
from sklearn_densconf.features import FrozenBackbone
from sklearn_densconf.io import _classes, _container
from sklearn_densconf.monitoring import DriftMonitor

RNG = np.random.default_rng(0)
Y = np.arange(120) % 3
X = RNG.normal(size=(120, 4)) + 3 * np.eye(3, 4)[Y]
BOTH = np.hstack([X, X[:, :3]])  # features and logits
PICTURES = RNG.random((12, 1, 12, 12), np.float32)
LABELS = {
    "numbers": np.array([7, 1, 300]),
    "small numbers": np.array([1, 2, 5], np.int8),
    "strings": np.array(["b", "a", "ü €"]),
    "objects": np.array(["b", "a", "c"], object),
    "floats": np.array([5.0, -1.0, 3.0]),
}


@pytest.fixture
def file(tmp_path):
    return tmp_path / "model.densconf"


def _again(estimator, file, **options):
    io.save(estimator, file)
    return io.load(file, **options)


def _check_same(first, second):
    """Parameters and learned attributes are equal in type, dtype, order and bits."""
    assert type(first) is type(second)
    if isinstance(first, np.ndarray) and not first.dtype.hasobject:
        assert (first.dtype, first.shape) == (second.dtype, second.shape)
        assert first.flags.c_contiguous == second.flags.c_contiguous
        assert first.tobytes() == second.tobytes()
    elif isinstance(first, BaseEstimator):
        _check_same(first.__getstate__(), second.__getstate__())
    elif isinstance(first, dict):
        assert list(first) == list(second) or set(first) == set(second)
        for name, value in first.items():
            _check_same(value, second[name])
    elif isinstance(first, (list, tuple, np.ndarray)):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            _check_same(a, b)
    elif hasattr(first, "scatter"):
        _check_same(vars(first), vars(second))
    else:
        assert repr(first) == repr(second)


def _check_results(first, second, X):
    for method in ("predict", "predict_proba", "score_samples", "known_proba", "decide", "p_value"):
        if hasattr(first, method) and not (method == "p_value" and first.risk):
            _check_same(getattr(first, method)(X), getattr(second, method)(X))


TYPES = ("diag", "spherical", "tied_diag", "tied", "full")
CLASSIFIERS = {
    **{name: GaussianDensityClassifier(name) for name in TYPES},
    "shrunk by itself": GaussianDensityClassifier("full", shrinkage="auto"),
    "blocks by width": GaussianDensityClassifier("tied", shrinkage="auto", blocks=[1, 3]),
    "blocks by name": GaussianDensityClassifier(blocks={"a": slice(0, 3), "b": slice(3, 4)}),
    "scalars of numpy": GaussianDensityClassifier(
        temperature=np.float32(1.1), background=np.float64(0.1), priors=np.array([0.2, 0.3, 0.5])
    ),
    "priors in a list": GaussianDensityClassifier(priors=[0.2, 0.3, 0.5]),
    "a mixture": DensityClassifier(GaussianMixture(2, random_state=0)),
    "a scaler": make_pipeline(StandardScaler(), GaussianDensityClassifier("tied")),
    "scalers": make_pipeline(MinMaxScaler(), MaxAbsScaler(), RobustScaler(), Normalizer()),
    "components": make_pipeline(PCA(2), "passthrough", GaussianDensityClassifier("full")),
    "logistic": LogisticRegression(),
}
OPEN = {
    "open": OpenSetClassifier(),
    "a budget": OpenSetClassifier(discount=0.01, priors=None),
    "of logistic regression": OpenSetClassifier(posterior=LogisticRegression()),
    "another density": OpenSetClassifier(density=GaussianDensityClassifier("tied", shrinkage=0.1)),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_a_classifier_comes_back_to_the_last_bit(file, classifier, dtype):
    fitted = clone(classifier).fit(X.astype(dtype), Y)
    loaded = _again(fitted, file)
    _check_same(fitted, loaded)
    _check_results(fitted, loaded, X.astype(dtype))


@pytest.mark.parametrize("classifier", OPEN.values(), ids=OPEN)
def test_an_open_set_classifier_comes_back_to_the_last_bit(file, classifier):
    fitted = clone(classifier).fit(BOTH[::2], Y[::2], X_val=BOTH[1::2], y_val=Y[1::2])
    loaded = _again(fitted, file)
    _check_same(fitted, loaded)
    _check_results(fitted, loaded, BOTH)


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_labels_keep_their_type(file, labels):
    for fitted, given in (
        (GaussianDensityClassifier().fit(X, labels[Y]), X),
        (SoftmaxClassifier(classes=labels).fit(X[:, :3], labels[Y]), X[:, :3]),
        (SoftmaxClassifier(classes=labels.tolist()).fit(X[:, :3], labels[Y]), X[:, :3]),
    ):
        loaded = _again(fitted, file)
        _check_same(fitted, loaded)
        _check_results(fitted, loaded, given)


def test_boolean_labels_keep_their_type(file):
    fitted = GaussianDensityClassifier().fit(X, Y > 0)
    loaded = _again(fitted, file)
    assert loaded.predict(X).dtype == bool
    _check_same(fitted, loaded)


def test_names_of_columns_are_kept(file):
    table = pd.DataFrame(X, columns=list("abcd"))
    loaded = _again(GaussianDensityClassifier().fit(table, Y), file)
    assert loaded.feature_names_in_.tolist() == list("abcd")
    loaded.predict(table)
    with pytest.raises(ValueError, match="feature names"):
        loaded.predict(table[list("dcba")])


def test_labels_of_pandas_are_kept(file):
    softmax = SoftmaxClassifier(classes=pd.Index(["b", "a", "c"]))
    fitted = softmax.fit(X[:, :3], np.array(["b", "a", "c"])[Y])
    loaded = _again(fitted, file)
    _check_results(fitted, loaded, X[:, :3])


@pytest.mark.parametrize("options", [{}, {"per_class": False}, {"risk": 0.2, "alpha": 0.05}])
def test_a_rejector_comes_back_with_its_estimator(file, options):
    density = GaussianDensityClassifier().fit(X, Y)
    rejector = ConformalRejector(density, **({"alpha": 0.1} | options)).fit(X, Y)
    loaded = _again(rejector, file)
    assert loaded.estimator_ is loaded.estimator
    _check_same(rejector, loaded)
    _check_results(rejector, loaded, X)


def test_an_infinite_threshold_is_kept(file):
    density = GaussianDensityClassifier().fit(X, Y)
    with pytest.warns(UserWarning, match="no coverage keeps risk"):
        rejector = ConformalRejector(density, risk=1e-6).fit(X, Y)
    assert _again(rejector, file).threshold_ == np.inf


def test_a_monitor_goes_on_where_it_was(file):
    monitor = DriftMonitor(random_state=0).fit(RNG.normal(size=300))
    monitor.update(RNG.normal(size=100))
    loaded = _again(monitor, file)
    _check_same(monitor, loaded)
    later = RNG.normal(size=50) - 1
    _check_same(monitor.update(later), loaded.update(later))


def test_what_is_not_fitted_comes_back_so(file):
    loaded = _again(GaussianDensityClassifier("tied", var_smoothing=0.1), file)
    assert repr(loaded) == "GaussianDensityClassifier(covariance_type='tied', var_smoothing=0.1)"
    assert not loaded.__sklearn_is_fitted__()


def test_a_loaded_classifier_can_be_fitted_further(file):
    first, second = slice(0, 60), slice(60, None)
    half = GaussianDensityClassifier().fit(X[first], Y[first])
    loaded = _again(half, file).partial_fit(X[second], Y[second])
    expected = half.partial_fit(X[second], Y[second])
    _check_same(expected, loaded)
    clone(loaded).fit(X, Y)


def test_a_classifier_that_was_fitted_to_tensors_is_loaded_as_numpy(file):
    from sklearn import config_context

    with config_context(array_api_dispatch=True):
        fitted = GaussianDensityClassifier("tied").fit(torch.from_numpy(X), torch.from_numpy(Y))
    loaded = _again(fitted, file)
    expected = GaussianDensityClassifier("tied").fit(X, Y)
    np.testing.assert_allclose(loaded.predict_proba(X), expected.predict_proba(X), 1e-6, 1e-9)


# Networks


def _pipeline(backbone, **options):
    return make_pipeline(FeatureExtractor(backbone, **options), GaussianDensityClassifier())


def test_a_pipeline_with_an_onnx_file_needs_nothing_else(file, tmp_path):
    pytest.importorskip("onnxruntime")
    _onnx_file(tmp_path / "network.onnx")
    rows = RNG.normal(size=(30, 12)).astype(np.float32)
    pipeline = _pipeline(f"onnx:{tmp_path / 'network.onnx'}").fit(rows, np.arange(30) % 2)
    io.save(pipeline, file)
    (tmp_path / "network.onnx").unlink()
    loaded = io.load(file)
    _check_same(pipeline.predict_proba(rows), loaded.predict_proba(rows))
    assert loaded[0].backbone_.fingerprint == pipeline[0].backbone_.fingerprint
    _check_same(loaded.predict_proba(rows), _again(loaded, file).predict_proba(rows))
    clone(loaded).fit(rows, np.arange(30) % 2)
    joblib.dump(loaded, tmp_path / "pickled")
    _check_same(loaded.predict(rows), joblib.load(tmp_path / "pickled").predict(rows))


def test_an_extractor_of_an_onnx_file_is_saved_before_it_is_fitted(file, tmp_path):
    pytest.importorskip("onnxruntime")
    _onnx_file(tmp_path / "network.onnx")
    extractor = _again(FeatureExtractor(f"onnx:{tmp_path / 'network.onnx'}"), file)
    assert extractor.fit_transform(np.ones((2, 12), np.float32)).shape == (2, 3)


def test_an_onnx_model_with_weights_in_another_file_is_refused(file, tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    path = tmp_path / "network.onnx"
    _onnx_file(path)
    model = onnx.load(path)
    beside = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(model, path, **beside)
    extractor = FeatureExtractor(f"onnx:{path}").fit(np.ones((2, 12), np.float32))
    with pytest.raises(ValueError, match=r"network\.onnx.* has weights in other files"):
        io.save(extractor, file)
    assert not file.exists()


def test_a_module_is_kept_by_its_weights(file):
    pipeline = _pipeline(Convolutional(seed=3), layer=["hidden", None])
    pipeline.fit(PICTURES, np.arange(12) % 2)
    io.save(pipeline, file)
    given = Convolutional(seed=4)
    before = [tensor.clone() for tensor in given.state_dict().values()]
    loaded = io.load(file, network=given)
    _check_same(pipeline.predict_proba(PICTURES), loaded.predict_proba(PICTURES))
    assert loaded[0].backbone_.fingerprint == pipeline[0].backbone_.fingerprint
    assert all(map(torch.equal, before, given.state_dict().values()))
    with pytest.raises(ValueError, match=r"model.*has the weights .* but not its code: pass net"):
        io.load(file)
    with pytest.raises(ValueError, match="network= is not the one that was saved"):
        io.load(file, network=nn.Linear(2, 2))


def test_a_module_of_other_code_is_told(file):
    extractor = FeatureExtractor(nn.Sequential(nn.Linear(4, 3), nn.ReLU())).fit(X)
    io.save(extractor, file)
    with pytest.warns(UserWarning, match="the code of Sequential, .* is not that with which"):
        io.load(file, network=nn.Sequential(nn.Linear(4, 3), nn.Tanh()))


def test_weights_of_every_dtype_come_back(file):
    network = nn.ModuleDict()
    for dtype in (torch.float64, torch.bfloat16, torch.float16, torch.int8, torch.bool):
        holder = nn.Module()
        holder.register_buffer("values", torch.arange(6).reshape(2, 3).to(dtype).T)
        network[f"in {str(dtype).partition('.')[2]}"] = holder
    network["norm"] = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    extractor = FeatureExtractor(network)
    loaded = _again(extractor, file, network=network)
    kept = loaded.backbone.network().state_dict()
    for name, tensor in FrozenBackbone(network).network().state_dict().items():
        assert kept[name].dtype == tensor.dtype
        assert torch.equal(kept[name], tensor)


def test_a_network_of_a_library_is_kept_by_its_name(file):
    pytest.importorskip("torchvision")
    name = "torchvision:squeezenet1_1?weights=none"
    pictures = RNG.integers(0, 256, (4, 40, 40, 3), np.uint8)
    pipeline = _pipeline(name).fit(pictures, [0, 0, 1, 1])
    loaded = _again(pipeline, file)
    assert loaded[0].backbone == name
    assert file.stat().st_size < 200_000
    _check_same(pipeline.predict_proba(pictures), loaded.predict_proba(pictures))


def test_a_network_of_other_weights_is_refused(file, monkeypatch):
    extractor = FeatureExtractor("networks:build").fit(PICTURES)
    io.save(extractor, file)
    loaded = io.load(file, allow_code=["networks:build"])
    _check_same(extractor.transform(PICTURES), loaded.transform(PICTURES))
    monkeypatch.setattr(networks, "build", lambda: Convolutional(seed=9))
    with pytest.raises(ValueError, match="networks:build has other weights here than when"):
        io.load(file, allow_code=["networks:build"])


def test_memory_is_left_out(file, tmp_path):
    extractor = FeatureExtractor(Convolutional(), memory=tmp_path / "memory").fit(PICTURES)
    assert _again(extractor, file, network=Convolutional()).memory is None


def test_a_trainer_is_refused_with_the_cure(file):
    skorch = pytest.importorskip("skorch")
    net = skorch.NeuralNetClassifier(nn.Linear, module__in_features=4, module__out_features=3)
    with pytest.raises(TypeError, match="NeuralNetClassifier: name the network by a string"):
        io.save(FeatureExtractor(net), file)


# Code


def test_code_is_not_run_unless_it_is_allowed(file, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text(
        "from pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
        "from networks import Convolutional as build\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    code = (
        "import sys; from sklearn_densconf import FeatureExtractor, io\n"
        "io.save(FeatureExtractor('evil:build'), sys.argv[1])\n"
    )
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    subprocess.run(
        [sys.executable, "-c", code, str(file)],
        check=True,
        env={**os.environ, "PYTHONPATH": paths},
    )
    (tmp_path / "ran").unlink(missing_ok=True)
    for allowed in ((), ["evil:other"], "evil"):
        with pytest.raises(PermissionError, match=r"model.* asks for code.*\['evil:build'\]"):
            io.load(file, allow_code=allowed)
    assert not (tmp_path / "ran").exists()
    io.load(file, allow_code="evil:build")
    assert (tmp_path / "ran").exists()


def test_functions_are_kept_by_their_names(file):
    extractor = FeatureExtractor(Convolutional(), preprocessing=networks.halved).fit(PICTURES)
    io.save(extractor, file)
    with pytest.raises(PermissionError, match=r"asks for code.*\['networks:halved'\]"):
        io.load(file, network=Convolutional())
    loaded = io.load(file, network=Convolutional(), allow_code=["networks:halved"])
    assert loaded.preprocessing is networks.halved
    _check_same(extractor.transform(PICTURES), loaded.transform(PICTURES))


def test_functions_that_only_this_process_has_are_refused(file):
    extractor = FeatureExtractor(Convolutional(), preprocessing=lambda picture: picture)
    with pytest.raises(TypeError, match=r"FeatureExtractor\.preprocessing: .*lambda.* can only be"):
        io.save(extractor, file)


def test_functions_of_torch_are_found_by_their_other_name(file):
    extractor = FeatureExtractor(Convolutional(), preprocessing=torch.relu)
    io.save(extractor, file)
    loaded = io.load(file, network=Convolutional(), allow_code="torch:relu")
    assert loaded.preprocessing is torch.relu


def test_functions_that_have_changed_are_told(file, monkeypatch):
    io.save(FeatureExtractor(Convolutional(), preprocessing=networks.halved), file)
    options = {"network": Convolutional(), "allow_code": "networks:halved"}
    monkeypatch.setattr(networks, "halved", lambda picture: picture / 3)
    with pytest.warns(UserWarning, match="networks:halved has other code than when"):
        io.load(file, **options)
    monkeypatch.delattr(networks, "halved")
    with pytest.raises(ValueError, match=r"model.*networks has no halved here"):
        io.load(file, **options)


@pytest.mark.parametrize("allowed", [True, 5, [5]])
def test_code_is_allowed_by_name_only(file, allowed):
    io.save(GaussianDensityClassifier(), file)
    with pytest.raises(TypeError, match="allow_code must be names of functions, such as"):
        io.load(file, allow_code=allowed)


def test_a_network_that_is_not_asked_for_is_refused(file):
    io.save(GaussianDensityClassifier(), file)
    with pytest.raises(ValueError, match=r"model.*takes no network=: what it has"):
        io.load(file, network=Convolutional())


class Mine(GaussianDensityClassifier):
    """A class that a file does not know."""


def _with_an_attribute():
    density = GaussianDensityClassifier()
    density.mine = 3
    return density


REFUSED = {
    "another class": (KNeighborsClassifier(), r"cannot save sklearn\.neighbors.*KNeighborsClass"),
    "a subclass": (Mine(), r"cannot save .*Mine: a file holds ConformalRejector, "),
    "no estimator": ([1, 2], r"cannot save builtins\.list"),
    "a class within": (ConformalRejector(KNeighborsClassifier()), "cannot save sklearn.neighbors"),
    "another attribute": (_with_an_attribute(), r"has the attributes \['mine'\]"),
    "a generator": (
        ConformalRejector(GaussianDensityClassifier(), random_state=np.random.RandomState(0)),
        r"ConformalRejector\.random_state: RandomState.* A file holds numbers, texts",
    ),
    "a callable object": (
        FeatureExtractor(nn.Identity(), preprocessing=functools.partial(np.asarray)),
        r"FeatureExtractor\.preprocessing: functools\.partial.* put what it does into a function",
    ),
    "an object": (
        GaussianDensityClassifier(priors=object()),
        r"GaussianDensityClassifier\.priors: <object",
    ),
    "records": (
        GaussianDensityClassifier(priors=np.zeros(2, [("a", int)])),
        r"GaussianDensityClassifier\.priors: it is ndarray of \[\('a'",
    ),
    "a mask": (
        GaussianDensityClassifier(priors=np.ma.array([1.0, 2.0], mask=[0, 1])),
        r"GaussianDensityClassifier\.priors: it is MaskedArray of float64",
    ),
}


@pytest.mark.parametrize(("estimator", "message"), REFUSED.values(), ids=REFUSED)
def test_what_a_file_cannot_hold_is_refused(file, estimator, message):
    with pytest.raises(TypeError, match=message):
        io.save(estimator, file)
    assert not file.exists()


@pytest.mark.parametrize("name", _classes.CLASSES)
def test_the_table_names_classes_and_nothing_else(name):
    assert issubclass(_classes.class_of(name), BaseEstimator)


# Damage


def test_every_changed_byte_is_refused_by_the_name_of_the_file(file):
    io.save(GaussianDensityClassifier().fit(X[:, :2], Y), file)
    content = file.read_bytes()
    for position in range(len(content)):
        file.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        with pytest.raises(ValueError, match=r"model\.densconf"):
            io.load(file)
    for other in (b"", content[:-1], content[:19], content + b"0", b"PK" + content):
        file.write_bytes(other)
        with pytest.raises(ValueError, match=r"model\.densconf"):
            io.load(file)


def test_a_file_of_a_newer_version_says_so(file):
    io.save(GaussianDensityClassifier(), file)
    content = bytearray(file.read_bytes())
    content[8:12] = struct.pack("<I", 2)
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"of version 2, .* reads 1: it is from a newer version"):
        io.load(file)


def test_a_missing_file_is_told(file):
    with pytest.raises(FileNotFoundError, match="model"):
        io.load(file)


def _crafted(file, change, arrays=()):
    """Write a file whose checksum is right, and whose content is not."""
    io.save(GaussianDensityClassifier().fit(X, Y), file)
    content, found = _container.read(file)
    change(content)
    _container.write(file, content, [*found, *arrays])


def _first(content):
    return content["estimators"][0]


CRAFTED = {
    "a newer parameter": (lambda c: _first(c)["state"].update(new=1), r"has \['new'\], .* newer"),
    "a newer part": (lambda c: _first(c).update(new=1), r"has \['new'\], .* newer one"),
    "a newer section": (lambda c: c.update(new=1), "it has the parts"),
    "another class": (lambda c: _first(c).update({"class": "Popen"}), "no class 'Popen' that"),
    "no class": (lambda c: _first(c).pop("class"), "'class'"),
    "no estimators": (lambda c: c["estimators"].clear(), "list index out of range"),
    "a newer kind": (lambda c: _first(c)["state"].update(priors={"new": 1}), "'new' is no kind"),
    "two kinds": (lambda c: _first(c)["state"].update(priors={"a": 1, "b": 2}), "too many values"),
    "no array": (lambda c: _first(c)["state"].update(priors={"array": 99}), "out of range"),
    "a negative number": (
        lambda c: _first(c)["state"].update(priors={"array": -1}),
        "-1 is no",
    ),
    "itself": (lambda c: _first(c)["state"].update(priors={"estimator": 0}), "out of range"),
    "moments of another kind": (
        lambda c: _first(c)["state"].update(_moments={"Moments": ["a", 1, 2, 3]}),
        "moments are a kind and three arrays",
    ),
}


@pytest.mark.parametrize(("change", "message"), CRAFTED.values(), ids=CRAFTED)
def test_what_is_not_known_is_refused(file, change, message):
    _crafted(file, change)
    with pytest.raises(ValueError, match=rf"model\.densconf.*{message}"):
        io.load(file)


@pytest.mark.parametrize("shape", [[7], [-5], "x"])
def test_weights_of_another_shape_are_refused(file, shape):
    io.save(FeatureExtractor(nn.Linear(4, 3)), file)
    content, arrays = _container.read(file)
    content["estimators"][0]["network"]["weights"][2][0][2] = shape
    _container.write(file, content, arrays)
    with pytest.raises(ValueError, match=r"model\.densconf"):
        io.load(file, network=nn.Linear(4, 3))


@pytest.mark.parametrize(
    "about",
    [
        {"dtype": "|O8", "shape": [1], "order": "C", "start": 0},
        {"dtype": "<f8", "shape": [10**12], "order": "C", "start": 0},
        {"dtype": "<f8", "shape": [-1], "order": "C", "start": 0},
        {"dtype": "<f8", "shape": [1], "order": "A", "start": 0},
        {"dtype": "<f8", "shape": [1], "order": "C", "start": 10**9},
        {"dtype": "<f8", "shape": [1.5], "order": "C", "start": 0},
        {"dtype": "<f8", "shape": [1]},
    ],
)
def test_an_array_that_the_file_does_not_hold_is_refused(file, monkeypatch, about):
    kept = json.dumps

    def dumps(value, **options):
        return kept({**value, "arrays": [about]}, **options)

    monkeypatch.setattr(_container.json, "dumps", dumps)
    io.save(GaussianDensityClassifier().fit(X, Y), file)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"model\.densconf holds no estimator"):
        io.load(file)


def test_saving_replaces_a_file_or_leaves_it(file):
    io.save(GaussianDensityClassifier(), file)
    before = file.read_bytes()
    with pytest.raises(TypeError, match="cannot save"):
        io.save(Mine(), file)
    assert file.read_bytes() == before
    io.save(GaussianDensityClassifier().fit(X, Y), file)
    assert file.read_bytes() != before
    assert os.listdir(file.parent) == [file.name]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none for .*file: make it"):
        io.save(GaussianDensityClassifier(), tmp_path / "none" / "file")


def test_a_link_stays_one(file, tmp_path):
    (tmp_path / "link").symlink_to(file)
    io.save(GaussianDensityClassifier(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert io.load(file).get_params() == GaussianDensityClassifier().get_params()


def test_output_of_pandas_is_kept(file):
    table = pd.DataFrame(X, columns=list("abcd"))
    scaler = StandardScaler().set_output(transform="pandas").fit(table)
    assert isinstance(_again(scaler, file).transform(table), pd.DataFrame)


def test_a_file_is_read_without_torch_where_it_has_no_network(file):
    io.save(GaussianDensityClassifier().fit(X, Y), file)
    code = (
        "import sys; from sklearn_densconf import io; io.load(sys.argv[1])\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_are_not_rounded_to_the_type_of_the_network_that_is_given(dtype, tmp_path):
    X = np.random.default_rng(0).normal(size=(8, 3))
    extractor = FeatureExtractor(torch.nn.Linear(3, 2).to(dtype)).fit(X)
    file = io.save(extractor, tmp_path / "network.densconf")
    with pytest.raises(ValueError, match=rf"weight is of torch.float32, and was of {dtype}. Conv"):
        io.load(file, network=torch.nn.Linear(3, 2))
    again = io.load(file, network=torch.nn.Linear(3, 2).to(dtype))
    np.testing.assert_array_equal(again.transform(X), extractor.transform(X))


def test_tied_weights_are_loaded_tied_and_no_other_network_is_suspected(tmp_path):
    def tied():
        network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3))
        network[1].weight = network[0].weight
        return network

    X = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    extractor = FeatureExtractor(tied()).fit(X)
    given = tied()
    weight = given[0].weight.detach().clone()
    again = io.load(io.save(extractor, tmp_path / "network.densconf"), network=given)
    np.testing.assert_array_equal(again.transform(X), extractor.transform(X))
    assert torch.equal(given[0].weight, weight)
