"""A folder of shards that one run owns, and goes on with after a kill.

Its manifest, ``run.json``, says what the run is (model, samples, method), and which files are its
own: name, rows, and the SHA-256 of the bytes. No other file is ever replaced or deleted, but for
temporary ones, whose names tell. A kill may come between a file and its note: then the file's own
checksum, which has the run in it, says whose it is.
"""

import hashlib
import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sklearn_densconf._files import (
    UNFINISHED,
    delete_unfinished,
    is_sound,
    is_unfinished,
    write_content,
)
from sklearn_densconf.distributed._model_file import delete_model

MANIFEST = "run.json"
VERSION = 2  # of the folder; 1 had no list of files
NOTE_EVERY = 1.0  # seconds: a manifest of many files takes time to write


class Run:
    """The files of one run in a folder.

    Parameters
    ----------
    folder : Path
        The folder, made if it is missing.
    about : dict of str to object
        What the run is.
    n_rows : mapping of Path to int
        Every file that the run may write there, and its number of rows.

    Raises
    ------
    ValueError
        If the folder is another run's, its manifest is damaged or of a newer version, or a file
        of these names is there that this run did not write.
    """

    def __init__(self, folder: Path, about: dict[str, Any], n_rows: Mapping[Path, int]) -> None:
        self._path, self._about, self._n_rows = folder / MANIFEST, about, n_rows
        self.key = json.dumps(about)
        folder.mkdir(parents=True, exist_ok=True)
        found = _read_manifest(self._path) if self._path.exists() else None
        if found is not None:
            self._check(found)
        self._files: dict[str, dict[str, Any]] = (found or {}).get("files", {})
        self._is_old = found is not None and "files" not in found
        self._written = 0.0
        if self._adopt() or found is None or self._is_old:
            self._write()

    def has(self, path: Path) -> bool:
        """Check a file of an earlier call; one that is damaged is told, to be written again."""
        if not path.exists():
            return False
        noted = self._files.get(path.name)
        if noted is not None and noted["sha256"] == sha256_of(path):
            return True
        if sha256 := self._sha256(path):  # killed between the file and its note
            self._set(path, sha256)
            return True
        warnings.warn(
            f"{path} is not as this run wrote it: its results are computed again",
            RuntimeWarning,
            stacklevel=3,
        )
        return False

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Have the manifest written at the end, whatever comes."""
        try:
            yield
        except BaseException:
            with suppress(OSError):  # of a full disk the first error counts
                self._write()
            raise
        self._write()

    def note(self, path: Path, sha256: str) -> None:
        """Note a file that was just written."""
        self._set(path, sha256)
        if time.monotonic() > self._written + NOTE_EVERY:
            self._write()

    def delete(self, paths: list[Path]) -> None:
        """Delete files that are noted, and their notes."""
        noted = [path for path in paths if path.name in self._files]
        for path in noted:
            path.unlink(missing_ok=True)
            del self._files[path.name]
        if noted:
            self._write()

    def _check(self, found: dict[str, Any]) -> None:
        if differing := [name for name, value in self._about.items() if found.get(name) != value]:
            raise ValueError(
                f"{self._path.parent} has results of another run, with another "
                f"{' and another '.join(differing)}: pass another folder, or delete this one"
            )

    def _adopt(self) -> bool:
        """Note files that a kill left without a note; refuse those that this run did not write."""
        unnoted = {
            path: self._sha256(path)
            for path in self._n_rows
            if path.name not in self._files and path.exists()
        }
        others = [path.name for path, sha256 in unnoted.items() if not sha256]
        if others and not self._is_old:  # in an old folder all of these names are its own
            raise ValueError(
                f"{self._path.parent} has {others[:3]}, which no run wrote that began there: pass "
                "another folder, or move these files"
            )
        for path, sha256 in unnoted.items():
            self._set(path, sha256)
        return bool(unnoted)

    def _sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file that this run wrote, nothing of any other."""
        is_ours = is_sound(path, key_of(path, self.key), self._n_rows[path])
        return sha256_of(path) if is_ours else ""

    def _set(self, path: Path, sha256: str) -> None:
        self._files[path.name] = {"rows": self._n_rows[path], "sha256": sha256}

    def _write(self) -> None:
        content = {"version": VERSION, **self._about, "files": self._files}
        content["checksum"] = _checksum(content)
        write_content(self._path, json.dumps(content, indent=1).encode())
        self._written = time.monotonic()


def delete_run(folder: Path) -> None:
    """Delete the files in a run's manifest, and then the manifest; of no folder nothing."""
    with suppress(OSError, ValueError):  # where nobody knows whose files they are, they stay
        for name in _read_manifest(folder / MANIFEST).get("files", {}):
            if Path(name).name == name:  # in this folder, and in no other
                (folder / name).unlink(missing_ok=True)
        (folder / MANIFEST).unlink()


def key_of(path: Path, key: str) -> str:
    """Return a key of one file, so that a shard does not pass for another one either."""
    return f"{path.name} of {key}"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sweep(folder: Path) -> None:
    """Delete what a killed run left half done: only files and folders that are named as ours."""
    for path in folder.glob(f"{UNFINISHED}*"):
        if path.is_dir() and re.fullmatch(rf"{UNFINISHED}model-\w{{8}}", path.name):
            delete_model(path)
        elif path.is_file() and is_unfinished(path):
            delete_unfinished(path)


def _read_manifest(path: Path) -> dict[str, Any]:
    """Return a manifest that is as it was written."""
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        version = found.get("version", 1)
        is_known = version in (1, VERSION)
        has_checksum = version == VERSION or "files" in found
        if is_known and has_checksum and found.pop("checksum", None) != _checksum(found):
            raise ValueError("its checksum is another")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged ({error}), so nobody knows whose results these are: pass another "
            "folder, or delete this one"
        ) from error
    if not is_known:
        raise ValueError(
            f"{path} is of version {version!r}, and this version of sklearn_densconf knows "
            f"{VERSION}: update it, or pass another folder"
        )
    return found


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
