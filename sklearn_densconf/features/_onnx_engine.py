"""Layers of a network by onnxruntime: what stands in the place of a `Tap`."""

from typing import Any

import torch
from torch import nn

from sklearn_densconf.features._onnx_export import Exporting, arrays_of, by_name
from sklearn_densconf.features._onnx_model import OnnxModel
from sklearn_densconf.features.inputs import Batch, Named


class Models:
    """The exported network of one extractor: the last that was used. Pickles keep it."""

    fingerprint = "how"  # to those who hash an extractor: it says how features are computed

    def __init__(self, last: tuple[str, OnnxModel] | None = None) -> None:
        self._last = last

    def model(self, exporting: Exporting, batch: Batch, largest: int) -> OnnxModel:
        """Return the model for batches such as this one, exported if need be."""
        key = exporting.key(signature(batch))
        last = self._last
        if last is None or last[0] != key:
            last = self._last = key, exporting.model(key, batch[:1], largest)
        return last[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Models, (self._last,)


class ExportedTap:
    """A network of torch that onnxruntime runs.

    Parameters
    ----------
    exporting : Exporting
        The network and the wanted layers.
    models : Models
        What was exported before.
    largest : int
        Values of samples in the largest batch.
    batch_size : int
        Samples in it, at most.
    """

    network = nn.Module()  # whose layers cannot be asked one by one

    def __init__(self, exporting: Exporting, models: Models, largest: int, batch_size: int) -> None:
        self._exporting = exporting
        self._models = models
        self._largest = largest
        self._batch_size = batch_size
        self._known: dict[Any, OnnxModel] = {}

    def __call__(self, X: Batch) -> list[torch.Tensor]:
        """Return one tensor (n, units), float32, for each layer."""
        kind = signature(X)
        if kind not in self._known:
            self._check_shape(kind)
            n = min(self._batch_size, max(1, self._largest * len(X) // X.numel()))
            self._known |= {kind: self._models.model(self._exporting, X, n)}
        return [torch.from_numpy(rows) for rows in self._known[kind].run(arrays_of(X))]

    def _check_shape(self, kind: Any) -> None:
        """Refuse another shape than that before: each would take an export, of seconds."""
        for before in self._known:
            if len(before) == len(kind) and before[0] == kind[0]:
                raise ValueError(
                    f"engine='onnxruntime' takes samples of one shape, got {before[1]} and "
                    f"{kind[1]}: bring them to one, or set engine='torch'"
                )


def signature(batch: Batch) -> Any:
    """Return what a model's inputs must share: names, types and shapes, but for free sizes."""
    if isinstance(batch, Named):
        return tuple(
            (name, str(tensor.dtype), tensor.shape[1:] if tensor.ndim > 2 else tensor.ndim)
            for name, tensor in by_name(batch).items()
        )
    return str(batch.dtype), tuple(batch.shape[1:])
