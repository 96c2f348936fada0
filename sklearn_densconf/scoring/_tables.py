"""Tables of scores, written part by part: CSV and Parquet."""

import csv
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.scoring._shards import COLUMNS

SUFFIXES = (".csv", ".parquet")
GROUP = 2**16  # rows that Parquet keeps together
_Part = tuple[list[str], np.ndarray]  # paths, and their rows


def check_suffix(out: Path) -> None:
    """Check that a table of this name can be written, before anything long starts.

    Parameters
    ----------
    out : Path
        Name of the table.

    Raises
    ------
    ValueError
        If it ends otherwise.
    ImportError
        If pyarrow is missing.
    """
    if out.suffix not in SUFFIXES:
        raise ValueError(f"--out must end in {' or '.join(SUFFIXES)}, got {out}")
    if out.suffix == ".parquet":
        import_optional("pyarrow.parquet", "a table in Parquet")


def write_table(path: Path, parts: Iterable[_Part], label: np.dtype, suffix: str) -> None:
    """Write a table, of which memory holds a part at a time.

    Parameters
    ----------
    path : Path
        The file to write.
    parts : iterable of (paths, rows)
        Its rows in order.
    label : dtype
        Of the labels of all.
    suffix : str
        ".csv" or ".parquet".
    """
    {".csv": _write_csv, ".parquet": _write_parquet}[suffix](path, parts, label)


def _write_csv(path: Path, parts: Iterable[_Part], label: np.dtype) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *COLUMNS])
        for paths, rows in parts:
            columns = _columns(paths, rows, label)
            writer.writerows(zip(*columns.values(), strict=True))  # None is an empty field


def _write_parquet(path: Path, parts: Iterable[_Part], label: np.dtype) -> None:
    arrow = import_optional("pyarrow", "a table in Parquet")
    parquet = import_optional("pyarrow.parquet", "a table in Parquet")
    types = [arrow.string(), _arrow_type(arrow, label), *[arrow.float64()] * 3, arrow.string()]
    schema = arrow.schema(list(zip(["path", *COLUMNS], types, strict=True)))
    waiting: list[Any] = []
    with parquet.ParquetWriter(path, schema) as writer:
        for paths, rows in parts:
            waiting.append(arrow.table(_columns(paths, rows, label), schema))
            if sum(map(len, waiting)) >= GROUP:
                writer.write_table(arrow.concat_tables(waiting), row_group_size=GROUP)
                waiting.clear()
        if waiting:
            writer.write_table(arrow.concat_tables(waiting), row_group_size=GROUP)


def _arrow_type(arrow: Any, label: np.dtype) -> Any:
    return arrow.string() if label.kind == "U" else arrow.from_numpy_dtype(label)


def _columns(paths: list[str], rows: np.ndarray, label: np.dtype) -> dict[str, list[Any]]:
    """Return plain values by column; None where there is none."""
    broken = (rows["reason"] != "").tolist()
    labels = rows["label"].astype(label).tolist()
    columns: dict[str, list[Any]] = {
        "path": [_readable(path) for path in paths],
        "label": [None if no else value for no, value in zip(broken, labels, strict=True)],
    }
    for name in COLUMNS[1:4]:
        columns[name] = [None if math.isnan(value) else value for value in rows[name].tolist()]
    return columns | {"reason": [reason or None for reason in rows["reason"].tolist()]}


def _readable(path: str) -> str:
    """Return a path as text; bytes that are none stand as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
