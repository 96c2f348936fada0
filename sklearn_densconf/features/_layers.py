"""Names of layers, and what a network's layers give. A leaf."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

OUTPUT = "output"  # what the network itself is called where layers have names
COMPILED = "_orig_mod"  # what torch.compile calls a network in its wrapper
ALL_NAMES = "[name for name, _ in network.named_modules()]"  # where the user finds them
PENULTIMATE = "penultimate"  # the input of the last linear layer that runs


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
    channel_axes : dict of (str, int) to int
        Where the channels are in the activations of a layer that have that number of axes.
    head_checked : bool
        Whether it was looked at whether the last linear layer may give the output.
    rows_checked : bool
        Whether it was looked at whether samples depend on their batch.
    code_checked : bool
        Whether it was looked at whether what its code refers to stays the same as it runs.
    """

    takes_channels_last: bool = True
    takes_integers: bool = True
    last_linear: str | None = None
    channel_axes: dict[tuple[str, int], int] = field(default_factory=dict)
    head_checked: bool = False
    rows_checked: bool = False
    code_checked: bool = False


def input_dtype(weights: torch.dtype) -> torch.dtype:
    """Return the type of floating-point samples for a network: float64 for one of that type.

    For others it is float32; they are cast to narrower types with the batch.
    """
    return torch.float64 if weights == torch.float64 else torch.float32


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


def is_linear(module: nn.Module) -> bool:
    """Tell whether a module is a linear layer; quantised ones are no `torch.nn.Linear`."""
    return hasattr(module, "in_features") and hasattr(module, "out_features")


def named_layers(network: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    """List all layers with their names; one that has several names is there under each."""
    return network.named_modules(remove_duplicate=False)


def check_layers(
    layer: str | Iterable[str | None] | None, known: list[str], all_names: str = ALL_NAMES
) -> list[str]:
    """Return a list of layers' names, "" for the output, after a check that the network has them.

    Parameters
    ----------
    layer : str, None or list of them
        What the user asked for; None and "output" are the network's output, "penultimate" the
        input of its last linear layer, unless a layer has that name.
    known : list of str
        Names of all layers of the network.
    all_names : str
        Where the user finds them.

    Returns
    -------
    list of str
        The names.

    Raises
    ------
    ValueError
        If a layer does not exist (near names are listed), is asked for twice, or none is.
    """
    wanted: list[Any] = [layer]
    if isinstance(layer, Iterable) and not isinstance(layer, str):
        wanted = list(layer)
    if not all(name is None or isinstance(name, str) for name in wanted):
        raise ValueError(
            f"layer must be None, a name such as {(known[1:2] or [OUTPUT])[0]!r}, or distinct "
            f"names in a list, got {layer!r}: see {all_names}"
        )
    names = [_inner_name(name, known) for name in wanted]
    for name in names:
        if name not in known and name != PENULTIMATE:
            near = get_close_matches(str(name), known, n=5, cutoff=0.4) or known[1:6]
            raise ValueError(
                f"layer {name!r} does not exist in the network; near names: {near}. "
                f"All names: {all_names}"
            )
    if not names or len({name or OUTPUT for name in names}) < len(names):
        raise ValueError(
            "layer must be None, a name, or distinct names in a list, None being called "
            f"{OUTPUT!r}; got {layer!r}"
        )
    return names


def _inner_name(name: Any, known: list[str]) -> Any:
    """Return a layer's name in the held network, which has no wrapper of `torch.compile`."""
    if name is None or (name == OUTPUT and OUTPUT not in known):
        return ""
    is_wrapped = isinstance(name, str) and name not in known
    return name.removeprefix(COMPILED).removeprefix(".") if is_wrapped else name
