"""Networks that cannot be copied: they are built in each process, and told by their content."""

import hashlib
import re
from collections.abc import Callable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._layers import Learned, input_dtype

_TYPES = {  # of the inputs of an ONNX model
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


class BuiltBackbone:
    """A network that pickles as the way to build it; it has the parts of `FrozenBackbone`.

    Such are TorchScript, modules that hold locks or sessions, and ONNX models. Only the network's
    output can be taken of it, and replicas share it.

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
        """Only the network itself, "", can be asked for."""
        return [""]

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


class OnnxFile:
    """Builds the network of an ONNX file.

    Parameters
    ----------
    path : str
        The file.
    """

    def __init__(self, path: str) -> None:
        self.path = str(Path(path).resolve())

    def __call__(self) -> "OnnxNetwork":
        """Return the network."""
        return OnnxNetwork(self.path)

    def content(self) -> bytes:
        """Return what is in the file."""
        return Path(self.path).read_bytes()

    def __repr__(self) -> str:
        return f"onnx:{self.path}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnnxFile) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)


class OnnxContent:
    """Builds the network of an ONNX file that was read before.

    Parameters
    ----------
    content : bytes
        What was in the file; all weights are in it.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __call__(self) -> "OnnxNetwork":
        """Return the network."""
        return OnnxNetwork(self._content)

    def content(self) -> bytes:
        """Return what was in the file."""
        return self._content

    def __repr__(self) -> str:
        return f"onnx:{len(self._content)} bytes"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnnxContent) and other._content == self._content

    def __hash__(self) -> int:
        return hash(self._content)


class OnnxNetwork(nn.Module):
    """An ONNX model, run by onnxruntime on the CPU.

    Parameters
    ----------
    model : str or bytes
        Its file, or what was in it.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If onnxruntime is missing.
    """

    def __init__(self, model: str | bytes) -> None:
        super().__init__()
        name = "an ONNX model" if isinstance(model, bytes) else f"backbone 'onnx:{model}'"
        if isinstance(model, str) and not Path(model).is_file():
            raise FileNotFoundError(f"{name}: there is no such file")
        runtime = import_optional("onnxruntime", name)
        self.digest = _digest(model)
        self._session = runtime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._types = {each.name: each.type for each in self._session.get_inputs()}
        self.takes_float64 = "tensor(double)" in self._types.values()

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the model's outputs, on the inputs' device."""
        given = {**dict(zip(self._types, inputs, strict=False)), **named}
        missing = [name for name in self._types if name not in given]
        if missing:
            raise ValueError(f"the ONNX model also takes {missing}: give X as a mapping of arrays")
        device = next(iter(given.values())).device
        arrays = {
            name: given[name].cpu().numpy().astype(_TYPES.get(kind, np.float32), copy=False)
            for name, kind in self._types.items()
        }
        outputs = self._session.run(None, arrays)
        return tuple(torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in outputs)


def _digest(model: str | bytes) -> str:
    """Hash a model, with the files beside it that hold its weights."""
    if isinstance(model, bytes):
        return hashlib.sha256(model).hexdigest()
    content = Path(model).read_bytes()
    digest = hashlib.sha256(content)
    for name in names_of_weights(content):
        path = Path(model).parent / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def names_of_weights(content: bytes) -> list[str]:
    """List the files that tensors of an ONNX model are in: values of the key "location"."""
    found = re.finditer(rb"\n\x08location\x12([\x01-\x7f])", content)
    names = {content[each.end() : each.end() + each[1][0]] for each in found}
    return sorted(name.decode(errors="replace") for name in names)
