"""A pipeline as a torch module: samples, the network's layers, and the classifier's head."""

from functools import reduce
from typing import Any

import torch
from torch import nn

from sklearn_densconf.export._confidence import Confidence, ConfidenceHead, Decided, finite

WHITE = 255.0


class ConfidenceNetwork(nn.Module):
    """A fitted pipeline, from samples to `Confidence`.

    Parameters
    ----------
    samples : torch.nn.Module
        From what the user gives to what the network takes.
    layers : torch.nn.Module
        From that to a tuple of rows.
    confidence : ConfidenceHead
        From rows to the result.
    """

    def __init__(self, samples: nn.Module, layers: nn.Module, confidence: ConfidenceHead) -> None:
        super().__init__()
        self.samples = samples
        self.layers = layers
        self.confidence = confidence

    @property
    def classes(self) -> list[Any]:
        """The labels in the order of the probabilities."""
        return self.confidence.classes

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> Confidence | Decided:
        """Compute the confidence of a batch."""
        # Layers inside of a network that reduce may drop a NaN, or carry it to other rows.
        usable = [_usable(X) for X in (*inputs, *named.values()) if X.is_floating_point()]
        is_usable = reduce(torch.logical_and, usable) if usable else None
        rows = None if is_usable is None else _usable_rows(is_usable)
        inputs = tuple(self.samples(_taken(X, rows)) for X in inputs)
        named = {name: _taken(X, rows) for name, X in named.items()}
        features = torch.cat(self.layers(*inputs, **named), 1)
        if is_usable is not None:
            features = torch.where(is_usable[:, None], features, torch.nan)
        return self.confidence(features)

    def train(self, mode: bool = True) -> "ConfidenceNetwork":  # noqa: ARG002 - as of all modules
        """Stay in evaluation mode: the network is frozen."""
        return super().train(False)


class Floats(nn.Module):
    """Samples of floating-point numbers, or whole numbers that are none of pixels.

    Parameters
    ----------
    shape : tuple of int
        That of one sample for the network; flat rows are brought to it.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self._shape = tuple(shape)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the samples in their shape."""
        return X if tuple(X.shape[1:]) == self._shape else X.reshape(X.shape[0], *self._shape)


class Pixels(nn.Module):
    """Pixels in 0-255, which become floats in [0, 1], channels first.

    Parameters
    ----------
    shape : tuple of int
        That of one sample for the network.
    channels_last : bool
        Whether the pixels have their channels last.
    """

    def __init__(self, shape: tuple[int, ...], channels_last: bool) -> None:
        super().__init__()
        self._channels_last = channels_last
        self._floats = Floats(shape)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return floats, (n, *shape)."""
        X = X.movedim(-1, 1) if self._channels_last else X
        return self._floats(X.to(torch.float32) / WHITE)


def _usable(X: torch.Tensor) -> torch.Tensor:
    """Mark samples without NaN and infinity, (n,), by their sums: one pass, which keeps both."""
    wide = X.dtype if X.dtype.itemsize >= 4 else torch.float32
    return finite(X.reshape(X.shape[0], -1).sum(1, dtype=wide))


def _usable_rows(is_usable: torch.Tensor) -> torch.Tensor:
    """Return the number of each sample, (n,); of one that is not usable that of one that is."""
    rows = torch.arange(is_usable.shape[0], device=is_usable.device)
    return torch.where(is_usable, rows, torch.where(is_usable, rows, 0).amax(0))


def _taken(X: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
    """Return samples by their rows: onnxruntime copies rows 3 times as fast as it clears some."""
    return X if rows is None or not X.is_floating_point() else X.index_select(0, rows)
