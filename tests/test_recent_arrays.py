"""Arrays that were seen lately: their rows are found, exactly, and not hashed."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import KFold

from sklearn_densconf.features import _recent
from sklearn_densconf.features._memory import FeatureStore
from sklearn_densconf.features._recent import Recent


def _pictures(n, n_values, dtype):
    """Give random rows, all different; the first value tells which row it is."""
    pictures = np.random.default_rng(0).integers(0, 255, (n, n_values)).astype(dtype)
    pictures[:, 0] = np.arange(n)
    return pictures


@pytest.mark.parametrize("n_values", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_rows_are_recalled_from_any_arrays_and_the_others_looked_up(dtype, n_values):
    pictures = _pictures(60, n_values, dtype)
    store, recent, asked = FeatureStore(Path("nowhere")), Recent(2**24), []

    def features(rows):
        def look_up(numbers):
            asked.extend(rows[numbers])
            return pictures[rows[numbers], :1].astype(np.float32)

        return recent.features(store, "kind", pictures[rows], look_up)

    for rows in (np.arange(20), np.arange(30, 60), np.arange(59, -1, -1), np.arange(60)):
        np.testing.assert_array_equal(features(rows)[:, 0], rows)
    assert asked == [*range(20), *range(30, 60), *range(29, 19, -1)]


def test_rows_that_differ_in_one_byte_are_different():
    """Keys are made of some words only; equality is of all bytes."""
    pictures = np.zeros((1, 4000), np.uint8)
    store, recent = FeatureStore(Path("nowhere")), Recent(2**24)
    recent.features(store, "kind", pictures, lambda rows: np.zeros((len(rows), 1)))
    others = np.eye(4000, dtype=np.uint8)
    found = recent.features(store, "kind", others, lambda rows: np.ones((len(rows), 1)))
    assert (found == 1).all()


def test_recent_arrays_make_room():
    store, recent = FeatureStore(Path("nowhere")), Recent(4 * 1200)
    # 800 bytes each, 80 of features, 160 of the index
    arrays = [np.arange(100.0).reshape(10, 10) + 1000 * value for value in range(8)]
    asked = []

    def ask(array, kind="kind"):
        recent.features(store, kind, array, lambda rows: asked.append(len(rows)) or array[rows, :1])

    for array in arrays:
        ask(array)
    asked.clear()
    for array in arrays[4:]:
        ask(array)
    assert asked == []
    ask(arrays[-1], "another kind")
    large = np.zeros((20, 20))
    ask(large)
    ask(large)
    ask(arrays[0])
    assert asked == [10, 20, 20, 10]


def test_many_small_arrays_are_not_searched_for_ever():
    store, recent = FeatureStore(Path("nowhere")), Recent(2**28)
    asked = []

    def ask(value):
        array = np.full((1, 4), value)
        recent.features(store, "kind", array, lambda rows: asked.append(value) or array[rows, :1])

    for value in range(100):
        ask(value)
    asked.clear()
    for value in (99, 98, 0, 1):
        ask(value)
    assert asked == [0, 1]


def test_an_array_too_large_to_keep_is_not_copied():
    store, recent = FeatureStore(Path("nowhere")), Recent(2**16)
    large = np.zeros((1000, 1000))
    tracemalloc.start()
    try:
        recent.features(store, "kind", large, lambda rows: large[rows, :1])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < large.nbytes / 4


class _Asking:
    """Gives the features of arrays, which are their first columns, and counts rows looked up."""

    def __init__(self, n_bytes):
        self.recent, self.store, self.n_rows = Recent(n_bytes), FeatureStore(Path("nowhere")), 0

    def __call__(self, X):
        def look_up(rows):
            self.n_rows += len(rows)
            return X[rows, :1]

        features = self.recent.features(self.store, "kind", X.copy(), look_up)
        np.testing.assert_array_equal(features, X[:, :1])


@pytest.mark.parametrize("n_folds", [5, 20])
@pytest.mark.parametrize("seed", [None, 0])
def test_folds_are_looked_up_once_and_not_searched_again(n_folds, seed, monkeypatch):
    pictures, ask = _pictures(1000, 64, np.float32), _Asking(2**24)
    folds = KFold(n_folds, shuffle=seed is not None, random_state=seed).split(pictures)
    arrays = [pictures[rows] for fold in folds for rows in fold]
    for X in arrays:
        ask(X)
    assert ask.n_rows == 1000
    monkeypatch.setattr(_recent._Seen, "find", None)
    for X in arrays:
        ask(X)
    assert ask.n_rows == 1000


def test_rows_that_others_are_made_of_stay_where_not_all_can():
    pictures = _pictures(1000, 64, np.float32)
    ask = _Asking(3 * pictures.nbytes)
    arrays = [pictures[start:] for start in range(0, 500, 20)]
    for X in 3 * arrays:
        ask(X[:700])
        ask(X[-500:])
    assert ask.n_rows == 1000


def test_arrays_that_look_alike_are_told_apart():
    pictures, ask = np.zeros((200, 8)), _Asking(2**24)
    arrays = [pictures.copy() for _ in range(4)]
    for number, X in enumerate(arrays):
        X[1, 0] = number  # a row between those of the glimpse
    assert len({_recent._glimpse(_recent._words(X)) for X in arrays}) == 1
    for X in arrays:
        ask(X)
    assert ask.n_rows == 200 + 3
