"""Fit, predict, save, load, again and again: what a process takes must not grow."""

import gc
import os
import resource
import tempfile
import threading
from pathlib import Path

import joblib
import numpy as np
import torch
from networks import Convolutional
from sklearn.pipeline import make_pipeline

from sklearn_densconf import (
    ConformalRejector,
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    io,
)

MOST = 8 * 2**20  # bytes that resident memory may grow after the first tenth
Y = np.arange(60) % 3
X = np.random.default_rng(0).random((60, 1, 12, 12), np.float32)


def run(n=2_000):
    """Go through n cycles.

    Returns
    -------
    list of dict
        One row: ``what``, ``tried``, ``failed`` (quantities that have grown) and ``note``.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(max(n // 10, 10)):  # caches fill, allocators settle
            _cycle(Path(folder), number)
        before = _taken(folder)
        for number in range(n - n // 10):
            _cycle(Path(folder), number)
        after = _taken(folder)
    grown = {name: after[name] - before[name] for name in before}
    failed = [name for name, more in grown.items() if more > (MOST if name == "bytes" else 0)]
    note = (
        f"resident memory {grown['bytes'] / 2**20:+.1f} MB, descriptors {grown['descriptors']:+d}, "
        f"threads {grown['threads']:+d}, files {grown['files']:+d}"
    )
    return [{"what": "cycles", "tried": n, "failed": len(failed), "note": note}]


def _cycle(folder, number):
    network = Convolutional(n_classes=3, seed=number % 5)
    torch.nn.init.constant_(network.head.bias, -2.0)  # else they look like probabilities
    extractor = FeatureExtractor(
        network, layer=["hidden", None], memory=folder / "memory", device="cpu"
    )
    last = [GaussianDensityClassifier("tied"), OpenSetClassifier()][number % 2]
    pipeline = make_pipeline(extractor, last).fit(X, Y)
    rejector = ConformalRejector(pipeline, alpha=0.2).fit(X, Y)
    expected = rejector.predict_proba(X)
    io.save(rejector, folder / "saved")
    loaded = io.load(folder / "saved", network=network)
    loaded.estimator_[0].set_params(memory=folder / "memory")  # with the features of its network
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)
    joblib.dump(rejector, folder / "dumped")
    np.testing.assert_array_equal(joblib.load(folder / "dumped").predict_proba(X), expected)


def _taken(folder):
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    in_tmp = list(Path(tempfile.gettempdir()).glob("*")) if os.environ.get("TMPDIR") else []
    return {
        "bytes": pages * resource.getpagesize(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count() + len(os.listdir("/proc/self/task")),
        "files": len(list(Path(folder).rglob("*"))) + len(in_tmp),
    }
