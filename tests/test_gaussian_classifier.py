"""GaussianDensityClassifier: equal to its relatives, to the formula, and to the theory."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import chi2, multivariate_normal
from sklearn.base import clone
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.datasets import load_digits, load_iris, make_classification
from sklearn.discriminant_analysis import (
    LinearDiscriminantAnalysis,
    QuadraticDiscriminantAnalysis,
)
from sklearn.exceptions import NotFittedError
from sklearn.naive_bayes import GaussianNB
from versions import older

from sklearn_densconf import GaussianDensityClassifier

TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]
PLAIN = {"temperature": 1.0, "var_smoothing": 0.0}
SOLVERS_OF_LDA = ["lsqr", "eigen", "svd"]


@pytest.fixture
def data():
    return make_classification(
        200,
        6,
        n_informative=5,
        n_redundant=0,
        n_classes=3,
        class_sep=2,
        random_state=0,
        weights=[0.5, 0.3],
    )


def _log_posteriors(X, means, covariances, priors):
    """Return the log posteriors of Gaussians, by scipy."""
    normals = map(multivariate_normal, means, covariances)
    joint = np.stack([normal.logpdf(X) for normal in normals], axis=1) + np.log(priors)
    return joint - logsumexp(joint, axis=1, keepdims=True)


def test_diag_with_temperature_1_is_naive_bayes(data):
    X, y = data
    for smoothing in (0.0, 1e-9, 0.3):
        ours = GaussianDensityClassifier(temperature=1.0, var_smoothing=smoothing).fit(X, y)
        theirs = GaussianNB(var_smoothing=smoothing).fit(X, y)
        np.testing.assert_allclose(
            ours.predict_joint_log_proba(X), theirs.predict_joint_log_proba(X), atol=1e-9
        )
        np.testing.assert_allclose(
            ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-9
        )
        np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def test_tied_with_temperature_1_is_linear_discriminant_analysis(data):
    X, y = data
    ours = GaussianDensityClassifier("tied", **PLAIN).fit(X, y)
    maximum_likelihood = ["lsqr", "eigen"] if older("scikit-learn", 1, 9, 1) else SOLVERS_OF_LDA
    for solver in maximum_likelihood:
        theirs = LinearDiscriminantAnalysis(solver=solver).fit(X, y)
        np.testing.assert_allclose(
            ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-9
        )


@pytest.mark.parametrize("solver", SOLVERS_OF_LDA)
def test_the_covariance_of_tied_is_that_of_lda_but_for_its_divisor(data, solver):
    X, y = data
    ours = GaussianDensityClassifier("tied", **PLAIN).fit(X, y)
    theirs = LinearDiscriminantAnalysis(solver=solver, store_covariance=True).fit(X, y)
    np.testing.assert_allclose(theirs.covariance_, ours.covariances_, rtol=1e-9, atol=1e-9)
    n, k = len(y), len(theirs.classes_)
    # what "svd" decided by before 1.9.1, whatever its `covariance_` said
    factor = n / (n - k) if solver == "svd" and older("scikit-learn", 1, 9, 1) else 1.0
    decided = _log_posteriors(X, ours.means_, [ours.covariances_ * factor] * k, theirs.priors_)
    np.testing.assert_allclose(theirs.predict_log_proba(X), decided, atol=1e-9)


def test_tied_shrunk_is_shrunk_linear_discriminant_analysis(data):
    X, y = data
    X = X - X.mean(axis=0)
    # LDA shrinks each class's covariance before it averages them, to the class's own mean variance
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.4).fit(X, y)
    ours = GaussianDensityClassifier("tied", shrinkage=0.4, **PLAIN).fit(X, y)
    np.testing.assert_allclose(ours.covariances_, theirs.covariance_, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-9)


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="1.7 has no solver but svd")
def test_full_with_temperature_1_is_quadratic_discriminant_analysis(data):
    X, y = data
    ours = GaussianDensityClassifier("full", **PLAIN).fit(X, y)
    maximum_likelihood = ["eigen"] if older("scikit-learn", 1, 9, 1) else ["eigen", "svd"]
    for solver in maximum_likelihood:
        theirs = QuadraticDiscriminantAnalysis(solver=solver).fit(X, y)
        np.testing.assert_allclose(
            ours.predict_log_proba(X), theirs.predict_log_proba(X), atol=1e-9
        )
        np.testing.assert_allclose(
            ours.predict_joint_log_proba(X) + X.shape[1] / 2 * np.log(2 * np.pi),
            theirs.decision_function(X),
            atol=1e-9,
        )


def test_covariances_are_those_of_quadratic_discriminant_analysis_but_for_its_divisor(data):
    X, y = data
    theirs = QuadraticDiscriminantAnalysis(store_covariance=True).fit(X, y)
    ours = GaussianDensityClassifier("full", **PLAIN).fit(X, y)
    n = np.unique(y, return_counts=True)[1][:, None, None]
    factor = n / (n - 1) if older("scikit-learn", 1, 9, 1) else 1.0
    np.testing.assert_allclose(theirs.covariance_, ours.covariances_ * factor, rtol=1e-9, atol=1e-9)
    decided = _log_posteriors(X, ours.means_, ours.covariances_ * factor, theirs.priors_)
    np.testing.assert_allclose(theirs.predict_log_proba(X), decided, atol=1e-9)


def _matrices(density, d):
    k = len(density.classes_)
    value = density.covariances_
    return {
        "diag": lambda: [np.diag(variance) for variance in value],
        "spherical": lambda: [variance * np.eye(d) for variance in value],
        "tied_diag": lambda: [np.diag(value)] * k,
        "tied": lambda: [value] * k,
        "full": lambda: list(value),
    }[density.covariance_type]()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    ("temperature", "scale"),
    [("n_features", 1.0), (1.0, "n_features"), (1.0, 1.0), (3.5, 0.25), ("n_features", 2)],
)
def test_the_posterior_is_the_formula(covariance_type, temperature, scale, data):
    """(1.0, "n_features") is the paper taken literally: covariance d Σ."""
    X, y = data
    d = X.shape[1]
    density = GaussianDensityClassifier(
        covariance_type, temperature=temperature, covariance_scale=scale, priors=[0.2, 0.3, 0.5]
    ).fit(X, y)
    T = d if temperature == "n_features" else temperature
    s = d if scale == "n_features" else scale
    log_q = [
        multivariate_normal(mean, s * matrix).logpdf(X) / T
        for mean, matrix in zip(density.means_, _matrices(density, d), strict=True)
    ]
    joint = np.transpose(log_q) + np.log([0.2, 0.3, 0.5])
    expected = joint - logsumexp(joint, axis=1, keepdims=True)
    np.testing.assert_allclose(density.predict_joint_log_proba(X), joint, atol=1e-10)
    np.testing.assert_allclose(density.predict_log_proba(X), expected, atol=1e-10)
    np.testing.assert_allclose(density.predict_proba(X), np.exp(expected), atol=1e-10)


def test_tempering_equals_the_literal_paper_where_log_determinants_are_equal(data):
    X, y = data
    tempered = GaussianDensityClassifier("tied_diag").fit(X, y)
    literal = GaussianDensityClassifier(
        "tied_diag", temperature=1.0, covariance_scale="n_features"
    ).fit(X, y)
    np.testing.assert_allclose(tempered.predict_proba(X), literal.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_score_samples_is_the_evidence_in_nats_without_temper_scale_and_background(
    covariance_type, data
):
    X, y = data
    plain = GaussianDensityClassifier(covariance_type, temperature=1.0).fit(X, y)
    evidence = logsumexp(plain.predict_joint_log_proba(X), axis=1)
    other = GaussianDensityClassifier(
        covariance_type, covariance_scale="n_features", background=0.2
    ).fit(X, y)
    np.testing.assert_allclose(other.score_samples(X), evidence, atol=1e-10)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_mahalanobis_and_typicality_are_scipys(covariance_type, data):
    X, y = data
    d = X.shape[1]
    density = GaussianDensityClassifier(covariance_type, covariance_scale=9.0).fit(X, y)
    expected = np.transpose(
        [
            np.einsum("ni,ij,nj->n", X - mean, np.linalg.inv(matrix), X - mean)
            for mean, matrix in zip(density.means_, _matrices(density, d), strict=True)
        ]
    )
    np.testing.assert_allclose(density.mahalanobis(X), expected, rtol=1e-9, atol=1e-9)
    rows = np.arange(len(X))
    tail = chi2.sf(expected, d)
    predicted = density.predict_proba(X).argmax(axis=1)
    np.testing.assert_allclose(density.typicality(X), tail[rows, predicted], atol=1e-9)
    np.testing.assert_allclose(density.typicality(X, y), tail[rows, y], atol=1e-9)


def test_typicality_of_a_class_is_uniform_on_its_own_samples():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(4000, 8)), np.arange(4000) % 2
    typicality = GaussianDensityClassifier("full").fit(X, y).typicality(X, y)
    # Kolmogorov-Smirnov distance: its 99.9 % quantile is 1.95 / sqrt(n)
    rank = np.arange(1, 4001) / 4000
    assert np.abs(np.sort(typicality) - rank).max() < 1.95 / np.sqrt(4000)


def test_learned_attributes(data):
    X, y = data
    density = GaussianDensityClassifier().fit(X, y)
    np.testing.assert_array_equal(density.classes_, [0, 1, 2])
    np.testing.assert_array_equal(density.class_count_, np.bincount(y))
    np.testing.assert_allclose(density.class_prior_, np.bincount(y) / len(y))
    np.testing.assert_allclose(density.means_, [X[y == k].mean(axis=0) for k in range(3)])
    assert density.n_features_in_ == 6
    shapes = {
        "diag": (3, 6),
        "spherical": (3,),
        "tied_diag": (6,),
        "tied": (6, 6),
        "full": (3, 6, 6),
    }
    for covariance_type, shape in shapes.items():
        assert GaussianDensityClassifier(covariance_type).fit(X, y).covariances_.shape == shape


def test_priors(data):
    X, y = data
    weight = np.linspace(1, 3, len(y))
    frequent = GaussianDensityClassifier().fit(X, y, weight)
    np.testing.assert_allclose(frequent.class_prior_, np.bincount(y, weight) / weight.sum())
    uniform = GaussianDensityClassifier(priors="uniform").fit(X, y)
    np.testing.assert_allclose(uniform.class_prior_, np.full(3, 1 / 3))
    impossible = GaussianDensityClassifier(priors=[0.0, 0.5, 0.5]).fit(X, y)
    assert (impossible.predict_proba(X)[:, 0] == 0).all()
    assert (impossible.predict_log_proba(X)[:, 0] == -np.inf).all()
    assert not np.isnan(impossible.predict_proba(X)).any()


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("shrinkage", [None, "auto"])
def test_an_integer_weight_counts_as_copies(covariance_type, shrinkage, data):
    X, y = data
    copies = np.random.default_rng(0).integers(0, 3, len(y))
    density = GaussianDensityClassifier(covariance_type, shrinkage=shrinkage)
    weighed = clone(density).fit(X, y, copies)
    repeated = clone(density).fit(X.repeat(copies, 0), y.repeat(copies))
    np.testing.assert_allclose(
        weighed.predict_joint_log_proba(X), repeated.predict_joint_log_proba(X), rtol=1e-9
    )
    doubled = GaussianDensityClassifier(covariance_type).fit(X, y, 2.0)
    once = GaussianDensityClassifier(covariance_type).fit(X, y)
    np.testing.assert_allclose(doubled.predict_proba(X), once.predict_proba(X), atol=1e-12)


def test_auto_shrinkage_is_ledoit_and_wolfs(data):
    X, y = data
    full = GaussianDensityClassifier("full", shrinkage="auto").fit(X, y)
    of_class = [ledoit_wolf_shrinkage(X[y == k]) for k in range(3)]
    np.testing.assert_allclose(full.shrinkage_, of_class)
    given = GaussianDensityClassifier("full", shrinkage=of_class[0]).fit(X, y)
    np.testing.assert_allclose(full.covariances_[0], given.covariances_[0])
    tied = GaussianDensityClassifier("tied", shrinkage="auto").fit(X, y)
    assert 0 < tied.shrinkage_ < 1
    same = GaussianDensityClassifier("tied", shrinkage=float(tied.shrinkage_)).fit(X, y)
    np.testing.assert_allclose(tied.predict_proba(X), same.predict_proba(X))
    plain = GaussianDensityClassifier("diag").fit(X, y)
    ignored = GaussianDensityClassifier("diag", shrinkage="auto").fit(X, y)
    np.testing.assert_array_equal(ignored.covariances_, plain.covariances_)


def test_shrinkage_keeps_distances_steady_where_a_class_has_fewer_samples_than_features():
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]  # 20 a class in 64 dimensions
    moved = X + 0.01 * np.random.default_rng(0).normal(size=X.shape)
    rows = np.arange(len(y))

    def growth(density):
        near, away = (density.fit(X, y).mahalanobis(of)[rows, y] for of in (X, moved))
        return np.median(away / near)

    assert growth(GaussianDensityClassifier("full")) > 100
    assert growth(GaussianDensityClassifier("full", shrinkage="auto")) < 1.01


def test_predicting_from_features_labels_by_the_largest_activation():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 300)
    Z = np.eye(3)[y] + rng.normal(size=(300, 3))
    labels = np.array(["c", "a", "b"])[y]
    Z = Z[:, [1, 2, 0]]  # in the order of the sorted labels a, b, c
    density = GaussianDensityClassifier(predict_from="features").fit(Z, labels)
    predicted = np.array(["a", "b", "c"])[Z.argmax(axis=1)]
    np.testing.assert_array_equal(density.predict(Z), predicted)
    posterior = GaussianDensityClassifier().fit(Z, labels)
    assert (posterior.predict(Z) != predicted).any()
    np.testing.assert_array_equal(density.predict_proba(Z), posterior.predict_proba(Z))
    np.testing.assert_array_equal(density.confidence(Z), posterior.confidence(Z, predicted))


def test_fit_forgets_the_former_fit(data):
    X, y = data
    density = GaussianDensityClassifier("tied", shrinkage=0.1).fit(X[:, :3], y > 0)
    density.set_params(covariance_type="full").fit(X, y)
    fresh = GaussianDensityClassifier("full", shrinkage=0.1).fit(X, y)
    np.testing.assert_array_equal(density.predict_proba(X), fresh.predict_proba(X))
    np.testing.assert_array_equal(density.fit(X, y).predict_proba(X), fresh.predict_proba(X))
    np.testing.assert_array_equal(clone(density).fit(X, y).predict_proba(X), fresh.predict_proba(X))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"temperature": 1.0}),
        ({}, {"covariance_scale": "n_features", "temperature": 1.0}),
        ({}, {"covariance_type": "tied_diag"}),
        ({}, {"var_smoothing": 0.1}),
        ({}, {"priors": "uniform"}),
        ({}, {"background": 0.1}),
        ({"background": 0.1}, {"background": 0.3}),
        ({"background": 0.1}, {"background": 0.0}),
        ({"covariance_type": "full", "shrinkage": 0.5}, {"shrinkage": 0.1}),
    ],
)
def test_a_parameter_set_on_a_fitted_classifier_acts_at_once(before, after, data):
    X, y = data
    density = GaussianDensityClassifier(**before).fit(X, y)
    density.predict_proba(X)
    density.set_params(**after)
    fresh = GaussianDensityClassifier(**(before | after)).fit(X, y)
    np.testing.assert_array_equal(density.predict_proba(X), fresh.predict_proba(X))
    np.testing.assert_array_equal(density.covariances_, fresh.covariances_)
    np.testing.assert_array_equal(density.class_prior_, fresh.class_prior_)


def test_long_input_is_evaluated_in_chunks_with_the_same_result(monkeypatch):
    X, y = load_iris(return_X_y=True)
    density = GaussianDensityClassifier(background=0.1).fit(X, y)
    methods = (
        "predict",
        "predict_proba",
        "predict_log_proba",
        "predict_joint_log_proba",
        "score_samples",
        "mahalanobis",
        "typicality",
        "confidence",
    )
    whole = {name: getattr(density, name)(X) for name in methods}
    of_labels = density.confidence(X, y)
    monkeypatch.setattr("sklearn_densconf._array.CHUNK_BYTES", 1)
    for name in methods:
        np.testing.assert_allclose(getattr(density, name)(X), whole[name], rtol=1e-12)
    np.testing.assert_allclose(density.confidence(X, y), of_labels, rtol=1e-12)


@pytest.mark.parametrize("name", ["means_", "covariances_"])
def test_what_is_learned_is_asked_for_after_fit(name):
    with pytest.raises(NotFittedError, match="GaussianDensityClassifier instance is not fitted"):
        getattr(GaussianDensityClassifier(), name)
