"""MATLAB's level 5 files, as far as a table of the development kit needs them. A leaf.

`scipy.io.loadmat` trusts what it reads: a damaged file can make it crash, hang or return other
values. Here every size is checked against the bytes that are there.

References
----------
MathWorks, "MAT-File Format", chapter 1: level 5 MAT-files.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

_MATRIX, _COMPRESSED = 14, 15  # types of elements
_STRUCT, _CHAR = 2, 4  # classes of matrices; 6 to 15 are numbers
_DTYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
_DTYPES |= {13: "u8", 16: "u1"}  # UTF-8 comes last
_LARGEST = 2**26  # bytes, unpacked: the development kit's have less than 1 MB
_HEADER = 128  # bytes

Element = tuple[int, bytes]


def read_struct(content: bytes, name: str) -> list[dict[str, Any]]:
    """Read one array of structs: single numbers and texts; fields of other kinds are None.

    Parameters
    ----------
    content : bytes
        The whole file, written by a little-endian machine.
    name : str
        Name of the variable.

    Returns
    -------
    list of dict
        Values of the fields by name, for each struct.

    Raises
    ------
    ValueError
        If the file is damaged, or has no such array of structs.
    """
    if content[124:_HEADER] != b"\x00\x01IM":
        raise ValueError("it is not a little-endian level 5 MAT-file")
    for kind, part in _elements(content[_HEADER:]):
        matrices = _elements(_inflate(part)) if kind == _COMPRESSED else iter([(kind, part)])
        for matrix_kind, matrix in matrices:
            if matrix_kind == _MATRIX and _name(matrix) == name:
                return _structs(matrix)
    raise ValueError(f"it has no variable {name!r}")


def _elements(content: bytes) -> Iterator[Element]:
    """Yield the elements that follow each other: their types and contents."""
    start = 0
    while start < len(content):
        if start + 8 > len(content):
            raise ValueError("it ends within an element")
        kind, size = struct.unpack_from("<II", content, start)
        if small := kind >> 16:  # type and size share four bytes, the values are in the next four
            kind, size, begin, start = kind & 0xFFFF, small, start + 4, start + 8
            padded = 0
        else:
            begin, padded = start + 8, 0 if kind == _COMPRESSED else -size % 8
            start = begin + size + padded
        if begin + size > len(content) or (small and size > 4):
            raise ValueError("an element is longer than the file")
        yield kind, content[begin : begin + size]


def _inflate(content: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(content, _LARGEST)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError(f"it is cut short, or has more than {_LARGEST} bytes")
    return unpacked


def _name(matrix: bytes) -> str:
    _, _, name, *_ = _elements(matrix)
    return name[1].decode("ascii", "replace")


def _structs(matrix: bytes) -> list[dict[str, Any]]:
    flags, shape, _, width, names, *values = _elements(matrix)
    if flags[1][:1] != bytes([_STRUCT]):
        raise ValueError("its variable is not an array of structs")
    size = int(_numbers(width)[0])
    if size <= 0 or len(names[1]) % size:
        raise ValueError("the names of its fields are damaged")
    cells = [names[1][start : start + size] for start in range(0, len(names[1]), size)]
    fields = [cell.split(b"\0")[0].decode("ascii", "replace") for cell in cells]
    n_structs = int(np.prod(_numbers(shape), dtype=np.float64))
    if not fields or len(values) != n_structs * len(fields):
        raise ValueError(f"it states {n_structs} structs of {fields}, but has {len(values)} values")
    rows = (values[start : start + len(fields)] for start in range(0, len(values), len(fields)))
    return [dict(zip(fields, map(_value, row), strict=True)) for row in rows]


def _value(element: Element) -> Any:
    """Return a single number or a text; None for all other values."""
    kind, matrix = element
    if kind != _MATRIX or not matrix:
        return None
    flags, _, _, *values = _elements(matrix)
    matrix_class = int.from_bytes(flags[1][:1])
    if matrix_class == _CHAR:
        codes = _numbers(values[0]) if values else np.empty(0, np.uint8)
        return "".join(map(chr, codes.tolist()))
    if not 6 <= matrix_class <= 15 or len(values) != 1 or _numbers(values[0]).size != 1:
        return None
    return _numbers(values[0])[0].item()


def _numbers(element: Element) -> np.ndarray:
    kind, content = element
    if kind not in _DTYPES:
        raise ValueError(f"numbers of type {kind} are not known")
    dtype = np.dtype(f"<{_DTYPES[kind]}")
    if len(content) % dtype.itemsize:
        raise ValueError("a number is cut off")
    return np.frombuffer(content, dtype)
