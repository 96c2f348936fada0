"""Devices: the choice, halved batches where memory runs out, and a GPU where there is one."""

import subprocess
import sys

import joblib
import numpy as np
import pytest
import torch
from networks import Convolutional
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.features._device import available_devices, choose_device
from sklearn_densconf.features._forward import Forward
from sklearn_densconf.features._layers import Learned
from sklearn_densconf.features._tap import Tap

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class _Small(nn.Module):
    """A device with memory for so many pictures; asks for more as torch does."""

    def __init__(self, capacity):
        super().__init__()
        self.capacity, self.sizes = capacity, []
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, X):
        self.sizes.append(len(X))
        if len(X) > self.capacity:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return self.scale * X


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 16])
def test_a_batch_that_does_not_fit_is_halved_and_later_ones_keep_that_size(capacity):
    network = _Small(capacity)
    forward = Forward(Tap(network, {"": "avg"}, Learned()), torch.float32, "float32")
    for _ in range(2):
        X = torch.rand(16, 3)
        assert torch.equal(forward(X), 2 * X)
    failed = [size for size in network.sizes if size > capacity]
    assert failed == [16 // 2**halving for halving in range(len(failed))]
    worked = network.sizes[len(failed) :]
    assert len(set(worked[:-1])) <= 1
    assert sum(worked) == 32


def test_the_extractor_goes_on_where_memory_runs_out():
    X = np.random.default_rng(0).random((50, 3), np.float32)
    features = FeatureExtractor(_Small(5), batch_size=16).fit_transform(X)
    np.testing.assert_array_equal(features, 2 * X)


def test_one_picture_that_does_not_fit_is_an_error():
    with pytest.raises(torch.cuda.OutOfMemoryError, match="out of memory"):
        FeatureExtractor(_Small(0)).fit(np.zeros((2, 3)))


def test_an_odd_batch_is_halved_to_the_last_picture():
    forward = Forward(Tap(_Small(1), {"": "avg"}, Learned()), torch.float32, "float32")
    X = torch.rand(7, 3)
    assert torch.equal(forward(X), 2 * X)


def test_auto_takes_the_first_device_that_is_there():
    assert str(choose_device("auto")) == available_devices()[0]
    assert choose_device("cpu") == choose_device(torch.device("cpu")) == torch.device("cpu")
    assert available_devices()[-1] == "cpu"


@pytest.mark.parametrize("name", ["cuda:99", "xpu", "meta"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name):
    with pytest.raises(
        ValueError, match=rf"device '{name}' is not there: .*'cpu'\]. Use device='a"
    ):
        choose_device(name)


@pytest.mark.parametrize("name", ["gpu", "", None, "cuda:x"])
def test_what_names_no_device_is_refused(name):
    with pytest.raises(
        ValueError, match=rf"device must be 'auto' or one of .*'cpu'\], got {name!r}"
    ):
        choose_device(name)


def test_the_device_is_checked_before_the_network_is_built():
    with pytest.raises(ValueError, match="device 'xpu' is not there"):
        FeatureExtractor("nowhere:build", device="xpu").fit(np.zeros((2, 3)))


@GPU
@pytest.mark.parametrize(
    "make", [np.asarray, torch.from_numpy, lambda X: torch.from_numpy(X).cuda()]
)
def test_features_of_a_gpu_are_those_of_the_processor(make):
    X = np.random.default_rng(0).random((50, 1, 12, 12), np.float32)
    network = Convolutional()
    expected = FeatureExtractor(network, device="cpu").fit_transform(X)
    for there in (network, network.cuda()):
        features = FeatureExtractor(there, device="cuda", batch_size=16).fit_transform(make(X))
        np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)
    assert next(network.parameters()).is_cuda


@GPU
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_autocast_on_a_gpu_is_near_float32(precision):
    X = np.random.default_rng(0).random((50, 1, 12, 12), np.float32)
    expected = FeatureExtractor(Convolutional(), device="cpu").fit_transform(X)
    features = FeatureExtractor(Convolutional(), device="cuda", precision=precision)
    np.testing.assert_allclose(features.fit_transform(X), expected, atol=0.03)


@GPU
def test_a_gpus_memory_that_runs_out_halves_the_batch():
    class Hungry(nn.Module):
        def forward(self, X):
            total = torch.cuda.get_device_properties(0).total_memory
            torch.empty(len(X), total // 8, dtype=torch.uint8, device=X.device)
            return X

    X = np.random.default_rng(0).random((64, 3), np.float32)
    features = FeatureExtractor(Hungry(), device="cuda", batch_size=32).fit_transform(X)
    np.testing.assert_array_equal(features, X)


@GPU
def test_a_pipeline_of_a_gpu_loads_where_there_is_none(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.random((50, 1, 12, 12), np.float32), rng.integers(0, 3, 50)
    pipe = make_pipeline(FeatureExtractor(Convolutional().cuda()), GaussianDensityClassifier())
    expected = pipe.fit(X, y).predict_proba(X)
    joblib.dump((pipe, X), tmp_path / "pipe.joblib")
    code = (
        "import sys, joblib, numpy as np, torch; assert not torch.cuda.is_available()\n"
        "pipe, X = joblib.load(sys.argv[1]); np.save(sys.argv[2], pipe.predict_proba(X))"
    )
    files = [str(tmp_path / "pipe.joblib"), str(tmp_path / "result.npy")]
    env = {"CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": ":".join(sys.path)}
    subprocess.run([sys.executable, "-c", code, *files], env=env, check=True)
    np.testing.assert_allclose(np.load(files[1]), expected, atol=1e-4)
