"""Torch tensors and strict array API arrays stay what they are, and give numpy's numbers."""

import array_api_strict
import joblib
import numpy as np
import pytest
import sklearn
import torch
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from versions import older

from sklearn_densconf import GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf._array import as_like, fill_rows, map_rows, namespace, to_numpy
from sklearn_densconf._validation import check_same_namespace

TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]
LIBRARIES = {"torch": torch, "array_api_strict": array_api_strict}
OTHER_DEVICE = array_api_strict.Device("device1")
METHODS = [
    "predict_proba",
    "predict_log_proba",
    "predict_joint_log_proba",
    "score_samples",
    "confidence",
    "mahalanobis",
    "typicality",
]


@pytest.fixture(autouse=True)
def _dispatch():
    with sklearn.config_context(array_api_dispatch=True):
        yield


@pytest.fixture
def data():
    X, y = load_iris(return_X_y=True)
    return X, y, np.linspace(0.5, 2, 150)


@pytest.fixture(params=LIBRARIES)
def library(request):
    return LIBRARIES[request.param]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"background": 0.1, "priors": [0.2, 0.3, 0.5]},
        {"shrinkage": "auto", "covariance_scale": "n_features"},
    ],
    ids=["plain", "background", "shrunk"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_results_are_of_the_kind_of_x_and_equal_numpys(
    covariance_type, parameters, dtype, library, data
):
    X, y, weight = data
    X, tolerance = X.astype(dtype), {"float64": 1e-9, "float32": 2e-6}[dtype]
    ours = GaussianDensityClassifier(covariance_type, **parameters)
    expected = GaussianDensityClassifier(covariance_type, **parameters).fit(X, y, weight)
    Z = library.asarray(X)
    ours.fit(Z, library.asarray(y), library.asarray(weight))
    for name in METHODS:
        result = getattr(ours, name)(Z)
        assert type(result) is type(Z)
        assert result.dtype == Z.dtype
        wanted = getattr(expected, name)(X)
        np.testing.assert_allclose(to_numpy(result), wanted, rtol=tolerance, atol=tolerance)
    predicted = ours.predict(Z)
    assert type(predicted) is type(Z)
    np.testing.assert_array_equal(to_numpy(predicted), expected.predict(X))
    of_labels = ours.confidence(Z, library.asarray(y))
    np.testing.assert_allclose(to_numpy(of_labels), expected.confidence(X, y), atol=tolerance)
    for name in ("means_", "covariances_", "class_count_", "class_prior_"):
        value = getattr(ours, name)
        assert type(value) is type(Z)
        np.testing.assert_allclose(to_numpy(value), getattr(expected, name), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_parts_equal_the_whole(covariance_type, library, data):
    X, y, _ = data
    Z, codes = library.asarray(X), library.asarray(y)
    whole = GaussianDensityClassifier(covariance_type).fit(Z, codes)
    classes = library.asarray([0, 1, 2])
    first, second = (
        GaussianDensityClassifier(covariance_type).partial_fit(Z[s, ...], codes[s], classes)
        for s in (slice(0, 40), slice(40, 90))  # classes are missing from both
    )
    merged = first.merge(second).partial_fit(Z[90:, ...], codes[90:])
    np.testing.assert_allclose(
        to_numpy(merged.predict_proba(Z)), to_numpy(whole.predict_proba(Z)), atol=1e-9
    )


def test_string_labels_come_back_as_numpy(library, data):
    X, y, _ = data
    names = np.array(["ant", "bee", "cat"])[y]
    density = GaussianDensityClassifier().fit(library.asarray(X), names)
    predicted = density.predict(library.asarray(X))
    np.testing.assert_array_equal(predicted, GaussianDensityClassifier().fit(X, names).predict(X))
    confidence = density.confidence(library.asarray(X), names)
    assert namespace(confidence) is not np


@pytest.mark.parametrize("covariance_type", TYPES)
def test_everything_stays_on_the_device_of_x(covariance_type, data):
    X, y, weight = data
    Z = array_api_strict.asarray(X, device=OTHER_DEVICE)
    density = GaussianDensityClassifier(covariance_type, background=0.1, priors="uniform")
    density.fit(Z, y, weight)
    for name in (*METHODS, "predict"):
        assert getattr(density, name)(Z).device == OTHER_DEVICE
    assert density.covariances_.device == OTHER_DEVICE
    assert density.confidence(Z, y).device == OTHER_DEVICE


def test_x_must_be_where_it_was_in_fit(data):
    X, y, _ = data
    density = GaussianDensityClassifier().fit(torch.asarray(X), y)
    message = (
        r"Inputs passed to GaussianDensityClassifier\.predict_proba\(\) must use the same "
        r"namespace .*numpy.ndarray.* fitted on cpu\. Move X, or use a pickled copy"
    )
    with pytest.raises(ValueError, match=message):
        density.predict_proba(X)
    other = GaussianDensityClassifier().fit(array_api_strict.asarray(X, device=OTHER_DEVICE), y)
    with pytest.raises(ValueError, match="the same device"):
        other.score_samples(array_api_strict.asarray(X))
    check_same_namespace(torch.asarray(X), X, "")  # what numpy learned goes anywhere


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_pickled_copy_works_anywhere(covariance_type, data, tmp_path):
    X, y, _ = data
    density = GaussianDensityClassifier(covariance_type, background=0.1, shrinkage="auto")
    density.fit(array_api_strict.asarray(X, device=OTHER_DEVICE), y)
    joblib.dump(density, tmp_path / "model")
    loaded = joblib.load(tmp_path / "model")
    expected = GaussianDensityClassifier(covariance_type, background=0.1, shrinkage="auto")
    expected = expected.fit(X, y).predict_proba(X)
    for Z in (X, torch.asarray(X), array_api_strict.asarray(X, device=OTHER_DEVICE)):
        proba = loaded.predict_proba(Z)
        assert type(proba) is type(Z)
        np.testing.assert_allclose(to_numpy(proba), expected, atol=1e-9)
    with sklearn.config_context(array_api_dispatch=False):
        np.testing.assert_allclose(loaded.predict_proba(X), expected, atol=1e-9)


def test_without_dispatch_tensors_become_numpy(data):
    X, y, _ = data
    expected = GaussianDensityClassifier().fit(X, y).predict_proba(X)
    with sklearn.config_context(array_api_dispatch=False):
        proba = (
            GaussianDensityClassifier()
            .fit(torch.asarray(X), torch.asarray(y))
            .predict_proba(torch.asarray(X))
        )
    assert type(proba) is np.ndarray
    np.testing.assert_allclose(proba, expected)


def test_long_input_is_evaluated_in_chunks(library, monkeypatch):
    Z = library.asarray(np.arange(12.0).reshape(6, 2))
    monkeypatch.setattr("sklearn_densconf._array.CHUNK_BYTES", 96)
    sizes = []

    def doubled(chunk, memory):
        sizes.append(chunk.shape[0])
        memory[...] = chunk * 2
        chunk *= 0.0  # a copy: it may be used up
        return memory

    for result in (map_rows(doubled, 2, Z), fill_rows(doubled, 2, Z)):
        assert type(result) is type(Z)
        np.testing.assert_array_equal(to_numpy(result), 2 * np.arange(12.0).reshape(6, 2))
    assert sizes == [2, 2, 2] * 2


def test_softmax_of_tensors(library):
    X = np.random.default_rng(0).normal(size=(20, 3))
    y = np.arange(20) % 3
    softmax = SoftmaxClassifier().fit(library.asarray(X), library.asarray(y))
    proba = softmax.predict_proba(library.asarray(X))
    assert namespace(proba) is namespace(library.asarray(X))
    np.testing.assert_allclose(to_numpy(proba), SoftmaxClassifier().fit(X, y).predict_proba(X))
    np.testing.assert_array_equal(to_numpy(softmax.predict(library.asarray(X))), X.argmax(axis=1))
    named = SoftmaxClassifier(classes=["c", "a", "b"], temperature="nll")
    held_out = {"X_val": library.asarray(X), "y_val": np.array(["c", "a", "b"])[y]}
    named.fit(library.asarray(X), np.array(["c", "a", "b"])[y], **held_out)
    odds = named.confidence(library.asarray(X), log_odds=True)
    assert namespace(odds) is namespace(library.asarray(X))
    wanted = SoftmaxClassifier(temperature=named.temperature_).fit(X, y)
    np.testing.assert_allclose(to_numpy(odds), wanted.confidence(X, log_odds=True), rtol=1e-9)


def test_the_largest_activation_of_tensors(library, data):
    X, y, _ = data
    density = GaussianDensityClassifier(predict_from="features")
    predicted = density.fit(library.asarray(X[:, :3]), library.asarray(y)).predict(
        library.asarray(X[:, :3])
    )
    np.testing.assert_array_equal(to_numpy(predicted), X[:, :3].argmax(axis=1))


def test_bad_tensors_are_refused(library, data):
    X, y, _ = data
    spoiled = np.where(np.arange(150)[:, None] == 3, np.nan, X)
    with pytest.raises(ValueError, match="got NaN in sample 3"):
        GaussianDensityClassifier().fit(library.asarray(spoiled), y)
    line = library.asarray([[0.0, 0.0], [2.0, 2.0], [0.0, 1.0], [2.0, 3.0]])
    with pytest.raises(ValueError, match="not positive definite"):
        GaussianDensityClassifier("full", var_smoothing=0).fit(line, np.array([0, 0, 1, 1]))


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="scikit-learn 1.7 splits no tensors")
def test_cross_validation_of_tensors_in_a_pipeline(data):
    X, y, _ = data
    pipe = make_pipeline(StandardScaler(), GaussianDensityClassifier("tied"))
    proba = cross_val_predict(pipe, torch.asarray(X), torch.asarray(y), method="predict_proba")
    expected = cross_val_predict(pipe, X, y, method="predict_proba")
    np.testing.assert_allclose(to_numpy(proba), expected, atol=1e-9)


def test_numbers_that_are_where_they_should_be_are_not_copied():
    values = np.arange(3.0)
    assert as_like(values, values) is values
    tensor = torch.arange(3.0)
    assert as_like(tensor, tensor).data_ptr() == tensor.data_ptr()
    assert to_numpy([1, 2]).tolist() == [1, 2]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_classes_far_from_the_rest_are_measured_from_their_own_mean(covariance_type, library):
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(0, 1, (50, 2)), rng.normal(2, 1, (50, 2)), rng.normal(1e9, 1, (50, 2))]
    y = np.repeat([0, 1, 2], 50)
    ours = GaussianDensityClassifier(covariance_type, temperature=1.0, var_smoothing=0)
    expected = GaussianDensityClassifier(covariance_type, temperature=1.0, var_smoothing=0)
    distances = expected.fit(X, y).mahalanobis(X)
    Z = library.asarray(X)
    found = to_numpy(ours.fit(Z, library.asarray(y)).mahalanobis(Z))
    near = np.eye(3, dtype=bool)[y]
    np.testing.assert_allclose(found[near], distances[near], rtol=1e-6)


def test_scikit_learn_is_told_so():
    assert sklearn.utils.get_tags(GaussianDensityClassifier()).array_api_support
