"""Predictions written to a folder shard by shard; what is there already is not computed again."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils import check_scalar

from sklearn_densconf._array import to_numpy
from sklearn_densconf._files import write_array
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.distributed._engine import each
from sklearn_densconf.distributed._folder import Run, key_of, sweep

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
    """Predict many samples on many workers into a folder; a run that was killed can be resumed.

    Results are written shard by shard, each under another name first, so that a shard is there
    whole or not at all. After a kill the same call computes only the missing shards. At the end the
    shards become one file, ``<method>.npy``. The folder's manifest, ``run.json``, says what the run
    is and lists its files, each with its rows and checksum, which every call verifies: a damaged
    file is computed again, with a warning. Only files of the manifest are ever deleted or replaced,
    and temporary ones of dead processes. One process at a time may use a folder.

    Parameters
    ----------
    model : estimator
        Fitted; a pipeline, for instance.
    X : sequence
        Samples that can be sliced, such as a list of paths or an array.
    folder : path
        Where the results are written, made if missing; all workers must see it.
    method : str, default="predict_proba"
        Method of the model that returns one row of numbers, or one label, per sample, such as
        "score_samples"; for a pipeline any method of its last step, such as "confidence".
    shard_size : int, default=4096
        Samples in one task and one file; memory is needed for that many rows.
    n_jobs : int, default=None
        As in `fit`.

    Returns
    -------
    ndarray of shape (n_samples, ...)
        The results, mapped from the file, read-only. Labels of dtype object are stored as strings
        or numbers.

    Raises
    ------
    ValueError
        If the folder has results of another model, other samples, another method or
        ``shard_size``, files of these names that the run did not write, or a damaged manifest; if
        X is empty, the method does
        not return one row per sample, or shards differ in the shape of a row. The whole state of
        two models is compared. Files in X are compared by their paths, not by their contents,
        unless the model begins with a `FeatureExtractor` of ``memory_key="content"``.
    TypeError
        If the method returns objects that are neither all strings nor all numbers.
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
        raise ValueError("X is empty: pass at least one sample")
    check_scalar(shard_size, "shard_size", Integral, min_val=1)
    _bound(model, method)  # a wrong name fails here, not in every worker
    folder = Path(folder).resolve()
    samples = _hashed(model, X)
    about = {"model": fingerprint(model), "X": samples, "method": method, "shard_size": shard_size}
    spans = [slice(start, start + shard_size) for start in range(0, len(X), shard_size)]
    parts = [folder / PART.format(span.start) for span in spans]
    result = folder / f"{method}.npy"
    n_rows = {part: min(shard_size, len(X) - s.start) for part, s in zip(parts, spans, strict=True)}
    run = Run(folder, about, {result: len(X), **n_rows})
    sweep(folder)  # after a run that was killed
    if not run.has(result):
        shards = zip(spans, parts, strict=True)
        missing = ((X[span], part) for span, part in shards if not run.has(part))
        task = partial(_write, method=method, key=run.key)
        with run.noting():
            for written in each(task, model, missing, n_jobs, folder):
                run.note(*written)
            run.note(result, _join(parts, result, len(X), run.key))
    run.delete(parts)
    sweep(folder)  # after workers that died
    return np.load(result, mmap_mode="r")


def _hashed(model: Any, X: Any) -> str:
    """Hash the samples; of files the paths, or their bytes where the extractor asks for that."""
    first = model[0] if isinstance(model, Pipeline) else model
    is_column = isinstance(X, (list, tuple)) or getattr(X, "ndim", 0) == 1
    if is_column and getattr(first, "memory_key", None) == "content":
        X = [_content(item) for item in X]
    return joblib.hash(X, coerce_mmap=True)


def _content(item: Any) -> Any:
    if isinstance(item, (str, os.PathLike)) and os.path.isfile(item):
        with open(item, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    return item


def _bound(model: Any, method: str) -> Callable[[Any], Any]:
    """Return a method; for a pipeline also one that only its last step has."""
    if not isinstance(model, Pipeline) or hasattr(model, method):
        return getattr(model, method)
    last = getattr(model[-1], method)
    return lambda X: last(model[:-1].transform(X))


def _write(model: Any, shard: tuple[Any, Path], method: str, key: str) -> tuple[Path, str]:
    X, path = shard
    values = _without_objects(np.asarray(to_numpy(_bound(model, method)(X))), method)
    if values.shape[:1] != (len(X),):
        raise ValueError(
            f"{method} returned an array of shape {values.shape} for {len(X)} samples: it must "
            "return one row per sample"
        )
    return path, write_array(path, [values], values.shape, values.dtype, key_of(path, key))


def _without_objects(values: np.ndarray, method: str) -> np.ndarray:
    """Return labels of dtype object as strings or numbers, of which files can be mapped."""
    if not values.dtype.hasobject:
        return values
    kinds = {type(value) for value in values.ravel().tolist()}
    if all(issubclass(kind, str) for kind in kinds):
        return values.astype(str)
    plain = np.array(values.tolist()) if not any(issubclass(kind, str) for kind in kinds) else None
    if plain is None or plain.dtype.kind not in "biuf":
        raise TypeError(
            f"{method} returned objects of type {sorted(kind.__name__ for kind in kinds)}, which "
            "a file cannot hold: use labels that are all strings or all numbers"
        )
    return plain


def _join(parts: list[Path], result: Path, n_samples: int, key: str) -> str:
    """Write one file of all shards, which need not fit into memory."""

    def mapped() -> Iterator[np.ndarray]:  # one at a time: each holds a file open
        return (np.load(part, mmap_mode="r") for part in parts)

    rows = {(array.dtype, array.shape[1:]) for array in mapped()}
    shapes, are_strings = {shape for _, shape in rows}, {dtype.kind == "U" for dtype, _ in rows}
    if len(shapes) > 1 or len(are_strings) > 1:
        found = sorted(f"{dtype} {shape}" for dtype, shape in rows)
        raise ValueError(f"shards cannot be joined, because their rows differ: {found}")
    dtype = np.result_type(*(dtype for dtype, _ in rows))  # as long as the longest label
    shape = n_samples, *shapes.pop()
    return write_array(result, mapped(), shape, dtype, key_of(result, key))
