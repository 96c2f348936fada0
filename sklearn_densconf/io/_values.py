"""Parameters and learned attributes as JSON, and back: the same types, the same bits.

What JSON has stands for itself, apart from numbers that are not finite. Anything else is a mapping
of one word, its kind, to its parts. Arrays are numbers of arrays.
"""

import math
import warnings
from collections.abc import Callable
from importlib import import_module
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

from sklearn_densconf._array import to_numpy
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.density._moments import Moments, as_numpy


class Writer:
    """Takes values apart, and collects the arrays in them.

    Parameters
    ----------
    of_estimator : callable
        From an estimator to its number in the file.
    """

    def __init__(self, of_estimator: Callable[[Any], int]) -> None:
        self.arrays: list[np.ndarray] = []
        self._of_estimator = of_estimator

    def __call__(self, value: Any, name: str) -> Any:
        """Return what JSON holds of a value; the name is for errors."""
        kind = type(value)
        if kind is float and not math.isfinite(value):
            return {"float": str(value)}
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is list:
            return [self(part, name) for part in value]
        if kind in _PARTS:
            return {kind.__name__: [self(part, name) for part in _PARTS[kind](value)]}
        is_array = isinstance(value, (np.ndarray, np.generic))
        return self._of_array(value, name) if is_array else self._of_other(value, name)

    def add(self, array: np.ndarray) -> int:
        """Keep an array; return its number."""
        self.arrays.append(array)
        return len(self.arrays) - 1

    def _of_array(self, value: np.ndarray | np.generic, name: str) -> Any:
        if value.dtype.hasobject:
            parts = [self(part, name) for part in value.ravel().tolist()]
            return {"objects": [list(value.shape), parts]}
        is_plain = isinstance(value, np.generic) or type(value) in (np.ndarray, np.memmap)
        if value.dtype.kind not in "biufcSUmM" or not is_plain:
            raise TypeError(f"cannot save {name}: it is {type(value).__name__} of {value.dtype}")
        kind = "scalar" if isinstance(value, np.generic) else "array"
        return {kind: self.add(np.asarray(value))}

    def _of_other(self, value: Any, name: str) -> Any:
        if hasattr(value, "get_params"):
            return {"estimator": self._of_estimator(value)}
        if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
            return {"function": [_named(value, name), fingerprint(value)]}
        if hasattr(value, "__array_namespace__") or hasattr(value, "__dlpack__"):
            return self._of_array(to_numpy(value), name)  # of another library
        if hasattr(value, "__array__"):
            return self._of_array(np.asarray(value), name)
        cure = ": put what it does into a function of a module" if callable(value) else ""
        raise TypeError(
            f"cannot save {name}: {value!r} is of {type(value).__module__}.{type(value).__name__}. "
            f"A file holds numbers, texts, arrays, and functions of modules by their names{cure}"
        )


class Reader:
    """Makes values of what a `Writer` took apart.

    Parameters
    ----------
    arrays : list of ndarray
        Of the file.
    allowed : set of str
        Functions that may be imported, "package.module:function".
    """

    def __init__(self, arrays: list[np.ndarray], allowed: set[str]) -> None:
        self._arrays, self._allowed = arrays, allowed
        self.estimators: list[Any] = []

    def __call__(self, told: Any) -> Any:
        """Return the value.

        Raises
        ------
        ValueError
            If it is of a kind that is not known, or asks for code that is not allowed.
        """
        if isinstance(told, list):
            return [self(part) for part in told]
        if not isinstance(told, dict):
            return told
        ((kind, parts),) = told.items()
        if kind not in _KINDS:
            raise ValueError(f"{kind!r} is no kind of value that is known")
        return _KINDS[kind](self, parts)

    def add(self, estimator: Any) -> None:
        """Take an estimator that was made, for those that hold it."""
        self.estimators.append(estimator)

    def array(self, number: int) -> np.ndarray:
        """Return an array by its number."""
        return self._arrays[_checked(number)]

    def function(self, name: str) -> Any:
        """Return a function that is allowed, by its name.

        Raises
        ------
        PermissionError
            If it is not allowed.
        """
        if name not in self._allowed:
            raise PermissionError(name)
        module, _, path = name.partition(":")
        if (found := _found(module, path)) is None:
            raise ValueError(f"{module} has no {path} here")
        return found

    def _function(self, parts: Any) -> Any:
        name, code = parts
        found = self.function(name)
        if fingerprint(found) != code:
            warnings.warn(
                f"{name} has other code than when the file was saved, or another version of its "
                "library: results may differ",
                UserWarning,
                stacklevel=2,
            )
        return found

    def _estimator(self, number: int) -> Any:
        return self.estimators[_checked(number)]

    def _objects(self, parts: Any) -> np.ndarray:
        shape, values = parts
        array = np.empty(len(values), object)
        array[:] = [self(value) for value in values]
        return array.reshape(shape)

    def _moments(self, parts: Any) -> Moments:
        kind, *arrays = (self(part) for part in parts)
        if kind not in ("diag", "tied", "full") or not all(
            isinstance(array, np.ndarray) for array in arrays
        ):
            raise ValueError("moments are a kind and three arrays")
        return Moments(kind, *arrays)


def _named(function: Any, name: str) -> str:
    """Return "package.module:function", under which another process finds it.

    Raises
    ------
    TypeError
        If it would not be found there.
    """
    module = getattr(function, "__module__", None) or "builtins"
    for path in (function.__qualname__, function.__name__):  # torch's are found by the second
        if module != "__main__" and _found(module, path) is function:
            return f"{module}:{path}"
    raise TypeError(
        f"cannot save {name}: {function.__qualname__} can only be found in this process. Put it "
        "into a module that can be imported, as a function with a name"
    )


def _found(module: str, path: str) -> Any:
    """Return what has a name in a module, or None."""
    found: Any = import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found


def _checked(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r} is no number of an array or estimator")
    return number


def _of_dict(value: dict[Any, Any]) -> list[Any]:
    return [part for item in value.items() for part in item]


_PARTS: dict[type, Callable[[Any], Any]] = {
    tuple: list,
    dict: _of_dict,
    slice: lambda value: [value.start, value.stop, value.step],
    Moments: lambda value: list(vars(as_numpy(value)).values()),
}
_KINDS: dict[str, Callable[[Reader, Any], Any]] = {
    "float": lambda _, text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
    "tuple": lambda reader, parts: tuple(map(reader, parts)),
    "dict": lambda reader, parts: dict(
        zip(map(reader, parts[::2]), map(reader, parts[1::2]), strict=True)
    ),
    "slice": lambda reader, parts: slice(*map(reader, parts)),
    "Moments": Reader._moments,
    "array": lambda reader, number: reader.array(number),
    "scalar": lambda reader, number: reader.array(number)[()],
    "objects": Reader._objects,
    "function": Reader._function,
    "estimator": Reader._estimator,
}
