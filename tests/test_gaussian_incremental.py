"""partial_fit, merge and fit_batches: the same as fit on everything at once."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from sklearn_densconf import GaussianDensityClassifier

TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]
CLASSES = np.array(["a", "b", "c"])


def _sample(offset=0.0, n=150):
    rng = np.random.default_rng(0)
    codes = np.sort(rng.integers(0, 3, n))  # sorted: classes are missing from most shards
    X = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 4)) + 2 * codes[:, None] + offset
    return X, CLASSES[codes], rng.uniform(0.2, 2, n)


def assert_same_fit(actual, expected, X, rtol=1e-9):
    np.testing.assert_array_equal(actual.classes_, expected.classes_)
    np.testing.assert_allclose(actual.class_count_, expected.class_count_, rtol=rtol)
    np.testing.assert_allclose(actual.means_, expected.means_, rtol=rtol, atol=1e-12)
    wanted = expected.covariances_
    np.testing.assert_allclose(actual.covariances_, wanted, rtol=rtol, atol=rtol * wanted.max())
    np.testing.assert_allclose(actual.predict_proba(X), expected.predict_proba(X), atol=1e-8)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("n_parts", [1, 4, 150])
def test_partial_fit_in_any_chunking_equals_fit(covariance_type, offset, n_parts):
    X, y, weight = _sample(offset)
    whole = GaussianDensityClassifier(covariance_type).fit(X, y, weight)
    parts = GaussianDensityClassifier(covariance_type)
    for rows in np.array_split(np.arange(len(y)), n_parts):
        parts.partial_fit(X[rows], y[rows], CLASSES, weight[rows])
    assert_same_fit(parts, whole, X)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_merged_shards_in_any_order_equal_fit(covariance_type, offset):
    X, y, weight = _sample(offset)
    whole = GaussianDensityClassifier(covariance_type).fit(X, y, weight)
    for seed in range(3):
        shards = np.array_split(np.arange(len(y)), 7)
        np.random.default_rng(seed).shuffle(shards)
        first, *others = (
            GaussianDensityClassifier(covariance_type).partial_fit(X[s], y[s], CLASSES, weight[s])
            for s in shards
        )
        for other in others:
            first.merge(other)
        assert_same_fit(first, whole, X)


@pytest.mark.parametrize("smoothing", [1e-9, 1e-2])
def test_smoothing_is_not_in_the_state(smoothing):
    """scikit-learn's GaussianNB.partial_fit differs from its fit here."""
    X, y, _ = _sample()
    whole = GaussianDensityClassifier(var_smoothing=smoothing).fit(X, y)
    parts = GaussianDensityClassifier(var_smoothing=smoothing).partial_fit(X[:50], y[:50], CLASSES)
    parts.partial_fit(X[50:], y[50:])
    assert_same_fit(parts, whole, X)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("smoothing", [0.0, 1e-9])
def test_a_class_not_seen_yet_has_posterior_0(covariance_type, smoothing):
    X, y, _ = _sample()
    seen = y != "b"
    density = GaussianDensityClassifier(covariance_type, var_smoothing=smoothing, background=0.1)
    density.partial_fit(X[seen], y[seen], CLASSES)
    alone = GaussianDensityClassifier(covariance_type, var_smoothing=smoothing, background=0.1)
    alone.fit(X[seen], y[seen])
    assert (density.predict_joint_log_proba(X)[:, 1] == -np.inf).all()
    assert (density.predict_proba(X)[:, 1] == 0).all()
    np.testing.assert_allclose(density.predict_proba(X)[:, [0, 2]], alone.predict_proba(X))
    np.testing.assert_allclose(density.score_samples(X), alone.score_samples(X))
    assert set(density.predict(X)) <= {"a", "c"}
    density.set_params(priors="uniform")
    assert (density.predict_proba(X)[:, 1] == 0).all()


def test_partial_fit_goes_on_after_fit():
    X, y, _ = _sample()
    some = np.arange(len(y)) % 2 == 0
    parts = GaussianDensityClassifier().fit(X[some], y[some]).partial_fit(X[~some], y[~some])
    assert_same_fit(parts, GaussianDensityClassifier().fit(X, y), X)


def test_fit_batches_equals_fit_and_forgets_the_former():
    X, y, weight = _sample()
    whole = GaussianDensityClassifier().fit(X, y, weight)
    batches = [(X[s], y[s], weight[s]) for s in np.array_split(np.arange(len(y)), 10)]
    density = GaussianDensityClassifier().fit(X[:, :2], y == "a")
    assert_same_fit(density.fit_batches(iter(batches), CLASSES), whole, X)
    assert_same_fit(density.fit_batches(batches, CLASSES), whole, X)


def test_a_float32_stream_equals_the_closed_form():
    """Values 0 ... m - 1 in turn, at an offset: mean and variance are known exactly."""
    m, n_batches, offset = 1000, 50, 4096.0
    batch = (np.arange(m)[:, None] + np.array([0.0, offset])).astype(np.float32)
    y = np.arange(m) % 2
    density = GaussianDensityClassifier(var_smoothing=0.0)
    density.fit_batches(((batch, y) for _ in range(n_batches)), [0, 1])
    np.testing.assert_array_equal(density.class_count_, [m * n_batches / 2] * 2)
    np.testing.assert_allclose(density.means_[:, 0], [(m - 2) / 2, m / 2], rtol=1e-12)
    np.testing.assert_allclose(density.means_[:, 1], offset + density.means_[:, 0], rtol=1e-12)
    np.testing.assert_allclose(density.covariances_, ((m / 2) ** 2 - 1) / 3, rtol=1e-12)


def test_merge_leaves_the_other_as_it_was():
    X, y, _ = _sample()
    parts = [
        GaussianDensityClassifier().partial_fit(X[s], y[s], CLASSES)
        for s in (slice(0, 60), slice(60, None))
    ]
    before = parts[1].means_.copy()
    parts[0].merge(parts[1])
    np.testing.assert_array_equal(parts[1].means_, before)


def test_wrong_merges_are_refused():
    X, y, _ = _sample()
    density = GaussianDensityClassifier().fit(X, y)
    message = "only parts with the same classes, number of features, covariance_type and"
    for other in (
        GaussianDensityClassifier().fit(X[:, :2], y),
        GaussianDensityClassifier().fit(X[y != "a"], y[y != "a"]),
        GaussianDensityClassifier("full").fit(X, y),
    ):
        with pytest.raises(ValueError, match=message):
            density.merge(other)
    auto = GaussianDensityClassifier("full", shrinkage="auto").fit(X, y)
    with pytest.raises(ValueError, match="merge cannot be used with shrinkage='auto'"):
        auto.merge(auto)


def test_wrong_classes_are_refused():
    X, y, _ = _sample()
    density = GaussianDensityClassifier()
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        density.partial_fit(X, y)
    with pytest.raises(
        ValueError, match=r"target label\(s\) \['c'\] in y do not exist.*\['a' 'b'\]"
    ):
        density.partial_fit(X, y, ["a", "b"])
    density.partial_fit(X, y, CLASSES)
    with pytest.raises(ValueError, match=r"`classes=\['a' 'b'\]` is not the same as on last call"):
        density.partial_fit(X, y, ["a", "b"])
    with pytest.raises(ValueError, match="batches is empty"):
        density.fit_batches([], CLASSES)


def test_partial_fit_refuses_automatic_shrinkage():
    X, y, _ = _sample()
    density = GaussianDensityClassifier("full", shrinkage="auto")
    with pytest.raises(ValueError, match="partial_fit cannot be used with shrinkage='auto'"):
        density.partial_fit(X, y, CLASSES)


@pytest.mark.parametrize(
    ("before", "after"), [("diag", "full"), ("full", "tied"), ("tied", "diag")]
)
def test_another_covariance_needs_another_fit_where_it_needs_another_scatter(before, after):
    X, y, _ = _sample()
    density = GaussianDensityClassifier(before).fit(X, y).set_params(covariance_type=after)
    message = f"covariance_type='{after}' needs another scatter.*'{before}'.*fit again"
    with pytest.raises(ValueError, match=message):
        density.predict(X)
    with pytest.raises(ValueError, match=message):
        density.partial_fit(X, y)


def test_a_failed_fit_leaves_the_classifier_unfitted_and_a_failed_batch_leaves_it_fitted():
    X, y, _ = _sample()
    density = GaussianDensityClassifier().fit(X, y)
    before = density.predict_proba(X)
    with pytest.raises(ValueError, match="do not exist in the initial classes"):
        density.partial_fit(X, np.full(len(y), "z"))
    np.testing.assert_array_equal(density.predict_proba(X), before)
    with pytest.raises(ValueError, match="have samples of weight 0 only"):
        density.fit(X, y, (y == "a").astype(float))
    with pytest.raises(ValueError, match="not fitted"):
        density.predict(X)


def test_parts_with_columns_in_another_order_are_not_merged():
    X, y = load_iris(return_X_y=True)
    frame = pd.DataFrame(X, columns=list("abcd"))
    first = GaussianDensityClassifier().partial_fit(frame[::2], y[::2], [0, 1, 2])
    other = GaussianDensityClassifier().partial_fit(frame[list("dcba")][1::2], y[1::2], [0, 1, 2])
    nameless = GaussianDensityClassifier().partial_fit(X[1::2], y[1::2], [0, 1, 2])
    for part in (other, nameless):
        with pytest.raises(
            ValueError, match=r"feature names can be merged.*\['a', 'b', 'c', 'd'\]"
        ):
            first.merge(part)
    with pytest.raises(ValueError, match="feature names should match"):
        first.partial_fit(frame[list("dcba")], y)
    same = GaussianDensityClassifier().partial_fit(frame[1::2], y[1::2], [0, 1, 2])
    np.testing.assert_allclose(
        first.merge(same).means_, GaussianDensityClassifier().fit(frame, y).means_
    )
