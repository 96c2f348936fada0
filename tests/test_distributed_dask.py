"""The same on a Dask cluster of two processes, of which some are killed."""

import os
import signal
import threading
import time
from collections import Counter

import joblib
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed

X, Y = load_digits(return_X_y=True)
CLASSES = range(10)
DENSITY = GaussianDensityClassifier().fit(X, Y)
N_SHARDS = 12


@pytest.fixture(scope="module")
def client():
    dask = pytest.importorskip("dask.distributed")
    with (
        dask.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        dask.Client(cluster) as client,
        joblib.parallel_config("dask"),
    ):
        yield client


@pytest.fixture
def shards(tmp_path):
    """Shards that take a tenth of a second each and leave their numbers in a file."""

    def slowly(number):
        with open(tmp_path / "begun", "a") as file:
            file.write(f"{number}\n")
        time.sleep(0.1)
        return X[number::N_SHARDS], Y[number::N_SHARDS]

    return [lambda number=number: slowly(number) for number in range(N_SHARDS)]


def test_a_pipeline_is_fitted_and_predicts_on_dask(client, tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(64, 12), torch.nn.ReLU())
    pipeline = make_pipeline(FeatureExtractor(network, device="cpu"), GaussianDensityClassifier())
    parts = [(X[start::4], Y[start::4]) for start in range(4)]
    fitted = distributed.fit(pipeline, parts, CLASSES)
    expected = pipeline.fit(X, Y)
    np.testing.assert_allclose(fitted[-1].means_, expected[-1].means_, atol=1e-5)
    got = distributed.predict(fitted, X, tmp_path, shard_size=500)
    np.testing.assert_allclose(got, expected.predict_proba(X), atol=1e-5)


def test_a_killed_worker_costs_what_it_had_under_way(client, shards, tmp_path):
    begun = tmp_path / "begun"
    begun.touch()
    victim = next(iter(client.run(os.getpid).values()))

    def kill_in_the_middle():
        while len(begun.read_text().split()) < 5:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    fitted = distributed.fit(GaussianDensityClassifier(), shards, CLASSES)
    killer.join()
    for name in ("class_count_", "means_", "covariances_"):
        got, wanted = getattr(fitted, name), getattr(DENSITY, name)
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)
    runs = Counter(begun.read_text().split())
    assert len(runs) == N_SHARDS
    assert N_SHARDS < runs.total() <= N_SHARDS + 2
    assert victim not in client.run(os.getpid).values()


def test_a_shard_that_kills_every_worker_ends_the_fit(client):
    client.wait_for_workers(2)  # with a single one, joblib would run the shards in this process

    def deadly():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(RuntimeError, match="3 workers died while they ran shard 1: out of memory"):
        distributed.fit(GaussianDensityClassifier(), [(X, Y), deadly], CLASSES)
