"""What features must be: a plain hook on the user's network, and pooling written down anew."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from ._entry import Place, run


def _rows(values: np.ndarray, _mask: np.ndarray | None) -> np.ndarray:
    return values.reshape(len(values), -1)


def _channels_first(values: np.ndarray, _mask: np.ndarray | None) -> np.ndarray:
    return values.reshape(*values.shape[:2], -1).mean(2)


def _channels_last(values: np.ndarray, _mask: np.ndarray | None) -> np.ndarray:
    return values.reshape(len(values), -1, values.shape[-1]).mean(1)


def _masked(values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    assert mask is not None
    assert values.shape[:2] == mask.shape
    return np.stack([row[kept == 1].mean(0) for row, kept in zip(values, mask, strict=True)])


RULES: dict[str, Callable[[np.ndarray, np.ndarray | None], np.ndarray]] = {
    "rows": _rows,
    "first": _channels_first,
    "last": _channels_last,
    "masked": _masked,
}


def expected(network: nn.Module, place: Place, X: Any, *, of_input: bool) -> np.ndarray:
    """Return the features of samples.

    Parameters
    ----------
    network : torch.nn.Module
        The user's network, in evaluation mode.
    place : Place
        Where.
    X : array or mapping of arrays
        The samples.
    of_input : bool
        Whether the input of the module is wanted, not what it gives.

    Returns
    -------
    ndarray of shape (n, n_features), float32
        The features.
    """
    mask = X.get("attention_mask") if isinstance(X, Mapping) else None
    values = _hooked(network, place, X, of_input=of_input)
    return RULES[place.rule](values, mask).astype(np.float32)


def _hooked(network: nn.Module, place: Place, X: Any, *, of_input: bool) -> np.ndarray:
    """Return what a module gives, or is given, in the network's forward pass."""
    caught: list[np.ndarray] = []

    def before(_module: nn.Module, inputs: tuple, named: dict) -> None:
        caught.append(_copied(inputs[0] if inputs else next(iter(named.values()))))

    def after(_module: nn.Module, _inputs: tuple, output: Any) -> None:
        caught.append(_copied(_taken(output, place.takes)))

    module = network.get_submodule(place.module)
    if of_input:
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    with torch.no_grad(), handle:
        run(network, X)
    return caught[-1 if of_input else 0]


def _taken(output: Any, which: int | str) -> torch.Tensor:
    return output if isinstance(output, torch.Tensor) else output[which]


def _copied(values: torch.Tensor) -> np.ndarray:
    return values.detach().numpy().copy()
