"""Batches: a tensor, or tensors by name, whose first axis is the sample. A leaf."""

from collections.abc import Callable
from typing import Any

import torch


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


Batch = torch.Tensor | Named


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
