"""The command that scores pictures against a loop that one would write by hand.

Both have two worker processes of one thread each, which live on between calls, and write CSV.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.export import to_onnx
from sklearn_densconf.scoring._run import Job, score
from tests.benchmarks._harness import Case, Pair, Row
from tests.benchmarks._inputs import DATA
from tests.benchmarks.bench_distributed import mobilenet, pictures

N_PICTURES = 2000
BATCH = 16
CROP = """
import numpy as np
from PIL import Image

def crop(picture):
    scale = 256 / min(picture.size)
    picture = picture.resize([max(224, round(s * scale)) for s in picture.size], Image.BILINEAR)
    left, top = ((side - 224) // 2 for side in picture.size)
    pixels = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32)
    return np.moveaxis(pixels, -1, 0) / 127.5 - 1
"""


def _hand_written(model: str, paths: list[str], crop: str) -> list[tuple[str, int, float, float]]:
    """Score one part in a worker, as a tutorial of onnxruntime would."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names: dict = {}
    exec(crop, names)  # the same code in both
    rows = []
    for start in range(0, len(paths), BATCH):
        part = paths[start : start + BATCH]
        batch = np.stack([names["crop"](Image.open(path).convert("RGB")) for path in part])
        label, proba, known = session.run(["label", "probabilities", "score"], {"samples": batch})
        rows += zip(part, label.tolist(), proba.max(axis=1).tolist(), known.tolist(), strict=True)
    return rows


def _command() -> Pair:
    folder = Path(tempfile.mkdtemp())
    paths, y = pictures()
    extractor = mobilenet()
    pipe = make_pipeline(extractor, GaussianDensityClassifier("tied_diag")).fit(paths[::2], y[::2])
    to_onnx(pipe, folder / "model.onnx", preprocessed=True)
    (folder / "crop.py").write_text(CROP)
    chosen = sorted(map(str, (DATA / "imagenet20").glob("*/*/*/*.JPEG")))[:N_PICTURES]
    (folder / "list.txt").write_text("\n".join(chosen))
    step = 256

    def ours() -> None:
        out = folder / "ours.csv"
        out.unlink(missing_ok=True)
        preprocessing = f"{folder / 'crop.py'}:crop"
        score(
            Job(folder / "model.onnx", [str(folder / "list.txt")], out, preprocessing, jobs=2,
                quiet=True)
        )  # fmt: skip

    def by_hand() -> None:
        tasks = (
            joblib.delayed(_hand_written)(str(folder / "model.onnx"), chosen[i : i + step], CROP)
            for i in range(0, len(chosen), step)
        )
        with (folder / "hand.csv").open("w", newline="") as file:
            for rows in joblib.Parallel(2, batch_size=1)(tasks):
                csv.writer(file).writerows(rows)

    ours(), by_hand()
    with (folder / "ours.csv").open() as one, (folder / "hand.csv").open() as other:
        next(one)
        for a, b in zip(csv.reader(one), csv.reader(other), strict=True):
            assert a[0] == b[0]
            assert abs(float(a[2]) - float(b[2])) < 1e-5
    return ours, by_hand


def memory() -> Row:
    """Peak of the process that scores, one worker, small pictures: 20,000 against 2,000."""
    folder = Path(tempfile.mkdtemp())
    Image.new("L", (8, 8)).save(folder / "one.png")
    random = np.random.default_rng(0)
    X, y = random.random((100, 1, 8, 8), np.float32), np.arange(100) % 10
    import torch

    pipe = make_pipeline(FeatureExtractor(torch.nn.Flatten()), GaussianDensityClassifier())
    to_onnx(pipe.fit(X, y), folder / "model.onnx")
    low, high = (_peak(folder, n) for n in (N_PICTURES, 10 * N_PICTURES))
    return Row("peak memory of score, 20,000 pictures", "2,000 pictures",
               f"8 x 8 px; {high / 2**20:.0f} MiB", "<= 1.05",
               high / low, high / low, high / low)  # fmt: skip


def _peak(folder: Path, n: int) -> int:
    (folder / "list.txt").write_text(f"{folder / 'one.png'}\n" * n)
    out = folder / f"{n}.parquet"
    code = (
        "import sys; from sklearn_densconf.__main__ import main; "
        "main(['score', *sys.argv[1:], '--quiet']); "
        # ru_maxrss would be that of the larger process which started it
        "print(*(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line))"
    )
    arguments = [str(folder / "model.onnx"), str(folder / "list.txt"), "--out", str(out)]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) * 1024


CASES = [
    Case(
        "command score, two workers",
        "decoding and onnxruntime in a loop by hand, two workers",
        f"MobileNetV2 as one ONNX file, {N_PICTURES:,} JPEG files of ImageNet",
        ">= 0.95",
        _command,
        pairs=5,
    ),
]
FIGURES = [memory]
