"""Features kept per picture, by content, in a folder that several processes may share.

One shard is one file: a structured array of (digest, features), written under another name and
then renamed. So a shard is there whole or not at all, whoever dies meanwhile, and nobody waits for
anybody; two processes that compute the same picture at the same time both write it, which costs
space and harms nothing. A shard's name has a checksum of it: one that a disk has changed, or that
cannot be read, is set aside with a warning, and what it held is computed again. A folder that
cannot be written costs what would have been kept, and a warning; one that a newer version has
written is left alone.
"""

import hashlib
import io
import json
import os
import threading
import uuid
import warnings
from contextlib import suppress
from functools import lru_cache
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._files import UNFINISHED, sweep, write_content
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.features.inputs._digests import DIGEST_BYTES


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
        self._is_newer = False
        self._complained = False

    @property
    def widths(self) -> list[int]:
        """Number of columns of each layer; empty before anything was kept."""
        if not self._widths and not self._is_newer:
            try:
                self._widths = _checked_widths(json.loads(self._widths_path.read_bytes()))
            except FileNotFoundError:
                pass
            except _Newer as error:
                self._is_newer = True
                self._complain(error)
            except (ValueError, RecursionError) as error:
                _set_aside(self._widths_path, error)
            except OSError as error:
                self._complain(error)
        return self._widths

    def find(self, digests: list[bytes]) -> np.ndarray:
        """Return the number of each digest's features, int64; -1 where there are none."""
        with self._lock:
            if not self.widths:  # nothing is there, or nobody knows what
                return np.full(len(digests), -1)
            self._refresh()
            return np.fromiter(map(self._number.get, digests, repeat(-1)), np.int64, len(digests))

    def read(self, numbers: np.ndarray) -> np.ndarray:
        """Return the features (n, n_features), float32, of numbers that `find` gave."""
        if (numbers < 0).any():
            raise RuntimeError(f"features were deleted from {self._folder} while they were used")
        shard_of = np.searchsorted(self._ends, numbers, side="right") - 1
        out = np.empty((len(numbers), sum(self.widths)), np.float32)
        for shard in np.unique(shard_of):
            rows = np.flatnonzero(shard_of == shard)
            kept = np.load(self._paths[shard], mmap_mode="r")  # not held: each has a file open
            out[rows] = kept["features"][numbers[rows] - self._ends[shard]]
        return out

    def add(self, digests: list[bytes], features: np.ndarray, widths: list[int]) -> bool:
        """Keep features, in a new shard.

        Parameters
        ----------
        digests : list of bytes
            One a row.
        features : ndarray of shape (n, n_features), float32
            The features.
        widths : list of int
            Number of columns of each layer.

        Returns
        -------
        bool
            Whether they are kept: not where the folder cannot be written.
        """
        if self._is_newer:
            return False
        try:
            self._write(digests, features, widths)
        except OSError as error:
            self._complain(error)
            return False
        return True

    def _write(self, digests: list[bytes], features: np.ndarray, widths: list[int]) -> None:
        if self.widths and self.widths != widths:
            _set_aside(self._widths_path, ValueError(f"it has {self.widths} for {widths} columns"))
            self._widths = []
        shard = np.empty(len(digests), _record(features.shape[1]))
        shard["digest"] = np.frombuffer(b"".join(digests), shard.dtype["digest"])
        shard["features"] = features
        self._folder.mkdir(parents=True, exist_ok=True)
        if not self._widths_path.exists():
            write_content(self._widths_path, json.dumps(widths).encode())
        content = io.BytesIO()
        np.save(content, shard)
        name = f"{uuid.uuid4().hex}-{_checksum(shard, widths)}.npy"
        write_content(self._folder / name, content.getvalue())

    def _complain(self, error: Exception) -> None:
        """Warn, once, that this memory is of no use."""
        if not self._complained:
            self._complained = True
            warnings.warn(
                f"{self._folder} cannot be used as memory ({error}): features are computed, but "
                "not kept. Make room, set its rights, or pass another folder",
                UserWarning,
                stacklevel=2,
            )

    @property
    def for_models(self) -> Path:
        """Folder of exported networks, beside those of features."""
        return self._folder.parent / "onnx"

    @property
    def place(self) -> tuple[str, bool]:
        """What copies of features in memory belong to: not to a folder that was deleted since."""
        return str(self._folder), self._folder.exists()

    def _refresh(self) -> None:
        """Take note of shards that were written since, by whomever, or deleted."""
        try:
            names = os.listdir(self._folder)
        except OSError:  # deleted since, or without rights
            names = []
        if any(name.startswith(UNFINISHED) for name in names):
            sweep(self._folder)
        there = {name for name in names if name.endswith(".npy")}
        if self._seen - there:  # numbers are never given again: other threads may hold them
            self._seen, self._number = set(), {}
        for name in sorted(there - self._seen):
            self._note(self._folder / name)
        self._seen = there

    def _note(self, path: Path) -> None:
        try:
            digests = self._digests(path)
        except FileNotFoundError:  # deleted meanwhile
            return
        except MemoryError:
            raise
        except Exception as error:  # numpy has many for damaged headers, a TokenError among them
            _set_aside(path, error)
            return
        start = self._ends[-1]
        self._paths.append(path)
        self._ends.append(start + len(digests))
        self._number.update(zip(digests, range(start, self._ends[-1]), strict=True))

    def _digests(self, path: Path) -> list[bytes]:
        """Return the digests of a shard, after a look at all of it."""
        shard = np.load(path, mmap_mode="r")
        if shard.ndim != 1 or shard.dtype != _record(sum(self.widths)):
            raise ValueError(f"it has {shard.dtype} for layers of {self.widths} columns")
        told = path.stem.partition("-")[2]
        # Without the widths, as it was at first: a name without a checksum is older still.
        if told and told not in (_checksum(shard, self.widths), _checksum(shard, None)):
            raise ValueError("its checksum is another than that in its name")
        return np.ascontiguousarray(shard["digest"]).tolist()


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


def key_of(
    network: str,
    preprocessing: Any,
    layers: tuple[dict[str, Any], dict[str, int]],
    how: tuple[str, ...],
    shape: Any,
) -> str:
    """Hash a network and every setting that changes its features by more than rounding.

    The device, the size of batches and the engine do not: engines agree to 1e-4, and where they
    do not, an error says so.

    Parameters
    ----------
    network : str
        The network's fingerprint.
    preprocessing : callable or None
        What pictures are preprocessed by.
    layers : tuple of dict
        How each layer is pooled, and the axes of channels that the user gave.
    how : tuple of str
        Precision, and what else there is.
    shape : tuple
        Shape of one sample.

    Returns
    -------
    str
        The key of a store.
    """
    code = None if preprocessing is None else fingerprint(preprocessing)
    poolings, axes = layers
    pooled = [p if isinstance(p, str) else fingerprint(p) for p in poolings.values()]
    setting = tuple(poolings), tuple(pooled), tuple(axes.items()), *how
    return _key(network, code, setting, shape)


_key = lru_cache(maxsize=256)(fingerprint)  # asked for in every fold


@lru_cache(maxsize=64)
def _opened(folder: str, key: str) -> FeatureStore:
    return FeatureStore(Path(folder) / "sklearn_densconf" / key)


def _record(width: int) -> np.dtype:
    return np.dtype([("digest", f"V{DIGEST_BYTES}"), ("features", "<f4", (width,))])


def _checksum(shard: np.ndarray, widths: list[int] | None) -> str:
    """Hash a shard, and which of its columns are of which layer."""
    key = b"" if widths is None else hashlib.sha256(repr(widths).encode()).digest()
    return hashlib.blake2b(shard.data, digest_size=8, key=key).hexdigest()


class _Newer(Exception):
    """What is said of a folder that a newer version wrote."""


def _checked_widths(widths: Any) -> list[int]:
    if isinstance(widths, dict) and "version" in widths:
        raise _Newer(f"a newer version wrote it, {widths['version']!r}: update sklearn_densconf")
    is_right = isinstance(widths, list) and all(type(each) is int and each > 0 for each in widths)
    if not is_right or not widths:
        raise ValueError(f"it has {widths!r} for the numbers of columns")
    return widths


def _set_aside(path: Path, error: Exception) -> None:
    """Rename a damaged file, so that it is looked at once and can be looked into."""
    done = "it is left out"
    with suppress(OSError):  # another process was first, or the folder cannot be written
        path.replace(path.with_name(f"{path.name}.damaged"))
        done = f"it is set aside as {path.name}.damaged"
    warnings.warn(
        f"{path} cannot be read ({error}): {done}, and what it held is computed again",
        UserWarning,
        stacklevel=2,
    )
