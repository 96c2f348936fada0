"""Laws of the parts of OpenSetClassifier: budgets, weights, and where its arrays are."""

import numpy as np
import pytest
import sklearn
import torch
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from sklearn_densconf import OpenSetClassifier
from sklearn_densconf.openset._discount import within_budget
from sklearn_densconf.openset._network_posterior import fitted_posterior

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("level", [-1e5, -1e3, 0.0, 1e3, 1e5])
@pytest.mark.parametrize("budget", [1e-3, 0.05, 0.5])
def test_the_budget_is_kept_wherever_the_scores_lie(level, budget):
    log_odds = level + RNG.normal(size=(500, 2))
    t = within_budget(log_odds, None, budget)
    unknown = 1 - expit(log_odds + t).prod(axis=1)
    np.testing.assert_allclose(unknown.mean(), budget, rtol=1e-4)


def test_a_posterior_that_takes_weights_gets_them():
    logits, y = RNG.normal(size=(90, 3)), np.arange(90) % 3
    weight = RNG.integers(1, 4, 90)
    weighted = fitted_posterior(LogisticRegression(), logits, y, weight)
    repeated = LogisticRegression().fit(logits.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-3, atol=1e-4)
    plain = fitted_posterior(LogisticRegression(), logits, y)
    assert np.abs(plain.coef_ - repeated.coef_).max() > 0.01


@pytest.mark.parametrize("method", ["predict", "predict_proba", "confidence", "partial_fit"])
def test_samples_elsewhere_than_those_of_fit_are_refused(method):
    X, y = RNG.normal(size=(90, 7)), np.arange(90) % 3
    model = OpenSetClassifier()
    with sklearn.config_context(array_api_dispatch=True):
        model.fit(torch.from_numpy(X), torch.from_numpy(y))
        arguments = (X, y) if method == "partial_fit" else (X,)
        message = rf"passed to OpenSetClassifier\.{method}\(\) must use the same namespace"
        with pytest.raises(ValueError, match=message):
            getattr(model, method)(*arguments)


@pytest.mark.parametrize("priors", [[0.5, 0.5], [2, -1, 0], [0.5, 0.5, 0.5]])
def test_wrong_priors_are_refused_by_the_first_batch(priors):
    X, y = RNG.normal(size=(90, 7)), np.arange(90) % 3
    with pytest.raises(ValueError, match=r"[Pp]riors (must|should)"):
        OpenSetClassifier(priors=priors).partial_fit(X, y, classes=range(3))
