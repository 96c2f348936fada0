"""The pipeline of a network and a density inside scikit-learn: searches, caches, processes."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import networks
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from networks import Logging, passes, rows_passed
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.features import FrozenBackbone

GRID = {
    "gaussiandensityclassifier__temperature": ["n_features", 1.0],
    "gaussiandensityclassifier__covariance_type": ["diag", "tied_diag", "tied"],
}
N = 300


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:N].astype(np.float32) / 16, y[:N]


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


def _pipe(network, *, memory=None, step_memory=None, **parameters):
    extractor = FeatureExtractor(network, memory=memory, device="cpu", **parameters)
    return make_pipeline(extractor, GaussianDensityClassifier(), memory=step_memory)


def _process(code, *arguments):
    """Run a Python process that has this folder's modules."""
    paths = os.pathsep.join([str(Path(__file__).resolve().parent), *sys.path])
    env = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "11"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SEARCH_AGAIN = """
import sys
import numpy as np
from networks import Logging
from sklearn.model_selection import GridSearchCV
from test_pipeline_composition import GRID, N, _pipe, load_digits
X, y = load_digits(return_X_y=True)
X, y = X[:N].astype(np.float32) / 16, y[:N]
pipe = _pipe(Logging(sys.argv[1]), **{sys.argv[2]: sys.argv[3]})
print(GridSearchCV(pipe, GRID, cv=3, refit=False).fit(X, y).best_score_)
"""


def test_a_grid_search_with_the_extractors_memory_passes_each_picture_once(digits, log, tmp_path):
    network = Logging(log)
    plain = GridSearchCV(_pipe(Logging("/dev/null")), GRID, cv=3).fit(*digits)
    search = GridSearchCV(_pipe(network, memory=tmp_path / "memory"), GRID, cv=3).fit(*digits)
    assert rows_passed(log) == N  # in 3 folds x 6 candidates and the refit: once in all
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"]
    )
    score = _process(SEARCH_AGAIN, log, "memory", tmp_path / "memory")
    assert rows_passed(log) == N  # not at all in a second process
    assert float(score) == pytest.approx(search.best_score_)


def test_a_grid_search_with_the_pipelines_memory_extracts_once_a_fold(digits, log, tmp_path):
    memory = tmp_path / "memory"
    pipe = _pipe(Logging(log), step_memory=str(memory))
    search = GridSearchCV(pipe, GRID, cv=3, refit=False).fit(*digits)
    fitted = 3 * 1 + 2 * N  # in every fold's fit_transform: one to learn the width, and 2/3 of all
    scored = 6 * N  # transform is not cached: each candidate scores each picture once
    assert rows_passed(log) == fitted + scored
    score = _process(SEARCH_AGAIN, log, "step_memory", memory)
    assert rows_passed(log) == fitted + 2 * scored
    assert float(score) == pytest.approx(search.best_score_)


def test_the_pipelines_memory_hits_for_copies_of_a_module(digits, log, tmp_path):
    network = Logging(log)
    for copied in (network, clone(_pipe(network))[0].backbone.network(), FrozenBackbone(network)):
        _pipe(copied, step_memory=str(tmp_path / "memory")).fit(*digits)
    assert rows_passed(log) == N + 1


def test_two_jobs_give_the_same_results_on_one_thread_each(digits, log, tmp_path):
    serial = GridSearchCV(_pipe(Logging("/dev/null")), GRID, cv=3).fit(*digits)
    frozen = FrozenBackbone(Logging(log))
    pipe = _pipe(frozen, memory=tmp_path / "memory")
    parallel = GridSearchCV(pipe, GRID, cv=3, n_jobs=2, refit=False).fit(*digits)
    np.testing.assert_allclose(
        parallel.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"]
    )
    workers = {process: threads for process, _, threads in passes(log)}
    assert os.getpid() not in workers
    cores = joblib.cpu_count()
    assert all(threads <= max(1, cores // 2) for threads in workers.values())
    assert N <= rows_passed(log) <= 2 * N  # both may start with the same pictures


def test_a_class_of_the_main_module_searches_in_two_processes(tmp_path):
    code = """
import sys, numpy as np, torch
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
class Mine(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 3)
    def forward(self, X):
        return self.linear(X)
X = np.random.default_rng(0).normal(size=(60, 4)); y = np.arange(60) % 3
extractor = FeatureExtractor(Mine(), memory=sys.argv[1], device="cpu")
pipe = make_pipeline(extractor, GaussianDensityClassifier())
for n_jobs in (1, 2):
    print(cross_val_score(pipe, X, y, cv=2, n_jobs=n_jobs))
"""
    first, second = _process(code, tmp_path).splitlines()
    assert first == second


def test_cross_validation_scores_and_predicts(digits):
    X, y = digits
    pipe = _pipe(Logging("/dev/null"))
    scores = cross_val_score(pipe, X, y, cv=3)
    proba = cross_val_predict(pipe, X, y, cv=3, method="predict_proba")
    np.testing.assert_allclose(proba.sum(1), 1, rtol=1e-6)
    assert scores.mean() > 0.7
    assert np.mean(proba.argmax(1) == y) == pytest.approx(scores.mean())


def test_temperature_scaling_of_a_frozen_pipeline(digits):
    X, y = digits
    X_fit, X_rest, y_fit, y_rest = train_test_split(X, y, test_size=0.4, random_state=0)
    pipe = _pipe(Logging("/dev/null")).fit(X_fit, y_fit)
    calibrated = CalibratedClassifierCV(FrozenEstimator(pipe), method="temperature")
    proba = calibrated.fit(X_rest, y_rest).predict_proba(X_rest)
    np.testing.assert_array_equal(proba.argmax(1), pipe.predict_proba(X_rest).argmax(1))
    before, after = (
        -np.log(p[np.arange(len(y_rest)), y_rest]).mean()
        for p in (pipe.predict_proba(X_rest), proba)
    )
    assert after < before


def test_features_come_as_a_data_frame_with_names(digits):
    X, y = digits
    pipe = _pipe(networks.Convolutional(), input_shape=(1, 8, 8), layer=["hidden", None])
    pipe.set_output(transform="pandas").fit(X, y)
    rows = pd.DataFrame(X).rename(columns=str).set_axis(np.arange(N) + 7)
    with pytest.warns(UserWarning, match="X has feature names, but FeatureExtractor was fitted"):
        frame = pipe[0].transform(rows)
    assert list(frame.columns[[0, 8]]) == ["hidden_0", "output_0"]
    assert list(frame.index) == list(rows.index)
    assert list(pipe[:1].get_feature_names_out()) == list(frame.columns)
    assert list(pipe[-1].feature_names_in_) == list(frame.columns)


def test_sample_weight_is_routed_to_the_density(digits):
    X, y = digits
    weight = np.random.default_rng(0).integers(0, 3, N).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        density = GaussianDensityClassifier().set_fit_request(sample_weight=True)
        density.set_score_request(sample_weight=True)
        pipe = make_pipeline(FeatureExtractor(Logging("/dev/null")), density)
        weighted = pipe.fit(X, y, sample_weight=weight).predict_proba(X)
        scores = cross_validate(pipe, X, y, cv=3, params={"sample_weight": weight})
    times = weight.astype(int)
    repeated = _pipe(Logging("/dev/null")).fit(X.repeat(times, 0), y.repeat(times))
    np.testing.assert_allclose(weighted, repeated.predict_proba(X), rtol=1e-3, atol=1e-6)
    assert np.isfinite(scores["test_score"]).all()


def test_the_pipeline_is_shown_as_html(digits):
    unfitted = _pipe(networks.Convolutional(), input_shape=(1, 8, 8))
    for pipe in (unfitted, clone(unfitted).fit(*digits)):
        html = pipe._repr_html_()
        assert "FeatureExtractor" in html
        assert "GaussianDensityClassifier" in html


def test_a_dumped_pipeline_gives_the_same_probabilities_in_a_fresh_process(digits, tmp_path):
    X, y = digits
    pipe = _pipe(networks.Convolutional(n_classes=10), input_shape=(1, 8, 8)).fit(X, y)
    expected = pipe.predict_proba(X)
    joblib.dump((pipe, X), tmp_path / "pipe.joblib")
    code = """
import socket, sys
def refuse(*_):
    raise AssertionError("loading opens a connection")
socket.socket.connect = refuse
import joblib, numpy as np
pipe, X = joblib.load(sys.argv[1])
np.save(sys.argv[2], pipe.predict_proba(X))
"""
    _process(code, tmp_path / "pipe.joblib", tmp_path / "result.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "result.npy"), expected)


def test_a_pickle_holds_the_network_once_unless_the_module_was_trained_further(digits):
    X = digits[0]
    module = networks.Convolutional()
    extractor = FeatureExtractor(module, input_shape=(1, 8, 8)).fit(X)
    loaded = pickle.loads(pickle.dumps(extractor))
    assert loaded.backbone is loaded.backbone_
    features = extractor.transform(X)
    with torch.no_grad():
        next(module.parameters()).mul_(2)
    loaded = pickle.loads(pickle.dumps(extractor))
    np.testing.assert_array_equal(loaded.transform(X), features)
    trained = clone(loaded).fit(X)
    np.testing.assert_array_equal(trained.transform(X), clone(extractor).fit_transform(X))
    assert not np.array_equal(trained.transform(X), features)


def test_a_dumped_library_pipeline_holds_its_weights_and_no_torch_storage(tmp_path, monkeypatch):
    torchvision = pytest.importorskip("torchvision")
    pictures = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    pipe = _pipe("torchvision:mobilenet_v3_small?weights=none", layer="classifier.1")
    expected = pipe.fit(pictures, [0, 1] * 3).predict_proba(pictures)
    joblib.dump(pipe, tmp_path / "pipe.joblib")
    content = (tmp_path / "pipe.joblib").read_bytes()
    assert b"torch.storage" not in content
    assert b"_rebuild_tensor" not in content

    def refuse(*_, **__):
        raise AssertionError("loading builds the network again")

    monkeypatch.setattr(torchvision.models, "get_model", refuse)
    loaded = joblib.load(tmp_path / "pipe.joblib")
    np.testing.assert_allclose(loaded.predict_proba(pictures), expected, rtol=1e-4)


def test_threads_on_one_fitted_pipeline_get_the_serial_result(digits):
    X, y = digits
    pipe = _pipe(networks.Convolutional(), input_shape=(1, 8, 8), batch_size=32).fit(X, y)
    features, proba = pipe[:1].transform(X), pipe.predict_proba(X)
    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(pipe[:1].transform, X) for _ in range(12)]
        predictions = [pool.submit(pipe.predict_proba, X) for _ in range(12)]
    assert all(np.array_equal(call.result(), features) for call in calls)
    assert all(np.array_equal(call.result(), proba) for call in predictions)


def test_batches_of_features_fit_the_density_bit_by_bit(digits):
    X, y = digits
    extractor = FeatureExtractor(Logging("/dev/null"), batch_size=64).fit(X)
    density = GaussianDensityClassifier()
    for start, Z in enumerate(extractor.iter_transform(X)):
        density.partial_fit(Z, y[64 * start : 64 * (start + 1)], classes=np.arange(10))
    whole = GaussianDensityClassifier().fit(extractor.transform(X), y)
    np.testing.assert_allclose(
        density.predict_proba(extractor.transform(X)),
        whole.predict_proba(extractor.transform(X)),
        rtol=1e-5,
    )


def test_tensors_are_split_by_cross_validation(digits):
    X, y = digits
    pipe = _pipe(Logging("/dev/null"))
    expected = cross_val_score(pipe, X, y, cv=3)
    np.testing.assert_array_equal(cross_val_score(pipe, torch.from_numpy(X), y, cv=3), expected)
