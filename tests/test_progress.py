"""Callbacks of scikit-learn are told of every batch of a fit; tqdm where verbose asks for it."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn < 1.9 has no callbacks")


class Recorder:
    """What the callbacks of the extractor were told."""

    max_propagation_depth = None

    def __init__(self):
        self.told, self.torn_down = [], 0

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        self.torn_down += 1

    def on_fit_task_begin(self, estimator, context):
        self.told.append(("begin", context.estimator_name, context.task_name, context.max_subtasks))

    def on_fit_task_end(self, estimator, context):
        self.told.append(("end", context.estimator_name, context.task_name, context.max_subtasks))

    def of_extractor(self):
        return [told for told in self.told if told[1] == "FeatureExtractor"]


@pytest.fixture
def data():
    return np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32), np.arange(10) % 2


@pytest.fixture
def extractor():
    torch.manual_seed(0)
    return FeatureExtractor(torch.nn.Linear(3, 2), batch_size=4)


def _counts(told):
    """Count begins of features and of batches, then ends."""
    entries = [(entry[0], entry[2]) for entry in told]
    return [
        entries.count((what, task)) for what in ("begin", "end") for task in ("features", "batch")
    ]


def test_every_batch_of_a_fit_is_told(extractor, data):
    recorder = Recorder()
    extractor.set_callbacks(recorder).fit_transform(*data)
    assert _counts(recorder.of_extractor()) == [1, 3, 1, 3]
    assert ("begin", "FeatureExtractor", "features", 3) in recorder.told
    assert recorder.told[0][:3] == ("begin", "FeatureExtractor", "fit")
    assert recorder.told[-1][:3] == ("end", "FeatureExtractor", "fit")
    assert recorder.torn_down == 1


def test_callbacks_of_a_pipeline_reach_the_extractor(extractor, data):
    recorder = Recorder()
    make_pipeline(extractor, GaussianDensityClassifier()).set_callbacks(recorder).fit(*data)
    assert _counts(recorder.of_extractor()) == [1, 3, 1, 3]


def test_callbacks_of_a_search_reach_the_extractor(extractor, data):
    recorder = Recorder()
    pipe = make_pipeline(extractor, GaussianDensityClassifier())
    grid = {"gaussiandensityclassifier__temperature": [1.0, 2.0]}
    GridSearchCV(pipe, grid, cv=2).set_callbacks(recorder).fit(*data)
    assert _counts(recorder.of_extractor()) == [5, 4 * 2 + 3, 5, 4 * 2 + 3]


def test_an_error_tears_down(extractor, data):
    recorder = Recorder()
    with pytest.raises(ValueError, match="NaN"):
        extractor.set_callbacks(recorder).fit_transform(np.full((5, 3), np.nan, np.float32))
    assert recorder.torn_down == 1
    assert not hasattr(extractor, "_callback_fit_ctx")


def test_features_and_clones_are_the_same_with_callbacks(extractor, data):
    plain = clone(extractor).fit_transform(*data)
    np.testing.assert_array_equal(extractor.set_callbacks(Recorder()).fit_transform(*data), plain)


def test_the_progress_bar_of_scikit_learn_works(extractor, data):
    pytest.importorskip("rich", reason="ProgressBar needs rich")
    pipe = make_pipeline(extractor, GaussianDensityClassifier())
    pipe.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(*data)


def test_verbose_shows_a_bar(extractor, data, capsys):
    extractor.set_params(verbose=1).fit(*data).transform(data[0])
    assert "Features" in capsys.readouterr().err
