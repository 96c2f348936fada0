"""Threads that share a network and classifiers, against the same calls made one by one."""

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from networks import Convolutional
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

N_THREADS = 12
LAYERS = ("body.0", "body.4", "hidden", None, ["body.4", "hidden"])
TYPES = ("diag", "tied", "full")


def run(n=600, seed=0):
    """Make n calls in 12 threads at once: of `predict_proba`, `transform` and `partial_fit`.

    All extractors share one network, each with another layer; pipelines and classifiers are shared
    by all threads, but those that learn on are copies.

    Returns
    -------
    dict
        ``tried``, ``wrong`` (calls whose result differs in any bit from that of the same call made
        alone), ``failed`` (calls that raise) and ``examples``.
    """
    calls = list(_calls(np.random.default_rng(seed)))
    alone = [call() for _, call in calls]
    order = np.random.default_rng(seed).integers(len(calls), size=n)
    start = threading.Barrier(N_THREADS)

    def work(thread):
        start.wait()
        return [(number, _tried(calls[number][1])) for number in order[thread::N_THREADS]]

    with ThreadPoolExecutor(N_THREADS) as pool:
        results = [pair for pairs in pool.map(work, range(N_THREADS)) for pair in pairs]
    failed = [(calls[i][0], repr(result)) for i, result in results if isinstance(result, Exception)]
    wrong = [
        (calls[i][0], "another result")
        for i, result in results
        if not isinstance(result, Exception) and not np.array_equal(result, alone[i])
    ]
    return {
        "tried": len(results),
        "wrong": len(wrong),
        "failed": len(failed),
        "examples": failed + wrong,
    }


def _tried(call):
    try:
        return call()
    except Exception as error:
        return error


def _calls(rng):
    """Yield the name of each call, and the call."""
    network = Convolutional()
    X = rng.random((24, 1, 10, 10), dtype=np.float32)
    y = np.arange(24) % 3
    for layer in LAYERS:
        extractor = FeatureExtractor(network, layer=layer, device="cpu", batch_size=5)
        features = extractor.fit_transform(X)
        yield f"transform of {layer}", lambda e=extractor: e.transform(X)
        for kind in TYPES:
            density = GaussianDensityClassifier(kind, shrinkage=0.2, background=0.01)
            pipe = make_pipeline(extractor, density).fit(X, y)
            yield f"predict_proba of {layer}, {kind}", lambda p=pipe: p.predict_proba(X)
            yield (
                f"partial_fit of {layer}, {kind}",
                lambda d=density, z=features: _learned_on(d, z, y),
            )


def _learned_on(density, features, y):
    """Return what a copy says that has seen some samples more."""
    other = copy.deepcopy(density).partial_fit(features[:9] + 1, y[:9])
    return other.predict_proba(features)
