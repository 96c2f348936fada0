"""More members of kinds of faults whose first one has its test beside the code it is about."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.exceptions import DataConversionWarning
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_densconf import (
    DensityClassifier,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)

RNG = np.random.default_rng(0)
Y = np.arange(90) % 3
Z = RNG.normal(size=(90, 4)) + 4 * np.eye(3, 4)[Y]
X = np.hstack([Z, Z[:, :3]])
NAMES = list("abcdefg")


def _pandas(values, names):
    return pd.DataFrame(values, columns=names)


def _polars(values, names):
    return pl.DataFrame(values, schema=names)


# Names of columns count where parts are merged, whoever merges them (A10).


@pytest.mark.parametrize("table", [_pandas, _polars])
@pytest.mark.parametrize(
    "names", ["bacdefg", "gfedcba", "abcdefh", None], ids=["swapped", "reversed", "another", "none"]
)
@pytest.mark.parametrize("make", [OpenSetClassifier, GaussianDensityClassifier])
def test_parts_of_other_columns_are_not_merged(make, table, names):
    classes = [0, 1, 2]
    first = make().partial_fit(table(X[::2], NAMES), Y[::2], classes)
    part = X[1::2] if names is None else table(X[1::2], list(names))
    other = make().partial_fit(part, Y[1::2], classes)
    with pytest.raises(
        ValueError, match=r"can be merged, got .* and .*the same columns in the same"
    ):
        first.merge(other)
    same = make().partial_fit(table(X[1::2], NAMES), Y[1::2], classes)
    first.merge(same)


# Tensors of every kind, where no dispatch keeps them (B17).

TENSORS = {
    "with a graph": lambda X: torch.tensor(X, requires_grad=True) * 1,
    "a leaf": lambda X: torch.tensor(X, requires_grad=True),
    "bfloat16": lambda X: torch.tensor(X).bfloat16(),
    "bfloat16 with a graph": lambda X: torch.tensor(X, requires_grad=True).bfloat16(),
}
CLASSIFIERS = {
    "gaussian": (GaussianDensityClassifier(), 4),
    "density": (DensityClassifier(KernelDensity()), 4),
    "softmax": (SoftmaxClassifier(), 3),
    "open set": (OpenSetClassifier(discount=0.01), 7),
}


@pytest.mark.parametrize("kind", TENSORS.values(), ids=TENSORS)
@pytest.mark.parametrize(("model", "width"), CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_classifiers_take_tensors_of_every_kind(kind, model, width):
    tensor = kind(X[:, :width])
    values = tensor.detach().float().numpy() if tensor.dtype == torch.bfloat16 else X[:, :width]
    expected = model.fit(values, Y).predict_proba(values)
    got = model.fit(tensor, torch.tensor(Y)).predict_proba(tensor)
    np.testing.assert_allclose(got, expected, rtol=1e-6)


# Labels in a column are labels for every method that takes some (B17).


@pytest.mark.parametrize(
    "column", [lambda y: y[:, None], pd.DataFrame, lambda y: torch.tensor(y)[:, None]]
)
@pytest.mark.parametrize(("model", "width"), CLASSIFIERS.values(), ids=CLASSIFIERS)
def test_labels_in_a_column_are_taken_by_confidence_as_by_fit(column, model, width):
    with pytest.warns(DataConversionWarning):
        model.fit(X[:, :width], column(Y))
    with pytest.warns(DataConversionWarning):
        got = model.confidence(X[:, :width], column(Y))
    np.testing.assert_array_equal(got, model.confidence(X[:, :width], Y))


# Small classes under "auto" shrinkage (A22).

SMALL = {
    "two rows": [[7.0, 0, 0, 0], [9.0, 1, 0, 0]],
    "two equal rows": [[7.0, 0, 0, 0], [7.0, 0, 0, 0]],
    "one row": [[7.0, 0, 0, 0]],
    "three rows on a line": [[7.0, 0, 0, 0], [8.0, 0, 0, 0], [9.0, 0, 0, 0]],
    "two rows, repeated": [[7.0, 0, 0, 0], [9.0, 1, 0, 0]] * 3,
}


@pytest.mark.parametrize("small", SMALL.values(), ids=SMALL)
def test_a_small_class_beside_a_large_one_has_a_covariance_that_can_be_lived_with(small):
    large = RNG.normal(size=(100, 4))
    data, codes = np.vstack([large, small]), np.r_[np.zeros(100, int), np.ones(len(small), int)]
    model = GaussianDensityClassifier("full", shrinkage="auto", temperature=1.0).fit(data, codes)
    assert ((model.shrinkage_ >= 0) & (model.shrinkage_ <= 1)).all()
    assert (np.linalg.eigvalsh(model.covariances_) > 0).all()
    expected = [
        multivariate_normal(model.means_[k], model.covariances_[k]).logpdf(large)
        + np.log(model.class_prior_[k])
        for k in (0, 1)
    ]
    got = model.predict_joint_log_proba(large)
    np.testing.assert_allclose(got, np.transpose(expected), rtol=1e-6, atol=1e-6)
    assert (model.predict(large) == 0).all()
    assert model.predict(small[:1]) == 1


# The class that a density model refuses is named (B17).


@pytest.mark.parametrize("label", ["rare", 7, 2.0, np.str_("é")])
def test_the_class_that_is_too_small_is_named(label):
    labels = np.array(["common"] * 5 + [label] if isinstance(label, str) else [0] * 5 + [label])
    with pytest.raises(ValueError, match="minimum of 2") as caught:
        DensityClassifier(GaussianMixture(2)).fit(Z[:6], labels)
    assert str(label) in caught.value.__notes__[0]


# What a Pipeline hides is to be had in two lines, as the guide shows (B16).


@pytest.mark.parametrize("method", ["confidence", "typicality", "mahalanobis", "score_samples"])
def test_what_a_pipeline_hides_is_had_from_its_last_step(method):
    pipe = make_pipeline(StandardScaler(), GaussianDensityClassifier()).fit(Z, Y)
    density = GaussianDensityClassifier().fit(StandardScaler().fit_transform(Z), Y)
    got = getattr(pipe[-1], method)(pipe[:-1].transform(Z))
    np.testing.assert_allclose(got, getattr(density, method)(StandardScaler().fit_transform(Z)))
    assert hasattr(pipe, method) == (method == "score_samples")
