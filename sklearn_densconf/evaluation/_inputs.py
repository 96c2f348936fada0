"""The door: pictures as a user gives them, to the engine's batches and back."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from sklearn_densconf._array import unmasked
from sklearn_densconf._modes import converted, is_deep, is_grey, mark_deep
from sklearn_densconf._optional import import_optional
from sklearn_densconf.evaluation._pictures import Pictures

_CHUNK = 100  # pictures that are decoded at once


@dataclass(frozen=True)
class Form:
    """How pictures were given, so that distorted ones can be given alike."""

    shape: tuple[int, ...] | None  # of one in an array; None: pictures are given one by one
    picture_shape: tuple[int, ...]  # (c, height, width) of the first
    channels_last: bool
    dtype: np.dtype
    pixel_range: tuple[float, float] = (0.0, 1.0)  # lowest and highest floating pixel

    @property
    def is_pixels(self) -> bool:
        """Whether pixels are uint8."""
        return self.dtype == np.uint8

    def read(self, X: Any, y: np.ndarray, name: str = "X") -> Pictures:
        """Return pictures of this form, whatever they show."""
        if self.shape is None:
            items = _items(X)
            if items is None:
                raise ValueError(f"{name} must be a list of paths or pictures, as X is")
            return Pictures(y, lambda indices: [_decoded(items[i]) for i in indices], _CHUNK)
        values = _as_array(X, name)
        if values.shape[1:] != self.shape or (values.dtype == np.uint8) != self.is_pixels:
            raise ValueError(
                f"{name} has pictures of shape {values.shape[1:]} and dtype {values.dtype}, X of "
                f"{self.shape} and {self.dtype}: bring them to the same"
            )
        self._check_range(values, name)
        return Pictures(y, lambda indices: self._to_batch(values[indices]))

    def _check_range(self, values: np.ndarray, name: str) -> None:
        low, high = self.pixel_range
        if not self.is_pixels and not low <= values.min() <= values.max() <= high:
            raise ValueError(
                f"pixels of {name} must lie in [{low:g}, {high:g}], got {values.min():g} to "
                f"{values.max():g}: set pixel_range=(lowest, highest)"
            )

    def _to_batch(self, values: np.ndarray) -> np.ndarray:
        if self.channels_last:
            values = np.moveaxis(values, -1, 1)
        values = values.reshape(len(values), *self.picture_shape)
        if self.is_pixels or self.pixel_range == (0, 1):
            return values
        low, high = self.pixel_range
        return np.clip((values - low) / (high - low), 0, 1)

    def present(self, batch: Any) -> Any:
        """Return a batch as X was given; pictures that were read one by one as PIL images."""
        if self.shape is None:
            return [_as_image(picture) for picture in batch]
        if self.is_pixels and batch.dtype != np.uint8:
            return batch  # floats in [0, 1], channels first: what FeatureExtractor makes of uint8
        values = np.moveaxis(batch, 1, -1) if self.channels_last else batch
        values = values.reshape(len(values), *self.shape)
        low, high = self.pixel_range
        return values if self.is_pixels or (low, high) == (0, 1) else low + (high - low) * values


def form_of(
    X: Any, pixel_range: tuple[float, float] | None, input_shape: Sequence[int] | None
) -> Form:
    """Find out how pictures are given; ``input_shape``, (h, w) or (c, h, w), is of flat rows."""
    items = _items(X)
    if items is not None:
        return Form(None, _decoded(items[0]).shape, False, np.dtype(np.uint8))
    values = _as_array(X, "X")
    if values.dtype != np.uint8 and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"pixels of X must be uint8 or floating, got {values.dtype}: convert them")
    shape = values.shape[1:]
    is_flat = len(shape) == 1
    channels_last = len(shape) == 3 and shape[-1] in (1, 3) and shape[0] not in (1, 3)
    seen = _shape_of_rows(shape[0], input_shape) if is_flat else shape
    seen = (seen[2], *seen[:2]) if channels_last else (1, *seen)[-3:]
    low, high = pixel_range or (0.0, 1.0)
    if not low < high:
        raise ValueError(f"pixel_range must be (lowest, highest), got {pixel_range}")
    return Form(shape, seen, channels_last, values.dtype, (low, high))


def _shape_of_rows(length: int, input_shape: Sequence[int] | None) -> tuple[int, ...]:
    shape = tuple(input_shape or ())
    if len(shape) not in (2, 3) or prod(shape) != length:
        raise ValueError(
            f"X has {length} columns, got input_shape={input_shape}: evaluate distorts pictures. "
            "Where each row is one, set its shape, (height, width) or (channels, height, width); "
            "for a table, take sklearn_densconf.metrics"
        )
    return shape


def _items(X: Any) -> Any:
    """Return X as a sequence of pictures that are read one by one; None where it is an array."""
    items = np.asarray(X) if hasattr(X, "iloc") else X  # a pandas column of paths
    if isinstance(items, np.ndarray) and items.dtype.kind in "OUT":
        items = items.ravel().tolist()
    if not isinstance(items, (list, tuple)) or not len(items):
        return None
    first = items[0]
    is_array = isinstance(first, np.ndarray) and first.ndim in (2, 3) and first.dtype == np.uint8
    return items if is_array or _is_path(first) or hasattr(first, "convert") else None


def _is_path(item: Any) -> bool:
    return isinstance(item, (str, os.PathLike))


def _as_array(X: Any, name: str) -> np.ndarray:
    values = np.asarray(X.detach().cpu() if hasattr(X, "detach") else unmasked(X))
    if values.ndim not in (2, 3, 4) or not values.size:
        raise ValueError(
            f"{name} must be pictures: an array of 2 to 4 axes, or a list of paths, PIL images or "
            f"uint8 arrays, got {type(X).__name__} of shape {values.shape}"
        )
    return values


def _decoded(item: Any) -> np.ndarray:
    """Return the pixels of a picture, uint8 (c, height, width), in grey or in colour."""
    image = import_optional("PIL.Image", "Evaluating pictures that are given one by one")
    if isinstance(item, np.ndarray):
        pixels = item
    else:
        try:
            with image.open(item) if _is_path(item) else nullcontext(item) as picture:
                mark_deep(picture)
                if is_deep(picture):
                    raise ValueError(
                        f"it has more than 8 bits (mode {picture.mode!r}): give arrays of uint8"
                    )
                pixels = np.asarray(converted(picture, "L" if is_grey(picture) else "RGB"))
        except FileNotFoundError as error:
            raise FileNotFoundError(f"there is no picture {os.fspath(item)!r}") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"cannot decode the picture {item!r}: {error}") from error
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def _as_image(picture: np.ndarray) -> Any:
    pillow = import_optional("PIL.Image", "Evaluating pictures that are given one by one")
    is_grey = len(picture) == 1
    pixels = picture[0] if is_grey else np.ascontiguousarray(np.moveaxis(picture, 0, -1))
    return pillow.fromarray(pixels)
