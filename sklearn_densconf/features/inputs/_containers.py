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

from sklearn_densconf.features.inputs._batch import input_of

_ARRAY_LIKE = ("polars", "pyarrow")  # their columns become arrays
PICTURE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


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
    """Return a column of polars, pyarrow or datasets as an array or list; leave others."""
    library = type(X).__module__.partition(".")[0]
    if type(X).__name__ == "LazyFrame":
        raise ValueError("X is a LazyFrame, which has no rows yet: call collect() on it")
    is_column = not hasattr(X, "columns") or (library == "polars" and len(X.columns) == 1)
    if library in _ARRAY_LIKE and is_column:
        return np.asarray(X)
    if library == "datasets" and not hasattr(X, "column_names"):
        return list(X)
    return X


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
