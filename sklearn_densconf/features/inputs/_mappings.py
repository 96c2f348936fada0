"""Mappings of arrays, such as a tokenizer gives: several inputs of one network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_array

from sklearn_densconf._array import unmasked
from sklearn_densconf.features.inputs._batch import LABELS, Named
from sklearn_densconf.features.inputs._digests import digest, start_of
from sklearn_densconf.features.inputs._rows import Rows

Shapes = tuple[tuple[str, tuple[int, ...]], ...]


class Mappings:
    """Arrays by name, whose first axis is the sample.

    Parameters
    ----------
    arrays : mapping of str to array or Tensor
        The inputs of the network's ``forward``, by name; labels are left out.
    learned : tuple of (str, tuple of int) or None
        Names and shapes at ``fit``. Names and numbers of axes must be those; the lengths of
        sequences may differ.
    floats : torch.dtype
        Type of the floating-point values.

    Raises
    ------
    ValueError
        If arrays have different lengths, or are others than at ``fit``.
    """

    in_memory = True
    on_disk = False

    def __init__(
        self,
        arrays: Mapping[str, Any],
        learned: Shapes | None,
        floats: torch.dtype = torch.float32,
    ) -> None:
        self._rows = {
            str(name): Rows(_checked(str(name), values), None, floats)
            for name, values in arrays.items()
            if name not in LABELS
        }
        lengths = {name: len(rows) for name, rows in self._rows.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(
                f"X must have arrays of one length by name, got {lengths}: the first axis of each "
                "is the sample"
            )
        self.shape: Shapes = tuple((name, self._rows[name].shape) for name in sorted(self._rows))
        check_shapes(self.shape, learned)

    def __len__(self) -> int:
        return len(next(iter(self._rows.values())))

    def name(self, index: int) -> str:
        """Name a sample in an error."""
        return f"sample {index}"

    def check(self, indices: np.ndarray) -> None:
        """Do nothing: there are no files to open."""

    def batch(self, indices: np.ndarray) -> Named:
        """Return the samples as tensors by name."""
        return Named({name: rows.batch(indices) for name, rows in self._rows.items()})

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of samples, names included."""
        parts = zip(*(rows.digests(indices) for rows in self._rows.values()), strict=True)
        start = start_of("mapping", list(self._rows))
        return [digest(start, b"".join(each)) for each in parts]

    def content(self, indices: np.ndarray) -> None:
        """Return None: samples are told apart by digests."""

    def labels(self) -> None:
        """Return None: labels are given apart."""


def _checked(name: str, values: Any) -> Any:
    if isinstance(values, torch.Tensor):
        if values.is_complex() or values.ndim == 0:
            raise ValueError(f"X[{name!r}] must be real and have samples, got {values.dtype}")
        return values
    settings = {"allow_nd": True, "ensure_2d": False, "ensure_all_finite": False}
    return check_array(unmasked(values), input_name=f"X[{name!r}]", **settings)


def check_shapes(shapes: Shapes, learned: Any) -> None:
    """Check that inputs have the names and the numbers of axes of those at ``fit``."""
    if learned is None:
        return
    wanted = {name: len(shape) for name, shape in learned if isinstance(name, str)}
    got = {name: len(shape) for name, shape in shapes}
    if got != wanted:
        raise ValueError(
            f"X has inputs of these names and numbers of axes: {got}; at fit they were {wanted}"
        )
