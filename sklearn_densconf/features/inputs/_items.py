"""Samples of any kind that a function puts together to batches: dicts, texts, a DataLoader's."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from sklearn_densconf.features.inputs._batch import LABELS, Batch, Named, by_shape, input_of
from sklearn_densconf.features.inputs._containers import label_of
from sklearn_densconf.features.inputs._digests import digest, start_of
from sklearn_densconf.features.inputs._mappings import check_shapes
from sklearn_densconf.features.inputs._rows import Rows, to_tensor

Collate = Callable[[list[Any]], Any]


class Items:
    """Samples that a function puts together to batches.

    Parameters
    ----------
    items : sequence
        The samples.
    collate : callable
        From a list of samples to a tensor, to tensors by name, or to a tuple that begins so.
    digest_of : callable
        From a sample to a digest of its content.
    learned : tuple or None
        Shape of one sample, or names and shapes, at ``fit``.
    what : str
        What the samples were taken for; told where they cannot be put together.
    floats : torch.dtype
        Type of the floating-point values.

    Notes
    -----
    What pads samples to the longest of a batch is given one sample at a time, so that features do
    not depend on the batch; samples of one shape then are a batch. Only where there is an
    ``attention_mask``, by which networks tell padding, are samples padded together.
    """

    in_memory = False
    on_disk = False

    def __init__(
        self,
        items: Sequence[Any],
        collate: Collate,
        digest_of: Callable[[Any], bytes],
        learned: Any,
        what: str,
        *,
        floats: torch.dtype = torch.float32,
    ) -> None:
        self._floats = floats
        self._items = items
        self._collate = collate
        self._digest_of = digest_of
        self._what = what
        self._one_by_one = False
        first = self._together(np.array([0]))
        self._one_by_one = collate is not collated and not _is_masked(first)
        if isinstance(first, Named):
            self.shape: Any = tuple(
                (name, tuple(tensor.shape[1:])) for name, tensor in sorted(first.tensors.items())
            )
            check_shapes(self.shape, learned)
        else:
            self.shape = tuple(first.shape[1:])

    def __len__(self) -> int:
        return len(self._items)

    def name(self, index: int) -> str:
        """Name a sample in an error."""
        return f"sample {index}"

    def check(self, indices: np.ndarray) -> None:
        """Do nothing: samples are read one after the other."""

    def batch(self, indices: np.ndarray) -> Any:
        """Return the samples as the function puts them together, or by shape."""
        if not self._one_by_one or len(indices) == 1:
            try:
                return self._together(indices)
            except RuntimeError:  # of `default_collate`, about samples of several lengths
                if len(indices) == 1:
                    raise
        return by_shape([self._together(indices[[row]]) for row in range(len(indices))])

    def _together(self, indices: np.ndarray) -> Batch:
        try:
            made = self._collate([self._items[int(index)] for index in indices])
        except Exception as error:
            error.add_note(
                f"This was while putting {self._what} together to a batch, from "
                f"{self.name(int(indices[0]))} on."
            )
            raise
        return as_batch(made, len(indices), self._floats)

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of samples."""
        return [self._digest_of(self._items[int(index)]) for index in indices]

    def content(self, indices: np.ndarray) -> None:
        """Return None: samples are told apart by digests."""

    def labels(self) -> np.ndarray | None:
        """Return the samples' labels, if they have some."""
        labels = [label_of(item) for item in map(self._items.__getitem__, range(len(self)))]
        return None if labels[0] is None else np.asarray(labels)


def _is_masked(batch: Any) -> bool:
    return isinstance(batch, Named) and "attention_mask" in batch.tensors


def as_batch(made: Any, n: int, floats: torch.dtype = torch.float32) -> Batch:
    """Return what a function made of samples as a batch; labels are left out.

    Parameters
    ----------
    made : object
        A tensor or array, tensors or arrays by name, or a tuple that begins with these.
    n : int
        The number of samples.
    floats : torch.dtype
        Type of the floating-point values.

    Returns
    -------
    Tensor or Named
        The batch: whole numbers as int64, but pixels of uint8 divided by 255; truth values as they
        are; else ``floats``.

    Raises
    ------
    TypeError
        If it is none of these, or its first axis is not the sample.
    """
    made = input_of(made)
    if isinstance(made, Mapping):
        tensors = {str(k): _tensor(v, floats) for k, v in made.items() if k not in LABELS}
        known = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        if known and all(tensor.ndim and len(tensor) == n for tensor in known.values()):
            return Named(known)
        shapes = {name: tuple(tensor.shape) for name, tensor in known.items()}
        raise TypeError(f"a batch of {n} must have tensors by name of that length, got {shapes}")
    tensor = _tensor(made, floats)
    if tensor is None or tensor.ndim == 0 or len(tensor) != n:
        got = type(made).__name__ if tensor is None else str(tuple(tensor.shape))
        raise TypeError(f"a batch of {n} samples must be a tensor, or tensors by name, got {got}")
    return tensor


def _tensor(value: Any, floats: torch.dtype) -> torch.Tensor | None:
    if isinstance(value, (list, np.ndarray)):
        array = np.asarray(value)
        value = to_tensor(array) if array.dtype.kind in "biuf" else None
    if not isinstance(value, torch.Tensor) or value.is_complex():
        return None
    if value.dtype == torch.bool or value.ndim == 0:
        return value.detach()
    if value.is_floating_point():
        return value.detach().to(floats)
    return Rows(value, None, floats).batch(np.arange(len(value)))  # by the rule for arrays


def collated(items: list[Any]) -> Any:
    """Put samples together that are mappings: of lists and numbers arrays are made."""
    plain = [_plain(input_of(item)) for item in items]
    names = [sorted(item) for item in plain if isinstance(item, Mapping)]
    if other := next((each for each in names if each != names[0]), None):
        raise ValueError(f"samples must have values of the same names, got {names[0]} and {other}")
    return default_collate(plain)


def _plain(item: Any) -> Any:
    if not isinstance(item, Mapping):
        return item
    arrays = {name: _array(value) for name, value in item.items() if name not in LABELS}
    return {name: array for name, array in arrays.items() if array is not None}


def _array(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value
    if hasattr(value, "getbands"):
        raise TypeError(
            "a sample has a picture beside other inputs: give a preprocessing, or a collate_fn, "
            "that makes tensors of both"
        )
    array = np.asarray(value)
    return array if array.dtype.kind in "biuf" else None


def mapping_digest(item: Any) -> bytes:
    """Hash a sample that has arrays, numbers or texts by name."""
    whole = start_of("mapping")
    for name, value in sorted(input_of(item).items()):
        array = value.detach().cpu() if isinstance(value, torch.Tensor) else value
        array = np.ascontiguousarray(np.asarray(array))
        whole.update(repr((name, array.dtype.str, array.shape)).encode())
        plain = array if array.dtype.kind in "biufU" else np.array(repr(value))
        whole.update(plain.tobytes())
    return whole.digest()


def text_digest(text: Any) -> bytes:
    """Hash a text, which may come with a label."""
    return digest(start_of("text"), str(input_of(text)).encode())
