"""Which axis of a layer's activations has the channels: known from the modules that made them."""

from typing import Any, NamedTuple

import torch
from torch import nn

from sklearn_densconf.features._layers import is_linear

_POOLS = ("AdaptiveAvgPool", "AdaptiveMaxPool", "AvgPool", "MaxPool")
_FIRST = (
    nn.GroupNorm,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.LocalResponseNorm,
    nn.Upsample,
    *(
        getattr(nn, f"{name}{n}d")
        for name in ("BatchNorm", "Conv", "ConvTranspose", "Dropout", "InstanceNorm", *_POOLS)
        for n in (1, 2, 3)
        if hasattr(nn, f"{name}{n}d")
    ),
)
_LAST = (
    nn.Embedding,
    nn.MultiheadAttention,
    nn.RNNBase,
    nn.TransformerDecoderLayer,
    nn.TransformerEncoderLayer,
)
_MOVING = ("permute", "transpose", "rearrange")  # in the names of classes that move axes


class _Evidence(NamedTuple):
    """The shape of what a module gave, and which axis of it has the channels."""

    channels: int
    shape: torch.Size
    module: nn.Module | None


class Layouts:
    """What the modules of a network tell, as they run, about the axes of its activations.

    Convolutions and batch norm have the channels first, linear layers, layer norm, embeddings,
    attention and recurrence last. Other layers keep the axis, as far as their shape tells.

    Parameters
    ----------
    network : torch.nn.Module
        The network, which gets hooks.
    """

    def __init__(self, network: nn.Module) -> None:
        self._last: _Evidence | None = None
        in_maps = {_channels_come_first(part) for part in network.modules() if not is_linear(part)}
        self._all_first = in_maps <= {True, None} and True in in_maps and not _moves(network)
        self._handles = [
            part.register_forward_hook(self._see, prepend=True)
            for part in network.modules()
            if _channels_come_first(part) is not None
        ]

    def begin(self, X: Any) -> None:
        """Begin a pass: pictures and volumes have the channels first."""
        is_known = isinstance(X, torch.Tensor) and X.ndim > 3
        self._last = _Evidence(1, X.shape, None) if is_known else None

    def end(self) -> None:
        """Take the hooks away."""
        for handle in self._handles:
            handle.remove()

    def _see(self, module: nn.Module, _inputs: Any, output: Any) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        if isinstance(tensor, torch.Tensor) and tensor.ndim > 1:
            first = _channels_come_first(module)
            if isinstance(module, nn.LayerNorm):
                first = _layer_norm_comes_first(module, tensor)
            # Linear layers of a head, or of squeeze and excitation, have two axes and tell nothing.
            self._all_first = self._all_first and (first is True or tensor.ndim == 2)
            self._last = _Evidence(1 if first else tensor.ndim - 1, tensor.shape, module)

    def channel_axis(self, module: nn.Module, maps: torch.Tensor) -> int | None:
        """Return the axis of the channels in what a module has just given.

        Parameters
        ----------
        module : torch.nn.Module
            The layer.
        maps : Tensor with at least 3 axes
            Its activations.

        Returns
        -------
        int or None
            The axis; None if it cannot be known.
        """
        seen = self._last
        if self._all_first and maps.ndim > 3:
            return 1
        if seen is None:
            return None
        if seen.module is module and seen.shape == maps.shape:
            return seen.channels
        n_channels = seen.shape[seen.channels]
        alike = [axis for axis in range(1, maps.ndim) if maps.shape[axis] == n_channels]
        if len(alike) == 1:
            return alike[0]
        same_places = len(seen.shape) == maps.ndim and all(
            maps.shape[axis] == seen.shape[axis]
            for axis in range(1, maps.ndim)
            if axis != seen.channels
        )
        # Branches side by side have more channels, and pooled maps of many sizes fewer places.
        is_kept = same_places or (len(seen.shape) == maps.ndim and seen.channels in alike)
        return seen.channels if is_kept and not (alike and _moves_axes(module)) else None


def _channels_come_first(module: nn.Module) -> bool | None:
    """Tell whether a module has the channels first or last; None if it tells nothing."""
    if isinstance(module, _FIRST):
        return True
    is_gpt2s = hasattr(module, "nf") and hasattr(module, "nx")  # a linear layer of transformers
    if is_linear(module) or is_gpt2s or isinstance(module, _LAST):
        return False
    if isinstance(module, nn.LayerNorm):
        return False if len(module.normalized_shape) == 1 else None
    return None


def _layer_norm_comes_first(module: nn.LayerNorm, output: torch.Tensor) -> bool:
    """Tell whether a layer norm is one of the kinds that torchvision and timm have for maps."""
    n_channels = module.normalized_shape[0]
    if output.shape[-1] != n_channels:
        return True
    return output.ndim == 4 and output.shape[1] == n_channels and "2d" in type(module).__name__


def _moves_axes(module: nn.Module) -> bool:
    """Tell whether channels may come first in some parts of a module, and last in others."""
    return {True, False} <= {_channels_come_first(part) for part in module.modules()} or (
        _moves(module)
    )


def _moves(module: nn.Module) -> bool:
    """Tell whether a part of a module has a name that says that it moves axes."""
    names = [type(part).__name__.lower() for part in module.modules()]
    return any(word in name for word in _MOVING for name in names)
