"""Whether the features of a sample are its own, or depend on the others of its batch."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf.features._forward import Forward
from sklearn_densconf.features._layers import named_layers, tensor_in
from sklearn_densconf.features.inputs import Batch, Named


def warn_if_rows_depend(
    forward: Forward, sample: Batch, alone: np.ndarray, tolerance: float
) -> None:
    """Warn if a sample has other features between outliers than alone.

    Parameters
    ----------
    forward : Forward
        The network.
    sample : Tensor of shape (1, ...)
        A sample.
    alone : ndarray of shape (1, n_features)
        Its features.
    tolerance : float
        How much they may differ, as a fraction of the largest one.
    """
    batch = between_outliers(sample)
    try:
        features = forward.whole(batch)
    except Exception:  # the outlier is no sample: a network may refuse it
        return
    if features is None:
        return
    if features.shape[1] != alone.shape[1]:
        raise ValueError(
            f"the network gives {alone.shape[1]} features of a sample alone and "
            f"{features.shape[1]} of one among {len(batch)}: it compares samples with each other. "
            "Name a layer whose features are those of one sample"
        )
    apart = features[1:3].cpu().numpy() - alone[0]
    difference = np.abs(apart).max() / max(np.abs(alone).max(), 1e-30)
    if difference > tolerance:
        warnings.warn(
            f"the features of a sample depend on the others of its batch: by {difference:.2g} of "
            f"their size{_where(forward, sample, batch, tolerance)}. Such are batch norm in "
            "training mode, dynamic quantisation, attention or recurrence along the first axis, "
            "and random numbers, as of dropout that is never off: mend the network, or, if "
            "nothing in it is random, set batch_size=1",
            UserWarning,
            stacklevel=2,
        )


def between_outliers(sample: Batch) -> Batch:
    """Return a sample twice between outliers; of integers, which may number words, the reverse.

    Of tensors by name the masks stay as they are.
    """
    if not isinstance(sample, Named):
        return _between(sample)
    return Named(
        {
            name: torch.cat(4 * [tensor]) if "mask" in name else _between(tensor)
            for name, tensor in sample.tensors.items()
        }
    )


def _between(sample: torch.Tensor) -> torch.Tensor:
    outlier = 1 - 4 * sample if sample.is_floating_point() else sample.flip(-1)
    return torch.cat([outlier, sample, sample, outlier])


def _where(forward: Forward, sample: Batch, batch: Batch, tolerance: float) -> str:
    """Name the first layer whose results differ, in the order in which layers end."""
    try:
        alone, beside = _rows(forward, sample, 0), _rows(forward, batch, 1)
    except Exception:  # what was found is told in any case
        return ""
    for (name, one), (_, other) in zip(alone, beside, strict=False):
        if one.shape == other.shape and (one - other).abs().max() > tolerance * one.abs().max():
            layer = dict(named_layers(forward.network))[name]
            return f", from layer {name!r} ({type(layer).__name__}) on" if name else ""
    return ""


def _rows(forward: Forward, batch: Batch, number: int) -> list[tuple[str, torch.Tensor]]:
    """Return what each layer gives for one sample of a batch."""
    rows: list[tuple[str, torch.Tensor]] = []

    def hook(name: str) -> Any:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            tensor = tensor_in(output)
            if tensor is not None and tensor.ndim and len(tensor) == len(batch):
                rows.append((name, tensor[number].float().clone()))

        return keep

    layers = forward.network.named_modules()
    handles = [part.register_forward_hook(hook(name)) for name, part in layers]
    try:
        forward.whole(batch)
    finally:
        for handle in handles:
            handle.remove()
    return rows
