"""What only a GPU can show: ``python -m tests.benchmarks.gpu``, one call of under ten minutes.

VGG-16 and ResNet-50 with random weights against bare loops; the density stage on tensors that stay
on the device; an exported module; batches halved where memory really runs out; a pipeline that is
dumped here and loaded where there is no GPU. The table comes last. Without a GPU everything runs at
a small size, to show that it runs: its numbers say nothing then, and have no goals; two rows are
left out.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import torch
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from torch import nn
from torch.profiler import ProfilerActivity, profile

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.export import to_torch
from tests.benchmarks import __main__ as table
from tests.benchmarks._harness import Case, Pair, Row, measure
from tests.benchmarks._inputs import torchvision

HAS_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda" if HAS_GPU else "cpu")
WHERE = torch.cuda.get_device_name() if HAS_GPU else "no GPU: small, to show that it runs"
SIZE, N_PICTURES, BATCH = (224, 2048, 256) if HAS_GPU else (64, 8, 4)
N, D, K = (50_000, 1_000, 1_000) if HAS_GPU else (2_000, 200, 200)
PAIRS = 5 if HAS_GPU else 3
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}
MEMORY_LIMIT = 6 * 2**30  # bytes: too few for VGG-16 on a batch of 512, enough for 64
TOO_MANY = 512


def main() -> None:
    """Measure everything; print the rows as they come, and the table last."""
    rows: list[Row] = []
    for figure in (throughput, density_stage, exported, halving, loading_elsewhere):
        for measured in figure():
            row = measured if HAS_GPU else replace(measured, goal="", note=WHERE)
            print(table._line(row), flush=True)
            rows.append(row)
    print(f"\n{WHERE}, torch {torch.__version__}\n")
    print("| what | against | at | figure | times | goal | met | note |")
    print("| --- " * 8 + "|")
    for row in rows:
        print(table._line(row))


def throughput() -> list[Row]:
    """The extractor against a bare loop over the same batches."""
    return [
        measure(
            Case(
                f"FeatureExtractor, {precision}",
                "bare loop, same batches",
                f"{name}, {N_PICTURES} pictures of {SIZE} px, batch {BATCH}",
                ">= 0.95",
                partial(_extractor_and_bare_loop, name, precision),
                PAIRS,
            )
        )
        for name in ("vgg16", "resnet50")
        for precision in PRECISIONS
    ]


def _extractor_and_bare_loop(name: str, precision: str) -> Pair:
    X, network = _pictures(N_PICTURES), _network(name)
    extractor = FeatureExtractor(network, batch_size=BATCH, precision=precision).fit(X)
    bare = partial(_bare_loop, _network(name).to(DEVICE), PRECISIONS[precision])
    np.testing.assert_allclose(extractor.transform(X[:BATCH]), bare(X[:BATCH]), rtol=0.1, atol=0.1)
    return lambda: extractor.transform(X), lambda: bare(X)


@torch.inference_mode()
def _bare_loop(network: nn.Module, autocast: torch.dtype | None, X: torch.Tensor) -> np.ndarray:
    layout = torch.contiguous_format if autocast is None else torch.channels_last
    network = network.to(memory_format=layout)
    precision: AbstractContextManager[object] = nullcontext()
    if autocast is not None:
        precision = torch.autocast(DEVICE.type, dtype=autocast)
    with precision:
        batches = (batch.to(DEVICE).to(memory_format=layout) for batch in X.split(BATCH))
        return torch.cat([network(batch).float() for batch in batches]).cpu().numpy()


def density_stage() -> list[Row]:
    """The density on the device: its cost, its share, and what it copies to the host."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    centres = torch.randn(K, D, device=DEVICE, generator=generator)
    y = torch.arange(20 * K, device=DEVICE) % K
    noise = torch.randn(len(y), D, device=DEVICE, generator=generator)
    X = centres[torch.arange(N, device=DEVICE) % K]
    matrix = torch.randn(D, K, device=DEVICE, dtype=torch.float64, generator=generator)
    with config_context(array_api_dispatch=True):
        density = GaussianDensityClassifier().fit(centres[y] + noise, y)
        predict = partial(density.predict_proba, X)
        product = partial(torch.matmul, X.double(), matrix)
        size = f"{N:,} x {D:,}, {K:,} classes, float32"
        case = Case(
            "density stage, on the device",
            "bare float64 product",
            size,
            "<= 3",
            lambda: (_synchronised(predict), _synchronised(product)),
            PAIRS,
        )
        row = measure(case)
        return [row, _share_of_network(row, size), *_copies_to_host(predict, size)]


def _share_of_network(density: Row, size: str) -> Row:
    """The density's time over that of the fastest network, for as many pictures."""
    X, network = _pictures(BATCH), _network("resnet50").to(DEVICE)
    loop = _synchronised(partial(_bare_loop, network, torch.bfloat16, X))
    loop()
    seconds = statistics.median(_seconds(loop) for _ in range(PAIRS)) / BATCH * N
    share = density.ours_s / seconds
    return Row(
        "density stage, on the device",
        f"ResNet-50, bfloat16, {SIZE} px, as many pictures",
        size,
        "<= 0.02",
        share,
        density.low / density.ratio * share,
        density.high / density.ratio * share,
        density.ours_s,
        seconds,
    )


def _copies_to_host(predict: Callable[[], torch.Tensor], size: str) -> list[Row]:
    """Bytes that one prediction copies to the host, as torch's profiler saw them."""
    if not HAS_GPU:
        return []
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        result = predict()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        profiler.export_chrome_trace(f"{folder}/trace.json")
        events = json.loads(Path(folder, "trace.json").read_text())["traceEvents"]
    copies = [e["args"]["bytes"] for e in events if e.get("name", "").startswith("Memcpy DtoH")]
    share = sum(copies) / (result.element_size() * result.nelement())
    note = f"{sum(copies)} bytes in {len(copies)} copies: checks of finiteness"
    goal = "<= 0.0001"
    return [
        Row("copied to the host", "bytes of the result", size, goal, share, share, share, note=note)
    ]


def exported() -> list[Row]:
    """The exported module on the device against its network alone, and against the pipeline."""
    X = _pictures(BATCH)
    y = np.arange(BATCH) % 2
    pipe = make_pipeline(
        FeatureExtractor(_network("resnet50"), batch_size=BATCH), GaussianDensityClassifier()
    ).fit(X.numpy(), y)
    rows = []
    for name, dtype in {"float32": torch.float32, "float16": torch.float16}.items():
        module, network = (
            each.to(DEVICE, dtype) for each in (to_torch(pipe), _network("resnet50").eval())
        )
        batch = X.to(DEVICE)
        found, wanted = module(batch).probabilities.cpu().numpy(), pipe.predict_proba(X.numpy())
        error = float(np.abs(found - wanted).max())
        case = Case(
            f"export.to_torch, network in {name}, head in float64",
            "the network alone, inference mode",
            f"ResNet-50, {SIZE} px, one batch of {BATCH} on the device",
            "<= 1.03",
            partial(_module_and_network, module, network, batch, dtype),
            PAIRS,
        )
        note = f"probabilities differ from the pipeline's by up to {error:.2g}"
        rows.append(replace(measure(case), note=note))
    return rows


def _module_and_network(
    module: nn.Module, network: nn.Module, batch: torch.Tensor, dtype: torch.dtype
) -> Pair:
    def passed(each: nn.Module, X: torch.Tensor) -> Callable[[], object]:
        return _synchronised(torch.inference_mode()(partial(each, X)))

    return passed(module, batch), passed(network, batch.to(dtype))


def halving() -> list[Row]:
    """A batch that does not fit into memory: halved until it does, with the same features."""
    if not HAS_GPU:
        return []
    X = _pictures(TOO_MANY)
    wanted = FeatureExtractor(_network("vgg16"), batch_size=32).fit(X).transform(X)
    torch.cuda.empty_cache()
    share = MEMORY_LIMIT / torch.cuda.get_device_properties(DEVICE).total_memory
    torch.cuda.set_per_process_memory_fraction(share)
    try:
        Recording.sizes.clear()
        extractor = FeatureExtractor(Recording(_network("vgg16")), batch_size=TOO_MANY)
        got = extractor.fit_transform(X)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    error = float(np.abs(got - wanted).max() / np.abs(wanted).max())
    sizes = Recording.sizes[1:]  # without the one sample of fit
    assert sizes[0] == TOO_MANY > sizes[-1], sizes
    return [
        Row(
            "features by batches halved out of memory",
            "features by batches of 32: largest difference over largest value",
            f"VGG-16, batch {TOO_MANY} in {MEMORY_LIMIT / 2**30:.0f} GiB",
            "<= 0.001",
            *[error] * 3,
            note=f"tried {sizes}",
        )
    ]


class Recording(nn.Module):
    """A network that remembers the sizes of its batches."""

    sizes: list[int] = []

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Give the network's output."""
        self.sizes.append(len(X))
        return self.network(X)


def loading_elsewhere() -> list[Row]:
    """A pipeline dumped here, loaded by a process that sees no GPU."""
    X = _pictures(32)
    pipeline = make_pipeline(FeatureExtractor(_network("resnet50")), GaussianDensityClassifier())
    pipeline.fit(X, np.arange(32) % 2)
    here = pipeline.predict_proba(X)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump((pipeline, X.numpy()), f"{folder}/pipeline")
        code = f"from tests.benchmarks import gpu; gpu.predict_elsewhere({folder!r})"
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run([sys.executable, "-c", code], check=True, env=environment)
        error = float(np.abs(np.load(f"{folder}/probabilities.npy") - here).max())
    return [
        Row(
            "pipeline dumped here, loaded without a GPU",
            "its probabilities here: largest difference",
            "ResNet-50, 32 pictures",
            "<= 0.01",
            *[error] * 3,
        )
    ]


def predict_elsewhere(folder: str) -> None:
    """Load the pipeline, in a process without a GPU, and write its probabilities."""
    assert not HAS_GPU
    torchvision()
    pipeline, X = joblib.load(f"{folder}/pipeline")
    np.save(f"{folder}/probabilities.npy", pipeline.predict_proba(X))


def _synchronised(call: Callable[[], object]) -> Callable[[], None]:
    def synchronised() -> None:
        call()
        if HAS_GPU:
            torch.cuda.synchronize()

    return synchronised


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _pictures(n: int) -> torch.Tensor:
    return torch.rand(n, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def _network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return getattr(torchvision().models, name)(weights=None).eval()


if __name__ == "__main__":
    main()
