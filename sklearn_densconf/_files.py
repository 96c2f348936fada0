"""Files that are there whole or not at all. A leaf.

Everything is written under another name beside its place and then renamed, which POSIX and
Windows do in one step: whoever dies meanwhile, a reader never sees half a file.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

UNFINISHED = "unfinished-"  # how the names of all that is temporary begin


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield another name to write to; the file gets its own name only once it is whole.

    Parameters
    ----------
    path : Path
        The file's own name; a file that is there is replaced.

    Yields
    ------
    Path
        The name to write to, in the same folder; removed if anything fails.
    """
    unfinished = path.with_name(f"{UNFINISHED}{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def whole_files(folder: Path) -> Iterator[Path]:
    """Yield a temporary folder; its files move into ``folder`` together, once all are written.

    Parameters
    ----------
    folder : Path
        Where the files shall be, made if it is missing; files of the same names are replaced.

    Yields
    ------
    Path
        The folder to write to; removed, with all that is in it, if anything fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=UNFINISHED) as name:
        yield Path(name)
        for path in sorted(Path(name).iterdir()):
            os.replace(path, folder / path.name)
