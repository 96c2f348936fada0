"""The backbone that a user names, as a network: modules, trainers and strings."""

import os
from collections.abc import Callable
from difflib import get_close_matches
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import torch
from sklearn.base import clone
from torch import nn

from sklearn_densconf._modes import converted
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._built import BuiltBackbone
from sklearn_densconf.features._frozen import FrozenBackbone
from sklearn_densconf.features._hub import from_hub
from sklearn_densconf.features._layers import OUTPUT, check_layers, input_dtype, named_layers
from sklearn_densconf.features._onnx_file import OnnxFile, names_of_weights
from sklearn_densconf.features._training import train
from sklearn_densconf.features.inputs import Preprocessing, Source
from sklearn_densconf.features.inputs._pictures import file_digest

FORMS = "'torchvision:NAME', 'timm:NAME', 'onnx:FILE' or 'package.module:function'"
Backbone = FrozenBackbone | BuiltBackbone
Resolved = tuple[Any, Preprocessing | None]


def _is_trainer(backbone: Any) -> bool:
    """Tell whether the backbone is a skorch net, which has to be trained."""
    return hasattr(backbone, "module") and hasattr(backbone, "initialize")


def resolve(backbone: Any) -> Resolved:
    """Return the network that a user named, and its library's preprocessing.

    Parameters
    ----------
    backbone : torch.nn.Module, FrozenBackbone, skorch.NeuralNet or str
        What the user gave. A string is built once in a process,
        and again where a file that it names has changed.

    Returns
    -------
    network : FrozenBackbone or skorch.NeuralNet
        The network; of a skorch net an untrained clone.
    preprocessing : callable or None
        From one PIL image to a tensor; None where the backbone is no library's.

    Raises
    ------
    ValueError
        If a string has none of the forms, or the library does not know the name.
    ImportError
        If the library or the function's module is missing.
    TypeError
        If it is anything else, or the network cannot be held.
    """
    if isinstance(backbone, (FrozenBackbone, BuiltBackbone, nn.Module)):
        return FrozenBackbone(backbone) if isinstance(backbone, nn.Module) else backbone, None
    if _is_trainer(backbone):
        return clone(backbone).initialize(), None
    if not isinstance(backbone, str):
        raise TypeError(
            "backbone must be a torch.nn.Module, a FrozenBackbone, a skorch NeuralNet or one of "
            f"{FORMS}, got {type(backbone).__name__}"
        )
    prefix, colon, name = backbone.partition(":")
    if not colon or not name:
        raise ValueError(f"backbone must be {FORMS}, got {backbone!r}")
    if prefix in _LIBRARIES:
        return _from_library(prefix, name, _content(_given_after(name).get("weights", "")))
    if prefix == "onnx":
        return _from_file(os.path.abspath(name), _content_of_onnx(name)), None
    return network_of(_function(prefix, name)), None


def is_of_library(backbone: str) -> bool:
    """Tell whether a string names a network of a library, which runs no code of others."""
    return backbone.partition(":")[0] in _LIBRARIES


def function_named(backbone: str) -> Callable[[], nn.Module]:
    """Return the function that "package.module:function" names."""
    module, _, name = backbone.partition(":")
    return _function(module, name)


def wanted_layers(network: Any, layer: Any) -> list[str]:
    """Return the names of the layers that the user asked for, as `check_layers` does."""
    if not isinstance(network, BuiltBackbone):
        is_frozen = isinstance(network, FrozenBackbone)
        known = network.layer_names if is_frozen else [n for n, _ in named_layers(network.module_)]
        return check_layers(layer, known)
    if layer in (None, OUTPUT):
        return [""]  # which needs no reader of ONNX
    return check_layers(layer, network.layer_names, network.all_names)


def floats_of(network: Any) -> torch.dtype:
    """Return the type of floating-point samples for what `resolve` gave."""
    if isinstance(network, (FrozenBackbone, BuiltBackbone)):
        return network.input_dtype
    return input_dtype(next(network.module_.parameters(), torch.empty(0)).dtype)


def as_frozen(network: Any, source: Source, y: Any) -> Backbone:
    """Return the network to extract with: a skorch net is trained first."""
    if isinstance(network, (FrozenBackbone, BuiltBackbone)):
        return network
    return FrozenBackbone(train(network, source, y))


def _function(module: str, name: str) -> Callable[[], nn.Module]:
    try:
        return getattr(import_module(module), name)
    except ImportError as error:
        raise ImportError(
            f"backbone '{module}:{name}' needs the module {module}, which could not be imported "
            f"({error})"
        ) from error
    except AttributeError as error:
        raise ValueError(f"backbone '{module}:{name}': {module} has no function {name}") from error


@lru_cache(maxsize=4)
def network_of(build: Callable[[], nn.Module]) -> Backbone:
    """Return the network that a function builds; one that cannot be held is built per process."""
    module: Any = _seeded(build)
    try:
        frozen = FrozenBackbone(module)
        if frozen.can_be_pickled:
            return frozen
    except TypeError:
        if not isinstance(module, nn.Module):
            raise
    return BuiltBackbone(Seeded(build))


@lru_cache(maxsize=4)
def _from_file(path: str, _content: tuple[bytes, ...]) -> BuiltBackbone:
    return BuiltBackbone(OnnxFile(path))


def _content(file: str) -> bytes:
    """Hash a file, since one written anew is another network; nothing where there is none."""
    return file_digest(os.path.abspath(file)) if Path(file).is_file() else b""


def _content_of_onnx(file: str) -> tuple[bytes, ...]:
    """Hash an ONNX file, and those beside it that hold its weights."""
    itself = _content(file)
    beside = _names_beside(os.path.abspath(file), itself) if itself else []
    return itself, *(_content(str(Path(file).parent / name)) for name in beside)


@lru_cache(maxsize=4)
def _names_beside(path: str, _content: bytes) -> list[str]:
    return names_of_weights(Path(path).read_bytes())


class Seeded:
    """Builds a network by a function, its random weights the same every time.

    Parameters
    ----------
    build : callable
        The function.
    """

    def __init__(self, build: Callable[[], nn.Module]) -> None:
        self.build = build

    def __call__(self) -> nn.Module:
        """Return the network."""
        return _seeded(self.build)

    def __repr__(self) -> str:
        return f"{self.build.__module__}:{self.build.__qualname__}"


def _given_after(name: str) -> dict[str, str]:
    """Return what stands behind the question mark of a library's network."""
    return dict(parse_qsl(name.partition("?")[2]))


@lru_cache(maxsize=4)
def _from_library(library: str, name: str, _content_of_weights: bytes) -> Resolved:
    given = _given_after(name)
    name, _, options = name.partition("?")
    weights = given.pop("weights", "DEFAULT")
    if given:
        raise ValueError(f"after '{library}:{name}?' only weights=... is known, got {options!r}")
    network, preprocessing = _LIBRARIES[library](name, weights)
    if Path(weights).is_file():
        network.load_state_dict(_state(weights))
    return FrozenBackbone(network), preprocessing


def _seeded(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose random weights are the same every time; leave torch's seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def _torchvision(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
    models = import_optional("torchvision.models", f"backbone 'torchvision:{name}'")
    _check_known("torchvision network", name, models.list_models())
    entries = models.get_model_weights(name)
    weights = "none" if Path(weights).is_file() else weights
    _check_known(f"weights of torchvision:{name}", weights, ["none", *entries.__members__])
    entry = None if weights == "none" else entries[weights]
    network = _downloaded(lambda: models.get_model(name, weights=entry), f"torchvision:{name}")
    return network, InColour((entry or entries.DEFAULT).transforms())


def _timm(name: str, weights: str) -> tuple[nn.Module, Preprocessing]:
    timm = import_optional("timm", f"backbone 'timm:{name}'")
    _check_known("timm network", name.partition(".")[0], timm.list_models())
    if not Path(weights).is_file():
        _check_known(f"weights of timm:{name}", weights, ["none", "DEFAULT"])
    wanted = weights == "DEFAULT"

    def build() -> nn.Module:
        return timm.create_model(name, pretrained=wanted)

    network = _downloaded(partial(from_hub, build) if wanted else build, f"timm:{name}")
    config = timm.data.resolve_model_data_config(network)
    return network, InColour(timm.data.create_transform(**config, is_training=False))


def _downloaded(build: Callable[[], nn.Module], name: str) -> nn.Module:
    """Build a library's network; where its weights cannot be loaded, tell the other ways."""
    try:
        return _seeded(build)
    except (OSError, RuntimeError) as error:  # also what libraries make of a lost connection
        raise OSError(
            f"backbone '{name}' could not load its weights ({error}). Without a connection, set "
            f"TORCH_HOME or HF_HOME to a folder that has them; '{name}?weights=FILE' takes a "
            f"state_dict that was saved before, and '{name}?weights=none' random weights"
        ) from error


def _state(file: str) -> dict[str, torch.Tensor]:
    """Return the weights in a file of torch or of safetensors."""
    if file.endswith(".safetensors"):
        return import_optional("safetensors.torch", f"weights={file}").load_file(file)
    return torch.load(file, map_location="cpu", weights_only=True)


_LIBRARIES: dict[str, Callable[[str, str], tuple[nn.Module, Preprocessing]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
}


def _check_known(what: str, name: str, names: list[str]) -> None:
    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.4) or names[:3]
        raise ValueError(f"there is no {what} called {name!r}; near names: {near}")


class InColour:
    """A library's preprocessing, of pictures in any mode.

    Parameters
    ----------
    preprocessing : callable
        From an RGB image of PIL to a tensor.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self.preprocessing = preprocessing

    def __call__(self, picture: Any) -> torch.Tensor:
        """Return the tensor of a picture: an image or pixels 0-255; floats as they are."""
        if isinstance(picture, torch.Tensor) and picture.is_floating_point():
            return picture
        if not hasattr(picture, "convert"):
            picture = _image(picture)
        return self.preprocessing(converted(picture, "RGB"))


def _image(pixels: Any) -> Any:
    """Return the image of pixels, channels first or last: grey, in colour or with alpha."""
    array = np.asarray(pixels.cpu() if isinstance(pixels, torch.Tensor) else pixels)
    if array.dtype != np.uint8:
        raise TypeError(
            f"this backbone's preprocessing takes images or pixels of uint8, got {array.dtype}: "
            "give float arrays of the network's own input without it (a module as backbone)"
        )
    if array.ndim == 3 and array.shape[-1] not in (1, 3, 4):
        array = np.moveaxis(array, 0, -1)
    if array.ndim == 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim not in (2, 3) or array.shape[2:] not in ((), (3,), (4,)):
        raise ValueError(f"a picture has 1, 3 or 4 channels, got pixels {tuple(pixels.shape)}")
    image = import_optional("PIL.Image", "Making pictures of arrays")
    return image.fromarray(np.ascontiguousarray(array))
