"""Which pictures there are to score: folders, lists and patterns as one list on disk.

The list is as long as it likes: memory holds the names of one folder, and where each shard begins.
"""

import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sklearn_densconf.datasets._image_folder import _is_picture as is_picture


@dataclass(frozen=True)
class Listing:
    """Paths in a file, one after another.

    Parameters
    ----------
    path : Path
        The file: names as the system has them, each ended by a zero byte, which none can hold.
    starts : list of int
        Where each shard begins, in bytes.
    n_pictures : int
        Number of paths.
    digest : str
        Hash of all.
    shard_size : int
        Number of paths in a shard; the last may be shorter.
    """

    path: Path
    starts: list[int]
    n_pictures: int
    digest: str
    shard_size: int

    def __len__(self) -> int:
        return len(self.starts)

    def size(self, number: int) -> int:
        """Return the number of pictures in a shard."""
        return min(self.shard_size, self.n_pictures - number * self.shard_size)

    def shard(self, number: int) -> list[str]:
        """Return the paths of a shard."""
        end = self.starts[number + 1] if number + 1 < len(self) else None
        with self.path.open("rb") as file:
            file.seek(self.starts[number])
            content = file.read() if end is None else file.read(end - self.starts[number])
        return [os.fsdecode(name) for name in content.split(b"\0")[:-1]]


def write_listing(paths: Iterable[str], written: Path, place: Path, shard_size: int) -> Listing:
    """Write paths to a file.

    Parameters
    ----------
    paths : iterable of str
        The paths, as `find_pictures` yields them.
    written : Path
        The file to write.
    place : Path
        The name that it will have.
    shard_size : int
        Number of paths in a shard.

    Returns
    -------
    Listing
        The list.

    Raises
    ------
    ValueError
        If there are none.
    """
    digest, starts, position, n = hashlib.sha256(), [], 0, 0
    with written.open("wb") as file:
        for path in paths:
            if n % shard_size == 0:
                starts.append(position)
            name = os.fsencode(path) + b"\0"
            digest.update(name)
            position += file.write(name)
            n += 1
    if not n:
        raise ValueError("there are no pictures in INPUT: give a folder, a list or a pattern")
    return Listing(place, starts, n, digest.hexdigest(), shard_size)


def find_pictures(inputs: Sequence[str]) -> Iterator[str]:
    """Yield the pictures of all inputs, in an order that is always the same.

    Parameters
    ----------
    inputs : sequence of str
        Folders, read with all that is below them but hidden names; pictures; text files with one
        path a line; or patterns such as "photos/**/*.jpg".

    Yields
    ------
    str
        Paths; those in a text file as they stand there, but for empty lines.

    Raises
    ------
    FileNotFoundError
        If an input is not there, or a pattern matches nothing.
    """
    for each in inputs:
        if os.path.isdir(each):
            yield from _below(each, set())
        elif os.path.isfile(each):
            yield from [each] if is_picture(each) else _lines(each)
        else:
            yield from _matching(each)


def _below(folder: str, seen: set[tuple[int, int]]) -> Iterator[str]:
    """Yield the pictures of a folder, then of those in it; through links, but none twice."""
    status = os.stat(folder)
    if (number := (status.st_dev, status.st_ino)) in seen:
        return
    seen.add(number)
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    paths = [os.path.join(folder, name) for name in names]
    named = [path for path in paths if is_picture(path)]
    # Broken links too, since they are missed otherwise; no pipes, which would be waited for.
    yield from (path for path in named if os.path.isfile(path) or not os.path.exists(path))
    for path in paths:
        if os.path.isdir(path):
            yield from _below(path, seen)


def _lines(path: str) -> Iterator[str]:
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            name = line.rstrip(b"\r\n")
            if b"\0" in name:
                raise ValueError(
                    f"{path} is neither a picture nor a list of paths: line {number} has a zero "
                    "byte. Give a folder, or a text file with one path a line"
                )
            if name:
                yield os.fsdecode(name)


def _matching(pattern: str) -> Iterator[str]:
    found = sorted(glob.iglob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    if not found:
        raise FileNotFoundError(f"INPUT {pattern!r} is neither there nor a pattern of what is")
    yield from (path for path in found if os.path.isfile(path))
