"""What a comparison has measured, kept case by case: an interrupted command goes on from there.

A leaf.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sklearn_densconf._files import whole_file
from sklearn_densconf._fingerprint import fingerprint

_PACKAGE = Path(__file__).parents[1]


class Kept:
    """Results in files, under a key of all that they depend on, the code of this package too.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    *values : object
        What they depend on: numbers, strings, arrays.
    """

    def __init__(self, folder: Path, *values: Any) -> None:
        self._folder = folder / "measured" / fingerprint(_code(), *values)[:32]

    def result(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return what was computed under this name before, else compute and keep it."""
        path = self._folder / f"{name}.json"
        if path.is_file():
            return json.loads(path.read_text(encoding="utf-8"))
        result = compute()
        self._folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(result), encoding="utf-8")
        return result


def _code() -> str:
    """Return a hash of this package's code: other code may measure something else."""
    files = sorted(_PACKAGE.rglob("*.py"))
    parts = (hashlib.sha256(path.read_bytes()).digest() for path in files)
    return hashlib.sha256(b"".join(parts)).hexdigest()
