"""Random fits over all that is admitted, against an oracle in 50 digits and more.

``python -m tests.trust numbers`` tries as many as one likes.
"""

import numpy as np
import oracle
import pytest
from mpmath import mp
from scipy.stats import multivariate_normal

from tests.trust import numbers

N_FITS = 300


def test_random_fits_are_right_to_the_stated_bound_or_refused():
    row = numbers.run(N_FITS, seed=0)
    assert row["examples"] == []
    assert row["tried"] == N_FITS
    assert row["refused"] < N_FITS / 8
    assert row["vague"] < row["values"] / 100
    assert row["values"] > 20 * N_FITS


@pytest.mark.parametrize("kind", ["nan", "warned", "beyond", "failed"])
def test_what_goes_wrong_is_counted(kind, monkeypatch):
    def wrong(_rng):
        if kind == "failed":
            raise TypeError(kind)
        if kind == "warned":
            np.float64(1) / np.float64(0)
        return [("joint", np.nan if kind == "nan" else 2.0, mp.mpf(1), mp.mpf("0.5"))]

    monkeypatch.setattr(numbers, "_gaussian_case", wrong)
    monkeypatch.setattr(numbers, "_softmax_case", wrong)
    monkeypatch.setattr(numbers, "_open_set_case", wrong)
    row = numbers.run(2)
    assert row[kind] == 2
    assert [example[1] for example in row["examples"]] == [kind] * 2


@pytest.mark.parametrize("covariance_type", numbers.TYPES)
def test_the_oracle_is_scipys(covariance_type):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(30, 3)), np.arange(30) % 2
    fitted = oracle.fit(oracle.exact(X), codes, oracle.exact(np.ones(30)), covariance_type)
    for k in range(2):
        matrix = np.array(fitted.covariance[k], dtype=float)
        mean = np.array(fitted.mean[k], dtype=float)
        np.testing.assert_allclose(mean, X[codes == k].mean(axis=0))
        if covariance_type == "full":
            np.testing.assert_allclose(matrix, np.cov(X[codes == k].T, bias=True))
        expected = multivariate_normal(mean, 2 * matrix).logpdf(X[0]) / 3
        actual = fitted.log_density(oracle.exact(X[0]), k, 3, 2)
        np.testing.assert_allclose(float(actual), expected)
