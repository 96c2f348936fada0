"""The pictures of the experiments, as arrays of pixels with the channels first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_densconf.datasets import load_mnist, read_idx
from sklearn_densconf.paper._train import EPOCHS

Folder = str | PathLike[str]


class Reader(Protocol):
    """Reads some of the pictures: from their numbers to their pixels."""

    def __call__(self, indices: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Pictures:
    """Labelled pictures that are read chunk by chunk, so that any number of them fits in memory.

    Attributes
    ----------
    y : ndarray of shape (n_pictures,), int64
        Labels 0 ... n_classes - 1.
    read : callable
        From indices (n,) to pixels (n, c, height, width), float32 in [0, 1] or uint8.
    chunk : int
        How many pictures to read at once; also how many are lost when a run is interrupted.
    """

    y: np.ndarray
    read: Reader
    chunk: int = 1000

    def __len__(self) -> int:
        return len(self.y)

    @property
    def n_chunks(self) -> int:
        """Number of chunks."""
        return -(-len(self) // self.chunk)

    def chunks(self) -> Iterator[np.ndarray]:
        """Give the pixels of all pictures, ``chunk`` pictures at a time."""
        for start in range(0, len(self), self.chunk):
            yield self.read(np.arange(start, min(start + self.chunk, len(self))))

    def only(self, indices: np.ndarray) -> "Pictures":
        """Give some of the pictures."""
        return Pictures(self.y[indices], lambda part: self.read(indices[part]), self.chunk)

    def first_of_each_class(self, n: int) -> "Pictures":
        """Give the first ``n`` pictures of each class, or all there are."""
        of_class = [np.flatnonzero(self.y == label)[:n] for label in np.unique(self.y)]
        return self.only(np.concatenate(of_class))


@dataclass(frozen=True)
class Dataset:
    """Pictures to train on or to fit densities to, and pictures held out.

    Attributes
    ----------
    name : str
        "digits", "mnist" or "imagenet".
    train, test : Pictures
        The two parts, labelled alike.
    classes : sequence of str
        What each label is in words.
    epochs : int
        How often to pass over the pictures when training on them.
    """

    name: str
    train: Pictures
    test: Pictures
    classes: Sequence[str]
    epochs: int = EPOCHS


def load_embedded_digits() -> Dataset:
    """Give scikit-learn's 1797 digits as MNIST has its own: 20 x 20 pixels amid 28 x 28.

    Returns
    -------
    Dataset
        1198 pictures to train on and 599 held out, float32 in [0, 1], (1, 28, 28) each.
    """
    X, y = load_digits(return_X_y=True)
    larger = zoom(X.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=1)  # (n, 20, 20)
    X = np.pad(larger, ((0, 0), (4, 4), (4, 4))).clip(0, 1).astype(np.float32)[:, None]
    train, test = train_test_split(np.arange(len(y)), test_size=1 / 3, stratify=y, random_state=0)
    fitted, held_out = (_in_memory(X[part], y[part]) for part in (train, test))
    return Dataset("digits", fitted, held_out, _DIGITS, epochs=20)  # few pictures: more passes


def load_original_mnist(folder: Folder) -> Dataset:
    """Give MNIST from its original IDX files.

    Parameters
    ----------
    folder : path
        Folder of the four files.

    Returns
    -------
    Dataset
        60,000 pictures to train on and 10,000 held out, float32 in [0, 1], (1, 28, 28) each.
    """
    parts = [load_mnist(folder, split=split) for split in ("train", "test")]
    train, test = (_in_memory(scale_to_unit(X[:, None]), y) for X, y in parts)
    return Dataset("mnist", train, test, _DIGITS)


def load_strangers(folder: Folder) -> Pictures:
    """Give the test pictures of another data set in MNIST's format, such as Fashion-MNIST.

    Parameters
    ----------
    folder : path
        Folder of ``t10k-images-idx3-ubyte``, gzipped or not.

    Returns
    -------
    Pictures
        Pictures without labels (all 0), float32 in [0, 1], (1, 28, 28) each.
    """
    name = "t10k-images-idx3-ubyte"
    found = [path for path in (Path(folder, f"{name}.gz"), Path(folder, name)) if path.is_file()]
    if not found:
        raise FileNotFoundError(f"--strangers: {folder} has neither {name}.gz nor {name}")
    X = read_idx(found[0])
    return _in_memory(scale_to_unit(X[:, None]), np.zeros(len(X)))


def scale_to_unit(pixels: np.ndarray) -> np.ndarray:
    """Give pixels as float32 in [0, 1]; those of dtype uint8 are divided by 255."""
    is_uint8 = pixels.dtype == np.uint8
    return pixels.astype(np.float32) / np.float32(255) if is_uint8 else pixels


def in_memory_pixels(pictures: Pictures) -> np.ndarray:
    """Give the pixels of all pictures in one array (n, c, height, width)."""
    return np.concatenate(list(pictures.chunks()))


def _in_memory(X: np.ndarray, y: np.ndarray) -> Pictures:
    return Pictures(np.asarray(y, np.int64), partial(_take, X))


def _take(X: Any, indices: np.ndarray) -> np.ndarray:
    return X[indices]


_DIGITS = tuple("0123456789")
