"""Engines against what they are made of: a bare network, and bare onnxruntime."""

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import onnxruntime
import torch
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.paper._networks import LeNet5
from tests.benchmarks._harness import Case, Pair
from tests.benchmarks._inputs import imagenet_net, torchvision
from tests.benchmarks.bench_features import _tensors

N, BATCH, N_CALLS = 96, 32, 10
PICTURES = f"{N} pictures as an array, batch {BATCH}"
ONE = f"one picture, {N_CALLS} calls"
BARE = "bare onnxruntime, the network's own ONNX file"


@cache
def _mobilenet() -> nn.Module:
    return imagenet_net().mobilenet_v2().eval()


@cache
def _efficientnet() -> nn.Module:
    torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchvision.models import efficientnet_b0

    torch.manual_seed(0)
    return efficientnet_b0(weights=None).eval()


@cache
def _efficientnet_lite() -> nn.Module:
    torchvision()  # timm imports it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm

    torch.manual_seed(0)
    return timm.create_model("efficientnet_lite0", pretrained=False).eval()


@cache
def _lenet() -> nn.Module:
    return LeNet5().eval()


@cache
def _session(build: Callable[[], nn.Module]) -> Any:
    """Give a session of a network as torch itself exports it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            build(),
            (_samples(build)[:2],),
            input_names=["X"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            dynamo=True,
            verbose=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    content = program.model_proto.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@cache
def _samples(build: Callable[[], nn.Module]) -> torch.Tensor:
    return torch.rand(N, 1, 28, 28) if build is _lenet else _tensors(N)


@cache
def _extractor(build: Callable[[], nn.Module], engine: str) -> FeatureExtractor:
    extractor = FeatureExtractor(build(), engine=engine, batch_size=BATCH, device="cpu")
    return extractor.fit(_samples(build).numpy())


@cache
def _pipeline(build: Callable[[], nn.Module], engine: str) -> Pipeline:
    extractor = _extractor(build, engine)
    d = extractor.feature_groups_["output"].stop
    y = np.arange(1000) % 10
    Z = np.random.default_rng(0).standard_normal((len(y), d))
    return make_pipeline(extractor, GaussianDensityClassifier(var_smoothing=0.1).fit(Z, y))


def _onnx_and_bare(build: Callable[[], nn.Module]) -> Pair:
    extractor, session = _extractor(build, "onnxruntime"), _session(build)
    X = _samples(build).numpy()
    batches = [X[start : start + BATCH] for start in range(0, N, BATCH)]
    return (
        lambda: extractor.transform(X),
        lambda: np.concatenate([session.run(None, {"X": batch})[0] for batch in batches]),
    )


def _onnx_and_torch(build: Callable[[], nn.Module]) -> Pair:
    X = _samples(build).numpy()
    ours, peer = (_extractor(build, engine) for engine in ("onnxruntime", "torch"))
    return lambda: ours.transform(X), lambda: peer.transform(X)


def _one_by_torch(build: Callable[[], nn.Module]) -> Pair:
    network, X = build(), _samples(build)[:1]
    pipe, array = _pipeline(build, "torch"), X.numpy()

    def bare() -> torch.Tensor:
        with torch.inference_mode():
            return network(X)

    return _often(partial(pipe.predict_proba, array)), _often(bare)


def _one_by_onnx(build: Callable[[], nn.Module]) -> Pair:
    session, X = _session(build), _samples(build)[:1].numpy()
    pipe = _pipeline(build, "onnxruntime")
    return _often(partial(pipe.predict_proba, X)), _often(lambda: session.run(None, {"X": X}))


def _often(call: Callable[[], object]) -> Callable[[], object]:
    return lambda: [call() for _ in range(N_CALLS)]


def _cases(name: str, build: Callable[[], nn.Module], goals: dict[str, str]) -> list[Case]:
    rows = [
        ('engine="onnxruntime"', BARE, PICTURES, _onnx_and_bare),
        ('engine="onnxruntime"', 'engine="torch"', PICTURES, _onnx_and_torch),
        ("Pipeline.predict_proba", "the bare network in inference mode", ONE, _one_by_torch),
        ('Pipeline.predict_proba, engine="onnxruntime"', BARE, ONE, _one_by_onnx),
    ]
    return [
        Case(what, peer, f"{name}, {size}", goals[pair.__name__], partial(pair, build), pairs=9)
        for what, peer, size, pair in rows
        if pair.__name__ in goals
    ]


GOALS = {
    "_onnx_and_bare": "<= 1.05",
    "_onnx_and_torch": ">= 2",
    "_one_by_torch": "<= 1.1",
    "_one_by_onnx": "<= 1.15",
}
CASES = [
    *_cases("MobileNetV2", _mobilenet, GOALS),
    *_cases("EfficientNet-Lite0", _efficientnet_lite, GOALS),
    *_cases("EfficientNet-B0", _efficientnet, GOALS),
    *_cases("LeNet-5", _lenet, {"_one_by_torch": "", "_one_by_onnx": ""}),
]
