"""What all classifiers share: laws of the posterior, whatever gives the densities."""

import copy
import inspect
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.special import softmax
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from versions import older

from sklearn_densconf import DensityClassifier, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.density import _posterior
from sklearn_densconf.density._posterior import PosteriorMixin

CLASSIFIERS = {
    "diag": GaussianDensityClassifier(),
    "full, background, features": GaussianDensityClassifier(
        "full", background=0.05, predict_from="features"
    ),
    "mixture": DensityClassifier(GaussianMixture(2, random_state=0)),
    "kernel, features": DensityClassifier(KernelDensity(bandwidth=0.5), predict_from="features"),
    "softmax": SoftmaxClassifier(),
}
METHODS = ["predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba", "confidence"]


@pytest.fixture(scope="module")
def data():
    """Three activations of three classes."""
    X, y = load_iris(return_X_y=True)
    X = X - X.mean(axis=0)  # else the first is the largest of each, which is warned of
    return X[:, [0, 3, 1]], np.array(["c", "a", "b"])[y]


@pytest.fixture(params=CLASSIFIERS, scope="module")
def fitted(request, data):
    return clone(CLASSIFIERS[request.param]).fit(*data)


def test_the_forms_of_the_posterior_agree(fitted, data):
    X, _ = data
    proba = fitted.predict_proba(X)
    assert proba.shape == (150, 3)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), proba, rtol=1e-9)
    joint = fitted.predict_joint_log_proba(X)
    np.testing.assert_allclose(softmax(joint, axis=1), proba, rtol=1e-9)


def test_predict_is_the_largest_posterior_or_the_largest_activation(fitted, data):
    X, y = data
    scores = fitted.predict_proba(X) if fitted.predict_from == "posterior" else X
    expected = np.array(["a", "b", "c"])[scores.argmax(axis=1)]
    np.testing.assert_array_equal(fitted.predict(X), expected)
    assert fitted.score(X, y) == (expected == y).mean()


def test_confidence_is_the_posterior_of_the_label(fitted, data):
    X, y = data
    proba, rows = fitted.predict_proba(X), np.arange(150)
    predicted = np.searchsorted(fitted.classes_, fitted.predict(X))
    np.testing.assert_allclose(fitted.confidence(X), proba[rows, predicted], rtol=1e-12)
    own = np.searchsorted(fitted.classes_, y)
    np.testing.assert_allclose(fitted.confidence(X, y), proba[rows, own], rtol=1e-12)
    np.testing.assert_allclose(fitted.confidence(X, pd.Series(y)), proba[rows, own], rtol=1e-12)
    np.testing.assert_allclose(fitted.confidence(X, list(y)), proba[rows, own], rtol=1e-12)


BIG = 2**53  # the next whole number is none of float64


def _with_labels(labels, data):
    X, y = data
    own = np.asarray(labels)[np.searchsorted(["a", "b", "c"], y)]
    return GaussianDensityClassifier().fit(X, own), X


@pytest.mark.parametrize("kind", [np.int64, np.uint64, object])
def test_whole_numbers_are_compared_exactly(kind, data):
    model, X = _with_labels([BIG, BIG + 1, BIG + 2], data)
    proba = model.predict_proba(X)
    for column, label in enumerate((BIG, BIG + 1, BIG + 2)):
        found = model.confidence(X, np.full(150, label, kind))
        np.testing.assert_allclose(found, proba[:, column], rtol=1e-12)
    with pytest.raises(ValueError, match=rf"label\(s\) \[{BIG + 3}\] in y do not exist"):
        model.confidence(X, np.full(150, BIG + 3, kind))


@pytest.mark.parametrize(("kind", "label"), [(np.float64, BIG), (np.float32, 2**24)])
def test_floats_that_stand_for_several_whole_numbers_are_refused(kind, label, data):
    model, X = _with_labels([label, label + 1, label + 2], data)
    with pytest.raises(ValueError, match=r"several whole numbers are rounded to.*give y as that"):
        model.confidence(X, np.full(150, label + 1, kind))
    small, _ = _with_labels([0, 1, label - 1], data)
    found = small.confidence(X, np.full(150, label - 1, kind))
    np.testing.assert_allclose(found, small.predict_proba(X)[:, 2], rtol=1e-12)


def test_a_whole_number_is_no_float_beside_it(data):
    model, X = _with_labels([0.0, float(BIG), BIG + 2.0], data)
    with pytest.raises(ValueError, match=rf"label\(s\) \[{BIG + 1}\] in y do not exist"):
        model.confidence(X, np.full(150, BIG + 1))
    with pytest.raises(ValueError, match=r"label\(s\) \[0.5\] in y do not exist"):
        _with_labels([0, 1, 2], data)[0].confidence(X, np.full(150, 0.5))
    for same in (np.zeros(150, int), np.zeros(150, np.float32), np.zeros(150, bool)):
        np.testing.assert_array_equal(model.confidence(X, same), model.predict_proba(X)[:, 0])


def test_one_row_at_a_time_gives_the_same(fitted, data):
    X, _ = data
    singly = np.concatenate([fitted.predict_proba(row[None]) for row in X[::10]])
    np.testing.assert_allclose(singly, fitted.predict_proba(X)[::10], rtol=1e-9, atol=1e-12)


def test_input_is_not_changed(fitted, data):
    X, y = data
    before = X.copy()
    for name in METHODS:
        getattr(fitted, name)(X)
    clone(fitted).fit(X, y)
    np.testing.assert_array_equal(X, before)
    X.flags.writeable = False  # the results are the same for memory that cannot be written
    fitted.predict_proba(X)
    X.flags.writeable = True


def test_float32_stays_float32(fitted, data):
    X = data[0].astype(np.float32)
    for name in METHODS[1:]:
        assert getattr(fitted, name)(X).dtype == np.float32


def test_feature_names_are_checked_and_no_method_warns_of_them(data):
    X, y = data
    X = pd.DataFrame(X, columns=["first", "second", "third"])
    for classifier in CLASSIFIERS.values():
        fitted = clone(classifier).fit(X, y)
        np.testing.assert_array_equal(fitted.feature_names_in_, X.columns)
        extra = {"score_samples", "mahalanobis", "typicality"} & set(dir(fitted))
        for name in [*METHODS, *extra]:
            getattr(fitted, name)(X)
        with pytest.raises(ValueError, match="feature names should match"):
            fitted.predict(X[["second", "first", "third"]])


@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
@pytest.mark.parametrize("method", METHODS)
def test_use_before_fit_is_refused(classifier, method, data):
    with pytest.raises(NotFittedError, match="is not fitted yet"):
        getattr(clone(classifier), method)(data[0])


def test_copies_give_the_same(fitted, data, tmp_path):
    X, _ = data
    joblib.dump(fitted, tmp_path / "model.joblib")
    for copied in (
        copy.deepcopy(fitted),
        pickle.loads(pickle.dumps(fitted)),
        joblib.load(tmp_path / "model.joblib"),
    ):
        np.testing.assert_array_equal(copied.predict_proba(X), fitted.predict_proba(X))


def test_a_dumped_pipeline_gives_the_same_in_a_fresh_process(data, tmp_path):
    X, y = data
    pipe = make_pipeline(StandardScaler(), GaussianDensityClassifier("full", background=0.1))
    joblib.dump((pipe.fit(X, y), X), tmp_path / "model.joblib")
    np.save(tmp_path / "proba.npy", pipe.predict_proba(X))
    code = (
        "import joblib, numpy, sys; pipe, X = joblib.load('model.joblib'); "
        "assert numpy.array_equal(pipe.predict_proba(X), numpy.load('proba.npy')); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_the_state_is_numpy_and_plain_values(data):
    state = GaussianDensityClassifier(background=0.1).fit(*data).__getstate__()
    (moments,) = state.pop("_moments")
    assert {type(value) for value in vars(moments).values()} == {str, np.ndarray}
    allowed = (str, int, float, type(None), np.ndarray)
    assert all(isinstance(value, allowed) for value in state.values()), state


def test_threads_give_the_serial_result(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), GaussianDensityClassifier("full", background=0.1))
    serial = pipe.fit(X, y).predict_proba(X)
    for _ in range(5):
        loaded = pickle.loads(pickle.dumps(pipe))  # each thread finds nothing prepared
        with ThreadPoolExecutor(8) as pool:
            for result in pool.map(loaded.predict_proba, [X] * 16):
                np.testing.assert_array_equal(result, serial)


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="1.7 calibrates no temperature")
def test_cross_validation_grid_search_and_calibration_take_the_classifier(data):
    X, y = data
    pipe = make_pipeline(StandardScaler(), GaussianDensityClassifier())
    proba = cross_val_predict(pipe, X, y, method="predict_proba")
    assert (proba.argmax(axis=1) == np.searchsorted(["a", "b", "c"], y)).mean() > 0.9
    grid = {
        "gaussiandensityclassifier__covariance_type": ["diag", "tied", "full"],
        "gaussiandensityclassifier__temperature": ["n_features", 1.0],
    }
    search = GridSearchCV(pipe, grid, cv=3, scoring="neg_log_loss").fit(X, y)
    alone = GridSearchCV(pipe, grid, cv=3, scoring="neg_log_loss", n_jobs=2).fit(X, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    calibrated = CalibratedClassifierCV(FrozenEstimator(pipe.fit(X, y)), method="temperature")
    np.testing.assert_allclose(calibrated.fit(X, y).predict_proba(X).sum(axis=1), 1)


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="1.7's Pipeline asks for another request")
def test_sample_weights_are_routed(data):
    X, y = data
    weight = np.where(np.asarray(y) == "a", 3.0, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        density = GaussianDensityClassifier().set_fit_request(sample_weight=True)
        density.set_score_request(sample_weight=True)
        pipe = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), density)
        result = cross_validate(
            pipe, X, y, params={"sample_weight": weight}, return_estimator=True, cv=3
        )
    assert np.isfinite(result["test_score"]).all()
    priors = [fold[-1].class_prior_[0] for fold in result["estimator"]]
    np.testing.assert_allclose(priors, 0.6, atol=0.02)  # 150 of 250


def test_the_html_repr_shows_the_parameters():
    html = make_pipeline(StandardScaler(), GaussianDensityClassifier("tied"))._repr_html_()
    assert "GaussianDensityClassifier" in html
    assert "covariance_type" in html


@pytest.mark.parametrize("classifier", CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_weights_are_keyword_or_third(classifier):
    parameters = list(inspect.signature(classifier.fit).parameters)
    assert parameters[:3] == ["X", "y", "sample_weight"]


def test_a_subclass_must_have_a_head():
    with pytest.raises(NotImplementedError):
        PosteriorMixin()._head(np.ones((1, 2)))


@pytest.mark.parametrize(("name", "each"), [("softmax", 0), ("diag", 2 * 3 * 3)])
def test_threads_are_chosen_by_the_multiplications_of_all_samples(monkeypatch, name, each):
    """Of 3 features and 3 classes: softmax has none, the diagonal one two of each."""
    X, y = load_iris(return_X_y=True)
    X = X[:, :3]
    model = clone(CLASSIFIERS[name]).fit(X, y)
    told = []
    monkeypatch.setattr(_posterior, "one_thread_if_few", lambda n: told.append(n) or nullcontext())
    model.confidence(X[:50])
    model.predict_proba(X[:50])
    assert told == [50 * each] * 2


def test_a_column_of_labels_is_taken_with_a_word():
    X, y = load_iris(return_X_y=True)
    density = GaussianDensityClassifier().fit(X, y)
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        found = density.confidence(X, y[:, None])
    np.testing.assert_array_equal(found, density.confidence(X, y))
