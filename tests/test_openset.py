"""OpenSetClassifier: the formula, its calibration, and what it promises."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from mpmath import mp, mpf
from scipy.special import expit, log_softmax, logit
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.covariance import LedoitWolf
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_densconf import GaussianDensityClassifier, OpenSetClassifier, SoftmaxClassifier
from sklearn_densconf.openset._calibration import left_out_scores
from sklearn_densconf.openset._discount import (
    DROWNED,
    _log_prior,
    keep_order,
    log_known,
    most_likely,
    tail,
)
from sklearn_densconf.openset._familiarity import (
    Familiarity,
    familiarity,
    gaussians,
    measure,
    shrinkage_of_directions,
    unit,
)

D, K = 6, 3


def pictures(n, seed, k=K):
    """Return features and logits of a network that is right about 9 in 10, and the labels."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    u = rng.normal(size=(n, D)) + 3 * np.eye(k, D)[y] + 1
    return np.hstack([u, 2 * u[:, :k]]), y


@pytest.fixture(scope="module")
def data():
    return (*pictures(400, 0), *pictures(300, 1))


@pytest.fixture(scope="module")
def model(data):
    X, y, X_val, y_val = data
    return OpenSetClassifier().fit(X, y, X_val=X_val, y_val=y_val)


def naive_scores(X, y, Z, shrinkage):
    """Return the two scores by inverse matrices."""
    u, v = (x[:, :D] / np.linalg.norm(x[:, :D], axis=1)[:, None] for x in (X, Z))
    means = np.stack([u[y == k].mean(axis=0) for k in np.unique(y)])
    plain = np.cov((u - means[np.searchsorted(np.unique(y), y)]).T, bias=True)
    smoothing = 1e-9 * u.var(axis=0).max() * np.eye(D)
    within = (1 - shrinkage) * plain + shrinkage * np.trace(plain) / D * np.eye(D) + smoothing
    total = np.cov(u.T, bias=True) - plain + within

    def distance(center, covariance):
        return np.einsum("nj,jk,nk->n", v - center, np.linalg.inv(covariance), v - center)

    nearest = np.min([distance(mean, within) for mean in means], axis=0)
    return np.c_[-nearest, distance(u.mean(axis=0), total) - nearest] / 2


def test_the_formula(model, data):
    X, y, X_val, _ = data
    scores = naive_scores(X, y, X_val, model.density_.shrinkage)
    factors = expit((scores - model.location_) / model.scale_)
    known = factors.prod(axis=1)
    softmax = np.exp(log_softmax(X_val[:, D:] / model.temperature_, axis=1))
    proba = known[:, None] * softmax + (1 - known[:, None]) / K
    np.testing.assert_allclose(model.known_proba(X_val), known, rtol=1e-8)
    np.testing.assert_allclose(model.predict_proba(X_val), proba, rtol=1e-8)
    np.testing.assert_allclose(model.predict_log_proba(X_val), np.log(proba), rtol=1e-8)
    np.testing.assert_allclose(model.score_samples(X_val), logit(known), rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(model.predict(X_val), X_val[:, D:].argmax(axis=1))
    confidence = proba[np.arange(300), X_val[:, D:].argmax(axis=1)]
    np.testing.assert_allclose(model.confidence(X_val), confidence, rtol=1e-8)
    np.testing.assert_allclose(model.confidence(X_val, log_odds=True), logit(confidence), rtol=1e-6)


def test_rows_sum_to_1_and_the_label_is_the_most_probable(model, data):
    X_val = data[2]
    strange = np.hstack([-5 * X_val[:, :D], 100 * X_val[:, D:]])
    for Z in (X_val, strange, 1e300 * X_val, 0 * X_val):
        proba = model.predict_proba(Z)
        np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_array_equal(proba.argmax(axis=1), model.predict(Z))


def test_what_is_unlike_anything_known_gets_the_priors(data):
    X, y, X_val, y_val = data
    strange = np.hstack([-X_val[:, :D], 1e3 * X_val[:, D:]])
    for priors, expected in (
        ("uniform", [1 / 3] * 3),
        ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
        (None, np.bincount(y) / 400),
    ):
        model = OpenSetClassifier(priors=priors).fit(X, y, X_val=X_val, y_val=y_val)
        nowhere = model.score_samples(strange) < -15
        assert nowhere.sum() > 20
        proba = model.predict_proba(strange[nowhere])
        np.testing.assert_allclose(proba, np.tile(expected, (len(proba), 1)), rtol=1e-5)
        np.testing.assert_array_equal(model.predict(strange), strange[:, D:].argmax(axis=1))
        assert model.known_proba(X_val).mean() > 0.9


def test_confidence_stays_below_1_far_along_a_ray(model, data):
    X_val = data[2]
    scaled = [model.known_proba(np.hstack([s * X_val[:, :D], X_val[:, D:]])) for s in (1, 16, 1e9)]
    np.testing.assert_allclose(scaled[1], scaled[0], rtol=1e-9)
    np.testing.assert_allclose(scaled[2], scaled[0], rtol=1e-9)


def test_the_logarithms_keep_their_tails():
    with mp.workdps(1000):
        for x1 in (-1e3, -700.0, -40.0, -1.0, 0.0, 20.0, 300.0):
            for x2 in (-800.0, -20.0, 3.0, 41.0):
                factors = [1 / (1 + mp.exp(-mpf(x))) for x in (x1, x2)]
                known, unknown = log_known(np.array([[x1, x2]]))
                wanted = factors[0] * factors[1]
                rest = (1 - factors[0]) + factors[0] * (1 - factors[1])
                np.testing.assert_allclose(known, float(mp.log(wanted)), rtol=1e-13)
                np.testing.assert_allclose(unknown, float(mp.log(rest)), rtol=1e-13, atol=1e-15)


def test_scores_rank_where_probabilities_round(model, data):
    X, _, X_val, _ = data
    strange = np.hstack([-X_val[:, :D], X_val[:, D:]])
    assert len(np.unique(model.score_samples(strange))) == 300
    sure = model.predict_log_proba(np.hstack([X[:, :D], 30 * X[:, D:]]))
    assert (sure[model.known_proba(X) < 1] < 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_confidences_that_round_to_the_priors_keep_the_order_of_rho(model, data, dtype):
    X_val = data[2].astype(dtype)
    logits = np.tile(X_val[:1, D:], (300, 1))  # so that ρ alone differs
    strange = np.hstack([-X_val[:, :D], logits])
    familiar = model.score_samples(strange.astype(np.float64))
    drowned = familiar < -20
    assert drowned.sum() > 20
    found = model.confidence(strange, log_odds=True)
    assert found.dtype == np.float64
    assert np.array_equal(np.argsort(found[drowned]), np.argsort(familiar[drowned]))
    np.testing.assert_allclose(expit(found[drowned]), 1 / K, rtol=1e-8)


def test_a_rho_that_would_be_drowned_is_stretched_smoothly():
    log_known_ = np.log(DROWNED) + np.array([5.0, 1e-6, 0.0, -1e-6, -1.0, -300.0, -1e5])
    unknown = np.log1p(-np.exp(log_known_))
    known, rest = keep_order(log_known_, unknown)
    np.testing.assert_array_equal(known[:3], log_known_[:3])
    np.testing.assert_allclose(known[3], log_known_[3], rtol=1e-12)  # value and slope agree
    naive = DROWNED / (1 + np.log(DROWNED / np.exp(log_known_[4])))
    np.testing.assert_allclose(known[4], np.log(naive))
    assert (np.diff(known) < 0).all()
    np.testing.assert_allclose(np.exp(known) + np.exp(rest), 1, rtol=1e-15)
    assert keep_order(np.array([-np.inf]), np.array([0.0]))[0] == -np.inf


# The Gaussians


def test_the_gaussians_are_those_of_features_of_length_1(model, data):
    X, y = data[:2]
    directions = unit(X[:, :D].copy())
    classes = GaussianDensityClassifier("tied", shrinkage=model.density_.shrinkage)
    classes.fit(directions, y)
    np.testing.assert_allclose(model.density_.covariances_, classes.covariances_, rtol=1e-9)
    np.testing.assert_allclose(
        model.density_.mahalanobis(directions), classes.mahalanobis(directions), rtol=1e-7
    )
    np.testing.assert_allclose(model.background_.means_[0], directions.mean(axis=0), rtol=1e-12)
    centred = classes.means_ - directions.mean(axis=0)
    between = (centred * classes.class_prior_[:, None]).T @ centred
    np.testing.assert_allclose(
        model.background_.covariances_, classes.covariances_ + between, rtol=1e-9
    )


def of_clusters(apart, k, d):
    """Return the heads of classes so far apart in all directions, and directions to measure."""
    rng, count = np.random.default_rng(0), 40 * k
    codes = rng.permutation(np.arange(count) % k)
    X = 10 + apart * rng.normal(size=(k, d))[codes] + rng.normal(size=(count, d))
    template = GaussianDensityClassifier("tied", shrinkage="auto")
    classes = np.arange(k + 1)  # one has no samples
    both = gaussians(measure(X, codes, rng.uniform(1, 2, count), k + 1), classes, template)
    strange = 10 + 30 * rng.normal(size=(50, d))
    return [each._head(X) for each in both], unit(np.concatenate([X[:50], strange]))


@pytest.mark.parametrize("apart", [0.0, 0.1, 3.0, 30.0])
@pytest.mark.parametrize(("k", "d"), [(1, 5), (4, 30), (12, 12)])
def test_one_whitening_serves_the_classes_and_the_background(apart, k, d):
    heads, directions = of_clusters(apart, k, d)
    found = familiarity(*heads)
    assert found.between is not None
    room = np.empty((len(directions), k))
    alone = [each.copy() for each in Familiarity(*heads).distances(directions.copy(), room)]

    together = found.distances(directions.copy(), room)

    for wanted, got in zip(alone, together, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10)


@pytest.mark.parametrize(("apart", "k", "d"), [(1.0, 13, 12), (1e4, 4, 30)])
def test_more_classes_than_features_and_distant_ones_have_two_whitenings(apart, k, d):
    heads, directions = of_clusters(apart, k, d)
    assert familiarity(*heads).between is None
    assert familiarity(*heads).n_multiplications == sum(head.n_multiplications for head in heads)
    assert np.isfinite(familiarity(*heads).scores(directions, np.empty((len(directions), k)))).all()


def test_a_parameter_set_on_a_fitted_density_acts_at_once(data):
    X, y, X_val, y_val = data
    model = OpenSetClassifier().fit(X, y, X_val=X_val, y_val=y_val)
    before = model.score_samples(X_val)
    model.density_.set_params(var_smoothing=0.1)
    after = model.score_samples(X_val)
    assert np.abs(after - before).max() > 0.1
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).score_samples(X_val), after)


def test_the_background_of_an_unshrunk_density_is_the_total_covariance(data):
    X, y = data[:2]
    density = GaussianDensityClassifier("tied", var_smoothing=0.0)
    model = OpenSetClassifier(density=density).fit(X, y)
    total = np.cov(unit(X[:, :D].copy()).T, bias=True)
    np.testing.assert_allclose(model.background_.covariances_, total, rtol=1e-9)


def test_the_shrinkage_is_ledoit_and_wolfs(data):
    X, y = data[:2]
    directions = unit(X[:, :D].copy())
    one = shrinkage_of_directions(measure(X[:, :D], 0 * y, np.ones(400), 1))
    np.testing.assert_allclose(one, LedoitWolf().fit(directions).shrinkage_, rtol=1e-9)
    several = shrinkage_of_directions(measure(X[:, :D], y, np.ones(400), K))
    pooled = directions - np.stack([directions[y == k].mean(axis=0) for k in range(K)])[y]
    exact = LedoitWolf(assume_centered=True).fit(pooled).shrinkage_
    assert 0.4 * exact < several < 2.5 * exact  # the classes' covariances count as equal


def test_of_equal_directions_the_shrinkage_is_1():
    assert shrinkage_of_directions(measure(np.ones((5, 2)), np.zeros(5, int), np.ones(5), 1)) == 1


def test_a_density_sets_shrinkage_and_smoothing(data):
    X, y, X_val, y_val = data
    density = GaussianDensityClassifier("tied", shrinkage=0.25, var_smoothing=0.0)
    model = OpenSetClassifier(density=density).fit(X, y, X_val=X_val, y_val=y_val)
    assert model.density_.shrinkage == 0.25
    scores = naive_scores(X, y, X_val, 0.25)
    known = expit((scores - model.location_) / model.scale_).prod(axis=1)
    np.testing.assert_allclose(model.known_proba(X_val), known, rtol=1e-6)


def test_weights_are_copies(data):
    X, y, X_val, y_val = data
    weight = np.random.default_rng(7).integers(0, 3, 400)
    copies = np.repeat(np.arange(400), weight)
    weighted = OpenSetClassifier().fit(X, y, weight, X_val, y_val)
    repeated = OpenSetClassifier().fit(X[copies], y[copies], None, X_val, y_val)
    np.testing.assert_allclose(
        weighted.predict_proba(X_val), repeated.predict_proba(X_val), rtol=1e-7
    )


def test_features_at_any_scale_and_zeros(data):
    X, y, X_val, y_val = data
    for factor in (1e-200, 1e200):
        scale = np.r_[np.full(D, factor), np.ones(K)]
        scaled = OpenSetClassifier().fit(X * scale, y, X_val=X_val * scale, y_val=y_val)
        plain = OpenSetClassifier().fit(X, y, X_val=X_val, y_val=y_val)
        np.testing.assert_allclose(
            scaled.known_proba(X_val * scale), plain.known_proba(X_val), rtol=1e-6
        )
        assert np.isfinite(scaled.score_samples(0 * X_val)).all()


# Calibration


def log_posterior(model, data, parameters):
    """Return likelihood and prior of log T, t and log w by the plain formula."""
    _, _, X_val, y_val = data
    scores = naive_scores(*data[:2], X_val, model.density_.shrinkage)
    level, width = tail(scores)
    log_temperature, t, log_w = parameters[0], parameters[1:3], parameters[3:]
    log_proba = log_softmax(X_val[:, D:] / np.exp(log_temperature), axis=1)
    known = expit((scores - level + t * width) / (np.exp(log_w) * width)).prod(axis=1)
    proba = known * np.exp(log_proba[np.arange(300), y_val]) + (1 - known) / 3
    share = expit(logit(0.1) - t)
    alone = np.log(
        SoftmaxClassifier(temperature="nll")
        .fit(X_val[:, D:], y_val, X_val=X_val[:, D:], y_val=y_val)
        .temperature_
    )
    normal = (log_temperature - alone) ** 2 + np.sum((log_w / 0.4) ** 2)
    return np.log(proba).sum() + np.log(share * (1 - share)).sum() / 2 - normal / 2


def test_temperature_locations_and_widths_are_the_most_probable(model, data):
    level, width = tail(naive_scores(*data[:2], data[2], model.density_.shrinkage))
    found = np.r_[
        np.log(model.temperature_),
        (level - model.location_) / width,
        np.log(model.scale_ / width),
    ]
    best = log_posterior(model, data, found)
    for a in np.linspace(-2, 12, 25):
        for b in np.linspace(-2, 12, 25):
            assert log_posterior(model, data, np.r_[found[0], a, b, found[3:]]) <= best
    for step in 0.05 * np.vstack([np.eye(5), -np.eye(5)]):
        assert log_posterior(model, data, found + step) < best


def test_the_derivatives_of_the_prior_are_differences_of_its_values():
    parameters, step = np.array([0.3, -1.0, 2.5, 0.4, -0.7]), 1e-5
    for i in range(5):
        moved = step * np.eye(5)[i]
        above, below = (_log_prior(parameters + sign * moved, 0.1)[0] for sign in (1, -1))
        slope = _log_prior(parameters, 0.1)[1][i]
        assert (above - below) / (2 * step) == pytest.approx(slope, abs=1e-8)


def test_a_picture_that_is_surely_wrong_is_survived():
    rng = np.random.default_rng(0)
    surplus, log_proba = rng.normal(size=(50, 2)) + 3, -rng.exponential(0.1, 50)
    log_proba[3] = -1e4
    temperature, t, width = most_likely(
        surplus, lambda _: (log_proba, 0.0), np.full(50, -np.log(10)), 0.0
    )
    assert np.isfinite([temperature, *t, *width]).all()
    assert temperature == 1


def test_the_more_pictures_are_held_out_the_less_the_prior_weighs():
    rng = np.random.default_rng(0)
    locations = []
    for n in (100, 10_000):
        surplus = 2.3 - rng.exponential(size=(n, 2))
        right = (np.full(n, -1e-3), 0.0)  # the network is always right
        locations.append(most_likely(surplus, lambda _, q=right: q, np.full(n, -3.0), 0.0)[1])
    assert (locations[1] > locations[0] + 2).all()


@pytest.mark.parametrize("budget", [0.001, 0.003, 0.2, 0.9])
def test_a_budget_is_the_mean_of_what_is_lost(data, budget):
    X, y, X_val, _ = data
    model = OpenSetClassifier(discount=budget).fit(X, y, X_val=X_val)
    np.testing.assert_allclose(1 - model.known_proba(X_val).mean(), budget, rtol=1e-5)
    assert model.temperature_ == 1


def test_a_larger_budget_discounts_more(data):
    X, y, X_val, _ = data
    known = [
        OpenSetClassifier(discount=d).fit(X, y, X_val=X_val).known_proba(X_val)
        for d in (0.001, 0.01, 0.1)
    ]
    assert (np.diff(known, axis=0) < 0).all()


def test_the_tail_of_an_exponential_is_its_mean():
    scores = -np.random.default_rng(0).exponential([1.0, 7.0], size=(100_000, 2))
    level, width = tail(scores)
    np.testing.assert_allclose(width, [1, 7], rtol=0.05)
    np.testing.assert_allclose(level, np.log(0.1) * np.array([1, 7]), rtol=0.05)


def test_the_tail_of_weighted_scores_is_that_of_copies():
    rng = np.random.default_rng(0)
    scores, weight = rng.normal(size=(500, 2)), rng.integers(0, 4, 500)
    for a, b in zip(tail(scores, weight), tail(np.repeat(scores, weight, axis=0)), strict=True):
        np.testing.assert_allclose(a, b, rtol=0.05)
    level, width = tail(np.ones((20, 2)))
    assert (level == 1).all()
    assert (width > 0).all()


# Without held-out pictures


def without(X, y, i, weight, shrinkage):
    """Return the scores of sample i under Gaussians that were fitted without it."""
    rest, total = weight.copy(), weight.sum()
    rest[i] = 0
    u = unit(X[:, :D].copy())
    means = np.stack([np.average(u[y == k], axis=0, weights=rest[y == k]) for k in range(K)])
    pooled, of_all = u - means[y], u - np.average(u, axis=0, weights=rest)
    within, total_cov = ((v.T * rest) @ v / rest.sum() for v in (pooled, of_all))
    centred = (
        u - np.stack([np.average(u[y == k], axis=0, weights=weight[y == k]) for k in (0, 1, 2)])[y]
    )
    ridge = shrinkage * np.sum(weight * (centred**2).T) / total / D * np.eye(D)
    ridge *= total / rest.sum()  # as it was, in units of a scatter that has lost the sample
    shrunk = (1 - shrinkage) * within + ridge
    broad = shrunk + total_cov - within
    nearest = np.min([(u[i] - m) @ np.linalg.solve(shrunk, u[i] - m) for m in means])
    return np.array([-nearest, of_all[i] @ np.linalg.solve(broad, of_all[i]) - nearest]) / 2


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
def test_trained_pictures_are_scored_as_if_they_had_not_been_there(weighted, shrinkage):
    X, y = pictures(60, 5)
    weight = np.random.default_rng(1).integers(1, 4, 60) * 1.0 if weighted else np.ones(60)
    density = GaussianDensityClassifier("tied", var_smoothing=0.0, shrinkage=shrinkage)
    moments = measure(X[:, :D], y, weight, K)
    both = gaussians(moments, np.arange(K), density)
    scores, weights = left_out_scores(X[:, :D], y, weight, *both)
    np.testing.assert_array_equal(weights, weight)
    left_out = np.array([without(X, y, i, weight, shrinkage) for i in range(60)])
    u = unit(X[:, :D].copy())
    nearest = both[0].mahalanobis(u).min(axis=1)
    there = np.c_[-nearest, both[1].mahalanobis(u)[:, 0] - nearest] / 2
    assert (left_out < there).all(axis=1).any()
    np.testing.assert_allclose(scores, np.minimum(left_out, there), rtol=1e-8)


def test_the_only_sample_of_a_class_is_far_from_it_when_left_out():
    X, y = pictures(60, 5)
    y[0] = K
    density = GaussianDensityClassifier("tied", shrinkage="auto")
    both = gaussians(measure(X[:, :D], y, np.ones(60), K + 1), np.arange(K + 1), density)
    scores, _ = left_out_scores(X[:, :D], y, np.ones(60), *both)
    assert np.isfinite(scores).all()
    assert scores[0, 0] < -0.4 * np.sort(both[0].mahalanobis(unit(X[[0], :D])))[0, 1]


def test_without_held_out_pictures_training_ones_cost_a_third(data):
    X, y, X_val, _ = data
    model = OpenSetClassifier(discount=0.03).fit(X, y)
    assert model.temperature_ == 1
    density, background = model.density_, model.background_
    scores, _ = left_out_scores(X[:, :D], y, np.ones(400), density, background)
    known = expit((scores - model.location_) / model.scale_).prod(axis=1)
    np.testing.assert_allclose(1 - known.mean(), 0.01, rtol=1e-6)
    assert 0.003 < 1 - model.known_proba(X_val).mean() < 0.03
    default = OpenSetClassifier().fit(X, y)
    assert 1 - default.known_proba(X_val).mean() < 0.01


@pytest.mark.parametrize("spread", [1e-5, 1e-6, 1e-8, 0.0])
@pytest.mark.parametrize("n", [60, 600])
def test_pictures_of_classes_with_hardly_any_width_are_known(spread, n):
    rng, y = np.random.default_rng(0), np.arange(n) % K
    u = spread * rng.normal(size=(n, D)) + 6 * np.eye(K, D)[y] + 1
    X = np.hstack([u, u[:, :K]])
    known = OpenSetClassifier().fit(X[: n // 2], y[: n // 2]).known_proba(X)
    assert known[: n // 2].mean() > 0.995
    assert known[n // 2 :].mean() > 0.98
    strange = OpenSetClassifier().fit(X, y).known_proba(np.ones((1, D + K)))
    assert strange[0] < 1e-6


def test_more_training_pictures_than_calibrate(data, monkeypatch):
    X, y, X_val, _ = data
    monkeypatch.setattr("sklearn_densconf.openset._calibration.MOST_TRAINED", 100)
    model = OpenSetClassifier().fit(X, y)
    assert 1 - model.known_proba(X_val).mean() < 0.02


# Parts, merged


def test_parts_equal_the_whole(model, data):
    X, y, X_val, y_val = data
    parts = [slice(0, 50), slice(50, 51), slice(51, 400)]
    streamed = OpenSetClassifier()
    for part in parts:
        streamed.partial_fit(X[part], y[part], np.arange(K))
    several = [OpenSetClassifier().partial_fit(X[p], y[p], np.arange(K)) for p in parts]
    merged = several[2].merge(several[0]).merge(several[1])
    batches = ((X[part], y[part]) for part in parts)
    batched = OpenSetClassifier().fit_batches(batches, np.arange(K), X_val=X_val, y_val=y_val)
    for other in (streamed.calibrate(X_val, y_val), merged.calibrate(X_val, y_val)):
        np.testing.assert_allclose(other.known_proba(X), model.known_proba(X), rtol=1e-6)
    np.testing.assert_allclose(batched.predict_proba(X), model.predict_proba(X), rtol=1e-6)


def test_parts_ask_to_be_calibrated(data):
    X, y, X_val, y_val = data
    model = OpenSetClassifier().fit(X, y, X_val=X_val, y_val=y_val).partial_fit(X, y)
    with pytest.raises(NotFittedError, match=r"predict needs a discount.*call calibrate\(X_val"):
        model.predict(X)
    with pytest.raises(NotFittedError, match="calibrate needs Gaussians, but this OpenSetClassif"):
        OpenSetClassifier().calibrate(X, y)
    with pytest.raises(NotFittedError, match="merge needs Gaussians"):
        OpenSetClassifier().merge(model)
    with pytest.raises(ValueError, match="batches is empty: give at least one"):
        OpenSetClassifier().fit_batches([], X_val=X_val, y_val=y_val)
    few = OpenSetClassifier(logits=2).partial_fit(X[y < 2, :-1], y[y < 2], [0, 1])
    with pytest.raises(ValueError, match="only parts with the same classes and columns can be mer"):
        model.merge(few)


# Labels, logits and other posteriors


@pytest.mark.parametrize("labels", [[1, 2, 3], ["c", "a", "b"], [-1, 5, 0]])
def test_classes_name_the_logits(model, data, labels):
    X, y, X_val, y_val = data
    labels = np.array(labels)
    named = OpenSetClassifier(classes=labels).fit(
        X, labels[y], X_val=X_val, y_val=pd.Series(labels[y_val], index=range(900, 1200))
    )
    np.testing.assert_array_equal(named.predict(X_val), labels[X_val[:, D:].argmax(axis=1)])
    order = np.argsort(labels)
    np.testing.assert_allclose(
        named.predict_proba(X_val), model.predict_proba(X_val)[:, order], rtol=1e-9
    )


def test_a_wrong_order_of_the_logits_is_warned_of(data):
    X, y, _, _ = data
    with pytest.warns(UserWarning, match="pass classes=, the label of every logit"):
        OpenSetClassifier().fit(X, np.array(["c", "a", "b"])[y])


def test_a_network_may_know_more_classes_than_there_are_pictures_of(data):
    X, y, X_val, y_val = data
    few, held_out = y < 2, y_val < 2
    model = OpenSetClassifier(classes=[0, 1, 2])
    model.fit(X[few], y[few], X_val=X_val[held_out], y_val=y_val[held_out])
    assert model.predict_proba(X_val).shape == (300, 3)
    assert model.density_.classes_.tolist() == [0, 1]
    known = model.known_proba(X_val)
    assert known[held_out].mean() > 0.9 > known[~held_out].mean()
    safe = OpenSetClassifier(classes=[0, 1, 2]).fit(X[few], y[few])
    assert np.isfinite(safe.score_samples(X_val)).all()


def test_a_fitted_posterior_takes_logits_features_or_all(data):
    X, y, X_val, y_val = data
    held_out = {"X_val": X_val, "y_val": y_val}
    for part in (slice(D, None), slice(0, D), slice(None)):
        posterior = LogisticRegression().fit(X[:, part], y)
        model = OpenSetClassifier(posterior=posterior).fit(X, y, **held_out)
        assert model.posterior_ is posterior
        known = model.known_proba(X_val)[:, None]
        expected = known * posterior.predict_proba(X_val[:, part]) + (1 - known) / 3
        np.testing.assert_allclose(model.predict_proba(X_val), expected, rtol=1e-9)
    parts = OpenSetClassifier(posterior=posterior).partial_fit(X, y, [0, 1, 2])
    parts.calibrate(X_val, y_val)
    np.testing.assert_allclose(parts.predict_proba(X_val), model.predict_proba(X_val), rtol=1e-9)


def test_a_given_posterior_is_not_tempered(data):
    """T is of softmax: where it changes no probability, its prior keeps it at 1."""
    X, y, X_val, y_val = data
    posterior = GaussianDensityClassifier("tied").fit(X[:, :-3], y)
    model = OpenSetClassifier(posterior=posterior).fit(X, y, X_val=X_val, y_val=y_val)
    assert model.temperature_ == pytest.approx(1, abs=1e-6)


def test_the_papers_densities_are_a_posterior(data):
    X, y, X_val, y_val = data
    density = GaussianDensityClassifier(background=0.01).fit(X[:, D:], y)
    model = OpenSetClassifier(posterior=density).fit(X, y, X_val=X_val, y_val=y_val)
    known = model.known_proba(X_val)[:, None]
    expected = known * density.predict_proba(X_val[:, D:]) + (1 - known) / 3
    np.testing.assert_allclose(model.predict_proba(X_val), expected, rtol=1e-9)


def test_a_posterior_that_is_not_fitted_is_fitted_to_the_logits(data):
    X, y, X_val, y_val = data
    softmax = SoftmaxClassifier(temperature="nll")
    model = OpenSetClassifier(posterior=softmax).fit(X, y, X_val=X_val, y_val=y_val)
    assert not hasattr(softmax, "temperature_")
    assert model.posterior_.temperature_ != 1
    known = model.known_proba(X_val)[:, None]
    expected = known * model.posterior_.predict_proba(X_val[:, D:]) + (1 - known) / 3
    np.testing.assert_allclose(model.predict_proba(X_val), expected, rtol=1e-9)
    weighted = OpenSetClassifier(posterior=GaussianDensityClassifier()).fit(X, y, np.ones(400))
    assert weighted.posterior_.n_features_in_ == K
    with pytest.raises(NotFittedError):
        OpenSetClassifier(posterior=softmax).partial_fit(X, y, [0, 1, 2]).calibrate(X, y)


def test_a_posterior_of_other_labels_or_columns_is_refused(data):
    X, y, _, _ = data
    other = SoftmaxClassifier().fit(X[:, D:], y + 1)
    with pytest.raises(ValueError, match=r"posterior has the classes.*fit it with the same lab"):
        OpenSetClassifier(posterior=other).fit(X, y)
    narrow = LogisticRegression().fit(X[:, :2], y)
    message = "posterior takes 2 columns, but X has 6 features and 3 logits: fit it to either"
    with pytest.raises(ValueError, match=message):
        OpenSetClassifier(posterior=narrow).fit(X, y)


def test_a_fitted_posterior_is_not_guessed_for_where_features_and_logits_are_equally_many(data):
    X, y = data[0][:, D - K :], data[1]  # K features, K logits
    message = "posterior takes 3 columns, and X has as many features as logits.*fit it to all 6"
    softmax = LogisticRegression()
    for columns in (slice(0, K), slice(K, None)):
        with pytest.raises(ValueError, match=message):
            OpenSetClassifier(posterior=clone(softmax).fit(X[:, columns], y)).fit(X, y)
    assert OpenSetClassifier(posterior=softmax).fit(X, y).posterior_.n_features_in_ == K
    of_logits = SoftmaxClassifier(temperature=2.0).fit(X[:, K:], y)  # there is nothing to guess
    model = OpenSetClassifier(posterior=of_logits).fit(X, y)
    assert model._given_posterior().columns == slice(K, None)
    logits = ColumnTransformer([("logits", "passthrough", slice(K, None))])
    whole = make_pipeline(logits, clone(softmax)).fit(X, y)
    told = OpenSetClassifier(posterior=whole).fit(X, y)
    alone = OpenSetClassifier(posterior=softmax).fit(X, y)
    np.testing.assert_allclose(told.predict_proba(X), alone.predict_proba(X), rtol=1e-12)


# Explanations


def test_an_explanation_adds_up(model, data):
    X, y, X_val, _ = data
    strange = np.vstack([X_val[:20], np.hstack([-X_val[:20, :D], X_val[:20, D:]])])
    parts = model.explain(strange)
    assert parts.names == ("nearest", "relative")
    assert parts.features.shape == (40, 2, D)
    np.testing.assert_allclose(parts.features.sum(axis=2) + parts.offset, parts.factors)
    np.testing.assert_allclose(parts.factors.sum(axis=1) + parts.both, parts.log_odds)
    np.testing.assert_allclose(parts.log_odds, model.score_samples(strange), rtol=1e-8)
    assert (parts.both <= 0).all()
    nearest = model.density_.mahalanobis(unit(strange[:, :D].copy())).argmin(axis=1)
    np.testing.assert_array_equal(parts.nearest, nearest)
    scores = naive_scores(X, y, strange, model.density_.shrinkage)
    factors = (scores - model.location_) / model.scale_
    np.testing.assert_allclose(parts.factors, factors, rtol=1e-7)


# As an estimator


def test_copies_and_files_say_the_same(model, data, tmp_path):
    X_val = data[2]
    joblib.dump(model, tmp_path / "model")
    for copy in (pickle.loads(pickle.dumps(model)), joblib.load(tmp_path / "model")):
        np.testing.assert_array_equal(copy.predict_proba(X_val), model.predict_proba(X_val))


def test_a_search_over_budgets(data):
    X, y, _, _ = data
    softmax = FrozenEstimator(SoftmaxClassifier().fit(X[:, D:], y))
    search = GridSearchCV(
        OpenSetClassifier(posterior=softmax), {"discount": [0.001, 0.01]}, cv=3
    ).fit(X, y)
    assert set(search.best_params_) == {"discount"}
    assert clone(search.best_estimator_).discount == search.best_params_["discount"]


def test_float32_stays_float32(model, data):
    X, y, X_val, y_val = (each.astype(np.float32) if each.ndim == 2 else each for each in data)
    single = OpenSetClassifier().fit(X, y, X_val=X_val, y_val=y_val)
    for name in ("predict_proba", "known_proba", "score_samples", "confidence"):
        result = getattr(single, name)(X_val)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, getattr(model, name)(data[2]), rtol=2e-3, atol=1e-5)


def test_a_failed_fit_leaves_it_unfitted(data):
    X, y, X_val, y_val = data
    model = OpenSetClassifier().fit(X, y, X_val=X_val, y_val=y_val)
    with pytest.raises(ValueError, match="got NaN in sample 7"):
        model.fit(X, y, X_val=np.where(np.arange(300)[:, None] == 7, np.nan, X_val), y_val=y_val)
    with pytest.raises(NotFittedError):
        model.predict(X)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"discount": 0}, r"discount must be 'likelihood' or a float in \(0, 1\), got 0"),
        ({"discount": "budget"}, r"discount must be 'likelihood' or a float in \(0, 1\)"),
        ({"logits": 0}, "logits must be None or a whole number of at least 1, got 0"),
        ({"logits": 2.5}, "logits must be None or a whole number of at least 1, got 2.5"),
        ({"logits": 2}, "OpenSetClassifier takes one activation per class.*n_features=2 and n_cl"),
        ({"logits": 9}, r"X has 9 columns, and the last 9 are logits: none is left.*penultimate"),
        ({"density": GaussianDensityClassifier()}, "density must be None or a GaussianDensity"),
        ({"density": LogisticRegression()}, "density must be None or a GaussianDensity"),
        (
            {"density": GaussianDensityClassifier("tied", blocks=[3, 3])},
            r"GaussianDensityClassifier\('tied'\) without blocks",
        ),
        ({"density": GaussianDensityClassifier("tied", shrinkage=3)}, "shrinkage must be None"),
        ({"classes": [0, 1]}, "y has labels that classes lacks"),
        ({"priors": [0.5, 0.5]}, "Number of priors must match"),
    ],
)
def test_wrong_parameters_are_refused(data, parameters, message):
    X, y, X_val, y_val = data
    with pytest.raises(ValueError, match=message):
        OpenSetClassifier(**parameters).fit(X, y, X_val=X_val, y_val=y_val)


def test_wrong_data_are_refused(data):
    X, y, X_val, _ = data
    with pytest.raises(ValueError, match="discount='likelihood' needs y_val, got None: pass the"):
        OpenSetClassifier().fit(X, y, X_val=X_val)
    with pytest.raises(ValueError, match=r"label\(s\) \[7\] in y do not exist"):
        OpenSetClassifier().fit(X, y, X_val=X_val, y_val=np.full(300, 7))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        OpenSetClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"classes \[2\] have samples of weight 0 only"):
        OpenSetClassifier().fit(X, y, sample_weight=(y < 2) * 1.0)


def test_tensors_stay_tensors(model, data):
    torch = pytest.importorskip("torch")
    X, y, X_val, y_val = data
    with sklearn.config_context(array_api_dispatch=True):
        Z = torch.asarray(X_val)
        tensors = OpenSetClassifier().fit(torch.asarray(X), y, X_val=Z, y_val=torch.asarray(y_val))
        safe = OpenSetClassifier().fit(torch.asarray(X), torch.asarray(y))
        for name in ("predict_proba", "known_proba", "score_samples", "predict"):
            result = getattr(tensors, name)(Z)
            assert isinstance(result, torch.Tensor)
            np.testing.assert_allclose(result.numpy(), getattr(model, name)(X_val), rtol=1e-6)
        plain = OpenSetClassifier().fit(X, y)
        np.testing.assert_allclose(safe.known_proba(Z).numpy(), plain.known_proba(X_val), rtol=1e-6)
        np.testing.assert_allclose(
            tensors.explain(Z).log_odds, model.score_samples(X_val), rtol=1e-6
        )
        anywhere = pickle.loads(pickle.dumps(tensors))
    np.testing.assert_allclose(anywhere.known_proba(X_val), model.known_proba(X_val), rtol=1e-6)


@pytest.mark.parametrize("order", [("penultimate",), ("output", "penultimate")])
def test_activations_taken_for_logits_are_warned_of(data, order):
    X, y, *_ = data
    parts = {"penultimate": np.maximum(X[:, :D], 0), "output": X[:, D:]}
    with pytest.warns(UserWarning, match=r"nowhere negative, and \d+% of them are exactly 0"):
        OpenSetClassifier().fit(np.hstack([parts[name] for name in order]), y)
    OpenSetClassifier().fit(np.hstack([parts["penultimate"], parts["output"]]), y)


@pytest.mark.parametrize("as_type", [np.float64, np.float32, torch.tensor])
def test_held_out_pictures_from_the_fit_are_warned_of(data, as_type):
    X, y, X_val, y_val = data
    part, half = as_type(X[100:300]), as_type(np.concatenate([X[:150], X_val[:150]]))
    with pytest.warns(UserWarning, match="100% of the samples of X_val are in X, too: pass pictur"):
        OpenSetClassifier().fit(as_type(X), y, X_val=part, y_val=y[100:300])
    OpenSetClassifier().fit(as_type(X), y, X_val=half, y_val=np.r_[y[:150], y_val[:150]])
    few = as_type(X[:29])
    OpenSetClassifier().fit(as_type(X), y, X_val=few, y_val=y[:29])


@pytest.mark.parametrize("both", [list, tuple])
def test_features_and_logits_apart_are_asked_for_in_one_matrix(data, both):
    X, y, _, _ = data
    with pytest.raises(
        ValueError, match=r"X is a \w+ of 2 matrices, .* np.hstack\(\[features, log"
    ):
        OpenSetClassifier().fit(both([X[:, :D], X[:, D:]]), y)


def test_labels_of_held_out_pictures_without_these_are_refused():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 6)), np.arange(40) % 2
    with pytest.raises(ValueError, match="y_val needs X_val, got None"):
        OpenSetClassifier().fit(X, y, y_val=y)


@pytest.mark.parametrize(
    "classifier", [OpenSetClassifier(), SoftmaxClassifier(temperature="nll")], ids=["open", "nll"]
)
def test_an_error_about_held_out_pictures_says_that_it_is_of_them(classifier):
    n_columns = 6 if isinstance(classifier, OpenSetClassifier) else 2
    X, y = np.random.default_rng(0).normal(size=(40, n_columns)), np.arange(40) % 2
    with pytest.raises(ValueError, match="X must be finite, got NaN in sample 3") as caught:
        classifier.fit(X, y, X_val=np.where(np.arange(40)[:, None] == 3, np.nan, X), y_val=y)
    assert caught.value.__notes__ == ["This is said of X_val."]
