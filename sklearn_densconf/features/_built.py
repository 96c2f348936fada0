"""Networks that cannot be copied: they are built in each process, and told by their content."""

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import nn

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.features._layers import Learned, input_dtype
from sklearn_densconf.features._onnx_file import OnnxNetwork, OnnxTap
from sklearn_densconf.features._pooling import Pooling


class BuiltBackbone:
    """A network that pickles as the way to build it; it has the parts of `FrozenBackbone`.

    Such are TorchScript, modules that hold locks or sessions, and ONNX models. Only of the latter
    can layers be taken, and replicas share it.

    Parameters
    ----------
    build : callable
        Builds the network, once a process. It can be pickled.
    fingerprint : str
        Hash of the network's content.
    """

    def __init__(self, build: Callable[[], nn.Module], fingerprint: str | None = None) -> None:
        self.build = build
        self.learned = Learned(takes_channels_last=False)
        if fingerprint is not None:
            self.fingerprint = fingerprint

    @cached_property
    def _module(self) -> nn.Module:
        module = self.build()
        return module.eval()

    @property
    def code(self) -> Any:
        """What builds the network."""
        return self.build

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and of the code that builds the network."""
        if isinstance(self._module, OnnxNetwork):
            return self._module.digest
        weights = [(name, tensor) for name, tensor in self._module.state_dict().items()]
        return fingerprint(self.build, getattr(self._module, "code", ""), weights)

    @property
    def layer_names(self) -> list[str]:
        """Names of the layers of an ONNX model; of others only the network itself, ""."""
        return self._module.layer_names if isinstance(self._module, OnnxNetwork) else [""]

    @property
    def all_names(self) -> str:
        """Where the user finds the names of the layers."""
        if isinstance(self._module, OnnxNetwork):
            nodes = "for node in onnx.load(file).graph.node"
            return f"[node.name {nodes}], and of what they give, [node.output[0] {nodes}]"
        return "'output' alone, since its layers cannot be reached: set layer=None"

    def tap(self, poolings: dict[str, Pooling], axes: dict[str, int]) -> OnnxTap | None:
        """Return what gives layers of an ONNX model, in the place of a `Tap`; None of others."""
        if not isinstance(self._module, OnnxNetwork):
            return None
        return OnnxTap(self._module, poolings, axes)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the first floating-point parameter or input of ONNX, float32 without any."""
        if isinstance(self._module, OnnxNetwork):
            return torch.float64 if self._module.takes_float64 else torch.float32
        floating = (p.dtype for p in self._module.parameters() if p.is_floating_point())
        return next(floating, torch.float32)

    @cached_property
    def input_dtype(self) -> torch.dtype:
        """Type of the floating-point samples that it takes."""
        return input_dtype(self.dtype)

    def network(
        self,
        device: str | torch.device = "cpu",
        *,
        channels_last: bool = False,  # noqa: ARG002 - as of `FrozenBackbone`
    ) -> nn.Module:
        """Return a module that runs the network, in evaluation mode.

        Parameters
        ----------
        device : str or torch.device, default="cpu"
            Where the network shall be; it is moved there.
        channels_last : bool, default=False
            Has no effect.

        Returns
        -------
        torch.nn.Module
            A module of its own, so that hooks on it are not seen by others.
        """
        return _Shared(self._module.to(device)).eval()

    def __deepcopy__(self, memo: dict[int, Any]) -> "BuiltBackbone":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (self.build, self.fingerprint)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for skops, which takes no notice of ``__reduce__``."""
        return {"build": self.build, "fingerprint": self.fingerprint}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(vars(_known(**state)))

    def __repr__(self) -> str:
        return f"BuiltBackbone({self.build!r})"


def _again(build: Callable[[], nn.Module], fingerprint: str) -> BuiltBackbone:
    return _known(build, fingerprint)


@lru_cache(maxsize=4)  # once per process
def _known(build: Callable[[], nn.Module], fingerprint: str) -> BuiltBackbone:
    found = BuiltBackbone(build)
    if found.fingerprint != fingerprint:
        raise ValueError(f"{build!r} builds another network now than when the extractor was fitted")
    return found


class _Shared(nn.Module):
    """Runs a network that is no part of it, so that only this module has hooks."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._held = [network]

    def forward(self, *inputs: Any, **named: Any) -> Any:
        return self._held[0](*inputs, **named)
