"""The arrays of pictures that were seen last: their rows are found instead of hashed."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf._array import chunks
from sklearn_densconf.features._memory import FeatureStore

CHUNK_BYTES = 2**18  # of rows that are compared at once: memory is soon used again
N_SOURCES = 32  # arrays that are searched for a row: each takes as long as hashing 5 rows
N_KEPT = 128  # arrays, in all
N_SAMPLED = 32  # words of a row that its key is made of, at least; not twice as many
N_GLIMPSED = 64  # rows of an array that are looked at to recognise it, at least
_FACTORS = np.random.default_rng(0).integers(2**64, size=2 * N_SAMPLED, dtype=np.uint64) | 1


class _Name(NamedTuple):
    """Where an array was seen, what it looks like, and whether it had rows that were new then."""

    place: Any
    glimpse: tuple[int, int]
    is_source: bool


class _Seen(NamedTuple):
    """An array of pictures, as words, their features, and an index by key of rows new in it."""

    words: np.ndarray
    features: np.ndarray
    keys: np.ndarray
    order: np.ndarray

    @classmethod
    def of(
        cls, words: np.ndarray, features: np.ndarray, keys: np.ndarray, new: np.ndarray
    ) -> "_Seen":
        """Copy an array and its features, and index its new rows."""
        order = new[np.argsort(keys[new])]
        return cls(words.copy(), features.copy(), keys[order], order)

    @property
    def n_bytes(self) -> int:
        """Memory of all of it."""
        return sum(part.nbytes for part in self)

    def find(self, words: np.ndarray, keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Give the numbers here of some rows of another array, if they were new here; else -1."""
        at = np.searchsorted(self.keys, keys[rows])
        at[at == len(self.keys)] = 0
        alike = np.flatnonzero(self.keys[at] == keys[rows])
        numbers = np.full(len(rows), -1)
        for part in chunks(len(alike), words[0].nbytes, CHUNK_BYTES):
            own = self.order[at[alike[part]]]
            equal = (self.words[own] == words[rows[alike[part]]]).all(axis=1)
            numbers[alike[part]] = np.where(equal, own, -1)
        return numbers


class Recent:
    """The arrays of pictures that were seen last, and their features: equal rows are not hashed.

    A grid search gives the same folds to every candidate, as new arrays, and the folds share most
    of their rows. To compare an array with a copy takes a thirtieth of the time of hashing its
    pictures one by one; to find its rows in other arrays takes a third.

    Parameters
    ----------
    n_bytes : int
        Memory for what is kept, of all stores together; a larger array than a quarter is not.
    """

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Name, _Seen] = OrderedDict()  # the least recently used first

    def features(
        self,
        store: FeatureStore,
        kind: Any,
        values: np.ndarray,
        look_up: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Give the features of an array's rows.

        Parameters
        ----------
        store : FeatureStore
            Where they are kept.
        kind : object
            What equal rows must share to be equal pictures.
        values : ndarray of shape (n, n_values), contiguous
            The rows.
        look_up : callable
            Gives the features of rows by number, for those that were not seen lately.

        Returns
        -------
        ndarray of shape (n, n_features)
            The features.
        """
        words = _words(values)
        place, glimpse = store.place(kind, words), _glimpse(words)
        names = [_Name(place, glimpse, is_source) for is_source in (True, False)]
        with self._lock:
            alike = [(name, self._kept[name]) for name in names if name in self._kept]
        for name, seen in alike:
            if np.array_equal(seen.words, words):
                self._touch(name)
                return seen.features.copy()
        unknown, keys = np.arange(len(words)), _keys(words)
        parts = []
        for name, seen in self._sources(place):
            numbers = seen.find(words, keys, unknown)
            found = numbers >= 0
            if found.any():
                self._touch(name)
                parts.append((unknown[found], seen.features[numbers[found]]))
                unknown = unknown[~found]
        if len(unknown):
            parts.append((unknown, look_up(unknown)))
            place = store.place(kind, words)  # the look-up may have made the folder
        features = _assembled(parts)
        name = _Name(place, glimpse, is_source=len(unknown) > 0)
        if name not in self._kept and words.nbytes + features.nbytes <= self._n_bytes // 4:
            self._keep(name, _Seen.of(words, features, keys, unknown))
        return features

    def _sources(self, place: Any) -> list[tuple[_Name, _Seen]]:
        with self._lock:
            return [(n, s) for n, s in self._kept.items() if n.is_source and n.place == place]

    def _touch(self, name: _Name) -> None:
        with self._lock:
            if name in self._kept:  # no other thread needed the room
                self._kept.move_to_end(name)

    def _keep(self, name: _Name, seen: _Seen) -> None:
        """Keep what was seen; the least recently used make room."""
        with self._lock:
            self._kept.setdefault(name, seen)  # another thread may have been first
            sources = [name for name in self._kept if name.is_source]
            for oldest in sources[:-N_SOURCES]:
                del self._kept[oldest]
            while (
                len(self._kept) > N_KEPT
                or sum(seen.n_bytes for seen in self._kept.values()) > self._n_bytes
            ):
                self._kept.popitem(last=False)


RECENT = Recent(2**28)


def _words(values: np.ndarray) -> np.ndarray:
    """Give the content of contiguous rows as bits: NaN equals NaN, and 0 is not -0."""
    bits = values.view(np.uint8)
    return bits.view(f"u{math.gcd(8, bits.shape[1])}")


def _keys(words: np.ndarray) -> np.ndarray:
    """Give numbers that most different rows differ in, from some of their words."""
    some = words[:, :: max(1, words.shape[1] // N_SAMPLED)].astype(np.uint64)
    return some @ _FACTORS[: some.shape[1]]


def _glimpse(words: np.ndarray) -> tuple[int, int]:
    """Give what most different arrays differ in, from some of their rows."""
    return len(words), hash(_keys(words[:: max(1, len(words) // N_GLIMPSED)]).tobytes())


def _assembled(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Give one array of rows that come in parts, with their numbers."""
    rows = np.concatenate([rows for rows, _ in parts])
    features = np.concatenate([features for _, features in parts])
    out = np.empty_like(features)
    out[rows] = features
    return out
