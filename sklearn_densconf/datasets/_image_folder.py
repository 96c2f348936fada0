"""Trees of pictures with one folder per class, read lazily: as paths, nothing decoded."""

import os
from collections.abc import Sequence
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
    suffix is not that of a picture, are skipped.

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
        folder, classes, [_list_pictures(folder / name) for name in classes], min_pictures
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


def _list_pictures(folder: Path) -> list[str]:
    """Return the pictures in a folder and those below it, sorted."""
    found: list[str] = []
    for root, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(root, name) for name in files if _is_picture(name)]
    return sorted(found)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES) and not name.startswith(".")
