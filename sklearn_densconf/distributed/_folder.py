"""A folder of shards that one run owns, and goes on with after a kill."""

import json
import re
import warnings
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

VERSION = 1  # of the folder


def claim(folder: Path, about: dict[str, Any], files: list[Path]) -> None:
    """Take a folder for a run, or go on with the same run in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "run.json"
    if not path.exists():
        if others := [file.name for file in files if file.exists()]:
            raise ValueError(
                f"{folder} has {others[:3]}, which no run wrote that began there: pass another "
                "folder, or move these files"
            )
        write_content(path, json.dumps({"version": VERSION, **about}).encode())
    found = _read_run(path)
    if (version := found.get("version", 1)) != VERSION:
        raise ValueError(
            f"{path} is of version {version!r}, and this version of sklearn_densconf knows "
            f"{VERSION}: update it, or pass another folder"
        )
    if differing := [name for name, value in about.items() if found.get(name) != value]:
        raise ValueError(
            f"{folder} has results of another run, with another {' and another '.join(differing)}: "
            "pass another folder, or delete this one"
        )


def _read_run(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}), so nobody knows whose results these are: pass another "
            "folder, or delete this one"
        ) from error
    return found if isinstance(found, dict) else {}


def is_there(path: Path, key: str, n_rows: int) -> bool:
    """Check a file of an earlier call; what is damaged is told, and computed again."""
    there = is_sound(path, key_of(path, key), n_rows)
    if not there and path.exists():
        warnings.warn(
            f"{path} is not as this run wrote it: its results are computed again",
            RuntimeWarning,
            stacklevel=3,
        )
    return there


def key_of(path: Path, key: str) -> str:
    """Return a key of one file, so that a shard does not pass for another one either."""
    return f"{path.name} of {key}"


def sweep(folder: Path) -> None:
    """Delete what a killed run left half done: only files and folders that are named as ours."""
    for path in folder.glob(f"{UNFINISHED}*"):
        if path.is_dir() and re.fullmatch(rf"{UNFINISHED}model-\w{{8}}", path.name):
            delete_model(path)
        elif path.is_file() and is_unfinished(path):
            delete_unfinished(path)
