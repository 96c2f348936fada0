"""Trees of pictures with one folder per class, read lazily: as paths, nothing decoded."""

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


def load_image_folder(folder: str | PathLike[str], *, min_pictures: int = 2) -> Bunch:
    """List the pictures of a tree with one folder per class: ``folder/<class>/**/<picture>``.

    Nothing is opened, so a million pictures cost their paths; a
    :class:`~sklearn_densconf.FeatureExtractor` decodes them batch by batch. Classes and paths are
    sorted: the same tree gives the same lists everywhere. Hidden files and folders, and files whose
    suffix is not that of a picture, are skipped. Links are followed, but each folder is read once
    per class, and never one that holds the tree; broken links are left out with a warning.

    Parameters
    ----------
    folder : str or path-like
        Folder that holds one folder for each class.
    min_pictures : int, default=2
        Least number of pictures in each class. A variance needs 2; set 1, or 0, to read pictures
        that are only predicted.

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
        If it holds no class folders with pictures, or a class has fewer than ``min_pictures``.

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
    classes = _list_folders(folder)
    return _gather(
        folder, classes, [_list_pictures(folder / name, folder) for name in classes], min_pictures
    )


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


def _list_pictures(folder: Path, tree: Path) -> list[str]:
    """Return the pictures in a folder and those below it, sorted.

    Links are followed, but no folder is read twice, and none that holds the tree: through a link
    to it, the pictures of all classes would be listed in one.
    """
    whole = tree.resolve()
    seen = {_number_of(path) for path in (whole, *whole.parents)}
    waiting, found, others = [os.fspath(folder)], [], []
    while waiting:
        path = waiting.pop()
        if (number := _number_of(path)) in seen:
            continue
        seen.add(number)
        with os.scandir(path) as entries:
            visible = sorted((e for e in entries if e.name[0] != "."), key=lambda e: e.name)
        waiting += [entry.path for entry in reversed(visible) if _is_there(entry.is_dir)]
        pictures = [entry for entry in visible if _is_picture(entry.name)]
        found += [entry.path for entry in pictures if _is_there(entry.is_file)]
        others += [entry.path for entry in pictures if not _is_there(entry.is_file)]
    _warn_of(folder, [path for path in others if not os.path.isdir(path)])
    return sorted(found)


def _number_of(path: str | PathLike[str]) -> tuple[int, int]:
    """Return what is the same for all names of a folder."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _is_there(check: Callable[[], bool]) -> bool:
    try:
        return check()
    except OSError:  # a link to itself
        return False


def _warn_of(folder: Path, others: list[str]) -> None:
    if others:
        warnings.warn(
            f"{folder} has {len(others)} names of pictures that are no files, but broken links, "
            f"pipes or devices, such as {others[0]}: they are left out",
            UserWarning,
            stacklevel=4,
        )


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)
