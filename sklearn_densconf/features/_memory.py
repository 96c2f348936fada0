"""Features kept per picture, by content, in a folder that several processes may share.

One shard is one file: a structured array of (digest, features), written under another name and
then renamed. So a shard is there whole or not at all, whoever dies meanwhile, and nobody waits for
anybody; two processes that compute the same picture at the same time both write it, which costs
space and harms nothing.
"""

import json
import math
import os
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf._array import chunks
from sklearn_densconf.features._inputs import DIGEST_BYTES

CHUNK_BYTES = 2**18  # of rows that are compared at once: memory is soon used again
N_KEPT = 32  # arrays that are searched for a row: each takes as long as hashing 5 rows
N_SAMPLED = 32  # words of a row that its key is made of, at least; not twice as many
_FACTORS = np.random.default_rng(0).integers(2**64, size=2 * N_SAMPLED, dtype=np.uint64) | 1


class FeatureStore:
    """The features of one network under one setting, of samples of one shape.

    Parameters
    ----------
    folder : Path
        Where the shards are; made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._widths_path = folder / "widths.json"
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._paths: list[Path] = []
        self._ends: list[int] = [0]  # numbers of the shards' first rows, and the next number
        self._number: dict[bytes, int] = {}
        self._widths: list[int] = []

    @property
    def widths(self) -> list[int]:
        """Number of columns of each layer; empty before anything was kept."""
        if not self._widths and self._widths_path.exists():
            self._widths = json.loads(self._widths_path.read_text())
        return self._widths

    def find(self, digests: list[bytes]) -> np.ndarray:
        """Give the number of each digest's features, int64; -1 where there are none."""
        with self._lock:
            self._refresh()
            return np.fromiter(map(self._number.get, digests, repeat(-1)), np.int64, len(digests))

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Give the features (n, n_features), float32, of numbers that `find` gave."""
        if (numbers < 0).any():
            raise RuntimeError(f"features were deleted from {self._folder} while they were used")
        homes = np.searchsorted(self._ends, numbers, side="right") - 1
        out = np.empty((len(numbers), sum(self.widths)), np.float32)
        for home in np.unique(homes):
            rows = np.flatnonzero(homes == home)
            shard = np.load(self._paths[home], mmap_mode="r")  # not kept: each holds a file open
            out[rows] = shard["features"][numbers[rows] - self._ends[home]]
        return out

    def add(self, digests: list[bytes], features: np.ndarray, widths: list[int]) -> None:
        """Keep features, in a new shard.

        Parameters
        ----------
        digests : list of bytes
            One a row.
        features : ndarray of shape (n, n_features), float32
            The features.
        widths : list of int
            Number of columns of each layer.
        """
        shard = np.empty(len(digests), _record(features.shape[1]))
        shard["digest"] = np.frombuffer(b"".join(digests), shard.dtype["digest"])
        shard["features"] = features
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._widths_path.exists():
            _write(self._widths_path, json.dumps(widths).encode())
        _write(self._folder / f"{uuid.uuid4().hex}.npy", shard)

    def place(self, kind: Any, words: np.ndarray) -> Any:
        """Give what arrays must share for equal rows to have equal features here."""
        return str(self._folder), self._folder.exists(), kind, words.shape[1], words.dtype

    def _refresh(self) -> None:
        """Take note of shards that were written since, by whomever, or deleted."""
        names = os.listdir(self._folder) if self._folder.exists() else []
        there = {name for name in names if name.endswith(".npy")}
        if self._seen - there:  # numbers are never given again: other threads may hold them
            self._seen, self._number = set(), {}
        for name in sorted(there - self._seen):
            self._note(self._folder / name)
        self._seen = there

    def _note(self, path: Path) -> None:
        digests = np.ascontiguousarray(np.load(path, mmap_mode="r")["digest"]).tolist()
        start = self._ends[-1]
        self._paths.append(path)
        self._ends.append(start + len(digests))
        self._number.update(zip(digests, range(start, self._ends[-1]), strict=True))


class _Seen(NamedTuple):
    """An array of pictures, as words, their features, and an index of its rows by key."""

    words: np.ndarray
    features: np.ndarray
    keys: np.ndarray
    order: np.ndarray

    @classmethod
    def of(cls, words: np.ndarray, features: np.ndarray, keys: np.ndarray) -> "_Seen":
        """Copy an array and its features."""
        order = np.argsort(keys)
        return cls(words.copy(), features.copy(), keys[order], order)

    @property
    def n_bytes(self) -> int:
        """Memory of all of it."""
        return sum(part.nbytes for part in self)

    def find(self, words: np.ndarray, keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Give the numbers that some rows of another array have in this one; -1 for none."""
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
        self._kept: OrderedDict[Any, _Seen] = OrderedDict()

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
        glimpse = len(words), hash(words[:: max(1, len(words) // 4)].tobytes())
        place = store.place(kind, words)
        with self._lock:
            kept = self._kept.copy()
        same = kept.get((place, glimpse))
        if same is not None and np.array_equal(same.words, words):
            return same.features.copy()
        unknown, keys = np.arange(len(words)), _keys(words)
        parts = []
        for seen in (seen for (where, _), seen in kept.items() if where == place):
            numbers = seen.find(words, keys, unknown)
            found = numbers >= 0
            parts.append((unknown[found], seen.features[numbers[found]]))
            unknown = unknown[~found]
            if not len(unknown):
                break
        else:
            parts.append((unknown, look_up(unknown)))
            place = store.place(kind, words)  # the look-up may have made the folder
        features = _assembled(parts)
        if words.nbytes + features.nbytes <= self._n_bytes // 4:
            self._keep((place, glimpse), _Seen.of(words, features, keys))
        return features

    def _keep(self, name: Any, seen: _Seen) -> None:
        """Keep what was seen; the oldest make room."""
        with self._lock:
            self._kept[name] = seen
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


def _assembled(parts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Give one array of rows that come in parts, with their numbers."""
    rows = np.concatenate([rows for rows, _ in parts])
    features = np.concatenate([features for _, features in parts])
    out = np.empty_like(features)
    out[rows] = features
    return out


def open_store(folder: str | os.PathLike[str], key: str) -> FeatureStore:
    """Open the store of a network and its settings; once in a process.

    Parameters
    ----------
    folder : path
        The user's ``memory``.
    key : str
        Fingerprint of the network and of every setting that changes the features.

    Returns
    -------
    FeatureStore
        Its features.
    """
    return _opened(os.path.abspath(folder), key)


@lru_cache(maxsize=64)
def _opened(folder: str, key: str) -> FeatureStore:
    return FeatureStore(Path(folder) / "sklearn_densconf" / key)


def _record(width: int) -> np.dtype:
    return np.dtype([("digest", f"V{DIGEST_BYTES}"), ("features", "<f4", (width,))])


def _write(path: Path, content: bytes | np.ndarray) -> None:
    unfinished = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    with open(unfinished, "wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            np.save(file, content)
    unfinished.replace(path)
