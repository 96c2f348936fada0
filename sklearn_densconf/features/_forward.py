"""The forward pass of one batch: precision, and halved batches when memory runs out."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import nn

from sklearn_densconf.features._device import OutOfMemoryError
from sklearn_densconf.features.inputs import Batch, Ragged

PRECISIONS = {"float32": None, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Layered(Protocol):
    """A network that gives the rows of its layers: a `Tap`, or what stands in its place."""

    network: nn.Module

    def __call__(self, X: Batch) -> list[torch.Tensor]:
        """Return one tensor (n, units), float32, for each layer."""


class Forward:
    """Runs batches through a tapped network in inference mode.

    A batch that does not fit into the device's memory is halved until it does, and the batches
    after it keep that size. Parts of a batch are of nearly equal size: code compiled for one
    serves all.

    Parameters
    ----------
    tap : Layered
        The network and the wanted layers.
    dtype : torch.dtype
        Type of the network's parameters.
    precision : str
        Name of one of `PRECISIONS`; other than float32 computes under autocast.
    values_at_once : int or None
        How many values of samples to compute at once, at most; None knows no limit.

    Attributes
    ----------
    widths : list of int
        Number of columns of each layer in the last batch.
    """

    def __init__(
        self,
        tap: Layered,
        dtype: torch.dtype,
        precision: str,
        values_at_once: int | None = None,
    ) -> None:
        self._tap = tap
        self._dtype = dtype
        self._autocast = PRECISIONS[precision]
        self._values_at_once = values_at_once
        self._limit: int | None = None
        self.widths: list[int] = []

    def __call__(self, X: Batch | Ragged) -> torch.Tensor:
        """Return the activations of all layers side by side, (n, n_features), float32."""
        if isinstance(X, Ragged):
            return X.joined([self(part) for part in X.parts])
        n = len(X)  # once: of a tensor it takes longer than all else here
        if self._limit is None:
            values = max(1, X.numel() // n)
            self._limit = max(1, (self._values_at_once or sys.maxsize) // values)
        parts: list[torch.Tensor] = []
        start = 0
        while start < n:
            left = n - start
            size = -(-left // -(-left // self._limit))
            features = self._attempt(X if size == n else X[start : start + size])
            if features is None:
                self._limit = size // 2
            else:
                parts.append(features)
                start += size
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @property
    def network(self) -> nn.Module:
        """The network, with the hooks of the tap."""
        return self._tap.network

    def whole(self, X: Batch) -> torch.Tensor | None:
        """Return the activations of a batch that is not split; None if it does not fit."""
        return self._attempt(X)

    def _attempt(self, X: Batch) -> torch.Tensor | None:
        """Return the activations, or None if they need more memory than there is.

        The exception must be gone before the next attempt: its traceback holds the tensors.
        """
        try:
            with torch.inference_mode(), self._precision(X.device):
                layers = self._tap(
                    self._cast(X) if isinstance(X, torch.Tensor) else X.map(self._cast)
                )
                self.widths = [layer.shape[1] for layer in layers]
                return layers[0] if len(layers) == 1 else torch.cat(layers, 1)
        except OutOfMemoryError:
            if len(X) == 1:
                raise
        if X.is_cuda:
            torch.cuda.empty_cache()
        return None

    def _cast(self, X: torch.Tensor) -> torch.Tensor:
        return X.to(self._dtype) if X.is_floating_point() else X

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        """Return autocast as asked for: the caller's would round features, and those kept."""
        if self._autocast is not None:
            return torch.autocast(device.type, dtype=self._autocast)
        if torch.is_autocast_enabled(device.type):
            return torch.autocast(device.type, enabled=False)
        return nullcontext()
