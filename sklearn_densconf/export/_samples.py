"""What an exported pipeline takes: its samples, as they are before or after preprocessing."""

from collections.abc import Mapping
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf.export._network import Floats, Pixels
from sklearn_densconf.features import FeatureExtractor
from sklearn_densconf.features.inputs import Batch, Named

N_EXAMPLES = 3  # not 1, which tracers take for a constant


def without_preprocessing(extractor: FeatureExtractor) -> FeatureExtractor:
    """Return an extractor of the same features from samples that are preprocessed, on the CPU."""
    bare = copy(extractor)
    bare.preprocessing = bare._preprocessing_of_library = None
    bare.memory, bare.device, bare.compile = None, "cpu", False
    return bare


def example_for(extractor: FeatureExtractor, example: Any) -> Batch:
    """Return a batch such as the exported module will take.

    Parameters
    ----------
    extractor : FeatureExtractor
        Fitted.
    example : array, Tensor or mapping of them, or None
        What the user gave. None: floats of the shape that the network has seen.

    Returns
    -------
    Tensor or Named
        Samples, of the type and shape of the example's; never one alone.

    Raises
    ------
    ValueError
        If it cannot be known what the network takes, or the example has no samples.
    """
    if example is None:
        return _floats(extractor.input_shape_)
    tensors = Named(dict(example)) if isinstance(example, Mapping) else example
    if isinstance(tensors, Named):
        return tensors.map(_several)
    return _several(tensors)


def _floats(shape: Any) -> torch.Tensor:
    if not all(isinstance(size, int | np.integer) for size in shape):
        raise ValueError(
            "the network takes several inputs by name: pass example=, a mapping of arrays such as "
            "are given to it"
        )
    values = np.random.default_rng(0).random((N_EXAMPLES, *map(int, shape)), np.float32)
    return torch.from_numpy(values)


def _several(values: Any) -> torch.Tensor:
    """Return a few samples as a tensor: integers as int64, but for pixels."""
    tensor = torch.as_tensor(np.array(values) if not isinstance(values, torch.Tensor) else values)
    tensor = tensor.detach().cpu()
    if tensor.ndim < 2 or tensor.shape[0] == 0 or tensor.is_complex():
        raise ValueError(
            f"example must be a batch of samples along its first axis, got {tuple(tensor.shape)} "
            f"of {tensor.dtype}"
        )
    if not (tensor.is_floating_point() or tensor.dtype == torch.uint8):
        tensor = tensor.to(torch.int64)
    rows = torch.arange(N_EXAMPLES) % tensor.shape[0]
    return tensor[rows]


def samples_module(extractor: FeatureExtractor, example: Batch, *, preprocessed: bool) -> nn.Module:
    """Return the module from samples to what the network takes.

    Parameters
    ----------
    extractor : FeatureExtractor
        Fitted.
    example : Tensor or Named
        As of `example_for`.
    preprocessed : bool
        Whether the samples are what the preprocessing gives.

    Returns
    -------
    torch.nn.Module
        From a batch to a batch.

    Raises
    ------
    ValueError
        If the example cannot be brought to the shape that the network has seen, or the
        preprocessing does another thing to a batch than to its pictures one by one.
    """
    shape = extractor.input_shape_
    if isinstance(example, Named):
        return nn.Identity()
    preprocessing = extractor.preprocessing
    if not preprocessed and isinstance(preprocessing, nn.Module):
        _check_works_on_batches(preprocessing, example, shape)
        return preprocessing
    module = _of_plain(tuple(example.shape[1:]), shape, example.dtype == torch.uint8)
    if module is None:
        raise ValueError(
            f"example has samples of shape {tuple(example.shape[1:])}, but the network was fitted "
            f"to {tuple(shape)}: pass samples such as those of fit"
        )
    return module


def _of_plain(got: tuple[int, ...], shape: tuple[int, ...], are_pixels: bool) -> nn.Module | None:
    """Return what is done without preprocessing; None if the shapes do not fit."""
    flat = (int(np.prod(shape)),)
    if not are_pixels or len(shape) == 1:
        return Floats(shape) if got in (shape, flat) else None
    if len(shape) == 3 and got == (*shape[1:], shape[0]) and got != shape:
        return Pixels(shape, channels_last=True)
    fits = got in (shape, flat) or (shape[0] == 1 and got == shape[1:])
    return Pixels(shape, channels_last=False) if fits else None


def _check_works_on_batches(
    preprocessing: nn.Module, example: torch.Tensor, shape: tuple[int, ...]
) -> None:
    try:
        one_by_one = torch.stack([preprocessing(picture) for picture in example])
        together = preprocessing(example)
    except Exception as error:
        raise ValueError(
            f"the preprocessing {type(preprocessing).__name__} cannot take samples of shape "
            f"{tuple(example.shape[1:])} and {example.dtype} ({error}): pass example=, tensors "
            "such as it takes, or preprocessed=True and preprocess outside"
        ) from error
    alike = together.shape == one_by_one.shape and torch.allclose(together, one_by_one, atol=1e-5)
    if not alike or tuple(together.shape[1:]) != tuple(shape):
        raise ValueError(
            f"the preprocessing {type(preprocessing).__name__} makes {tuple(together.shape)} of a "
            f"batch {tuple(example.shape)}, and {tuple(one_by_one.shape)} of its samples one by "
            f"one; the network was fitted to {tuple(shape)}. It must do the same to a batch as to "
            "each of its samples: else pass preprocessed=True and preprocess outside"
        )
