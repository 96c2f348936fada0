"""Checks of the extractor's parameters, and what they are for each layer."""

import os
from collections.abc import Mapping
from inspect import signature
from typing import Any

import numpy as np

from sklearn_densconf.features._forward import PRECISIONS
from sklearn_densconf.features._layers import OUTPUT
from sklearn_densconf.features._pooling import NAMES, Pooling, is_pooling

ENGINES = ("torch", "onnxruntime")
MEMORY_KEYS = ("file", "content")
_WHOLE = (int, np.integer)


def check_parameters(extractor: Any) -> None:
    """Check all parameters that can be judged by themselves.

    Parameters
    ----------
    extractor : FeatureExtractor
        What has them.

    Raises
    ------
    ValueError
        If one is wrong; the message tells what it must be.
    """
    for name, (holds, wanted) in _rules(extractor).items():
        if not holds:
            raise ValueError(f"{name} must be {wanted}, got {getattr(extractor, name)!r}")
    check_engine(extractor)


def _rules(given: Any) -> dict[str, tuple[bool, str]]:
    memory, shape = given.memory, given.input_shape
    is_folder = hasattr(memory, "location") or isinstance(memory, (str, os.PathLike))
    return {
        "pooling": (
            is_pooling(given.pooling),
            f"one of {list(NAMES)}, a function of activations, or a mapping from layers to these",
        ),
        "channel_axis": (
            given.channel_axis is None or _is_axis(given.channel_axis),
            "None, a whole number other than 0, or a mapping from layers to such",
        ),
        "precision": (given.precision in PRECISIONS, f"one of {list(PRECISIONS)}"),
        "engine": (given.engine in ENGINES, f"one of {list(ENGINES)}"),
        "preprocessing": (
            given.preprocessing is None or callable(given.preprocessing),
            "None or a function of one picture",
        ),
        "batch_size": (_is_whole(given.batch_size, 1), "a whole number of at least 1"),
        "num_workers": (_is_whole(given.num_workers, 0), "a whole number of at least 0"),
        "input_shape": (
            shape is None or _is_shape(shape),
            "None or a tuple of positive whole numbers",
        ),
        "memory_key": (given.memory_key in MEMORY_KEYS, f"one of {list(MEMORY_KEYS)}"),
        "memory": (memory is None or is_folder, "None, a folder or a joblib.Memory"),
    }


def defaults_of(kind: type) -> dict[str, Any]:
    """Return the default of each parameter that has one."""
    parameters = signature(kind).parameters.items()
    return {name: each.default for name, each in parameters if each.default is not each.empty}


def check_engine(extractor: Any) -> None:
    """Check that the engine does what the other parameters ask for; it may be another than in fit.

    Parameters
    ----------
    extractor : FeatureExtractor
        What has them.

    Raises
    ------
    ValueError
        If it does not.
    """
    if extractor.engine == "torch":
        return
    if extractor.engine not in ENGINES:
        raise ValueError(f"engine must be one of {list(ENGINES)}, got {extractor.engine!r}")
    for name, wanted in (("precision", "float32"), ("compile", False)):
        if (given := getattr(extractor, name)) != wanted:
            raise ValueError(
                f"engine='onnxruntime' computes with {name}={wanted!r} only, got {given!r}: set "
                "that, or engine='torch'"
            )
    if extractor.device not in ("auto", "cpu"):
        raise ValueError(
            "engine='onnxruntime' computes on the CPU: set device='cpu' or engine='torch', got "
            f"device={extractor.device!r}"
        )


def layers_of(extractor: Any, layers: list[str]) -> tuple[dict[str, Pooling], dict[str, int]]:
    """Check what may have changed since fit, and return how its layers are pooled, and their axes.

    Parameters
    ----------
    extractor : FeatureExtractor
        What has the parameters.
    layers : list of str
        The wanted layers, "" for the output.

    Returns
    -------
    poolings, axes : dict
        As of `by_layer`.
    """
    check_engine(extractor)
    return by_layer(extractor.pooling, extractor.channel_axis, layers)


def by_layer(
    pooling: Any, channel_axis: Any, layers: list[str]
) -> tuple[dict[str, Pooling], dict[str, int]]:
    """Return how each layer is pooled, and the axes of channels that were given.

    Parameters
    ----------
    pooling, channel_axis : object
        The parameters.
    layers : list of str
        The wanted layers, "" for the output.

    Returns
    -------
    poolings : dict of str to str or callable
        One way per layer.
    axes : dict of str to int
        Axes of some layers or all.

    Raises
    ------
    ValueError
        If a mapping names another layer.
    """
    if isinstance(pooling, Mapping):
        poolings = dict.fromkeys(layers, "avg") | _named("pooling", pooling, layers)
    else:
        poolings = dict.fromkeys(layers, pooling)
    if channel_axis is None:
        return poolings, {}
    if isinstance(channel_axis, Mapping):
        return poolings, _named("channel_axis", channel_axis, layers)
    return poolings, dict.fromkeys(layers, channel_axis)


def _named(parameter: str, given: Mapping[Any, Any], layers: list[str]) -> dict[str, Any]:
    """Return a mapping by the layers' inner names, in which the output is \"\"."""
    is_output = OUTPUT not in layers
    named = {
        "" if name is None or (is_output and name == OUTPUT) else name: value
        for name, value in given.items()
    }
    if unknown := [name or OUTPUT for name in named if name not in layers]:
        raise ValueError(
            f"{parameter} names the layers {unknown}, which are not among those of layer: "
            f"{[layer or OUTPUT for layer in layers]}"
        )
    return named


def _is_axis(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(each, _WHOLE) and each != 0 for each in value.values())
    return isinstance(value, _WHOLE) and value != 0


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, _WHOLE) and int(value) >= least


def _is_shape(value: Any) -> bool:
    if not isinstance(value, (tuple, list)):
        return False
    return len(value) > 0 and all(_is_whole(n, 1) for n in value)
