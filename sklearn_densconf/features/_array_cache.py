"""The arrays that were seen last and their features: an equal array is not hashed again."""

import math
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np

N_GLIMPSED = 64  # rows of an array that its key is made of, at least; not twice as many


class _Seen(NamedTuple):
    words: np.ndarray
    features: np.ndarray


class ArrayCache:
    """Copies of arrays and their features; the least recently used make room.

    A grid search gives the same folds to every candidate, as new arrays, one after the other. To
    compare an array with a copy takes a thirtieth of the time of hashing its rows one by one.
    Finding single rows of one array in others was tried: it costs more than it saves unless folds
    are many and small.

    Parameters
    ----------
    n_bytes : int
        Room for all copies; an array that would take more than a quarter of it is not kept.
    """

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._lock = threading.Lock()
        self._seen: OrderedDict[Hashable, _Seen] = OrderedDict()  # the least recently used first

    def find(self, place: Hashable, values: np.ndarray) -> np.ndarray | None:
        """Return a copy of the features of an array, or None if it was not seen lately.

        Parameters
        ----------
        place : hashable
            What equal arrays must share to have equal features.
        values : ndarray of shape (n, n_values), contiguous
            The array.

        Returns
        -------
        ndarray of shape (n, n_features) or None
            The features.
        """
        key = _key(place, values)
        with self._lock:
            seen = self._seen.get(key)
        if seen is None or not np.array_equal(seen.words, _words(values)):
            return None
        with self._lock:
            if key in self._seen:  # no other thread needed the room
                self._seen.move_to_end(key)
        return seen.features.copy()

    def keep(self, place: Hashable, values: np.ndarray, features: np.ndarray) -> None:
        """Keep copies of an array and its features, in the place of one with the same key."""
        if values.nbytes + features.nbytes > self._n_bytes // 4:
            return
        seen = _Seen(_words(values).copy(), features.copy())
        with self._lock:
            self._seen[_key(place, values)] = seen
            while sum(part.nbytes for kept in self._seen.values() for part in kept) > self._n_bytes:
                self._seen.popitem(last=False)


CACHE = ArrayCache(2**28)


def _words(values: np.ndarray) -> np.ndarray:
    """Return contiguous values as bits: so NaN equals NaN, and 0 is not -0."""
    bits = values.reshape(-1).view(np.uint8)
    return bits.view(f"u{math.gcd(8, bits.size)}")


def _key(place: Hashable, values: np.ndarray) -> Hashable:
    """Return what most different arrays differ in: most of them are told apart by a few rows."""
    some = values[:: max(1, len(values) // N_GLIMPSED)]
    return place, values.shape, values.dtype, hash(some.tobytes())
