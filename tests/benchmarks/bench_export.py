"""Exported pipelines against their network alone, as files of onnxruntime and as torch modules."""

import tempfile
import warnings
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from sklearn.pipeline import Pipeline, make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, OpenSetClassifier
from sklearn_densconf.datasets import load_imagenet
from sklearn_densconf.export import to_onnx, to_torch
from tests.benchmarks._harness import Case, Pair
from tests.benchmarks._inputs import DATA, imagenet_net

N_PICTURES, BATCH, N_THREADS = 96, 16, 2
OPEN_SET = "open-set, 1,280 features and 20 logits"
CLASSIFIERS = {
    "diag, 1,000 logits, 20 classes": (GaussianDensityClassifier(background=0.01), None),
    OPEN_SET: (OpenSetClassifier(), ["features", "output"]),
}


@cache
def _pictures() -> tuple[np.ndarray, np.ndarray]:
    pictures, net = load_imagenet(DATA / "imagenet20", split="train"), imagenet_net()
    labels = np.unique(pictures.y)
    chosen = np.concatenate([np.flatnonzero(pictures.y == k)[:5] for k in labels])
    X = np.stack([net.preprocess(pictures.paths[index]).numpy() for index in chosen])
    return X[:N_PICTURES], pictures.y[chosen][:N_PICTURES]


def _network(name: str) -> nn.Module:
    classes = np.unique(_pictures()[1]).tolist()
    network = imagenet_net().mobilenet_v2(classes if "open-set" in name else None)
    return network.eval()


@cache
def _fitted(name: str) -> Pipeline:
    classifier, layer = CLASSIFIERS[name]
    extractor = FeatureExtractor(_network(name), layer=layer, device="cpu", batch_size=BATCH)
    return make_pipeline(extractor, classifier).fit(*_pictures())


def _file(name: str, batch: int, precision: str = "float64") -> Pair:
    """The exported pipeline, and the network alone, exported by torch."""
    X = _pictures()[0]
    parts = [X[start : start + batch] for start in range(0, N_PICTURES if batch > 1 else 30, batch)]
    with tempfile.TemporaryDirectory() as folder:
        to_onnx(_fitted(name), Path(folder) / "pipe.onnx", precision=precision)
        _write_network(_network(name), Path(folder) / "network.onnx")
        sessions = [_session(Path(folder) / f"{each}.onnx") for each in ("pipe", "network")]
    ours, bare = (partial(_run, session, parts) for session in sessions)
    return ours, bare


def _session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = N_THREADS
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def _write_network(network: nn.Module, file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (torch.zeros(2, *_pictures()[0].shape[1:]),),
            input_names=["samples"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            verbose=False,
        )
    assert program is not None
    program.save(file)


def _run(session: onnxruntime.InferenceSession, parts: list[np.ndarray]) -> None:
    for part in parts:
        session.run(None, {"samples": part})


def _module(name: str) -> Pair:
    """The exported module, and the network alone, both with the channels last."""
    module, network = (
        each.to(memory_format=torch.channels_last)
        for each in (to_torch(_fitted(name)), _network(name))
    )
    parts = torch.from_numpy(_pictures()[0]).split(BATCH)
    return partial(_pass, module, parts), partial(_pass, network, parts)


def _pass(network: nn.Module, parts: tuple[torch.Tensor, ...]) -> None:
    with torch.inference_mode():
        for part in parts:
            network(part)


SIZES = {BATCH: f"{N_PICTURES} pictures, batch {BATCH}", 1: "30 pictures, one by one"}
CASES = (
    [
        Case(
            f"export.to_onnx, {name}",
            "the network's own ONNX file, onnxruntime",
            f"MobileNetV2, {SIZES[batch]}",
            "<= 1.03",
            partial(_file, name, batch),
            9,
        )
        for name in CLASSIFIERS
        for batch in SIZES
    ]
    + [
        Case(
            f'export.to_onnx, precision="float32", {OPEN_SET}',
            "the network's own ONNX file, onnxruntime",
            f"MobileNetV2, {SIZES[batch]}",
            "<= 1.03",
            partial(_file, OPEN_SET, batch, "float32"),
            9,
        )
        for batch in SIZES
    ]
    + [
        Case(
            f"export.to_torch, {name}",
            "the network, inference mode",
            f"MobileNetV2, {SIZES[BATCH]}",
            "",
            partial(_module, name),
        )
        for name in CLASSIFIERS
    ]
)
