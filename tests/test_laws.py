"""Laws that hold for any data, tried on data that hypothesis draws: the same ones every time."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KernelDensity

from sklearn_densconf import (
    DensityClassifier,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)

TYPES = ("diag", "spherical", "tied_diag", "tied", "full")
lawful = settings(max_examples=40, deadline=None, derandomize=True, database=None)


@st.composite
def samples(draw):
    """Draw samples on a grid, so that sums are exact, their classes, and weights."""
    k, d = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    codes = np.repeat(np.arange(k), draw(st.lists(st.integers(2, 6), min_size=k, max_size=k)))
    whole = st.integers(-512, 512)
    n = len(codes) * d
    values = draw(st.lists(whole, min_size=n, max_size=n))
    X = np.reshape(values, (-1, d)) / 32 + codes[:, None]
    weight = draw(
        st.lists(st.sampled_from([0.5, 1.0, 2.0]), min_size=len(codes), max_size=len(codes))
    )
    return X, codes, np.array(weight)


@st.composite
def parameters(draw):
    """Draw the parameters of a classifier."""
    return {
        "covariance_type": draw(st.sampled_from(TYPES)),
        "temperature": draw(st.sampled_from(["n_features", 1.0, 0.1, 30.0])),
        "covariance_scale": draw(st.sampled_from(["n_features", 1.0, 0.5])),
        "var_smoothing": draw(st.sampled_from([1e-6, 1e-2])),
        "background": draw(st.sampled_from([0.0, 1e-6, 0.3])),
        "shrinkage": draw(st.sampled_from([None, 0.2, 1.0])),
    }


def _density(how):
    return GaussianDensityClassifier(
        how["covariance_type"], **{k: v for k, v in how.items() if k != "covariance_type"}
    )


def _assert_same(first, second, X, rtol=1e-7):
    """Assert that two classifiers say the same of samples, and of points far away from them."""
    Z = np.vstack([X, 1e3 * X, 1e200 * X])
    np.testing.assert_allclose(
        first.predict_proba(Z), second.predict_proba(Z), rtol=rtol, atol=rtol
    )
    np.testing.assert_allclose(first.mahalanobis(X), second.mahalanobis(X), rtol=rtol, atol=rtol)


@lawful
@given(samples(), parameters(), st.randoms(use_true_random=False))
def test_parts_merged_in_any_order_are_the_whole(data, how, random):
    X, codes, weight = data
    classes, rows = np.unique(codes), list(range(len(X)))
    random.shuffle(rows)
    parts = [part for part in np.array_split(rows, random.randint(1, 4)) if len(part)]
    whole = _density(how).fit(X, codes, weight)
    added, (first, *others) = (
        _density(how),
        [_density(how).partial_fit(X[part], codes[part], classes, weight[part]) for part in parts],
    )
    for part in parts:
        added.partial_fit(X[part], codes[part], classes, weight[part])
    random.shuffle(others)
    for other in others:
        first.merge(other)
    batches = [(X[part], codes[part], weight[part]) for part in parts]
    for same in (added, first, _density(how).fit_batches(batches, classes)):
        _assert_same(same, whole, X)


@lawful
@given(samples(), parameters(), st.randoms(use_true_random=False))
def test_permuted_classes_permute_the_columns_and_samples_have_no_order(data, how, random):
    X, codes, weight = data
    names, rows = list(range(codes.max() + 1)), list(range(len(X)))
    random.shuffle(names)
    random.shuffle(rows)
    renamed = np.array(names)[codes]
    first = _density(how).fit(X, codes, weight).predict_proba(X)
    second = _density(how).fit(X[rows], renamed[rows], weight[rows]).predict_proba(X)
    np.testing.assert_allclose(second[:, names], first, rtol=1e-7, atol=1e-9)


@lawful
@given(samples(), parameters())
def test_a_weight_is_so_many_copies(data, how):
    X, codes, weight = data
    copies = np.repeat(np.arange(len(X)), (2 * weight).astype(int))
    repeated = _density(how).fit(X[copies], codes[copies])
    _assert_same(_density(how).fit(X, codes, weight), repeated, X)


@lawful
@given(samples(), parameters(), st.integers(-(2**20), 2**20), st.integers(-300, 300))
def test_shifted_and_rescaled_data_have_the_same_posterior(data, how, shift, exponent):
    X, codes, weight = data
    if np.ptp(X) == 0:
        X = X + np.arange(len(X))[:, None]
    proba = _density(how).fit(X, codes, weight).predict_proba(X)
    for moved in (X + shift, np.ldexp(X, exponent)):
        again = _density(how).fit(moved, codes, weight).predict_proba(moved)
        np.testing.assert_allclose(again, proba, rtol=1e-6, atol=1e-7)


@lawful
@given(samples(), parameters(), st.floats(-300, 300), st.sampled_from([np.float32, np.float64]))
def test_rows_are_probabilities_however_far(data, how, exponent, dtype):
    X, codes, weight = data
    density = _density(how).fit(X.astype(dtype), codes, weight)
    length = min(10.0**exponent, float(np.finfo(dtype).max) / 40)
    Z = (length * np.vstack([X, -X[:, ::-1]])).astype(dtype)
    proba, log_proba = density.predict_proba(Z), density.predict_log_proba(Z)
    assert proba.dtype == log_proba.dtype == dtype
    assert ((proba >= 0) & (proba <= 1)).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(np.exp(log_proba), proba, rtol=1e-4, atol=1e-7)
    chosen = np.take_along_axis(proba, density.predict(Z)[:, None], axis=1)[:, 0]
    assert (chosen == proba.max(axis=1)).all()
    np.testing.assert_array_equal(density.confidence(Z), proba.max(axis=1))
    for fraction in (density.typicality(Z), density.confidence(Z, np.zeros(len(Z), int))):
        assert ((fraction >= 0) & (fraction <= 1)).all()
    assert not np.isnan(density.score_samples(Z)).any()


@lawful
@given(samples(), parameters())
def test_float32_samples_are_those_of_float64(data, how):
    X, codes, weight = data
    single = _density(how).fit(X.astype(np.float32), codes, weight)  # exact, on the grid
    double = _density(how).fit(X, codes, weight)
    np.testing.assert_array_equal(single.means_, double.means_)
    actual = single.predict_proba(X.astype(np.float32))
    np.testing.assert_array_equal(actual, double.predict_proba(X).astype(np.float32))


@lawful
@given(samples(), parameters(), st.integers(0, 10**6))
def test_rows_do_not_depend_on_each_other(data, how, seed):
    X, codes, weight = data
    density = _density(how).fit(X, codes, weight)
    Z = np.vstack([X, 10.0 ** np.random.default_rng(seed).uniform(0, 250) * X])
    alone = np.vstack([density.predict_proba(row[None]) for row in Z])
    np.testing.assert_allclose(density.predict_proba(Z), alone, rtol=1e-9, atol=1e-9)


@lawful
@given(samples(), st.sampled_from(TYPES), st.sampled_from([0.0, 0.1]))
def test_blocks_are_densities_multiplied(data, covariance_type, background):
    X, codes, weight = data
    X = np.hstack([X, X[:, ::-1] ** 2])
    width = X.shape[1] // 2
    plain = {"temperature": 1.0, "var_smoothing": 1e-6, "priors": "uniform"}
    left, right = (
        GaussianDensityClassifier(covariance_type, **plain).fit(X[:, part], codes, weight)
        for part in (slice(0, width), slice(width, None))
    )
    both = GaussianDensityClassifier(covariance_type, blocks=[width, width], **plain)
    both.fit(X, codes, weight)
    expected = left.mahalanobis(X[:, :width]) + right.mahalanobis(X[:, width:])
    np.testing.assert_allclose(both.mahalanobis(X), expected, rtol=1e-9, atol=1e-9)
    logs = left.predict_log_proba(X[:, :width]) + right.predict_log_proba(X[:, width:])
    logs -= logs.max(axis=1, keepdims=True)
    product = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(both.predict_proba(X), product, rtol=1e-6, atol=1e-9)
    far = both.set_params(background=background).predict_proba(1e250 * (X + 1))
    np.testing.assert_allclose(far.sum(axis=1), 1)


@lawful
@given(samples(), st.floats(-3, 3))
def test_softmax_depends_on_differences_alone(data, log_temperature):
    X, _, _ = data
    k = X.shape[1]
    softmax = SoftmaxClassifier(temperature=10.0**log_temperature).fit(np.eye(k), np.arange(k))
    proba = softmax.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    np.testing.assert_allclose(softmax.predict_proba(X + 1024), proba, rtol=1e-9, atol=1e-300)
    order = np.random.default_rng(0).permutation(k)
    np.testing.assert_allclose(softmax.predict_proba(X[:, order]), proba[:, order], rtol=1e-9)


@settings(lawful, max_examples=10)
@given(samples())
def test_any_density_gives_probabilities(data):
    X, codes, weight = data
    density = DensityClassifier(KernelDensity(), temperature=1.0).fit(X, codes, weight)
    Z = np.vstack([X, 1e3 * X, 1e300 * X])
    proba = density.predict_proba(Z)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    permuted = DensityClassifier(KernelDensity(), temperature=1.0).fit(X, -codes, weight)
    np.testing.assert_allclose(permuted.predict_proba(Z)[:, ::-1], proba, rtol=1e-9, atol=1e-12)


@pytest.fixture(scope="module")
def open_set():
    """Return a fitted open-set classifier of 3 classes, 4 features and 3 logits."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = np.c_[rng.normal(size=(120, 4)) + 2 * np.eye(3, 4)[y], 3 * np.eye(3)[y]]
    X[:, 4:] += rng.normal(size=(120, 3))
    return OpenSetClassifier().fit(X[:60], y[:60], X_val=X[60:], y_val=y[60:])


@lawful
@given(st.lists(st.floats(-1e3, 1e3), min_size=7, max_size=7), st.integers(-300, 300))
def test_a_discounted_posterior_lies_between_the_networks_and_the_priors(open_set, row, exponent):
    X = np.array([row])
    proba, rho = open_set.predict_proba(X), open_set.known_proba(X)
    network = SoftmaxClassifier(temperature=open_set.temperature_).fit(np.eye(3), [0, 1, 2])
    q = network.predict_proba(X[:, 4:])
    np.testing.assert_allclose(proba, rho * q + (1 - rho) / 3, rtol=1e-9)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    scaled = X * np.r_[np.full(4, np.ldexp(1.0, exponent)), np.ones(3)]
    np.testing.assert_allclose(open_set.known_proba(scaled), rho, rtol=1e-6, atol=1e-12)
    assert np.isfinite(open_set.score_samples(X)).all()
