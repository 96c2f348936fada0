"""Gaussian densities and covariances, as pure functions, against scipy and scikit-learn."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf_shrinkage, shrunk_covariance

from sklearn_densconf import GaussianDensityClassifier
from sklearn_densconf.density._covariance_types import (
    COVARIANCE_TYPES,
    derive,
    prepare,
    prepare_classes,
)
from sklearn_densconf.density._gaussians import BREADTH
from sklearn_densconf.density._head import Block, write_log_density, write_squared_distance
from sklearn_densconf.density._matrix import ledoit_wolf
from sklearn_densconf.density._moments import grand_mean, measure

TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]
N_CLASSES, N_FEATURES = 3, 4


def _sample(offset=0.0, spread=1.0, n=90):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, N_CLASSES, n)
    mixing = np.eye(N_FEATURES) + 0.3 * rng.normal(size=(N_CLASSES, N_FEATURES, N_FEATURES))
    X = np.einsum("nj,njk->nk", rng.normal(size=(n, N_FEATURES)), mixing[codes])
    return spread * (X + 3 * codes[:, None]) + offset, codes


def _moments(covariance_type, X, codes, n_classes=N_CLASSES):
    return measure(X, codes, np.ones(len(X)), n_classes, COVARIANCE_TYPES[covariance_type].scatter)


def _gaussians(covariance_type, X, codes):
    moments = _moments(covariance_type, X, codes)
    covariance = derive(moments, covariance_type, 1e-9, None)
    center = grand_mean(moments)
    return prepare(moments.mean, covariance, covariance_type, center), moments, covariance


def _squared_distance(X, gaussians):
    out = np.empty((len(X), len(gaussians.constant)))
    write_squared_distance(out, X.copy(), (_block(gaussians),))
    return out


def _log_density(X, gaussians, scale):
    out = np.empty((len(X), len(gaussians.constant)))
    shared = write_log_density(out, X.copy(), (_block(gaussians, scale),))
    return out + shared


def _block(gaussians, scale=1.0):
    return Block(slice(0, gaussians.center.shape[0]), gaussians, None, 1.0, scale)


def _matrices(covariance, covariance_type):
    """Each class's covariance as a full matrix."""
    eye = np.eye(N_FEATURES)
    expand = {
        "diag": lambda: covariance[:, :, None] * eye,
        "spherical": lambda: covariance[:, None, None] * eye,
        "tied_diag": lambda: np.array([np.diag(covariance)] * N_CLASSES),
        "tied": lambda: np.array([covariance] * N_CLASSES),
        "full": lambda: covariance,
    }
    return expand[covariance_type]()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(("offset", "spread"), [(0, 1), (1e6, 1), (0, 1e-60), (0, 1e60), (-5, 1e3)])
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_log_density_equals_scipy(covariance_type, offset, spread, scale):
    X, codes = _sample(offset, spread)
    gaussians, moments, covariance = _gaussians(covariance_type, X, codes)
    expected = [
        # in units of the spread: scipy refuses tiny covariances
        multivariate_normal(mean / spread, scale * matrix / spread**2).logpdf(X / spread)
        - N_FEATURES * np.log(spread)
        for mean, matrix in zip(moments.mean, _matrices(covariance, covariance_type), strict=True)
    ]
    actual = _log_density(X, gaussians, scale)
    tolerance = 1e-11 if offset < 1e6 else 1e-6  # X - mean has 1e-10 of its digits left there
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("covariance_type", ["tied", "full"])
@pytest.mark.parametrize("n_features", [128, 129, 300, 515])
def test_log_density_in_many_dimensions_equals_scipy(covariance_type, n_features):
    random = np.random.default_rng(0)
    mean, factors = random.normal(size=(2, n_features)), random.normal(size=(2, n_features, 600))
    covariance = factors @ factors.swapaxes(1, 2) / 600
    matrices = covariance if covariance_type == "full" else covariance[:1].repeat(2, axis=0)
    given = covariance if covariance_type == "full" else covariance[0]
    gaussians = prepare(mean, given, covariance_type, mean[0])
    X = random.normal(size=(50, n_features))
    expected = [
        multivariate_normal(of_class, matrix).logpdf(X)
        for of_class, matrix in zip(mean, matrices, strict=True)
    ]
    np.testing.assert_allclose(_log_density(X, gaussians, 1.0), np.transpose(expected))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_covariances_are_of_maximum_likelihood(covariance_type):
    X, codes = _sample()
    moments = _moments(covariance_type, X, codes)
    actual = derive(moments, covariance_type, 0.0, None)
    of_class = np.array([np.cov(X[codes == k].T, bias=True) for k in range(N_CLASSES)])
    share = np.bincount(codes) / len(codes)
    tied = np.einsum("k,kij->ij", share, of_class)
    expected = {
        "diag": np.einsum("kii->ki", of_class),
        "spherical": np.einsum("kii->k", of_class) / N_FEATURES,
        "tied_diag": np.diag(tied),
        "tied": tied,
        "full": of_class,
    }
    np.testing.assert_allclose(actual, expected[covariance_type], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_smoothing_adds_a_fraction_of_the_largest_variance(covariance_type):
    X, codes = _sample()
    moments = _moments(covariance_type, X, codes)
    rough = derive(moments, covariance_type, 0.0, None)
    smooth = derive(moments, covariance_type, 0.5, None)
    added = COVARIANCE_TYPES[covariance_type].family.variances(smooth - rough)
    np.testing.assert_allclose(added, 0.5 * X.var(axis=0).max())


def test_shrinkage_is_scikit_learns():
    X, codes = _sample()
    for covariance_type in ("tied", "full"):
        moments = _moments(covariance_type, X, codes)
        plain = derive(moments, covariance_type, 0.0, None)
        shrunk = derive(moments, covariance_type, 0.0, 0.3)
        np.testing.assert_allclose(shrunk, shrunk_covariance(plain, 0.3))
    each = derive(moments, "full", 0.0, np.array([0.0, 0.5, 1.0]))
    expected = [shrunk_covariance(plain[k], a) for k, a in enumerate([0.0, 0.5, 1.0])]
    np.testing.assert_allclose(each, expected)


def _ledoit_wolf(covariance_type, X, codes, weight=None, n_classes=N_CLASSES):
    weight = np.ones(len(X)) if weight is None else weight
    moments = measure(X, codes, weight, n_classes, covariance_type)
    return ledoit_wolf(X, codes, weight, moments)


def test_ledoit_wolf_shrinkage_is_scikit_learns():
    X, codes = _sample(offset=1e5)
    deviation = X - _moments("tied", X, codes).mean[codes]
    expected = ledoit_wolf_shrinkage(deviation, assume_centered=True)
    np.testing.assert_allclose(_ledoit_wolf("tied", X, codes), expected)
    of_class = [ledoit_wolf_shrinkage(X[codes == k]) for k in range(N_CLASSES)]
    np.testing.assert_allclose(_ledoit_wolf("full", X, codes), of_class)
    few = np.r_[[np.flatnonzero(codes == k)[:3] for k in range(N_CLASSES)]].ravel()
    of_class = [ledoit_wolf_shrinkage(X[few][codes[few] == k]) for k in range(N_CLASSES)]
    np.testing.assert_allclose(_ledoit_wolf("full", X[few], codes[few]), of_class)


def test_ledoit_wolf_takes_a_weight_for_so_many_copies():
    X, codes = _sample()
    copies = np.random.default_rng(1).integers(0, 4, len(X))
    repeated = np.repeat(np.arange(len(X)), copies)
    for of_type in ("tied", "full"):
        weighed = _ledoit_wolf(of_type, X, codes, copies.astype(float))
        np.testing.assert_allclose(weighed, _ledoit_wolf(of_type, X[repeated], codes[repeated]))


@pytest.mark.parametrize("apart", [1e-3, 1.0, 50.0])
def test_a_class_of_two_takes_the_shrinkage_of_all(apart):
    """Two rows lie at equal distances from their mean: their own estimated error is 0."""
    rng = np.random.default_rng(0)
    two = 7 + apart * rng.normal(size=(2, 5))
    X, codes = np.r_[rng.normal(size=(100, 5)), two], np.r_[np.zeros(100, int), [1, 1]]
    each, pooled = (_ledoit_wolf(of_type, X, codes, n_classes=2) for of_type in ("full", "tied"))
    np.testing.assert_allclose(each, [ledoit_wolf_shrinkage(X[:100]), pooled])
    model = GaussianDensityClassifier("full", shrinkage="auto", temperature=1.0).fit(X, codes)
    beside = two[:1] + 0.01 * apart
    assert model.predict_proba(beside)[0, 1] > 0.9
    assert model.score_samples(beside)[0] > -100


def test_ledoit_wolf_of_one_feature_or_one_sample_is_defined():
    X, codes = np.array([[0.0, 1.0], [2.0, 5.0], [1.0, 1.0]]), np.array([0, 1, 1])
    assert np.isfinite(_ledoit_wolf("full", X, codes, n_classes=2)).all()
    assert np.isfinite(_ledoit_wolf("full", X[:, :1], codes, n_classes=2)).all()
    assert np.isfinite(_ledoit_wolf("tied", X[:, :1], codes, n_classes=2))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_squared_distance_is_never_negative(covariance_type):
    X, codes = _sample(offset=1e8)
    gaussians, moments, _ = _gaussians(covariance_type, X, codes)
    own = np.diagonal(_squared_distance(moments.mean, gaussians))
    assert (own >= 0).all()
    assert (own < 1e-6).all()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("spread", [1e-140, 1.0, 1e140])
def test_distances_of_far_points_are_finite(covariance_type, spread):
    X, codes = _sample(spread=spread)
    gaussians, _, _ = _gaussians(covariance_type, X, codes)
    far = np.array([np.full(N_FEATURES, 1e300), np.full(N_FEATURES, -1e300), np.eye(4)[1] * 1e300])
    distance = _squared_distance(far, gaussians)
    assert np.isfinite(distance).all()
    assert (distance > 1e6).all()


def test_a_tiny_variance_of_one_feature_leaves_the_others_their_range():
    """Far points are moved in each feature's own scale, not in that of the steepest."""
    mean, variance = np.zeros((1, 2)), np.array([[1e-290, 1.0]])
    gaussians = prepare(mean, variance, "diag", np.zeros(2))
    distance = _squared_distance(np.array([[1e-145, 1e3]]), gaussians)
    np.testing.assert_allclose(distance, [[1e6 + 1]])


@pytest.mark.parametrize("dead", [1, 300])
@pytest.mark.parametrize("seed", range(5))
def test_features_dead_in_one_class_keep_six_digits(dead, seed):
    """ReLU units that are 0 in class 0 only: there their variance is the smoothing alone.

    Their precision is 1e9, that of the others 1, and of the expanded square, three terms of up to
    1e9, all but what was rounded cancels: 1e-7 to 4e-7 a dead feature, as the sums are ordered.
    """
    rng = np.random.default_rng(seed)
    X, codes = rng.normal(size=(400, dead + 5)) + 1, np.repeat([0, 1], 200)
    X[codes == 0, :dead] = 0
    moments = _moments("diag", X, codes, n_classes=2)
    variance = derive(moments, "diag", 1e-9, None)
    gaussians = prepare(moments.mean, variance, "diag", grand_mean(moments))
    actual = _squared_distance(X, gaussians)
    exact = ((X[:, None] - moments.mean) ** 2 / variance).sum(axis=2)
    np.testing.assert_allclose(actual, exact, rtol=1e-12, atol=1e-6 * dead)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_background_is_broader_than_every_class_in_every_direction(covariance_type):
    X, codes = _sample()
    moments = _moments(covariance_type, X, codes)
    gaussians, wide = prepare_classes(moments, covariance_type, 1e-9, None, with_background=True)
    rng = np.random.default_rng(1)
    rays = rng.normal(size=(500, N_FEATURES))
    far = 1e6 * rays / np.linalg.norm(rays, axis=1, keepdims=True)
    classes, background = (_squared_distance(far, g) for g in (gaussians, wide))
    assert (background < classes / BREADTH * 1.001).all()


def test_a_singular_covariance_names_the_class_and_the_cure():
    X, codes = _sample()
    moments = _moments("full", X, codes)
    covariance = derive(moments, "full", 0.0, None)
    covariance[1] = np.ones((N_FEATURES, N_FEATURES))
    message = r"covariance of class number 1 is not positive definite.*shrinkage='auto'"
    with pytest.raises(ValueError, match=message):
        prepare(moments.mean, covariance, "full", moments.mean[0])
    with pytest.raises(ValueError, match="the covariance is not positive definite"):
        prepare(moments.mean, covariance[1], "tied", moments.mean[0])
