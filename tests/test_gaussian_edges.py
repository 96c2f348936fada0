"""GaussianDensityClassifier where data are awkward, far away, or wrong."""

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import validate_data

from sklearn_densconf import GaussianDensityClassifier
from sklearn_densconf._validation import check_matrix
from sklearn_densconf.density import _covariance_types

TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]
METHODS = [
    "predict",
    "predict_proba",
    "predict_log_proba",
    "predict_joint_log_proba",
    "score_samples",
    "confidence",
    "mahalanobis",
    "typicality",
]


@pytest.fixture
def data():
    X, y = load_iris(return_X_y=True)
    return X, y


def assert_sound(density, X):
    """No NaN, rows that sum to 1, and fractions in [0, 1]."""
    for name in METHODS:
        assert not np.isnan(getattr(density, name)(X)).any(), name
    proba = density.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-6)
    for fraction in (proba, density.confidence(X), density.typicality(X)):
        assert ((fraction >= 0) & (fraction <= 1)).all()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("temperature", ["n_features", 1.0])
def test_shifted_and_rescaled_features_have_the_same_posterior(covariance_type, temperature, data):
    X, y = data
    density = GaussianDensityClassifier(covariance_type, temperature=temperature, var_smoothing=0)
    proba = density.fit(X, y).predict_proba(X)
    # all the same for spherical: its one variance is no longer fitting otherwise
    scale = 4.0 if covariance_type == "spherical" else np.array([1e-3, 1.0, 1e3, -7.0])
    moved = scale * X + 100
    np.testing.assert_allclose(density.fit(moved, y).predict_proba(moved), proba, atol=1e-8)


@pytest.mark.parametrize("covariance_type", ["tied", "full"])
def test_rotated_features_have_the_same_posterior(covariance_type, data):
    X, y = data
    density = GaussianDensityClassifier(covariance_type, var_smoothing=0)
    proba = density.fit(X, y).predict_proba(X)
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    turned = X @ rotation
    np.testing.assert_allclose(density.fit(turned, y).predict_proba(turned), proba, atol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_permuted_classes_permute_the_columns(covariance_type, data):
    X, y = data
    permutation = np.array([2, 0, 1])
    proba = GaussianDensityClassifier(covariance_type).fit(X, y).predict_proba(X)
    permuted = GaussianDensityClassifier(covariance_type).fit(X, permutation[y]).predict_proba(X)
    np.testing.assert_allclose(permuted[:, permutation], proba, atol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_string_labels_one_class_and_one_feature(covariance_type, background, data):
    X, y = data
    density = GaussianDensityClassifier(covariance_type, background=background)
    names = np.array(["setosa", "versicolor", "virginica"])
    assert set(density.fit(X, names[y]).predict(X)) == set(names)
    density.fit(X, np.ones(len(y)))
    np.testing.assert_array_equal(density.predict_proba(X), np.ones((len(y), 1)))
    assert_sound(density, X)
    assert_sound(density.fit(X[:, :1], y), X[:, :1])


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_a_class_of_one_sample_is_no_trouble(covariance_type, background, data):
    X, y = data
    kept = np.r_[0, 50:150]
    density = GaussianDensityClassifier(covariance_type, background=background)
    density.fit(X[kept], y[kept])
    assert_sound(density, X)
    assert density.predict(X[:1]) == [0]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_constant_feature_changes_nothing(covariance_type, data):
    X, y = data
    constant = np.c_[X, np.full(len(y), 3.0)]
    density = GaussianDensityClassifier(covariance_type, temperature=4.0)
    expected = density.fit(X, y).predict_proba(X)
    proba = density.fit(constant, y).predict_proba(constant)
    if covariance_type != "spherical":  # its variance is the mean over the features
        np.testing.assert_allclose(proba, expected, atol=1e-6)
    assert_sound(density, constant)
    assert_sound(density.set_params(background=0.1), constant)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("background", [0.0, 0.1])
def test_units_that_are_dead_in_one_class_only_rule_that_class_out_where_they_live(
    covariance_type, background
):
    rng = np.random.default_rng(0)
    X, y = np.maximum(rng.normal(1, 1, size=(300, 6)), 0), np.arange(300) % 3
    X[y == 1, :3] = 0
    density = GaussianDensityClassifier(covariance_type, background=background).fit(X, y)
    assert_sound(density, X)
    if covariance_type in ("diag", "full") and background == 0:
        lively = (X[:, :3] > 0.1).any(axis=1)
        assert (density.predict_proba(X)[lively, 1] < 1e-6).all()
        assert (density.predict_proba(X)[y == 1, 1] > 0.9).all()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_constant_data_leave_the_priors(covariance_type):
    X, y = np.full((6, 2), 7.0), np.array([0, 0, 0, 0, 1, 1])
    density = GaussianDensityClassifier(covariance_type, background=0.1).fit(X, y)
    np.testing.assert_allclose(density.predict_proba(X), [[2 / 3, 1 / 3]] * 6)
    assert_sound(density, X + 1)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("temperature", ["n_features", 1.0])
@pytest.mark.parametrize("background", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_far_points_and_narrow_types_give_no_nan(
    covariance_type, temperature, background, dtype, data
):
    X, y = data
    density = GaussianDensityClassifier(
        covariance_type, temperature=temperature, background=background
    ).fit(X.astype(dtype), y)
    far = {np.float16: 6e4, np.float32: 1e38, np.float64: 1e300}[dtype]
    points = far * np.array([[1, 1, 1, 1], [-1, 1, -1, 1], [0, 0, 0, 1], [1e-9, -1, 0, 0]])
    assert_sound(density, points.astype(dtype))
    assert (density.score_samples(points.astype(dtype)) < -1e6).all()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e100])
def test_data_of_any_scale(covariance_type, scale, data):
    X, y = data
    expected = GaussianDensityClassifier(covariance_type).fit(X, y).predict_proba(X)
    density = GaussianDensityClassifier(covariance_type).fit(scale * X, y)
    np.testing.assert_allclose(density.predict_proba(scale * X), expected, atol=1e-9)
    assert_sound(density, scale * X)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("temperature", ["n_features", 1.0])
@pytest.mark.parametrize("scale", [1.0, "n_features"])
def test_the_background_takes_the_posterior_to_the_priors_along_any_ray(
    covariance_type, temperature, scale, data
):
    X, y = data
    keep = np.r_[0:20, 50:150]
    X, y = X[keep], y[keep]
    density = GaussianDensityClassifier(
        covariance_type, temperature=temperature, covariance_scale=scale, background=0.01
    ).fit(X, y)
    rays = np.random.default_rng(0).normal(size=(200, 4))
    for distance in (1e4, 1e100, 1e300):
        proba = density.predict_proba(X.mean(axis=0) + distance * rays)
        np.testing.assert_allclose(proba, np.tile(density.class_prior_, (200, 1)), atol=1e-9)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("temperature", ["n_features", 1.0])
def test_the_background_is_hardly_felt_near_the_data(covariance_type, temperature, data):
    X, y = data
    density = GaussianDensityClassifier(covariance_type, temperature=temperature).fit(X, y)
    plain = density.predict_proba(X)
    near = density.typicality(X) > 0.01
    density.set_params(background=0.01)
    assert np.abs(density.predict_proba(X) - plain)[near].max() < 0.05


def test_without_a_background_confidence_rises_to_1_far_away(data):
    """Why score_samples and the background exist: a posterior alone tells no outliers."""
    X, y = data
    far = X.mean(axis=0) + 1e3 * np.random.default_rng(0).normal(size=(50, 4))
    assert GaussianDensityClassifier().fit(X, y).confidence(far).mean() > 0.99
    assert GaussianDensityClassifier(background=0.01).fit(X, y).confidence(far).max() < 0.34


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_input_gives_float32_output_as_good_as_from_float64(covariance_type, data):
    X, y = data
    X = (X + 1e4).astype(np.float32)
    single = GaussianDensityClassifier(covariance_type).fit(X, y)
    double = GaussianDensityClassifier(covariance_type).fit(X.astype(np.float64), y)
    for name in METHODS[1:]:
        result = getattr(single, name)(X)
        assert result.dtype == np.float32
        expected = getattr(double, name)(X.astype(np.float64))
        np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-7)
    assert single.means_.dtype == np.float64


def test_one_dimensional_and_constant_cases_need_no_smoothing_where_variances_are_positive(data):
    X, y = data
    X = np.c_[X, np.where(y == 0, 0.0, X[:, 0])]  # dead in class 0
    with pytest.raises(ValueError, match=r"a variance is 0 .*set var_smoothing above 0"):
        GaussianDensityClassifier(var_smoothing=0).fit(X, y)
    GaussianDensityClassifier("tied_diag", var_smoothing=0).fit(X, y)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"covariance_type": "diagonal"}, r"covariance_type must be one of \['diag', .*'diagonal'"),
        ({"covariance_type": ["diag"]}, "covariance_type must be one of"),
        ({"predict_from": "logits"}, r"predict_from must be one of .*got 'logits'"),
        ({"temperature": 0}, "temperature must be 'n_features' or a float from 1e-9 to 1e9, got 0"),
        ({"temperature": np.inf}, "temperature must be .* got inf"),
        ({"temperature": "d"}, "temperature must be .* got 'd'"),
        ({"covariance_scale": -1.0}, "covariance_scale must be .* got -1.0"),
        ({"covariance_scale": True}, "covariance_scale must be .* got True"),
        ({"shrinkage": 1.5}, r"shrinkage must be None, 'auto' or a float in \[0, 1\], got 1.5"),
        ({"shrinkage": "oas"}, "shrinkage must be .* got 'oas'"),
        ({"temperature": 1e-10}, "temperature must be .* got 1e-10"),
        ({"covariance_scale": 1e10}, "covariance_scale must be .* got 1"),
        ({"var_smoothing": -1e-9}, "var_smoothing must be a float from 0 to 1e9, got -1e-09"),
        ({"var_smoothing": 1e308}, r"var_smoothing must be .* got 1e\+308"),
        ({"var_smoothing": None}, "var_smoothing must be .* got None"),
        ({"background": 1.0}, r"background must be a float in \[0, 1\), got 1.0"),
        ({"background": np.nan}, "background must be .* got nan"),
        ({"priors": "equal"}, r"priors must be one of \['uniform'\], got 'equal'"),
        ({"priors": [0.5, 0.5]}, "priors must match number of classes: got 2 priors for 3 classes"),
        ({"priors": [0.5, 0.6, -0.1]}, "Priors must be non-negative, got -0.1"),
        ({"priors": [0.5, 0.5, 0.5]}, "The sum of the priors should be 1, got 1.5"),
        (
            {"predict_from": "features"},
            r"predict_from='features' takes one activation per class.*n_features=4 and n_classes="
            r"3.*use GaussianDensityClassifier\(predict_from='posterior'\)",
        ),
    ],
)
def test_wrong_parameters_are_refused_at_fit(parameters, message, data):
    X, y = data
    with pytest.raises(ValueError, match=message):
        GaussianDensityClassifier(**parameters).fit(X, y)
    with pytest.raises(ValueError, match=message):
        GaussianDensityClassifier(**parameters).partial_fit(X, y, [0, 1, 2])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda X, y: (np.where(np.arange(150)[:, None] == 7, np.nan, X), y), "NaN in sample 7"),
        (
            lambda X, y: (np.where(np.arange(150)[:, None] == 9, -np.inf, X), y),
            "infinity in sample 9",
        ),
        (lambda X, y: (X * 1e200, y), "squares overflow: scale the features down"),
        (lambda X, y: (X, y[:100]), "same number of samples, got 150 and 100"),
        (lambda X, y: (X, None), "requires y to be passed"),
        (lambda X, y: (X, np.random.default_rng(0).normal(size=150)), "Unknown label type"),
    ],
)
def test_wrong_samples_are_refused(spoil, message, data):
    with pytest.raises(ValueError, match=message):
        GaussianDensityClassifier().fit(*spoil(*data))


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.ones(3), r"sample_weight.shape == \(3,\), expected \(150,\)"),
        (np.ones((150, 1)), r"sample_weight.shape == \(150, 1\)"),
        (np.full(150, -1.0), "sample_weight must be finite and at least 0"),
        (np.full(150, np.nan), "sample_weight must be finite and at least 0"),
        (np.zeros(150), "sample_weight must not be zero for all samples"),
        (np.repeat([0.0, 1.0], [50, 100]), r"classes \[0\] have samples of weight 0 only"),
    ],
)
def test_wrong_weights_are_refused(weight, message, data):
    with pytest.raises(ValueError, match=message):
        GaussianDensityClassifier().fit(*data, weight)


@pytest.mark.parametrize(
    "change",
    [
        np.asarray,
        np.float32,
        np.asfortranarray,
        lambda X: X[::2],
        lambda X: X.astype(np.int16),
        lambda X: X.astype(np.float16),
        lambda X: X.astype(">f8"),
        lambda X: X.tolist(),
        np.ma.masked_array,
    ],
)
def test_a_matrix_is_taken_as_scikit_learn_takes_it(change, data):
    density, X = GaussianDensityClassifier().fit(*data), change(data[0])
    ours = check_matrix(density, X, reset=False)
    kinds = [np.float64, np.float32]
    theirs = validate_data(density, X, reset=False, dtype=kinds, ensure_all_finite=False)
    assert (ours is X, type(ours), ours.dtype) == (theirs is X, type(theirs), theirs.dtype)
    np.testing.assert_array_equal(ours, theirs)


def test_the_features_are_those_of_the_fit(data):
    X, y = data
    density = GaussianDensityClassifier().fit(X, y)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4 features"):
        density.predict(X[:, :3])
    with pytest.raises(ValueError, match="got NaN in sample 0"):
        density.score_samples(np.full((1, 4), np.nan))


def test_huge_but_finite_samples_are_not_taken_for_infinite():
    X = np.array([[1e308, 1e308], [1e308, 1e308]])  # their sum overflows
    density = GaussianDensityClassifier().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    assert not np.isnan(density.predict_proba(X)).any()


def test_wrong_labels_are_refused_by_confidence_and_typicality(data):
    X, y = data
    density = GaussianDensityClassifier().fit(X, y)
    for method in (density.confidence, density.typicality):
        with pytest.raises(ValueError, match=r"target label\(s\) \[7\] in y do not exist"):
            method(X, np.full(150, 7))
        with pytest.raises(
            ValueError, match=r"y must have one label per sample, \(150,\), got \(2,\)"
        ):
            method(X, y[:2])


@pytest.mark.parametrize("method", METHODS)
def test_use_before_fit_is_refused(method, data):
    with pytest.raises(
        NotFittedError, match="This GaussianDensityClassifier instance is not fitted"
    ):
        getattr(GaussianDensityClassifier(), method)(data[0])


@pytest.mark.parametrize("name", ["means_", "covariances_", "class_count_", "class_prior_"])
def test_learned_attributes_do_not_exist_before_fit(name):
    assert not hasattr(GaussianDensityClassifier(), name)


def test_full_covariances_that_cannot_fit_into_memory_are_refused_first(monkeypatch):
    monkeypatch.setattr(_covariance_types, "_installed_bytes", lambda: 2**20)
    X, y = np.random.default_rng(0).normal(size=(30, 200)), np.arange(30) % 3
    message = r"'full' needs 2,880,000 bytes for 3 matrices of 200 x 200, and .* 1,048,576"
    with pytest.raises(MemoryError, match=message):
        GaussianDensityClassifier("full").fit(X, y)
    GaussianDensityClassifier("tied").fit(X, y)


def test_the_memory_of_this_machine_is_known():
    assert _covariance_types._installed_bytes() > 2**28


def test_a_singular_full_covariance_is_found_at_fit():
    X, y = np.random.default_rng(0).normal(size=(12, 10)), np.arange(12) % 2
    with pytest.raises(ValueError, match=r"of class number 0 is not positive definite.*shrinkage"):
        GaussianDensityClassifier("full", var_smoothing=0).fit(X, y)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical", "tied_diag", "tied", "full"])
@pytest.mark.parametrize("blocks", [None, [1, 2]])
def test_a_class_without_samples_is_infinitely_far_from_everything(covariance_type, blocks):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.arange(30) % 2
    seen = GaussianDensityClassifier(covariance_type, blocks=blocks).fit(X, y)
    density = GaussianDensityClassifier(covariance_type, blocks=blocks)
    density.partial_fit(X, y, classes=[-1, 0, 1])
    distance = density.mahalanobis(X)
    assert np.isposinf(distance[:, 0]).all()
    np.testing.assert_array_equal(distance[:, 1:], seen.mahalanobis(X))
    assert (density.typicality(X, np.full(30, -1)) == 0).all()
    np.testing.assert_array_equal(density.typicality(X, y), seen.typicality(X, y))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"blocks": 3}, "blocks must be widths of at least 1 that add up to the 3 features"),
        ({"blocks": {"a": slice(0, 1), "b": slice(1, None)}}, "blocks must be widths of at least"),
        ({"blocks": [slice(-3, -1), 1]}, "blocks must be widths of at least 1"),
        ({"priors": {0: 0.5, 1: 0.5}}, "priors must be one per class, in the order of classes_"),
    ],
)
def test_blocks_and_priors_of_another_kind_are_refused_by_name(parameters, message):
    X, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 2
    with pytest.raises(ValueError, match=message):
        GaussianDensityClassifier(**parameters).fit(X, y).predict_proba(X)
