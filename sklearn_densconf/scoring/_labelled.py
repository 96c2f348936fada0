"""Labelled pictures: a folder for each class, or a table of paths and labels."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.datasets import load_image_folder
from sklearn_densconf.scoring._tables import SUFFIXES

_COLUMNS = ["path", "label"]


def read_labelled(place: Path) -> tuple[list[str], list[str]]:
    """List labelled pictures.

    Parameters
    ----------
    place : Path
        A folder as `load_image_folder` reads, or a table in CSV or Parquet with the columns path
        and label.

    Returns
    -------
    paths, labels : list of str
        One label per picture: the name of its folder, or what stands in the table.

    Raises
    ------
    FileNotFoundError
        If it is not there.
    ValueError
        If it has no pictures, or is another kind of file.
    """
    if place.is_dir():
        pictures = load_image_folder(place, min_pictures=1)
        return pictures.paths, pictures.classes[pictures.y].tolist()
    if not place.is_file():
        raise FileNotFoundError(f"INPUT {place} is not there")
    if place.suffix not in SUFFIXES:
        raise ValueError(
            "INPUT must be a folder with a folder for each class, or a table ending in "
            f"{' or '.join(SUFFIXES)}, got {place}"
        )
    return _of_table(place)


def _of_table(place: Path) -> tuple[list[str], list[str]]:
    columns = (_csv if place.suffix == ".csv" else _parquet)(place)
    if missing := [name for name in _COLUMNS if name not in columns]:
        raise ValueError(f"{place} has the columns {list(columns)}, wanted {missing} too")
    paths, labels = (columns[name] for name in _COLUMNS)
    if not paths:
        raise ValueError(f"{place} has no rows")
    for number, row in enumerate(zip(paths, labels, strict=True), 1):
        if any(value in (None, "") for value in row):
            raise ValueError(f"{place} has no {' or no '.join(_COLUMNS)} in row {number}")
    return paths, [str(label) for label in labels]


def _csv(place: Path) -> dict[str, list[Any]]:
    with place.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        return {name: [row[name] for row in rows] for name in reader.fieldnames or ()}


def _parquet(place: Path) -> dict[str, list[Any]]:
    return import_optional("pyarrow.parquet", "a table in Parquet").read_table(place).to_pydict()


def as_classes(labels: Sequence[str], classes: Any, name: str) -> np.ndarray:
    """Return labels as a model says them.

    Parameters
    ----------
    labels : sequence of str
        From folders or a table.
    classes : array-like of shape (n_classes,)
        The model's ``classes_``.
    name : str
        Of the model.

    Returns
    -------
    ndarray of shape (n_pictures,)
        The classes whose text the labels are. Where none is, and there are as many labels as
        classes, which are 0, 1, ..., the classes in the order of the sorted labels: that is what a
        pipeline has that was fitted with ``y`` of `load_image_folder`.

    Raises
    ------
    ValueError
        If labels are not the model's.
    """
    values = np.asarray(classes).tolist()
    numbers = {_text(value): number for number, value in enumerate(values)}
    found = sorted(set(labels))
    if numbers.keys().isdisjoint(found) and values == list(range(len(found))):
        numbers = {label: number for number, label in enumerate(found)}
    if unseen := [label for label in found if label not in numbers]:
        raise ValueError(
            f"INPUT has the labels {_few(unseen)}, which {name} was not fitted with, but with "
            f"{_few(list(map(_text, values)))}: rename them, or give them as --unknown"
        )
    return np.asarray(classes)[[numbers[label] for label in labels]]


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _few(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f", ... ({len(names)})" if len(names) > 5 else "")
