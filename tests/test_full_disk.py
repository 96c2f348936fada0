"""A disk that is really full: an error names the file, and nothing half done stays on it.

The disk is one of 1 MB in memory, which only root can mount.
"""

import subprocess
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed, io
from sklearn_densconf.__main__ import main
from sklearn_densconf.export import to_onnx

RNG = np.random.default_rng(0)
X = RNG.normal(size=(900, 16)).astype(np.float32)
Y = np.arange(900) % 10
NETWORK = torch.nn.Sequential(torch.nn.Linear(16, 200), torch.nn.ReLU())
EXTRACTOR = FeatureExtractor(NETWORK, device="cpu").fit(X)
PIPE = make_pipeline(EXTRACTOR, GaussianDensityClassifier("tied")).fit(X, Y)
LEFT = [0, 4096, 20_000]  # bytes: none, one page, and less than any of the jobs takes


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a disk, and not in every container")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk, left):
    """Leave so many bytes free."""
    with (disk / "others").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            file.truncate(file.tell() - left)


def files_on(disk):
    found = {path.relative_to(disk).as_posix() for path in disk.rglob("*") if path.is_file()}
    return found - {"others"}


def predicted(disk, n_jobs):
    return distributed.predict(PIPE, X, disk / "run", shard_size=300, n_jobs=n_jobs)


def saved(disk):
    io.save(PIPE, disk / "pipe.densconf")
    return io.load(disk / "pipe.densconf", network=NETWORK).predict_proba(X)


def exported(disk):
    to_onnx(PIPE, disk / "pipe.onnx")
    session = pytest.importorskip("onnxruntime").InferenceSession(disk / "pipe.onnx")
    return session.run(["probabilities"], {session.get_inputs()[0].name: X})[0]


def fitted(disk):
    model = make_pipeline(EXTRACTOR, GaussianDensityClassifier("tied"))
    return distributed.fit(model, [(X, Y)], range(10), folder=disk / "run").predict_proba(X)


JOBS = {  # with what may stay: whole files that the next call takes
    "io.save": (saved, set()),
    "to_onnx": (exported, set()),
    "distributed.fit": (fitted, set()),
    "distributed.predict": (partial(predicted, n_jobs=1), {"run/run.json"}),
    "distributed.predict, 2 workers": (partial(predicted, n_jobs=2), {"run/run.json"}),
}


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize(("job", "may_stay"), JOBS.values(), ids=JOBS)
def test_an_error_names_the_file_and_nothing_half_done_stays(disk, job, may_stay, left):
    fill(disk, left)
    with pytest.raises(OSError, match=rf"No space left on device: '{disk}/"):
        job(disk)
    assert files_on(disk) <= may_stay
    (disk / "others").unlink()
    np.testing.assert_allclose(job(disk), PIPE.predict_proba(X), rtol=1e-4, atol=1e-6)
    assert not list(disk.rglob("unfinished-*"))


@pytest.mark.parametrize("left", LEFT)
def test_features_that_find_no_room_are_computed_and_told(disk, left):
    expected = EXTRACTOR.transform(X)
    fill(disk, left)
    extractor = FeatureExtractor(NETWORK, device="cpu", memory=disk / "memory")
    with pytest.warns(UserWarning, match=rf"{disk}/.* cannot be used as memory .*No space left"):
        found = extractor.fit_transform(X)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    kept = files_on(disk)
    assert not [name for name in kept if "unfinished-" in name or name.endswith(".damaged")]
    (disk / "others").unlink()
    backwards = extractor.transform(X[::-1])  # of X itself the process has the features
    np.testing.assert_allclose(backwards, expected[::-1], rtol=1e-5, atol=1e-6)
    assert kept < files_on(disk)


@pytest.mark.parametrize("left", LEFT[:2])
def test_a_score_names_the_file_and_goes_on_once_there_is_room(disk, tmp_path, capsys, left):
    for number in range(30):
        pixels = RNG.integers(0, 256, (4, 4), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    paths = sorted(tmp_path.glob("*.png"))
    extractor = FeatureExtractor(torch.nn.Flatten(), device="cpu")
    pipe = make_pipeline(extractor, GaussianDensityClassifier("diag"))
    joblib.dump(pipe.fit(paths, np.arange(30) % 2), tmp_path / "model")
    command = ["score", str(tmp_path / "model"), *map(str, paths), "--out", str(disk / "t.csv")]
    fill(disk, left)
    assert main([*command, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "No space left on device" in error
    assert f"'{disk}/t.csv" in error
    assert not [name for name in files_on(disk) if "unfinished-" in name]
    assert "t.csv" not in files_on(disk)
    (disk / "others").unlink()
    assert main([*command, "--quiet"]) == 0
    assert files_on(disk) == {"t.csv"}
