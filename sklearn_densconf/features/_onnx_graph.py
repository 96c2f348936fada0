"""What the nodes of an ONNX model tell: names of layers, axes of channels, the last linear one."""

from typing import Any

from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._layers import PENULTIMATE
from sklearn_densconf.features._onnx_model import OnnxModel

_LINEAR = {"Gemm", "MatMul"}
_FIRST = {  # operations that have the channels first
    *("AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "GlobalAveragePool"),
    *("GlobalMaxPool", "InstanceNormalization", "LRN", "MaxPool"),
}
_LAST = {*_LINEAR, "Attention", "Gather", "LayerNormalization", "SkipLayerNormalization"}
_KEEPING = {  # value by value
    *("Add", "Cast", "Clip", "Div", "Dropout", "Elu", "Erf", "Gelu", "HardSigmoid", "HardSwish"),
    *("Identity", "LeakyRelu", "Mish", "Mul", "PRelu", "Relu", "Selu", "Sigmoid", "Softplus"),
    *("Sub", "Tanh"),
}


class OnnxGraph:
    """The nodes of an ONNX model.

    Parameters
    ----------
    content : bytes
        What is in its file.
    folder : str
        Where the files are that hold its weights, if it has any.

    Attributes
    ----------
    tensor_of : dict of str to str
        The tensor of each layer: each tensor that a node gives, and the first one of each node
        that has a name.

    Raises
    ------
    ImportError
        If onnx is missing.
    """

    def __init__(self, content: bytes, folder: str) -> None:
        self._onnx: Any = import_optional("onnx", "Taking layers of an ONNX model")
        self._content = content
        self._folder = folder
        graph = self._onnx.load_model_from_string(content).graph
        self._weights = {each.name for each in graph.initializer}
        self._weights |= {each.output[0] for each in graph.node if each.op_type == "Constant"}
        nodes = [each for each in graph.node if each.op_type != "Constant"]
        self._by = {name: node for node in nodes for name in node.output if name}
        named = {node.name: node.output[0] for node in nodes if node.name}
        self.tensor_of = named | {name: name for name in self._by}

    def giving(self, tensors: list[str]) -> OnnxModel:
        """Return a model that gives some tensors, and computes no more than they need."""
        model = self._onnx.load_model_from_string(self._content)
        del model.graph.output[:]
        known = {each.name: each for each in model.graph.value_info}
        for name in tensors:
            model.graph.output.append(known.get(name) or self._onnx.ValueInfoProto(name=name))
        return OnnxModel(model.SerializeToString(), "An ONNX model", self._folder)

    def penultimate(self, output: str) -> str:
        """Return the input of the last linear layer that an output depends on.

        Raises
        ------
        ValueError
            If there is none that is told by its operation.
        """
        needed, waiting = set(), [output]
        while waiting:
            name = waiting.pop()
            if name in self._by and name not in needed:
                needed.add(name)
                waiting.extend(self._by[name].input)
        for name, node in reversed(self._by.items()):  # they stand in the order in which they run
            if name in needed and node.op_type in _LINEAR and node.input[1] in self._weights:
                return node.input[0]
        raise ValueError(
            f"layer={PENULTIMATE!r} is the input of the last linear layer, but the ONNX model has "
            f"no {' or '.join(sorted(_LINEAR))} with weights: name a tensor"
        )

    def channel_axis(self, tensor: str) -> int | None:
        """Return the axis of the channels in a tensor; None if its nodes do not tell."""
        while (node := self._by.get(tensor)) is not None:
            if node.op_type in _FIRST:
                return 1
            if node.op_type in _LAST:
                return -1
            made = [name for name in node.input if name in self._by]
            if node.op_type not in _KEEPING or not made:
                return None
            tensor = made[0]
        return None
