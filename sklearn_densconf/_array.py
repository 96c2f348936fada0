"""Array namespaces: numpy, or the array API of the input's own library. A leaf.

Under ``sklearn.config_context(array_api_dispatch=True)`` torch tensors (and other array API
arrays) stay where they are; everything else is numpy.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn import get_config

from sklearn_densconf._optional import import_optional

Array = Any  # an array of whichever namespace

CHUNK_BYTES = 2**24  # of temporaries a chunk: small enough for the 64 MB promised, large for BLAS


def namespace(array: Array) -> Any:
    """Give the module whose functions work on an array: numpy unless dispatch is switched on."""
    if not get_config()["array_api_dispatch"] or isinstance(array, np.ndarray):
        return np
    compat = import_optional("array_api_compat", "array_api_dispatch=True")
    return compat.array_namespace(array) if compat.is_array_api_obj(array) else np


def to_numpy(array: Array) -> np.ndarray:
    """Copy an array of any library and device to numpy."""
    if isinstance(array, np.ndarray):
        return array
    if hasattr(array, "cpu"):
        array = array.cpu()
    return np.asarray(array) if hasattr(array, "__array__") else np.from_dlpack(array)


def device_of(array: Array) -> Any:
    """Give the device an array is on, as its library names it."""
    return "cpu" if isinstance(array, np.ndarray) else array.device


def as_like(values: Any, like: Array, dtype: Any = None) -> Array:
    """Bring numbers to the namespace and device of an array."""
    xp = namespace(like)
    if xp is np:
        return np.asarray(values, dtype=dtype)
    values = values if hasattr(values, "__dlpack__") else np.asarray(values)
    if isinstance(values, np.ndarray):
        # a writable copy: torch warns of read-only memory
        return xp.asarray(values.copy(), dtype=dtype, device=device_of(like))
    return xp.asarray(values, dtype=dtype)


def float64(array: Array) -> Array:
    """Give a float64 array: what every sum here is made in. No copy if it is one already."""
    xp = namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def result_dtype(X: Array) -> Any:
    """Give the dtype of results for an input: float32 for float32, float64 for all else."""
    xp = namespace(X)
    return xp.float32 if X.dtype == xp.float32 else xp.float64


def chunks(n_rows: int, row_bytes: int) -> Iterator[slice]:
    """Cut rows into slices whose temporaries fit into ``CHUNK_BYTES``; at least one slice."""
    size = max(1, CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, max(1, n_rows), size):
        yield slice(start, min(start + size, n_rows))


def log_sum_exp(values: Array) -> Array:
    """Give log Σ_k exp(values_k) for each row, (n, 1); rows of -inf give -inf."""
    xp = namespace(values)
    peak = xp.max(values, axis=1, keepdims=True)  # (n, 1)
    peak = xp.where(xp.isfinite(peak), peak, xp.zeros_like(peak))
    with np.errstate(divide="ignore"):
        return xp.log(xp.sum(xp.exp(values - peak), axis=1, keepdims=True)) + peak


def pick(values: Array, codes: Array) -> Array:
    """Give values[i, codes[i]], (n,)."""
    xp = namespace(values)
    return xp.take_along_axis(values, codes[:, None], axis=1)[:, 0]


def rowwise(X: Array, function: Callable[[Array], Array], width: int) -> Array:
    """Apply a function to chunks of rows, in float64; only the result grows with the rows.

    Parameters
    ----------
    X : array of shape (n, d)
        The rows.
    function : callable
        From a float64 chunk (m, d) to (m, width).
    width : int
        Number of columns of the result.

    Returns
    -------
    array of shape (n, width)
        float32 for float32 rows, else float64.
    """
    xp, dtype = namespace(X), result_dtype(X)
    n, d = X.shape
    parts = list(chunks(n, 8 * (3 * d + 2 * width)))
    if len(parts) == 1:
        return xp.astype(function(float64(X)), dtype, copy=False)
    result = xp.empty((n, width), dtype=dtype, device=device_of(X))
    for part in parts:
        result[part, ...] = xp.astype(function(float64(X[part, :])), dtype, copy=False)
    return result
