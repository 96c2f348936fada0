"""What the heads give, and the head of softmax. A leaf."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn


def as_buffer(values: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return numbers as a tensor that a module can hold.

    Also single ones: a Python number beside a tensor is rounded to float32 by the exporter of ONNX
    (torch 2.13), whatever the tensor is.
    """
    return torch.from_numpy(np.array(values, np.float64, order="C")).to(dtype)


@dataclass
class Evaluated:
    """What a head makes of n samples.

    Attributes
    ----------
    joint : Tensor of shape (n, k)
        log p(z | k) + log π_k, up to what all classes share.
    ranked : Tensor of shape (n, k)
        What is largest for the predicted label.
    known, score : Tensor of shape (n,), or None
        ``known_proba`` and ``score_samples``, of classifiers that have them.
    """

    joint: torch.Tensor
    ranked: torch.Tensor
    known: torch.Tensor | None = None
    score: torch.Tensor | None = None


class SoftmaxHead(nn.Module):
    """`SoftmaxClassifier`.

    Parameters
    ----------
    order : ndarray of shape (k,), or None
        Columns of the logits in the order of the sorted labels.
    temperature : float
        T.
    n_logits : int
        Number of columns.
    dtype : torch.dtype
        As of `Distance`.
    """

    temperature: torch.Tensor
    order: torch.Tensor | None

    def __init__(
        self, order: np.ndarray | None, temperature: float, n_logits: int, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self._is_single = order is not None and n_logits == 1
        self.register_buffer("temperature", as_buffer(temperature, dtype))
        columns = None if order is None else torch.from_numpy(np.array(order, np.int64))
        self.register_buffer("order", columns)

    def forward(self, X: torch.Tensor) -> Evaluated:
        """Evaluate logits, (n, k)."""
        if self._is_single:  # z stands for [0, z]
            X = torch.cat([torch.zeros_like(X), X], 1)
        logits = X if self.order is None else X.index_select(1, self.order)
        joint = (logits - logits.amax(1, keepdim=True)) / self.temperature  # no quotient overflows
        return Evaluated(joint, logits)


class OfOrdered(nn.Module):
    """A head that takes the logits in the order of the sorted labels.

    Parameters
    ----------
    logits : SoftmaxHead
        What brings them into that order.
    head : torch.nn.Module
        The head.
    """

    def __init__(self, logits: SoftmaxHead, head: nn.Module) -> None:
        super().__init__()
        self.logits, self.head = logits, head

    def forward(self, X: torch.Tensor) -> Evaluated:
        """Evaluate logits, (n, k), in the order of the network."""
        return self.head(self.logits(X).ranked)
