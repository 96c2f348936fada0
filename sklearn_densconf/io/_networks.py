"""Networks of extractors: ONNX models whole, others by their names, or their weights alone."""

import hashlib
import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.features import FeatureExtractor, FrozenBackbone
from sklearn_densconf.features._backbones import resolve
from sklearn_densconf.features._built import BuiltBackbone
from sklearn_densconf.features._onnx_file import OnnxContent, names_of_weights
from sklearn_densconf.io._values import Reader, Writer

_LIBRARIES = ("torchvision", "timm")
_TYPES = {
    str(dtype): dtype
    for dtype in vars(torch).values()
    if isinstance(dtype, torch.dtype) and not str(dtype).startswith("torch.q")
}


def written(extractor: FeatureExtractor, writer: Writer) -> dict[str, Any]:
    """Return what a file holds of an extractor's network.

    Parameters
    ----------
    extractor : FeatureExtractor
        Fitted, or not.
    writer : Writer
        Takes the arrays.

    Returns
    -------
    dict
        Of one kind: "onnx", "name" or "weights".

    Raises
    ------
    TypeError
        If the network has to be trained, or can only be built in this process.
    """
    backbone, fitted = extractor.backbone, getattr(extractor, "backbone_", None)
    if content := _onnx(fitted if fitted is not None else resolve_onnx(backbone)):
        return {"onnx": writer.add(np.frombuffer(content, np.uint8))}
    if isinstance(backbone, str):
        weights = None if fitted is None else _hash(fitted)
        return {"name": [backbone, getattr(fitted, "fingerprint", None), weights]}
    if isinstance(backbone, (nn.Module, FrozenBackbone)):
        frozen = fitted or _frozen(backbone)
        named = frozen.network().state_dict().items()
        state = [[name, *_of_tensor(tensor, writer)] for name, tensor in named]
        return {"weights": [frozen.fingerprint, fitted is not None, state]}
    raise TypeError(
        f"cannot save a FeatureExtractor of a {type(backbone).__name__}: name the network by a "
        "string, such as 'onnx:FILE', or set backbone to the network itself (after a training, "
        "the extractor's backbone_)"
    )


def resolve_onnx(backbone: Any) -> Any:
    """Return the network of an ONNX file, and anything else as it is."""
    is_file = isinstance(backbone, str) and backbone.startswith("onnx:")
    return resolve(backbone)[0] if is_file else backbone


def read(told: dict[str, Any], network: Any, reader: Reader, is_fitted: bool) -> dict[str, Any]:
    """Return the attributes of an extractor that have its network.

    Parameters
    ----------
    told : dict
        What `written` gave.
    network : torch.nn.Module, FrozenBackbone or None
        What the caller gave, for a file that has weights alone.
    reader : Reader
        Has the arrays, and knows which functions are allowed.
    is_fitted : bool
        Whether the extractor was fitted.

    Returns
    -------
    dict
        "backbone" and, of a fitted extractor, "backbone_" and "_preprocessing_of_library".

    Raises
    ------
    ValueError
        If the network that is there is another, or none was given.
    """
    ((kind, parts),) = told.items()
    backbone, found, preprocessing = _READ[kind](parts, network, reader)
    if not is_fitted:
        return {"backbone": backbone}
    return {"backbone": backbone, "backbone_": found, "_preprocessing_of_library": preprocessing}


def _onnx(network: Any) -> bytes | None:
    """Return the content of an ONNX model; None of other networks."""
    build: Any = getattr(network, "build", None)
    if not hasattr(build, "content"):
        return None
    content = build.content()
    if others := names_of_weights(content):
        raise ValueError(
            f"cannot save {build!r}: it has weights in other files, {others}. Write the model with "
            "all weights in it, with onnx.save_model(..., save_as_external_data=False)"
        )
    if hashlib.sha256(content).hexdigest() != network.fingerprint:
        raise ValueError(f"cannot save {build!r}: the file is another than at fit. Fit again")
    return content


def _read_onnx(number: int, _network: Any, reader: Reader) -> tuple[Any, Any, None]:
    found = BuiltBackbone(OnnxContent(reader.array(number).tobytes()))
    return found, found, None


def _read_name(parts: Any, _network: Any, reader: Reader) -> tuple[str, Any, Any]:
    name, told, weights = parts
    if name.partition(":")[0] not in _LIBRARIES:
        reader.function(name)
    found, preprocessing = resolve(name)
    if told is not None and found.fingerprint != told:
        _check_same(name, _hash(found) == weights)
    return name, found, preprocessing


def _read_weights(parts: Any, network: Any, reader: Reader) -> tuple[Any, Any, None]:
    told, _, state = parts
    if network is None:
        raise ValueError(
            "it has the weights of a network, but not its code: pass network=, the same module "
            "built anew, whose weights are replaced in a copy"
        )
    module = _with_its_own_tensors(_frozen(network).network())
    tensors = {name: _to_tensor(reader, *about) for name, *about in state}
    _check_types(module, tensors)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"network= is not the one that was saved: {error}") from error
    found = FrozenBackbone(module)
    if found.fingerprint != told:
        _check_same(type(module).__name__, same_weights=True)
    return found, found, None


def _frozen(network: Any) -> FrozenBackbone:
    return network if isinstance(network, FrozenBackbone) else FrozenBackbone(network)


def _check_same(name: str, same_weights: bool) -> None:
    if not same_weights:
        raise ValueError(
            f"{name} has other weights here than when the file was saved: restore them, or save an "
            "ONNX file"
        )
    warnings.warn(
        f"the code of {name}, or the version of its library or of Python, is not that with which "
        "the file was saved: its features may differ",
        UserWarning,
        stacklevel=2,
    )


def _check_types(module: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    """Refuse what torch would round to the type that is there."""
    for name, there in module.state_dict().items():
        if name in tensors and tensors[name].dtype != there.dtype:
            saved = tensors[name].dtype
            raise ValueError(
                f"network= is not the one that was saved: {name} is of {there.dtype}, and was of "
                f"{saved}. Convert it first, network.to({saved})"
            )


def _with_its_own_tensors(module: nn.Module) -> nn.Module:
    """Let a replica have its weights to itself, since it is about to get others."""
    copies: dict[int, nn.Parameter] = {}  # tied parameters stay tied
    for part in module.modules():
        for name, shared in part._parameters.items():
            if shared is None:
                continue
            if id(shared) not in copies:
                copies[id(shared)] = nn.Parameter(shared.clone(), shared.requires_grad)
            part._parameters[name] = copies[id(shared)]
    return module


def _hash(network: Any) -> str:
    """Hash the weights alone."""
    state = network.network().state_dict()
    return fingerprint([(name, tensor) for name, tensor in state.items()])


def _of_tensor(tensor: torch.Tensor, writer: Writer) -> tuple[str, list[int], int]:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return str(tensor.dtype), list(tensor.shape), writer.add(values.numpy())


def _to_tensor(reader: Reader, dtype: str, shape: list[int], number: int) -> torch.Tensor:
    return torch.from_numpy(reader.array(number)).view(_TYPES[dtype]).reshape(shape)


_READ = {"onnx": _read_onnx, "name": _read_name, "weights": _read_weights}
