"""Data at the ends of the range: right to the stated bound, or refused, and never in silence."""

import threading

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KernelDensity

from sklearn_densconf import DensityClassifier, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.density import _distances

TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]
OVERFLOW = "squares overflow: scale the features down"


def _plain(covariance_type="diag", **parameters):
    return GaussianDensityClassifier(covariance_type, temperature=1.0, **parameters)


def _one_class_far_away():
    rng = np.random.default_rng(0)
    X = np.r_[rng.normal(0, 1, 50), rng.normal(2, 1, 50), rng.normal(1e9, 1, 50)][:, None]
    return X, np.repeat([0, 1, 2], 50)


def _matrices(density):
    """Return the covariance of each class, (k, d, d)."""
    given, (k, d) = density.covariances_, density.means_.shape
    eye = np.eye(d)
    expanded = {
        "diag": lambda: given[:, :, None] * eye,
        "spherical": lambda: given[:, None, None] * eye,
        "tied_diag": lambda: np.stack([np.diag(given)] * k),
        "tied": lambda: np.stack([given] * k),
        "full": lambda: given,
    }
    return expanded[density.covariance_type]()


def _distances_from_means(density, X):
    """Compute squared distances from each mean, without any expansion of squares, (n, k)."""
    deviation = X[:, None] - density.means_  # (n, k, d)
    inverse = np.linalg.inv(_matrices(density))
    return np.einsum("nki,kij,nkj->nk", deviation, inverse, deviation)


# Classes far from the mean of all


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "full"])
def test_a_class_far_away_leaves_the_others_those_of_scikit_learn(covariance_type):
    X, y = _one_class_far_away()
    density = _plain(covariance_type, var_smoothing=0).fit(X, y)
    expected = GaussianNB(var_smoothing=0).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(density.predict_proba(X), expected, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(np.diag(density.mahalanobis(density.means_)), 0)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("blocks", [None, [1, 2]])
def test_distances_to_far_classes_are_as_good_as_to_near_ones(covariance_type, blocks):
    rng = np.random.default_rng(1)
    means = np.array([[0, 0, 0], [1, 0, 2], [1e7, 0, 0], [1e7, 3, 0], [-1e6, 1e8, 1.0]])
    codes = np.arange(200) % 5
    X = means[codes] + rng.normal(size=(200, 3))
    density = _plain(covariance_type, var_smoothing=0, blocks=blocks).fit(X, codes)
    whole = _plain(covariance_type, var_smoothing=0).fit(X, codes)
    if blocks is not None and covariance_type in ("tied", "full", "spherical"):
        parts = [
            _plain(covariance_type, var_smoothing=0).fit(X[:, s], codes)
            for s in (slice(0, 1), slice(1, 3))
        ]
        expected = _distances_from_means(parts[0], X[:, :1])
        expected = expected + _distances_from_means(parts[1], X[:, 1:])
    else:
        expected = _distances_from_means(whole, X)
    np.testing.assert_allclose(density.mahalanobis(X), expected, rtol=1e-11, atol=1e-11)


def test_few_samples_far_from_many_are_measured_from_their_own_mean():
    near = np.random.default_rng(0).normal(size=20000)
    X = np.r_[near, 1e7, 1e7 + 1, -1e7, -1e7 - 1][:, None]
    density = _plain().fit(X, np.r_[np.zeros(20000, int), 1, 1, 2, 2])
    expected = _distances_from_means(density, X[-4:])
    np.testing.assert_allclose(density.mahalanobis(X[-4:]), expected, rtol=1e-14)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_ordinary_classes_are_not_measured_twice(covariance_type, monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(_distances, "_measure_again", never)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)) + np.arange(90)[:, None] % 3, np.arange(90) % 3
    _plain(covariance_type).fit(X, y).predict_proba(X)


def test_a_class_without_samples_is_never_measured_again(monkeypatch):
    seen = []
    again = _distances._measure_again
    monkeypatch.setattr(
        _distances, "_measure_again", lambda *args: (seen.append(args[1]), again(*args))
    )
    X, y = _one_class_far_away()
    density = _plain().partial_fit(X + 1e12, y, [0, 1, 2, 3])
    assert (density.predict_proba(X + 1e12)[:, 3] == 0).all()
    assert set(seen) == {0, 1, 2}


# Constant data


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e5 / 7])
def test_constant_data_are_smoothed_as_data_of_scale_1(covariance_type, value):
    for labels in ([0, 1, 1, 1, 1], [0, 0, 1, 2, 2], [0, 1, 2, 1, 1]):
        density = GaussianDensityClassifier(covariance_type).fit(np.full((5, 1), value), labels)
        assert set(np.ravel(density.covariances_)) == {1e-9}
        expected = np.bincount(labels) / 5
        np.testing.assert_allclose(density.predict_proba([[value]]), [expected], rtol=1e-15)


# What fit refuses, parts refuse


@pytest.mark.parametrize("covariance_type", TYPES)
def test_parts_that_fit_would_refuse_together_are_refused(covariance_type):
    X, y = np.array([[1e140], [2.0], [-1e140], [3.0]]), np.array([0, 1, 0, 1])

    def part(rows):
        density = GaussianDensityClassifier(covariance_type)
        return density.partial_fit(X[rows], y[rows], [0, 1])

    first, second = [0, 0], [2, 2]
    with pytest.raises(ValueError, match=OVERFLOW):
        GaussianDensityClassifier(covariance_type).fit(X, y)
    density = part(first)
    for _ in range(2):  # what was refused has left nothing behind
        with pytest.raises(ValueError, match=OVERFLOW):
            density.partial_fit(X[second], y[second])
        with pytest.raises(ValueError, match=OVERFLOW):
            density.merge(part(second))
        assert density.means_.tolist() == [[1e140], [0.0]]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        ([[1e160], [-1e160]], OVERFLOW),
        ([[3e131], [-3e131]], OVERFLOW),
        ([[1e151], [1e151]], r"a class whose mean is 1e\+151 away from 0, .* beyond 1e\+150"),
        ([[1e-154], [-1e-154]], "varies too little for squares in float64.*scale the features up"),
        ([[1e-300], [0.0]], "varies too little for squares in float64.*scale the features up"),
    ],
)
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_samples_beyond_the_range_are_refused(X, message, background):
    density = GaussianDensityClassifier(background=background)
    with pytest.raises(ValueError, match=message):
        density.fit(X, [0, 1])
    with pytest.raises(ValueError, match=message):
        density.partial_fit(X, [0, 1], [0, 1])


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("scale", [1e-152, 1e129])
def test_samples_at_the_ends_of_the_range_have_the_posterior_of_others(covariance_type, scale):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 3)) + y[:, None]
    expected, actual = (
        _plain(covariance_type, background=0.1).fit(s * X, y).predict_proba(s * X)
        for s in (1.0, scale)
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("X", "smoothing"),
    [
        ([[0, 1e-160], [1, -1e-160], [0, 1e-160], [2, -1e-160]], 0.0),
        ([[0.0], [1e-149], [5e-150], [1e-149]], 1e-20),
        ([[0.0], [1e-100], [5.0], [6.0]], 0.0),
    ],
)
def test_variances_that_cannot_be_divided_by_are_refused(X, smoothing):
    density = GaussianDensityClassifier(var_smoothing=smoothing)
    with pytest.raises(ValueError, match=r"a variance is .*(raise|set) var_smoothing"):
        density.fit(X, [0, 0, 1, 1] if len(X[0]) == 2 or X[2][0] == 5 else [0, 1, 1, 1])


@pytest.mark.parametrize("factor", [1e-60, 0.4e-50, 0.75e50, 1e60, 5e-324])
def test_weights_beyond_the_range_are_refused(factor):
    X, y = [[0.0], [1.0], [3.0], [5.0]], [0, 0, 1, 1]
    with pytest.raises(ValueError, match=r"sample_weight must add up to .*got sums from"):
        GaussianDensityClassifier().fit(X, y, np.full(4, factor))


def test_priors_for_classes_without_samples_alone_are_refused():
    density = GaussianDensityClassifier(priors=[1.0, 0.0, 0.0])
    density.partial_fit([[0.0], [1.0]], [1, 2], [0, 1, 2])
    message = r"priors=\[1.0, 0.0, 0.0\] are above 0 for no class that has samples"
    with pytest.raises(ValueError, match=message):
        density.predict_proba([[0.0]])
    density.partial_fit([[0.5]], [0])
    assert density.predict_proba([[0.0]]).tolist() == [[1, 0, 0]]


# Far points


def _unlike_variances():
    return np.array([[-10, -1], [10, 1], [-1, -100], [1, 100.0]]), [0, 0, 1, 1]


@pytest.mark.parametrize("length", [1e3, 1e130, 1e150, 1e200, 1e300])
def test_a_far_point_keeps_its_direction(length):
    density = _plain(var_smoothing=0).fit(*_unlike_variances())
    rays = length * np.array([[1.0, 0.1], [0.01, 1.0], [-1, -0.5], [1e-2, -1e-4]])
    assert density.predict(rays).tolist() == [0, 1, 0, 0]
    blocks = _plain(var_smoothing=0, blocks=[1, 1]).fit(*_unlike_variances())
    assert blocks.predict(rays).tolist() == [0, 1, 0, 0]


def test_the_direction_that_was_lost():
    density = _plain(var_smoothing=0).fit(*_unlike_variances())
    assert density.predict_proba([[1e300, 1e200]]).tolist() == [[1, 0]]


@pytest.mark.parametrize("covariance_type", ["tied_diag", "tied"])
@pytest.mark.parametrize("length", [1e6, 1e18, 1e100, 1e200, 1e300])
def test_classes_of_one_covariance_are_told_apart_however_far(covariance_type, length):
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 2)) + np.array([[0, 0], [3, 0], [0, 3]])[y]
    density = _plain(covariance_type).fit(X, y)
    weights = np.linalg.solve(_matrices(density)[0], density.means_.T)  # (d, k)
    rays = rng.normal(size=(50, 2))
    expected = (rays @ weights).argmax(axis=1)
    assert density.predict(length * rays).tolist() == expected.tolist()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_far_distances_grow_until_their_squares_overflow(covariance_type):
    X, y = _unlike_variances()
    density = _plain(covariance_type, shrinkage=0.5).fit(X, y)
    ray = np.array([[3.0, 4.0]])
    near = density.mahalanobis(1e8 * ray)
    for length in (1e20, 1e60, 1e120):
        np.testing.assert_allclose(density.mahalanobis(length * ray), near * (length / 1e8) ** 2)
    assert (np.isfinite(density.mahalanobis(1e300 * ray)) & (near < 1e200)).all()


@pytest.mark.parametrize("temperature", [1e-9, 1e9])
@pytest.mark.parametrize("scale", [1e-9, 1e9])
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_the_ends_of_the_parameters_give_numbers(temperature, scale, background):
    X, y = _unlike_variances()
    density = GaussianDensityClassifier(
        temperature=temperature, covariance_scale=scale, background=background
    ).fit(X, y)
    points = np.r_[X, [[1e300, -1e300], [1e-300, 0]]]
    proba = density.predict_proba(points)
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert np.isfinite(density.predict_joint_log_proba(points)).all()
    assert not np.isnan(density.confidence(points, log_odds=True)).any()


def test_any_density_keeps_the_direction_of_a_far_point():
    X, y = _unlike_variances()
    model = GaussianMixture(covariance_type="diag", reg_covar=1e-6)
    density = DensityClassifier(model, temperature=1.0).fit(X, y)
    assert density.predict(1e200 * np.array([[1.0, 0.1], [0.01, 1.0]])).tolist() == [0, 1]


def test_a_density_of_a_class_that_is_not_expected_is_no_evidence():
    density = DensityClassifier(KernelDensity(kernel="tophat"), priors=[1.0, 0.0])
    density.fit([[0.0], [0.1], [9.0], [9.1]], [0, 0, 1, 1])
    assert density.predict_proba([[0.0], [9.0], [99.0]]).tolist() == [[1, 0]] * 3


@pytest.mark.parametrize("temperature", [1e-308, 0.5, 1.0, 2.0, 1e308])
def test_softmax_of_the_largest_logits_is_right(temperature):
    X = np.array([[1e308, -1e308, 1e308], [-1e308, -1e308, -1e308], [0, 1e-310, 1e308]])
    softmax = SoftmaxClassifier(temperature=temperature).fit(np.eye(3), [0, 1, 2])
    shares = np.array([[0.5, 0, 0.5], [1 / 3, 1 / 3, 1 / 3], [0, 0, 1]])
    if temperature == 1e308:
        rows = np.exp(X / 1e308)
        shares = rows / rows.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(softmax.predict_proba(X), shares, rtol=1e-14)
    assert not np.isnan(softmax.predict_joint_log_proba(X)).any()
    assert not np.isnan(softmax.predict_log_proba(X)).any()


# Threads


def test_a_prediction_during_another_threads_partial_fit_is_of_one_state_or_the_other():
    """And what is asked for afterwards is of the state that is left: no stale Gaussians stay."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 300)), np.arange(200) % 4
    parts = [slice(start, start + 40) for start in range(0, 200, 40)]
    density = GaussianDensityClassifier()
    states = [
        density.partial_fit(X[part], y[part], range(4)).predict_proba(X[:9]) for part in parts
    ]
    density, seen, done = GaussianDensityClassifier(), [], threading.Event()
    density.partial_fit(X[parts[0]], y[parts[0]], range(4))

    def predict():
        while not done.is_set():
            seen.append(density.predict_proba(X[:9]))

    thread = threading.Thread(target=predict)
    thread.start()
    for part in parts[1:]:
        density.partial_fit(X[part], y[part])
    done.set()
    thread.join()
    for proba in seen:
        assert any((proba == state).all() for state in states)
    np.testing.assert_array_equal(density.predict_proba(X[:9]), states[-1])


# Classes without samples, and covariances that are singular


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("scale", [1e-5, 1e5])
def test_a_class_without_samples_makes_the_background_no_broader(covariance_type, scale):
    rng = np.random.default_rng(0)
    X, y = scale * rng.normal(size=(40, 2)), np.arange(40) % 2 * 2
    density = _plain(covariance_type, background=0.1)
    expected = density.fit(X, y).predict_proba(3 * X)
    density = _plain(covariance_type, background=0.1).partial_fit(X, y, [0, 1, 2])
    np.testing.assert_allclose(density.predict_proba(3 * X)[:, [0, 2]], expected, rtol=1e-13)


@pytest.mark.parametrize("covariance_type", ["tied", "full"])
@pytest.mark.parametrize("seed", range(20))
def test_no_rounding_of_a_singular_covariance_passes_for_one(covariance_type, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(12, 3))
    X[:, 2] = X[:, 0] / 3 + X[:, 1] / 7  # to rounding
    density = GaussianDensityClassifier(covariance_type, var_smoothing=0.0)
    with pytest.raises(ValueError, match="is not positive definite"):
        density.fit(X, np.arange(12) % 2)


@pytest.mark.parametrize("name", ["temperature", "covariance_scale", "var_smoothing"])
def test_the_ends_of_a_parameters_range_are_where_it_says(name):
    X, y = _unlike_variances()
    GaussianDensityClassifier(**{name: 1e9}).fit(X, y)
    with pytest.raises(ValueError, match=rf"{name} must be .* to 1e9, got 1000000001"):
        GaussianDensityClassifier(**{name: 1000000001}).fit(X, y)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_only_a_point_beyond_the_limit_is_moved(covariance_type):
    """Of two features, only one in units so small that it is far away."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 2)), np.arange(40) % 2
    density = _plain(covariance_type).fit(X, y)
    near, far = np.array([[1e3, -1e3]]), np.array([[1e200, 1.0]])
    together = density.mahalanobis(np.vstack([near, far, near]))
    np.testing.assert_allclose(together[[0, 2]], np.repeat(density.mahalanobis(near), 2, axis=0))
    np.testing.assert_allclose(together[0], _distances_from_means(density, near)[0], rtol=1e-9)


def test_a_variance_that_is_lost_beside_its_small_weight_is_refused():
    rng = np.random.default_rng(0)
    X = np.r_[1e-100 * rng.normal(size=(50, 1)), 1e-140 * rng.normal(size=(50, 1))]
    y = np.repeat([0, 1], 50)
    weight = np.where(y == 0, 1.0, 1e-42)
    with pytest.raises(ValueError, match=r"a variance is .*, too small to divide by beside the"):
        _plain(var_smoothing=0).fit(X, y, weight)
    _plain(var_smoothing=0).fit(X, y)  # of weight 1 it is not
