"""Trees of pictures with one folder per class, read lazily: as paths, nothing decoded."""

import math
import os
import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

_SUFFIXES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
)


MOST_PICTURES = 10_000_000  # whose paths take some 2 GB


def load_image_folder(
    folder: str | PathLike[str],
    *,
    min_pictures: int = 2,
    max_pictures: int | None = MOST_PICTURES,
    links_outside: bool = False,
) -> Bunch:
    """List the pictures of a tree with one folder per class: ``folder/<class>/**/<picture>``.

    Nothing is opened, so a million pictures cost their paths; a
    :class:`~sklearn_densconf.FeatureExtractor` decodes them batch by batch. Classes and paths are
    sorted: the same tree gives the same lists everywhere. Hidden files and folders, and files whose
    suffix is not that of a picture, are skipped. Links are followed, but each folder is read once
    per class, and never one that holds the tree, however deep links lead; broken links, and those
    that lead out of the folder, are left out with a warning.

    Parameters
    ----------
    folder : str or path-like
        Folder that holds one folder for each class.
    min_pictures : int, default=2
        Least number of pictures in each class. A variance needs 2; set 1, or 0, to read pictures
        that are only predicted.
    max_pictures : int or None, default=10_000_000
        Most pictures that are listed, so that a wrong folder cannot fill the memory; None is no
        limit.
    links_outside : bool, default=False
        Whether links that lead out of the folder are followed.

    Returns
    -------
    Bunch
        ``paths``, list of str of length n_pictures; ``y``, ndarray of shape (n_pictures,), int64,
        the class of each picture; ``classes``, ndarray of shape (n_classes,), str, the names of the
        folders, so that ``classes[y]`` are the labels in words.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If it holds no class folders with pictures, a class has fewer than ``min_pictures``, or
        there are more than ``max_pictures``.

    Warns
    -----
    UserWarning
        If there are broken links, or links that lead out of the folder.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_densconf.datasets import load_image_folder
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("dog/2.png", "dog/1.png", "cat/1.png", "cat/2.png"):
    ...         Path(folder, name).parent.mkdir(exist_ok=True)
    ...         Path(folder, name).touch()
    ...     pictures = load_image_folder(folder)
    >>> [Path(path).name for path in pictures.paths], pictures.classes[pictures.y].tolist()
    (['1.png', '2.png', '1.png', '2.png'], ['cat', 'cat', 'dog', 'dog'])
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: pass one with a folder for each class")
    classes, left = _list_folders(folder), math.inf if max_pictures is None else max_pictures
    paths = []
    for name in classes:
        within = None if links_outside else folder
        paths.append(_list_pictures(folder / name, folder, within, most=left))
        left -= len(paths[-1])
    return _gather(folder, classes, paths, min_pictures)


def _gather(
    folder: Path, classes: Sequence[str], paths: Sequence[list[str]], min_pictures: int
) -> Bunch:
    """Join the paths of all classes into one list; refuse classes with too few pictures."""
    counts = [len(class_paths) for class_paths in paths]
    if not any(counts):
        raise ValueError(
            f"{folder} has no pictures: expected {folder / '<class>' / '<picture>'} with one of "
            f"the suffixes {' '.join(_SUFFIXES)}"
        )
    scarce = [f"{name} ({n})" for name, n in zip(classes, counts, strict=True) if n < min_pictures]
    if scarce:
        raise ValueError(
            f"{folder} has fewer than {min_pictures} pictures in {len(scarce)} of its classes: "
            f"{', '.join(scarce[:5])}; add pictures or remove those folders"
        )
    y = np.repeat(np.arange(len(classes)), counts)
    return Bunch(
        paths=[path for class_paths in paths for path in class_paths],
        y=y,
        classes=np.array(classes),
    )


def _list_folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _list_pictures(
    folder: Path, tree: Path, within: Path | None, *, most: float = math.inf
) -> list[str]:
    """Return the pictures in a folder and those below it, sorted.

    Links are followed, but no folder is read twice, and none that holds the tree: through a link
    to it, the pictures of all classes would be listed in one. None leads out of ``within``.
    """
    root, whole = within and within.resolve(), tree.resolve()
    seen = {_number_of(path) for path in (whole, *whole.parents)}
    waiting, found, others, outside = [os.fspath(folder)], [], [], []
    while waiting:
        path = waiting.pop()
        if (number := _number_of(path)) in seen:
            continue
        if _leads_out(path, root):
            outside.append(path)
            continue
        seen.add(number)
        folders, files, no_files = _contents(path)
        waiting += folders[::-1]
        outside += [file for file in files if _leads_out(file, root)]
        found += [file for file in files if not _leads_out(file, root)]
        others += no_files
        if len(found) > most:
            raise ValueError(f"{tree} has more pictures than max_pictures: raise it if all count")
    _warn_of(folder, others, outside)
    return sorted(found)


def _contents(path: str) -> tuple[list[str], list[str], list[str]]:
    """List the folders in a folder, its pictures, and what is named as one and is no file."""
    with os.scandir(path) as entries:
        visible = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
    folders = [entry.path for entry in visible if _is_there(entry.is_dir)]
    named = [entry for entry in visible if _is_picture(entry.name)]
    files = [entry.path for entry in named if _is_there(entry.is_file)]
    others = {entry.path for entry in named} - {*files, *folders}
    return folders, files, sorted(others)


def _leads_out(path: str, root: Path | None) -> bool:
    """Tell whether a path is a link to what does not lie in a folder."""
    if root is None or not os.path.islink(path):
        return False
    return not Path(path).resolve().is_relative_to(root)


def _number_of(path: str | PathLike[str]) -> tuple[int, int]:
    """Return what is the same for all names of a folder."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_there(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a link to itself
        return False


def _warn_of(folder: Path, others: list[str], outside: list[str]) -> None:
    if others:
        warnings.warn(
            f"{folder} has {len(others)} names of pictures that are no files, but broken links, "
            f"pipes or devices, such as {others[0]}: they are left out",
            UserWarning,
            stacklevel=4,
        )
    if outside:
        warnings.warn(
            f"{folder} has {len(outside)} links that lead out of the folder, such as {outside[0]}: "
            "they are left out. To follow them, pass links_outside=True (--links-outside)",
            UserWarning,
            stacklevel=4,
        )


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)
