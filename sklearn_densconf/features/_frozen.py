"""A network's immutable copy, held as numpy arrays, and replicas of it for whoever asks."""

import copy
import hashlib
import pickle
import warnings
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.features._graphs import has_graph, is_graph, portable, told
from sklearn_densconf.features._layers import COMPILED, Learned, input_dtype, named_layers

CURE = "Pass a string 'package.module:function' that builds the network instead"


@dataclass(frozen=True)
class _Slot:
    """Where a tensor was in the network: what to make again of array number ``index``."""

    index: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    is_parameter: bool
    requires_grad: bool

    def filled(self, array: np.ndarray, device: torch.device, channels_last: bool) -> torch.Tensor:
        """Return the tensor on a device; on the CPU it shares the memory of a writable array."""
        array = array if array.flags.writeable else array.copy()  # else torch warns
        tensor = torch.from_numpy(array).view(self.dtype).as_strided(self.shape, self.stride)
        tensor = tensor.to(device)
        if not self.is_parameter:
            return tensor
        if channels_last and tensor.ndim == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        return nn.Parameter(tensor, self.requires_grad)


class FrozenBackbone:
    """An immutable copy of a network, without any torch storage.

    The tensors become numpy arrays of bytes; the rest of the module, its skeleton, has slots in
    their places (tied tensors share a slot). So it pickles without a device, its `joblib.hash` is
    the same in every process, and copying it costs nothing: ``copy.deepcopy`` gives itself. The
    network it was made from is only read: training flags, hooks, ``requires_grad`` and device stay
    as they are, and training it further does not change the copy.

    Parameters
    ----------
    module : torch.nn.Module
        The network, on any device, in any mode.

    Raises
    ------
    TypeError
        If the module is none, or cannot be held: TorchScript, a graph that was captured in
        training mode, lazy layers that never saw a batch, sparse, quantised and meta tensors.

    See Also
    --------
    FeatureExtractor : Accepts it in the place of a module, and makes one in ``fit``.

    Examples
    --------
    >>> import copy, torch
    >>> from sklearn_densconf.features import FrozenBackbone
    >>> frozen = FrozenBackbone(torch.nn.Linear(3, 2))
    >>> frozen
    FrozenBackbone(Linear, 8 parameters)
    >>> copy.deepcopy(frozen) is frozen
    True
    """

    def __init__(self, module: nn.Module) -> None:
        _check_can_be_held(module)
        module = _baked(portable(getattr(module, COMPILED, module)))
        tensors = _tensors_of(module)
        held = [_slot(index, tensor) for index, tensor in enumerate(tensors)]
        slots = [slot for slot, _ in held]
        memo: dict[int, Any] = {id(t): slot for t, slot in zip(tensors, slots, strict=True)}
        try:
            self._skeleton = _in_evaluation(_without_captures(copy.deepcopy(module, memo)))
        except Exception as error:
            raise TypeError(f"{_name(module)} cannot be copied ({error}). {CURE}") from error
        self._slots = slots
        self._arrays = [array for _, array in held]
        self._begin()

    def _begin(self) -> None:
        self._on_device: dict[tuple[torch.device, bool], list[torch.Tensor]] = {}
        self._before: tuple[str, str] | None = None  # hashes of the code and of all, from a file
        self.learned = Learned()

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, structure and the code of the network's own classes (64 hex digits)."""
        if self._before is not None and self._before[0] == self._code:
            return self._before[1]
        digest = hashlib.sha256(self._code.encode())
        for array in self._arrays:
            digest.update(array.data)
        return digest.hexdigest()

    @property
    def code(self) -> Any:
        """What the fingerprint takes of the structure and of the code of the user's own classes."""
        skeleton = self._skeleton
        return (told(skeleton), _places(skeleton)) if has_graph(skeleton) else skeleton

    @cached_property
    def _code(self) -> str:
        """Hash of structure and code, as they are here; a warning if a file had other code."""
        skeleton = self._skeleton
        code = fingerprint(self.code, self._slots)
        if self._before is not None and self._before[0] != code:
            warnings.warn(
                f"the code of {_name(skeleton)}, or the version of its library or of Python, is "
                "not that with which it was saved: its features may differ from those that were "
                "fitted, and none are taken from memory that the other code made. Fit again, or "
                "restore the code",
                UserWarning,
                stacklevel=2,
            )
        return code

    @property
    def can_be_pickled(self) -> bool:
        """Whether a process can hand it to another."""
        try:
            pickle.dumps(self.network() if is_graph(self._skeleton) else self._skeleton)
        except Exception:  # of what the network's author put into it
            return False
        return True

    @property
    def layer_names(self) -> list[str]:
        """Dotted names of all layers, in the order of definition; "" is the network itself."""
        return [name for name, _ in named_layers(self._skeleton)]

    @cached_property
    def dtype(self) -> torch.dtype:
        """Type of the first floating-point parameter, float32 without any."""
        floating = (s.dtype for s in self._slots if s.is_parameter and s.dtype.is_floating_point)
        return next(floating, torch.float32)

    @cached_property
    def input_dtype(self) -> torch.dtype:
        """Type of the floating-point samples that it takes."""
        return input_dtype(self.dtype)

    def network(
        self, device: str | torch.device = "cpu", *, channels_last: bool = False
    ) -> nn.Module:
        """Return a replica of the network in evaluation mode.

        Replicas share their parameters and nothing else: hooks, attributes and buffers that are
        changed in one are not seen by the others, so each thread can have its own.

        Parameters
        ----------
        device : str or torch.device, default="cpu"
            Where the replica shall be; its tensors are moved there once.
        channels_last : bool, default=False
            Whether the weights of convolutions lie in memory with the channels last, and so what
            the convolutions give: faster on some devices, but no layer may call ``view`` on it.

        Returns
        -------
        torch.nn.Module
            A module of the same class. Do not train it: others share its weights.
        """
        if self._before is not None:
            self._code  # noqa: B018 - warns
        place = torch.device(device), channels_last
        if place not in self._on_device:
            with torch.inference_mode(False):  # else they could never enter autograd
                filled = [slot.filled(self._arrays[slot.index], *place) for slot in self._slots]
            self._on_device.setdefault(place, filled)
        with torch.inference_mode(False):
            tensors = [
                t if isinstance(t, nn.Parameter) else t.clone() for t in self._on_device[place]
            ]
            memo: dict[int, Any] = {id(s): t for s, t in zip(self._slots, tensors, strict=True)}
            return _with_renormed(_in_evaluation(copy.deepcopy(self._skeleton, memo)))

    def __deepcopy__(self, memo: dict[int, Any]) -> "FrozenBackbone":
        return self

    def __copy__(self) -> "FrozenBackbone":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if is_graph(self._skeleton):  # torch traces its operations again, which needs the tensors
            return _held_graph, (pickle.dumps(self.network()), self.fingerprint)
        if has_graph(self._skeleton):  # joblib's pickler would end in a RecursionError
            return _held_pickled, (self._pickled, self._arrays, self.fingerprint)
        if any(type(part).__module__ == "__main__" for part in self._skeleton.modules()):
            structure = cloudpickle.dumps((self._skeleton, self._slots))  # with the classes
            return _held_pickled, (structure, self._arrays, self.fingerprint)
        # The fingerprint tells hashes of the pickle what pickles leave out: code, order of layers.
        hashes = self.fingerprint, self._code
        return _held, (self._skeleton, self._slots, self._arrays, *hashes)

    def __getstate__(self) -> Any:
        """Refuse skops, which takes no notice of ``__reduce__``."""
        raise TypeError(
            f"{self!r} can be pickled, but skops cannot hold a torch.nn.Module: save with "
            "sklearn_densconf.io.save, which runs no code either, or name the network by a string, "
            "such as 'timm:NAME'"
        )

    @cached_property
    def _pickled(self) -> bytes:
        return pickle.dumps((self._skeleton, self._slots))

    def __repr__(self) -> str:
        size = sum(int(np.prod(slot.shape)) for slot in self._slots if slot.is_parameter)
        return f"FrozenBackbone({type(self._skeleton).__name__}, {size:,} parameters)"


def _held(
    skeleton: nn.Module,
    slots: list[_Slot],
    arrays: list[np.ndarray],
    fingerprint: str | None = None,
    code: str | None = None,
) -> FrozenBackbone:
    """Return what was pickled; code that is not in the pickle is compared when it is used."""
    _tell_transformers(skeleton)
    held = FrozenBackbone.__new__(FrozenBackbone)
    held._skeleton, held._slots, held._arrays = skeleton, slots, arrays
    held._begin()
    if fingerprint is not None and code is not None:  # else computed when they are asked for
        held._before = code, fingerprint
    return held


def _held_pickled(structure: bytes, arrays: Any, fingerprint: str) -> FrozenBackbone:
    skeleton, slots = pickle.loads(structure)
    held = _held(skeleton, slots, arrays)
    held.fingerprint = fingerprint  # of the code in the pickle itself
    held._pickled = structure  # a graph that was pickled before is pickled to other bytes
    return held


def _held_graph(network: bytes, fingerprint: str) -> FrozenBackbone:
    held = FrozenBackbone(pickle.loads(network))
    held.fingerprint = fingerprint
    return held


def _without_captures(module: nn.Module) -> nn.Module:
    """Take away the hooks by which transformers records outputs: they cannot be pickled.

    The library installs them again when it wants to record.
    """
    for part in module.modules():
        for number, hook in list(part._forward_hooks.items()):
            if getattr(hook, "__qualname__", "").endswith("<locals>.output_capturing_hook"):
                del part._forward_hooks[number]
        vars(part).pop("_output_capturing_hooks_installed", None)
    return module


def _tell_transformers(module: nn.Module) -> None:
    """Make networks of transformers known to it, which only their ``__init__`` does.

    Else those that need the outputs of their own layers fail, or give None, in a process that has
    unpickled them and built none.
    """
    for part in module.modules():
        kind = type(part)
        if kind.__module__.startswith("transformers.") and hasattr(kind, "config_class"):
            _tell_once(kind, part.config)
            return  # its parts are built with it


def _tell_once(kind: type, config: Any) -> None:
    if kind not in _TOLD:
        _TOLD.add(kind)
        with suppress(Exception), torch.device("meta"):
            kind(config)


_TOLD: set[type] = set()


def _in_evaluation(module: nn.Module) -> nn.Module:
    """Set evaluation mode in all modules, whatever their ``train`` does.

    Copies of graphs of `torch.fx` begin in training mode, and do not pass it to their parts.
    """
    for part in module.eval().modules():
        part.training = False
    return module


def renormed(network: nn.Module) -> Iterable[nn.Embedding | nn.EmbeddingBag]:
    """Yield the parts of a network that write to their weight in a forward pass."""
    for part in network.modules():
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.max_norm is not None:
            yield part


def _with_renormed(network: nn.Module) -> nn.Module:
    """Let a replica have the weights to itself that its forward pass writes to."""
    for part in renormed(network):
        part.weight = nn.Parameter(part.weight.detach().clone(), part.weight.requires_grad)
    return network


def _baked(module: nn.Module) -> nn.Module:
    """Return a network whose parametrizations, such as weight norm, are computed once for all."""
    if not any(is_parametrized(part) for part in module.modules()):
        return module
    copied = _in_evaluation(copy.deepcopy(module))  # in training mode, spectral norm iterates
    for part in list(copied.modules()):
        if is_parametrized(part):
            _bake(part)
    return copied


@torch.no_grad()
def _bake(part: nn.Module) -> None:
    """Replace a copied module's parametrizations by what they give.

    `torch.nn.utils.parametrize.remove_parametrizations` does not do: it also takes the property
    from the module that was copied, since both are of one class.
    """
    parametrized: Any = part.parametrizations
    values = {name: getattr(part, name).clone() for name in parametrized}
    part.__class__ = type_before_parametrizations(part)
    del part.parametrizations
    part._load_state_dict_pre_hooks.clear()  # those of weight norm cannot be pickled
    for name, value in values.items():
        part.register_parameter(name, nn.Parameter(value))


def _places(module: nn.Module) -> list[tuple[str, Any]]:
    """List the slots of a network under their names."""
    return [
        (f"{name}.{attribute}", value.index)
        for name, part in module.named_modules()
        for attribute, value in {**vars(part), **part._parameters, **part._buffers}.items()
        if isinstance(value, _Slot)
    ]


def _name(module: object) -> str:
    return type(module).__name__


def _check_can_be_held(module: object) -> None:
    if not isinstance(module, nn.Module):
        raise TypeError(f"a network must be a torch.nn.Module, got {_name(module)}")
    for name, part in module.named_modules():
        where = f"layer {name!r} of {_name(module)}" if name else _name(module)
        if isinstance(part, torch.jit.ScriptModule):
            raise TypeError(f"{where} is TorchScript, which cannot be held. {CURE}")


def _tensors_of(module: nn.Module) -> list[torch.Tensor]:
    """List the distinct tensors of a network: parameters, buffers and plain attributes."""
    found = {id(t): t for part in module.modules() for t in _tensors_in(vars(part))}
    return list(found.values())


def _tensors_in(value: Any) -> Iterable[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list, tuple)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _tensors_in(part)


def _slot(index: int, tensor: torch.Tensor) -> tuple[_Slot, np.ndarray]:
    """Return where a tensor was, and its bytes on the host: numpy has no bfloat16.

    The order of the axes in memory is kept: torch chooses how to compute a convolution by it.
    """
    if is_lazy(tensor):
        raise TypeError("the network has a lazy layer without weights: run one batch through it")
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        raise TypeError(
            f"a tensor of the network is {tensor.dtype} {tensor.layout} on {tensor.device}; only "
            f"dense tensors with data can be held. {CURE}"
        )
    is_parameter = isinstance(tensor, nn.Parameter)
    grad = is_parameter and tensor.requires_grad
    on_host = tensor.detach().to("cpu", copy=True)  # without gaps and overlaps
    slot = _Slot(index, tensor.dtype, tuple(tensor.shape), on_host.stride(), is_parameter, grad)
    return slot, on_host.as_strided((on_host.numel(),), (1,)).view(torch.uint8).numpy()
