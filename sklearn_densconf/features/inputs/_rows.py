"""Arrays and tensors whose first axis is the sample, as batches without work per row."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sklearn_densconf._array import unmasked
from sklearn_densconf.features.inputs._containers import check_one_length
from sklearn_densconf.features.inputs._digests import digest, start_of
from sklearn_densconf.features.inputs._source import Content

WHITE = 255.0
SOME = 16  # samples whose scale stands for all
SMALLEST = 64  # numbers in what may be a picture
LARGEST_SCALED = 16.0  # far above what pixels are that were scaled to 0-1, or normalised


class Rows:
    """Arrays or tensors whose first axis is the sample, as batches without per-row work.

    Parameters
    ----------
    values : ndarray or Tensor of shape (n_samples, ...)
        The samples. In pictures uint8 values are pixels in 0-255 and become floats in [0, 1]; in
        tables, of one axis per sample, they are whole numbers like others.
    wanted : tuple of int or None
        Shape of one sample for the network; flat rows, and greyscale pictures without a channel
        axis, are brought to it. None: the values' own.
    floats : torch.dtype
        Type of the floating-point values, that of the network if it is wider than float32.
    """

    in_memory = True
    on_disk = False

    def __init__(
        self,
        values: Any,
        wanted: tuple[int, ...] | None,
        floats: torch.dtype = torch.float32,
    ) -> None:
        self._values = values
        self._floats = floats
        is_table = values.ndim <= 2 and (wanted is None or len(wanted) == 1)
        self._is_pixels = is_pixels(values) and not is_table
        self._channels_last = self._is_pixels and _has_channels_last(values.shape[1:], wanted)
        got = _channels_first(tuple(values.shape[1:]), self._is_pixels, self._channels_last)
        self.shape = _shape_for(got, wanted)
        check_whole_numbers(values.dtype, self.shape, "X")

    def __len__(self) -> int:
        return len(self._values)

    def name(self, index: int) -> str:
        """Name a sample in an error."""
        return f"sample {index}"

    def check(self, indices: np.ndarray) -> None:
        """Do nothing: there are no files to open."""

    def batch(self, indices: np.ndarray) -> torch.Tensor:
        """Return the samples (n, *shape), where the values are: integers as int64, else floats."""
        batch = to_tensor(self._values[_consecutive(indices)])
        if self._channels_last:
            batch = batch.movedim(-1, 1)
        batch = batch.reshape(batch.shape[0], *self.shape)
        if self._is_pixels:
            return batch.to(self._floats).div_(WHITE)
        if not batch.is_floating_point():
            return batch.to(torch.int64)  # wide enough for what a network makes of them
        batch = batch.to(self._floats)
        if batch.device.type == "cpu" and not _has_finite_sum(batch.numpy()):
            self._refuse_infinite(batch, indices)
        return batch

    def _refuse_infinite(self, batch: torch.Tensor, indices: np.ndarray) -> None:
        bad = ~torch.isfinite(batch.flatten(1)).all(1)
        if bad.any():
            index = int(indices[bad.numpy()][0])
            raise ValueError(
                f"Input X contains NaN, infinity or a value too large for "
                f"{str(self._floats).removeprefix('torch.')}, first in {self.name(index)}"
            )

    def content(self, indices: np.ndarray) -> Content:
        """Return the samples as they are, flat, on the host and contiguous: (n, n_values)."""
        return (str(self._values.dtype), self.shape, self._channels_last), self._flat(indices)

    def _flat(self, indices: np.ndarray) -> np.ndarray:
        values = to_array(self._values[_consecutive(indices)])
        return np.ascontiguousarray(values).reshape(len(values), -1)

    def labels(self) -> None:
        """Return None: labels are given apart."""

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of samples, type and shape included."""
        values = self._flat(indices)
        start = start_of("row", values.dtype.str, self.shape, self._channels_last)
        return [digest(start, row) for row in values.view(np.uint8)]


def _has_finite_sum(values: np.ndarray) -> bool:
    """Tell whether no value is NaN or infinite; False also where the sum of finite ones is.

    numpy takes one thread. Those of torch would be waited for, while onnxruntime's have the cores.
    """
    with np.errstate(all="ignore"):
        return math.isfinite(values.sum())


def checked_array(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    """Check an array or tensor of samples; an array-like becomes an array.

    Only what passes through the network is searched for NaN, in `Rows.batch`.

    Parameters
    ----------
    estimator : FeatureExtractor
        It learns the number and the names of the columns, or knows them.
    X : array-like or Tensor of shape (n_samples, ...)
        The samples.
    reset : bool
        Whether it learns them now.

    Returns
    -------
    ndarray or Tensor of shape (n_samples, ...)
        The samples.

    Raises
    ------
    ValueError
        If X is empty, has no axis beside that of the samples, or other columns than learned.
    """
    values: Any
    if isinstance(X, torch.Tensor):
        values = X
        if X.is_complex():
            raise ValueError(f"Complex data not supported, got a tensor of {X.dtype}")
        if X.ndim < 2 or len(X) == 0:
            raise ValueError(f"X must have samples along its first axis, got {tuple(X.shape)}")
    else:
        values = _numbers(X, estimator)
    if values.ndim == 2:
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    return values


def _numbers(X: Any, estimator: BaseEstimator) -> np.ndarray:
    """Return an array-like as an array of numbers; columns that have none are named."""
    if type(X) is np.ndarray and X.dtype.kind in "biuf" and X.ndim > 2 and len(X):
        return X  # as the check would, which takes longer than all else that one picture needs
    refusal: Exception | None = None
    try:
        values = check_array(
            unmasked(X), allow_nd=True, ensure_all_finite=False, estimator=estimator
        )
        if values.dtype.kind in "biuf":
            return values
    except (TypeError, ValueError) as error:
        refusal = error
    if others := [name for name in getattr(X, "columns", ()) if not _has_numbers(X[name])]:
        raise ValueError(
            f"X has columns that are no numbers, {others[:9]}: encode them, such as by a "
            "ColumnTransformer before the extractor, or drop them"
        ) from refusal
    if isinstance(X, (list, tuple)) and not np.isscalar(X[0]):
        check_one_length(X)
    raise refusal or ValueError(f"X must have numbers, got {values.dtype}: encode them")


def _has_numbers(column: Any) -> bool:
    try:
        np.asarray(column).astype(np.float64)
    except (TypeError, ValueError):
        return False
    return np.asarray(column).dtype.kind in "biufO"


def warn_of_table(values: Any) -> None:
    """Warn of rows of uint8 that look like pixels: only with ``input_shape`` are they such."""
    if is_pixels(values) and values.ndim == 2 and values[:1000].max() > 127:
        warnings.warn(
            f"X is a table of uint8, (n, {values.shape[1]}), whose values are taken as they are: "
            "set input_shape, such as (1, 28, 28), if its rows are pictures, whose pixels are "
            f"divided by 255, or input_shape=({values.shape[1]},) if they are none",
            UserWarning,
            stacklevel=2,
        )


def warn_of_scale(estimator: Any, values: Any, *, in_fit: bool) -> None:
    """Warn of pictures of 0-255 in floats where those of the fit were smaller.

    Parameters
    ----------
    estimator : FeatureExtractor
        It learns the largest number of some samples, or knows it.
    values : ndarray or Tensor of shape (n_samples, ...)
        The samples.
    in_fit : bool
        Whether it learns it now.
    """
    some = values[:SOME].detach() if isinstance(values, torch.Tensor) else values[:SOME]
    if in_fit:
        are_divided = is_pixels(values) and values.ndim > 2
        estimator._largest = 1.0 if are_divided else float(abs(some).max())
        return
    known = getattr(estimator, "_largest", math.inf)
    if not known <= LARGEST_SCALED or math.prod(values.shape[1:]) < SMALLEST:
        return
    largest = float(some.max())  # of tensors on a GPU no picture is fetched for this
    if not 127 < largest <= WHITE:
        return
    some = to_array(some)
    if some.dtype.kind == "f" and some.min() >= 0 and (some == np.round(some)).all():
        warnings.warn(
            f"X has whole numbers up to {largest:g}, as pixels have, but those of fit were at "
            f"most {known:g}: scale X as the network's training pictures were, or pass uint8, "
            "which is divided by 255",
            UserWarning,
            stacklevel=2,
        )


def is_pixels(values: Any) -> bool:
    """Tell whether an array or tensor has pixels in 0-255."""
    return values.dtype in (np.uint8, torch.uint8)


def check_whole_numbers(dtype: Any, shape: tuple[int, ...], what: str) -> None:
    """Refuse pictures of integers whose range is not known: those of uint8 are divided by 255.

    Samples of two axes may be signals or tokens; nothing but a picture has 16 bits without sign.
    """
    name = str(dtype).removeprefix("torch.")
    if (len(shape) >= 3 and "int" in name and name != "uint8") or (
        len(shape) == 2 and name == "uint16"  # grey pictures of 16 bits, as files have them
    ):
        raise ValueError(
            f"{what} has pictures of {name}: make pixels in 0-255 uint8, or give floats, which are "
            "passed as they are"
        )


def _consecutive(indices: np.ndarray) -> np.ndarray | slice:
    """Return sorted indices as a slice if there are no gaps: a slice copies nothing."""
    first, last = int(indices[0]), int(indices[-1])
    return slice(first, last + 1) if last - first == len(indices) - 1 else indices


def _channels_first(
    shape: tuple[int, ...], are_pixels: bool, channels_last: bool
) -> tuple[int, ...]:
    if channels_last:
        return (shape[2], *shape[:2])
    return (1, *shape) if are_pixels and len(shape) == 2 else shape


def _shape_for(got: tuple[int, ...], wanted: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the shape to bring samples to: only flat rows and a missing channel are repaired."""
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


def to_tensor(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.detach()
    values = values if type(values) is np.ndarray else unmasked(values)
    native = values.dtype.newbyteorder("=")
    writable = values.flags.writeable and all(stride >= 0 for stride in values.strides)
    if writable and values.dtype == native:
        return torch.from_numpy(values)
    return torch.from_numpy(np.array(values, dtype=native, order="C"))  # torch refuses it, or warns


def to_array(values: Any) -> np.ndarray:
    """Return an array or tensor as an array on the host."""
    if isinstance(values, np.ndarray):
        return unmasked(values)
    tensor = values.detach().cpu()
    return tensor.float().numpy() if tensor.dtype == torch.bfloat16 else tensor.numpy()
