"""The ImageNet network that a user names: its logits as a function of undistorted pixels."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._backbones import resolve

_LIBRARIES = ("torchvision:", "timm:")
_LARGEST_INPUT = 1024  # pixels a side, of the plain pictures that show the normalisation


class PixelNetwork(nn.Module):
    """A network behind its own normalisation, reduced to the logits of some of its classes.

    Distortions and attacks are then in units of pixels, and a picture is one array of uint8.
    ``black`` and ``white``, (c,) each, are what the normalisation makes of a black and of a white
    pixel; ``outputs`` says which logits to give, in this order.
    """

    black: torch.Tensor
    white: torch.Tensor
    outputs: torch.Tensor

    def __init__(
        self, network: nn.Module, black: torch.Tensor, white: torch.Tensor, outputs: Sequence[int]
    ) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("black", black[:, None, None])
        self.register_buffer("white", white[:, None, None])
        self.register_buffer("outputs", torch.as_tensor(outputs))

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the logits asked for of pictures (n_samples, c, height, width) in [0, 1]."""
        normalised = self.black + (self.white - self.black) * X
        return self.network(normalised)[:, self.outputs]


@dataclass(frozen=True)
class Backbone:
    """A network and its preprocessing, taken apart into cropping and normalisation.

    ``preprocessing`` makes of an RGB picture of PIL a float tensor (c, height, width): resized,
    cropped and normalised, channel by channel; ``black`` and ``white``, (c,) each, are what it
    makes of a black and of a white pixel.
    """

    network: nn.Module
    preprocessing: Callable[[Any], torch.Tensor]
    black: torch.Tensor
    white: torch.Tensor
    n_outputs: int

    def crop(self, path: str) -> np.ndarray:
        """Return the pixels that the network sees of a picture file: uint8, (c, height, width)."""
        image = import_optional("PIL.Image", "Reading picture files")
        try:
            with image.open(path) as picture:
                in_colour = picture.convert("RGB")
        except OSError as error:
            raise ValueError(
                f"cannot decode the picture {path} ({error}): replace it, or remove it"
            ) from error
        normalised = self.preprocessing(in_colour)
        black, white = self.black[:, None, None], self.white[:, None, None]
        pixels = (normalised - black) / (white - black) * 255
        return pixels.round().clamp(0, 255).to(torch.uint8).numpy()

    def on_pixels(self, outputs: Sequence[int]) -> PixelNetwork:
        """Return the network of pixels in [0, 1] with these outputs."""
        return PixelNetwork(self.network, self.black, self.white, outputs).eval()


def load_backbone(name: str) -> Backbone:
    """Build a network and find out how it normalises pixels.

    Named by "torchvision:NAME" or "timm:NAME", with the library's weights and preprocessing; or
    "package.module:function" or "path/to/file.py:function", called without arguments, where the
    module also has ``preprocess(picture)``, from a picture of PIL to a tensor.
    """
    network, preprocessing = (_library if name.startswith(_LIBRARIES) else _own)(name)
    black, white, shape = _measure_normalisation(name, preprocessing)
    with torch.inference_mode():
        n_outputs = network(torch.zeros(1, *shape)).shape[1]
    return Backbone(network, preprocessing, black, white, n_outputs)


def _library(name: str) -> tuple[nn.Module, Callable[[Any], torch.Tensor]]:
    frozen, preprocessing = resolve(name)
    assert preprocessing is not None
    return frozen.network(), preprocessing


def _own(name: str) -> tuple[nn.Module, Callable[[Any], torch.Tensor]]:
    """Return the user's network and preprocessing."""
    home, colon, function = name.rpartition(":")
    if not colon:
        raise ValueError(
            f"--backbone must be torchvision:NAME, timm:NAME, package.module:function or "
            f"path/to/file.py:function, got {name!r}"
        )
    module = _module_of_file(Path(home)) if home.endswith(".py") else import_module(home)
    for needed in (function, "preprocess"):
        if not hasattr(module, needed):
            raise ValueError(f"--backbone {name}: {home} has no {needed}; define it there")
    return getattr(module, function)().eval(), module.preprocess


def _module_of_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"--backbone: there is no Python file {path}")
    module = sys.modules[path.stem] = module_from_spec(spec)  # so that its classes can be pickled
    spec.loader.exec_module(module)
    return module


def _measure_normalisation(
    name: str, preprocessing: Callable[[Any], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Size]:
    """Return what becomes of black and of white, and the shape; the rest must lie on that line."""
    image = import_optional("PIL.Image", "Reading picture files")
    size = (_LARGEST_INPUT, _LARGEST_INPUT)
    black, grey, white = (
        preprocessing(image.new("RGB", size, (level,) * 3)) for level in (0, 51, 255)
    )
    first, last = black.flatten(1)[:, 0], white.flatten(1)[:, 0]
    straight = first + 51 / 255 * (last - first)
    if not torch.allclose(grey, straight[:, None, None].expand_as(grey), atol=1e-4):
        raise ValueError(
            f"--backbone {name}: its preprocessing is not a crop followed by a normalisation of "
            f"each channel, so pictures cannot be distorted between the two"
        )
    return first, last, black.shape
