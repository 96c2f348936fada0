"""One density from many shards, as if from all samples together: measure each, then merge."""

import copy
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_densconf.distributed._engine import each

Shard = tuple[Any, ...] | Callable[[], tuple[Any, ...]]
Named = tuple[str, Shard]  # "shard 3" and what it is, so that an error can say which it was
Columns = tuple[str, np.ndarray | None]  # "shard 3" and the names of its columns


def fit(
    model: Any,
    shards: Iterable[Shard],
    classes: Any,
    *,
    n_jobs: int | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Any:
    """Fit a density to shards on many workers, with the same result as from all samples together.

    Each worker runs a shard through the pipeline, batch by batch, and measures its moments. They
    are merged here in the order in which they arrive, on which the last bits therefore depend. When
    a worker process dies, the shards that were running are run again.

    Parameters
    ----------
    model : GaussianDensityClassifier or Pipeline
        The density, or a pipeline that ends in one. It is not changed. A `FeatureExtractor` uses
        its network as it is; other steps, and extractors that have to be trained, must be fitted.
    shards : iterable of tuple or callable
        ``(X, y)`` or ``(X, y, sample_weight)``, or functions without arguments that return one and
        are called in the worker. Taken one by one, a few ahead of the workers. X is what the first
        step takes (paths, pictures, features) and can be sliced.
    classes : array-like of shape (n_classes,)
        All labels.
    n_jobs : int, default=None
        Workers, -1 for all cores; None is 1 unless ``joblib.parallel_config`` says otherwise.
        Worker processes of this machine share its cores: each gets (cores / n_jobs) threads.
    folder : path, default=None
        Folder that all workers see, for the model's file, which is removed at the end; None is the
        machine's folder for temporary files.

    Returns
    -------
    GaussianDensityClassifier or Pipeline
        A fitted copy of ``model``.

    Raises
    ------
    ValueError
        If there is no shard, or an empty one; if samples, labels and weights of a shard differ in
        number; if two tables differ in the names or the order of their columns; whatever
        ``partial_fit`` of the density refuses, for instance ``shrinkage="auto"``.
    TypeError
        If the density cannot be merged from parts, or a shard is not a tuple.
    NotFittedError
        If a step that has to be fitted is not.
    BrokenProcessPool
        If processes of this machine die three times without finishing a shard between.
    RuntimeError
        If three workers of a cluster die while they run the same shard.

    See Also
    --------
    fit_batches : The same in this process, for a stream of batches.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_densconf import GaussianDensityClassifier, distributed
    >>> X, y = load_iris(return_X_y=True)
    >>> shards = [(X[:80], y[:80]), lambda: (X[80:], y[80:])]
    >>> distributed.fit(GaussianDensityClassifier(), shards, classes=[0, 1, 2]).score(X, y)
    0.96
    """
    model, numbered = _prepared(model, shards, "shard")
    task = partial(_measured, classes=classes)
    density, first = None, None
    with closing(each(task, model, numbered, n_jobs, folder)) as parts:
        for part, columns in parts:
            first = _check_columns(columns, first)
            density = part if density is None else density.merge(part)
    if density is None:
        raise ValueError("shards is empty: pass at least one (X, y)")
    return _with_density(model, density)


def fit_batches(model: Any, batches: Iterable[Shard], classes: Any) -> Any:
    """Fit a pipeline to batches that arrive one by one, in constant memory.

    Parameters
    ----------
    model : GaussianDensityClassifier or Pipeline
        As in `fit`.
    batches : iterable of tuple or callable
        As the shards of `fit`.
    classes : array-like of shape (n_classes,)
        All labels.

    Returns
    -------
    GaussianDensityClassifier or Pipeline
        A fitted copy of ``model``.

    Raises
    ------
    ValueError
        As in `fit`.
    TypeError
        As in `fit`.
    NotFittedError
        As in `fit`.

    See Also
    --------
    fit : The same on many workers.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed
    >>> import torch
    >>> X, y = load_iris(return_X_y=True)
    >>> pipeline = make_pipeline(FeatureExtractor(torch.nn.Flatten()), GaussianDensityClassifier())
    >>> batches = ((X[rows::3], y[rows::3]) for rows in range(3))
    >>> distributed.fit_batches(pipeline, batches, classes=[0, 1, 2]).score(X, y)
    0.96
    """
    model, numbered = _prepared(model, batches, "batch")
    return _with_density(model, _measure(model, numbered, classes))


def _prepared(model: Any, shards: Iterable[Shard], noun: str) -> tuple[Any, Iterator[Named]]:
    """Copy the model; fit extractors, which learn only shapes, to the first sample."""
    model = copy.deepcopy(model)
    *transformers, density = _steps(model)
    if missing := [name for name in ("fit_batches", "merge") if not hasattr(density, name)]:
        raise TypeError(
            f"{type(density).__name__} has no {' and no '.join(missing)}, so it cannot be fitted "
            "in parts: use GaussianDensityClassifier as the last step"
        )
    if hasattr(density, "calibrate"):
        raise TypeError(
            f"{type(density).__name__} needs held-out pictures beside the shards: take their "
            "features, partial_fit on each and merge, then calibrate(X_val, y_val)"
        )
    named = ((f"{noun} {number}", shard) for number, shard in enumerate(shards))
    if not transformers:
        return model, named
    first = next(named, None)
    if first is None:
        raise ValueError("shards is empty: pass at least one (X, y)")
    sample = _content(*first)[0][:1]
    for transformer in transformers:
        if (
            hasattr(transformer, "iter_transform")
            and not get_tags(transformer).target_tags.required
        ):
            transformer.fit(sample)
        check_is_fitted(transformer)
        sample = transformer.transform(sample)
    return model, chain([first], named)


def _steps(model: Any) -> list[Any]:
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else [model]
    return [step for step in steps if step not in (None, "passthrough")]


def _with_density(model: Any, density: Any) -> Any:
    if not isinstance(model, Pipeline):
        return density
    model.steps[-1] = (model.steps[-1][0], density)
    return model


def _content(name: str, shard: Shard) -> tuple[Any, ...]:
    """Return what is in a shard: samples, and columns of as many values; refuse anything else."""
    content = shard() if callable(shard) else shard
    if not isinstance(content, (tuple, list)) or len(content) not in (2, 3):
        raise TypeError(
            f"{name} must be (X, y) or (X, y, sample_weight), got {type(content).__name__}"
        )
    X, *columns = content
    n_samples = _number_of_samples(X)
    if n_samples == 0:
        raise ValueError(f"{name} is empty: leave it out")
    for noun, column in zip(("labels", "weights"), columns, strict=False):
        if column is not None and _number_of_samples(column) != n_samples:
            raise ValueError(
                f"{name} has {n_samples} samples, but {_number_of_samples(column)} {noun}"
            )
    return X, *(column for column in columns if column is not None)


def _number_of_samples(values: Any) -> int:
    return values.shape[0] if hasattr(values, "shape") else len(values)


def _column_names(X: Any) -> np.ndarray | None:
    """Return the names of a table's columns, as scikit-learn reads them; None without names."""
    table = BaseEstimator()
    validate_data(table, X, skip_check_array=True, ensure_2d=False)
    return getattr(table, "feature_names_in_", None)


def _check_columns(columns: Columns, first: Columns | None) -> Columns:
    """Check a table's columns against those of the first table, and return the latter.

    The density sees arrays, in which columns of another order are taken for the same features.
    """
    if first is None:
        return columns
    (name, found), (first_name, expected) = columns, first
    if found is None or expected is None:  # an array among tables has no names to compare
        return columns if expected is None else first
    if not np.array_equal(found, expected):
        raise ValueError(
            f"{name} has the columns {_shorten(found)}, {first_name} has {_shorten(expected)}: "
            "bring all to the same columns in the same order"
        )
    return first


def _shorten(names: np.ndarray) -> str:
    return f"{names[:8].tolist()}{'...' if len(names) > 8 else ''}"


def _measure(model: Any, named: Iterable[Named], classes: Any) -> Any:
    """Return a density that is fitted to some shards."""
    *transformers, density = _steps(model)
    return clone(density).fit_batches(_feature_batches(transformers, named), classes)


def _feature_batches(transformers: list[Any], named: Iterable[Named]) -> Iterator[tuple[Any, ...]]:
    first = None
    for name, shard in named:
        X, *columns = _content(name, shard)
        first = _check_columns((name, _column_names(X)), first)
        start = 0
        for features in _features(transformers, X):
            rows = slice(start, start + len(features))
            yield features, *(column[rows] for column in columns)
            start = rows.stop


def _features(transformers: list[Any], X: Any) -> Iterator[Any]:
    """Yield the input of the density: in batches, if the first step can make them."""
    if not transformers:
        yield X
        return
    first, *rest = transformers
    batches = first.iter_transform(X) if hasattr(first, "iter_transform") else [first.transform(X)]
    for batch in batches:
        features = batch
        for transformer in rest:
            features = transformer.transform(features)
        yield features


def _measured(model: Any, named: Named, classes: Any) -> tuple[Any, Columns]:
    """Measure one shard in a worker; return also its columns, which only the caller can compare."""
    name, shard = named
    content = _content(name, shard)
    density = _measure(model, [(name, content)], classes)
    return density, (name, _column_names(content[0]))
