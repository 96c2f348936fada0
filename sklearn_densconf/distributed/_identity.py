"""Which model it is: a hash that is the same in every process. Imports features' fingerprint."""

from typing import Any

import joblib
import numpy as np
from sklearn.base import BaseEstimator

# Parameters that do not change what is given.
_HOW = {"batch_size", "compile", "device", "memory", "n_jobs", "num_workers", "verbose"}


def identity(value: Any) -> str:
    """Hash what an estimator gives: parameters and what was learned, not how it is computed."""
    content: Any = getattr(value, "fingerprint", value)  # a network has one
    if isinstance(value, BaseEstimator):
        content = [type(value).__qualname__, _state(value)]
    elif isinstance(value, (list, tuple)):  # the steps of a pipeline, for instance
        content = [identity(part) for part in value]
    elif isinstance(value, np.ndarray):  # a view is contiguous once it was saved and loaded
        content = np.ascontiguousarray(value)
    elif callable(value):  # its code counts; what hashes it imports torch
        from sklearn_densconf.features._fingerprint import fingerprint

        content = fingerprint(value)
    return joblib.hash(content, coerce_mmap=True)


def _state(estimator: BaseEstimator) -> dict[str, str]:
    learned = {
        name: getattr(estimator, name)
        for name in dir(estimator)
        if name.endswith("_") and not name.startswith("_") and hasattr(estimator, name)
    }
    given = {
        name: value
        for name, value in estimator.get_params(deep=False).items()
        if name not in _HOW and f"{name}_" not in learned
    }
    return {name: identity(value) for name, value in {**given, **learned}.items()}
