"""The manifest of a folder of results: what the run is, and which files are its own."""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sklearn_densconf import GaussianDensityClassifier, distributed

X, Y = load_digits(return_X_y=True)
DENSITY = GaussianDensityClassifier().fit(X, Y)
EXPECTED = DENSITY.predict_proba(X)
CUT_OFF = """
import os, sys
from sklearn_densconf.distributed import _folder, predict
_folder.NOTE_EVERY = float(sys.argv[2])
from test_manifest import Dying, X, Y
os.environ["DIES"] = "1"
predict(Dying().fit(X, Y), X, sys.argv[1], shard_size=500)
"""


class Dying(GaussianDensityClassifier):
    """Ends the process at the last shard, of 297 samples, as a kill does."""

    def predict_proba(self, X):
        if os.environ.get("DIES") and len(X) == 297:
            os._exit(9)
        return super().predict_proba(X)


def killed(folder, note_every=0.0):
    """Have a process write three shards of four, and die; return the model."""
    paths = os.pathsep.join([os.path.dirname(__file__), *sys.path])
    arguments = [sys.executable, "-c", CUT_OFF, str(folder), str(note_every)]
    ended = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": paths}, check=False)
    assert ended.returncode == 9
    assert len(list(folder.glob("from-*.npy"))) == 3
    import test_manifest  # its class is the one of the other process

    return test_manifest.Dying().fit(X, Y)


def read(folder):
    return json.loads((folder / "run.json").read_text())


def noted(folder):
    return {name: each["rows"] for name, each in read(folder)["files"].items()}


def times(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("from-*.npy")}


def test_the_manifest_says_which_files_there_are_with_rows_and_checksums(tmp_path):
    killed(tmp_path)
    assert noted(tmp_path) == {"from-0.npy": 500, "from-500.npy": 500, "from-1000.npy": 500}
    for name, each in read(tmp_path)["files"].items():
        assert each["sha256"] == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    about = read(tmp_path)
    assert (about["method"], about["shard_size"], about["version"]) == ("predict_proba", 500, 2)
    assert {"model", "X", "checksum"} < about.keys()


def test_a_finished_run_has_its_result_in_the_manifest_alone(tmp_path):
    distributed.predict(killed(tmp_path), X, tmp_path, shard_size=500)
    assert noted(tmp_path) == {"predict_proba.npy": 1797}
    assert {path.name for path in tmp_path.iterdir()} == {"run.json", "predict_proba.npy"}


@pytest.mark.parametrize("note_every", [0.0, 1e9])
def test_shards_of_a_killed_run_are_kept_noted_or_not(tmp_path, note_every):
    killed(tmp_path, note_every)
    assert len(noted(tmp_path)) == (0 if note_every else 3)
    before = times(tmp_path)
    model = killed(tmp_path, note_every)
    assert times(tmp_path) == before
    found = distributed.predict(model, X, tmp_path, shard_size=500)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["from-1500.npy", "predict_proba.npy"])
def test_a_file_of_others_that_came_after_the_run_began_is_named_and_left(tmp_path, name):
    model = killed(tmp_path)
    (tmp_path / name).write_text("mine")
    before = times(tmp_path)
    with pytest.raises(ValueError, match=rf"has \['{name}'\], which no run wrote that began there"):
        distributed.predict(model, X, tmp_path, shard_size=500)
    assert (tmp_path / name).read_text() == "mine"
    assert times(tmp_path) == before


def test_a_finished_run_deletes_no_file_of_others(tmp_path):
    distributed.predict(DENSITY, X, tmp_path, shard_size=500)
    (tmp_path / "from-0.npy").write_text("mine")
    with pytest.raises(ValueError, match=r"has \['from-0\.npy'\], which no run wrote"):
        distributed.predict(DENSITY, X, tmp_path, shard_size=500)
    assert (tmp_path / "from-0.npy").read_text() == "mine"


def _as_before(folder):
    """Turn a manifest into that of the first version, which had no files."""
    about = read(folder)
    del about["files"], about["checksum"]
    (folder / "run.json").write_text(json.dumps(about | {"version": 1}))


def test_a_folder_of_the_first_version_goes_on(tmp_path, recwarn):
    model = killed(tmp_path)
    _as_before(tmp_path)
    found = distributed.predict(model, X, tmp_path, shard_size=500)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-9, atol=1e-12)
    _as_before(tmp_path)
    written = (tmp_path / "predict_proba.npy").stat().st_mtime_ns
    distributed.predict(model, X, tmp_path, shard_size=500)
    assert (tmp_path / "predict_proba.npy").stat().st_mtime_ns == written
    assert noted(tmp_path) == {"predict_proba.npy": 1797}
    assert not recwarn.list


def test_a_damaged_shard_of_the_first_version_is_computed_again(tmp_path):
    model = killed(tmp_path)
    _as_before(tmp_path)
    (tmp_path / "from-500.npy").write_bytes(b"")
    with pytest.warns(RuntimeWarning, match=r"from-500\.npy is not as this run wrote it"):
        found = distributed.predict(model, X, tmp_path, shard_size=500)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"rows": 1797', '"rows": 1796'),
        ('"sha256": "', '"sha256": "0'),
        ('"version": 2', '"version": 1'),
        ('"predict_proba.npy"', '"from-0.npy"'),
        ('"checksum"', '"checksums"'),
        ("{", "[{"),
    ],
)
def test_a_damaged_manifest_is_named(tmp_path, old, new):
    distributed.predict(DENSITY, X, tmp_path)
    path = tmp_path / "run.json"
    content = path.read_text()
    path.write_text(content.replace(old, new, 1))
    assert path.read_text() != content
    with pytest.raises(ValueError, match=r"run\.json is damaged .*: pass another folder"):
        distributed.predict(DENSITY, X, tmp_path)
    assert path.read_text() == content.replace(old, new, 1)


def test_a_manifest_of_another_program_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"command": "train"}')
    with pytest.raises(ValueError, match="has results of another run, with another model"):
        distributed.predict(DENSITY, X, tmp_path)
    assert (tmp_path / "run.json").read_text() == '{"command": "train"}'
