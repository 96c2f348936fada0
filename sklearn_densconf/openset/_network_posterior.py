"""The posterior that is discounted: softmax of the logits, or a given classifier's."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, has_fit_parameter

from sklearn_densconf._array import Array, as_like, log_sum_exp, namespace, to_numpy
from sklearn_densconf.density import SoftmaxClassifier
from sklearn_densconf.density._logits import in_order, tempered


@dataclass(frozen=True)
class Softmax:
    """log softmax(z / T) of the last columns of X, in the order of the sorted labels."""

    width: int
    order: np.ndarray | None
    temperature: float

    def __call__(self, X: Array) -> Array:
        """Compute log q(y | x), (n, k), a new array."""
        logits, _ = tempered(in_order(X[:, self.width :], self.order), self.temperature)
        logits -= log_sum_exp(logits)
        return logits


@dataclass(frozen=True)
class Given:
    """The log-probabilities of a fitted classifier of some columns of X, in some order."""

    classifier: Any
    columns: slice
    order: np.ndarray | None = None

    def __call__(self, X: Array) -> Array:
        """Compute log q(y | x), (n, k), a new array."""
        given = self.classifier.predict_log_proba(in_order(X[:, self.columns], self.order))
        return as_like(given, X, namespace(X).float64)


def fitted_posterior(
    posterior: Any,
    logits: Array,
    y: Any,
    sample_weight: Any = None,
    held_out: tuple[Any, Any] | None = None,
) -> Any:
    """Return a classifier that is fitted: as it is, or a clone fitted to the logits."""
    try:
        check_is_fitted(posterior)
    except NotFittedError:
        options = {}
        if held_out is not None and has_fit_parameter(posterior, "X_val"):
            options = {"X_val": held_out[0], "y_val": held_out[1]}
        if sample_weight is not None and has_fit_parameter(posterior, "sample_weight"):
            options["sample_weight"] = sample_weight
        return clone(posterior).fit(logits, y, **options)
    return posterior


def check_same_classes(posterior: Any, classes: Array) -> None:
    """Check that a fitted classifier has the classes of y."""
    if to_numpy(posterior.classes_).tolist() != to_numpy(classes).tolist():
        raise ValueError(
            f"posterior has the classes {posterior.classes_}, y those of {classes}: fit it with "
            "the same labels"
        )


def columns_of(posterior: Any, width: int, n_logits: int) -> slice:
    """Return the columns that a fitted classifier takes: logits, features or all.

    Raises
    ------
    ValueError
        If it takes another number of columns, or either of features and logits could be meant.
    """
    taken = posterior.n_features_in_
    if taken == n_logits and isinstance(posterior, SoftmaxClassifier):
        return slice(width, None)
    if taken == width == n_logits:
        raise ValueError(
            f"posterior takes {taken} columns, and X has as many features as logits, so that "
            "either could be meant: pass it unfitted, and it is fitted to the logits, or fit it to "
            f"all {width + n_logits} columns"
        )
    columns = {
        width + n_logits: slice(None),
        width: slice(0, width),
        n_logits: slice(width, None),
    }
    if taken not in columns:
        raise ValueError(
            f"posterior takes {taken} columns, but X has {width} features and {n_logits} logits: "
            "fit it to either, or to both together"
        )
    return columns[taken]
