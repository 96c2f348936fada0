"""Hashes of objects by content, the same in every process. A leaf that does not import torch.

`fingerprint` tells networks and functions apart by state and code: the key of features that are
kept. `identity` tells fitted estimators apart by what they give: the key of results that are kept.

`joblib.hash` does not do: it sees addresses in tensors, no order in dictionaries (so none of layers
without weights), and of functions and classes only the names, so that a forward pass or a
preprocessing that was edited would find the features of the old one.
"""

import hashlib
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType, ModuleType
from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator

_TOLD_BY_NAME = sys.stdlib_module_names | {
    "PIL",
    "joblib",
    "numpy",
    "sklearn_densconf",
    "timm",
    "torch",
    "torchvision",
}
# Parameters that do not change what an estimator gives.
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


def identity(value: Any) -> str:
    """Hash what an estimator gives: parameters and what was learned, not how it is computed."""
    content: Any = getattr(value, "fingerprint", value)  # a network has one
    if isinstance(value, BaseEstimator):
        content = [type(value).__qualname__, _state(value)]
    elif isinstance(value, (list, tuple)):  # the steps of a pipeline, for instance
        content = [identity(part) for part in value]
    elif isinstance(value, np.ndarray):  # a view is contiguous once it was saved and loaded
        content = np.ascontiguousarray(value)
    elif callable(value):  # its code counts
        content = fingerprint(value)
    return joblib.hash(content, coerce_mmap=True)


def _state(estimator: BaseEstimator) -> dict[str, str]:
    learned = {
        name: getattr(estimator, name)
        for name in dir(estimator)
        if name.endswith("_") and not name.startswith("_") and hasattr(estimator, name)
    }
    given = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in _HOW and f"{name}_" not in learned
    }
    return {name: identity(value) for name, value in {**given, **learned}.items()}


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
    name, parts = _taken_apart(value)
    return [name, [_unfolded(part, seen) for part in parts]]


def _taken_apart(value: Any) -> tuple[str, Iterable[Any]]:
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


def _of_object(value: Any) -> Iterable[Any]:
    """Return what pickle would keep of an object: its class, arguments, state and items."""
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
    ModuleType: lambda module: [module.__name__],
    object: _of_object,
}
