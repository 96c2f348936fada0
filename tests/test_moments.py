"""Moments: parts merged equal the whole, and equal ten naive lines."""

import functools
import threading

import numpy as np
import pytest

from sklearn_densconf.density import GaussianDensityClassifier, _moments
from sklearn_densconf.density._moments import Moments, measure, merge

KINDS = ["diag", "tied", "full"]
N_CLASSES, N_FEATURES = 5, 4


def _sample(n=200, offset=0.0, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, N_CLASSES, n)
    X = rng.normal(size=(n, N_FEATURES)) * [1, 3, 0.1, 1] + codes[:, None] + offset
    return X.astype(dtype), codes, rng.uniform(0.1, 2, n)


def _naive(X, codes, weight, n_classes, kind):
    count, mean, scatter = [], [], []
    for k in range(n_classes):
        own, w = X[codes == k].astype(np.longdouble), weight[codes == k].astype(np.longdouble)
        count.append(w.sum())
        mean.append((w[:, None] * own).sum(axis=0) / max(w.sum(), 1e-300))
        deviation = own - mean[-1]
        scatter.append(np.einsum("n,ni,nj->ij", w, deviation, deviation))
    scatter = np.array(scatter)
    chosen = {"diag": np.einsum("kii->ki", scatter), "tied": scatter.sum(axis=0), "full": scatter}
    return Moments(kind, np.array(count), np.array(mean), chosen[kind])


def assert_same(actual, expected, rtol=1e-9):
    """Compare entries relative to themselves, and covariances to the standard deviations."""
    np.testing.assert_allclose(actual.count, expected.count.astype(float), rtol=rtol)
    np.testing.assert_allclose(actual.mean, expected.mean.astype(float), rtol=rtol, atol=1e-12)
    scatter = expected.scatter.astype(float)
    error = np.abs(actual.scatter - scatter)
    scale = scatter
    if expected.kind != "diag":
        root = np.sqrt(np.einsum("...ii->...i", scatter))
        scale = root[..., :, None] * root[..., None, :]
    assert (error <= rtol * scale).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("block_bytes", [40, 2**21])
def test_measure_equals_naive_sums(kind, offset, block_bytes, monkeypatch):
    monkeypatch.setitem(_moments.BLOCK_BYTES, kind, block_bytes)
    X, codes, weight = _sample(offset=offset)
    actual = measure(X, codes, weight, N_CLASSES, kind)
    assert_same(actual, _naive(X, codes, weight, N_CLASSES, kind))


def test_threads_measure_what_one_does_to_the_last_bit(monkeypatch):
    monkeypatch.setitem(_moments.BLOCK_BYTES, "diag", 8 * N_FEATURES * 7)
    X, codes, weight = _sample()
    seen, measure_block = set(), _moments._measure_block

    def watched(*args):
        seen.add(threading.current_thread().name)
        return measure_block(*args)

    monkeypatch.setattr(_moments, "_measure_block", watched)
    results = {}
    for n_threads in (1, 3):
        monkeypatch.setattr(_moments, "number_of_threads", lambda n=n_threads: n)
        results[n_threads] = measure(X, codes, weight, N_CLASSES, "diag")
    assert {name.split("_")[0] for name in seen} == {"MainThread", "densconf"}
    for name in ("count", "mean", "scatter"):
        np.testing.assert_array_equal(getattr(results[1], name), getattr(results[3], name))


def test_an_overflow_in_a_thread_is_said_once_and_clearly(monkeypatch):
    monkeypatch.setitem(_moments.BLOCK_BYTES, "diag", 8 * N_FEATURES * 7)
    monkeypatch.setattr(_moments, "number_of_threads", lambda: 3)
    X, codes, _ = _sample()
    with pytest.raises(ValueError, match="squares overflow"):  # and no warning
        GaussianDensityClassifier().fit(X * 1e200, codes)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_samples_are_summed_in_float64(kind):
    X, codes, weight = _sample(offset=1e4, dtype=np.float32)
    actual = measure(X, codes, weight, N_CLASSES, kind)
    assert actual.mean.dtype == actual.scatter.dtype == np.float64
    assert_same(actual, _naive(X, codes, weight, N_CLASSES, kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("seed", [0, 1])
def test_merged_shards_equal_the_whole_in_any_order(kind, offset, seed):
    X, codes, weight = _sample(offset=offset)
    order = np.argsort(codes)  # sorted, so that classes are missing from most shards
    shards = list(np.array_split(order, 9))
    np.random.default_rng(seed).shuffle(shards)
    parts = [measure(X[s], codes[s], weight[s], N_CLASSES, kind) for s in shards]
    whole = measure(X, codes, weight, N_CLASSES, kind)
    assert_same(functools.reduce(merge, parts), whole)
    assert_same(functools.reduce(merge, reversed(parts)), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_is_symmetric_and_empty_moments_are_neutral(kind):
    X, codes, weight = _sample(n=40)
    first = measure(X[:15], codes[:15], weight[:15], N_CLASSES, kind)
    second = measure(X[15:], codes[15:], weight[15:], N_CLASSES, kind)
    assert_same(merge(first, second), merge(second, first), rtol=1e-13)
    nothing = Moments(
        kind, *(np.zeros_like(getattr(first, n)) for n in ("count", "mean", "scatter"))
    )
    assert_same(merge(first, nothing), first, rtol=1e-15)
    assert_same(merge(nothing, first), first, rtol=1e-15)
    assert_same(merge(nothing, nothing), nothing)


@pytest.mark.parametrize("kind", KINDS)
def test_a_weight_counts_as_so_many_copies(kind):
    X, codes, _ = _sample(n=60)
    copies = np.random.default_rng(1).integers(0, 4, 60)
    weighed = measure(X, codes, copies.astype(float), N_CLASSES, kind)
    repeated = np.repeat(np.arange(60), copies)
    ones = np.ones(len(repeated))
    assert_same(weighed, measure(X[repeated], codes[repeated], ones, N_CLASSES, kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_without_samples_has_zeros(kind):
    X, codes, weight = _sample()
    moments = measure(X[codes != 2], codes[codes != 2], weight[codes != 2], N_CLASSES, kind)
    assert moments.count[2] == 0
    assert (moments.mean[2] == 0).all()
    if kind != "tied":
        assert (moments.scatter[2] == 0).all()


def test_scatter_is_of_deviations_not_of_squares():
    """E[x²] - E[x]² has no correct digit here."""
    X = np.array([[1e8], [1e8 + 1], [1e8 + 2]])
    moments = measure(X, np.zeros(3, dtype=int), np.ones(3), 1, "diag")
    np.testing.assert_allclose(moments.scatter, [[2.0]], rtol=1e-15)


def test_total_variance_is_that_of_all_samples():
    X, codes, weight = _sample()
    average = np.average(X, axis=0, weights=weight)
    expected = np.average((X - average) ** 2, axis=0, weights=weight)
    for kind in KINDS:
        moments = measure(X, codes, weight, N_CLASSES, kind)
        np.testing.assert_allclose(_moments.grand_mean(moments), average)
        np.testing.assert_allclose(_moments.total_variance(moments), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weight_of_far", [0.0, 1e-9, 1.0])
def test_a_lone_far_sample_leaves_the_others_their_scatter(kind, weight_of_far):
    """Deviations are from a sample of the class: from the far one only if it is as heavy."""
    X, codes, weight = _sample()
    X[np.flatnonzero(codes == 1)[0]] += 1e6
    weight[:] = 1.0
    weight[np.flatnonzero(codes == 1)[0]] = weight_of_far
    actual = measure(X, codes, weight, N_CLASSES, kind)
    assert_same(actual, _naive(X, codes, weight, N_CLASSES, kind))


@pytest.mark.parametrize(("in_threads", "n_parts"), [(False, 4), (True, 1), (True, 2)])
def test_threads_measure_only_where_asked_to_and_only_several_parts(
    monkeypatch, in_threads, n_parts
):
    monkeypatch.setattr(_moments, "number_of_threads", lambda: 2)
    parts = [slice(i, i + 1) for i in range(n_parts)]
    where = list(_moments._each(lambda _: threading.get_ident(), parts, in_threads=in_threads))
    assert ({threading.get_ident()} == set(where)) is not (in_threads and n_parts > 1)
