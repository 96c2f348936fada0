"""Labelled pictures, read chunk by chunk. A leaf.

Inside the engine a batch is an array (n, c, height, width), or a list of pictures (c, height,
width) where these differ in size; pixels are floating in [0, 1] or uint8.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

Batch = np.ndarray | list[np.ndarray]
Distortion = Callable[[Any], Any]


class Reader(Protocol):
    """Reads some of the pictures: from their numbers to their pixels."""

    def __call__(self, indices: np.ndarray) -> Any: ...


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures that are read chunk by chunk, so that any number of them fits in memory."""

    y: np.ndarray  # labels (n_pictures,)
    read: Reader
    chunk: int = 1000  # how many to read at once; also how many an interrupted run loses

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-len(self) // self.chunk)

    def chunks(self) -> Iterator[Any]:
        """Yield the pixels of all pictures, ``chunk`` pictures at a time."""
        for start in range(0, len(self), self.chunk):
            yield self.read(np.arange(start, min(start + self.chunk, len(self))))

    def only(self, indices: np.ndarray) -> "Pictures":
        """Return some of the pictures."""
        return Pictures(self.y[indices], lambda part: self.read(indices[part]), self.chunk)

    def first_of_each_class(self, n: int) -> "Pictures":
        """Return the first ``n`` pictures of each class, or all there are."""
        of_class = [np.flatnonzero(self.y == label)[:n] for label in np.unique(self.y)]
        return self.only(np.concatenate(of_class))

    def spread(self, n: int) -> "Pictures":
        """Return ``n`` pictures spread evenly over all, and so over classes that are in order."""
        return self.only(np.linspace(0, len(self) - 1, n).round().astype(int))


def scale_to_unit(pixels: np.ndarray) -> np.ndarray:
    """Return pixels as float32 in [0, 1]; those of dtype uint8 are divided by 255."""
    is_uint8 = pixels.dtype == np.uint8
    return pixels.astype(np.float32) / np.float32(255) if is_uint8 else pixels


def distort_batch(distort: Distortion, batch: Batch) -> Any:
    """Apply a function of arrays (n, c, height, width); pictures of several sizes go one by one."""
    if isinstance(batch, np.ndarray):
        return distort(batch)
    return [distort(picture[None])[0] for picture in batch]


def channels_last(pixels: Any) -> list[np.ndarray]:
    """Return each picture with its channels last, as pictures are shown."""
    return [np.moveaxis(picture, 0, -1) for picture in pixels]
