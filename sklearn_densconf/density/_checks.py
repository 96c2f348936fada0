"""Checks of what users give to GaussianDensityClassifier, beyond those all classifiers share."""

import math
import os
import sys
from typing import Any

import numpy as np

from sklearn_densconf._array import Array, namespace, to_numpy
from sklearn_densconf._validation import (
    LABEL_RULES,
    check_finite,
    check_label_rule,
    check_number,
    check_option,
    check_priors,
    check_scale,
    unique_labels,
)
from sklearn_densconf.density._covariances import MATRIX_TYPES, variances
from sklearn_densconf.density._moments import KIND, Moments


def check_parameters(classifier: Any) -> None:
    """Check the parameters that can be checked without data."""
    check_option("covariance_type", classifier.covariance_type, KIND)
    check_option("predict_from", classifier.predict_from, LABEL_RULES)
    check_scale("temperature", classifier.temperature)
    check_scale("covariance_scale", classifier.covariance_scale)
    if classifier.shrinkage is not None and classifier.shrinkage != "auto":
        wanted = "None, 'auto' or a float in [0, 1]"
        check_number("shrinkage", classifier.shrinkage, lambda a: 0 <= a <= 1, wanted)
    wanted = "a finite float of at least 0"
    check_number("var_smoothing", classifier.var_smoothing, lambda v: 0 <= v < math.inf, wanted)
    check_number("background", classifier.background, lambda e: 0 <= e < 1, "a float in [0, 1)")


def check_shapes(classifier: Any, d: int) -> None:
    """Check the parameters against the numbers of classes and features, and the memory needed."""
    k = classifier.classes_.shape[0]
    check_priors(classifier.priors, k)
    check_label_rule(classifier.predict_from, d, k)
    if classifier.covariance_type in MATRIX_TYPES:
        _check_memory(
            classifier.covariance_type, d, k if classifier.covariance_type == "full" else 1
        )


def check_incremental(classifier: Any, method: str) -> None:
    """Refuse parts where the shrinkage needs all samples at once."""
    if classifier.shrinkage == "auto":
        raise ValueError(
            f"{method} cannot be used with shrinkage='auto', which needs all samples at once: "
            "set a float, or use fit"
        )


def check_classes(classifier: Any, classes: Any, first: bool) -> Array:
    """Check the ``classes`` of ``partial_fit``: needed first, and the same ever after."""
    if classes is None:
        if first:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return classifier.classes_
    classes = unique_labels(classes if hasattr(classes, "shape") else np.asarray(classes))
    if not first and to_numpy(classes).tolist() != to_numpy(classifier.classes_).tolist():
        raise ValueError(
            f"`classes={classes}` is not the same as on last call to partial_fit, was: "
            f"{classifier.classes_}"
        )
    return classes


def check_mergeable(first: Any, second: Any) -> None:
    """Check that two fitted classifiers are of one kind."""
    mine, theirs = (
        (to_numpy(part.classes_).tolist(), part.n_features_in_, part.covariance_type)
        for part in (first, second)
    )
    if mine != theirs:
        raise ValueError(
            "only parts with the same classes, number of features and covariance_type can be "
            f"merged, got {mine} and {theirs}: fit each with partial_fit(classes=...)"
        )


def check_kind(moments: Moments, covariance_type: str) -> None:
    """Check that the moments are those that a covariance type needs."""
    if moments.kind != KIND[covariance_type]:
        same = [name for name, kind in KIND.items() if kind == moments.kind]
        raise ValueError(
            f"covariance_type={covariance_type!r} needs another scatter than the one that was "
            f"measured, which serves {same}: fit again"
        )


def check_measured(moments: Moments, X: Array) -> None:
    """Check what was measured: a NaN or infinity of X, and a square that overflowed, show here."""
    xp = namespace(moments.scatter)
    if not bool(xp.isfinite(xp.sum(moments.scatter))):
        check_finite(X)
        raise ValueError("X has values whose squares overflow: scale the features down")


def check_positive(covariance: Array, covariance_type: str) -> None:
    """Check that no variance is 0."""
    if not float(namespace(covariance).min(variances(covariance, covariance_type))) > 0:
        raise ValueError(
            "a variance is 0 (a feature that is constant, in all classes or in one) and "
            "var_smoothing does not raise it: set var_smoothing above 0"
        )


def _check_memory(covariance_type: str, d: int, n_matrices: int) -> None:
    """Refuse covariances that cannot fit: the scatter, the covariances and their factors."""
    needed = 3 * 8 * n_matrices * d * d
    installed = _installed_bytes()
    if needed > installed:
        raise MemoryError(
            f"covariance_type={covariance_type!r} needs {needed:,} bytes for {n_matrices} matrices "
            f"of {d} x {d}, and this machine has {installed:,}: use 'tied', or 'diag'"
        )


def _installed_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not a POSIX system: no way to ask
        return sys.maxsize
