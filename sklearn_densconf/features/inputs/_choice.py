"""Which source stands behind what the user gave as X."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from torch.utils.data import Dataset

from sklearn_densconf.features.inputs._batch import input_of
from sklearn_densconf.features.inputs._containers import Field, is_text, only_input, unpacked
from sklearn_densconf.features.inputs._items import (
    Items,
    collated,
    mapping_digest,
    text_digest,
)
from sklearn_densconf.features.inputs._mappings import Mappings
from sklearn_densconf.features.inputs._pictures import Pictures, Plain, as_pictures, pictures_in
from sklearn_densconf.features.inputs._rows import (
    Rows,
    checked_array,
    is_pixels,
    warn_of_scale,
    warn_of_table,
)
from sklearn_densconf.features.inputs._source import Preprocessing, Source


@dataclass(frozen=True)
class Reading:
    """How samples are read.

    Parameters
    ----------
    preprocessing : callable or None
        The user's.
    of_library : callable or None
        That of the library which the network is from; it's for pictures only.
    input_shape : tuple of int or None
        The user's, to which flat rows are brought.
    learned_shape : tuple or None
        The shape of samples at ``fit``; None in ``fit`` itself.
    exif_transpose : bool
        Whether pictures are turned as their EXIF data say.
    floats : torch.dtype
        Type of the floating-point values: float64 for a network of that type, else float32.
    by_content : bool
        Whether files are read whenever they are looked for in the memory.
    """

    preprocessing: Preprocessing | None
    of_library: Preprocessing | None
    input_shape: tuple[int, ...] | None
    learned_shape: Any
    exif_transpose: bool = False
    floats: torch.dtype = torch.float32
    by_content: bool = False

    @property
    def in_fit(self) -> bool:
        """Whether the shape is yet to be learned."""
        return self.learned_shape is None

    @property
    def of_pictures(self) -> Preprocessing | None:
        """What pictures are preprocessed by."""
        return self.preprocessing or self.of_library


def open_source(estimator: BaseEstimator, X: Any, reading: Reading) -> Source:
    """Return the samples of X.

    Parameters
    ----------
    estimator : FeatureExtractor
        It learns the number and the names of columns in ``fit``, and checks them afterwards.
    X : object
        What the user gave: see `FeatureExtractor.fit`.
    reading : Reading
        How it is read.

    Returns
    -------
    Source
        Its samples.

    Raises
    ------
    ValueError
        If X is empty, or its samples have another shape or type than they should.
    """
    if isinstance(X, (list, tuple)) and not X:
        raise ValueError("X has no samples, got an empty list: give at least 1")
    is_array = isinstance(X, (np.ndarray, torch.Tensor))
    if is_array and not (isinstance(X, np.ndarray) and X.dtype.kind in "OUT"):
        return _array(estimator, X, reading)
    X, collate = (X, None) if is_array else unpacked(X)
    if isinstance(X, Mapping) and not issparse(X):  # one kind of sparse arrays is a dict
        return _mapping(X, reading)
    if collate is None and (name := only_input(_first(X))) is not None:
        X = Field(X, name)
    if (items := _items(X, reading, collate)) is not None:
        return items
    pictures = pictures_in(X)
    return _array(estimator, X, reading) if pictures is None else _pictures(pictures, reading)


def _array(estimator: BaseEstimator, X: Any, reading: Reading) -> Source:
    """Return the rows of an array, a tensor or what becomes one; pictures where it has pixels."""
    values = checked_array(estimator, X, reset=reading.in_fit)
    if reading.in_fit and reading.input_shape is None and reading.of_pictures is None:
        warn_of_table(values)
    if reading.preprocessing is None:
        warn_of_scale(estimator, values, in_fit=reading.in_fit)
    if reading.preprocessing is None and not (reading.of_library and is_pixels(values)):
        return Rows(values, reading.learned_shape or reading.input_shape, reading.floats)
    return _pictures(as_pictures(values, reading.input_shape), reading)


def _mapping(X: Mapping[str, Any], reading: Reading) -> Source:
    """Return arrays by name; a preprocessing is for single samples, and there are none."""
    if reading.preprocessing is not None:
        raise ValueError(
            "X is a mapping of arrays, which no preprocessing is for: preprocess the arrays, or "
            "give a list of samples"
        )
    return Mappings(X, reading.learned_shape, reading.floats)


def _items(X: Any, reading: Reading, collate: Any) -> Source | None:
    """Return samples that a function puts together; None if they are none such."""
    first = _first(X)
    learned, floats = reading.learned_shape, reading.floats
    if isinstance(first, Mapping) or (isinstance(first, tuple) and isinstance(first[0], Mapping)):
        preprocess = reading.preprocessing
        together = collate or collated
        function = partial(_preprocessed, preprocess, together) if preprocess else together
        return Items(X, function, mapping_digest, learned, "mappings", floats=floats)
    if collate is not None:
        return Items(X, collate, _any_digest, learned, "a DataLoader's samples", floats=floats)
    if reading.preprocessing is not None and is_text(first[0] if _is_pair(first) else first):
        is_sequence = isinstance(X, (list, tuple, Dataset, Field))
        texts = X if is_sequence else np.asarray(X, dtype=object).ravel().tolist()
        function = partial(_tokenized, reading.preprocessing)
        what = "texts (sample 0 names no file)"
        return Items(texts, function, text_digest, learned, what, floats=floats)
    return None


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2


def _first(X: Any) -> Any:
    """Return the first sample of what is read one by one, None of arrays."""
    is_sequence = isinstance(X, (list, tuple, Dataset, Field)) or hasattr(X, "column_names")
    if is_sequence and hasattr(X, "__len__") and hasattr(X, "__getitem__") and len(X):
        return X[0]
    column = np.asarray(X) if hasattr(X, "iloc") else X
    if isinstance(column, np.ndarray) and column.dtype.kind in "OUT" and column.size:
        return column.reshape(-1)[0] if column.shape[1:] in ((), (1,)) else None
    return None


def _preprocessed(preprocess: Any, together: Any, items: list[Any]) -> Any:
    return together([preprocess(input_of(item)) for item in items])


def _tokenized(preprocess: Any, items: list[Any]) -> Any:
    """Return tokens by name; a tokenizer of transformers is told to pad them."""
    texts = [input_of(item) for item in items]
    if hasattr(preprocess, "pad") and hasattr(preprocess, "tokenize"):
        return preprocess(texts, padding=True, truncation=True, return_tensors="np")
    return preprocess(texts)


def _any_digest(item: Any) -> bytes:
    first = input_of(item)
    return mapping_digest({"item": first}) if not isinstance(first, str) else text_digest(first)


def _pictures(pictures: Any, reading: Reading) -> Pictures:
    """Return pictures; only without a preprocessing is ``input_shape`` what they must have."""
    preprocessing = reading.of_pictures or Plain(reading.input_shape, reading.floats)
    shape = None if reading.of_pictures else reading.input_shape
    wanted = reading.learned_shape or shape
    how = reading.exif_transpose, reading.floats
    return Pictures(pictures, preprocessing, wanted, *how, by_content=reading.by_content)
