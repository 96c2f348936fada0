"""Pictures that are read, decoded or preprocessed one by one."""

import io
import math
import os
import time
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from sklearn_densconf._modes import DEEP_TILES, converted, is_grey, mark_deep
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features.inputs._batch import input_of
from sklearn_densconf.features.inputs._containers import Field, is_text, label_of
from sklearn_densconf.features.inputs._digests import digest, start_of
from sklearn_densconf.features.inputs._rows import (
    WHITE,
    check_whole_numbers,
    is_pixels,
    to_array,
    to_tensor,
)
from sklearn_densconf.features.inputs._source import Preprocessing


class Pictures:
    """Pictures that are read, decoded or preprocessed one by one.

    Parameters
    ----------
    items : sequence or Dataset
        Paths, PIL images, arrays, tensors, or (picture, label) tuples of them.
    preprocessing : callable
        From one picture to a float tensor. It gets a PIL image for paths, PIL images and uint8
        arrays (h, w) and (h, w, 3), and a tensor for anything else.
    wanted : tuple of int or None
        Shape that every picture must get. None: that of the first one.
    exif_transpose : bool
        Whether pictures are turned as their EXIF data say.
    floats : torch.dtype
        Type of what the preprocessing makes.
    by_content : bool
        Whether a file is read for each digest, not only once its times have changed.
    """

    in_memory = False

    def __init__(
        self,
        items: Sequence[Any] | Dataset,
        preprocessing: Preprocessing,
        wanted: tuple[int, ...] | None,
        exif_transpose: bool = False,
        floats: torch.dtype = torch.float32,
        *,
        by_content: bool = False,
    ) -> None:
        self._by_content = by_content
        self._items: Any = items  # with a length: `pictures_in` refuses a Dataset without
        self._floats = floats
        self._exif_transpose = exif_transpose
        self._preprocessing = preprocessing
        self.on_disk = not isinstance(items, Dataset) and is_path(items[0])
        self.shape = wanted or tuple(self._tensor(0).shape)
        if wanted is not None:
            self.batch(np.array([0]))  # a wrong shape fails before anything long starts

    def __len__(self) -> int:
        return len(self._items)

    def name(self, index: int) -> str:
        """Name a picture in an error, by its path if it has one."""
        return f"sample {index} ({self._items[index]})" if self.on_disk else f"sample {index}"

    def check(self, indices: np.ndarray) -> None:
        """Read the header of every picture file: a bad one fails before anything long starts."""
        if self.on_disk:
            for index in indices:
                if not (is_path(self._items[index]) or is_file_content(self._items[index])):
                    raise ValueError(
                        f"sample {index} is {self._items[index]!r}, and not the path of a picture: "
                        "drop missing values"
                    )
                _opened(self._items[index]).close()

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        """Return the pictures (n, *shape) as a tensor on the host."""
        return torch.stack([self._checked(index, self._tensor(index)) for index in indices])

    def _item(self, index: int) -> Any:
        item = self._items[index]
        return input_of(item) if isinstance(item, (tuple, list)) else item

    def _tensor(self, index: int) -> torch.Tensor:
        item = self._item(index)
        is_read_here = is_path(item) or is_file_content(item)
        picture = _decoded(item) if is_read_here else _as_picture(item)
        if self._exif_transpose and hasattr(picture, "getexif"):
            picture = import_optional("PIL.ImageOps", "exif_transpose").exif_transpose(picture)
        if not (is_read_here or isinstance(self._preprocessing, Plain)):
            picture = _copy_of(picture)
        try:
            tensor = self._preprocessing(picture)
        except Exception as error:
            error.add_note(f"This was while preprocessing {self.name(index)}.")
            raise
        is_tensor = isinstance(tensor, torch.Tensor)
        if is_tensor and tensor.is_floating_point():
            return tensor.to(self._floats)
        if is_tensor and not tensor.is_complex() and (tensor is picture or tensor.ndim < 2):
            return tensor.to(torch.int64)  # given as integers, and left as they are, or tokens
        got = f"a tensor of {tensor.dtype}" if is_tensor else type(tensor).__name__
        raise TypeError(f"preprocessing must give a float tensor, got {got} for {self.name(index)}")

    def _checked(self, index: int, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape != self.shape:
            cure = "let preprocessing bring all pictures to one size and mode"
            if tensor.ndim == 3 and tensor.shape[0] != self.shape[0]:
                cure += ", such as by picture.convert('RGB')"
            if tensor.ndim < 2 or not tensor.is_floating_point():
                cure = "pad the samples, or give a DataLoader whose collate_fn puts them together"
            raise ValueError(
                f"{self.name(index)} becomes a tensor of shape {tuple(tensor.shape)}, wanted "
                f"{self.shape}: {cure}"
            )
        return tensor

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of pictures: bytes of files, pixels of images in memory."""
        return [_item_digest(self._item(index), self._by_content) for index in indices]

    def content(self, indices: np.ndarray) -> None:
        """Return None: pictures are told apart by digests, which are kept for files."""

    def labels(self) -> np.ndarray | None:
        """Return the labels of (picture, label) tuples."""
        if label_of(self._items[0]) is None:
            return None
        return np.asarray([label_of(self._items[index]) for index in range(len(self))])


class Plain:
    """What is done to a picture without any preprocessing: pixels in [0, 1], channels first.

    Parameters
    ----------
    shape : tuple of int or None
        Its first number is that of the channels: 1 reads pictures in grey, 3 in colour. None
        keeps grey pictures grey.
    floats : torch.dtype
        Type of the result.
    """

    def __init__(self, shape: tuple[int, ...] | None, floats: torch.dtype = torch.float32) -> None:
        self._floats = floats
        self._mode = None if shape is None else {1: "L", 3: "RGB"}.get(shape[0])

    def __call__(self, picture: Any) -> torch.Tensor:
        """Return the tensor of a PIL image; a tensor is given back, uint8 as floats in [0, 1]."""
        if isinstance(picture, torch.Tensor):
            if picture.dtype == torch.uint8:
                return picture.to(self._floats).div(WHITE)
            check_whole_numbers(picture.dtype, tuple(picture.shape), "X")
            return picture
        mode = self._mode or ("L" if is_grey(picture) else "RGB")
        precision = np.float64 if self._floats is torch.float64 else np.float32
        pixels: np.ndarray = np.array(converted(picture, mode), precision)
        np.divide(pixels, WHITE, out=pixels)
        return torch.from_numpy(pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0))


def is_path(item: Any) -> bool:
    """Tell whether something names a file."""
    return isinstance(item, (str, os.PathLike))


def is_file_content(item: Any) -> bool:
    """Tell whether something is what a file holds, such as an upload."""
    return isinstance(item, (bytes, io.BytesIO))


def pictures_in(X: Any) -> Any:
    """Return X as a sequence of pictures that are read one by one; None where it is an array.

    Parameters
    ----------
    X : object
        What the user gave.

    Returns
    -------
    sequence, Dataset or None
        Paths, PIL images, arrays or tensors of at least two axes, or tuples that begin with one.

    Raises
    ------
    ValueError
        If a Dataset is empty, or can only be iterated.
    """
    if isinstance(X, Field):
        return X
    if isinstance(X, Dataset):
        if not hasattr(X, "__len__") or len(X) == 0:
            raise ValueError(f"a Dataset must have a length of at least 1, got {X!r}")
        return X
    items = np.asarray(X) if hasattr(X, "iloc") else X  # a pandas column of paths
    if (
        isinstance(items, np.ndarray)
        and items.dtype.kind in "OUT"
        and items.shape[1:] in ((), (1,))
    ):
        items = items.ravel()
    elif not isinstance(items, (list, tuple)):
        return None
    return items if len(items) and _is_picture(items[0]) else None


def _is_picture(item: Any) -> bool:
    first = item[0] if isinstance(item, tuple) and item else item
    has_axes = isinstance(first, (np.ndarray, torch.Tensor)) and first.ndim >= 2
    return has_axes or is_path(first) or is_file_content(first) or hasattr(first, "convert")


def as_pictures(values: Any, shape: tuple[int, ...] | None) -> Any:
    """Return an array whose rows a preprocessing can take as pictures.

    Parameters
    ----------
    values : ndarray or Tensor of shape (n_samples, ...)
        Pictures, or flat rows of them.
    shape : tuple of int or None
        Shape (c, h, w) of a picture in a flat row.

    Returns
    -------
    ndarray or Tensor
        Grey uint8 pictures have the shape (n, h, w), other flat rows (n, c, h, w).
    """
    if values.ndim > 2 or shape is None:
        return values
    if values.shape[1] != math.prod(shape):
        raise ValueError(f"X has rows of {values.shape[1]} values, which do not fill {shape}")
    is_grey = is_pixels(values) and shape[0] == 1
    return values.reshape(-1, *(shape[1:] if is_grey else shape))


def _as_picture(item: Any) -> Any:
    """Return the PIL image of a uint8 picture, and the tensor of any other array."""
    if not isinstance(item, np.ndarray):
        mark_deep(item)
        return item
    if item.dtype == np.uint8 and (item.ndim == 2 or (item.ndim == 3 and item.shape[-1] == 3)):
        return _pil().fromarray(item)
    return to_tensor(item)


def _copy_of(picture: Any) -> Any:
    """Return what a preprocessing may write into: it would change the picture that the user has."""
    if isinstance(picture, torch.Tensor):
        return picture.clone()
    return picture.copy() if hasattr(picture, "convert") else picture


@cache
def _pil() -> Any:
    return import_optional("PIL.Image", "Reading pictures")


def _opened(file: Any) -> Any:
    """Open a picture and read its header; one of too many pixels is refused before it is decoded.

    PIL itself warns of those, and refuses those of twice as many.
    """
    try:
        picture = _pil().open(_readable(file))
    except FileNotFoundError as error:
        hint = "; for texts, give a tokenizer as preprocessing" if is_text(file) else ""
        raise FileNotFoundError(f"there is no picture {_called(file)}{hint}") from error
    except IsADirectoryError as error:
        raise ValueError(
            f"{_called(file)} is a folder, not a picture: read it by "
            "sklearn_densconf.datasets.load_image_folder, or give its files, such as "
            "Path(folder).glob('*/*.png')"
        ) from error
    except Exception as error:  # PIL raises many kinds on damaged headers, and for bombs
        raise ValueError(f"cannot decode the picture {_called(file)}: {error}") from error
    try:
        _check_size(picture, file)
    except BaseException:  # an interrupt, too, leaves no file open
        picture.close()
        raise
    return picture


def _check_size(picture: Any, file: Any) -> None:
    limit = _pil().MAX_IMAGE_PIXELS
    if limit is not None and picture.width * picture.height > limit:
        raise ValueError(
            f"the picture {_called(file)} has {picture.width} x {picture.height} pixels, more than "
            f"PIL.Image.MAX_IMAGE_PIXELS = {limit}: raise that, or set it to None, if you trust it"
        )


def _decoded(file: Any) -> Any:
    with _opened(file) as picture:
        if DEEP_TILES in str(getattr(picture, "tile", "")):  # of most there is nothing to note
            mark_deep(picture)
        try:
            picture.load()
        except Exception as error:
            raise ValueError(f"cannot decode the picture {_called(file)}: {error}") from error
        return picture


def _readable(file: Any) -> Any:
    """Return what PIL opens; of a buffer a copy, since it may be read before and again."""
    if isinstance(file, io.BytesIO):
        file = file.getvalue()
    return io.BytesIO(file) if isinstance(file, bytes) else file


def _called(file: Any) -> str:
    return repr(os.fspath(file)) if is_path(file) else "in a buffer"


def _item_digest(item: Any, by_content: bool) -> bytes:
    if is_path(item):
        return _read_digest(item) if by_content else file_digest(os.path.abspath(item))
    if is_file_content(item):
        return digest(start_of("file"), item if isinstance(item, bytes) else item.getvalue())
    if hasattr(item, "convert"):
        start = start_of(
            "image", item.mode, item.size, item.getpalette(), sorted(item.info.items())
        )
        return digest(start, item.tobytes())
    values = np.ascontiguousarray(to_array(item))
    kind = "tensor" if isinstance(item, torch.Tensor) else "array"  # only these may become images
    return digest(start_of(kind, values.dtype.str, values.shape), values)


def file_digest(path: str) -> bytes:
    """Hash a file; one that was hashed before is read again if anything about it has changed."""
    about = os.stat(path)
    changed = max(about.st_mtime_ns, about.st_ctime_ns)
    if abs(time.time_ns() - changed) < _JUST_NOW:  # the next change may have the same time
        return _read_digest(path)
    number = about.st_dev, about.st_ino
    return _known_digest(path, number, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@lru_cache(maxsize=2**20)
def _known_digest(path: str, *_about: Any) -> bytes:
    return _read_digest(path)


def _read_digest(path: Any) -> bytes:
    return digest(start_of("file"), Path(path).read_bytes())


_JUST_NOW = 3_000_000_000  # nanoseconds: some file systems count the time in steps of two seconds
