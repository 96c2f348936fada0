"""ConformalRejector: the guarantees hold at their stated level, and say when they cannot."""

import joblib
import numpy as np
import pytest
from scipy.stats import binom
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_densconf import ConformalRejector, GaussianDensityClassifier, SoftmaxClassifier, io
from sklearn_densconf.displays import RejectionDisplay

ALPHA = 0.1


@pytest.fixture(scope="module")
def held_out():
    """Log-probabilities of a weak model on digits it never saw, and a classifier of those."""
    X, y = load_digits(return_X_y=True)
    X = X / 16
    model = LogisticRegression(C=0.1).fit(X[:500], y[:500])
    logits = model.predict_log_proba(X[500:])
    return logits, y[500:], SoftmaxClassifier().fit(logits, y[500:])


def _splits(logits, y, n=200):
    for seed in range(n):
        yield train_test_split(logits, y, test_size=0.5, stratify=y, random_state=seed)


def _own_confidence(model, Z):
    return model.predict_proba(Z).max(axis=1)


@pytest.mark.parametrize("score", ["confidence", _own_confidence])
def test_of_every_class_at_most_alpha_is_rejected(held_out, score):
    """Means over 200 splits: n = 65 of a class in a half, so 3 standard errors are below 0.012."""
    logits, y, model = held_out
    shares = []
    for Z, Z_new, labels, new in _splits(logits, y):
        rejector = ConformalRejector(model, alpha=ALPHA, criterion=score).fit(Z, labels)
        rejected = rejector.predict(Z_new) == -1
        shares.append([rejected[new == k].mean() for k in range(10)])
    assert (np.mean(shares, axis=0) <= ALPHA + 0.012).all()


@pytest.mark.parametrize("score", ["confidence", _own_confidence])
def test_without_classes_the_share_holds_for_all_together(held_out, score):
    """Of a score that does not depend on the label, the share is α itself."""
    logits, y, model = held_out
    shares = []
    for Z, Z_new, labels, _ in _splits(logits, y):
        rejector = ConformalRejector(model, alpha=ALPHA, criterion=score, per_class=False)
        shares.append((rejector.fit(Z, labels).predict(Z_new) == -1).mean())
    assert np.mean(shares) <= ALPHA + 0.005
    if callable(score):
        assert np.mean(shares) >= ALPHA - 0.005


@pytest.mark.parametrize("risk", [0.05, 0.1])
def test_the_risk_is_exceeded_no_more_often_than_delta(held_out, risk):
    """Of 200 splits; what is exceeded is measured on a half, with an error of its own."""
    logits, y, model = held_out
    n_exceeded, coverages = 0, []
    for Z, Z_new, labels, new in _splits(logits, y):
        rejector = ConformalRejector(model, risk=risk, delta=0.1).fit(Z, labels)
        label, accepted, _ = rejector.decide(Z_new)
        n_exceeded += (label != new)[accepted].mean() > risk
        coverages.append(accepted.mean())
    assert n_exceeded <= 20 + 3 * np.sqrt(200 * 0.1 * 0.9)
    assert np.mean(coverages) > 0.2


def test_the_p_value_is_the_naive_count(held_out):
    logits, y, model = held_out
    proba = model.predict_proba(logits)
    rejector = ConformalRejector(model).fit(logits[:600], y[:600])
    for z, p in zip(logits[600:630], rejector.p_value(logits[600:630]), strict=True):
        score = model.predict_proba(z[None])[0]
        naive = [
            (1 + sum(proba[i, k] <= score[k] for i in range(600) if y[i] == k))
            / (1 + (y[:600] == k).sum())
            for k in range(10)
        ]
        assert p == pytest.approx(max(naive))


def test_the_threshold_is_the_largest_coverage_that_the_binomial_test_admits(held_out):
    logits, y, model = held_out
    rejector = ConformalRejector(model, risk=0.05).fit(logits, y)
    score, correct = _own_confidence(model, logits), model.predict(logits) == y
    admitted = []
    fewest = next(m for m in range(1, 999) if binom.cdf(0, m, 0.05) <= 0.05 / 16)
    for m in np.linspace(fewest, len(y), 16).round().astype(int):
        kept = np.argsort(-score)[:m]
        if binom.cdf((~correct[kept]).sum(), m, 0.05) <= 0.05 / 16:
            admitted.append(m / len(y))
    assert rejector.coverage_ == pytest.approx(max(admitted))


def test_reasons_follow_the_estimators_own_word():
    X, y = load_iris(return_X_y=True)

    class Doubtful(GaussianDensityClassifier):
        def known_proba(self, X):
            return (np.abs(X).max(axis=1) < 100).astype(float)

    model = Doubtful(background=0.01).fit(X[::2], y[::2])
    rejector = ConformalRejector(model, alpha=0.2).fit(X[1::2], y[1::2])
    strange = np.r_[X[:50], np.full((1, 4), 1e4)]
    label, accepted, reason = rejector.decide(strange)
    np.testing.assert_array_equal(label, model.predict(strange))
    assert reason[-1] == "not known"
    assert not accepted[-1]
    assert set(reason[:50][~accepted[:50]]) <= {"not sure"}
    assert (reason[accepted] == "").all()


@pytest.mark.parametrize("score", ["score_samples", "known"])
def test_scores_of_pipelines_come_from_the_last_step(score):
    X, y = load_iris(return_X_y=True)
    pipe = make_pipeline(StandardScaler(), GaussianDensityClassifier()).fit(X[::2], y[::2])
    rejector = ConformalRejector(pipe, criterion=score)
    if score == "known":
        with pytest.raises(
            ValueError, match="criterion='known' needs an estimator with known_proba"
        ):
            rejector.fit(X[1::2], y[1::2])
        return
    rejector.fit(X[1::2], y[1::2])
    far = np.full((1, 4), 50.0)
    assert rejector.predict(far) == [-1]
    assert (rejector.predict(X) != -1).mean() > 0.85


def test_a_pipeline_of_the_classifier_alone_is_the_classifier():
    X, y = load_iris(return_X_y=True)
    model = GaussianDensityClassifier().fit(X[::2], y[::2])
    alone = ConformalRejector(model).fit(X[1::2], y[1::2])
    piped = ConformalRejector(make_pipeline(model)).fit(X[1::2], y[1::2])
    np.testing.assert_array_equal(piped.p_value(X), alone.p_value(X))


def test_strings_and_nan():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = LogisticRegression(C=0.01).fit(X[::2], names[::2])
    predicted = ConformalRejector(model, alpha=0.3).fit(X[1::2], names[1::2]).predict(X)
    assert set(predicted) <= {*names, "rejected"}
    assert "rejected" in predicted
    assert "virginica" in predicted  # not cut to the length of another
    numbers = LogisticRegression(C=0.01).fit(X[::2], y[::2])
    rejector = ConformalRejector(numbers, alpha=0.3, rejected_label=np.nan).fit(X[1::2], y[1::2])
    predicted = rejector.predict(X)
    assert predicted.dtype == float
    assert np.isnan(predicted).any()


def test_an_unfitted_estimator_is_fitted_to_one_half():
    X, y = load_digits(return_X_y=True)
    rejector = ConformalRejector(
        make_pipeline(StandardScaler(), LogisticRegression()), random_state=0
    )
    rejector.fit(X, y)
    assert not hasattr(rejector.estimator[-1], "coef_")
    assert sum(map(len, rejector.calibration_scores_)) == len(y) // 2 + len(y) % 2
    assert cross_val_score(clone(rejector), X, y, cv=2).mean() > 0.8


def test_a_pipeline_is_fitted_when_its_last_step_is():
    X, y = load_iris(return_X_y=True)
    scaler, pca = StandardScaler().fit(X), PCA().fit(X)
    rejector = ConformalRejector(make_pipeline(scaler, pca, LogisticRegression()), random_state=0)
    rejector.fit(X, y)
    assert sum(map(len, rejector.calibration_scores_)) == 75  # the other half fitted it
    assert not hasattr(rejector.estimator[-1], "coef_")
    fitted = make_pipeline(scaler, pca, LogisticRegression().fit(pca.transform(X), y))
    rejector = ConformalRejector(fitted).fit(X, y)
    assert rejector.estimator_ is fitted
    assert sum(map(len, rejector.calibration_scores_)) == 150


def test_a_bound_that_is_met_exactly_is_kept():
    """Five right answers at a risk of 1/2 have a probability of 1/32, which is δ over 16."""
    y = np.repeat([0, 1], [2, 3])
    model = LogisticRegression().fit(y[:, None] * 9.0, y)
    assert binom.cdf(0, 5, 0.5) == 0.5 / 16
    rejector = ConformalRejector(model, risk=0.5, delta=0.5).fit(y[:, None] * 9.0, y)
    assert rejector.coverage_ == 1


def test_a_p_value_of_alpha_itself_is_rejected():
    X, y = load_iris(return_X_y=True)
    model = GaussianDensityClassifier(background=0.01).fit(X, y)
    parameters = {"criterion": "score_samples", "alpha": 0.1, "per_class": False}
    rejector = ConformalRejector(model, **parameters).fit(X[:9], y[:9])
    far = np.full((1, 4), 1e4)
    assert rejector.p_value(far) == [1 / 10]
    assert rejector.predict(far) == [-1]


def test_a_fitted_one_is_used_as_it_is_and_survives_joblib(tmp_path, held_out):
    logits, y, model = held_out
    rejector = ConformalRejector(FrozenEstimator(model)).fit(logits, y)
    joblib.dump(rejector, tmp_path / "rejector")
    loaded = joblib.load(tmp_path / "rejector")
    np.testing.assert_array_equal(loaded.predict(logits), rejector.predict(logits))
    np.testing.assert_array_equal(rejector.predict_proba(logits), model.predict_proba(logits))


def test_too_few_samples_are_said(held_out):
    logits, y, model = held_out
    few = np.bincount(y)
    told = rf"got {few.min()} of class {few.argmin()}: .* on more, or set per_class=False$"
    with pytest.warns(UserWarning, match=f"alpha=0.005 needs 199 calibration samples, {told}"):
        rejector = ConformalRejector(model, alpha=0.005).fit(logits, y)
    assert (rejector.predict(logits) != -1).all()
    with pytest.warns(UserWarning, match=f"got {len(y)}: nothing is rejected. Calibrate on more$"):
        ConformalRejector(model, alpha=0.0005, per_class=False).fit(logits, y)
    with pytest.warns(UserWarning, match=r"no coverage keeps risk=0.001.*everything is rejected"):
        rejector = ConformalRejector(model, risk=0.001).fit(logits, y)
    assert (rejector.predict(logits) == -1).all()
    with pytest.raises(AttributeError, match="p_value needs risk=None"):
        rejector.p_value(logits)


def test_of_two_promises_one_is_kept_and_it_is_said_which(held_out):
    logits, y, model = held_out
    with pytest.warns(UserWarning, match=r"risk=0.2 is kept, but alpha=0.1 is not, .* at 0.05"):
        both = ConformalRejector(model, alpha=0.1, risk=0.2).fit(logits, y)
    assert both.coverage_ == ConformalRejector(model, risk=0.2).fit(logits, y).coverage_


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"alpha": 0.0}, r"alpha must be a float in \(0, 1\), got 0.0"),
        ({"risk": 1.0}, "risk must be"),
        ({"delta": 2}, "delta must be"),
        ({"criterion": "energy"}, "criterion must be one of"),
        ({"rejected_label": 3}, r"rejected_label must be of the type of the labels.*got 3"),
        ({"rejected_label": "no"}, "rejected_label must be of the type of the labels"),
        ({"criterion": lambda m, X: np.full(len(X), np.nan)}, "none NaN"),
        ({"criterion": lambda m, X: m.predict_proba(X)}, "one number per sample"),
    ],
)
def test_wrong_parameters_are_refused(held_out, parameters, message):
    logits, y, model = held_out
    with pytest.raises(ValueError, match=message):
        ConformalRejector(model, **parameters).fit(logits, y)


def test_labels_that_the_estimator_does_not_know_are_refused(held_out):
    logits, y, model = held_out
    with pytest.raises(ValueError, match=r"label\(s\) \[99\] in y do not exist"):
        ConformalRejector(model).fit(logits, np.where(y == 0, 99, y))
    for method in ("predict", "predict_proba", "decide", "p_value"):
        with pytest.raises(NotFittedError, match="This ConformalRejector instance is not fitted"):
            getattr(ConformalRejector(model), method)(logits)
    with pytest.raises(NotFittedError, match="This ConformalRejector instance is not fitted"):
        _ = ConformalRejector(model).n_features_in_


def test_minus_one_as_a_class_needs_another_label():
    X, y = load_iris(return_X_y=True)
    signs = np.where(y == 0, -1, 1)
    model = LogisticRegression().fit(X, signs)
    with pytest.raises(ValueError, match="got -1: set another"):
        ConformalRejector(model).fit(X, signs)
    assert set(ConformalRejector(model, rejected_label=0).fit(X, signs).predict(X)) <= {-1, 0, 1}


def test_the_display_draws_what_is_rejected(held_out):
    logits, y, model = held_out
    rejector = ConformalRejector(model).fit(logits[:650], y[:650])
    display = RejectionDisplay.from_estimator(rejector, logits[650:], y[650:], name="softmax")
    p = rejector.p_value(logits[650:])
    mean = np.mean([(p[y[650:] == k] <= display.alpha[-1]).mean() for k in range(10)])
    assert display.lines_[0].get_ydata()[-1] == pytest.approx(mean)
    assert display.ax_.get_xlabel().startswith("α")
    assert display.lines_[1].get_label() == "softmax: worst class"


def test_both_halves_have_the_same_share_of_every_class():
    X, y = load_iris(return_X_y=True)
    rejector = ConformalRejector(GaussianDensityClassifier(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(rejector.estimator_.class_count_, [25, 25, 25])


def test_a_class_of_one_sample_cannot_be_in_both_halves():
    X, y = load_iris(return_X_y=True)
    y = np.where(np.arange(150) == 140, 3, y)
    rejector = ConformalRejector(GaussianDensityClassifier(), per_class=False, random_state=0)
    np.testing.assert_array_equal(rejector.fit(X, y).classes_, [0, 1, 2, 3])


class OfNames(ClassifierMixin, BaseEstimator):
    """A density of samples that are arrays and lists by name."""

    def fit(self, X, y):
        self.density_ = GaussianDensityClassifier().fit(self._rows(X), y)
        self.classes_ = self.density_.classes_
        return self

    def predict_proba(self, X):
        return self.density_.predict_proba(self._rows(X))

    def predict(self, X):
        return self.density_.predict(self._rows(X))

    @staticmethod
    def _rows(X):
        return np.c_[X["array"], np.array(X["list"])]


def test_a_mapping_is_halved_as_an_array():
    X, y = load_iris(return_X_y=True)
    by_name = {"array": X[:, :2], "list": X[:, 2:].tolist()}
    found = ConformalRejector(OfNames(), random_state=0).fit(by_name, y)
    expected = ConformalRejector(GaussianDensityClassifier(), random_state=0).fit(X, y)
    np.testing.assert_array_equal(found.predict(by_name), expected.predict(X))
    assert found.coverage_ == expected.coverage_


@pytest.mark.parametrize(
    ("labels", "rejected", "dtype"),
    [
        (np.array([0, 1, 2], np.uint64) + np.uint64(2**63), None, object),
        (np.array([0, 1, 2]) + 2**53, np.nan, object),
        (np.array([0, 1, 2**53 + 1]), np.nan, object),
        (np.array([0, 1, 2**64 - 1], np.uint64), None, object),
        (np.array([0, 1, 2]) + 2**53, None, np.int64),
        (np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[ns]"), None, object),
        (np.array(["2020-01-01", "2020-01-02", "2020-01-03"], "M8[D]"), "?", object),
        (np.array([0, 1, 2]), np.nan, np.float64),
    ],
)
def test_rejection_keeps_labels_that_the_common_type_would_change(labels, rejected, dtype):
    X, y = load_iris(return_X_y=True)
    density = GaussianDensityClassifier().fit(X, labels[y])
    rejector = ConformalRejector(density, alpha=0.3, rejected_label=rejected)
    rejector.fit(X, labels[y])
    found, (label, accepted, _) = rejector.predict(X), rejector.decide(X)
    assert found.dtype == dtype
    assert set(found[accepted].tolist()) == (set(labels) if dtype is object else {*labels.tolist()})
    assert list(found[accepted]) == list(label[accepted])
    assert accepted.any()
    assert not accepted.all()
    assert not np.isin(found[~accepted].astype(object), labels.astype(object)).any()


@pytest.mark.parametrize("risk", [None, 0.2])
def test_a_criterion_that_leaves_samples_out_is_told(risk):
    X, y = load_iris(return_X_y=True)
    density = GaussianDensityClassifier().fit(X, y)
    rejector = ConformalRejector(density, risk=risk, criterion=lambda _, samples: samples[:5, 0])
    with pytest.raises(ValueError, match="criterion gave 5 numbers for 150 samples"):
        rejector.fit(X, y)


@pytest.mark.parametrize(
    ("fitted", "changed"),
    [
        ({}, {"criterion": "score_samples"}),
        ({"criterion": "score_samples"}, {"criterion": "confidence"}),
        ({}, {"per_class": False}),
        ({}, {"risk": 0.1}),
        ({"risk": 0.1}, {"risk": None}),
        ({"risk": 0.1}, {"risk": 0.05}),
        ({"risk": 0.1}, {"delta": 0.01}),
    ],
)
def test_what_was_not_calibrated_is_refused_where_it_is_set_later(fitted, changed, tmp_path):
    X, y = load_iris(return_X_y=True)
    density = GaussianDensityClassifier().fit(X, y)
    rejector = ConformalRejector(density, **fitted).fit(X, y)
    before = rejector.predict(X)
    again = io.load(io.save(rejector, tmp_path / "rejector.densconf"))
    for each in (rejector, again):
        each.set_params(**changed)
        with pytest.raises(ValueError, match=r"was set, but .* was calibrated: fit again"):
            each.decide(X)
        with pytest.raises(ValueError, match="was calibrated: fit again"):
            each.predict(X)
        each.set_params(**_defaults(fitted))
        np.testing.assert_array_equal(each.predict(X), before)


def _defaults(fitted):
    names = ("criterion", "per_class", "risk", "delta")
    return {name: getattr(ConformalRejector(None, **fitted), name) for name in names}


def test_alpha_may_be_set_after_the_calibration():
    X, y = load_iris(return_X_y=True)
    density = GaussianDensityClassifier().fit(X, y)
    later = ConformalRejector(density, alpha=0.1).fit(X, y).set_params(alpha=0.3)
    at_once = ConformalRejector(density, alpha=0.3).fit(X, y)
    np.testing.assert_array_equal(later.predict(X), at_once.predict(X))
