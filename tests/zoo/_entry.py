"""What the zoo knows of a network: how to build it, what to feed it, and where to look."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

N_SAMPLES = 4
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
WHICH_AXIS = "set channel_axis=1 if they come first, -1 if last"
NO_LINEAR = "the network has none: name a layer"  # said where there is no linear layer


@dataclass(frozen=True)
class Place:
    """A place in a network, and how its activations become one row per sample.

    Parameters
    ----------
    module : str
        Dotted name of the module that a user would hook; "" is the network.
    rule : str
        Name of one of `RULES`, known from the library's code.
    takes : int or str, default=0
        Which of the module's results, by number or name, where it gives several.
    asked : str, default=""
        The layer that is asked for, where it must be refused; "" is the module.
    refusal : str, default=""
        Regular expression of the error that the extractor must give here, if it must refuse.
    cure : mapping, default={}
        The parameters of the extractor that the error names as the cure.
    """

    module: str
    rule: str = "rows"
    takes: int | str = 0
    asked: str = ""
    refusal: str = ""
    cure: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """A network of the zoo.

    Parameters
    ----------
    name : str
        What the page calls it.
    build : callable
        Makes the network with random weights.
    sample : callable
        Makes X, `N_SAMPLES` samples.
    output, penultimate, inside : Place
        The three places that are checked: the network's output, the input of its last linear
        layer (whose module is named), and a layer inside.
    """

    name: str
    build: Callable[[], nn.Module]
    sample: Callable[[], Any]
    output: Place
    penultimate: Place
    inside: Place

    def network(self) -> nn.Module:
        """Build the network, with weights and statistics as training might leave them."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = self.build()
            _shake(network)
            _take_statistics(network, self.sample())
            return network

    @property
    def places(self) -> dict[str, Place]:
        """The places by the names that the page gives them."""
        return {"output": self.output, "penultimate": self.penultimate, "inside": self.inside}


@torch.no_grad()
def _shake(network: nn.Module) -> None:
    """Move all weights off their initial values.

    Libraries initialise heads and scales by 0: features would not show whether they are used.
    """
    for weight in network.parameters():
        spread = weight.std().item() if weight.numel() > 1 else 0.0
        weight.add_(torch.randn_like(weight) * 0.1 * (spread if spread > 1e-4 else 1.0))


@torch.no_grad()
def _take_statistics(network: nn.Module, X: Any) -> None:
    """Fill the running statistics of BatchNorm, then move them off those of the samples.

    With its initial ones, deep networks give nearly the same for all samples, and some the same in
    both modes.
    """
    norms = [part for part in network.modules() if isinstance(part, NORMS)]
    if not norms:
        return
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    run(network.train(), X)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.running_mean.add_(norm.running_var.sqrt() * torch.randn_like(norm.running_mean) / 10)
        norm.running_var.mul_(torch.rand_like(norm.running_var) + 0.5)
        # Else rounding is blown up in channels that hardly vary.
        norm.running_var.add_(0.3 * norm.running_var.mean())


def run(network: nn.Module, X: Any) -> Any:
    """Call a network with samples."""
    if isinstance(X, Mapping):
        return network(**{name: torch.from_numpy(values) for name, values in X.items()})
    return network(torch.from_numpy(X))


def pictures(size: int, channels: int = 3) -> Callable[[], np.ndarray]:
    """Return a maker of pictures (n, channels, size, size), float32."""
    return lambda: normal(channels, size, size)


def normal(*shape: int) -> np.ndarray:
    """Return normal samples (n, *shape), float32."""
    return np.random.default_rng(0).normal(size=(N_SAMPLES, *shape)).astype(np.float32)
