"""What is checked before an open-set classifier is fitted: parameters, columns, logits, parts."""

from typing import Any

import numpy as np

from sklearn_densconf._array import Array, to_numpy
from sklearn_densconf._validation import check_labels, check_number, encode_labels
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.density._logits import (
    in_order,
    warn_of_activations,
    warn_of_order,
    warn_of_probabilities,
    warn_of_single,
)


def check_parameters(
    discount: str | float, logits: int | None, density: GaussianDensityClassifier
) -> None:
    """Check parameters that need no data.

    Raises
    ------
    ValueError
        If one is out of its range, or the density's covariance is not one of all classes.
    """
    if discount != "likelihood":
        wanted = "'likelihood' or a float in (0, 1)"
        check_number("discount", discount, lambda d: 0 < d < 1, wanted)
    if logits is not None:
        wanted = "None or a whole number of at least 1"
        check_number("logits", logits, lambda n: n >= 1 and n == int(n), wanted)
    tied = isinstance(density, GaussianDensityClassifier) and density.covariance_type == "tied"
    if not tied or density.blocks is not None:
        raise ValueError(
            "density must be None or a GaussianDensityClassifier('tied') without blocks, got "
            f"{density!r}: one covariance serves all classes"
        )
    density._check_parameters()


def count_features(n_columns: int, n_logits: int) -> int:
    """Compute how many columns are left for features, and check that one is.

    Raises
    ------
    ValueError
        If none is.
    """
    if n_columns > n_logits:
        return n_columns - n_logits
    raise ValueError(
        f"X has {n_columns} columns, and the last {n_logits} are logits: none is left for "
        "the density. Take FeatureExtractor(network, layer=['penultimate', 'output'])"
    )


def warn_of_logits(
    logits: Array,
    order: np.ndarray | None,
    codes: np.ndarray,
    classes: Array,
    *,
    make_posterior: bool,
    are_counted: bool,
) -> None:
    """Warn of logits in another order, of a single one of two, and of what are no logits.

    Parameters
    ----------
    logits : array of shape (n, k)
        The columns that are taken for logits.
    order : ndarray of shape (k,) or None
        That which sorts them by their labels.
    codes : ndarray of shape (n,)
        The classes, as positions among the sorted labels.
    classes : array of shape (k,)
        Those labels.
    make_posterior : bool
        Whether the posterior is softmax of them.
    are_counted : bool
        Whether the user has said how many columns are logits.
    """
    cure = "pass classes=, the label of every logit in order, those without samples included"
    warn_of_order(in_order(logits, order), codes, classes, cure, are_sure=make_posterior)
    if make_posterior:
        warn_of_probabilities(logits)
        warn_of_activations(logits)
    if not are_counted and len(classes) == 2:
        warn_of_single(logits, codes if order is None else order[codes])


def codes_of_held_out(
    discount: str | float, X_val: Array, y_val: Any, classes: Array
) -> np.ndarray | None:
    """Return the codes of the held-out labels, or None where a budget needs none.

    Raises
    ------
    ValueError
        If they are missing.
    """
    if discount != "likelihood":
        return None
    if y_val is None:
        raise ValueError(
            "discount='likelihood' needs y_val, got None: pass the labels of X_val, or set "
            "discount to a budget such as 0.003"
        )
    return encode_labels(check_labels(y_val, X_val)[0], classes)


def check_transformed(X_val: Any, X: Array) -> None:
    """Check that the held-out samples have been through the steps of a pipeline, as X has.

    Parameters
    ----------
    X_val : array or sequence
        What `fit` was given.
    X : array of shape (n, d)
        The samples that it is fitted to.

    Raises
    ------
    ValueError
        If a sample of X_val is not a row of d features.
    """
    is_array = hasattr(X_val, "shape")
    shape = tuple(X_val.shape[1:]) if is_array else np.shape(next(iter(X_val), ()))
    if shape == X.shape[1:]:
        return
    raise ValueError(
        f"X_val has samples of shape {shape}, wanted rows of {X.shape[1]} features, as X has: in a "
        "pipeline, make_pipeline(..., transform_input=['X_val']) takes it through the steps before"
    )


def check_same_kind(part: Any, other: Any) -> None:
    """Check that two classifiers were fitted to the same classes and columns.

    Raises
    ------
    ValueError
        If they were not.
    """
    mine, theirs = _kind(part), _kind(other)
    if mine != theirs:
        raise ValueError(
            f"only parts with the same classes and columns can be merged, got {mine} and "
            f"{theirs}: fit each with partial_fit(classes=...), on the same columns in the "
            "same order"
        )


def _kind(part: Any) -> tuple[list, int, list]:
    names = np.asarray(getattr(part, "feature_names_in_", []))
    return to_numpy(part.classes_).tolist(), part.n_features_in_, names.tolist()
