"""Moments and Gaussians of blocks of features: the same, block by block."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from sklearn_densconf._array import Array, namespace
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf.density import _moments
from sklearn_densconf.density._covariance_types import (
    COVARIANCE_TYPES,
    check_scatter,
    derive,
    prepare_classes,
)
from sklearn_densconf.density._gaussians import Gaussians
from sklearn_densconf.density._matrix import ledoit_wolf
from sklearn_densconf.density._moments import Moments
from sklearn_densconf.density._range import check_measured, check_moments, check_spread

Prepared = list[tuple[Gaussians, Gaussians | None]]  # of each block, with its background


def measure(
    X: Array,
    codes: np.ndarray,
    weight: Array,
    *,
    columns: Sequence[slice],
    n_classes: int,
    covariance_type: str,
) -> tuple[Moments, ...]:
    """Measure the moments of each block that a covariance type needs, and check them."""
    kind, measured = COVARIANCE_TYPES[covariance_type].scatter, []
    for part in columns:
        block = X[:, part]
        # Cost of the matrix products; a diagonal scatter needs none.
        n_multiplications = 0 if kind == "diag" else block.shape[0] * block.shape[1] ** 2
        few = one_thread_if_few(n_multiplications)
        with few, np.errstate(over="ignore", invalid="ignore"):  # said by check_measured
            moments = _moments.measure(block, codes, weight, n_classes, kind)
        check_measured(moments, block)
        check_spread(moments, block)
        measured.append(moments)
    return tuple(measured)


def merge(
    first: tuple[Moments, ...], second: tuple[Moments, ...], covariance_type: str
) -> tuple[Moments, ...]:
    """Merge the moments of two disjoint sets of samples, where the first are, and check them."""
    for moments in first:
        check_scatter(moments, covariance_type)
    with np.errstate(over="ignore", invalid="ignore"):  # said by check_moments
        merged = tuple(
            _moments.merge(moments, _moments.like(part, moments.count))
            for moments, part in zip(first, second, strict=True)
        )
    for moments in merged:
        check_moments(moments)
    return merged


def covariances(
    moments: Sequence[Moments], covariance_type: str, smoothing: float, shrinkage: Any
) -> Any:
    """Derive the covariances of one block, or a list of those of several."""
    derived = [
        derive(part, covariance_type, smoothing, weight)
        for part, weight in zip(moments, _each_shrinkage(shrinkage, len(moments)), strict=True)
    ]
    return derived[0] if len(derived) == 1 else derived


def prepare(
    moments: Sequence[Moments],
    covariance_type: str,
    smoothing: float,
    shrinkage: Any,
    *,
    with_background: bool,
) -> Prepared:
    """Prepare the Gaussians of each block, and its background if wanted."""
    return [
        prepare_classes(part, covariance_type, smoothing, weight, with_background=with_background)
        for part, weight in zip(moments, _each_shrinkage(shrinkage, len(moments)), strict=True)
    ]


def estimate_shrinkage(
    X: Array, codes: Array, weight: Array, columns: Sequence[slice], moments: Sequence[Moments]
) -> Array:
    """Estimate Ledoit and Wolf's shrinkage: of one block, or stacked along a first axis."""
    estimated = [
        ledoit_wolf(X[:, part], codes, weight, of_block)
        for part, of_block in zip(columns, moments, strict=True)
    ]
    return estimated[0] if len(estimated) == 1 else namespace(X).stack(estimated)


def cost(moments: Sequence[Moments], covariance_type: str) -> np.ndarray:
    """Estimate how many multiplications one sample takes, and preparing the Gaussians."""
    of_type = COVARIANCE_TYPES[covariance_type].cost
    return np.sum([of_type(part.mean.shape[1], part.mean.shape[0]) for part in moments], axis=0)


def _each_shrinkage(shrinkage: Any, n_blocks: int) -> list[Any]:
    """Return the shrinkage of each block: a float, or None, serves all."""
    if n_blocks == 1 or not getattr(shrinkage, "ndim", 0):
        return [shrinkage] * n_blocks
    return [shrinkage[index, ...] for index in range(n_blocks)]
