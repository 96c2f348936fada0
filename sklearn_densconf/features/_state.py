"""What is kept of a fitted extractor: pickles and copies have its network, skops its name."""

from collections.abc import Callable
from typing import Any

from torch import nn

from sklearn_densconf.features._backbones import (
    Resolved,
    function_named,
    is_of_library,
    network_of,
    resolve,
)
from sklearn_densconf.features._frozen import FrozenBackbone

NEW = object().__reduce_ex__(2)[0]  # by which pickles make any object


class NamedBackbone:
    """The name of a network, in the place of its copy.

    Parameters
    ----------
    name : str
        "torchvision:NAME" or "timm:NAME"; or "package.module:function".
    fingerprint : str
        Of the network.
    """

    def __init__(self, name: str, fingerprint: str) -> None:
        self.name = name
        self.fingerprint = fingerprint
        # The function itself: its name then stands among the types that have to be trusted.
        self.build: Callable[[], nn.Module] | None = (
            None if is_of_library(name) else function_named(name)
        )

    def resolved(self) -> Resolved:
        """Return the network and its library's preprocessing.

        Raises
        ------
        ValueError
            If it is another network than that of which this is the name.
        """
        found = resolve(self.name) if is_of_library(self.name) else (network_of(self.build), None)
        if found[0].fingerprint != self.fingerprint:
            raise ValueError(
                f"{self.name} builds another network now than when the extractor was fitted"
            )
        return found


def for_pickles(state: dict[str, Any]) -> dict[str, Any]:
    """Return an extractor's state: of a module its copy, that of `fit` if alike; no replicas."""
    state = {k: v for k, v in state.items() if k != "_replicas"}
    if not isinstance(state["backbone"], nn.Module):
        return state
    copied, fitted = FrozenBackbone(state["backbone"]), state.get("backbone_")
    is_alike = fitted is not None and fitted.fingerprint == copied.fingerprint
    return {**state, "backbone": fitted if is_alike else copied}


def for_skops(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state without the network, if it has a name; that of an ONNX file is in it."""
    backbone, fitted = state["backbone"], state.get("backbone_")
    if fitted is None or not isinstance(backbone, str) or backbone.startswith("onnx:"):
        return state
    named = NamedBackbone(backbone, fitted.fingerprint)
    return {**state, "backbone_": named, "_preprocessing_of_library": None}


def restored(state: dict[str, Any]) -> dict[str, Any]:
    """Return a state with the network that its name builds."""
    if not isinstance(named := state.get("backbone_"), NamedBackbone):
        return state
    network, preprocessing = named.resolved()
    return {**state, "backbone_": network, "_preprocessing_of_library": preprocessing}
