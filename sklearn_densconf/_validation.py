"""Checks of what users give. A leaf: imports nothing of this package but other leaves."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.utils import assert_all_finite
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from sklearn_densconf._array import (
    Array,
    as_like,
    device_of,
    float64,
    namespace,
    to_numpy,
    unmasked,
)

LABEL_RULES = ("posterior", "features")
FEWEST = 30  # samples from which chance is told from skill, and a habit from an accident
EQUAL = 1e-9  # of the spread: within it two projections are those of one row
ROWS = 4096  # at once


def check_features(estimator: Any, X: Any, *, reset: bool) -> Array:
    """Check a matrix of activations: two dimensions, known names, finite, floating.

    Raises
    ------
    ValueError
        If a value is NaN or infinite (the sample is named), or the number of features differs
        from the fitted one.
    """
    X = check_matrix(estimator, X, reset=reset)
    xp = namespace(X)
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not bool(xp.isfinite(xp.sum(X)))  # one fast pass; 1e300 may overflow here
    if suspicious:
        check_finite(X)
    return X


def check_matrix(estimator: Any, X: Any, *, reset: bool) -> Array:
    """Check all of `check_features` but that values are finite, which takes a pass over them."""
    if not reset and _is_as_fitted(estimator, X):
        return X
    if isinstance(X, (list, tuple)) and len(X) and getattr(X[0], "ndim", 0) == 2:
        raise ValueError(
            f"X is a {type(X).__name__} of {len(X)} matrices, wanted one: put their columns side "
            "by side, such as by np.hstack([features, logits])"
        )
    if hasattr(X, "detach"):  # a tensor; numpy would refuse its graph, and bfloat16
        X = X.detach()
        X = to_numpy(X) if namespace(X) is np else X
    xp = namespace(X)
    return validate_data(
        estimator, unmasked(X), reset=reset, dtype=[xp.float64, xp.float32], ensure_all_finite=False
    )


def _is_as_fitted(estimator: Any, X: Any) -> bool:
    """Tell at once of a plain matrix that scikit-learn's checks would let it pass as it is.

    They look for data frames, names and tags: of one picture that takes longer than its densities.
    """
    return (
        type(X) is np.ndarray
        and X.dtype in (np.float64, np.float32)
        and X.shape[1:] == (getattr(estimator, "n_features_in_", None),)
        and len(X) > 0
        and not hasattr(estimator, "feature_names_in_")  # else X should have names, too
    )


def check_held_out(estimator: Any, X_val: Any) -> Array:
    """Check held-out samples as `check_features` does those of X, with errors that tell which."""
    try:
        return check_features(estimator, X_val, reset=False)
    except ValueError as error:
        error.add_note("This is said of X_val.")
        raise


def warn_of_trained(X_val: Array, X: Array) -> None:
    """Warn where most of the held-out samples are among those of the fit.

    Rows are compared by a random projection, so that no pair of them is: equal rows have equal
    projections up to rounding, and those of others meet by chance in 1 of 10⁸ times.

    Parameters
    ----------
    X_val : array of shape (n_held_out, d)
        The held-out samples.
    X : array of shape (n, d)
        The samples that the estimator is fitted to.
    """
    held_out, fitted = _projections(X_val), np.sort(_projections(X))
    n = len(fitted)
    after = np.searchsorted(fitted, held_out).clip(max=n - 1)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN equals nothing
        nearest = [np.abs(fitted[at] - held_out) for at in (after, np.maximum(after - 1, 0))]
        spread = fitted[3 * n // 4] - fitted[n // 4]
        share = np.mean(np.minimum(*nearest) <= EQUAL * spread)
    if share > 0.5 and len(held_out) >= FEWEST:
        warnings.warn(
            f"{share:.0%} of the samples of X_val are in X, too: pass pictures that neither the "
            "network nor this classifier was fitted to; on those that they know they are too sure",
            UserWarning,
            stacklevel=3,
        )


def _projections(X: Array) -> np.ndarray:
    """Return one number per row, (n,), in float64; only these leave the device that X is on."""
    xp = namespace(X)
    direction = as_like(np.random.default_rng(0).normal(size=X.shape[1]), X, xp.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # NaN equals nothing
        parts = [
            float64(X[start : start + ROWS, ...]) @ direction
            for start in range(0, X.shape[0], ROWS)
        ]
    return to_numpy(xp.concat(parts))


def check_finite(X: Array) -> None:
    """Check that every value is finite; name the first sample that has another."""
    xp = namespace(X)
    finite = xp.isfinite(X)
    if bool(xp.all(finite)):
        return
    sample = int(np.flatnonzero(~to_numpy(xp.all(finite, axis=1)))[0])
    kind = "NaN" if bool(xp.any(xp.isnan(X[sample, ...]))) else "infinity"
    raise ValueError(
        f"X must be finite, got {kind} in sample {sample}: look at that sample, or at the "
        "network that made it"
    )


def check_same_namespace(X: Array, fitted: Array, method: str) -> None:
    """Check that X is where the learned arrays are; those of numpy go wherever X is."""
    xp = namespace(fitted)
    if xp is not np and (xp is not namespace(X) or device_of(fitted) != device_of(X)):
        raise ValueError(
            f"Inputs passed to {method} must use the same namespace and the same device as those "
            f"passed to fit(): got {type(X)} on {device_of(X)}, fitted on {device_of(fitted)}. "
            "Move X, or use a pickled copy of the estimator: it works anywhere"
        )


def check_labels(y: Any, X: Array) -> tuple[Array, Array]:
    """Check labels: of a classification, one per sample. Return them as an array, and sorted."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None: give the labels")
    assert_all_finite(unmasked(y), input_name="y")
    y = column_or_1d(y, warn=True) if namespace(y) is np else y
    if getattr(y.dtype, "kind", "") not in "biuU":  # whole numbers and strings always are labels
        check_classification_targets(y)
    classes = unique_labels(y)
    if y.shape[0] != X.shape[0]:
        raise ValueError(
            f"X and y must have the same number of samples, got {X.shape[0]} and {y.shape[0]}"
        )
    return y, classes


def unique_labels(y: Array) -> Array:
    """Return the sorted labels."""
    xp = namespace(y)
    return np.unique(y) if xp is np else xp.sort(xp.unique_values(y))


def check_classes(classes: Any, known: Array | None) -> Array:
    """Check the ``classes`` of ``partial_fit``: needed first, and the same ever after."""
    if classes is None:
        if known is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        return known
    classes = unique_labels(classes if hasattr(classes, "shape") else np.asarray(classes))
    if known is not None and to_numpy(classes).tolist() != to_numpy(known).tolist():
        raise ValueError(
            f"`classes={classes}` is not the same as on last call to partial_fit, was: {known}"
        )
    return classes


def check_blocks(blocks: Any, n_features: int) -> list[slice]:
    """Check ``blocks``: None, widths, or a mapping to slices. Return the columns of each.

    Raises
    ------
    ValueError
        If they are not all features, in their order.
    """
    if blocks is None:
        return [slice(0, n_features)]
    each = blocks.values() if hasattr(blocks, "values") else blocks
    parts = list(each) if isinstance(each, Iterable) else []
    widths = [len(range(n_features)[p]) if isinstance(p, slice) else p for p in parts]
    whole = all(isinstance(width, (int, np.integer)) and width > 0 for width in widths)
    ends = np.cumsum([0, *widths]).tolist() if whole else [0]
    columns = [slice(*pair) for pair in pairwise(ends)]
    given = [part for part in parts if isinstance(part, slice)]
    if ends[-1] != n_features or given not in ([], columns):
        raise ValueError(
            f"blocks must be widths of at least 1 that add up to the {n_features} features, or "
            f"consecutive slices of them, got {blocks!r}: take the extractor's feature_groups_"
        )
    return columns


def encode_labels(y: Any, classes: Array) -> np.ndarray:
    """Return the position of each label in the sorted classes."""
    given, classes = to_numpy(y), to_numpy(classes)
    y = _in_type_of(classes, given)
    codes = np.clip(np.searchsorted(classes, y), 0, len(classes) - 1)
    unknown = classes[codes] != y
    if y is not given:
        unknown |= y.astype(given.dtype) != given
    if unknown.any():
        raise ValueError(
            f"The target label(s) {np.unique(given[unknown])} in y do not exist in the initial "
            f"classes {classes}: drop their samples, or fit with all classes"
        )
    return codes


def _in_type_of(classes: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return numbers in the type of the classes: numpy compares int64 with others in float64.

    Raises
    ------
    ValueError
        If several whole numbers become the same float.
    """
    if y.dtype == classes.dtype or not {y.dtype.kind, classes.dtype.kind} <= {*"iuf"}:
        return y
    if y.dtype.kind == "f" and classes.dtype.kind != "f":
        largest = 2.0 ** (np.finfo(y.dtype).nmant + 1)
        if (ambiguous := np.abs(y) >= largest).any():
            raise ValueError(
                f"y has {y[ambiguous][0]!r}, a {y.dtype} which several whole numbers are rounded "
                f"to, and the classes are {classes.dtype}: give y as that"
            )
    with np.errstate(invalid="ignore"):  # of NaN, which is no class
        return y.astype(classes.dtype)


def check_label_rule(predict_from: Any, n_features: int, n_classes: int) -> None:
    """Check ``predict_from`` against the numbers of features and classes."""
    check_option("predict_from", predict_from, LABEL_RULES)
    if predict_from == "features":
        check_one_feature_per_class("predict_from='features'", n_features, n_classes)


def check_one_feature_per_class(
    what: str,
    n_features: int,
    n_classes: int,
    cure: str = "or use GaussianDensityClassifier(predict_from='posterior')",
) -> None:
    """Check that features can be the logits of the classes; two classes may have a single one."""
    if n_features != n_classes and (n_features, n_classes) != (1, 2):
        raise ValueError(
            f"{what} takes one activation per class, in the order of classes_, but n_features="
            f"{n_features} and n_classes={n_classes}: extract the logits of just these classes, "
            f"{cure}"
        )


def check_present(classes: Array, count: Array) -> None:
    """Check that every class has weight."""
    if absent := to_numpy(classes)[to_numpy(count) == 0].tolist():
        raise ValueError(f"classes {absent} have samples of weight 0 only: drop them from y")


def check_weight(sample_weight: Any, X: Array) -> Array:
    """Check weights of samples: one each, at least 0, not all 0; None gives ones. float64."""
    xp = namespace(X)
    if sample_weight is None:
        return xp.ones_like(float64(X[:, 0]))
    weight = float64(as_like(sample_weight, X))
    if weight.ndim == 0:
        weight = weight + xp.zeros_like(float64(X[:, 0]))
    if tuple(weight.shape) != (X.shape[0],):
        raise ValueError(
            f"sample_weight must have one weight per sample: sample_weight.shape == "
            f"{tuple(weight.shape)}, expected {(X.shape[0],)}"
        )
    if not bool(xp.all(xp.isfinite(weight))) or float(xp.min(weight)) < 0:
        raise ValueError("sample_weight must be finite and at least 0: drop the samples instead")
    if float(xp.sum(weight)) == 0:
        raise ValueError("sample_weight must not be zero for all samples")
    return weight


def check_option(name: str, value: Any, options: Any) -> None:
    """Check a choice among names."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name} must be one of {sorted(options)}, got {value!r}")


def check_number(name: str, value: Any, valid: Callable[[float], bool], wanted: str) -> None:
    """Check a real number against its range, told in words."""
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not number or not valid(float(value)):
        raise ValueError(f"{name} must be {wanted}, got {value!r}")


def check_scale(name: str, value: Any) -> None:
    """Check a positive number that can also be the number of features.

    Beyond the bounds, what is divided by it may be no number of float64.
    """
    if value != "n_features":
        wanted = "'n_features' or a float from 1e-9 to 1e9"
        check_number(name, value, lambda number: 1e-9 <= number <= 1e9, wanted)


def check_priors(priors: Any, n_classes: int) -> np.ndarray | None:
    """Check class priors: None, "uniform", or one probability per class, which sum to 1."""
    if priors is None:
        return None
    if isinstance(priors, str):
        check_option("priors", priors, ["uniform"])
        return np.full(n_classes, 1 / n_classes)
    if isinstance(priors, Mapping):
        raise ValueError(f"priors must be one per class, in the order of classes_, got {priors!r}")
    priors = np.asarray(to_numpy(priors) if hasattr(priors, "shape") else priors, dtype=np.float64)
    if priors.shape != (n_classes,):
        raise ValueError(
            "Number of priors must match number of classes: "
            f"got {priors.size} priors for {n_classes} classes"
        )
    if (priors < 0).any():
        raise ValueError(f"Priors must be non-negative, got {priors.min():g}")
    if not np.isclose(priors.sum(), 1.0):
        raise ValueError(f"The sum of the priors should be 1, got {priors.sum():g}: divide by it")
    return priors
