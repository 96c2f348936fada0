"""scikit-learn's own checks, for every classifier, covariance type and label rule.

Where a classifier needs one activation per class it stands behind a small network: the checks vary
the numbers of features and classes.
"""

import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from sklearn_densconf import (
    ConformalRejector,
    DensityClassifier,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)

OF_PIPELINE = "Pipeline changes the `steps` parameter, which it shouldn't."  # scikit-learn's words
OF_MIXTURE = "GaussianMixture.fit takes no sample_weight."
OF_REJECTED = "What is rejected has the label -1, which is no class; these checks have it as one."
EXPECTED = {
    LogisticRegression: {
        "check_classifiers_classes": OF_REJECTED,
        "check_classifiers_train": OF_REJECTED,
    },
    Pipeline: {
        "check_estimators_overwrite_params": OF_PIPELINE,
        "check_dont_overwrite_parameters": OF_PIPELINE,
    },
    GaussianMixture: {
        "check_sample_weight_equivalence_on_dense_data": OF_MIXTURE,
        "check_sample_weights_not_overwritten": OF_MIXTURE,
    },
}


class Network(TransformerMixin, BaseEstimator):
    """One activation per class: logits, or 1 for the predicted class and 0 for the others.

    With the latter both label rules agree, as the checks ask of predict and predict_proba. With
    ``features`` these come first, as open-set classification takes them.
    """

    def __init__(self, decided=False, features=False):
        self.decided = decided
        self.features = features

    def fit(self, X, y):
        X, y = validate_data(self, X, y)
        self.model_ = LogisticRegression().fit(X, y)
        return self

    def transform(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        logits = self.model_.decision_function(X)
        logits = np.c_[-logits, logits] if logits.ndim == 1 else logits
        if self.decided:
            return np.eye(logits.shape[1])[logits.argmax(axis=1)]
        return np.c_[X, logits] if self.features else logits

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags


def _expected_failures(estimator):
    return EXPECTED.get(type(getattr(estimator, "estimator", estimator)), {})


@parametrize_with_checks(
    [
        GaussianDensityClassifier("diag"),
        GaussianDensityClassifier("spherical"),
        GaussianDensityClassifier("tied_diag"),
        GaussianDensityClassifier("tied"),
        GaussianDensityClassifier("full"),
        GaussianDensityClassifier("diag", temperature=1.0, background=0.1, priors="uniform"),
        GaussianDensityClassifier("tied", temperature=2.0, covariance_scale="n_features"),
        # scikit-learn refuses the default initialisation under array API dispatch
        DensityClassifier(GaussianMixture(init_params="random_from_data", random_state=0)),
        DensityClassifier(KernelDensity()),
        make_pipeline(Network(), SoftmaxClassifier()),
        make_pipeline(Network(features=True), OpenSetClassifier()),
        make_pipeline(Network(features=True), OpenSetClassifier(discount=0.1)),
        ConformalRejector(LogisticRegression(), alpha=0.2, per_class=False, random_state=0),
        *(
            make_pipeline(
                Network(decided=True), GaussianDensityClassifier(of_type, predict_from="features")
            )
            for of_type in ("diag", "spherical", "tied_diag", "tied", "full")
        ),
        make_pipeline(
            Network(decided=True), DensityClassifier(KernelDensity(), predict_from="features")
        ),
    ],
    expected_failed_checks=_expected_failures,
)
def test_scikit_learns_check(estimator, check):
    where = str(getattr(check, "keywords", {}))  # a name, or within a tuple since 1.9
    if "cuda" in where and not torch.cuda.is_available():  # scikit-learn asks the build alone
        pytest.skip("no GPU")
    check(estimator)


def test_the_network_of_these_checks_gives_one_activation_a_class():
    X, y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
    for n_classes in (2, 3):
        kept = y < n_classes
        pipe = make_pipeline(Network(), SoftmaxClassifier()).fit(X[kept], y[kept])
        assert pipe[-1].n_features_in_ == n_classes
    with pytest.raises(ValueError, match="n_features=5 and n_classes=3"):
        SoftmaxClassifier().fit(X, y)
