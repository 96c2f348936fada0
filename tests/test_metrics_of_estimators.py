"""Confidence against severity, the label and confidence of any estimator, and the scorers."""

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from versions import older

from sklearn_densconf import GaussianDensityClassifier
from sklearn_densconf.displays import RiskCoverageDisplay
from sklearn_densconf.metrics import (
    SCORERS,
    area_under_generalized_risk_coverage,
    area_under_risk_coverage,
    confidence_curve,
    confidence_monotonicity,
    confidence_rises,
    confidence_scorer,
    excess_area_under_risk_coverage,
    expected_calibration_error,
    predict_with_confidence,
)
from sklearn_densconf.metrics._predictions import _last_step


@pytest.fixture
def iris():
    return load_iris(return_X_y=True)


def test_monotonicity_is_kendalls_tau_b_and_the_number_of_rises():
    severities, confidences = [0, 3, 1, 2, 4], [0.9, 0.4, 0.9, 0.7, 0.5]
    result = confidence_monotonicity(severities, confidences)
    assert result.tau == pytest.approx(kendalltau(severities, confidences).statistic)
    assert result.n_rises == 1


def test_tau_b_is_the_naive_count_of_pairs():
    x, y = np.array([0.0, 1, 2, 3]), np.array([0.5, 0.5, 0.3, 0.4])
    signs = [np.sign(y[j] - y[i]) for i in range(4) for j in range(i + 1, 4)]
    tied = sum(sign == 0 for sign in signs)
    expected = sum(signs) / np.sqrt(6 * (6 - tied))
    assert confidence_monotonicity(x, y).tau == pytest.approx(expected)


def test_a_falling_curve_has_tau_minus_one_and_no_rise():
    assert confidence_monotonicity([0, 1, 2], [0.9, 0.5, 0.1]) == (pytest.approx(-1), 0)


def test_a_constant_curve_has_no_rise_and_no_tau():
    tau, n_rises = confidence_monotonicity([0, 1, 2], [0.5, 0.5, 0.5])
    assert np.isnan(tau)
    assert n_rises == 0


def test_two_severities_are_enough():
    tau, n_rises = confidence_monotonicity([0, 1], [0.9, 0.5])
    assert (tau, n_rises) == (pytest.approx(-1), 0)


@pytest.mark.parametrize("severities", [[0], [1, 1], [2, 0, 2]])
def test_monotonicity_needs_distinct_severities(severities):
    with pytest.raises(ValueError, match="at least two, all distinct, got"):
        confidence_monotonicity(severities, [0.5] * len(severities))


def test_only_strict_rises_count_as_failures_under_attack():
    clean = np.array([0.5, 0.5, 0.5, 1.0], dtype=np.float32)
    assert confidence_rises(clean, np.nextafter(clean, [1, 0, 0.5, 2], dtype=np.float32)) == 2


def test_rises_need_the_same_pictures():
    with pytest.raises(ValueError, match="inconsistent"):
        confidence_rises([0.5, 0.6], [0.5])


@pytest.mark.parametrize("wrap", [dict, list, iter])
def test_confidence_curve_is_the_naive_loop_in_the_order_given(iris, wrap):
    X, y = iris
    model = GaussianNB().fit(X, y)
    distorted = {s: (X + s, y) for s in (0.0, 2.0, 0.5)}
    curve = confidence_curve(model, wrap(distorted if wrap is dict else distorted.items()))
    assert curve.severity.tolist() == [0, 2, 0.5]
    for i, (shifted, _) in enumerate(distorted.values()):
        assert curve.confidence[i] == pytest.approx(model.predict_proba(shifted).max(axis=1).mean())
        assert curve.accuracy[i] == model.score(shifted, y)


def test_confidence_curve_needs_a_severity(iris):
    with pytest.raises(ValueError, match="no severity: pass at least the clean pictures"):
        confidence_curve(GaussianNB().fit(*iris), {})


class CountedScaler(StandardScaler):
    """A transformer that counts its passes."""

    def transform(self, X):
        self.n_passes_ = getattr(self, "n_passes_", 0) + 1
        return super().transform(X)


class LastLabel(ClassifierMixin, BaseEstimator):
    """Predicts the last class, whatever its probability: a label rule that is not arg max."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict(self, X):
        return np.repeat(self.classes_[-1], len(X))

    def predict_proba(self, X):
        return np.tile([0.5, 0.3, 0.2], (len(X), 1))


@pytest.mark.parametrize("labels", [[0, 1, 2], ["cat", "dog", "eel"], [7, -3, 10]])
def test_confidence_is_the_probability_of_the_predicted_label(iris, labels):
    X, y = iris
    model = GaussianNB().fit(X, np.array(labels)[y])
    predicted, confidence = predict_with_confidence(model, X)
    np.testing.assert_array_equal(predicted, model.predict(X))
    np.testing.assert_array_equal(confidence, model.predict_proba(X).max(axis=1))


def test_confidence_follows_the_label_where_it_is_not_the_most_probable(iris):
    X, y = iris
    labels, confidence = predict_with_confidence(LastLabel().fit(X, y), X)
    assert set(labels) == {2}
    assert set(confidence) == {0.2}


def test_the_transformers_of_a_pipeline_run_once(iris):
    X, y = iris
    pipe = make_pipeline(CountedScaler(), make_pipeline(CountedScaler(), GaussianNB())).fit(X, y)
    before = pipe[0].n_passes_, pipe[1][0].n_passes_
    labels, confidence = predict_with_confidence(pipe, X)
    assert (pipe[0].n_passes_, pipe[1][0].n_passes_) == (before[0] + 1, before[1] + 1)
    np.testing.assert_array_equal(labels, pipe.predict(X))
    np.testing.assert_array_equal(confidence, pipe.predict_proba(X).max(axis=1))


def test_a_pipeline_of_one_step_is_that_step(iris):
    X, y = iris
    pipe = make_pipeline(GaussianNB()).fit(X, y)
    np.testing.assert_array_equal(predict_with_confidence(pipe, X)[0], pipe.predict(X))


def test_a_search_is_its_best_estimator(iris):
    X, y = iris
    pipe = make_pipeline(CountedScaler(), GaussianNB())
    search = GridSearchCV(pipe, {"gaussiannb__var_smoothing": [1e-9, 1e-3]}, cv=3).fit(X, y)
    before = search.best_estimator_[0].n_passes_
    predict_with_confidence(search, X)
    assert search.best_estimator_[0].n_passes_ == before + 1


def test_a_calibrated_classifier_has_a_confidence(iris):
    X, y = iris
    model = CalibratedClassifierCV(LinearSVC(), cv=3).fit(X, y)
    labels, confidence = predict_with_confidence(model, X)
    np.testing.assert_array_equal(labels, model.predict(X))
    np.testing.assert_array_equal(confidence, model.predict_proba(X).max(axis=1))


@pytest.mark.parametrize("wrap", [lambda model: model, make_pipeline])
def test_an_estimator_without_probabilities_is_refused(iris, wrap):
    with pytest.raises(ValueError, match=r"needs an estimator with predict_proba, .*LinearSVC\(\)"):
        predict_with_confidence(wrap(LinearSVC()).fit(*iris), iris[0])


@pytest.mark.parametrize("name", SCORERS)
def test_every_scorer_chooses_in_a_grid_search_across_processes(iris, name):
    grid = {"C": [1e-4, 0.1]}
    search = GridSearchCV(LogisticRegression(), grid, scoring=SCORERS[name], cv=3, n_jobs=2)
    search.fit(*iris)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert search.best_index_ == np.argmax(scores)


def test_scorers_are_the_metrics_of_the_held_out_part(iris):
    X, y = iris
    model = LogisticRegression(C=0.1)
    result = cross_validate(model, X, y, cv=3, scoring=SCORERS, return_indices=True)
    train, test = result["indices"]["train"][0], result["indices"]["test"][0]
    fitted = model.fit(X[train], y[train])
    correct = fitted.predict(X[test]) == y[test]
    confidence = fitted.predict_proba(X[test]).max(axis=1)
    expected = {
        "error_detection_auroc": roc_auc_score(correct, confidence),
        "neg_area_under_generalized_risk_coverage": -area_under_generalized_risk_coverage(
            correct, confidence
        ),
        "neg_area_under_risk_coverage": -area_under_risk_coverage(correct, confidence),
        "neg_excess_area_under_risk_coverage": -excess_area_under_risk_coverage(
            correct, confidence
        ),
        "neg_expected_calibration_error": -expected_calibration_error(correct, confidence),
    }
    for name, value in expected.items():
        assert result[f"test_{name}"][0] == pytest.approx(value, abs=1e-12)


def test_all_scores_come_from_one_pass(iris):
    X, y = iris
    pipe = make_pipeline(CountedScaler(), LogisticRegression(C=0.1)).fit(X, y)
    before = pipe[0].n_passes_
    scores = confidence_scorer(pipe, X, y)
    assert pipe[0].n_passes_ == before + 1
    assert scores["accuracy"] == pipe.score(X, y)
    assert scores["mean_confidence"] == pytest.approx(pipe.predict_proba(X).max(axis=1).mean())
    for name, scorer in SCORERS.items():
        assert scores[name] == scorer(pipe, X, y)


def test_the_scorer_of_all_works_in_cross_validate_and_in_a_grid_search(iris):
    result = cross_validate(LogisticRegression(C=0.1), *iris, cv=3, scoring=confidence_scorer)
    assert {f"test_{name}" for name in SCORERS} < set(result)
    search = GridSearchCV(
        LogisticRegression(),
        {"C": [1e-4, 0.1]},
        scoring=confidence_scorer,
        refit="neg_area_under_risk_coverage",
        cv=3,
    ).fit(*iris)
    assert search.best_params_ == {"C": 0.1}


def fitted_to(labels):
    X, y = load_iris(return_X_y=True)
    return X, GaussianNB().fit(X, np.array(labels)[y]), np.array(labels)[y]


@pytest.mark.parametrize(
    ("labels", "convert"),
    [
        ([0, 1, 2], lambda y: y.astype(str)),
        (["0", "1", "2"], lambda y: y.astype(int)),
        (["1", "3", "2"], lambda y: y.astype(float)),
        ([0, 1, 2], lambda y: y.astype(str).astype(object)),
    ],
)
def test_labels_of_another_type_are_refused_as_by_accuracy_score(labels, convert):
    X, model, y = fitted_to(labels)
    for score in (confidence_scorer, *SCORERS.values()):
        with pytest.raises(ValueError, match=r"Mix of label input types \(string and number\)"):
            score(model, X, convert(y))
    if older("scikit-learn", 1, 9):  # it refused none, and found every prediction wrong
        assert accuracy_score(convert(y), model.predict(X)) == 0
        return
    with pytest.raises(ValueError, match="Mix of label input types"):
        accuracy_score(convert(y), model.predict(X))


@pytest.mark.parametrize(
    ("labels", "convert"),
    [
        ([0, 1, 2], lambda y: y.astype(float)),
        ([0, 1, 2], lambda y: y[:, None]),
        ([0, 1, 2], torch.from_numpy),
        (["0", "1", "2"], lambda y: y.astype(object)),
        (["0", "1", "2"], list),
    ],
)
def test_equal_labels_in_another_container_score_the_same(labels, convert):
    X, model, y = fitted_to(labels)
    expected = confidence_scorer(model, X, y)
    assert confidence_scorer(model, X, convert(y)) == expected
    assert expected["accuracy"] == model.score(X, y)


class Relabelled(GaussianNB):
    """Predicts what its classes do not have."""

    def predict(self, X):
        return np.where(X[:, 0] > 6, -1, super().predict(X))


class Unsorted(GaussianNB):
    """Columns in another order than that of the sorted labels."""

    def predict_proba(self, X):
        return super().predict_proba(X)[:, ::-1]

    def fit(self, X, y):
        super().fit(X, y)
        self.classes_ = self.classes_[::-1]
        return self

    def predict(self, X):
        return self.classes_[self.predict_proba(X).argmax(axis=1)]


def test_a_predicted_label_without_probability_is_refused(iris):
    message = r"predict returned labels \[-1\] that are not in classes_ \[0 1 2\]"
    with pytest.raises(ValueError, match=message):
        predict_with_confidence(Relabelled().fit(*iris), iris[0])


def test_classes_in_any_order_keep_their_columns(iris):
    X, y = iris
    model = Unsorted().fit(X, np.array(["b", "c", "a"])[y])
    np.testing.assert_allclose(
        predict_with_confidence(model, X)[1], model.predict_proba(X).max(axis=1)
    )


def test_a_candidate_without_errors_is_chosen_by_aurc_and_ranked_last_by_auroc(iris):
    X, y = iris[0][:100], iris[1][:100]
    X = X + np.random.default_rng(0).normal(scale=0.5, size=X.shape)
    chosen_by = "neg_area_under_risk_coverage"
    candidates = {"C": [1e-4, 1.0]}  # the second one makes no error on some fold
    search = GridSearchCV(LogisticRegression(), candidates, scoring=SCORERS, refit=chosen_by, cv=3)
    with (
        pytest.warns(UndefinedMetricWarning, match="Only one class is present"),
        pytest.warns(UserWarning, match="test scores are non-finite"),
    ):
        search.fit(X, y)
    assert search.best_params_ == {"C": 1.0}
    assert np.isnan(search.cv_results_["mean_test_error_detection_auroc"][1])
    assert search.cv_results_["rank_test_error_detection_auroc"].tolist() == [1, 2]
    perfect = ([True] * 3, [0.9, 0.8, 0.7])
    assert area_under_risk_coverage(*perfect) == 0


def test_scorers_refuse_labels_of_another_length(iris):
    X, y = iris
    with pytest.raises(ValueError, match="inconsistent"):
        confidence_scorer(GaussianNB().fit(X, y), X, y[:-1])


def test_scorers_work_under_metadata_routing(iris):
    with config_context(enable_metadata_routing=True):
        result = cross_validate(LogisticRegression(C=0.1), *iris, cv=3, scoring=SCORERS)
    assert all(np.isfinite(result[f"test_{name}"]).all() for name in SCORERS)


def test_what_ranks_goes_by_log_odds_where_probabilities_round_to_one():
    """Two classes far apart in many dimensions: most posteriors are 1 exactly."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2
    X = rng.normal(size=(400, 60)) * np.linspace(0.5, 3, 400)[:, None] + 1.2 * y[:, None]
    model = GaussianDensityClassifier("tied_diag", temperature=1.0).fit(X[:200], y[:200])
    Z, labels = X[200:] * 6, 1 - y[200:]
    labels[:150] = model.predict(Z)[:150]
    correct = model.predict(Z) == labels
    odds = model.confidence(Z, log_odds=True)
    assert (model.predict_proba(Z).max(axis=1) == 1).mean() > 0.3
    scores = confidence_scorer(model, Z, labels)
    assert scores["error_detection_auroc"] == pytest.approx(roc_auc_score(correct, odds))
    aurc = area_under_risk_coverage(correct, odds)
    assert scores["neg_area_under_risk_coverage"] == pytest.approx(-aurc)
    assert SCORERS["neg_area_under_risk_coverage"](model, Z, labels) == pytest.approx(-aurc)
    assert aurc != area_under_risk_coverage(correct, model.predict_proba(Z).max(axis=1))
    display = RiskCoverageDisplay.from_estimator(make_pipeline(model), Z, labels)
    assert display.area == pytest.approx(aurc)


def test_the_last_step_is_reached_by_all_steps_before_it():
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), PCA(2), GaussianDensityClassifier()).fit(X, y)
    last, Z = _last_step(pipe, X)
    assert last is pipe[-1]
    np.testing.assert_array_equal(Z, pipe[:-1].transform(X))
