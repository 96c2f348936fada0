"""Hashes of objects by content, the same in every process. A leaf that does not import torch.

`fingerprint` is the key of features and of results that are kept. Of an estimator it takes the
whole state, private attributes included (a nearest-neighbour classifier has its labels in one),
apart from the parameters that only say how to compute.

`joblib.hash` does not do: it sees addresses in tensors, no order in dictionaries (so none of layers
without weights), and of functions and classes only the names, so that a forward pass or a
preprocessing that was edited would find the features of the old one.

A user's function or class is told by its code and by all that the code refers to: globals, class
attributes, other modules' functions. What a library has is told by name and version.
"""

import dis
import functools
import hashlib
import site
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from importlib import import_module, metadata
from pathlib import Path
from types import (
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

# Libraries whose functions give the same in every version, up to rounding.
_TOLD_WITHOUT_VERSION = {"joblib", "numpy", "scipy", "sklearn", "sklearn_densconf", "torch"}
# Parameters that change how an estimator computes, not what.
_HOW = {
    *("batch_size", "compile", "device", "engine", "memory", "memory_key", "n_jobs"),
    *("num_workers", "verbose"),
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
    if isinstance(value, _Referred):
        return _Told([value.name, _of_referred(value, seen)])
    if isinstance(value, (np.ndarray, np.generic)):
        objects = _unfolded(value.tolist(), seen) if value.dtype.hasobject else None
        return [value.dtype, value.shape, objects or _digest(np.asarray(value))]
    if not isinstance(value, tuple):  # which of two equal tuples it is depends on the interpreter
        if id(value) in seen:
            return ["seen", seen[id(value)][0]]
        seen[id(value)] = len(seen), value  # kept alive, so that its id is not given again
    name, parts = _taken_apart(value)
    return [name, [_unfolded(part, seen) for part in parts]]


class _Told(list):
    """The name of what code refers to, and its content, taken apart."""


def referred(*values: Any) -> dict[str, str]:
    """Return what code refers to: names of globals and members, each with its content as text.

    Parameters
    ----------
    *values : object
        What `fingerprint` takes.

    Returns
    -------
    dict of str to str
        Content by name.
    """
    found: dict[str, str] = {}
    trees: list[Any] = [_unfolded(values, {})]
    while trees:
        tree = trees.pop()
        if isinstance(tree, _Told):
            found[tree[0]] = repr(tree[1])
        if isinstance(tree, (list, tuple)):
            trees.extend(tree)
    return found


def warn_of_changes(before: dict[str, str], *values: Any) -> None:
    """Warn, once a name, if what code refers to has changed since: `memory` then finds nothing.

    Parameters
    ----------
    before : dict of str to str
        What `referred` returned then.
    *values : object
        What it was asked about.
    """
    now = referred(*values)
    changed = [name for name, content in before.items() if now.get(name) != content]
    if changed:  # the innermost: what refers to it has changed with it
        _warn_of_change(min(changed, key=lambda name: len(before[name])))


@functools.lru_cache(maxsize=1024)
def _warn_of_change(name: str) -> None:
    warnings.warn(
        f"code reads {name!r}, which changes while it runs: features are kept under its present "
        "value, and will not be found under another. Let the code read what stays the same, or do "
        "without memory",
        UserWarning,
        stacklevel=2,
    )


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
    if _is_library(function.__module__):
        return _names(function)
    cells = [_cell(cell) for cell in function.__closure__ or ()]
    defaults = [function.__defaults__, function.__kwdefaults__]
    referred = dict(_referred(function.__code__, function.__globals__))
    about = [*_names(function), function.__code__, defaults, cells]
    return [*about, [_Referred(name, referred[name]) for name in sorted(referred)]]


def _cell(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a name that is not bound yet
        return None


def _of_class(kind: type) -> list[Any]:
    """Return the members of a class, properties and static methods too, and its bases."""
    if _is_library(kind.__module__):
        return _names(kind)
    members = [
        _Referred(f"{kind.__qualname__}.{name}", _bare(member))
        for name, member in sorted(vars(kind).items())
        if isinstance(_bare(member), FunctionType) or not _is_machinery(name, member)
    ]
    return [*_names(kind), kind.__bases__, members]


def _is_machinery(name: str, member: Any) -> bool:
    """Tell whether Python made a member of a class, not its author."""
    slots = (MemberDescriptorType, GetSetDescriptorType)
    return (
        (name.startswith("__") and name.endswith("__"))
        or isinstance(member, slots)
        or (name == "_abc_impl")
    )


def _bare(value: Any) -> Any:
    """Return the function in a static, class, cached or otherwise wrapped one."""
    for attribute in ("__func__", "__wrapped__"):
        value = getattr(value, attribute, value)
    return value.func if isinstance(value, functools.cached_property) else value


def _referred(code: CodeType, known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield what code refers to by name: globals, and members of modules that users wrote."""
    codes = list(_codes(code))
    names = {name for each in codes for name in each.co_names}
    for name in names & known.keys():
        yield from _members(name, known[name], names)
    for each in codes:
        for step in dis.get_instructions(each):
            if step.opname == "IMPORT_NAME":  # within the function
                with suppress(ImportError):
                    yield from _members(step.argval, import_module(step.argval), names)


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _members(name: str, value: Any, names: set[str]) -> Iterator[tuple[str, Any]]:
    """Yield a value, or the members of a user's module that have one of the names."""
    if not isinstance(value, ModuleType) or _is_library(value.__name__):
        yield name, value
        return
    for member in names & vars(value).keys():
        if vars(value)[member] is not value:
            yield from _members(f"{name}.{member}", vars(value)[member], names)


class _Referred(NamedTuple):
    """What code refers to, and its name there."""

    name: str
    value: Any


def _of_referred(referred: _Referred, seen: dict[int, tuple[int, Any]]) -> Any:
    """Take a value apart; one that has no content to be hashed is told by name, with a warning."""
    try:
        return _unfolded(referred.value, seen)
    except MemoryError:
        raise
    except Exception as error:
        _warn_once(f"{referred.name!r}, a {type(referred.value).__name__} ({error})")
        return ["unknown", referred.name, type(referred.value).__qualname__]


@functools.lru_cache(maxsize=1024)
def _warn_once(what: str) -> None:
    warnings.warn(
        f"code refers to {what}, whose content cannot be told: features and results that are kept "
        "do not depend on it. Use another folder after it changed",
        UserWarning,
        stacklevel=2,
    )


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
    if callable(value) and (wrapped := _bare(value)) is not value:  # with a cache, for instance
        return [type(value), wrapped]
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
    if len(reduced) > 2 and isinstance(reduced[2], dict) and "_forward_hooks" in reduced[2]:
        reduced = (*reduced[:2], _without_handles(reduced[2]), *reduced[3:])
    return [list(part) if hasattr(part, "__next__") else part for part in reduced]


def _without_handles(state: dict[str, Any]) -> dict[str, Any]:
    """Number a module's hooks by their order: torch counts handles over the whole process."""
    hooks = {k: v for k, v in state.items() if "hooks" in k and isinstance(v, dict) and v}
    handles = sorted({handle for found in hooks.values() for handle in found})
    number = {handle: place for place, handle in enumerate(handles)}
    return state | {
        name: {number[handle]: hook for handle, hook in found.items()}
        for name, found in hooks.items()
    }


def _names(value: Any) -> list[str]:
    module = value.__module__ or ""
    return [module, value.__qualname__, _version(module.partition(".")[0])]


@functools.cache
def _version(library: str) -> str:
    """Return the version of a library, and nothing of what is none."""
    if library in sys.stdlib_module_names | _TOLD_WITHOUT_VERSION or not _is_library(library):
        return ""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(library)
    return str(getattr(sys.modules.get(library), "__version__", ""))


def _is_library(module: str | None) -> bool:
    """Tell whether a module is installed, and not written by the user."""
    return _is_installed((module or "").partition(".")[0])


@functools.cache
def _is_installed(name: str) -> bool:
    if name in sys.stdlib_module_names | _TOLD_WITHOUT_VERSION:
        return name != "__main__"
    file = getattr(sys.modules.get(name), "__file__", None)
    paths = sysconfig.get_paths()
    folders = {paths[each] for each in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders |= {*site.getsitepackages(), site.getusersitepackages()}
    return file is not None and any(Path(file).is_relative_to(each) for each in folders)


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
    ModuleType: lambda module: [module.__name__, _version(module.__name__.partition(".")[0])],
    functools.cached_property: lambda value: [value.func],
    object: _of_object,
}
