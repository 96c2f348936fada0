"""Logits: their labels, their temperature, and log-odds that keep their order."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from mpmath import log1p, mp, mpf
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logit, softmax
from sklearn.base import clone
from sklearn.metrics import log_loss

from sklearn_densconf import (
    DensityClassifier,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.density._logits import (
    fit_temperature,
    in_order,
    softmax_of_labels,
    tempered,
    warn_of_activations,
    warn_of_chance,
    warn_of_order,
    warn_of_single,
)

DIGITS = np.array(
    ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"], object
)


def _logits(n=2000, k=4, noise=1.0, seed=0):
    """Return logits whose right temperature is 3, in the order of the labels 0 ... k - 1."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(size=(n, k)) * 2 * noise
    proba = np.exp(log_softmax(honest, axis=1))
    y = np.array([rng.choice(k, p=row) for row in proba])
    return 3 * honest, y


def _far_apart():
    """Return two classes 40 apart in 1,000 dimensions, and samples between them."""
    rng = np.random.default_rng(0)
    means = np.zeros((2, 1000))
    means[1, 0] = 40
    X = np.repeat(means, 500, axis=0) + rng.normal(size=(1000, 1000))
    y = np.repeat([0, 1], 500)
    Z = rng.normal(size=(60, 1000))
    Z[:, 0] += np.linspace(0, 40, 60)
    return X, y, Z


def test_a_saturated_posterior_keeps_its_order_and_its_logarithm():
    X, y, Z = _far_apart()
    density = GaussianDensityClassifier("tied_diag", temperature=1.0).fit(X, y)
    with mp.workdps(50):
        variance = [mpf(v) for v in density.covariances_.tolist()]
        means = [[mpf(v) for v in row] for row in density.means_.tolist()]
        odds = []  # of the second class, by the plain formula in 50 digits
        for row in Z[::6].tolist():
            squared = [
                sum((mpf(z) - m) ** 2 / v for z, m, v in zip(row, mean, variance, strict=True))
                for mean in means
            ]
            odds.append((squared[0] - squared[1]) / 2)
        expected = np.array(
            [[float(-log1p(mp.exp(sign * each))) for sign in (1, -1)] for each in odds]
        )
    log_proba = density.predict_log_proba(Z[::6])
    np.testing.assert_allclose(log_proba, expected, rtol=1e-9)
    of_second = density.confidence(Z[::6], np.ones(10, int), log_odds=True)
    np.testing.assert_allclose(of_second, [float(each) for each in odds], rtol=1e-9)
    assert len(np.unique(density.confidence(Z, log_odds=True))) == 60
    assert len(np.unique(density.confidence(Z))) < 30


def test_the_three_values_that_all_came_out_as_zero():
    density = GaussianDensityClassifier("tied_diag", temperature=1.0, var_smoothing=0)
    mean, unit = np.zeros(1000), np.ones(1000)
    mean[0] = 20
    X = np.vstack([-mean - unit, -mean + unit, mean - unit, mean + unit])
    density.fit(X, [0, 0, 1, 1])  # variance 1, means 40 apart
    Z = np.zeros((3, 1000))
    Z[:, 0] = np.log([2.9e-19, 1.4e-17, 6.7e-16]) / 40
    log_proba = density.predict_log_proba(Z)[:, 0]
    np.testing.assert_allclose(log_proba, [-2.9e-19, -1.4e-17, -6.7e-16], rtol=1e-12)
    np.testing.assert_array_equal(density.predict_proba(Z)[:, 0].round(12), 1)


def test_log_odds_are_those_of_the_posterior():
    X, y = _logits(300)
    softmax = SoftmaxClassifier().fit(X, y)
    odds = softmax.confidence(X, log_odds=True)
    np.testing.assert_allclose(odds, logit(softmax.predict_proba(X).max(axis=1)), rtol=1e-6)
    of_labels = softmax.confidence(X, y, log_odds=True)
    wanted = logit(softmax.predict_proba(X)[np.arange(300), y])
    np.testing.assert_allclose(of_labels, wanted, rtol=1e-6, atol=1e-9)
    far = softmax.confidence(1e300 * X, log_odds=True)
    assert (far > 1e290).all()


def test_of_one_class_alone_the_odds_are_infinite():
    softmax = SoftmaxClassifier().fit([[1.0], [2.0]], ["a", "a"])
    assert softmax.confidence([[3.0]], log_odds=True).tolist() == [np.inf]
    assert softmax.predict_log_proba([[3.0]]).tolist() == [[0.0]]


@pytest.mark.parametrize(
    "labels",
    [np.arange(4), np.arange(1, 5), np.array(list("abcd")), np.array([-1, 1, 7, 9])],
    ids=["0 ...", "1 ...", "text", "some numbers"],
)
@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
def test_the_temperature_is_right_for_all_labels(labels, kind):
    X, codes = _logits()
    y = labels[codes]
    given = pd.Series(y, index=np.arange(5000, 7000)) if kind is pd.Series else kind(y)
    softmax = SoftmaxClassifier(temperature="nll").fit(X, given, X_val=X, y_val=given)
    oracle = minimize(
        lambda t: -log_softmax(X / t, axis=1)[np.arange(len(y)), codes].mean(), 1.0, tol=1e-10
    )
    np.testing.assert_allclose(softmax.temperature_, oracle.x[0], rtol=1e-4)
    assert 2.7 < softmax.temperature_ < 3.3
    np.testing.assert_allclose(
        softmax.predict_proba(X), np.exp(log_softmax(X / oracle.x[0], axis=1)), atol=1e-4
    )


def test_the_temperature_of_two_classes():
    X, codes = _logits(k=2)
    y = np.array([-1, 1])[codes]
    softmax = SoftmaxClassifier(temperature="nll").fit(X, y, X_val=X, y_val=y)
    assert 2.7 < softmax.temperature_ < 3.3
    some = y > 0  # the held-out pictures may lack a class
    one = SoftmaxClassifier(temperature="nll").fit(X, y, X_val=X[some], y_val=y[some])
    assert np.isfinite(one.temperature_)


def test_the_temperature_does_not_depend_on_the_unit_of_the_logits():
    X, y = _logits()
    unit = fit_temperature(X, y)
    for factor in (1e-9, 1e9):
        np.testing.assert_allclose(fit_temperature(factor * X + 5, y), factor * unit, rtol=1e-5)


def test_without_an_error_the_rule_of_succession_keeps_confidence_below_1():
    rng = np.random.default_rng(0)
    for n in (20, 200):
        y = rng.integers(0, 5, n)
        X = 8 * np.eye(5)[y] + rng.uniform(size=(n, 5))
        softmax = SoftmaxClassifier(temperature="nll").fit(X, y, X_val=X, y_val=y)
        expected = 1 - 0.8 / (n + 1)  # the unseen sample is right by chance, in 1 of 5
        np.testing.assert_allclose(softmax.confidence(X).mean(), expected, atol=0.2 / n)


def test_equal_logits_have_no_temperature():
    assert fit_temperature(np.ones((3, 2)), np.array([0, 1, 0])) == 1.0


def test_a_fixed_temperature_divides_the_logits():
    X, y = _logits(50)
    softmax = SoftmaxClassifier(temperature=2.5).fit(X, y)
    np.testing.assert_allclose(softmax.predict_log_proba(X), log_softmax(X / 2.5, axis=1))


@pytest.mark.parametrize("temperature", [0, -1.0, np.nan, "auto", None])
def test_other_temperatures_are_refused(temperature):
    X, y = _logits(50)
    with pytest.raises(ValueError, match="temperature must be 'nll' or a finite float above 0"):
        SoftmaxClassifier(temperature=temperature).fit(X, y)


def test_a_temperature_needs_held_out_pictures():
    X, y = _logits(50)
    message = r"temperature='nll' needs X_val and y_val, got None: pass pictures that the network"
    with pytest.raises(ValueError, match=message):
        SoftmaxClassifier(temperature="nll").fit(X, y)


def test_classes_name_the_logits_in_their_order():
    X, y = _logits(500, k=10)
    names = DIGITS[y]
    softmax = SoftmaxClassifier(classes=DIGITS).fit(X, names)
    assert softmax.classes_.tolist() == sorted(DIGITS)
    np.testing.assert_array_equal(softmax.predict(X), DIGITS[X.argmax(axis=1)])
    plain = SoftmaxClassifier().fit(X, y)
    of_logits = softmax.predict_proba(X)[:, np.argsort(np.argsort(DIGITS))]
    np.testing.assert_allclose(of_logits, plain.predict_proba(X), rtol=1e-12)
    np.testing.assert_allclose(  # scikit-learn's metrics want columns in the order of the labels
        log_loss(names, softmax.predict_proba(X), labels=softmax.classes_),
        log_loss(y, plain.predict_proba(X), labels=range(10)),
    )
    np.testing.assert_allclose(softmax.confidence(X, names), plain.confidence(X, y), rtol=1e-12)
    held_out = {"X_val": X, "y_val": names}
    named = SoftmaxClassifier(classes=DIGITS, temperature="nll").fit(X, names, **held_out)
    np.testing.assert_allclose(named.temperature_, fit_temperature(X, y), rtol=1e-5)


def test_a_network_may_know_more_classes_than_there_are_in_y():
    X, y = _logits(500, k=10)
    few = y < 3
    softmax = SoftmaxClassifier(classes=DIGITS).fit(X[few], DIGITS[y[few]])
    assert softmax.predict_proba(X).shape == (500, 10)
    with pytest.raises(ValueError, match=r"y has labels that classes lacks, \['ten'\]"):
        clone(softmax).fit(X[:2], ["one", "ten"])


@pytest.mark.parametrize("classes", [["a", "b"], ["a", "b", "b"], [["a", "b", "c"]]])
def test_classes_are_one_label_per_logit(classes):
    with pytest.raises(ValueError, match="classes must have one label per logit, each once"):
        SoftmaxClassifier(classes=classes).fit(np.eye(3), ["a", "b", "b"])


def test_a_wrong_order_of_the_logits_is_warned_of():
    X, y = _logits(1000, k=10, noise=3.0)
    message = (
        r"label for [0-9]+% of the samples, but for \d\d% if .*'zero', 'one', 'two'.*: pass clas"
    )
    with pytest.warns(UserWarning, match=message):
        SoftmaxClassifier().fit(X, DIGITS[y])
    right_twice = r"name the labels so that they sort into the order of the logits"
    with pytest.warns(UserWarning, match=right_twice):
        GaussianDensityClassifier(predict_from="features").fit(X, DIGITS[y])
    from sklearn.neighbors import KernelDensity

    with pytest.warns(UserWarning, match=right_twice):
        DensityClassifier(KernelDensity(), predict_from="features").fit(X, DIGITS[y])
    labels = np.unique(DIGITS)
    with pytest.warns(UserWarning, match=right_twice):
        GaussianDensityClassifier(predict_from="features").partial_fit(X, DIGITS[y], labels)
    with pytest.warns(UserWarning, match=message):
        OpenSetClassifier(logits=10).partial_fit(np.hstack([X, X]), DIGITS[y], labels)


def test_chance_and_a_poor_network_are_not_warned_of():
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for n, k in ((5, 5), (30, 3), (200, 2), (300, 100), (1000, 10)):
            for _ in range(50):
                logits, codes = rng.normal(size=(n, k)), rng.integers(0, k, n)
                warn_of_order(logits, codes, np.arange(k), "")
                warn_of_order(0 * logits, codes, np.arange(k), "")
        X, y = _logits(1000, k=10, noise=0.2)
        SoftmaxClassifier(classes=DIGITS).fit(X, DIGITS[y])


def test_a_sure_network_that_is_right_by_chance_is_warned_of():
    X, y = _logits(400, k=10, noise=3.0)
    mixed = np.random.default_rng(0).permutation(y)
    both = np.hstack([X, X])
    message = r"softmax is sure of its labels, 0.9\d on .* only \d+% .* as by chance \(10%\)"
    for classifier, samples in (
        (SoftmaxClassifier(), X),
        (GaussianDensityClassifier(predict_from="features"), X),
        (OpenSetClassifier(discount=0.01), both),
    ):
        with pytest.warns(UserWarning, match=message + ": check that X and y are in the same ord"):
            classifier.fit(samples, mixed)
    of_held_out = message + ": check that X_val and y_val are in the same order"
    with pytest.warns(UserWarning, match=of_held_out):
        SoftmaxClassifier(temperature="nll").fit(X, y, X_val=X, y_val=mixed)
    with pytest.warns(UserWarning, match=of_held_out):
        OpenSetClassifier().fit(both[:200], y[:200], X_val=both[200:], y_val=mixed[200:])


@pytest.mark.parametrize(("n", "is_warned_of"), [(29, False), (30, True)])
def test_chance_is_told_from_30_samples_on(n, is_warned_of):
    codes = np.arange(n) % 3
    always_first = np.tile([30.0, 0.0, 0.0], (n, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_chance(always_first, codes, "X and y")
    assert [
        "only 33% of them are right, as by chance (33%)" in str(one.message) for one in caught
    ] == ([True] if is_warned_of else [])


def test_logits_that_are_never_the_largest_belong_to_no_label():
    codes = np.tile([0, 1], 50)
    logits = np.c_[codes, np.zeros(100), 1 - codes] * 2.0
    with pytest.warns(
        UserWarning, match=r"labels \['b', None, 'a'\], where None is not known: why"
    ):
        warn_of_order(logits, codes, np.array(["a", "b", "c"]), "why")


def test_columns_stay_where_they_are_without_an_order():
    X = np.eye(2)
    assert in_order(X, None) is X


def test_a_pickle_keeps_order_and_temperature():
    X, y = _logits(500, k=10)
    softmax = SoftmaxClassifier(classes=DIGITS, temperature=2.0).fit(X, DIGITS[y])
    loaded = pickle.loads(pickle.dumps(softmax))
    np.testing.assert_array_equal(loaded.predict_proba(X), softmax.predict_proba(X))


@pytest.mark.parametrize("model", [SoftmaxClassifier(), OpenSetClassifier(discount=0.01)])
@pytest.mark.parametrize(
    ("to_outputs", "message"),
    [
        (lambda z: softmax(z, axis=1), "after a softmax, with a sum of 1 per sample"),
        (lambda z: softmax(z, axis=1).astype(np.float16), "after a softmax"),
        (expit, "after independent sigmoids"),
        (lambda z: expit(z[:, :1]), "after independent sigmoids"),
    ],
    ids=["softmax", "float16", "sigmoids", "one sigmoid"],
)
def test_probabilities_in_the_place_of_logits_are_warned_of(model, to_outputs, message):
    logits, y = _logits(300)
    outputs = to_outputs(logits)
    y = y if outputs.shape[1] > 1 else (logits[:, 0] > 0).astype(int)
    if isinstance(model, OpenSetClassifier):
        outputs = np.hstack([logits + 5 * y[:, None], outputs])
        model = clone(model).set_params(logits=1 if outputs.shape[1] == 5 else None)
    with pytest.warns(UserWarning, match=f"all logits lie in .*{message}.*Extract a layer before"):
        clone(model).fit(outputs, y)


def test_the_paper_s_label_of_one_sigmoid_is_warned_of():
    logits, _ = _logits(300)
    y = (logits[:, 0] > 0).astype(int)
    density = GaussianDensityClassifier(predict_from="features")
    with pytest.warns(UserWarning, match="all logits lie in .*after independent sigmoids"):
        density.fit(expit(logits[:, :1]), y)


@pytest.mark.parametrize(
    "logits",
    [
        np.eye(3)[[0, 1, 2, 0, 1, 2]],
        np.log(np.full((6, 3), 1 / 3)),
        1e-7 * np.eye(3)[[0, 1, 2, 0, 1, 2]] - 1e-8,
        2 * np.eye(3)[[0, 1, 2, 0, 1, 2]],
    ],
    ids=["labels in another form", "log-probabilities", "tiny", "above 1"],
)
def test_logits_are_not_taken_for_probabilities(logits):
    SoftmaxClassifier().fit(logits, [0, 1, 2, 0, 1, 2])


def test_no_more_than_ten_labels_are_named_in_a_message():
    y = np.arange(12)
    softmax = SoftmaxClassifier(classes=np.arange(100, 112))
    told = r"classes lacks, \[0, 1, 2, 3, 4, 5, 6, 7, 8, 9\]: name every logit"
    with pytest.raises(ValueError, match=told):
        softmax.fit(np.eye(12), y)


def test_what_tempered_logits_share_is_clipped_at_both_ends():
    limit = np.finfo(np.float64).max
    tempered_, shared = tempered(np.array([[1.5e308, 1e308], [-1.5e308, -1.6e308]]), 0.5)
    np.testing.assert_array_equal(shared, [[limit], [-limit]])
    np.testing.assert_allclose(tempered_, [[0, -1e308], [0, -2e307]], rtol=1e-9)


def test_a_shift_of_all_logits_changes_no_softmax_to_the_last_bit():
    logits = np.random.default_rng(0).integers(-8, 8, (50, 4)) / 2
    codes = np.arange(50) % 4
    expected = softmax_of_labels(logits, codes)(0.5)
    shifted = softmax_of_labels(logits + 2.0**51, codes)(0.5)  # halves are numbers there
    np.testing.assert_array_equal(shifted, expected)


@pytest.mark.parametrize("k", [2, 3, 10])
@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_logits_that_are_always_wrong_get_the_largest_temperature(k, factor):
    logits = factor * np.random.default_rng(k).normal(size=(200, k))
    centred = logits - logits.mean(axis=1, keepdims=True)
    largest = np.exp(7) * np.sqrt(np.mean(centred**2))
    np.testing.assert_allclose(fit_temperature(logits, logits.argmin(axis=1)), largest, rtol=1e-9)


def test_the_order_of_logits_of_no_meaning_is_not_doubted():
    classes, told = np.arange(20), 0
    for seed in range(1000):
        rng = np.random.default_rng(seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            warn_of_order(rng.normal(size=(340, 20)), rng.integers(20, size=340), classes, "")
        told += len(caught)
    assert told == 0  # a gain of 4 standard deviations, by chance in fewer than 1 of 30,000


@pytest.mark.parametrize(("n_tested", "is_doubted"), [(16, False), (17, True)])
def test_a_gain_of_4_standard_deviations_is_not_yet_enough(n_tested, is_doubted):
    draws = (np.random.default_rng(0).random(n) >= 0.5 for n in range(20, 60))  # as it halves
    n = next(len(tested) for tested in draws if tested.sum() == n_tested)
    codes = np.arange(n) % 2
    exchanged = np.eye(2)[1 - codes]  # every sample gains: the deviation is the root of n_tested
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_order(exchanged, codes, np.arange(2), "")
    assert bool(caught) == is_doubted


@pytest.mark.parametrize(("n", "is_doubted"), [(16, False), (17, True)])
def test_a_single_logit_is_suspected_from_17_samples_on(n, is_doubted):
    columns, codes = np.tile([2.0, 1.0], (n, 1)), np.ones(n, int)  # only the sign is right
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_single(columns, codes)
    assert bool(caught) == is_doubted


def test_a_tenth_of_zeros_is_enough_to_doubt_logits():
    logits = np.linspace(0, 1.8, 10).reshape(2, 5)
    with pytest.warns(UserWarning, match="10% of them are exactly 0"):
        warn_of_activations(logits)


@pytest.mark.parametrize("n", [1, 9, 99])
@pytest.mark.parametrize("margin", [0.5, 4.0])
def test_logits_that_are_always_right_get_one_more_sample_of_any_label(n, margin):
    logits, codes = np.tile([margin, -margin], (n, 1)), np.zeros(n, int)
    right = (n + 0.5) / (n + 1)  # n of n + 1, and half a sample of two labels
    expected = 2 * margin / logit(right)
    np.testing.assert_allclose(fit_temperature(logits, codes), expected, rtol=1e-6)
