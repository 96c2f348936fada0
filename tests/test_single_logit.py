"""Networks with a single logit for two classes: the same as two logits, 0 and it."""

import io

import joblib
import numpy as np
import pytest
import torch
from scipy.special import expit
from sklearn import config_context
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetBinaryClassifier

from sklearn_densconf import (
    DensityClassifier,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.metrics import predict_with_confidence

LABELS = [np.array([0, 1]), np.array([-1, 1]), np.array(["ham", "spam"])]


@pytest.fixture(scope="module")
def logits():
    """Logits, and codes that are 1 with the probability of their sigmoid."""
    rng = np.random.default_rng(0)
    z = rng.normal(0, 3, size=600)
    return z[:, None], (rng.random(600) < expit(z)).astype(int)


class Binary(torch.nn.Module):
    """A network with one logit, of shape (n,) or (n, 1)."""

    def __init__(self, keeps_axis=True):
        super().__init__()
        self.hidden = torch.nn.Linear(4, 8)
        self.last = torch.nn.Linear(8, 1)
        self.keeps_axis = keeps_axis

    def forward(self, X):
        z = self.last(self.hidden(X).tanh())
        return z if self.keeps_axis else z[:, 0]


def _data(n=400):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 4)).astype(np.float32)
    return X, (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(int)


@pytest.mark.parametrize("labels", LABELS, ids=["0, 1", "-1, 1", "texts"])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_softmax_is_the_sigmoid(logits, labels, temperature):
    z, codes = logits
    softmax = SoftmaxClassifier(temperature=temperature).fit(z, labels[codes])
    positive = expit(z[:, 0] / temperature)
    np.testing.assert_allclose(softmax.predict_proba(z), np.c_[1 - positive, positive], atol=1e-12)
    np.testing.assert_array_equal(softmax.predict(z), labels[(z[:, 0] > 0).astype(int)])
    assert softmax.classes_.tolist() == labels.tolist()
    assert softmax.n_features_in_ == 1
    odds = softmax.confidence(z, labels[np.ones(600, int)], log_odds=True)
    np.testing.assert_allclose(odds, z[:, 0] / temperature, rtol=1e-12)


def test_the_temperature_is_that_of_the_same_network_with_two_logits(logits):
    z, codes = logits
    z = 3 * z
    one = SoftmaxClassifier(temperature="nll").fit(z, codes, X_val=z, y_val=codes)
    pair = np.hstack([np.zeros_like(z), z])
    two = SoftmaxClassifier(temperature="nll").fit(pair, codes, X_val=pair, y_val=codes)
    np.testing.assert_allclose(one.temperature_, two.temperature_, rtol=1e-12)
    assert 2.5 < one.temperature_ < 3.5


def test_classes_name_the_label_of_negative_and_of_positive_logits(logits):
    z, codes = logits
    y = np.array(["spam", "ham"])[codes]  # positive logits are ham, which sorts first
    softmax = SoftmaxClassifier(classes=["spam", "ham"]).fit(z, y)
    np.testing.assert_allclose(softmax.predict_proba(z)[:, 0], expit(z[:, 0]), atol=1e-12)
    with pytest.warns(UserWarning, match="if the logits belong to the labels.*pass classes="):
        SoftmaxClassifier().fit(z, y)
    with pytest.warns(UserWarning, match="if the logits belong to the labels"):
        GaussianDensityClassifier(predict_from="features").fit(z, y)
    with pytest.raises(ValueError, match=r"classes must have one label per logit, each once"):
        SoftmaxClassifier(classes=["spam", "spam"]).fit(z, y)


def test_three_classes_have_no_single_logit(logits):
    z, codes = logits
    with pytest.raises(ValueError, match=r"softmax takes one activation per class.*n_classes=3"):
        SoftmaxClassifier().fit(z, codes + (np.arange(600) % 2))


@pytest.mark.parametrize(
    "density",
    [GaussianDensityClassifier(), DensityClassifier(KernelDensity())],
    ids=["Gaussian", "KernelDensity"],
)
def test_the_papers_label_is_that_of_the_sign(logits, density):
    z, codes = logits
    y = np.array(["ham", "spam"])[codes]
    density = clone(density).set_params(predict_from="features").fit(z, y)
    np.testing.assert_array_equal(density.predict(z), np.where(z[:, 0] > 0, "spam", "ham"))
    proba = density.predict_proba(z)
    np.testing.assert_allclose(density.confidence(z), proba[np.arange(600), (z[:, 0] > 0) * 1])


@pytest.mark.parametrize("labels", LABELS, ids=["0, 1", "-1, 1", "texts"])
def test_an_open_set_classifier_discounts_the_sigmoid(logits, labels):
    z, codes = logits
    u = np.random.default_rng(2).normal(size=(600, 5)) + 4 * codes[:, None]
    X, y = np.hstack([u, z]), labels[codes]
    model = OpenSetClassifier(logits=1).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    known, positive = model.known_proba(X), expit(z[:, 0] / model.temperature_)
    expected = known * positive + (1 - known) / 2
    np.testing.assert_allclose(model.predict_proba(X)[:, 1], expected, atol=1e-12)
    np.testing.assert_array_equal(model.predict(X), labels[(z[:, 0] > 0).astype(int)])
    pair = np.hstack([u, np.zeros_like(z), z])
    two = OpenSetClassifier().fit(pair[:300], y[:300], X_val=pair[300:], y_val=y[300:])
    np.testing.assert_allclose(model.predict_proba(X), two.predict_proba(pair), atol=1e-9)


def test_another_posterior_of_a_single_logit(logits):
    z, codes = logits
    X = np.hstack([np.random.default_rng(2).normal(size=(600, 5)) + 4 * codes[:, None], z])
    held_out = {"X_val": X[300:].tolist(), "y_val": codes[300:]}
    fitted = LogisticRegression().fit(z, codes)
    for posterior in (fitted, LogisticRegression(), SoftmaxClassifier(temperature="nll")):
        model = OpenSetClassifier(logits=1, posterior=posterior).fit(
            X[:300], codes[:300], **held_out
        )
        known, columns = model.known_proba(X), z if posterior is fitted else np.c_[0 * z, z]
        expected = known[:, None] * model.posterior_.predict_proba(columns)
        expected += (1 - known[:, None]) / 2
        np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-12)


@pytest.mark.parametrize("posterior", [LogisticRegression(), SoftmaxClassifier()])
def test_a_posterior_that_is_fitted_here_sees_logits_in_one_order(posterior):
    rng, labels = np.random.default_rng(0), np.array(["zero", "one", "two"])
    codes = np.arange(600) % 3
    u = rng.normal(size=(600, 8)) + 6 * np.eye(3, 8)[codes]
    X, y = np.hstack([u, u[:, :3]]), labels[codes]
    model = OpenSetClassifier(classes=labels, posterior=posterior)
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert (model.classes_[model.predict_proba(X).argmax(axis=1)] == y).mean() > 0.99


@pytest.mark.parametrize("classes", [None, [1, 0]], ids=["sorted", "named"])
def test_a_single_logit_that_is_taken_for_two_is_told(logits, classes):
    z, codes = logits
    X = np.hstack([np.random.default_rng(2).normal(3, 1, size=(600, 5)), z])
    y = codes if classes is None else 1 - codes
    message = (
        "larger of the last two columns.*the sign of the last one tells the label: set logits=1"
    )
    with pytest.warns(UserWarning, match=message):
        OpenSetClassifier(classes=classes).fit(X, y)


def test_a_single_logit_stays_a_tensor(logits):
    z, codes = logits
    tensors = torch.from_numpy(z), torch.from_numpy(codes)
    with config_context(array_api_dispatch=True):
        proba = SoftmaxClassifier().fit(*tensors).predict_proba(tensors[0])
        labels = (
            GaussianDensityClassifier(predict_from="features").fit(*tensors).predict(tensors[0])
        )
    assert isinstance(proba, torch.Tensor)
    np.testing.assert_allclose(proba.numpy()[:, 1], expit(z[:, 0]), atol=1e-12)
    np.testing.assert_array_equal(labels.numpy(), z[:, 0] > 0)


@pytest.mark.parametrize("keeps_axis", [True, False], ids=["(n, 1)", "(n,)"])
def test_a_skorch_net_of_two_classes_from_end_to_end(keeps_axis):
    X, y = _data()
    net = NeuralNetBinaryClassifier(
        Binary, module__keeps_axis=keeps_axis, max_epochs=5, lr=0.5, verbose=0
    )
    torch.manual_seed(0)
    expected = net.fit(X, y.astype(np.float32)).predict_proba(X)
    pipe = make_pipeline(FeatureExtractor(clone(net), device="cpu"), SoftmaxClassifier())
    torch.manual_seed(0)
    pipe.fit(X, np.array(["no", "yes"])[y])
    np.testing.assert_allclose(pipe.predict_proba(X), expected, atol=1e-5)
    np.testing.assert_array_equal(pipe.predict(X) == "yes", expected[:, 1] > 0.5)
    _labels, confidence = predict_with_confidence(pipe, X)
    np.testing.assert_allclose(confidence, expected.max(axis=1), atol=1e-5)
    saved = io.BytesIO()
    joblib.dump(pipe, saved)
    saved.seek(0)
    np.testing.assert_array_equal(joblib.load(saved).predict_proba(X), pipe.predict_proba(X))


def test_a_skorch_net_of_two_classes_in_a_search():
    X, y = _data(200)
    net = NeuralNetBinaryClassifier(Binary, max_epochs=20, lr=0.5, verbose=0)
    pipe = make_pipeline(FeatureExtractor(net, device="cpu"), SoftmaxClassifier())
    torch.manual_seed(0)
    search = GridSearchCV(pipe, {"featureextractor__backbone__lr": [1e-6, 0.5]}, cv=2).fit(X, y)
    assert search.best_params_ == {"featureextractor__backbone__lr": 0.5}
    layers = FeatureExtractor(net, layer=["penultimate", "output"], device="cpu")
    model = make_pipeline(layers, OpenSetClassifier(logits=1, discount=0.01))
    assert cross_val_score(model, X, y, cv=2).min() > 0.6
    densities = make_pipeline(FeatureExtractor(net, device="cpu"), GaussianDensityClassifier())
    assert cross_val_score(densities, X, y, cv=2).min() > 0.6


@pytest.mark.parametrize("keeps_axis", [True, False], ids=["(n, 1)", "(n,)"])
def test_a_frozen_network_of_two_classes(keeps_axis):
    X, _y = _data()
    torch.manual_seed(0)
    network = Binary(keeps_axis)
    with torch.no_grad():
        z = network(torch.from_numpy(X)).numpy().ravel()
    pipe = make_pipeline(FeatureExtractor(network, device="cpu"), SoftmaxClassifier())
    pipe.fit(X, (z > 0).astype(int))
    np.testing.assert_allclose(pipe.predict_proba(X)[:, 1], expit(z), atol=1e-6)
