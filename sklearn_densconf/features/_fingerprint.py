"""Hashes of objects by content, the same in every process. A leaf.

`joblib.hash` does not do: it sees addresses in tensors, no order in dictionaries (so none of layers
without weights), and of functions and classes only the names, so that a forward pass or a
preprocessing that was edited would find the features of the old one.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np
import torch

_TOLD_BY_NAME = sys.stdlib_module_names | {
    "PIL",
    "joblib",
    "numpy",
    "sklearn_densconf",
    "timm",
    "torch",
    "torchvision",
}
_PLAIN = (type(None), str, bytes, int, float, complex, np.dtype)  # repr tells them apart


def fingerprint(*values: Any) -> str:
    """Hash the state of objects and the code of their functions and classes.

    Parameters
    ----------
    *values : object
        What to hash: functions, lambdas included, and objects that can be pickled apart from
        functions in them.

    Returns
    -------
    str
        32 hexadecimal digits.

    Raises
    ------
    TypeError
        If something in the objects has no content that could be hashed, such as a lock.
    """
    return hashlib.sha256(repr(_unfolded(values, {})).encode()).hexdigest()[:32]


def _unfolded(value: Any, seen: dict[int, tuple[int, Any]]) -> Any:
    """Take a value apart into nested lists of plain values."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.hasobject:
            return ["objects", value.shape, _unfolded(value.tolist(), seen)]
        return ["array", value.dtype, value.shape, hashlib.sha256(value.tobytes()).hexdigest()]
    if not isinstance(value, tuple):  # which of two equal tuples it is depends on the interpreter
        if id(value) in seen:
            return ["seen", seen[id(value)][0]]
        seen[id(value)] = len(seen), value  # kept alive, so that its id is not given again
    kind = next(kind for kind in _PARTS if isinstance(value, kind))
    return [kind.__name__, [_unfolded(part, seen) for part in _PARTS[kind](value)]]


def _of_tensor(tensor: torch.Tensor) -> list[Any]:
    on_host = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return [str(tensor.dtype), tuple(tensor.shape), on_host.numpy()]


def _of_function(function: FunctionType) -> list[Any]:
    if _is_told_by_name(function):
        return _names(function)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = [function.__defaults__, function.__kwdefaults__]
    return [*_names(function), function.__code__, defaults, cells]


def _of_class(kind: type) -> list[Any]:
    """Give the code of a class and of its bases; properties and static methods are members too."""
    if _is_told_by_name(kind):
        return _names(kind)
    members = [getattr(m, "__func__", getattr(m, "fget", m)) for _, m in sorted(vars(kind).items())]
    functions = [member for member in members if isinstance(member, FunctionType)]
    return [*_names(kind), kind.__bases__, functions]


def _of_object(value: Any) -> Iterable[Any]:
    """Give what pickle would keep of an object: its class, arguments, state and items."""
    try:
        reduced = value.__reduce_ex__(4)
    except TypeError as error:
        raise TypeError(
            f"memory needs networks and preprocessing that can be told by content, but {error}"
        ) from error
    if isinstance(reduced, str):
        return [getattr(value, "__module__", None), reduced]
    return [list(part) if hasattr(part, "__next__") else part for part in reduced]


def _names(value: Any) -> list[str]:
    return [value.__module__, value.__qualname__]


def _is_told_by_name(value: Any) -> bool:
    return (value.__module__ or "").partition(".")[0] in _TOLD_BY_NAME


_PARTS: dict[type, Callable[[Any], Iterable[Any]]] = {  # the first that fits; object fits all
    tuple: iter,
    list: iter,
    dict: dict.items,  # in their order: that of the layers in a network
    set: lambda members: sorted(map(fingerprint, members)),
    frozenset: lambda members: sorted(map(fingerprint, members)),
    torch.Tensor: _of_tensor,
    FunctionType: _of_function,
    CodeType: lambda code: [code.co_code, code.co_names, code.co_consts],  # no file, no line
    type: _of_class,
    ModuleType: lambda module: [module.__name__],
    object: _of_object,
}
