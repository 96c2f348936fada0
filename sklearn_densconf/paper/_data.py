"""The pictures of the experiments, as arrays of pixels with the channels first."""

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sklearn_densconf.datasets import load_mnist, read_idx
from sklearn_densconf.evaluation._pictures import Pictures, scale_to_unit

Folder = str | PathLike[str]


@dataclass(frozen=True)
class Dataset:
    """Pictures to train on or to fit densities to, and pictures held out, labelled alike."""

    name: str  # "digits", "mnist" or "imagenet"
    train: Pictures
    test: Pictures
    classes: Sequence[str]  # what each label is in words
    epochs: int = 6  # how often to pass over the pictures when training on them


def load_embedded_digits() -> Dataset:
    """Return scikit-learn's 1797 digits as MNIST has its own: 20 x 20 pixels amid 28 x 28.

    1198 pictures to train on and 599 held out, float32 in [0, 1], (1, 28, 28) each.
    """
    X, y = load_digits(return_X_y=True)
    larger = zoom(X.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=1)  # (n, 20, 20)
    X = np.pad(larger, ((0, 0), (4, 4), (4, 4))).clip(0, 1).astype(np.float32)[:, None]
    train, test = train_test_split(np.arange(len(y)), test_size=1 / 3, stratify=y, random_state=0)
    fitted, held_out = (_in_memory(X[part], y[part]) for part in (train, test))
    return Dataset("digits", fitted, held_out, _DIGITS, epochs=20)  # few pictures: more passes


def load_original_mnist(folder: Folder) -> Dataset:
    """Return MNIST from its four original IDX files.

    60,000 pictures to train on and 10,000 held out, float32 in [0, 1], (1, 28, 28) each.
    """
    parts = [load_mnist(folder, split=split) for split in ("train", "test")]
    train, test = (_in_memory(scale_to_unit(X[:, None]), y) for X, y in parts)
    return Dataset("mnist", train, test, _DIGITS)


def load_strangers(folder: Folder) -> Pictures:
    """Return the test pictures of another data set in MNIST's format, such as Fashion-MNIST.

    ``t10k-images-idx3-ubyte``, gzipped or not, becomes float32 in [0, 1], (1, 28, 28) each.
    """
    name = "t10k-images-idx3-ubyte"
    found = [path for path in (Path(folder, f"{name}.gz"), Path(folder, name)) if path.is_file()]
    if not found:
        raise FileNotFoundError(f"--unknown: {folder} has neither {name}.gz nor {name}")
    X = read_idx(found[0])
    return _in_memory(scale_to_unit(X[:, None]), np.zeros(len(X)))


def in_memory_pixels(pictures: Pictures) -> np.ndarray:
    """Return the pixels of all pictures in one array (n, c, height, width)."""
    return np.concatenate(list(pictures.chunks()))


def _in_memory(X: np.ndarray, y: np.ndarray) -> Pictures:
    return Pictures(np.asarray(y, np.int64), lambda indices: X[indices])


_DIGITS = tuple("0123456789")
