"""Batches: a tensor, or tensors by name, whose first axis is the sample. A leaf."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch

LABELS = ("label", "labels", "target", "targets", "y")  # in samples, but not for the network


class Named:
    """Tensors by name: a batch for a network with several inputs, with what batches share.

    Parameters
    ----------
    tensors : dict of str to Tensor
        The tensors; the first axis of each is the sample.
    """

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.tensors = tensors

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "Named":
        """Apply a function to each tensor."""
        return Named({name: function(tensor) for name, tensor in self.tensors.items()})

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: Any) -> "Named":
        return self.map(lambda tensor: tensor[rows])

    def to(self, *where: Any, **how: Any) -> "Named":
        """Move or convert each tensor, as `torch.Tensor.to` does."""
        return self.map(lambda tensor: tensor.to(*where, **how))

    def pin_memory(self) -> "Named":
        """Pin the memory of each tensor."""
        return self.map(torch.Tensor.pin_memory)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Tell each tensor that a stream uses it."""
        for tensor in self.tensors.values():
            tensor.record_stream(stream)

    def is_floating_point(self) -> bool:
        """Tell whether no tensor has whole numbers."""
        return all(tensor.is_floating_point() for tensor in self.tensors.values())

    def numel(self) -> int:
        """Count the values."""
        return sum(tensor.numel() for tensor in self.tensors.values())

    @property
    def device(self) -> torch.device:
        """Device of the tensors."""
        return next(iter(self.tensors.values())).device

    @property
    def is_cuda(self) -> bool:
        """Whether the tensors are on a GPU."""
        return self.device.type == "cuda"


class Ragged:
    """Samples of several shapes: one batch for each shape, with what batches share.

    Parameters
    ----------
    parts : list of Tensor or Named
        The batches.
    order : Tensor of shape (n_samples,), int64
        Where each sample is in the batches one after the other.
    """

    def __init__(self, parts: "list[Batch]", order: torch.Tensor) -> None:
        self.parts = parts
        self._order = order

    def joined(self, rows: list[torch.Tensor]) -> torch.Tensor:
        """Bring rows, one tensor for each batch, into the order of the samples.

        Raises
        ------
        ValueError
            If they have different lengths.
        """
        if len({part.shape[1] for part in rows}) > 1:
            raise ValueError(
                f"samples of different shapes get {[part.shape[1] for part in rows]} features: "
                "with pooling='flatten' samples must have one length"
            )
        return torch.cat(rows)[self._order.to(rows[0].device)]

    def __len__(self) -> int:
        return len(self._order)

    def to(self, *where: Any, **how: Any) -> "Ragged":
        """Move or convert each batch, as `torch.Tensor.to` does."""
        return Ragged([part.to(*where, **how) for part in self.parts], self._order)

    def pin_memory(self) -> "Ragged":
        """Pin the memory of each batch."""
        return Ragged([part.pin_memory() for part in self.parts], self._order)

    def record_stream(self, stream: torch.cuda.Stream) -> None:
        """Tell each batch that a stream uses it."""
        for part in self.parts:
            part.record_stream(stream)

    def is_floating_point(self) -> bool:
        """Tell whether there are no whole numbers."""
        return all(part.is_floating_point() for part in self.parts)

    @property
    def device(self) -> torch.device:
        """Device of the batches."""
        return self.parts[0].device

    @property
    def is_cuda(self) -> bool:
        """Whether the batches are on a GPU."""
        return self.device.type == "cuda"


Batch = torch.Tensor | Named


def by_shape(samples: list[Any]) -> Any:
    """Put batches of one sample together: to one batch if all have one shape.

    Parameters
    ----------
    samples : list of Tensor or Named
        Batches of one sample.

    Returns
    -------
    Tensor, Named or Ragged
        The batch.
    """
    numbers: dict[Any, list[int]] = {}
    for number, sample in enumerate(samples):
        numbers.setdefault(_shapes(sample), []).append(number)
    parts = [_stacked([samples[number] for number in alike]) for alike in numbers.values()]
    if len(parts) == 1:
        return parts[0]
    return Ragged(parts, torch.tensor([*chain(*numbers.values())]).argsort())


def _shapes(sample: Batch) -> Any:
    if isinstance(sample, Named):
        return tuple((name, tensor.shape) for name, tensor in sorted(sample.tensors.items()))
    return sample.shape


def _stacked(samples: list[Any]) -> Batch:
    if isinstance(samples[0], Named):
        names = samples[0].tensors
        return Named({name: torch.cat([s.tensors[name] for s in samples]) for name in names})
    return torch.cat(samples)


def input_of(sample: Any) -> Any:
    """Return the network's input of a sample or batch, which may come with a label.

    Raises
    ------
    TypeError
        If it has more parts than these two: one of them would be lost without a word.
    """
    if not isinstance(sample, (tuple, list)) or not sample:
        return sample
    if len(sample) > 2:
        raise TypeError(
            f"a sample has {len(sample)} parts, but only an input and its label are told apart: "
            "let the Dataset, or collate_fn, give several inputs by name, such as "
            "{'tokens': ..., 'lengths': ...}"
        )
    return sample[0]
