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
    """Return the module whose functions work on an array: numpy unless dispatch is switched on."""
    if isinstance(array, np.ndarray) or not get_config()["array_api_dispatch"]:
        return np
    compat = import_optional("array_api_compat", "array_api_dispatch=True")
    return compat.array_namespace(array) if compat.is_array_api_obj(array) else np


def unmasked(array: Any) -> Any:
    """Return an array of any kind as it is, unless some of its values are masked.

    What has no masks, as scikit-learn and torch, would take the values under them for good ones.
    """
    if isinstance(array, np.ma.MaskedArray) and np.ma.is_masked(array):
        n_masked = int(np.ma.count_masked(array))
        raise ValueError(
            f"got a masked array in which {n_masked} of {array.size} values are masked, wanted "
            "none: give array.filled(value), or leave their samples out"
        )
    return array


def to_numpy(array: Array) -> np.ndarray:
    """Convert an array of any library, device and graph, or a list, to numpy."""
    if hasattr(array, "detach"):  # a tensor; numpy has no bfloat16, and float32 holds it exactly
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    elif hasattr(array, "__array_namespace__") and not isinstance(array, (np.ndarray, np.generic)):
        return np.from_dlpack(array, device="cpu")
    return np.asarray(unmasked(array))


def device_of(array: Array) -> Any:
    """Return the device an array is on, as its library names it."""
    return "cpu" if namespace(array) is np else array.device


def as_like(values: Any, like: Array, dtype: Any = None) -> Array:
    """Bring numbers to the namespace and device of an array; no copy if they are there."""
    xp = namespace(like)
    if xp is np:
        return np.asarray(to_numpy(values), dtype=dtype)
    if namespace(values) is not xp or device_of(values) != device_of(like):
        values = np.array(to_numpy(values))  # a writable copy: torch warns of read-only memory
    return xp.asarray(values, dtype=dtype, device=device_of(like))


def float64(array: Array) -> Array:
    """Convert an array to float64, in which every sum here is made; no copy if it is that."""
    xp = namespace(array)
    return xp.astype(array, xp.float64, copy=False)


def chunks(n_rows: int, row_bytes: int, chunk_bytes: int) -> Iterator[slice]:
    """Cut rows into slices whose temporaries fit into so many bytes."""
    size = max(1, chunk_bytes // max(1, row_bytes))
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))


def log_sum_exp(values: Array) -> Array:
    """Compute log Σ_k exp(values_k) for each row, (n, 1); rows of -inf give -inf."""
    xp = namespace(values)
    peak = xp.max(values, axis=1, keepdims=True)  # (n, 1)
    peak = xp.where(xp.isfinite(peak), peak, xp.zeros_like(peak))
    with np.errstate(divide="ignore"):
        return xp.log(xp.sum(xp.exp(values - peak), axis=1, keepdims=True)) + peak


def pick(values: Array, codes: Array) -> Array:
    """Return values[i, codes[i]], (n,)."""
    return namespace(values).take_along_axis(values, codes[:, None], axis=1)[:, 0]


def map_rows(function: Callable[..., Array], width: int, X: Array, *others: Array) -> Array:
    """Apply a function to chunks of rows, in float64; only the result grows with the rows.

    Parameters
    ----------
    function : callable
        From ``(chunk, out, *others)`` to m rows of the result. The chunk (m, d) is a float64 copy;
        ``out`` (m, width), float64, is room for the function to write to. It may overwrite both.
    width : int
        Number of columns of ``out``.
    X : array of shape (n, d)
        The rows.
    *others : array of shape (n, ...)
        What goes with each row.

    Returns
    -------
    array of shape (n, ...)
        Real numbers as float32 for float32 rows, else as float64; integers as they are.
    """
    result = None
    for part, chunk, out in _in_chunks(X, width):
        values = function(chunk, out, *(other[part, ...] for other in others))
        if result is None:
            shape = (X.shape[0], *values.shape[1:])
            result = _empty(shape, X, _narrowed(values[:0, ...], X).dtype)
        result[part, ...] = _narrowed(values, X)
    return result


def fill_rows(function: Callable[[Array, Array], Array], width: int, X: Array) -> Array:
    """Do what `map_rows` does, for a result of ``width`` columns of real numbers.

    Where the result is float64, ``out`` is a part of it: a function that writes to ``out`` and
    returns it spares a copy.
    """
    xp = namespace(X)
    as_float32 = X.dtype == xp.float32
    result = _empty((X.shape[0], width), X, xp.float32 if as_float32 else xp.float64)
    for part, chunk, out in _in_chunks(X, width, None if as_float32 else result):
        values = function(chunk, out)
        if as_float32 or values is not out:
            result[part, ...] = _narrowed(values, X)
    return result


def _in_chunks(
    X: Array, width: int, result: Array | None = None
) -> Iterator[tuple[slice, Array, Array]]:
    """Yield chunks of rows: where they are, a float64 copy, and room: part of the result, if given.

    All chunks share their room, so that what is needed beside the result does not grow.
    """
    n, d = X.shape
    parts = list(chunks(n, 8 * (d + 2 * width), CHUNK_BYTES))  # functions need width once more
    rows, xp = parts[0].stop, namespace(X)
    copies = _empty((rows, d), X, xp.float64)
    room = _empty((rows, width), X, xp.float64) if result is None else result
    for part in parts:
        m = part.stop - part.start
        copies[:m, ...] = float64(X[part, ...])
        yield part, copies[:m, ...], room[slice(0, m) if result is None else part, ...]


def _empty(shape: tuple[int, ...], like: Array, dtype: Any) -> Array:
    return namespace(like).empty(shape, dtype=dtype, device=device_of(like))


def _narrowed(values: Array, X: Array) -> Array:
    xp = namespace(X)
    if X.dtype != xp.float32 or values.dtype != xp.float64:
        return values
    with np.errstate(over="ignore"):  # infinite where float32 has no such number
        return xp.astype(values, xp.float32)
