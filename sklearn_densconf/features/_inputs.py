"""What can be given as X, turned into batches of float tensors on the host.

Two sources have the same four members: ``len``, ``shape`` (of one sample), ``batch(indices)`` and
``digests(indices)``. `Rows` holds arrays and tensors and works on whole batches; `Pictures` holds
anything that is read, decoded or preprocessed one by one.
"""

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from sklearn_densconf._optional import import_optional

Preprocessing = Callable[[Any], torch.Tensor]
DIGEST_BYTES = 16
WHITE = 255.0


class Rows:
    """Arrays or tensors whose first axis is the sample, as batches without per-row work.

    Parameters
    ----------
    values : ndarray or Tensor of shape (n_samples, ...)
        The samples; uint8 values are pixels in 0-255 and become floats in [0, 1].
    wanted : tuple of int or None
        Shape of one sample for the network; flat rows, and greyscale pictures without a channel
        axis, are brought to it. None: the values' own.
    """

    def __init__(self, values: Any, wanted: tuple[int, ...] | None) -> None:
        self._values = values
        self._is_pixels = is_pixels(values)
        self._channels_last = self._is_pixels and _has_channels_last(values.shape[1:], wanted)
        got = _channels_first(tuple(values.shape[1:]), self._is_pixels, self._channels_last)
        self.shape = _shape_for(got, wanted)

    def __len__(self) -> int:
        return len(self._values)

    def name(self, index: int) -> str:
        """Name a sample in an error."""
        return f"sample {index}"

    def check(self, indices: np.ndarray) -> None:
        """Do nothing: there are no files to open."""

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        """Give the samples (n, *shape) as a float32 tensor, where the values are."""
        batch = _to_tensor(self._values[_consecutive(indices)])
        if self._channels_last:
            batch = batch.movedim(-1, 1)
        batch = batch.reshape(len(batch), *self.shape).to(torch.float32)
        if self._is_pixels:
            return batch.div_(WHITE)
        if batch.device.type == "cpu" and not math.isfinite(float(batch.sum())):
            self._refuse_infinite(batch, indices)
        return batch

    def _refuse_infinite(self, batch: torch.Tensor, indices: np.ndarray) -> None:
        bad = ~torch.isfinite(batch.flatten(1)).all(1)
        if bad.any():
            index = int(indices[bad.numpy()][0])
            raise ValueError(
                f"Input X contains NaN, infinity or a value too large for float32, first in "
                f"{self.name(index)}"
            )

    @property
    def kind(self) -> tuple[str, tuple[int, ...], bool]:
        """What equal values must share to be equal samples."""
        return str(self._values.dtype), self.shape, self._channels_last

    def content(self, indices: np.ndarray) -> np.ndarray:
        """Give the samples as they are, flat, on the host and contiguous: (n, n_values)."""
        values = to_array(self._values[_consecutive(indices)])
        return np.ascontiguousarray(values).reshape(len(values), -1)

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of samples, type and shape included."""
        values = self.content(indices)
        start = _start("row", values.dtype.str, self.shape, self._channels_last)
        return [_digest(start, row) for row in values.view(np.uint8)]


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
    """

    def __init__(
        self,
        items: Sequence[Any] | Dataset,
        preprocessing: Preprocessing,
        wanted: tuple[int, ...] | None,
    ) -> None:
        self._items = items
        self._preprocessing = preprocessing
        self._are_files = not isinstance(items, Dataset) and is_path(items[0])
        self.shape = wanted or tuple(self._tensor(0).shape)
        if wanted is not None:
            self.batch(np.array([0]))  # a wrong shape fails before anything long starts

    def __len__(self) -> int:
        return len(self._items)  # type: ignore[arg-type]

    def name(self, index: int) -> str:
        """Name a picture in an error, by its path if it has one."""
        return f"sample {index} ({self._items[index]})" if self._are_files else f"sample {index}"

    def check(self, indices: np.ndarray) -> None:
        """Read the header of every picture file: a bad one fails before anything long starts."""
        if self._are_files:
            for index in indices:
                _opened(self._items[index]).close()

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        """Give the pictures (n, *shape) as a float32 tensor on the host."""
        return torch.stack([self._checked(index, self._tensor(index)) for index in indices])

    def _item(self, index: int) -> Any:
        item = self._items[index]
        return item[0] if isinstance(item, tuple) else item

    def _tensor(self, index: int) -> torch.Tensor:
        picture = _as_picture(self._item(index))
        try:
            tensor = self._preprocessing(picture)
        except Exception as error:
            error.add_note(f"This was while preprocessing {self.name(index)}.")
            raise
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(
                f"preprocessing must give a float tensor, got {type(tensor).__name__} for "
                f"{self.name(index)}"
            )
        return tensor.to(torch.float32)

    def _checked(self, index: int, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape != self.shape:
            raise ValueError(
                f"{self.name(index)} becomes a tensor of shape {tuple(tensor.shape)}, wanted "
                f"{self.shape}: let preprocessing bring all pictures to one size and mode"
            )
        return tensor

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of pictures: bytes of files, pixels of images in memory."""
        return [_item_digest(self._item(index)) for index in indices]


class Plain:
    """What is done to a picture without any preprocessing: pixels in [0, 1], channels first.

    Parameters
    ----------
    shape : tuple of int or None
        Its first number is that of the channels: 1 reads pictures in grey, 3 in colour. None
        keeps grey pictures grey.
    """

    def __init__(self, shape: tuple[int, ...] | None) -> None:
        self._mode = None if shape is None else {1: "L", 3: "RGB"}.get(shape[0])

    def __call__(self, picture: Any) -> torch.Tensor:
        """Give the tensor of a PIL image; a tensor is given back, uint8 as floats in [0, 1]."""
        if isinstance(picture, torch.Tensor):
            return picture.div(WHITE) if picture.dtype == torch.uint8 else picture
        band = picture.getbands()[0]
        if band in ("I", "F"):
            raise ValueError(
                f"a picture of mode {picture.mode!r} has pixels outside 0-255, which PIL would "
                "clip: give a preprocessing that scales them"
            )
        mode = self._mode or ("L" if band in ("1", "L") else "RGB")
        pixels = np.asarray(picture.convert(mode), np.float32)
        channels_first = pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0)
        return torch.from_numpy(channels_first / np.float32(WHITE))


def is_path(item: Any) -> bool:
    """Tell whether something names a file."""
    return isinstance(item, (str, os.PathLike))


def pictures_in(X: Any) -> Any:
    """Give X as a sequence of pictures that are read one by one; None where it is an array.

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
    return has_axes or is_path(first) or hasattr(first, "convert")


def is_pixels(values: Any) -> bool:
    """Tell whether an array or tensor has pixels in 0-255."""
    return values.dtype in (np.uint8, torch.uint8)


def as_pictures(values: Any, shape: tuple[int, ...] | None) -> Any:
    """Give an array whose rows a preprocessing can take as pictures.

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


def _consecutive(indices: np.ndarray) -> np.ndarray | slice:
    """Give sorted indices as a slice if there are no gaps: a slice copies nothing."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first == len(indices) - 1 else indices


def _channels_first(
    shape: tuple[int, ...], are_pixels: bool, channels_last: bool
) -> tuple[int, ...]:
    if channels_last:
        return (shape[2], *shape[:2])
    return (1, *shape) if are_pixels and len(shape) == 2 else shape


def _shape_for(got: tuple[int, ...], wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """Give the shape to bring samples to: only flat rows and a missing channel are repaired."""
    if wanted is None:
        return got
    flat, without_channel = (math.prod(wanted),), wanted[1:] if wanted[0] == 1 else None
    if got in (wanted, flat, without_channel):
        return wanted
    raise ValueError(
        f"X has samples of shape {got}, wanted {wanted} or flat rows of {flat[0]}: check "
        "input_shape and the order of the axes (channels come first)"
    )


def _has_channels_last(shape: Sequence[int], wanted: tuple[int, ...] | None) -> bool:
    if len(shape) != 3 or tuple(shape) == wanted:
        return False
    return shape[-1] in (1, 3) if wanted is None else shape[-1] == wanted[0]


def _to_tensor(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.detach()
    native = values.dtype.newbyteorder("=")
    writable = values.flags.writeable and all(stride >= 0 for stride in values.strides)
    if writable and values.dtype == native:
        return torch.from_numpy(values)
    return torch.from_numpy(np.array(values, dtype=native, order="C"))  # torch refuses it, or warns


def to_array(values: Any) -> np.ndarray:
    """Give an array or tensor as an array on the host."""
    if isinstance(values, np.ndarray):
        return values
    tensor = values.detach().cpu()
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()


def _as_picture(item: Any) -> Any:
    """Give the PIL image of a path or of a uint8 picture, and the tensor of anything else."""
    if is_path(item):
        return _decoded(item)
    if not isinstance(item, np.ndarray):
        return item
    if item.dtype == np.uint8 and (item.ndim == 2 or (item.ndim == 3 and item.shape[-1] == 3)):
        return import_optional("PIL.Image", "Making pictures of arrays").fromarray(item)
    return _to_tensor(item)


def _opened(path: Any) -> Any:
    image = import_optional("PIL.Image", "Reading picture files")
    try:
        return image.open(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no picture {os.fspath(path)!r}") from error
    except OSError as error:  # PIL.UnidentifiedImageError is one
        raise ValueError(f"cannot decode the picture {os.fspath(path)!r}: {error}") from error


def _decoded(path: Any) -> Any:
    with _opened(path) as picture:
        try:
            picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"cannot decode the picture {os.fspath(path)!r}: {error}") from error
        return picture


def _start(*about: Any) -> Any:
    return hashlib.blake2b(repr(about).encode(), digest_size=DIGEST_BYTES)


def _digest(start: Any, content: Any) -> bytes:
    digest = start.copy()
    digest.update(content)
    return digest.digest()


def _item_digest(item: Any) -> bytes:
    if is_path(item):
        about = Path(item).stat()
        return _file_digest(os.fspath(item), about.st_size, about.st_mtime_ns)
    if hasattr(item, "convert"):
        start = _start("image", item.mode, item.size, item.getpalette(), sorted(item.info.items()))
        return _digest(start, item.tobytes())
    values = np.ascontiguousarray(to_array(item))
    kind = "tensor" if isinstance(item, torch.Tensor) else "array"  # only these may become images
    return _digest(_start(kind, values.dtype.str, values.shape), values)


@lru_cache(maxsize=2**20)  # a file is read again only after it changed
def _file_digest(path: str, size: int, modified: int) -> bytes:  # noqa: ARG001 - parts of the key
    return _digest(_start("file"), Path(path).read_bytes())
