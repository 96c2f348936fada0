"""What a newcomer gets wrong, and the cure that the error or warning names."""

import re
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.utils.data import DataLoader
from transformers import BatchEncoding

from sklearn_densconf import ConformalRejector, FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf._optional import import_optional


def _linear(n_in=4):
    return nn.Sequential(nn.Flatten(), nn.Linear(n_in, 3))


def _extractor(network=None, **parameters):
    return FeatureExtractor(network or _linear(), device="cpu", **parameters)


@pytest.mark.parametrize("layer", [3, 1.5, [1], [None, 0], {"1": 2, 3: 4}])
def test_layers_have_names(layer):
    message = (
        r"layer must be None, a name such as '0', or distinct names in a list, got .*named_mod"
    )
    with pytest.raises(ValueError, match=message):
        _extractor(layer=layer).fit(np.zeros((2, 4)))


@pytest.mark.parametrize("version", ["2.6.0+cu124", "2.8.0"])
def test_an_engine_that_an_older_torch_cannot_export_for_names_the_version(monkeypatch, version):
    monkeypatch.setattr(torch, "__version__", torch.torch_version.TorchVersion(version))
    message = rf"engine='onnxruntime' needs torch 2\.9 or newer, got {re.escape(version)}: older"
    with pytest.raises(ImportError, match=message):
        _extractor(engine="onnxruntime").fit(np.zeros((2, 4), np.float32))


def test_a_folder_is_read_by_a_function(tmp_path):
    (tmp_path / "cats").mkdir()
    message = r"is a folder, not a picture: read it by sklearn_densconf.datasets.load_image_folder"
    for folder in (tmp_path, str(tmp_path), [tmp_path], np.array([str(tmp_path / "cats")])):
        with pytest.raises(ValueError, match=message):
            _extractor().fit(folder)


@pytest.mark.parametrize(
    "columns",
    [
        {"town": ["Bonn", "Rome"]},
        {"town": pd.Categorical(["Bonn", "Rome"])},
        {"town": pd.to_datetime(["2020-01-01", "2021-01-01"])},
        {"town": pd.array(["Bonn", "Rome"], dtype="string")},
        {"town": [["Bonn"], ["Rome"]]},
    ],
    ids=["text", "category", "date", "string", "list"],
)
def test_columns_that_are_no_numbers_are_named(columns):
    X = pd.DataFrame({"a": [1.0, 2.0], "b": [True, False], "c": [1, 2], **columns})
    message = r"X has columns that are no numbers, \['town'\]: encode them, such as by a ColumnTran"
    with pytest.raises(ValueError, match=message):
        _extractor().fit(X)
    _extractor(_linear(3)).fit(X.drop(columns="town"))


def test_columns_of_polars_are_named():
    X = pl.DataFrame({"a": [1.0, 2.0], "town": ["Bonn", "Rome"]})
    with pytest.raises(ValueError, match=r"columns that are no numbers, \['town'\]"):
        _extractor(_linear(2)).fit(X)


# One rule for whole numbers: pictures of uint8 are pixels, other pictures of whole numbers are
# refused, and tables are taken as they are.


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_a_table_of_uint8_that_looks_like_pixels_is_asked_about(kind):
    pixels = np.array([[0, 255, 128, 3], [7, 200, 1, 2]], np.uint8)
    message = (
        r"X is a table of uint8, \(n, 4\), whose values are taken as they are: set input_shape"
    )
    with pytest.warns(UserWarning, match=message):
        as_given = _extractor(nn.Flatten()).fit_transform(kind(pixels))
    np.testing.assert_array_equal(as_given, pixels)
    said = _extractor(nn.Flatten(), input_shape=(4,)).fit_transform(kind(pixels))
    np.testing.assert_array_equal(said, pixels)
    pictures = _extractor(nn.Flatten(), input_shape=(1, 2, 2)).fit_transform(kind(pixels))
    np.testing.assert_allclose(pictures, pixels / 255, rtol=1e-6)
    small = _extractor(nn.Flatten()).fit_transform(kind(pixels // 255))
    np.testing.assert_array_equal(small, pixels // 255)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.int64, np.uint32])
@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2)])
def test_pictures_of_other_whole_numbers_are_refused(dtype, shape):
    X = np.zeros((3, *shape), dtype)
    if dtype == np.uint16 or len(shape) == 3:
        with pytest.raises(
            ValueError, match=f"pictures of {np.dtype(dtype)}: make pixels in 0-255"
        ):
            _extractor().fit(X)
        with pytest.raises(
            ValueError, match=f"pictures of {np.dtype(dtype)}: make pixels in 0-255"
        ):
            _extractor(input_shape=(1, 2, 2)).fit(X.reshape(3, -1))
    else:  # signals or tokens
        _extractor().fit(X)
    table = (np.arange(12).reshape(3, 4) * 1000).astype(dtype)
    np.testing.assert_array_equal(_extractor(nn.Flatten()).fit_transform(table), table)


class Both(nn.Module):
    """Two inputs by name, side by side."""

    def forward(self, picture, age):
        return torch.cat([picture.flatten(1), age.reshape(len(age), -1)], 1)


def _joined(samples):
    return {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}


@pytest.mark.parametrize("shape", [(2, 2), (1, 2, 2), (2, 2, 3), (3, 2, 2)])
@pytest.mark.parametrize(
    "container",
    [
        _joined,
        list,
        lambda samples: DataLoader(samples, batch_size=2, collate_fn=_joined),
        lambda samples: DataLoader(samples, batch_size=2),
        iter,
    ],
    ids=["mapping", "dicts", "collate", "loader", "generator"],
)
def test_whole_numbers_by_name_follow_the_rule_for_arrays(container, shape):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4, *shape), np.uint8)
    samples = [
        {"picture": p, "age": np.uint8(age)} for p, age in zip(pixels, (3, 200, 7, 90), strict=True)
    ]
    given = samples if container is not iter else [_joined(samples[:2]), _joined(samples[2:])]
    features = _extractor(Both()).fit_transform(container(given))
    expected = _extractor(nn.Flatten()).fit_transform(pixels)
    np.testing.assert_allclose(features, np.c_[expected, [3, 200, 7, 90]], rtol=1e-6)


class TimeFirst(nn.Module):
    """Recurrence whose first axis is the time."""

    def __init__(self):
        super().__init__()
        self.recurrence, self.head = nn.GRU(4, 5), nn.Linear(5, 2)

    def forward(self, X):
        return self.head(self.recurrence(X.transpose(0, 1))[0][-1])


class Packed(nn.Module):
    """Recurrence over packed sequences, which have no axis of samples."""

    def __init__(self):
        super().__init__()
        self.recurrence, self.head = nn.GRU(4, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, X, lengths):
        how = {"batch_first": True, "enforce_sorted": False}
        packed = nn.utils.rnn.pack_padded_sequence(X, lengths.cpu(), **how)
        return self.head(self.recurrence(packed)[1][-1])


def test_recurrence_without_an_axis_of_samples_leads_to_a_layer_that_has_one():
    X = np.random.default_rng(0).random((3, 7, 4), np.float32)
    cases = [(TimeFirst(), X), (Packed(), {"X": X, "lengths": np.array([7, 3, 5])})]
    message = (
        r"gives 7 rows for 1 samples, but its first axis must be the sample: name one after it"
    )
    for network, samples in cases:
        with pytest.raises(ValueError, match=message + ".*'penultimate' or 'output'"):
            _extractor(network, layer="recurrence").fit(samples)
        rows = _extractor(network, layer=["penultimate", "output"]).fit_transform(samples)
        given = {"X": samples} if samples is X else samples
        tensors = {name: torch.from_numpy(values) for name, values in given.items()}
        with torch.no_grad():
            expected = network.eval()(**tensors).numpy()
        np.testing.assert_allclose(rows[:, 5:], expected, atol=1e-6)
        np.testing.assert_allclose(
            rows[:, :5] @ network.head.weight.detach().numpy().T
            + network.head.bias.detach().numpy(),
            expected,
            atol=1e-6,
        )


def test_names_that_a_network_does_not_know_are_told():
    message = (
        r"refuses inputs called \['age', 'size'\].*Name the arrays as the parameters of its fo"
    )
    with pytest.raises(ValueError, match=message):
        _extractor().fit({"age": np.zeros((3, 1)), "size": np.zeros((3, 3))})


class Sum(nn.Module):
    """The sum of two inputs by name."""

    def forward(self, left, right):
        return left + right


def _mapping(n=80):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 2
    return {"left": rng.normal(size=(n, 2)), "right": 3 * y[:, None] + np.zeros((1, 2))}, y


@pytest.mark.parametrize(
    "kind",
    [
        dict,
        BatchEncoding,
        lambda m: {k: torch.tensor(v) for k, v in m.items()},
        lambda m: {k: v.tolist() for k, v in m.items()},
    ],
)
def test_a_rejector_splits_mappings(kind):
    arrays, y = _mapping()
    pipe = make_pipeline(_extractor(Sum()), GaussianDensityClassifier())
    rejector = ConformalRejector(pipe, alpha=0.2, random_state=0).fit(kind(arrays), y)
    rows = [{"left": a, "right": b} for a, b in zip(*arrays.values(), strict=True)]
    expected = ConformalRejector(pipe, alpha=0.2, random_state=0).fit(rows, y)
    np.testing.assert_array_equal(rejector.predict(kind(arrays)), expected.predict(rows))
    assert rejector.coverage_ == expected.coverage_


def test_evaluation_says_that_it_takes_pictures():
    from sklearn_densconf.evaluation import evaluate

    arrays, y = _mapping()
    pipe = make_pipeline(_extractor(Sum()), GaussianDensityClassifier()).fit(arrays, y)
    with pytest.raises(ValueError, match=r"X must be pictures: .* got dict"):
        evaluate({"density": pipe}, arrays, y)


def test_a_library_that_is_there_but_broken_is_not_to_be_installed(monkeypatch, tmp_path):
    (tmp_path / "timm.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    message = "does not exist.*It is installed, but does not load: reinstall it in the version that"
    with pytest.raises(ImportError, match=message):
        import_optional("timm", "backbone 'timm:resnet18'")


def test_nothing_is_said_where_nothing_is_wrong():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _extractor().fit(np.zeros((3, 4), np.uint8)).transform(np.zeros((3, 4), np.uint8))
        _extractor(_linear(1)).fit(pd.DataFrame({"a": [1, 2]}))
