"""Files of results: their types, damaged ones, those of others, and whose results they are."""

import shutil

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from full_disk import files_of_at_most
from PIL import Image
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.neighbors import KNeighborsClassifier, RadiusNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed

X, Y = load_digits(return_X_y=True)
DENSITY = GaussianDensityClassifier().fit(X, Y)


class Labels(BaseEstimator):
    """Returns made-up results, among them those of samples 0 to 3."""

    def __init__(self, results):
        self.results = results

    def predict(self, X):
        return self.results[X[0, 0].astype(int)]


def made_up(folder, *results, n_jobs=None):
    """Predict four samples in shards of one sample, or of two."""
    numbers = np.repeat(np.arange(len(results)), 4 // len(results))[:, None]
    arguments = {"method": "predict", "shard_size": 4 // len(results), "n_jobs": n_jobs}
    return distributed.predict(Labels(results), numbers, folder, **arguments)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ((["ant", "bee"], ["elephant", "cat"]), ["ant", "bee", "elephant", "cat"]),
        (([1, 2], [0.5, 3]), [1, 2, 0.5, 3]),
        (([False, True], [2, 3]), [0, 1, 2, 3]),
        ((np.int8([1, 2]), np.int64([300, 2**40])), [1, 2, 300, 2**40]),
        ((np.float32([1, 2]), [1e300, 0.1]), [1, 2, 1e300, 0.1]),
        ((np.array(["ant", "a"], object), ["elephant", "b"]), ["ant", "a", "elephant", "b"]),
        ((np.array([1, 2], object), np.array([2.5, 3], object)), [1, 2, 2.5, 3]),
        ((pd.Series(["b", "a"], dtype="category"), ["c", "dd"]), ["b", "a", "c", "dd"]),
        ((torch.ones(2), [2.0, 3.0]), [1, 1, 2, 3]),
    ],
)
def test_shards_are_joined_in_a_type_that_holds_them_all(tmp_path, results, expected):
    got = made_up(tmp_path, *map(np.asarray, results))
    assert got.tolist() == expected
    assert not got.dtype.hasobject


@pytest.mark.parametrize("dtype", [object, "string", "category"])
def test_labels_of_a_pandas_column_are_stored(tmp_path, dtype):
    y = pd.Series(np.array(["ant", "elephant"])[(Y > 4).astype(int)]).astype(dtype)
    density = GaussianDensityClassifier().fit(X, y)
    got = distributed.predict(density, X, tmp_path, method="predict", shard_size=700, n_jobs=2)
    np.testing.assert_array_equal(got, density.predict(X).astype(str))


@pytest.mark.parametrize(
    ("results", "error", "message"),
    [
        (
            [np.array(["a", 1], object)] * 2,
            TypeError,
            r"predict returned objects of .*'int', 'str'",
        ),
        (
            [np.array([None, 1], object)] * 2,
            TypeError,
            r"of type \['NoneType', 'int'\], which a file",
        ),
        ([np.zeros(3)] * 2, ValueError, r"predict returned an array of shape \(3,\) for 2 samples"),
        ([np.float64(1)] * 2, ValueError, r"of shape \(\) for 2 samples: it must return one row"),
        (
            [np.zeros((2, 1)), np.zeros((2, 3))],
            ValueError,
            r"joined, because their rows differ: \[",
        ),
        ([np.array(["a", "b"]), np.zeros(2)], ValueError, r"rows differ: \['<U1 \(\)', 'float64"),
    ],
)
def test_results_that_a_file_cannot_hold_are_told_at_once(tmp_path, results, error, message):
    with pytest.raises(error, match=message):
        made_up(tmp_path, *results)


def interrupted(folder):
    """Run four shards, of which the last one fails; then the folder has three."""

    class Failing(GaussianDensityClassifier):
        def predict_proba(self, X):
            if (folder / "fail").exists() and len(X) < 500:
                raise OSError("no more")
            return super().predict_proba(X)

    model = Failing().fit(X, Y)
    (folder / "fail").touch()
    with pytest.raises(OSError, match="no more"):
        distributed.predict(model, X, folder, shard_size=500)
    (folder / "fail").unlink()
    return model


def shorten(path):
    np.save(path, np.load(path)[:10])


def widen(path):
    np.save(path, np.load(path)[:, :5])


def narrow(path):
    np.save(path, np.load(path).astype(np.float16))


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def exchange(path):
    path.write_bytes((path.parent / "from-500.npy").read_bytes())


@pytest.mark.parametrize(
    "damage",
    [shorten, widen, narrow, flip_a_bit, cut_off, empty, exchange],
    ids=lambda f: f.__name__,
)
def test_a_damaged_shard_is_computed_again(tmp_path, damage):
    model = interrupted(tmp_path)
    damage(tmp_path / "from-1000.npy")
    with pytest.warns(RuntimeWarning, match=r"from-1000\.npy is not as this run wrote it"):
        got = distributed.predict(model, X, tmp_path, shard_size=500)
    shards = (X[start : start + 500] for start in range(0, len(X), 500))  # last bits are BLAS's
    np.testing.assert_array_equal(got, np.vstack(list(map(model.predict_proba, shards))))


@pytest.mark.parametrize("damage", [shorten, widen, narrow, flip_a_bit, cut_off, empty])
def test_a_damaged_result_is_computed_again(tmp_path, damage):
    distributed.predict(DENSITY, X, tmp_path)
    damage(tmp_path / "predict_proba.npy")
    with pytest.warns(RuntimeWarning, match=r"predict_proba\.npy is not as this run wrote it"):
        got = distributed.predict(DENSITY, X, tmp_path)
    np.testing.assert_array_equal(got, DENSITY.predict_proba(X))


def test_only_missing_shards_are_computed(tmp_path, recwarn):
    model = interrupted(tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("from-*.npy")}
    assert len(kept) == 3
    (tmp_path / "fail").touch()  # the last one has 297 samples
    with pytest.raises(OSError, match="no more"):
        distributed.predict(model, X, tmp_path, shard_size=500)
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.glob("from-*.npy")}
    assert not recwarn.list


def test_a_damaged_run_file_is_named(tmp_path):
    distributed.predict(DENSITY, X, tmp_path)
    cut_off(tmp_path / "run.json")
    with pytest.raises(ValueError, match=r"run\.json is damaged .*: pass another folder"):
        distributed.predict(DENSITY, X, tmp_path)


def test_a_folder_of_a_newer_version_says_so(tmp_path):
    distributed.predict(DENSITY, X, tmp_path)
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"version": 2', '"version": 3'))
    with pytest.raises(ValueError, match=r"run\.json is of version 3, .* knows 2: update it"):
        distributed.predict(DENSITY, X, tmp_path)


def test_files_of_others_are_neither_deleted_nor_replaced(tmp_path):
    others = ["unfinished-thesis.txt", "unfinished-" + "0" * 32, "from-7.npy", "from-here.npy"]
    for name in others:
        (tmp_path / name).write_text("mine")
    for name in ("unfinished-chapters", "unfinished-model-chapters", "unfinished-model-chapter"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "first.tex").write_text("mine")
    before = set(tmp_path.rglob("*"))
    distributed.predict(DENSITY, X, tmp_path, shard_size=500)
    distributed.predict(DENSITY, X, tmp_path, shard_size=500)
    assert before < set(tmp_path.rglob("*"))
    assert len(set(tmp_path.rglob("*")) - before) == 2
    assert all((tmp_path / name).read_text() == "mine" for name in others)


@pytest.mark.parametrize("name", ["from-500.npy", "predict_proba.npy"])
def test_a_file_of_others_with_a_name_of_ours_is_refused(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ValueError, match=rf"has \['{name}'\], which no run wrote that began there"):
        distributed.predict(DENSITY, X, tmp_path, shard_size=500)
    assert (tmp_path / name).read_text() == "mine"


def test_what_a_killed_run_left_is_deleted(tmp_path):
    (tmp_path / f"unfinished-{'0a' * 16}.tmp").touch()
    left = tmp_path / "unfinished-model-a1_b2c3d"
    left.mkdir()
    for name in ("arrays.npy", "model.pickle", f"12-{'0a' * 16}"):
        (left / name).touch()
    distributed.predict(DENSITY, X, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "predict_proba.npy"}


def test_a_full_disk_is_told_and_leaves_nothing_half_done(tmp_path):
    with files_of_at_most(100_000), pytest.raises(OSError, match="File too large"):
        distributed.predict(DENSITY, X, tmp_path, shard_size=1000)  # shards of 80 kB fit
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"run.json", "from-0.npy", "from-1000.npy"}


PRIVATE = {
    "KNeighborsClassifier": KNeighborsClassifier(),  # its labels are in `_y`
    "RadiusNeighborsClassifier": RadiusNeighborsClassifier(30.0, outlier_label=0),
    "GradientBoostingClassifier": GradientBoostingClassifier(n_estimators=2, random_state=0),
    "HistGradientBoostingClassifier": HistGradientBoostingClassifier(max_iter=2),
    "RandomForestClassifier": RandomForestClassifier(3, random_state=0),
    "SVC": SVC(),
    "pipeline": make_pipeline(StandardScaler(), KNeighborsClassifier()),
}


@pytest.mark.parametrize("model", PRIVATE.values(), ids=PRIVATE)
def test_a_model_is_told_by_its_whole_state(tmp_path, model):
    few, y = X[:200], Y[:200]
    fitted = clone(model).fit(few, y)
    joblib.dump(fitted, tmp_path / "model")
    first = distributed.predict(fitted, few, tmp_path / "results", method="predict")
    loaded = joblib.load(tmp_path / "model")
    loaded.predict(few)  # trees of neighbours count their queries
    second = distributed.predict(loaded, few, tmp_path / "results", method="predict")
    np.testing.assert_array_equal(first, second)
    other = clone(model).fit(few, y[::-1])
    with pytest.raises(ValueError, match="another model"):
        distributed.predict(other, few, tmp_path / "results", method="predict")


@pytest.mark.parametrize(("key", "sees"), [("file", False), ("content", True)])
def test_files_are_told_by_their_paths_or_by_their_bytes(tmp_path, key, sees):
    paths = [tmp_path / f"{number}.bmp" for number in range(3)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((2, 2), 50 * number, np.uint8)).save(path)
    model = FeatureExtractor(torch.nn.Flatten(), memory_key=key).fit(paths)
    folder, method = tmp_path / "results", {"method": "transform"}
    expected = np.array(distributed.predict(model, paths, folder, **method))
    copied = [shutil.copy(path, path.with_suffix(".copy")) for path in paths]
    for other in (copied, pd.Series(copied), np.array(copied)) if sees else ():
        found = distributed.predict(model, other, folder, **method)
        np.testing.assert_array_equal(found, expected)
    shutil.copy(paths[0], paths[2])
    if sees:
        with pytest.raises(ValueError, match="results of another run, with another X: pass"):
            distributed.predict(model, paths, folder, **method)
    else:
        found = distributed.predict(model, paths, folder, **method)
        np.testing.assert_array_equal(found, expected)


def test_the_code_of_a_users_class_is_part_of_the_model(tmp_path):
    def made(factor):
        class Scaled(GaussianDensityClassifier):
            def predict_proba(self, X):
                return super().predict_proba(X) * factor

        return Scaled().fit(X, Y)

    distributed.predict(made(1.0), X, tmp_path)
    distributed.predict(made(1.0), X, tmp_path)
    with pytest.raises(ValueError, match="another model"):
        distributed.predict(made(0.5), X, tmp_path)
