"""One model for many processes: written once, read once in each. A leaf.

Its arrays are mapped, so that the processes of one machine share their pages. They begin at
multiples of `ALIGNMENT`: at other addresses BLAS sums matrix products in another order, and the
features of two processes would differ in the last bits.
"""

import pickle
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

ALIGNMENT = 64  # bytes; as for torch's own tensors, and for the data in a .npy file
ARRAYS, REST = "arrays.npy", "model.pickle"
MARK = re.compile(r"\d+-[0-9a-f]{32}")  # of a shard under way: its number, and a name of its own

_READING = threading.Lock()


def write_model(model: Any, folder: Path) -> None:
    """Write a model into a folder, with the notebook's or script's functions that it refers to.

    Parameters
    ----------
    model : object
        Anything that cloudpickle takes.
    folder : Path
        Folder of this model alone.
    """
    buffers: list[pickle.PickleBuffer] = []
    pickled = cloudpickle.dumps(model, protocol=5, buffer_callback=buffers.append)
    arrays = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
    spans = list(_spans(array.size for array in arrays))
    n_bytes = max((span.stop for span in spans), default=1)
    with (folder / ARRAYS).open("wb") as file:
        about = {"descr": "|u1", "fortran_order": False, "shape": (n_bytes,)}
        np.lib.format.write_array_header_1_0(file, about)
        begin = file.tell()
        for span, array in zip(spans, arrays, strict=True):
            file.seek(begin + span.start)
            file.write(array.data)
        file.truncate(begin + n_bytes)
    (folder / REST).write_bytes(pickle.dumps((pickled, spans)))


def read_model(folder: Path) -> Any:
    """Return the model of a folder; the threads of one process share it.

    Parameters
    ----------
    folder : Path
        Where it was written.

    Returns
    -------
    object
        The model.

    Raises
    ------
    FileNotFoundError
        If this machine does not see the folder.
    """
    with _READING:
        return _read(folder)


def delete_model(folder: Path) -> None:
    """Delete the folder of a model that a killed run left; files of others in it stay.

    Parameters
    ----------
    folder : Path
        Where it was written.
    """
    for path in folder.iterdir():
        if path.name in (ARRAYS, REST) or MARK.fullmatch(path.name):
            path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        folder.rmdir()


def forget_model() -> None:
    """Drop the model that was read last, so that its memory can be freed."""
    _read.cache_clear()


@lru_cache(maxsize=1)  # once per process, not once per task
def _read(folder: Path) -> Any:
    if not folder.exists():
        raise FileNotFoundError(
            f"a worker does not see the model's folder {folder}: pass a folder that all workers see"
        )
    pickled, spans = pickle.loads((folder / REST).read_bytes())
    mapped = np.load(folder / ARRAYS, mmap_mode="c")
    return pickle.loads(pickled, buffers=[mapped[span] for span in spans])


def _spans(sizes: Iterable[int]) -> Iterator[slice]:
    start = 0
    for size in sizes:
        yield slice(start, start + size)
        start += -(-size // ALIGNMENT) * ALIGNMENT
