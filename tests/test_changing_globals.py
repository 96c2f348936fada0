"""`memory` and code that changes what it reads: said once, by name."""

import functools
import uuid
import warnings

import numpy as np
import pytest
from torch import nn

from sklearn_densconf import FeatureExtractor

CALLS = 0
SEEN = []
LOOKED_UP = {}
FACTOR = 2.0

X = np.random.default_rng(0).random((4, 3)).astype(np.float32)


class Settings:
    """State that everything shares."""

    calls = 0


class Counting(nn.Module):
    """A network that counts its calls in a global."""

    def forward(self, X):
        global CALLS  # noqa: PLW0603 - what is tested
        CALLS += 1
        return X * FACTOR


class Collecting(nn.Module):
    """A network that keeps what it saw."""

    def forward(self, X):
        SEEN.append(len(X))
        return X * FACTOR


class Shared(nn.Module):
    """A network that changes the attribute of another class, by a function."""

    def forward(self, X):
        _count()
        return X * FACTOR


def _count():
    Settings.calls += 1


class Constant(nn.Module):
    """A network that reads a global and leaves it."""

    def forward(self, X):
        return X * FACTOR


def looked_up(row):
    """Remember rows in a dictionary."""
    key = row.numpy().tobytes()
    LOOKED_UP[key] = row.double().float() * FACTOR
    return LOOKED_UP[key]


@functools.lru_cache
def _twice(value):
    return 2 * value


def cached(row):
    """Take a function with a cache of its own."""
    return row * _twice(1.0)


@pytest.mark.parametrize(
    ("network", "preprocessing", "name"),
    [
        (Counting(), None, "CALLS"),
        (Collecting(), None, "SEEN"),
        (Shared(), None, "Settings.calls"),
        (nn.Identity(), looked_up, "LOOKED_UP"),
    ],
    ids=["counter", "list", "class attribute", "dictionary"],
)
def test_a_changing_global_is_named_once(network, preprocessing, name, tmp_path):
    parameters = {"preprocessing": preprocessing, "memory": tmp_path, "device": "cpu"}
    with pytest.warns(UserWarning, match=f"code reads '{name}', which changes while it runs"):
        features = FeatureExtractor(network, **parameters).fit_transform(X)
    np.testing.assert_allclose(features, 2 * X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FeatureExtractor(network, **parameters).fit_transform(X + 1)
        FeatureExtractor(network, preprocessing=preprocessing, device="cpu").fit_transform(X)


@pytest.mark.parametrize(
    ("network", "preprocessing"), [(Constant(), None), (nn.Identity(), cached)]
)
def test_code_that_changes_nothing_is_not_warned_of(network, preprocessing, tmp_path):
    folder = tmp_path / uuid.uuid4().hex
    parameters = {"preprocessing": preprocessing, "memory": folder, "device": "cpu"}
    for _ in range(2):
        FeatureExtractor(network, **parameters).fit_transform(X)
    assert len([*folder.rglob("*.npy")]) == 2  # the first sample, and the others
