"""Hashes of objects by content, the same in every process. A leaf.

`joblib.hash` sees the state of an object and the names of its classes and functions, but not their
code: a forward pass or a preprocessing that was edited would find the features of the old one.
"""

from types import CodeType
from typing import Any

import joblib

_LIBRARIES = {"builtins", "numpy", "PIL", "timm", "torch", "torchvision"}  # told by their names


def fingerprint(value: Any, *more: Any) -> str:
    """Hash the state of objects and the code of their classes.

    Parameters
    ----------
    value, *more : object
        What to hash; functions and objects of any class that can be pickled, lambdas included.

    Returns
    -------
    str
        32 hexadecimal digits.
    """
    return joblib.hash([_state_and_code(part) for part in (value, *more)])


def code_of(kind: type) -> list[Any]:
    """Give the code of a class and of its bases, except that of well-known libraries."""
    return [
        (name, _code(member.__code__))
        for base in kind.__mro__
        if base.__module__.partition(".")[0] not in _LIBRARIES
        for name, member in sorted(vars(base).items())
        if hasattr(member, "__code__")
    ]


def _state_and_code(value: Any) -> Any:
    if hasattr(value, "__code__"):  # a function: its name, code, defaults and closure
        cells = [cell.cell_contents for cell in value.__closure__ or ()]
        name = (value.__module__, value.__qualname__)
        return [name, _code(value.__code__), value.__defaults__, list(map(_state_and_code, cells))]
    return [value, code_of(type(value))]


def _code(code: CodeType) -> list[Any]:
    """Take a code object apart: its own pickles and reprs hold file names and addresses."""
    return [code.co_code, code.co_names, [_constant(constant) for constant in code.co_consts]]


def _constant(constant: Any) -> Any:
    if isinstance(constant, CodeType):
        return _code(constant)
    if isinstance(constant, frozenset):  # its order depends on the process
        return sorted(map(repr, constant))
    return repr(constant)
