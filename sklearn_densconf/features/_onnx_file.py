"""Networks in ONNX files, and their layers."""

import hashlib
import re
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._layers import OUTPUT, PENULTIMATE
from sklearn_densconf.features._onnx_graph import OnnxGraph
from sklearn_densconf.features._onnx_model import OnnxModel
from sklearn_densconf.features._pooling import Pooler, Pooling
from sklearn_densconf.features.inputs import Batch, Named

_TYPES = {  # of the inputs of an ONNX model
    "tensor(bool)": np.bool_,
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
}


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
        import_optional("onnxruntime", name)
        # Read once: the file may be another one when a session is opened for more threads.
        self._content = model if isinstance(model, bytes) else Path(model).read_bytes()
        self._folder = "" if isinstance(model, bytes) else str(Path(model).parent)
        self.digest = _digest(self._content, self._folder)
        self.model = OnnxModel(self._content, name, self._folder)
        session = self.model.session
        self._types = {each.name: each.type for each in session.get_inputs()}
        self.outputs = [each.name for each in session.get_outputs()]
        self.takes_float64 = "tensor(double)" in self._types.values()

    @cached_property
    def graph(self) -> OnnxGraph:
        """What the nodes of the model tell of its layers."""
        return OnnxGraph(self._content, self._folder)

    @property
    def layer_names(self) -> list[str]:
        """Names of nodes and of what they give; "" is the first output."""
        return ["", *self.graph.tensor_of]

    def forward(self, *inputs: torch.Tensor, **named: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the model's outputs, on the inputs' device."""
        arrays = self.arrays(*inputs, **named)
        device = next(iter((*inputs, *named.values()))).device
        return tuple(each.to(device) for each in map(as_tensor, self.model.run(arrays)))

    def arrays(self, *inputs: torch.Tensor, **named: torch.Tensor) -> dict[str, np.ndarray]:
        """Return the model's inputs, in their types."""
        given = {**dict(zip(self._types, inputs, strict=False)), **named}
        missing = [name for name in self._types if name not in given]
        if missing:
            raise ValueError(f"the ONNX model also takes {missing}: give X as a mapping of arrays")
        return {
            name: given[name].cpu().numpy().astype(_TYPES.get(kind, np.float32), copy=False)
            for name, kind in self._types.items()
        }


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """Return an output as a tensor."""
    return torch.from_numpy(np.ascontiguousarray(array))


class OnnxTap:
    """Layers of an ONNX model, in the place of a `Tap`. Several threads may run it.

    Parameters
    ----------
    onnx : OnnxNetwork
        The model.
    poolings : dict of str to str or callable
        The wanted layers, "" for the first output, and how each is pooled.
    channel_axes : dict of str to int
        Axes of channels that the user gave, by layer.
    """

    network = nn.Module()  # whose layers cannot be asked one by one

    def __init__(
        self, onnx: OnnxNetwork, poolings: dict[str, Pooling], channel_axes: dict[str, int]
    ) -> None:
        self._onnx = onnx
        self._poolings = poolings
        self._axes = channel_axes
        self._tensors = {layer: self._tensor(layer) for layer in poolings}
        self._wanted = list(dict.fromkeys(self._tensors.values()))
        is_output = self._wanted == onnx.outputs[:1]
        self._model = onnx.model if is_output else onnx.graph.giving(self._wanted)

    def _tensor(self, layer: str) -> str:
        """Return the name of what a layer gives."""
        if layer == "":
            return self._onnx.outputs[0]
        graph = self._onnx.graph
        if layer == PENULTIMATE and layer not in graph.tensor_of:
            return graph.penultimate(self._onnx.outputs[0])
        return graph.tensor_of[layer]

    def __call__(self, X: Batch) -> list[torch.Tensor]:
        """Return one tensor (n, units), float32, for each layer."""
        if isinstance(X, Named):
            arrays, mask = self._onnx.arrays(**X.tensors), X.tensors.get("attention_mask")
        else:
            arrays, mask = self._onnx.arrays(X), None
        found = self._model.run(arrays, self._wanted)
        tensors = dict(zip(self._wanted, map(as_tensor, found), strict=True))
        return [
            self._rows(layer, tensors[tensor], mask, len(X))
            for layer, tensor in self._tensors.items()
        ]

    def _rows(
        self, layer: str, maps: torch.Tensor, mask: torch.Tensor | None, n: int
    ) -> torch.Tensor:
        name = layer or OUTPUT
        if maps.ndim == 0 or len(maps) != n:
            raise ValueError(
                f"layer {name!r} gives activations of shape {tuple(maps.shape)} for {n} samples: "
                "its first axis must be the sample"
            )
        if maps.ndim > 2 and self._poolings[layer] != "flatten":
            pooler = Pooler(self._poolings, self._axes_for(layer, maps), {})
            pooler.mask = mask
            maps = pooler(layer, maps, None)
        return maps.reshape(n, -1).to(torch.float32)

    def _axes_for(self, layer: str, maps: torch.Tensor) -> dict[str, int]:
        """Return the axis of a layer's channels: the user's, or what its nodes tell."""
        if layer in self._axes or not isinstance(self._poolings[layer], str):
            return self._axes
        graph, tensor = self._onnx.graph, self._tensors[layer]
        is_linears = layer == PENULTIMATE and layer not in graph.tensor_of
        axis = -1 if is_linears else graph.channel_axis(tensor)
        if axis is None:
            raise ValueError(
                f"layer {layer or OUTPUT!r} gives activations of shape {tuple(maps.shape)}, and "
                "its nodes do not tell which axis has the channels: set channel_axis=1 if they "
                "come first, -1 if last, or pooling='flatten' to keep all"
            )
        return {layer: axis}


def _digest(content: bytes, folder: str) -> str:
    """Hash a model, with the files of its folder that hold its weights."""
    digest = hashlib.sha256(content)
    for name in names_of_weights(content) if folder else []:
        path = Path(folder) / name
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def names_of_weights(content: bytes) -> list[str]:
    """List the files that tensors of an ONNX model are in: values of the key "location"."""
    found = re.finditer(rb"\n\x08location\x12([\x01-\x7f])", content)
    names = {content[each.end() : each.end() + each[1][0]] for each in found}
    return sorted(name.decode(errors="replace") for name in names)
