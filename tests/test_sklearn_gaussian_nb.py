"""scikit-learn's own tests of GaussianNB, run against GaussianDensityClassifier.

The module of scikit-learn is imported, its ``GaussianNB`` replaced by a subclass of ours that has
GaussianNB's parameters and attributes, and its tests called.
"""

import inspect

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.naive_bayes import GaussianNB as NaiveBayes
from sklearn.tests import test_naive_bayes as theirs
from versions import older

from sklearn_densconf import GaussianDensityClassifier
from sklearn_densconf._array import namespace

EXCLUDED = {"test_gnb_check_update_with_no_data": "of the private GaussianNB._update_mean_variance"}
FIXTURES = {"global_random_seed": 42, "global_dtype": np.float64}  # of scikit-learn's conftest
PARAMETRISED = ["test_NB_partial_fit_no_first_classes", "test_predict_joint_proba"]


class GaussianNB(GaussianDensityClassifier):
    """Ours with GaussianNB's parameters, names, and, where they are asked for, types."""

    def __init__(self, *, priors=None, var_smoothing=1e-9):
        super().__init__(temperature=1.0, priors=priors, var_smoothing=var_smoothing)

    def fit(self, X, y, sample_weight=None):
        """GaussianNB takes a class of weight 0, which our fit refuses; our partial_fit takes it."""
        self._forget()
        return self.partial_fit(X, y, namespace(y).unique_values(y), sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """GaussianNB's attributes are of the type of X; ours are of float64."""
        self.dtype_ = X.dtype if "float" in str(X.dtype) else np.float64
        return super().partial_fit(X, y, classes, sample_weight)

    def _as_x(self, values):
        return namespace(values).astype(values, self.dtype_)

    theta_ = property(lambda self: self._as_x(self.means_))
    var_ = property(lambda self: self._as_x(self.covariances_))
    class_count_ = property(lambda self: self._as_x(super().class_count_))
    class_prior_ = property(lambda self: self._as_x(super().class_prior_))


@pytest.fixture(autouse=True)
def _ours_in_place_of_theirs(monkeypatch):
    monkeypatch.setattr(theirs, "GaussianNB", GaussianNB)


def _own_tests():
    """Their tests of GaussianNB alone, bar the excluded and the parametrised."""
    names = [name for name in vars(theirs) if name.startswith("test_gnb")]
    return [name for name in names if name not in EXCLUDED and "array_api" not in name]


def test_the_tests_of_scikit_learn_are_found():
    assert len(_own_tests()) >= 10
    assert all(hasattr(theirs, name) for name in [*EXCLUDED, *PARAMETRISED])


@pytest.mark.parametrize("name", _own_tests())
def test_theirs_passes(name):
    test = getattr(theirs, name)
    test(**{argument: FIXTURES[argument] for argument in inspect.signature(test).parameters})


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="1.7 has no such test")
def test_theirs_of_partial_fit_passes_for_float32():
    theirs.test_gnb_partial_fit(np.float32)


@pytest.mark.parametrize("name", PARAMETRISED)
def test_theirs_of_all_naive_bayes_passes(name):
    getattr(theirs, name)(GaussianNB, FIXTURES["global_random_seed"])


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="1.7 has no such test")
def test_theirs_of_the_categorical_tag_passes():
    theirs.test_categorical_input_tag(GaussianNB)


def test_theirs_of_accuracy_on_digits_passes():
    theirs.test_check_accuracy_on_digits()


@pytest.mark.skipif(older("scikit-learn", 1, 8), reason="1.7 has no such test")
@pytest.mark.parametrize("use_str_y", [False, True])
@pytest.mark.parametrize("use_sample_weight", [False, True])
@pytest.mark.parametrize(
    ("library", "dtype"),
    [("torch", "float64"), ("torch", "float32"), ("array_api_strict", "float64")],
)
def test_theirs_of_array_api_passes(use_str_y, use_sample_weight, library, dtype):
    device = "cpu" if library == "torch" else None
    theirs.test_gnb_array_api_compliance(use_str_y, use_sample_weight, library, device, dtype)


def test_the_subclass_is_what_it_stands_for():
    X, y = load_iris(return_X_y=True)
    ours, real = GaussianNB().fit(X, y), NaiveBayes().fit(X, y)
    np.testing.assert_allclose(ours.predict_joint_log_proba(X), real.predict_joint_log_proba(X))
    np.testing.assert_allclose(ours.var_, real.var_)
