"""Predictions in a folder, shard by shard: what is there is not computed again."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.pipeline import Pipeline

from sklearn_densconf._files import UNFINISHED, whole_file
from sklearn_densconf._fingerprint import identity
from sklearn_densconf.distributed._engine import each

PART = "from-{}.npy"  # by the number of its first sample


def predict(
    model: Any,
    X: Sequence[Any],
    folder: str | os.PathLike[str],
    *,
    method: str = "predict_proba",
    shard_size: int = 4096,
    n_jobs: int | None = None,
) -> np.ndarray:
    """Predict a long list of samples on many workers, into a folder, resumably.

    Results are written shard by shard, each under another name first, so that a shard is there
    whole or not at all. After a kill the same call runs the missing shards only. In the end the
    shards become one file, ``<method>.npy``. One process at a time may use a folder.

    Parameters
    ----------
    model : estimator
        Fitted; a pipeline, for instance.
    X : sequence
        Samples that can be sliced, such as a list of paths or an array.
    folder : path
        Where the results are written, made if missing; all workers must see it.
    method : str, default="predict_proba"
        Method of the model that gives one row of numbers a sample, such as "score_samples"; of a
        pipeline any method of its last step, such as "confidence".
    shard_size : int, default=4096
        Samples in one task and one file; memory is needed for that many rows.
    n_jobs : int, default=None
        As in `fit`.

    Returns
    -------
    ndarray of shape (n_samples, ...)
        The results, mapped from the file, read-only.

    Raises
    ------
    ValueError
        If the folder has results of another model, other samples, method or ``shard_size``; if X
        is empty. Files are told apart by their paths: contents are not compared.
    AttributeError
        If the model has no such method.
    BrokenProcessPool
        As in `fit`.
    RuntimeError
        As in `fit`.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_densconf import GaussianDensityClassifier, distributed
    >>> X, y = load_iris(return_X_y=True)
    >>> density = GaussianDensityClassifier().fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     distributed.predict(density, X, folder, shard_size=64).shape
    (150, 3)
    """
    if len(X) == 0:
        raise ValueError("X is empty: give at least one sample")
    _bound(model, method)  # a wrong name fails here, not in every worker
    home = Path(folder).resolve()
    samples = joblib.hash(X, coerce_mmap=True)
    about = {"model": identity(model), "X": samples, "method": method, "shard_size": shard_size}
    _claim(home, about)
    _sweep(home, f"{UNFINISHED}*")  # of a run that was killed
    starts = range(0, len(X), shard_size)
    parts = [home / PART.format(start) for start in starts]
    result = home / f"{method}.npy"
    if not result.exists():
        missing = (
            (X[start : start + shard_size], part)
            for start, part in zip(starts, parts, strict=True)
            if not part.exists()
        )
        for _ in each(partial(_write, method=method), model, missing, n_jobs, home):
            pass
        _join(parts, result, len(X))
    _sweep(home, PART.format("*"))
    _sweep(home, f"{UNFINISHED}*")  # of workers that died
    return np.load(result, mmap_mode="r")


def _write(model: Any, shard: tuple[Any, Path], method: str) -> None:
    X, path = shard
    values = _bound(model, method)(X)
    with whole_file(path) as unfinished, unfinished.open("wb") as file:
        np.save(file, values)


def _bound(model: Any, method: str) -> Callable[[Any], np.ndarray]:
    """Give a method; of a pipeline also one that only its last step has."""
    if not isinstance(model, Pipeline) or hasattr(model, method):
        return getattr(model, method)
    last = getattr(model[-1], method)
    return lambda X: last(model[:-1].transform(X))


def _claim(home: Path, about: dict[str, Any]) -> None:
    """Take a folder for a run, or go on with the same run in it."""
    home.mkdir(parents=True, exist_ok=True)
    path = home / "run.json"
    if not path.exists():
        with whole_file(path) as unfinished:
            unfinished.write_text(json.dumps(about))
    there = json.loads(path.read_text())
    if differing := [name for name, value in about.items() if there.get(name) != value]:
        raise ValueError(
            f"{home} has results of another run, with another {' and another '.join(differing)}: "
            "give another folder, or delete this one"
        )


def _join(parts: list[Path], result: Path, n_samples: int) -> None:
    """Make one file of the parts, which memory need not hold."""
    first = np.load(parts[0], mmap_mode="r")
    shape = (n_samples, *first.shape[1:])
    with whole_file(result) as unfinished:
        joined = np.lib.format.open_memmap(unfinished, "w+", first.dtype, shape)
        start = 0
        for part in parts:
            rows = np.load(part, mmap_mode="r")
            joined[start : start + len(rows)] = rows
            start += len(rows)
        joined.flush()


def _sweep(home: Path, pattern: str) -> None:
    for path in home.glob(pattern):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
