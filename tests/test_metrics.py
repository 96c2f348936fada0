"""Metrics against independent implementations and naive loops, ties and bin edges included."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_curve

from sklearn_densconf.metrics import (
    area_under_risk_coverage,
    confidence_monotonicity,
    confidence_rises,
    excess_area_under_risk_coverage,
    expected_calibration_error,
    fpr_at_tpr,
    reliability_curve,
    risk_coverage_curve,
)


@pytest.fixture
def predictions():
    """500 predictions with many tied confidences, right about as often as they claim."""
    rng = np.random.default_rng(0)
    confidence = rng.integers(0, 41, 500) / 40
    return rng.random(500) < confidence, confidence


def naive_aurc(correct, confidence):
    """Mean error rate of the i first, for one order of the samples."""
    order = sorted(range(len(correct)), key=lambda i: -confidence[i])  # stable
    wrong, risks = 0, []
    for n_kept, i in enumerate(order, start=1):
        wrong += not correct[i]
        risks.append(wrong / n_kept)
    return sum(risks) / len(risks)


def test_aurc_without_ties_is_the_naive_loop():
    rng = np.random.default_rng(1)
    correct, confidence = rng.random(300) < 0.8, rng.normal(size=300)
    assert area_under_risk_coverage(correct, confidence) == pytest.approx(
        naive_aurc(correct, confidence), rel=1e-12
    )


def test_aurc_of_ties_is_the_mean_over_every_order_of_the_samples():
    correct = np.array([True, False, True, True, False, False, True])
    confidence = np.array([0.9, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2])
    orders = [list(order) for order in permutations(range(7))]
    mean = np.mean([naive_aurc(correct[order], confidence[order]) for order in orders])
    assert area_under_risk_coverage(correct, confidence) == pytest.approx(mean, rel=1e-12)


def test_risk_coverage_does_not_depend_on_the_order_of_the_samples(predictions):
    correct, confidence = predictions
    shuffled = np.random.default_rng(2).permutation(500)
    ours = risk_coverage_curve(correct, confidence)
    for first, second in zip(
        ours, risk_coverage_curve(correct[shuffled], confidence[shuffled]), strict=True
    ):
        np.testing.assert_array_equal(first, second)


def test_coverage_and_threshold_are_those_of_the_naive_loop(predictions):
    correct, confidence = predictions
    curve = risk_coverage_curve(correct, confidence)
    np.testing.assert_array_equal(curve.coverage, [n / 500 for n in range(1, 501)])
    assert curve.threshold.tolist() == sorted(confidence, reverse=True)


def test_risk_at_full_coverage_is_the_error_rate_and_a_constant_confidence_has_it_everywhere():
    correct = [True, False, True, True]
    np.testing.assert_allclose(risk_coverage_curve(correct, [0.3] * 4).risk, 0.25)
    assert risk_coverage_curve(correct, [0.1, 0.2, 0.3, 0.4]).risk[-1] == 0.25


def test_aurc_is_unchanged_by_a_rising_transformation_of_the_confidence(predictions):
    correct, confidence = predictions
    assert area_under_risk_coverage(correct, np.exp(5 * confidence)) == area_under_risk_coverage(
        correct, confidence
    )


def test_excess_aurc_is_zero_for_the_best_order_and_largest_for_the_worst(predictions):
    correct, confidence = predictions
    assert excess_area_under_risk_coverage(correct, correct) == 0
    worst = excess_area_under_risk_coverage(correct, ~correct)
    assert 0 < excess_area_under_risk_coverage(correct, confidence) < worst


def test_best_aurc_approaches_the_closed_form_of_geifman_et_al():
    correct = np.arange(100_000) >= 30_000  # error rate 0.3
    limit = 0.3 + 0.7 * np.log(0.7)  # paper, section 3: r + (1 - r) ln(1 - r)
    assert area_under_risk_coverage(correct, correct) == pytest.approx(limit, abs=1e-5)


@pytest.mark.parametrize("correct", [True, False])
def test_one_prediction_has_the_risk_of_its_outcome(correct):
    assert area_under_risk_coverage([correct], [0.5]) == 1 - correct
    assert excess_area_under_risk_coverage([correct], [0.5]) == 0


def naive_fpr(positive, score, tpr):
    """Smallest false positive rate among all thresholds that accept enough positives."""
    rates = []
    for threshold in np.unique(score):
        accepted = score >= threshold
        if accepted[positive].sum() >= tpr * positive.sum() - 1e-9:
            rates.append(accepted[~positive].mean())
    return min(rates)


@pytest.mark.parametrize("tpr", [0.05, 0.5, 0.9, 0.95, 1.0])
def test_fpr_at_tpr_is_the_best_over_all_thresholds(tpr):
    rng = np.random.default_rng(3)
    positive = rng.random(400) < 0.3
    score = np.round(rng.normal(size=400) + positive, 1)  # many ties
    assert fpr_at_tpr(positive, score, tpr=tpr) == naive_fpr(positive, score, tpr)


def test_fpr_at_a_tpr_that_a_threshold_reaches_exactly_uses_that_threshold():
    score = np.arange(20, 0, -1)  # the 19 first positives are 95 %
    y_true = np.append(np.ones(20), [0, 0])
    assert fpr_at_tpr(y_true, np.append(score, [1.5, 2])) == 0.5


def test_fpr_at_tpr_depends_on_which_class_is_positive():
    y_true, score = np.array(["in", "in", "in", "out", "out"]), np.array([3, 2, 0.5, 1, 0])
    assert fpr_at_tpr(y_true, score, pos_label="in") == 0.5
    assert fpr_at_tpr(y_true, -score, pos_label="out") == pytest.approx(1 / 3)


def test_fpr_at_tpr_lies_on_the_curve_of_scikit_learn(predictions):
    false_positive, true_positive, _ = roc_curve(*predictions)
    rate = fpr_at_tpr(*predictions)
    above = true_positive[false_positive <= rate].max()
    assert above >= 0.95


def test_fpr_at_tpr_uses_thresholds_that_a_pruned_curve_would_drop():
    # On the straight part of the curve, which roc_curve prunes by default, lies the answer.
    y_true, score = [1, 0, 1, 0, 1, 0, 1, 0], [8, 8, 6, 6, 4, 4, 2, 2]
    rates = [fpr_at_tpr(y_true, score, tpr=tpr) for tpr in (0.25, 0.3, 0.5, 0.75, 1)]
    assert rates == [0.25, 0.5, 0.5, 0.75, 1]


@pytest.mark.parametrize("tpr", [0, -0.1, 1.01])
def test_fpr_at_tpr_refuses_a_share_outside_its_range(tpr):
    with pytest.raises(ValueError, match=r"tpr must be in \(0, 1\], got"):
        fpr_at_tpr([0, 1], [0.1, 0.2], tpr=tpr)


@pytest.mark.parametrize(("y_true", "found"), [([2, 2], 0), ([1, 1], 2)])
def test_fpr_at_tpr_refuses_one_class(y_true, found):
    with pytest.raises(ValueError, match=f"needs both classes, got {found} of 2 .* check pos_lab"):
        fpr_at_tpr(y_true, [0.1, 0.2])


@pytest.mark.parametrize("function", [fpr_at_tpr, confidence_monotonicity, confidence_rises])
def test_lengths_are_compared_before_anything_else(function):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        function([1, 1], [0.5])


def test_fpr_at_tpr_counts_both_classes_when_one_sample_is_positive_or_negative():
    assert fpr_at_tpr([1, 0, 0], [0.5, 0.9, 0.1]) == 0.5
    assert fpr_at_tpr([1, 1, 0], [0.5, 0.9, 0.7]) == 1


MINUS, PLUS = -np.inf, np.inf


@pytest.mark.parametrize(
    ("infinite", "finite"),
    [
        ([3, MINUS, 2, MINUS, 1], [3, -9, 2, -9, 1]),
        ([PLUS, 0, PLUS, 1, 2], [9, 0, 9, 1, 2]),
        ([PLUS, MINUS, 0, MINUS, PLUS], [1, -1, 0, -1, 1]),
        ([MINUS] * 5, [0] * 5),
    ],
)
def test_infinite_scores_rank_as_finite_ones_in_their_order(infinite, finite):
    correct = [True, False, True, True, False]
    for metric in (area_under_risk_coverage, excess_area_under_risk_coverage, fpr_at_tpr):
        assert metric(correct, infinite) == metric(correct, finite)
    curve = risk_coverage_curve(correct, infinite)
    np.testing.assert_array_equal(curve.risk, risk_coverage_curve(correct, finite).risk)
    assert curve.threshold.tolist() == sorted(infinite, reverse=True)
    np.testing.assert_equal(
        confidence_monotonicity(range(5), infinite), confidence_monotonicity(range(5), finite)
    )
    assert confidence_rises(finite[1:], finite[:-1]) == confidence_rises(
        infinite[1:], infinite[:-1]
    )


def test_an_infinite_score_is_no_probability_and_an_infinite_severity_no_severity():
    with pytest.raises(ValueError, match=r"must be probabilities in \[0, 1\], got -inf to 0.5"):
        expected_calibration_error([True, False], [0.5, MINUS])
    with pytest.raises(ValueError, match="severities contains infinity"):
        confidence_monotonicity([0, PLUS], [0.5, 0.4])


@pytest.mark.parametrize(
    "convert",
    [
        lambda values: torch.tensor(values, requires_grad=True),
        lambda values: torch.tensor(values, dtype=torch.bfloat16),
        lambda values: torch.tensor(values, dtype=torch.float16, requires_grad=True) * 1,
        lambda values: torch.tensor(values)[:, None],
        lambda values: np.array(values)[:, None],
    ],
)
def test_tensors_of_any_kind_and_columns_are_confidences(convert):
    correct, confidence = [True, False, True, True], [0.875, 0.5, 0.25, 0.5]  # exact in bfloat16
    column = convert(confidence)
    for metric in (area_under_risk_coverage, expected_calibration_error, fpr_at_tpr):
        expected = metric(correct, confidence)
        assert metric(correct, column) == expected
        assert metric(torch.tensor(correct), column) == expected
        assert metric(np.array(correct)[:, None], column) == expected
    assert confidence_rises(confidence, column) == 0


def naive_ece(correct, confidence, n_bins):
    """Bins (low, high], the first with 0."""
    total = 0.0
    for b in range(n_bins):
        low, high = b / n_bins, (b + 1) / n_bins
        inside = [i for i, c in enumerate(confidence) if low < c <= high or (b == 0 and c == 0)]
        if inside:
            gap = np.mean([correct[i] for i in inside]) - np.mean([confidence[i] for i in inside])
            total += len(inside) / len(confidence) * abs(gap)
    return total


@pytest.mark.parametrize("n_bins", [1, 2, 7, 10, 15, 100])
def test_calibration_error_is_the_naive_loop_with_confidences_on_edges(predictions, n_bins):
    assert expected_calibration_error(*predictions, n_bins=n_bins) == pytest.approx(
        naive_ece(*predictions, n_bins), abs=1e-12
    )


def test_calibration_error_counts_the_last_bin():
    assert expected_calibration_error([True, False], [1.0, 1.0]) == 0.5
    assert expected_calibration_error([True, False], [0.95, 0.95]) == pytest.approx(0.45)


def test_calibration_error_counts_zero_confidence():
    assert expected_calibration_error([True, True], [0.0, 0.0]) == 1


@pytest.mark.parametrize("k", range(1, 11))
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(k):
    curve = reliability_curve([True, True], [k / 10, k / 10 - 0.05], n_bins=10)
    assert curve.n_samples.tolist() == [2]


def test_uniform_bins_agree_with_scikit_learn_away_from_edges():
    rng = np.random.default_rng(4)
    confidence = rng.random(1000)
    correct = rng.random(1000) < confidence
    accuracy, mean_confidence = calibration_curve(correct, confidence, n_bins=12)
    ours = reliability_curve(correct, confidence, n_bins=12)
    np.testing.assert_allclose(ours.accuracy, accuracy)
    np.testing.assert_allclose(ours.confidence, mean_confidence)


@pytest.mark.parametrize(("n_samples", "n_bins"), [(90, 15), (100, 7), (13, 5), (3, 15), (100, 50)])
def test_quantile_bins_hold_equal_numbers(n_samples, n_bins):
    confidence = np.random.default_rng(5).permutation(n_samples) / n_samples
    counts = reliability_curve(
        np.ones(n_samples), confidence, n_bins=n_bins, strategy="quantile"
    ).n_samples
    assert counts.sum() == n_samples
    assert len(counts) == min(n_samples, n_bins)
    assert counts.max() - counts.min() <= 1


def test_quantile_calibration_error_is_the_naive_split_of_the_sorted_predictions():
    rng = np.random.default_rng(6)
    confidence = rng.random(150)
    correct = rng.random(150) < confidence**2
    parts = np.split(np.argsort(confidence), 15)
    gaps = [abs(correct[part].mean() - confidence[part].mean()) for part in parts]
    assert expected_calibration_error(correct, confidence, strategy="quantile") == pytest.approx(
        np.mean(gaps), abs=1e-12
    )


def test_tied_confidences_share_a_quantile_bin():
    confidence = [0.2] * 3 + [0.7] * 7
    curve = reliability_curve(np.ones(10), confidence, n_bins=5, strategy="quantile")
    assert curve.n_samples.tolist() == [3, 7]


def test_calibration_error_of_float32_is_that_of_float64(predictions):
    correct, confidence = predictions
    single = confidence.astype(np.float32)
    assert expected_calibration_error(correct, single, n_bins=8) == pytest.approx(
        expected_calibration_error(correct, confidence, n_bins=8), abs=1e-7
    )


def test_calibration_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"probabilities in \[0, 1\], got 0.5 to 1.2: pass predic"):
        expected_calibration_error([True, False], [0.5, 1.2])


def test_calibration_refuses_an_unknown_strategy():
    with pytest.raises(ValueError, match=r"one of \['quantile', 'uniform'\], got 'kmeans'"):
        reliability_curve([True], [0.5], strategy="kmeans")


def test_calibration_refuses_zero_bins():
    with pytest.raises(ValueError, match="n_bins == 0, must be >= 1"):
        reliability_curve([True], [0.5], n_bins=0)


@pytest.mark.parametrize(
    ("correct", "confidence", "message"),
    [
        ([True, False], [0.5], "inconsistent numbers of samples"),
        ([True, False], [0.5, np.nan], "confidence contains NaN"),
        ([True, False], [-np.inf, np.nan], "confidence contains NaN"),
        ([2, 3], [0.5, 0.6], r"correct must hold True or False .* got \[2 3\]: pass y_true == y_p"),
        ([], [], "confidence is empty: at least one value is needed"),
    ],
)
def test_outcomes_are_checked(correct, confidence, message):
    with pytest.raises(ValueError, match=message):
        area_under_risk_coverage(correct, confidence)


def test_fpr_at_tpr_takes_the_first_threshold_that_suffices_on_a_straight_piece():
    """scikit-learn's curve leaves out the points within: the next corner is (1, 1)."""
    assert fpr_at_tpr([1, 0] * 4, [4, 4, 3, 3, 2, 2, 1, 1], tpr=0.5) == 0.5
    assert fpr_at_tpr([1, 0] * 4, [4, 4, 3, 3, 2, 2, 1, 1], tpr=0.51) == 0.75
