"""From maps and tokens to one row per sample."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from sklearn_densconf.features._layers import OUTPUT
from sklearn_densconf.features._layouts import Layouts

Pool = Callable[[torch.Tensor, int, torch.Tensor | None], torch.Tensor]
Pooling = str | Callable[[torch.Tensor], torch.Tensor]


def _average(maps: torch.Tensor, channels: int, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is None:
        return maps.mean(_places(maps, channels))
    kept = _beside(mask, channels).to(maps.dtype)
    place = 3 - channels
    return (maps * kept).sum(place) / kept.sum(place).clamp(min=1)


def _maximum(maps: torch.Tensor, channels: int, mask: torch.Tensor | None) -> torch.Tensor:
    if mask is not None:
        maps = maps.masked_fill(~_beside(mask, channels), -torch.inf)
    return maps.amax(_places(maps, channels))


def _first(maps: torch.Tensor, channels: int, mask: torch.Tensor | None) -> torch.Tensor:
    """Return the first token, of samples that are padded on the left the first that is none."""
    if maps.ndim != 3:
        raise ValueError(f"pooling='cls' takes tokens (n, t, c), got maps {tuple(maps.shape)}")
    tokens = maps.movedim(channels, -1)  # (n, t, c)
    if mask is None:
        return tokens[:, 0]
    return tokens[torch.arange(tokens.shape[0], device=tokens.device), mask.int().argmax(1)]


def _places(maps: torch.Tensor, channels: int) -> tuple[int, ...]:
    return tuple(axis for axis in range(1, maps.ndim) if axis != channels)


def _beside(mask: torch.Tensor, channels: int) -> torch.Tensor:
    """Return a mask (n, t) with an axis for the channels."""
    return mask.bool().unsqueeze(channels)


POOLINGS: dict[str, Pool] = {"avg": _average, "max": _maximum, "cls": _first}
NAMES = (*POOLINGS, "flatten")


def is_pooling(value: Any) -> bool:
    """Tell whether something is a way to pool: a name, a function, or a mapping to those."""
    if isinstance(value, Mapping):
        return all(is_pooling(each) and not isinstance(each, Mapping) for each in value.values())
    return callable(value) or (isinstance(value, str) and value in NAMES)


def fitting(
    mask: torch.Tensor | None, maps: torch.Tensor, channels: int, layer: str
) -> torch.Tensor | None:
    """Return the mask of a layer's tokens, None where nothing is masked.

    Frames of a sound, and patches of a picture beside a text, are not those of the mask.
    """
    if mask is None or maps.ndim != 3:
        return None
    n_places = maps.shape[3 - channels]
    if tuple(mask.shape) == (maps.shape[0], n_places):
        return mask
    if bool(mask.bool().all()):
        return None
    raise ValueError(
        f"layer {layer!r} has {n_places} places for {mask.shape[-1]} in attention_mask, so it is "
        "not known which of them are padding: give samples of one length, or a pooling function"
    )


class Untraced(BaseException):
    """Ends a pass in which modules were not asked for their layout, though it is needed."""


class Pooler:
    """Makes rows of the activations of layers.

    Parameters
    ----------
    poolings : dict of str to str or callable
        How each layer is pooled.
    given_axes : dict of str to int
        Axes of channels that the user gave.
    learned_axes : dict of (str, int) to int
        Axes that earlier passes taught, by layer and number of axes; this one may add to them.

    Attributes
    ----------
    mask : Tensor of shape (n_samples, n_tokens) or None
        Which tokens of the batch are no padding.
    layouts : Layouts or None
        What modules tell of their layouts, while they are asked.
    """

    def __init__(
        self,
        poolings: Mapping[str, Pooling],
        given_axes: Mapping[str, int],
        learned_axes: dict[tuple[str, int], int],
    ) -> None:
        self._poolings = poolings
        self._given_axes = given_axes
        self._learned_axes = learned_axes
        self.layouts: Layouts | None = None
        self.mask: torch.Tensor | None = None

    def trace(self, network: nn.Module) -> None:
        """Ask the modules of a network for their layouts in the passes that follow."""
        self.layouts = Layouts(network)

    def end_trace(self) -> None:
        """Ask no more."""
        if self.layouts is not None:
            self.layouts.end()
            self.layouts = None

    def __call__(self, layer: str, maps: torch.Tensor, module: nn.Module | None) -> torch.Tensor:
        """Return one row per sample of a layer's activations.

        Parameters
        ----------
        layer : str
            The layer's name.
        maps : Tensor of shape (n_samples, ...), of 3 axes or more
            Its activations.
        module : torch.nn.Module or None
            The layer; None for the input of a linear layer, which has the channels last.

        Returns
        -------
        Tensor of shape (n_samples, n_features)
            The rows.
        """
        pooling = self._poolings[layer]
        if not isinstance(pooling, str):
            return _by_function(pooling, layer, maps)
        channels = self.channel_axis(layer, maps, module)
        mask = fitting(self.mask, maps, channels, layer or OUTPUT)
        return POOLINGS[pooling](maps, channels, mask)

    def channel_axis(self, layer: str, maps: torch.Tensor, module: nn.Module | None) -> int:
        if layer in self._given_axes:
            return _within(self._given_axes[layer], maps, layer or OUTPUT)
        if module is None:
            return maps.ndim - 1
        if (known := self._learned_axes.get((layer, maps.ndim))) is not None:
            return known
        if self.layouts is None:
            raise Untraced
        axis = self.layouts.channel_axis(module, maps)
        if axis is None:
            raise ValueError(
                f"layer {layer or OUTPUT!r} gives activations of shape {tuple(maps.shape)}, and "
                "its modules do not tell which axis has the channels: set channel_axis=1 if they "
                "come first, -1 if last, or pooling='flatten' to keep all"
            )
        self._learned_axes[layer, maps.ndim] = axis
        return axis


def _within(axis: int, maps: torch.Tensor, layer: str) -> int:
    if not -maps.ndim < axis < maps.ndim:
        raise ValueError(
            f"channel_axis={axis} is no axis of layer {layer!r}, which gives activations of shape "
            f"{tuple(maps.shape)}"
        )
    return axis % maps.ndim


def _by_function(pooling: Any, layer: str, maps: torch.Tensor) -> torch.Tensor:
    rows = pooling(maps)
    if not isinstance(rows, torch.Tensor) or rows.ndim != 2 or len(rows) != len(maps):
        got = tuple(rows.shape) if isinstance(rows, torch.Tensor) else type(rows).__name__
        raise ValueError(
            f"pooling must make a tensor ({len(maps)}, n_features) of the activations "
            f"{tuple(maps.shape)} of layer {layer or OUTPUT!r}, got {got}"
        )
    return rows
