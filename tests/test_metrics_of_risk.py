"""AUGRC, NAURC and SCOD-AURC against naive loops, closed forms and laws; a cube root of bins."""

from itertools import permutations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import roc_auc_score

from sklearn_densconf.displays import ReliabilityDisplay
from sklearn_densconf.metrics import (
    area_under_generalized_risk_coverage,
    area_under_risk_coverage,
    expected_calibration_error,
    normalized_area_under_risk_coverage,
    reliability_curve,
    scod_area_under_risk_coverage,
)

METRICS = [
    area_under_generalized_risk_coverage,
    normalized_area_under_risk_coverage,
    lambda correct, confidence: scod_area_under_risk_coverage(correct, confidence, [0.4, 0.5]),
]


@pytest.fixture(params=[0, 1, 2])
def predictions(request):
    """Predictions with many ties, without ties, and of a classifier that is nearly always wrong."""
    rng = np.random.default_rng(request.param)
    if request.param == 0:
        confidence = rng.integers(0, 21, 300) / 20
        return rng.random(300) < confidence, confidence
    confidence = rng.normal(size=300)
    share = [None, 0.8, 0.02][request.param]
    return (rng.random(300) < share) | (confidence > 2.2), confidence


def naive_augrc(correct, confidence):
    """Area under the fraction of errors kept, for one order of the samples."""
    order = sorted(range(len(correct)), key=lambda i: -confidence[i])  # stable
    wrong, risks = 0, [0.0]
    for i in order:
        wrong += not correct[i]
        risks.append(wrong / len(correct))
    return trapezoid(risks, np.linspace(0, 1, len(correct) + 1))


def naive_aurc(correct, confidence):
    """Mean error rate of the i first, for one order of the samples."""
    order = sorted(range(len(correct)), key=lambda i: -confidence[i])
    wrong, risks = 0, []
    for n_kept, i in enumerate(order, start=1):
        wrong += not correct[i]
        risks.append(wrong / n_kept)
    return sum(risks) / len(risks)


def naive_naurc(correct, confidence):
    """From the AURC of a sure oracle to the error rate."""
    best = naive_aurc(correct, [float(right) for right in correct])
    error_rate = sum(not right for right in correct) / len(correct)
    return (naive_aurc(correct, confidence) - best) / (error_rate - best)


def naive_scod(correct, confidence, ood_confidence):
    """An out-of-distribution sample that is kept is an error like any other."""
    samples = list(zip(confidence, correct, strict=True)) + [(c, False) for c in ood_confidence]
    return naive_aurc([right for _, right in samples], [score for score, _ in samples])


def test_augrc_and_naurc_without_ties_are_the_naive_loops():
    rng = np.random.default_rng(3)
    for accuracy in (0.1, 0.5, 0.95):
        correct, confidence = rng.random(200) < accuracy, rng.normal(size=200)
        assert area_under_generalized_risk_coverage(correct, confidence) == pytest.approx(
            naive_augrc(correct, confidence), rel=1e-12
        )
        assert normalized_area_under_risk_coverage(correct, confidence) == pytest.approx(
            naive_naurc(correct, confidence), rel=1e-12
        )


def test_scod_without_ties_is_the_naive_loop():
    rng = np.random.default_rng(4)
    correct, confidence = rng.random(200) < 0.8, rng.normal(size=200)
    for n_ood in (1, 50, 400):
        ood_confidence = rng.normal(size=n_ood) - 1
        assert scod_area_under_risk_coverage(correct, confidence, ood_confidence) == pytest.approx(
            naive_scod(correct, confidence, ood_confidence), rel=1e-12
        )


def test_ties_are_the_mean_over_every_order_of_the_samples():
    correct = np.array([True, False, True, True, False, True])
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.2])
    orders = [list(order) for order in permutations(range(6))]
    for metric, naive in (
        (area_under_generalized_risk_coverage, naive_augrc),
        (normalized_area_under_risk_coverage, naive_naurc),
    ):
        mean = np.mean([naive(correct[order], confidence[order]) for order in orders])
        assert metric(correct, confidence) == pytest.approx(mean, rel=1e-12)
    samples = [*zip(confidence[:4], correct[:4], strict=True), (0.5, False), (0.5, False)]
    means = [
        naive_aurc(*zip(*[(r, c) for c, r in order], strict=True))
        for order in permutations(samples)
    ]
    ours = scod_area_under_risk_coverage(correct[:4], confidence[:4], [0.5, 0.5])
    assert ours == pytest.approx(np.mean(means), rel=1e-12)


def test_augrc_is_the_closed_form_of_accuracy_and_auroc(predictions):
    correct, confidence = predictions
    accuracy, auroc = correct.mean(), roc_auc_score(correct, confidence)
    expected = (1 - auroc) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    assert area_under_generalized_risk_coverage(correct, confidence) == pytest.approx(
        expected, rel=1e-12
    )


def test_augrc_of_right_labels_is_zero_and_of_wrong_ones_a_half():
    assert area_under_generalized_risk_coverage([True] * 3, [0.1, 0.5, 0.9]) == 0
    assert area_under_generalized_risk_coverage([False] * 3, [0.1, 0.5, 0.9]) == 0.5


def test_naurc_is_zero_for_the_best_order_one_for_a_constant_and_more_for_the_worst(predictions):
    correct, _ = predictions
    assert normalized_area_under_risk_coverage(correct, correct) == 0
    constant = normalized_area_under_risk_coverage(correct, np.ones(len(correct)))
    assert constant == pytest.approx(1, rel=1e-12)
    assert normalized_area_under_risk_coverage(correct, ~correct) > 1


def test_naurc_of_random_orders_is_one_on_average():
    rng = np.random.default_rng(5)
    correct = rng.random(100) < 0.7
    values = [normalized_area_under_risk_coverage(correct, rng.random(100)) for _ in range(400)]
    assert np.mean(values) == pytest.approx(1, abs=4 * np.std(values) / 20)


@pytest.mark.parametrize("right", [True, False])
def test_naurc_without_errors_or_without_right_labels_is_not_defined(right):
    with pytest.warns(UndefinedMetricWarning, match="not defined where all labels are"):
        assert np.isnan(normalized_area_under_risk_coverage([right] * 3, [0.1, 0.5, 0.9]))


def test_scod_is_the_aurc_of_both_and_rewards_both_kinds_of_order(predictions):
    correct, confidence = predictions
    clean = area_under_risk_coverage(correct, confidence)
    low, high = np.full(50, confidence.min() - 1), np.full(50, confidence.max() + 1)
    middle = np.random.default_rng(6).permutation(confidence)[:50]
    areas = [scod_area_under_risk_coverage(correct, confidence, ood) for ood in (low, middle, high)]
    assert areas[0] < areas[1] < areas[2]
    assert areas[0] > clean
    rises = scod_area_under_risk_coverage(correct, np.exp(confidence), np.exp(middle))
    assert rises == areas[1]


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_the_samples_and_a_rising_function_change_nothing(predictions, metric):
    correct, confidence = predictions
    shuffled = np.random.default_rng(7).permutation(len(correct))
    assert metric(correct[shuffled], confidence[shuffled]) == metric(correct, confidence)


@pytest.mark.parametrize("metric", METRICS)
def test_infinite_scores_have_a_rank(metric):
    correct = [True, False, True, False]
    assert metric(correct, [np.inf, -np.inf, 2, 1]) == metric(correct, [9, -9, 2, 1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("correct", "confidence", "message"),
    [
        ([True], [0.5, 0.6], "inconsistent numbers of samples"),
        ([True, False], [0.5, np.nan], "confidence contains NaN"),
        ([2, 3], [0.5, 0.6], "correct must hold True or False"),
        ([], [], "confidence is empty"),
    ],
)
def test_outcomes_are_checked(metric, correct, confidence, message):
    with pytest.raises(ValueError, match=message):
        metric(correct, confidence)


def test_scod_needs_out_of_distribution_samples():
    with pytest.raises(ValueError, match="ood_confidence is empty"):
        scod_area_under_risk_coverage([True, False], [0.5, 0.6], [])
    with pytest.raises(ValueError, match="ood_confidence contains NaN"):
        scod_area_under_risk_coverage([True, False], [0.5, 0.6], [np.nan])


@pytest.mark.parametrize(
    ("n_samples", "n_bins"),
    [(1, 1), (2, 2), (8, 2), (9, 3), (27, 3), (64, 4), (1000, 10), (1001, 11)],
)
@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_the_cube_root_of_bins_is_rounded_up_and_exact_at_cubes(n_samples, n_bins, strategy):
    confidence = (np.arange(n_samples) + 0.5) / n_samples
    correct = np.random.default_rng(8).random(n_samples) < confidence
    options = {"strategy": strategy, "n_bins": "cube_root"}
    curve = reliability_curve(correct, confidence, **options)
    assert len(curve.n_samples) == n_bins
    expected = expected_calibration_error(correct, confidence, n_bins=n_bins, strategy=strategy)
    assert expected_calibration_error(correct, confidence, **options) == expected
    display = ReliabilityDisplay.from_predictions(correct, confidence, **options)
    assert display.calibration_error == expected


def test_fewer_values_than_bins_leave_bins_empty():
    curve = reliability_curve([True, False] * 32, [0.1, 0.9] * 32, n_bins="cube_root")
    assert curve.n_samples.tolist() == [32, 32]


@pytest.mark.parametrize(
    ("n_bins", "error", "message"),
    [
        ("auto", ValueError, "n_bins must be a whole number or 'cube_root', got 'auto'"),
        (2.5, TypeError, "n_bins must be an instance of"),
        (0, ValueError, "n_bins == 0, must be >= 1"),
    ],
)
def test_other_numbers_of_bins_are_refused(n_bins, error, message):
    with pytest.raises(error, match=message):
        reliability_curve([True], [0.5], n_bins=n_bins)
