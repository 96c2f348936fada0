"""Activations of named layers in one forward pass that stops after the last of them."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from difflib import get_close_matches

import torch
from torch import nn

OUTPUT = "output"  # what the network itself is called where layers have names


def _flatten(maps: torch.Tensor) -> torch.Tensor:
    return maps.flatten(1)


def _average(maps: torch.Tensor) -> torch.Tensor:
    return maps.mean(_places(maps))


def _maximum(maps: torch.Tensor) -> torch.Tensor:
    return maps.amax(_places(maps))


def _places(maps: torch.Tensor) -> tuple[int, ...]:
    """Axes of place: 2 onwards in maps (n, c, h, w), 1 in sequences of tokens (n, t, c)."""
    return (1,) if maps.ndim == 3 else tuple(range(2, maps.ndim))


POOLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "avg": _average,
    "max": _maximum,
    "flatten": _flatten,
}


class _Finished(BaseException):
    """Ends a forward pass; no Exception, so that no network catches it."""


class Tap:
    """A network that gives the pooled activations of some of its layers.

    Parameters
    ----------
    network : torch.nn.Module
        A replica of its own: hooks stay on it.
    layers : list of str
        Dotted names, "" for the network itself. Of a layer that is called several times in one
        pass the first call counts.
    pooling : str
        Name of one of `POOLINGS`, applied to activations with more than two axes.
    """

    def __init__(self, network: nn.Module, layers: list[str], pooling: str) -> None:
        self._network = network
        self._layers = layers
        self._pool = POOLINGS[pooling]
        self._taken: dict[str, torch.Tensor] = {}
        modules = dict(named_layers(network))
        for layer in layers:
            modules[layer].register_forward_hook(self._hook(layer))

    def _hook(self, layer: str) -> Callable[[nn.Module, object, object], None]:
        def take(_module: nn.Module, _inputs: object, output: object) -> None:
            if layer not in self._taken:
                self._taken[layer] = self._pooled(layer, output)
            if len(self._taken) == len(self._layers):
                raise _Finished

        return take

    def _pooled(self, layer: str, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor):
            raise TypeError(
                f"layer {layer or OUTPUT!r} gives a {type(output).__name__}, not a tensor: "
                "name a layer that gives one tensor"
            )
        if output.ndim > 2:
            output = self._pool(output)
        # Pooled and copied at once: an in-place ReLU that follows would change it.
        return output.reshape(len(output), -1).to(torch.float32, copy=True)

    def __call__(self, X: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor (n, units), float32, for each layer."""
        self._taken = {}
        with suppress(_Finished):
            self._network(X)
        taken, self._taken = self._taken, {}
        if missing := [layer for layer in self._layers if layer not in taken]:
            raise ValueError(f"the network's forward pass never calls the layers {missing}")
        for layer in self._layers:
            if len(taken[layer]) != len(X):
                raise ValueError(
                    f"layer {layer or OUTPUT!r} gives {len(taken[layer])} rows for {len(X)} "
                    f"samples of shape {tuple(X.shape[1:])}: its first axis must be the sample"
                )
        return [taken[layer] for layer in self._layers]


def named_layers(network: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """List all layers with their names; one that has several names is there under each."""
    return network.named_modules(remove_duplicate=False)


def check_layers(layer: str | Iterable[str | None] | None, known: list[str]) -> list[str]:
    """Return a list of layers' names, "" for the output, after a check that the network has them.

    Parameters
    ----------
    layer : str, None or list of them
        What the user asked for; None is the network's output.
    known : list of str
        Names of all layers of the network.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    ValueError
        If a layer does not exist (near names are listed), is asked for twice, or none is.
    """
    wanted = [layer] if layer is None or isinstance(layer, str) else list(layer)
    names = ["" if name is None else name for name in wanted]
    for name in names:
        if name not in known:
            near = get_close_matches(str(name), known, n=5, cutoff=0.4) or known[1:6]
            raise ValueError(
                f"layer {name!r} does not exist in the network; near names: {near}. "
                "All names: [name for name, _ in network.named_modules()]"
            )
    if not names or len({name or OUTPUT for name in names}) < len(names):
        raise ValueError(
            "layer must be None, a name, or distinct names in a list, None being called "
            f"{OUTPUT!r}; got {layer!r}"
        )
    return names
