"""The original files of MNIST, and the IDX format they are in."""

import gzip
import hashlib
import struct
import zlib
from math import prod
from os import PathLike
from pathlib import Path
from typing import IO, cast

import numpy as np

_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LARGEST = 60_000 * 28 * 28  # bytes of MNIST's own training pictures
_PREFIXES = {"test": "t10k", "train": "train"}
_MD5 = {  # of the files as published, and of the same files unpacked
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
}


def read_idx(path: str | PathLike[str], *, max_bytes: int | None = 2**30) -> np.ndarray:
    """Read one IDX file, gzipped or not: the format of MNIST, Fashion-MNIST, KMNIST and EMNIST.

    Parameters
    ----------
    path : str or path-like
        File to read; its content, not its name, decides whether it is gzipped.
    max_bytes : int or None, default=2**30
        Most bytes of values that a gzipped file may unpack to, so that a small file cannot fill
        the memory; None is no limit. The largest file of EMNIST unpacks to 547 million bytes.

    Returns
    -------
    ndarray
        Values with the shape and the number type that the file states, in native byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not in IDX format, cut short or damaged, or unpacks to more than
        ``max_bytes``.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn_densconf.datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels-idx1-ubyte")  # uint8 (0x08), one axis, three values
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    return _read(Path(path), np.inf if max_bytes is None else max_bytes)


def load_mnist(
    folder: str | PathLike[str], *, split: str = "train"
) -> tuple[np.ndarray, np.ndarray]:
    """Load MNIST from its original IDX files, after checking them against their md5 sums.

    Parameters
    ----------
    folder : str or path-like
        Folder of the original files, such as ``train-images-idx3-ubyte.gz``; unpacked ones, without
        ``.gz``, are read as well.
    split : {"train", "test"}, default="train"
        The 60,000 training or the 10,000 test pictures.

    Returns
    -------
    X : ndarray of shape (n_pictures, 28, 28), uint8
        Pictures; pixels 0-255, 0 is the background.
    y : ndarray of shape (n_pictures,), int64
        Digits 0-9.

    Raises
    ------
    FileNotFoundError
        If the folder lacks a file.
    ValueError
        If ``split`` is unknown, or a file is cut short, damaged or not MNIST's.

    Notes
    -----
    Nothing is downloaded. Where there is a network, scikit-learn has the same pictures in the same
    order, the 60,000 first: ``fetch_openml("mnist_784", version=1, as_frame=False)``. Data sets in
    the same format but with other sums, such as Fashion-MNIST, are read by :func:`read_idx`.

    References
    ----------
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE 86(11), 1998.

    Examples
    --------
    >>> from sklearn_densconf.datasets import load_mnist
    >>> X, y = load_mnist("data/mnist", split="test")  # doctest: +SKIP
    >>> X.shape, X.dtype, y[:5]  # doctest: +SKIP
    ((10000, 28, 28), dtype('uint8'), array([7, 2, 1, 0, 4]))
    """
    if split not in _PREFIXES:
        raise ValueError(f"split must be one of {sorted(_PREFIXES)}, got {split!r}")
    X = _read_original(Path(folder), f"{_PREFIXES[split]}-images-idx3-ubyte")
    y = _read_original(Path(folder), f"{_PREFIXES[split]}-labels-idx1-ubyte")
    return X, y.astype(np.int64)


def _read_original(folder: Path, name: str) -> np.ndarray:
    found = [path for path in (folder / f"{name}.gz", folder / name) if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f"{folder} has neither {name}.gz nor {name}: pass the folder of the four original "
            f"MNIST files, or use sklearn.datasets.fetch_openml('mnist_784')"
        )
    values = _read(found[0], _LARGEST)  # before the sum, which cannot say what is wrong
    md5 = hashlib.md5(found[0].read_bytes(), usedforsecurity=False).hexdigest()
    if md5 != _MD5[found[0].name]:
        raise ValueError(
            f"{found[0]} has md5 {md5} instead of {_MD5[found[0].name]}: it is not the original "
            f"MNIST file; fetch it again, or read other data sets with read_idx"
        )
    return values


def _parse_idx(file: IO[bytes], path: str | PathLike[str], max_bytes: float) -> np.ndarray:
    """Parse two zeros, a number type, the number of axes, big-endian uint32 sizes, the values."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _DTYPES:
        raise ValueError(
            f"{path} is not an IDX file, it starts with {start!r}: pass a file such as "
            f"train-images-idx3-ubyte.gz"
        )
    dtype, n_axes = np.dtype(_DTYPES[start[2]]), start[3]
    sizes = file.read(4 * n_axes)
    shape = struct.unpack(f">{n_axes}I", sizes.ljust(4 * n_axes, b"\0"))
    n_bytes = prod(shape) * dtype.itemsize
    if n_bytes > max_bytes:
        raise ValueError(
            f"{path} states {n_bytes} bytes of values, more than max_bytes={max_bytes}: raise "
            f"max_bytes if you trust the file"
        )
    values = file.read(n_bytes + 1)  # one more: what follows, and the checksum of a gzipped file
    if len(sizes) < 4 * n_axes or len(values) != n_bytes:
        begin = 4 + len(sizes)
        more = "more than " if len(values) > n_bytes else ""
        raise ValueError(
            f"{path} is cut short or damaged: {more}{begin + min(len(values), n_bytes)} bytes "
            f"unpacked, its header says {4 + 4 * n_axes + n_bytes}; fetch it again"
        )
    return np.frombuffer(values, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _read(path: Path, max_bytes: float) -> np.ndarray:
    """Read a file without unpacking more of it than its header states."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not is_packed:
            return _parse_idx(file, path, path.stat().st_size)
        try:
            with gzip.open(file) as unpacked:
                return _parse_idx(cast("IO[bytes]", unpacked), path, max_bytes)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path} is cut short or damaged ({error}); fetch it again") from error
