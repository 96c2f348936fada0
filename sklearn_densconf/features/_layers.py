"""Activations of named layers in one forward pass that stops after the last of them."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

OUTPUT = "output"  # what the network itself is called where layers have names
PENULTIMATE = "penultimate"  # the input of the last linear layer that runs


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


@dataclass
class Learned:
    """What passes of a network have taught about it, as far as is known in this process.

    Parameters
    ----------
    takes_channels_last : bool
        Whether no layer refuses maps that lie in memory with the channels last.
    takes_integers : bool
        Whether it does not refuse integers, as linear layers do.
    last_linear : str or None
        Name of the linear layer that runs last.
    rows_checked : bool
        Whether it was looked at whether samples depend on their batch.
    """

    takes_channels_last: bool = True
    takes_integers: bool = True
    last_linear: str | None = None
    rows_checked: bool = False


class _Finished(BaseException):
    """Ends a forward pass; no Exception, so that no network catches it."""


class Tap:
    """A network that gives the pooled activations of some of its layers.

    Parameters
    ----------
    network : torch.nn.Module
        A replica of its own: hooks stay on it.
    layers : list of str
        Dotted names, "" for the network itself, `PENULTIMATE` for the input of the last linear
        layer that runs. Of a layer that is called several times in one pass the first call counts.
    pooling : str
        Name of one of `POOLINGS`, applied to activations with more than two axes.
    learned : Learned
        What earlier passes of the network taught, and this one may add to.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: list[str],
        pooling: str,
        learned: Learned,
    ) -> None:
        self.network = network
        self._layers = layers
        self._pool = POOLINGS[pooling]
        self._taken: dict[str, torch.Tensor] = {}
        self._ran: str | None = None
        self._learned = learned
        modules = dict(named_layers(network))
        self._runs_to_the_end = PENULTIMATE in layers and PENULTIMATE not in modules
        for layer in layers:
            if layer in modules:
                modules[layer].register_forward_hook(self._hook(layer))
        if self._runs_to_the_end:
            self._watch(modules)

    def _hook(self, layer: str) -> Callable[[nn.Module, object, object], None]:
        def take(_module: nn.Module, _inputs: object, output: object) -> None:
            if layer not in self._taken:
                self._taken[layer] = self._pooled(layer, output)
            if len(self._taken) == len(self._layers) and not self._runs_to_the_end:
                raise _Finished

        return take

    def _watch(self, modules: dict[str, nn.Module]) -> None:
        """Hook the linear layers; the one defined last is supposed to run last."""
        linear = {name: part for name, part in modules.items() if _is_linear(part)}
        if not linear:
            raise ValueError(
                f"layer={PENULTIMATE!r} is the input of the last linear layer, but the network has "
                "none: name a layer"
            )
        if self._learned.last_linear is None:
            self._learned.last_linear = list(linear)[-1]
        for name, part in linear.items():
            part.register_forward_pre_hook(self._linear_hook(name), with_kwargs=True)

    def _linear_hook(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def take(_module: nn.Module, inputs: Any, named: Any) -> None:
            self._ran = name
            if name == self._learned.last_linear:  # its last call counts
                given = inputs[0] if inputs else next(iter(named.values()))
                self._taken[PENULTIMATE] = self._pooled(PENULTIMATE, given)

        return take

    def _pooled(self, layer: str, output: object) -> torch.Tensor:
        activations = tensor_in(output)
        if activations is None:
            raise TypeError(
                f"layer {layer or OUTPUT!r} gives a {type(output).__name__} without a tensor: "
                "name a layer that gives one"
            )
        if activations.ndim > 2:
            activations = self._pool(activations)
        # Pooled and copied at once: an in-place ReLU that follows would change it.
        return activations.reshape(len(activations), -1).to(torch.float32, copy=True)

    def __call__(self, X: torch.Tensor) -> list[torch.Tensor]:
        """Return one tensor (n, units), float32, for each layer."""
        taken = self._run(X)
        if self._ran not in (None, self._learned.last_linear):
            self._learned.last_linear = self._ran
            taken = self._run(X)
        self._check(taken, X)
        return [taken[layer] for layer in self._layers]

    def _run(self, X: torch.Tensor) -> dict[str, torch.Tensor]:
        self._taken, self._ran = {}, None
        with suppress(_Finished):
            self.network(X)
        taken, self._taken = self._taken, {}
        return taken

    def _check(self, taken: dict[str, torch.Tensor], X: torch.Tensor) -> None:
        """Check that each layer gave a row per sample."""
        if missing := [layer for layer in self._layers if layer not in taken]:
            raise ValueError(f"the network's forward pass never calls the layers {missing}")
        for layer in self._layers:
            if len(taken[layer]) != len(X):
                raise ValueError(
                    f"layer {layer or OUTPUT!r} gives {len(taken[layer])} rows for {len(X)} "
                    f"samples of shape {tuple(X.shape[1:])}: its first axis must be the sample"
                )


def tensor_in(output: Any) -> torch.Tensor | None:
    """Return what a layer gives: its logits if something is called so, else its first tensor."""
    logits = (
        output.get("logits") if isinstance(output, Mapping) else getattr(output, "logits", None)
    )
    if isinstance(logits, torch.Tensor):
        return logits
    if isinstance(output, torch.Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output
    if not isinstance(output, (Mapping, list, tuple)):
        return None
    return next((found for part in parts if (found := tensor_in(part)) is not None), None)


def _is_linear(module: nn.Module) -> bool:
    """Tell whether a module is a linear layer; quantised ones are no `torch.nn.Linear`."""
    return hasattr(module, "in_features") and hasattr(module, "out_features")


def named_layers(network: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """List all layers with their names; one that has several names is there under each."""
    return network.named_modules(remove_duplicate=False)


def check_layers(layer: str | Iterable[str | None] | None, known: list[str]) -> list[str]:
    """Return a list of layers' names, "" for the output, after a check that the network has them.

    Parameters
    ----------
    layer : str, None or list of them
        What the user asked for; None and "output" are the network's output, "penultimate" the
        input of its last linear layer, unless a layer has that name.
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
    names: list[Any] = ["" if _is_output(name, known) else name for name in wanted]
    for name in names:
        if name not in known and name != PENULTIMATE:
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


def _is_output(name: Any, known: list[str]) -> bool:
    return name is None or (name == OUTPUT and OUTPUT not in known)
