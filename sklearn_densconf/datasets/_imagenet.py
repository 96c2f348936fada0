"""ImageNet as its owners unpack it, and subsets of it in the same layout."""

import re
from collections import Counter, defaultdict
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sklearn_densconf.datasets._image_folder import _gather, _list_folders, _list_pictures
from sklearn_densconf.datasets._matlab import read_struct

_SPLITS = ("train", "val")
_GROUND_TRUTH, _META = "ILSVRC2012_validation_ground_truth.txt", "meta.mat"
_N_CLASSES = 1000
_FETCH = "unpack it again from ILSVRC2012_devkit_t12.tar.gz"


def load_imagenet(
    folder: str | PathLike[str], *, split: str = "val", links_outside: bool = False
) -> Bunch:
    """List the pictures of ILSVRC2012, or of a subset of its classes, in its folder layout.

    Classes are numbered as networks trained on ImageNet number them: 0-999 in the order of the
    sorted WordNet ids, whichever of them are present. Nothing is opened; pictures are sorted by
    class and path.

    Three layouts are read:

    - ``folder/<split>/<wnid>/*.JPEG``, for training and validation;
    - ``folder/val/ILSVRC2012_val_*.JPEG``, flat as it is unpacked, with the development kit's
      ``ILSVRC2012_validation_ground_truth.txt`` and ``meta.mat`` in ``folder`` or up to two folders
      below it;
    - several of these side by side, ``folder/<collection>/<split>/...``: their union.

    Parameters
    ----------
    folder : str or path-like
        Folder that holds the splits, or collections that do.
    split : {"train", "val"}, default="val"
        Which part to list.
    links_outside : bool, default=False
        Whether links that lead out of ``folder`` are followed; else they are left out with a
        warning. No folder is read twice for a class.

    Returns
    -------
    Bunch
        ``paths``, list of str of length n_pictures; ``y``, ndarray of shape (n_pictures,), int64,
        classes 0-999; ``classes``, ndarray of shape (1000,), str, the WordNet ids, so that
        ``classes[y]`` are those of the pictures and ``np.unique(y)`` the classes present.

    Raises
    ------
    FileNotFoundError
        If there is no such split, or flat pictures come without the development kit.
    ValueError
        If ``split`` is unknown, there are no pictures, a folder is not named by a WordNet id of
        ILSVRC2012, a flat picture has no entry in the ground truth, a file of the development kit
        is damaged, or a class has fewer than 2 pictures.

    References
    ----------
    O. Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 115, 2015. The
    development kit numbers the classes differently (``ILSVRC2012_ID``); torchvision and timm number
    them as here.

    Examples
    --------
    >>> from sklearn_densconf.datasets import load_imagenet
    >>> pictures = load_imagenet("data/ILSVRC2012", split="val")  # doctest: +SKIP
    >>> len(pictures.paths), pictures.y.min(), pictures.y.max()  # doctest: +SKIP
    (50000, 0, 999)
    """
    folder = Path(folder)
    if split not in _SPLITS:
        raise ValueError(f"split must be one of {list(_SPLITS)}, got {split!r}")
    paths: dict[str, list[str]] = defaultdict(list)
    for collection in _find_collections(folder, split):
        within = None if links_outside else folder
        for wnid, found in _list_split(collection, split, within).items():
            paths[wnid] += found
    present = sorted(paths)
    pictures = _gather(folder / split, present, [paths[wnid] for wnid in present], 2)
    wnids = _wnids()
    pictures.y = np.searchsorted(wnids, pictures.classes)[pictures.y]
    pictures.classes = wnids.copy()  # the cached array is shared: a caller may write to this one
    return pictures


@cache
def _wnids() -> np.ndarray:
    """Return the WordNet ids of the 1000 classes, sorted as the outputs of every network are."""
    return np.array(files(__package__).joinpath("imagenet_wnids.txt").read_text().split())


def _find_collections(folder: Path, split: str) -> list[Path]:
    """Return the folders that hold the split: the folder itself, or else those directly in it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: pass that of ILSVRC2012")
    candidates = [folder, *(folder / name for name in _list_folders(folder))]
    found = [candidate for candidate in candidates if (candidate / split).is_dir()]
    if not found:
        raise FileNotFoundError(
            f"{folder} has no split {split!r}, only {_list_folders(folder)}: expected "
            f"{folder / split / '<wnid>' / '*.JPEG'}"
        )
    return found[:1] if found[0] == folder else found


def _list_split(collection: Path, split: str, within: Path | None) -> dict[str, list[str]]:
    """Return the pictures of each WordNet id in one collection."""
    wnids = _list_folders(collection / split)
    unknown = sorted(set(wnids) - set(_wnids()))
    if unknown:
        raise ValueError(
            f"{collection / split} has folders whose names are not WordNet ids of ILSVRC2012: "
            f"{unknown[:5]}; for other classes use load_image_folder"
        )
    if wnids:
        return {
            wnid: _list_pictures(collection / split / wnid, collection / split, within)
            for wnid in wnids
        }
    return _sort_flat(collection, _list_pictures(collection / split, collection, within))


def _sort_flat(collection: Path, pictures: list[str]) -> dict[str, list[str]]:
    """Sort flat validation pictures into classes by the number in their names."""
    truth = _read_ground_truth(collection) if pictures else []
    paths = defaultdict(list)
    for picture in pictures:
        name = re.fullmatch(r"ILSVRC2012_val_(\d+)", Path(picture).stem)
        if name is None or not 1 <= int(name[1]) <= len(truth):
            raise ValueError(
                f"{picture} has no entry in {_GROUND_TRUTH} of {len(truth)} pictures: expected "
                f"ILSVRC2012_val_00000001.JPEG and so on, or a folder for each WordNet id"
            )
        paths[truth[int(name[1]) - 1]].append(picture)
    return paths


def _read_ground_truth(collection: Path) -> list[str]:
    """Return the WordNet id of each validation picture, from the development kit."""
    wnid_of = _read_synsets(_find_devkit(collection, _META))
    path = _find_devkit(collection, _GROUND_TRUTH)
    entries = path.read_bytes().split()
    if unknown := [entry for entry in entries if not entry.isdigit() or int(entry) not in wnid_of]:
        raise ValueError(
            f"{path} is damaged: {unknown[0][:20]!r} is not the number of a class; {_FETCH}"
        )
    numbers = [int(entry) for entry in entries]
    counts = set(Counter(numbers).values())
    if len(wnid_of) == _N_CLASSES and (len(numbers) != 50 * _N_CLASSES or counts != {50}):
        raise ValueError(
            f"{path} is damaged: it has {len(numbers)} entries, {sorted(counts)[:3]} per class, "
            f"instead of 50 for each of {_N_CLASSES} classes; {_FETCH}"
        )
    return [wnid_of[number] for number in numbers]


def _read_synsets(path: Path) -> dict[int, str]:
    """Return the WordNet id of each number of a class; inner nodes have numbers above 1000.

    The kit's own checksum is published for its archive only. Numbers and ids that are all known,
    and each there once, are a permutation: no single damaged byte gives another one.
    """
    try:
        synsets = read_struct(path.read_bytes(), "synsets")
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); {_FETCH}") from error
    pairs = [(synset.get("ILSVRC2012_ID", 0), synset.get("WNID", "")) for synset in synsets]
    leaves = [(number, wnid) for number, wnid in pairs if number in range(1, _N_CLASSES + 1)]
    wnid_of = {int(number): wnid for number, wnid in leaves}
    wnids = set(wnid_of.values())
    if len(wnids) < len(leaves) or wnids - set(_wnids().tolist()):
        raise ValueError(f"{path} is damaged: its classes are not those of ILSVRC2012; {_FETCH}")
    return wnid_of


def _find_devkit(collection: Path, name: str) -> Path:
    for pattern in (name, f"*/{name}", f"*/data/{name}"):  # never into the folders of pictures
        for path in sorted(collection.glob(pattern)):
            return path
    raise FileNotFoundError(
        f"{collection} has pictures without class folders and no {name}: unpack "
        f"ILSVRC2012_devkit_t12.tar.gz there, or sort the pictures into WordNet id folders"
    )
