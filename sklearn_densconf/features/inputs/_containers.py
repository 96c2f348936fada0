"""Containers of other libraries, iterators and single pictures, as what the sources take."""

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    default_collate,
)

from sklearn_densconf.features.inputs._batch import LABELS, input_of

_ARRAY_LIKE = ("polars", "pyarrow")  # their columns become arrays
PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Field:
    """One input of samples that have it by name, beside a label or none.

    Parameters
    ----------
    samples : sequence
        Mappings, or tuples that begin with one.
    name : str
        The input's name.
    """

    def __init__(self, samples: Any, name: str) -> None:
        self._samples = samples
        self._name = name

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        """Return a sample, with its label if it has one."""
        sample = self._samples[index]
        value, label = input_of(sample)[self._name], label_of(sample)
        return value if label is None else (value, label)


def only_input(sample: Any) -> str | None:
    """Return the name of a sample's one picture, or of its text, if it has nothing else to take."""
    named = sample[0] if isinstance(sample, tuple) and sample else sample
    if not isinstance(named, Mapping):
        return None
    values = {name: value for name, value in named.items() if name not in LABELS}
    pictures = [name for name, value in values.items() if hasattr(value, "getbands")]
    texts = [name for name, value in values.items() if isinstance(value, str)]
    if len(pictures) == 1 and len(pictures) + len(texts) == len(values):
        return pictures[0]  # texts beside a picture are its name, or where it is from
    return texts[0] if len(texts) == len(values) == 1 else None


def label_of(item: Any) -> Any:
    """Return the label of a sample, None if it has none."""
    if isinstance(item, (tuple, list)) and len(item) > 1:
        return item[1]
    if isinstance(item, Mapping):
        return next((item[name] for name in LABELS if name in item), None)
    return None


def unpacked(X: Any) -> tuple[Any, Any]:
    """Return samples in a container that can be read by number, and a DataLoader's function.

    Parameters
    ----------
    X : object
        What the user gave.

    Returns
    -------
    samples : object
        The samples.
    collate : callable or None
        What puts samples together to batches, if X is a DataLoader that has a function for it.

    Raises
    ------
    ValueError
        If X gives nothing, or must be collected first.
    """
    if isinstance(X, DataLoader):
        return _of_loader(X)
    if is_one_picture(X):  # before iterators: a buffer is one of lines
        return [X], None
    if isinstance(X, (Iterator, IterableDataset)):
        return _gathered(X, of_batches=not isinstance(X, IterableDataset)), None
    return _column(X), None


def _column(X: Any) -> Any:
    """Return a column of polars, pyarrow, pandas or datasets as an array or list; leave others."""
    library, kind = type(X).__module__.partition(".")[0], type(X).__name__
    if kind == "LazyFrame":
        raise ValueError("X is a LazyFrame, which has no rows yet: call collect() on it")
    if library == "datasets":
        return _of_datasets(X, kind)
    if library in _ARRAY_LIKE and len(getattr(X, "columns", "1")) == 1:
        table = np.asarray(X if library == "polars" or not hasattr(X, "columns") else X.column(0))
        return _rows_of_lists(table)
    return _rows_of_lists(np.asarray(X)) if hasattr(X, "iloc") and X.ndim == 1 else X


def _of_datasets(X: Any, kind: str) -> Any:
    """Return what the library datasets has as what can be read by number."""
    if isinstance(X, dict):
        raise ValueError(f"X is a {kind} of {list(X)}: choose one, such as X[{next(iter(X))!r}]")
    if len(X) == 0:
        raise ValueError(f"X is a {kind} without samples: give at least 1")
    return X if hasattr(X, "column_names") else list(X)


def _rows_of_lists(column: np.ndarray) -> np.ndarray:
    """Return a column whose elements are lists of numbers as an array of rows; leave others."""
    if column.dtype != object or column.shape[1:] not in ((), (1,)) or not column.size:
        return column
    rows = column.ravel().tolist()
    if not isinstance(rows[0], (list, tuple, np.ndarray)):
        return column
    check_one_length(rows)
    return np.array([np.asarray(row) for row in rows])


def check_one_length(rows: Any) -> None:
    """Check that samples which are lists of numbers have one length."""
    shapes = [tuple(np.shape(row)) for row in rows]
    if other := [number for number, shape in enumerate(shapes) if shape != shapes[0]]:
        raise ValueError(
            f"samples must have one length, got {shapes[0]} for sample 0 and {shapes[other[0]]} "
            f"for sample {other[0]}: pad them, and give a mapping with an attention_mask if the "
            "network takes one, or give a DataLoader whose collate_fn puts them together"
        )


def is_one_picture(X: Any) -> bool:
    """Tell whether X is a picture, not several: an image, a path, or the bytes of a file."""
    return isinstance(X, (str, os.PathLike, bytes, io.BytesIO)) or hasattr(X, "getbands")


def _of_loader(loader: DataLoader) -> tuple[Any, Any]:
    """Return a DataLoader's samples in the order of its Dataset, not shuffled."""
    if isinstance(loader.dataset, IterableDataset) or loader.batch_size is None:
        is_batched = loader.batch_sampler is not None or loader.batch_size is not None
        return _gathered(iter(loader), of_batches=is_batched or loader.batch_size is None), None
    samples: Any = loader.dataset
    if not isinstance(loader.sampler, (SequentialSampler, RandomSampler)):
        samples = Subset(samples, _drawn(loader.sampler))
    collate = loader.collate_fn
    return samples, None if collate is default_collate else collate


def _drawn(sampler: Any) -> list[int]:
    """Return the samples that a sampler draws; one that draws others each time is refused."""
    with torch.random.fork_rng(devices=[]):
        drawn, again = list(sampler), list(sampler)
    if drawn != again:
        raise ValueError(
            f"the DataLoader's {type(sampler).__name__} draws in random order, which no labels "
            "could follow: pass its Dataset, or a torch.utils.data.Subset of that"
        )
    return drawn


def _gathered(X: Any, *, of_batches: bool) -> Any:
    """Return what an iterator gives: batches as one array, samples in a list."""
    items = [input_of(item) for item in X]
    if not items:
        raise ValueError(f"X is a {type(X).__name__} that gives no samples")
    first = items[0]
    if not of_batches:
        return items
    if isinstance(first, Mapping):
        names = list(first)
        return {name: _joined([item[name] for item in items]) for name in names}
    return _joined(items) if isinstance(first, (np.ndarray, torch.Tensor)) else items


def _joined(parts: list[Any]) -> Any:
    """Return batches as one array."""
    if len({tuple(part.shape[1:]) for part in parts if hasattr(part, "shape")}) > 1:
        raise ValueError(
            f"batches have samples of the shapes {[tuple(part.shape[1:]) for part in parts[:9]]}: "
            "pad all to one length, or give a Dataset whose samples can be read by number"
        )
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    return np.concatenate([np.asarray(part) for part in parts])


def is_text(item: Any) -> bool:
    """Tell whether a string is a text, and not the path of a picture."""
    if not isinstance(item, str) or Path(item).suffix.lower() in PICTURE_SUFFIXES:
        return False
    try:
        return not os.path.exists(item)
    except ValueError:  # a null character
        return True
