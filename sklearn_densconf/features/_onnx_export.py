"""Networks of torch as ONNX models: exported once, compared with torch, and kept by content."""

import hashlib
import threading
import warnings
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf._files import write_content
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf._optional import import_optional
from sklearn_densconf.features._as_module import Layers, as_module
from sklearn_densconf.features._built import BuiltBackbone
from sklearn_densconf.features._frozen import FrozenBackbone
from sklearn_densconf.features._onnx_model import OnnxModel
from sklearn_densconf.features._pooling import Pooling
from sklearn_densconf.features._rows_apart import between_outliers
from sklearn_densconf.features.inputs import Batch, Named

TOLERANCE = 1e-4  # of the largest activation of a sample in a layer
SAMPLES = "samples"  # what the only input is called
PURPOSE = "engine='onnxruntime'"
CURE = "Set engine='torch'"
OLDEST_TORCH = (2, 9)  # from which on torch.onnx.export follows torch.export by default
_OPSET = 20
_FORMAT = 1  # of the models that are kept: changes with what this file makes
_N_RECENT = 2

_LOCK = threading.Lock()  # torch exports one network at a time
_RECENT: OrderedDict[str, OnnxModel] = OrderedDict()  # the least recently used first


@dataclass(frozen=True)
class Exporting:
    """What is exported, and where it is kept.

    Parameters
    ----------
    backbone : FrozenBackbone
        The network.
    poolings : dict of str to str or callable
        Wanted layers, and how each is pooled.
    channel_axes : dict of str to int
        Axes of channels that the user gave, by layer.
    folder : Path or None
        Where exported models are kept; None: in this process only.
    """

    backbone: FrozenBackbone | BuiltBackbone
    poolings: Mapping[str, Pooling]
    channel_axes: Mapping[str, int]
    folder: Path | None

    def key(self, signature: Any) -> str:
        """Hash all that the exported model depends on."""
        pooled = [p if isinstance(p, str) else fingerprint(p) for p in self.poolings.values()]
        axes = list(self.channel_axes.items())
        about = self.backbone.fingerprint, list(self.poolings), pooled, axes
        return fingerprint(about, signature, _OPSET, _FORMAT)

    def model(self, key: str, sample: Batch, largest: int) -> OnnxModel:
        """Return the model of a key: of this process, of the folder, or exported now.

        Parameters
        ----------
        key : str
            From `key`.
        sample : Tensor or Named
            A sample as the network takes it.
        largest : int
            Samples of the largest batch that it will be run on.

        Returns
        -------
        OnnxModel
            It gives the same as torch.

        Raises
        ------
        ValueError
            If torch cannot export the network, onnxruntime cannot run it, or they differ.
        ImportError
            If a library is missing.
        """
        with _LOCK:
            model = _RECENT.pop(key, None) or self._kept(key)
            if model is None:
                model = self._made(sample, largest)
                self._keep(key, model.content)
            _RECENT[key] = model
            while len(_RECENT) > _N_RECENT:
                _RECENT.popitem(last=False)
        return model

    def _kept(self, key: str) -> OnnxModel | None:
        """Return the model of a file that has not changed since it was written."""
        paths = [] if self.folder is None else sorted(self.folder.glob(f"{key}-*.onnx"))
        for path in paths:
            with suppress(OSError):
                content = path.read_bytes()
                if path.name == _file_name(key, content):
                    return OnnxModel(content, PURPOSE)
        return None

    def _keep(self, key: str, content: bytes) -> None:
        if self.folder is not None:
            with suppress(OSError):  # without rights or room, it is in this process only
                self.folder.mkdir(parents=True, exist_ok=True)
                write_content(self.folder / _file_name(key, content), content)

    def _made(self, sample: Batch, largest: int) -> OnnxModel:
        if isinstance(self.backbone, BuiltBackbone):
            raise ValueError(
                f"{PURPOSE} takes a torch.nn.Module or an ONNX file, and {self.backbone!r} is what "
                f"cannot be copied. {CURE}"
            )
        check_exporter(PURPOSE)
        import_optional("onnxruntime", PURPOSE)
        module = as_module(self.backbone, self.poolings, self.channel_axes, sample)
        assert not any(part.training for part in module.modules())
        batch = between_outliers(sample)
        model = OnnxModel(_content(module, batch[:2]), PURPOSE)
        _check(model, module, batch, {1, 2, largest})
        return model


def check_exporter(purpose: str) -> None:
    """Check that torch can export networks: its version, and the libraries that it asks for.

    Parameters
    ----------
    purpose : str
        What needs it, as the subject of the error's sentence.

    Raises
    ------
    ImportError
        If torch is too old, or a library is missing.
    """
    if tuple(map(int, torch.__version__.split(".")[:2])) < OLDEST_TORCH:
        raise ImportError(
            f"{purpose} needs torch {'.'.join(map(str, OLDEST_TORCH))} or newer, got "
            f"{torch.__version__}: older exporters fix the size of the batch, or fail"
        )
    for library in ("onnx", "onnxscript"):
        import_optional(library, purpose)


def _file_name(key: str, content: bytes) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()[:32]}.onnx"


def _content(module: Layers, batch: Batch) -> bytes:
    """Export a module; the sizes of batches, and of lists of tokens, may be any."""
    tensors = by_name(batch)
    sizes = tuple(_sizes(tensor, batch) for tensor in tensors.values())
    traced = _InOrder(module, list(tensors)) if isinstance(batch, Named) else module
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch warns of what its exporter does itself
        try:
            program: Any = torch.onnx.export(
                traced,
                tuple(tensors.values()),
                input_names=list(tensors),
                output_names=[f"layer_{number}" for number in range(len(module.names))],
                dynamic_shapes=(sizes,),
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
            return program.model_proto.SerializeToString()
        except Exception as error:  # of torch, of the network's code, or more than 2 GiB
            raise ValueError(
                f"{PURPOSE} needs the network as an ONNX model, and torch cannot export it "
                f"({_first_line(error)}). {CURE}"
            ) from error


class _InOrder(nn.Module):
    """Takes in order what a module takes by name: the exporter mixes up the sizes of the latter."""

    def __init__(self, module: Layers, names: list[str]) -> None:
        super().__init__()
        self.module, self._names = module, names

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return what the module gives."""
        return self.module(**dict(zip(self._names, tensors, strict=True)))


def _sizes(tensor: torch.Tensor, batch: Batch) -> dict[int, Any]:
    sizes: dict[int, Any] = {0: torch.export.Dim("n")}
    if isinstance(batch, Named) and tensor.ndim == 2:
        sizes[1] = torch.export.Dim.AUTO
    return sizes


def _first_line(error: BaseException) -> str:
    """Return what the first of a chain of errors says, which is the network's own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip() if lines else ''}"


def by_name(batch: Batch) -> dict[str, torch.Tensor]:
    """Return the tensors of a batch by the names of the model's inputs."""
    return batch.tensors if isinstance(batch, Named) else {SAMPLES: batch}


def arrays_of(batch: Batch) -> dict[str, np.ndarray]:
    """Return the inputs of a model."""
    return {name: tensor.cpu().numpy() for name, tensor in by_name(batch).items()}


def _check(model: OnnxModel, module: Layers, batch: Batch, sizes: set[int]) -> None:
    """Compare with torch, on samples and outliers, in batches of several sizes."""
    try:
        model.session  # noqa: B018 - opened once, here
    except Exception as error:  # an operation that the engine has not, in this type
        raise ValueError(
            f"onnxruntime cannot run the exported network ({_first_line(error)}). {CURE}"
        ) from error
    for n in sorted(sizes):
        part = batch[torch.arange(n) % len(batch)]
        with torch.inference_mode():
            wanted = module(**part.tensors) if isinstance(part, Named) else module(part)
        found = model.run(arrays_of(part))
        for name, rows, others in zip(module.names, wanted, found, strict=True):
            _compare(name, rows.numpy(), others)


def _compare(layer: str, wanted: np.ndarray, found: np.ndarray) -> None:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        raise ValueError(
            f"onnxruntime gives {found.dtype} {found.shape} for layer {layer!r}, torch "
            f"{wanted.dtype} {wanted.shape}. {CURE}"
        )
    if (~np.isfinite(wanted).all(axis=1) & np.isfinite(found).all(axis=1)).any():
        warnings.warn(
            f"onnxruntime gives numbers in layer {layer!r} for an outlier of which torch gives NaN "
            "or infinity: such samples will not be refused. engine='torch' refuses them",
            UserWarning,
            stacklevel=2,
        )
    difference, size = relative_difference(wanted, found), TOLERANCE
    if not difference <= size:
        raise ValueError(
            f"onnxruntime gives other features than torch for layer {layer!r}: they differ by "
            f"{difference:.2g} of the largest, and {size:.0e} is allowed. {CURE}"
        )


def relative_difference(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return the largest difference of two arrays as a fraction of the largest value in its row.

    Of values near zero in all of a row: of a thousandth of the largest of all. Where one has NaN
    and the other has not, they differ by NaN.
    """
    is_known = np.isfinite(wanted).all(axis=1)
    if not is_known.any():
        return 0.0
    wanted, found = wanted[is_known], found[is_known]
    size = np.abs(wanted).max(axis=1)
    least = max(1e-3 * float(size.max()), float(np.finfo(np.float32).tiny))
    size = np.maximum(size, least)
    return float((np.abs(found - wanted).max(axis=1) / size).max())
