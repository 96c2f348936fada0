"""Shards: whole = parts, on any backend; what is killed goes on where it was."""

import os
import py_compile
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from joblib.parallel import ThreadingBackend
from PIL import Image
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_densconf import (
    DensityClassifier,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
    distributed,
)
from sklearn_densconf.distributed import _folder

X, Y = load_digits(return_X_y=True)
CLASSES = range(10)
DENSITY = GaussianDensityClassifier().fit(X, Y)


def _interrupted(*_):
    raise KeyboardInterrupt


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Paths of 200 digits, and their labels."""
    folder = tmp_path_factory.mktemp("digits")
    images = (X[:200].reshape(-1, 8, 8) * 15).astype(np.uint8)
    paths = [str(folder / f"{number}.png") for number in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        Image.fromarray(image).save(path)
    return paths, Y[:200]


@pytest.fixture
def one_thread():
    """As in the workers: with more threads torch sums in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pipeline(one_thread):
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 12)
    )
    extractor = FeatureExtractor(network, batch_size=16, device="cpu")
    return make_pipeline(extractor, GaussianDensityClassifier())


def cut(n_shards, *columns):
    """Cut columns into shards of unequal sizes."""
    ends = np.linspace(0, 1, n_shards + 1) ** 2 * len(columns[0])
    return [
        tuple(column[start:end] for column in columns)
        for start, end in zip(ends[:-1].astype(int), ends[1:].astype(int), strict=True)
    ]


def assert_same_density(model, expected):
    for name in ("class_count_", "means_", "covariances_"):
        np.testing.assert_allclose(
            getattr(model, name), getattr(expected, name), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("backend", ["loky", "threading"])
@pytest.mark.parametrize("covariance_type", ["diag", "full"])
def test_fit_in_shards_is_the_fit_on_all_samples(backend, covariance_type):
    weight = np.linspace(0.5, 2, len(Y))
    density = GaussianDensityClassifier(covariance_type)
    with joblib.parallel_config(backend, n_jobs=2):
        fitted = distributed.fit(density, cut(5, X, Y, weight), CLASSES)
    assert_same_density(fitted, density.fit(X, Y, weight))


def test_a_backend_that_gives_all_results_in_the_end_will_do():
    class AllAtOnce(ThreadingBackend):
        supports_return_generator = False

    joblib.register_parallel_backend("all at once", AllAtOnce)
    with joblib.parallel_config("all at once", n_jobs=2):
        fitted = distributed.fit(GaussianDensityClassifier(), cut(5, X, Y), CLASSES)
    assert_same_density(fitted, DENSITY)


def test_fit_runs_pictures_through_the_pipeline_in_the_workers(pipeline, pictures):
    paths, y = pictures
    shards = [lambda part=part: part for part in cut(4, paths, y)]
    fitted = distributed.fit(pipeline, shards, CLASSES, n_jobs=2)
    serial = pipeline.fit(paths, y)
    assert_same_density(fitted[-1], distributed.fit_batches(pipeline, shards, CLASSES)[-1])
    np.testing.assert_allclose(
        fitted.predict_proba(paths), serial.predict_proba(paths), rtol=0, atol=1e-5
    )  # features depend on their batch by 1e-6


def test_fit_only_reads_the_model():
    pipeline = make_pipeline(StandardScaler().fit(X), GaussianDensityClassifier().fit(X[:9], Y[:9]))
    fitted = distributed.fit(pipeline, [(X, Y)], CLASSES)
    np.testing.assert_array_equal(pipeline[-1].class_count_, np.ones(9))
    assert fitted[-1].class_count_.sum() == len(Y)


def test_shards_are_taken_a_few_ahead_of_the_workers():
    taken, started, ahead = [], [], []

    def shard(part):
        started.append(1)
        ahead.append(len(taken) - len(started))
        return part

    def shards():
        for part in cut(30, X, Y)[8:]:
            taken.append(1)
            yield lambda part=part: shard(part)

    with joblib.parallel_config("threading", n_jobs=2):
        distributed.fit(GaussianDensityClassifier(), shards(), CLASSES)
    assert len(started) == 22
    assert max(ahead) <= 4


def test_each_process_reads_the_model_once(tmp_path):

    class Telling(TransformerMixin, BaseEstimator):
        def fit(self, X, Y=None):
            return self

        def __sklearn_is_fitted__(self):
            return True

        def transform(self, X):
            return X

        def __setstate__(self, state):
            self.__dict__.update(state)
            with open(tmp_path / "readings", "a") as file:
                file.write(f"{os.getpid()}\n")

    model = make_pipeline(Telling(), GaussianDensityClassifier())
    distributed.fit(model, cut(10, X, Y), CLASSES, n_jobs=2)
    readings = (tmp_path / "readings").read_text().split()
    readers = set(readings) - {str(os.getpid())}
    assert 1 <= len(readers) <= 2
    assert all(readings.count(reader) == 1 for reader in readers)


def test_the_models_file_is_removed_from_the_folder_of_the_workers(tmp_path):
    folder = tmp_path / "seen" / "by all"
    distributed.fit(GaussianDensityClassifier(), [(X, Y)], CLASSES, folder=folder)
    assert list(folder.iterdir()) == []


def test_shards_of_a_dead_worker_are_run_again(tmp_path):

    def deadly(part, number):
        fuse = tmp_path / str(number)
        if number in (3, 6) and not fuse.exists():
            fuse.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    parts = enumerate(cut(9, X, Y))
    shards = [lambda part=part, number=number: deadly(part, number) for number, part in parts]
    with pytest.warns(RuntimeWarning, match=r"a worker died, \d+ shards are run again"):
        fitted = distributed.fit(GaussianDensityClassifier(), shards, CLASSES, n_jobs=2)
    assert_same_density(fitted, DENSITY)


@pytest.mark.filterwarnings("ignore:a worker died:RuntimeWarning")
def test_a_shard_that_kills_every_worker_ends_the_fit():
    shards = [lambda: os.kill(os.getpid(), signal.SIGKILL)]
    with pytest.raises(BrokenProcessPool, match="terminated"):
        distributed.fit(GaussianDensityClassifier(), shards, CLASSES, n_jobs=2)


@pytest.mark.parametrize("method", ["predict_proba", "score_samples", "predict_log_proba"])
def test_predict_writes_what_the_model_gives(pipeline, pictures, tmp_path, method):
    paths, y = pictures
    pipeline.fit(paths, y)
    got = distributed.predict(pipeline, paths, tmp_path, method=method, shard_size=64, n_jobs=2)
    assert isinstance(got, np.memmap)
    assert not got.flags.writeable
    np.testing.assert_allclose(got, getattr(pipeline, method)(paths), rtol=1e-4, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", f"{method}.npy"}


def test_a_method_that_only_the_last_step_has_is_found(pipeline, pictures, tmp_path):
    paths, y = pictures
    fitted = pipeline.fit(paths, y)
    confidence = distributed.predict(fitted, paths, tmp_path, method="confidence")
    np.testing.assert_allclose(confidence, fitted.predict_proba(paths).max(axis=1), rtol=1e-6)


def test_predict_takes_an_array_and_labels_of_strings(tmp_path):
    density = GaussianDensityClassifier().fit(X, np.array(list("abcdefghij"))[Y])
    got = distributed.predict(density, X, tmp_path, method="predict", shard_size=700)
    np.testing.assert_array_equal(got, density.predict(X))


def test_predict_ends_after_the_whole_process_was_killed(tmp_path):
    script = """
        import sys, time
        from sklearn.datasets import load_digits
        from sklearn_densconf import GaussianDensityClassifier, distributed

        class Slow(GaussianDensityClassifier):
            def predict_proba(self, X):
                time.sleep(0.05)
                print(X[0].sum())
                return super().predict_proba(X)

        X, y = load_digits(return_X_y=True)
        distributed.predict(Slow().fit(X, y), X, sys.argv[1], shard_size=20)
    """
    folder = tmp_path / "results"
    command = [sys.executable, "-c", textwrap.dedent(script), folder]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(list(folder.glob("from-*.npy"))) < 8:
        assert running.poll() is None
        time.sleep(0.01)
    running.kill()
    assert running.wait() == -signal.SIGKILL
    done = len(list(folder.glob("from-*.npy")))
    assert 8 <= done < 90
    second = subprocess.run(command, check=True, capture_output=True, text=True)
    assert len(second.stdout.split()) == 90 - done
    result = np.load(folder / "predict_proba.npy")
    np.testing.assert_allclose(result, DENSITY.predict_proba(X), atol=1e-12)
    assert len(list(folder.iterdir())) == 2


def test_a_finished_run_is_read_from_its_folder(tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(_folder.Run, "delete", _interrupted)  # between the last two steps
        with pytest.raises(KeyboardInterrupt):
            distributed.predict(DENSITY, X, tmp_path)
    assert (tmp_path / "from-0.npy").exists()
    first = np.load(tmp_path / "predict_proba.npy")
    written = (tmp_path / "predict_proba.npy").stat().st_mtime_ns
    np.testing.assert_array_equal(distributed.predict(DENSITY, X, tmp_path), first)
    assert (tmp_path / "predict_proba.npy").stat().st_mtime_ns == written
    assert not (tmp_path / "from-0.npy").exists()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"X": X[1:]}, "X"),
        ({"model": GaussianDensityClassifier().fit(X[1:], Y[1:])}, "model"),
        ({"model": GaussianDensityClassifier(temperature=2.0).fit(X, Y)}, "model"),
        ({"method": "score_samples", "shard_size": 9}, "method and another shard_size"),
    ],
)
def test_a_folder_of_another_run_is_refused(tmp_path, changed, named):
    run = {"model": DENSITY, "X": X, "folder": tmp_path}
    distributed.predict(**run)
    with pytest.raises(ValueError, match=f"results of another run, with another {named}: pass"):
        distributed.predict(**run | changed)


def test_a_run_goes_on_with_another_batch_size_and_a_loaded_model(pipeline, pictures, tmp_path):
    paths, y = pictures
    joblib.dump(pipeline.fit(paths, y), tmp_path / "model")
    first = distributed.predict(pipeline, paths, tmp_path / "results")
    loaded = joblib.load(tmp_path / "model", mmap_mode="r")
    loaded.set_params(featureextractor__batch_size=7, featureextractor__num_workers=1)
    second = distributed.predict(loaded, paths, tmp_path / "results")
    np.testing.assert_array_equal(first, second)


def test_another_network_or_preprocessing_is_another_model(pipeline, pictures, tmp_path):
    paths, y = pictures
    distributed.predict(pipeline.fit(paths, y), paths, tmp_path)
    other_network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 12))
    settings = [{"backbone": other_network}, {"preprocessing": lambda _: torch.ones(1, 8, 8)}]
    for changed in settings:
        extractor = clone(pipeline[0]).set_params(**changed).fit(paths)
        with pytest.raises(ValueError, match="another model"):
            distributed.predict(make_pipeline(extractor, pipeline[1]), paths, tmp_path)


def test_wrong_arguments_are_told(tmp_path, pipeline):
    density = GaussianDensityClassifier()
    for model in (density, pipeline):
        with pytest.raises(ValueError, match=r"shards is empty: pass at least one \(X, y\)"):
            distributed.fit(model, [], CLASSES)
    with pytest.raises(ValueError, match="shrinkage='auto'"):
        distributed.fit(GaussianDensityClassifier("tied", shrinkage="auto"), [(X, Y)], CLASSES)
    with pytest.raises(NotFittedError, match="StandardScaler"):
        distributed.fit(make_pipeline(StandardScaler(), density), [(X, Y)], CLASSES)
    with pytest.raises(ValueError, match="X is empty: pass at least one sample"):
        distributed.predict(DENSITY, [], tmp_path)
    with pytest.raises(AttributeError, match="predict_prob"):
        distributed.predict(DENSITY, X, tmp_path, method="predict_prob")


@pytest.mark.parametrize("step", [None, StandardScaler().fit(X)])
@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        ((X[:5], Y[:6]), ValueError, "has 5 samples, but 6 labels"),
        ((X[:5], Y[:4]), ValueError, "has 5 samples, but 4 labels"),
        ((X[:5], Y[:5], np.ones(9)), ValueError, "has 5 samples, but 9 weights"),
        ((X[:0], Y[:0]), ValueError, "is empty: leave it out"),
        (([], []), ValueError, "is empty: leave it out"),
        (X[:5], TypeError, r"must be \(X, y\) or \(X, y, sample_weight\), got ndarray"),
        ((X[:5],), TypeError, r"must be \(X, y\) or \(X, y, sample_weight\), got tuple"),
    ],
)
def test_a_bad_shard_is_named(step, bad, error, message):
    model = make_pipeline(step, GaussianDensityClassifier()) if step else DENSITY
    for number in (0, 2):
        shards = cut(4, X, Y)
        shards.insert(number, lambda: bad)
        with pytest.raises(error, match=f"^shard {number} {message}"):
            distributed.fit(model, shards, CLASSES)
        with pytest.raises(error, match=f"^batch {number} {message}"):
            distributed.fit_batches(model, shards, CLASSES)


def as_table(X, order, library=pd):
    """Return a table whose columns are in another order under the same names."""
    return library.DataFrame({f"pixel{number}": X[:, number] for number in order})


FORTH, BACK = range(64), range(63, -1, -1)


@pytest.mark.filterwarnings("ignore:X has feature names, but StandardScaler")
@pytest.mark.parametrize("step", [None, StandardScaler().fit(X)])
@pytest.mark.parametrize(
    "second",
    [
        as_table(X, BACK),
        as_table(X, BACK, pl),
        as_table(X, [1, 0, *range(2, 64)]),
        as_table(X, FORTH).rename(columns={"pixel5": "pixel05"}),
    ],
)
def test_shards_of_other_columns_are_refused_by_name(step, second):
    model = make_pipeline(step, GaussianDensityClassifier()) if step else DENSITY
    shards = [(as_table(X, FORTH), Y), lambda: (second, Y)]
    named_or_refused = r"shard 2 has the columns .*, shard 1 has|and feature names can be merged"
    with pytest.raises(ValueError, match=named_or_refused):
        distributed.fit(model, [(X, Y), *shards], CLASSES)  # an array, which has no names
    for fit, noun in ((distributed.fit, "shard"), (distributed.fit_batches, "batch")):
        message = rf"{noun} 1 has the columns \['pixel.*\]\.\.\., {noun} 0 has \['pixel0', 'pixel1"
        with pytest.raises(ValueError, match=message):
            fit(model, shards, CLASSES)


def test_shards_of_the_same_columns_are_fitted_and_keep_their_names():
    tables = [(as_table(part, FORTH), y) for part, y in cut(3, X, Y)]
    fitted = distributed.fit(GaussianDensityClassifier(), tables, CLASSES, n_jobs=2)
    assert_same_density(fitted, DENSITY)
    assert fitted.feature_names_in_.tolist() == [f"pixel{number}" for number in FORTH]


def test_an_open_set_classifier_is_told_to_be_fitted_in_parts():
    for fit in (distributed.fit, distributed.fit_batches):
        with pytest.raises(TypeError, match="OpenSetClassifier needs held-out pictures beside the"):
            fit(OpenSetClassifier(), [(X, Y)], CLASSES)


@pytest.mark.parametrize("model", [SoftmaxClassifier(), DensityClassifier(None)])
def test_a_density_that_cannot_be_merged_is_refused(model):
    message = f"{type(model).__name__} has no fit_batches and no merge, so it cannot be fitted in"
    with pytest.raises(TypeError, match=message):
        distributed.fit(model, [(X, Y)], CLASSES)


def test_the_recipe_for_ray_compiles(tmp_path):
    recipe = Path(__file__).parents[1] / "docs" / "examples" / "ray_recipe.py"
    py_compile.compile(str(recipe), str(tmp_path / "compiled"), doraise=True)
