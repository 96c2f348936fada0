"""
Fit and predict on a Ray cluster
================================

A recipe that is not run with the documentation: it needs ``pip install ray`` and a folder that all
machines see. ``python ray_recipe.py`` runs it on one machine.

Ray's own joblib backend is the short way. It fails when a worker dies: ``distributed.predict``, if
called again, then computes only what is missing, and ``fit_on_actors`` below lets Ray restart
workers.
"""

import tempfile

import joblib
import ray
import torch
from ray.util import ActorPool
from ray.util.joblib import register_ray
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed


@ray.remote(num_cpus=1, max_restarts=-1, max_task_retries=3)  # num_gpus=1 where there are GPUs
class Measurer:
    """A worker that holds the pipeline, so that the network is sent once per worker."""

    def __init__(self, pipeline, classes):
        self.pipeline, self.classes = pipeline, classes

    def measure(self, shard):
        """Return the density of one shard: its moments are sent back, not its features."""
        return distributed.fit_batches(self.pipeline, [shard], self.classes)[-1]


def fit_on_actors(pipeline, shards, classes, n_workers):
    """Fit as ``distributed.fit`` does; Ray runs the shards of a dead worker again."""
    shared = ray.put(pipeline)
    pool = ActorPool([Measurer.remote(shared, classes) for _ in range(n_workers)])
    parts = pool.map_unordered(lambda worker, shard: worker.measure.remote(shard), shards)
    density = next(parts)
    for part in parts:
        density.merge(part)
    return make_pipeline(*(step for _, step in pipeline.steps[:-1]), density)


def main():
    """Fit in both ways, and predict into a folder."""
    ray.init()
    register_ray()
    X, y = load_digits(return_X_y=True)
    network = torch.nn.Sequential(torch.nn.Linear(64, 10), torch.nn.ReLU())
    pipeline = make_pipeline(FeatureExtractor(network).fit(X), GaussianDensityClassifier())
    shards = [(X[start::8], y[start::8]) for start in range(8)]
    with tempfile.TemporaryDirectory() as folder, joblib.parallel_config("ray", n_jobs=2):
        fitted = distributed.fit(pipeline, shards, range(10), folder=folder)
        distributed.predict(fitted, X, f"{folder}/results", shard_size=500)
    same = fit_on_actors(pipeline, shards, range(10), n_workers=2)
    print(abs(fitted[-1].means_ - same[-1].means_).max())


if __name__ == "__main__":
    main()
