"""Hashes of objects by content, the same in every process. A leaf that does not import torch.

`fingerprint` is the key of features and of results that are kept. Of an estimator it takes the
whole state, private attributes included (a nearest-neighbour classifier has its labels in one),
apart from the parameters that only say how to compute.

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
from sklearn.base import BaseEstimator

_TOLD_BY_NAME = sys.stdlib_module_names | {
    "PIL",
    "joblib",
    "numpy",
    "scipy",
    "sklearn",
    "sklearn_densconf",
    "timm",
    "torch",
    "torchvision",
}
# Parameters that change how an estimator computes, not what.
_HOW = {"batch_size", "compile", "device", "memory", "n_jobs", "num_workers", "verbose"}
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
        return ["array", value.dtype, value.shape, _digest(np.asarray(value))]
    if not isinstance(value, tuple):  # which of two equal tuples it is depends on the interpreter
        if id(value) in seen:
            return ["seen", seen[id(value)][0]]
        seen[id(value)] = len(seen), value  # kept alive, so that its id is not given again
    name, parts = _taken_apart(value)
    return [name, [_unfolded(part, seen) for part in parts]]


def _digest(array: np.ndarray) -> str:
    """Hash the values of an array, without the padding between the fields of a structured one."""
    if array.dtype.names:
        return repr([_digest(array[name]) for name in array.dtype.names])
    contiguous = np.ascontiguousarray(array).reshape(-1)
    return hashlib.sha256(contiguous.view(np.uint8).data).hexdigest()


def _taken_apart(value: Any) -> tuple[str, Iterable[Any]]:
    if isinstance(known := getattr(value, "fingerprint", None), str):  # of a network, made once
        return "fingerprint", [known]
    if _is_tensor(value):
        return "Tensor", _of_tensor(value)
    kind = next(kind for kind in _PARTS if isinstance(value, kind))
    return kind.__name__, _PARTS[kind](value)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")  # where it was never imported, nothing is a tensor
    return torch is not None and isinstance(value, torch.Tensor)


def _of_tensor(tensor: Any) -> list[Any]:
    torch = sys.modules["torch"]
    on_host = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
    return [str(tensor.dtype), tuple(tensor.shape), on_host.numpy()]


def _of_function(function: FunctionType) -> list[Any]:
    if _is_told_by_name(function):
        return _names(function)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    defaults = [function.__defaults__, function.__kwdefaults__]
    return [*_names(function), function.__code__, defaults, cells]


def _of_class(kind: type) -> list[Any]:
    """Return the code of a class and its bases; properties and static methods are members."""
    if _is_told_by_name(kind):
        return _names(kind)
    members = [getattr(m, "__func__", getattr(m, "fget", m)) for _, m in sorted(vars(kind).items())]
    functions = [member for member in members if isinstance(member, FunctionType)]
    return [*_names(kind), kind.__bases__, functions]


def _of_estimator(estimator: BaseEstimator) -> list[Any]:
    """Return class and state, attribute by attribute: joblib's files do not keep what they share.

    The trees of gradient boosting share one random state before they are saved, and not after.
    """
    state = estimator.__getstate__()
    how = _HOW | {"backbone"} if "backbone_" in state else _HOW  # `backbone_` is what computes
    told = {name: fingerprint(state[name]) for name in sorted(state) if name not in how}
    return [type(estimator), told]


def _of_object(value: Any) -> Iterable[Any]:
    """Return what pickle would keep of an object: its class, arguments, state and items."""
    if hasattr(value, "get_arrays"):  # a KDTree or BallTree; its pickle counts its queries, too
        return [type(value), *map(np.asarray, value.get_arrays())]
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
    FunctionType: _of_function,
    CodeType: lambda code: [code.co_code, code.co_names, code.co_consts],  # no file, no line
    type: _of_class,
    property: lambda value: [value.fget, value.fset, value.fdel],
    BaseEstimator: _of_estimator,
    ModuleType: lambda module: [module.__name__],
    object: _of_object,
}
