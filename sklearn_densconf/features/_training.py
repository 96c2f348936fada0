"""Training a skorch net inside ``fit``, so that cross-validation trains on its training folds."""

from typing import Any

import numpy as np
import torch
from sklearn.base import is_classifier
from sklearn.utils import column_or_1d
from torch.utils.data import Dataset

from sklearn_densconf.features.inputs import Batch, Named, Source


class _Labelled(Dataset):
    """Pictures with their labels, read when they are wanted."""

    def __init__(self, source: Source, y: np.ndarray) -> None:
        self._source = source
        self._y = y

    def __len__(self) -> int:
        return len(self._y)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        batch = self._source.batch(np.array([index]))
        sample = batch[0]
        return (sample.tensors if isinstance(sample, Named) else sample), self._y[index]


def train(trainer: Any, source: Source, y: Any) -> torch.nn.Module:
    """Train a skorch net.

    Parameters
    ----------
    trainer : skorch.NeuralNet
        The net, initialised.
    source : Source
        The samples.
    y : array-like of shape (n_samples,) or None
        Targets; None takes those that a Dataset has. A classifier's labels are replaced by their
        places in the sorted labels.

    Returns
    -------
    torch.nn.Module
        The trained network.

    Raises
    ------
    ValueError
        If y is None, or there is not one target per sample.
    """
    y = source.labels() if y is None else y
    if y is None:
        raise ValueError("a skorch backbone requires y to be passed, but the target y is None")
    y = np.asarray(y)
    if len(y) != len(source):
        raise ValueError(f"X and y have inconsistent numbers of samples: {len(source)}, {len(y)}")
    if is_classifier(trainer):
        y = np.unique(column_or_1d(y, warn=True), return_inverse=True)[1].astype(np.int64)
        if isinstance(trainer.criterion_, (torch.nn.BCEWithLogitsLoss, torch.nn.BCELoss)):
            y = y.astype(np.float32)  # one logit for two classes
    everything = np.arange(len(source))
    source.check(everything)
    if source.in_memory:
        X = _as_taken(trainer.module_, source.batch(everything))
        trainer.partial_fit(_on_host(X), y)
    else:
        trainer.partial_fit(_Labelled(source, y), y)
    return trainer.module_


def _on_host(X: Batch) -> Any:
    """Return arrays for skorch."""
    if isinstance(X, Named):
        return {name: tensor.cpu().numpy() for name, tensor in X.tensors.items()}
    return X.cpu().numpy()


@torch.inference_mode()
def _as_taken(module: torch.nn.Module, X: Batch) -> Batch:
    """Return the samples, as floats if the network refuses integers."""
    if X.is_floating_point():
        return X
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    first = X[:1].to(device)
    module.eval()  # skorch sets the mode of each step
    try:
        module(**first.tensors) if isinstance(first, Named) else module(first)
    except RuntimeError:
        floating = (p.dtype for p in module.parameters() if p.is_floating_point())
        return X.to(next(floating, torch.float32))
    return X
