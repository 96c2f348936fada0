"""SoftmaxClassifier: the softmax of the logits, and nothing else."""

import numpy as np
import pytest
import scipy.special
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from versions import older

from sklearn_densconf import SoftmaxClassifier


@pytest.fixture
def logits():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 200)
    return 3 * rng.normal(size=(200, 4)) + 2 * np.eye(4)[y], y


def test_the_posterior_is_scipys_softmax(logits):
    X, y = logits
    softmax = SoftmaxClassifier().fit(X, y)
    np.testing.assert_allclose(softmax.predict_proba(X), scipy.special.softmax(X, axis=1))
    np.testing.assert_allclose(softmax.predict_log_proba(X), scipy.special.log_softmax(X, axis=1))
    np.testing.assert_array_equal(softmax.predict_joint_log_proba(X), X)
    np.testing.assert_array_equal(softmax.predict(X), X.argmax(axis=1))


def test_shifted_logits_have_the_same_posterior(logits):
    X, y = logits
    softmax = SoftmaxClassifier().fit(X, y)
    np.testing.assert_allclose(softmax.predict_proba(X + 1e3), softmax.predict_proba(X), atol=1e-10)


def test_confidence_rises_without_bound_when_logits_are_scaled_up(logits):
    """The paper's Lemma 3.1: what the density confidence is to avoid."""
    X, y = logits
    softmax = SoftmaxClassifier().fit(X, y)
    confidence = [softmax.confidence(scale * X) for scale in (1, 2, 10, 1e3, 1e300)]
    assert (np.diff(confidence, axis=0) >= 0).all()
    np.testing.assert_allclose(confidence[-1], 1)


def test_labels_are_those_of_the_fit(logits):
    X, y = logits
    names = np.array(["ant", "bee", "cat", "dog"])
    softmax = SoftmaxClassifier().fit(X, names[y])
    np.testing.assert_array_equal(softmax.predict(X), names[X.argmax(axis=1)])
    assert softmax.n_features_in_ == 4


def test_logits_must_be_as_many_as_classes(logits):
    X, y = logits
    message = (
        r"softmax takes one activation per class.*n_features=4 and n_classes=2.*extract the log"
    )
    with pytest.raises(ValueError, match=message):
        SoftmaxClassifier().fit(X, y > 1)


@pytest.mark.skipif(
    older("scikit-learn", 1, 8), reason="scikit-learn 1.7 calibrates no temperature"
)
def test_temperature_scaling_is_scikit_learns(logits):
    X, y = logits
    softmax = SoftmaxClassifier().fit(5 * X, y)  # overconfident
    scaled = CalibratedClassifierCV(FrozenEstimator(softmax), method="temperature").fit(5 * X, y)
    assert scaled.predict_proba(5 * X).max(axis=1).mean() < softmax.confidence(5 * X).mean()
    np.testing.assert_array_equal(scaled.predict(5 * X), softmax.predict(5 * X))


def test_a_pipeline_passes_the_held_out_pictures_on(logits):
    X, y = logits
    direct = SoftmaxClassifier(temperature="nll").fit(X, y, X_val=X[:90], y_val=y[:90])
    with config_context(enable_metadata_routing=True):
        piped = make_pipeline(FunctionTransformer(), SoftmaxClassifier(temperature="nll"))
        piped.fit(X, y, X_val=X[:90], y_val=y[:90])
    assert piped[-1].temperature_ == direct.temperature_ != 1


def test_a_state_from_before_there_were_parameters_has_their_defaults(logits):
    X, y = logits
    fitted = SoftmaxClassifier().fit(X, y)
    state = fitted.__getstate__()
    later = {"classes", "temperature", "temperature_", "_order"}
    loaded = SoftmaxClassifier.__new__(SoftmaxClassifier)
    loaded.__setstate__({name: state[name] for name in set(state) - later})
    assert loaded.get_params() == fitted.get_params()
    assert loaded.temperature_ == 1.0
    np.testing.assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
