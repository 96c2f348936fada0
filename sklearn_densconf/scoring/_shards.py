"""One shard of pictures as rows of a table; those that could not be read have a reason."""

import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sklearn_densconf._files import write_array
from sklearn_densconf._optional import import_optional
from sklearn_densconf.distributed._folder import key_of


class Scores(NamedTuple):
    """What a model says of some pictures.

    Attributes
    ----------
    label : ndarray of shape (n,)
        Numbers or strings.
    confidence : ndarray of shape (n,)
        Probability of the label.
    known : ndarray of shape (n,) or None
        Probability that the picture is like the training data, where the model tells it.
    score : ndarray of shape (n,) or None
        How familiar it is, where the model tells it.
    """

    label: np.ndarray
    confidence: np.ndarray
    known: np.ndarray | None
    score: np.ndarray | None


COLUMNS = ("label", "confidence", "known", "score", "reason")
Scorer = Callable[[Sequence[str]], Scores]
_Part = tuple[list[int], Scores]
_OF_THE_MACHINE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT)


def write_shard(
    scorer: Scorer, shard: tuple[list[str], Path], key: str, skip_broken: bool
) -> tuple[tuple[Path, str], int, int]:
    """Score a shard in a worker and write its rows; return how many there are, and are broken.

    Parameters
    ----------
    scorer : callable
        From paths to `Scores`.
    shard : tuple
        Paths, and the file to write.
    key : str
        What the run is.
    skip_broken : bool
        Whether pictures that cannot be read get a reason. Else the first of them is raised.

    Returns
    -------
    written : tuple of Path and str
        The file, and its SHA-256.
    n_pictures, n_broken : int
        Number of pictures, and of those that could not be read.

    Raises
    ------
    ValueError
        If a picture cannot be read.
    """
    paths, place = shard
    reasons: dict[int, str] = {}
    if skip_broken:
        parts = _skipping(scorer, paths, list(range(len(paths))), reasons)
    else:
        parts = [(list(range(len(paths))), scorer(paths))]
    rows = _rows(len(paths), parts, reasons)
    sha256 = write_array(place, [rows], rows.shape, rows.dtype, key_of(place, key))
    return (place, sha256), len(paths), len(reasons)


def _skipping(
    scorer: Scorer, paths: list[str], chosen: list[int], reasons: dict[int, str]
) -> list[_Part]:
    """Score what can be read: what cannot be decoded is left out, and what else fails sought."""
    try:
        return [(chosen, scorer([paths[index] for index in chosen]))]
    except (OSError, ValueError) as error:
        _raise_if_of_the_machine(error)
        found = {index: reason for index in chosen if (reason := why_unreadable(paths[index]))}
        if not found and len(chosen) == 1:
            found = {chosen[0]: one_line(error)}
    reasons |= found
    rest = [index for index in chosen if index not in found]
    middle = 0 if found else len(rest) // 2  # else: it is a picture that can be decoded
    halves = (half for half in (rest[:middle], rest[middle:]) if half)
    return [part for half in halves for part in _skipping(scorer, paths, half, reasons)]


def _raise_if_of_the_machine(error: Exception) -> None:
    """Raise what would befall any picture, rather than to list them all as broken."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        raise error


def why_unreadable(path: str) -> str:
    """Return why a picture cannot be decoded.

    Parameters
    ----------
    path : str
        Its file.

    Returns
    -------
    str
        One line; nothing if it can be decoded.
    """
    image = import_optional("PIL.Image", "Reading pictures")
    try:
        with image.open(path) as picture:
            picture.load()
    except Exception as error:  # PIL raises many kinds on damaged files, and for bombs
        _raise_if_of_the_machine(error)
        return one_line(error)
    return ""


def one_line(error: BaseException) -> str:
    """Return what an error says, with its notes, in one line."""
    return " ".join(" ".join([str(error), *getattr(error, "__notes__", [])]).split())


def _rows(n: int, parts: list[_Part], reasons: dict[int, str]) -> np.ndarray:
    """Return a table of all pictures: NaN where there is no number."""
    labels = [plain_labels(scores.label) for _, scores in parts]
    dtype = [("label", np.result_type(*labels) if labels else np.dtype("U1"))]
    dtype += [(name, np.dtype("f8")) for name in COLUMNS[1:4]]
    dtype += [("reason", np.dtype(f"U{max(map(len, reasons.values()), default=1)}"))]
    rows = np.zeros(n, dtype)
    for name in COLUMNS[1:4]:
        rows[name] = np.nan
    for label, (chosen, scores) in zip(labels, parts, strict=True):
        rows["label"][chosen] = label
        for name in COLUMNS[1:4]:
            if (values := getattr(scores, name)) is not None:
                rows[name][chosen] = values
    for index, reason in reasons.items():
        rows["reason"][index] = reason
    return rows


def plain_labels(label: np.ndarray) -> np.ndarray:
    """Return labels of which a file can hold an array."""
    if not label.dtype.hasobject:
        return label
    values = label.tolist()
    return np.array(list(map(str, values)) if any(isinstance(v, str) for v in values) else values)
