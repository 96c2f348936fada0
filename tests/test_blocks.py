"""Blocks of features: each as if fitted apart, their log-densities added."""

import joblib
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.density._blocks import cost
from sklearn_densconf.density._covariance_types import COVARIANCE_TYPES
from sklearn_densconf.density._moments import measure

WIDTHS = [1, 3]
TYPES = ["diag", "spherical", "tied_diag", "tied", "full"]


@pytest.fixture(scope="module")
def data():
    return load_iris(return_X_y=True)


def _apart(model, X, y):
    """The same model without blocks, fitted to each block."""
    parts = np.split(X, np.cumsum(WIDTHS)[:-1], axis=1)
    return [(clone(model).set_params(blocks=None).fit(part, y), part) for part in parts]


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("options", [{}, {"temperature": 2.0, "covariance_scale": "n_features"}])
def test_log_densities_are_the_sum_of_the_blocks_fitted_apart(data, covariance_type, options):
    X, y = data
    model = GaussianDensityClassifier(covariance_type, blocks=WIDTHS, **options).fit(X, y)
    apart = _apart(model, X, y)
    log_prior = np.log(model.class_prior_)
    joint = sum(part.predict_joint_log_proba(Z) - log_prior for part, Z in apart) + log_prior
    np.testing.assert_allclose(model.predict_joint_log_proba(X), joint, rtol=1e-10)
    np.testing.assert_allclose(
        model.predict_log_proba(X), log_softmax(joint, axis=1), rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        model.mahalanobis(X), sum(part.mahalanobis(Z) for part, Z in apart), rtol=1e-9
    )
    np.testing.assert_allclose(model.means_, np.hstack([part.means_ for part, _ in apart]))
    for mine, (part, _) in zip(model.covariances_, apart, strict=True):
        np.testing.assert_allclose(mine, part.covariances_)


@pytest.mark.parametrize("covariance_type", ["tied", "full"])
def test_each_block_has_the_shrinkage_that_it_has_apart(data, covariance_type):
    X, y = data
    model = GaussianDensityClassifier(covariance_type, shrinkage="auto", blocks=WIDTHS).fit(X, y)
    apart = [part.shrinkage_ for part, _ in _apart(model, X, y)]
    np.testing.assert_allclose(model.shrinkage_, apart)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_background_wins_far_along_every_ray_of_every_block(data, covariance_type):
    X, y = data
    model = GaussianDensityClassifier(covariance_type, blocks=WIDTHS, background=0.01).fit(X, y)
    rays = np.vstack([np.eye(4), -np.eye(4), np.ones((1, 4))])
    far = model.predict_proba(X.mean(axis=0) + 1e5 * rays)
    np.testing.assert_allclose(far, np.tile(model.class_prior_, (len(far), 1)), atol=1e-9)


def test_one_block_is_none():
    X, y = load_iris(return_X_y=True)
    whole, one = (GaussianDensityClassifier("full", blocks=b).fit(X, y) for b in (None, [4]))
    np.testing.assert_array_equal(one.predict_proba(X), whole.predict_proba(X))
    assert one.covariances_.shape == whole.covariances_.shape


@pytest.mark.parametrize("covariance_type", TYPES)
def test_parts_merged_and_batches_equal_the_whole(data, covariance_type):
    X, y = data
    whole = GaussianDensityClassifier(covariance_type, blocks=WIDTHS).fit(X, y)
    first, second = (
        clone(whole).partial_fit(X[part], y[part], [0, 1, 2])
        for part in (slice(0, 150, 2), slice(1, 150, 2))
    )
    batches = clone(whole).partial_fit(X[:99], y[:99], [0, 1, 2]).partial_fit(X[99:], y[99:])
    for model in (first.merge(second), batches):
        np.testing.assert_allclose(model.predict_proba(X), whole.predict_proba(X), rtol=1e-9)
    with pytest.raises(ValueError, match="only parts with the same classes"):
        first.merge(clone(whole).set_params(blocks=[2, 2]).fit(X, y))


def test_the_extractors_groups_are_blocks(tmp_path):
    import torch

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    X, y = load_iris(return_X_y=True)
    extractor = FeatureExtractor(net, layer=["0", None]).fit(X)
    groups = extractor.feature_groups_
    pipe = make_pipeline(extractor, GaussianDensityClassifier(blocks=groups)).fit(X, y)
    widths = GaussianDensityClassifier(blocks=[6, 3]).fit(pipe[:-1].transform(X), y)
    expected = widths.predict_proba(pipe[:-1].transform(X))
    np.testing.assert_array_equal(pipe.predict_proba(X), expected)
    joblib.dump(pipe, tmp_path / "pipe.joblib")
    loaded = joblib.load(tmp_path / "pipe.joblib")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


@pytest.mark.parametrize(
    "blocks", [[1, 2], [0, 4], [4.0], {"a": slice(1, 4)}, {"a": slice(2, 4), "b": slice(0, 2)}, []]
)
def test_blocks_that_are_not_all_features_are_refused(data, blocks):
    with pytest.raises(
        ValueError, match="blocks must be widths of at least 1 that add up to the 4"
    ):
        GaussianDensityClassifier(blocks=blocks).fit(*data)


def test_blocks_set_on_a_fitted_classifier_are_refused(data):
    X, y = data
    model = GaussianDensityClassifier(blocks=WIDTHS).fit(X, y).set_params(blocks=[2, 2])
    with pytest.raises(ValueError, match=r"blocks of widths \[1, 3\] were measured.*fit again"):
        model.predict(X)
    with pytest.raises(ValueError, match="fit again"):
        model.partial_fit(X, y)


@pytest.mark.parametrize("kind", ["full", "tied", "diag"])
def test_the_cost_is_the_sum_of_that_of_each_block(kind):
    """Of features and classes, which no other number of moments may stand for."""
    parts = [measure(np.eye(6)[:, :d], np.arange(6) % 3, np.ones(6), 3, kind) for d in (2, 5)]
    apart = [COVARIANCE_TYPES[kind].cost(d, 3) for d in (2, 5)]
    np.testing.assert_array_equal(cost(parts, kind), np.sum(apart, axis=0))
