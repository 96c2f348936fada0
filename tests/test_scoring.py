"""The command that scores pictures: one table, the same after kills, and one line on errors."""

import csv
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, OpenSetClassifier, io
from sklearn_densconf.__main__ import main
from sklearn_densconf.export import to_onnx
from sklearn_densconf.scoring import _run
from sklearn_densconf.scoring._listing import find_pictures

COLUMNS = ["path", "label", "confidence", "known", "score", "reason"]
N = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of digits as PNG files, some in a folder below."""
    place = tmp_path_factory.mktemp("pictures")
    (place / "below").mkdir()
    pictures = (load_digits().images[:N] * 15.9).astype(np.uint8)
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(place / ("below" if number % 3 else "") / f"{number:03}.png")
    (place / "notes.txt").write_text("no picture")
    return place


@pytest.fixture(scope="module")
def pipe():
    X, y = load_digits(return_X_y=True)
    X = (X * 15.9).astype(np.uint8).reshape(-1, 8, 8)[:, None].astype(np.float32) / 255
    names = np.array([f"digit {label}" for label in y])
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 20), torch.nn.ReLU())
    return make_pipeline(FeatureExtractor(network), GaussianDensityClassifier()).fit(X, names)


@pytest.fixture(scope="module")
def models(pipe, tmp_path_factory):
    """The pipeline in files of both kinds, and its classifier alone."""
    place = tmp_path_factory.mktemp("models")
    joblib.dump(pipe, place / "pipe.joblib")
    to_onnx(pipe, place / "pipe.onnx")
    to_onnx(pipe[-1], place / "head.onnx")
    return place


@pytest.fixture(scope="module")
def model(models):
    return models / "pipe.joblib"


@pytest.fixture(scope="module")
def onnx(models):
    return models / "pipe.onnx"


def _read(table):
    if table.suffix == ".parquet":
        return pq.read_table(table).to_pylist()
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _score(*arguments):
    return main(["score", *map(str, arguments)])


@pytest.mark.parametrize(("suffix", "jobs"), [(".csv", 1), (".parquet", 2)])
def test_the_table_says_what_the_pipeline_does(folder, model, tmp_path, suffix, jobs):
    table, pipe = tmp_path / f"scores{suffix}", joblib.load(model)
    assert _score(model, folder, "--out", table, "--jobs", jobs) == 0
    rows = _read(table)
    paths = [row["path"] for row in rows]
    assert list(rows[0]) == COLUMNS
    assert paths == sorted(paths, key=lambda path: ("below" in path, path))
    assert len(paths) == N
    assert [row["label"] for row in rows] == pipe.predict(paths).tolist()
    confidence, Z = pipe.predict_proba(paths).max(axis=1), pipe[:-1].transform(paths)
    np.testing.assert_allclose([float(row["confidence"]) for row in rows], confidence, rtol=1e-12)
    np.testing.assert_allclose([float(r["score"]) for r in rows], pipe[-1].score_samples(Z))
    assert {row["known"] for row in rows} <= {None, ""}
    assert {row["reason"] for row in rows} <= {None, ""}
    assert [path.name for path in tmp_path.iterdir()] == [table.name]


def test_an_onnx_file_gives_the_table_of_its_pipeline(folder, model, onnx, tmp_path):
    for each in (model, onnx):
        assert _score(each, folder, "--out", tmp_path / f"{each.suffix[1:]}.parquet") == 0
    ours, theirs = (_read(tmp_path / name) for name in ("joblib.parquet", "onnx.parquet"))
    for a, b in zip(ours, theirs, strict=True):
        assert [a[name] for name in ("path", "label")] == [b[name] for name in ("path", "label")]
        assert a["confidence"] == pytest.approx(b["confidence"], abs=1e-6)
        assert a["score"] == pytest.approx(b["score"], rel=1e-6)


def test_a_process_that_scores_an_onnx_file_imports_no_torch(folder, onnx, tmp_path):
    code = (
        "import sys; from sklearn_densconf.__main__ import main; main(sys.argv[1:]); "
        "print('torch' in sys.modules)"
    )
    arguments = ["score", onnx, folder, "--out", tmp_path / "scores.csv"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.split()[-1] == "False"


def test_what_an_open_set_classifier_knows_stands_in_the_table(folder, tmp_path):
    X, y = load_digits(return_X_y=True)
    X = (X * 15.9).astype(np.uint8).reshape(-1, 1, 8, 8).astype(np.float32) / 255
    trained = LogisticRegression().fit(X.reshape(len(X), -1), y)
    logits = torch.nn.Linear(64, 10)
    logits.weight.data = torch.tensor(trained.coef_, dtype=torch.float32)
    network = torch.nn.Sequential(torch.nn.Flatten(), logits)
    extractor = FeatureExtractor(network, layer=["penultimate", "output"])
    pipe = make_pipeline(extractor, OpenSetClassifier())
    joblib.dump(pipe.fit(X, y), tmp_path / "pipe.joblib")
    assert _score(tmp_path / "pipe.joblib", folder, "--out", tmp_path / "scores.parquet") == 0
    rows = _read(tmp_path / "scores.parquet")
    Z = pipe[:-1].transform([row["path"] for row in rows])
    np.testing.assert_allclose([row["known"] for row in rows], pipe[-1].known_proba(Z))
    assert isinstance(rows[0]["label"], int)


def test_inputs_are_folders_pictures_lists_and_patterns(folder, tmp_path, monkeypatch):
    listed = tmp_path / "list.txt"
    listed.write_text("one.png\n\nnot there\r\nwith space.jpg")
    found = list(find_pictures([str(listed)]))
    assert found == ["one.png", "not there", "with space.jpg"]
    one = str(folder / "000.png")
    assert list(find_pictures([one, one])) == [one, one]
    below = list(find_pictures([str(folder / "below")]))
    assert list(find_pictures([str(folder / "*" / "*.png")])) == below
    assert list(find_pictures([str(folder / "**" / "00*.png")])) == sorted(
        str(path) for path in folder.rglob("00*.png")
    )
    whole = list(find_pictures([str(folder)]))
    assert len(whole) == N
    monkeypatch.chdir(folder)
    assert list(find_pictures(["."])) == [os.path.join(".", os.path.relpath(p)) for p in whole]


def test_links_that_run_in_circles_hidden_names_and_pipes_are_no_pictures(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").touch()
    (tmp_path / "a" / ".2.png").touch()
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "broken.png").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.png")
    found = list(find_pictures([str(tmp_path)]))
    assert found == [str(tmp_path / name) for name in ("broken.png", "a/1.png")]


def test_names_of_any_bytes_are_scored(model, folder, tmp_path):
    name = os.fsencode(tmp_path) + b'/caf\xe9, "quoted"\n.png'
    with open(name, "wb") as file:
        file.write((folder / "000.png").read_bytes())
    assert _score(model, tmp_path, "--out", tmp_path / "scores.csv") == 0
    (row,) = _read(tmp_path / "scores.csv")
    assert row["path"] == str(tmp_path) + '/caf\\xe9, "quoted"\n.png'


@pytest.fixture
def damaged(folder, tmp_path):
    """A folder with pictures that are cut off, empty, of another size, and a broken link."""
    place = tmp_path / "damaged"
    place.mkdir()
    for path in sorted(folder.glob("*.png")):
        (place / path.name).write_bytes(path.read_bytes())
    (place / "a-cut.png").write_bytes((folder / "000.png").read_bytes()[:60])
    (place / "b-empty.png").touch()
    (place / "c-link.png").symlink_to(place / "nowhere")
    Image.new("L", (9, 9)).save(place / "z-large.png")
    return place


@pytest.mark.parametrize("kind", ["joblib", "onnx"])
def test_a_broken_picture_ends_the_run_or_is_listed(damaged, models, tmp_path, capsys, kind):
    file, table = models / f"pipe.{kind}", tmp_path / "scores.parquet"
    assert _score(file, damaged, "--out", table) == 2
    told = capsys.readouterr().err.splitlines()
    assert "a-cut.png" in told[-1] or "b-empty.png" in told[-1]  # headers may be read before
    assert told[-1].startswith("error: ")
    assert not table.exists()
    assert _score(file, damaged, "--out", table, "--skip-broken") == 0
    reasons = {Path(row["path"]).name: row for row in _read(table) if row["reason"]}
    assert list(reasons) == ["a-cut.png", "b-empty.png", "c-link.png", "z-large.png"]
    assert "cannot identify image" in reasons["b-empty.png"]["reason"]
    assert "No such file" in reasons["c-link.png"]["reason"]
    assert "shape (1, 9, 9)" in reasons["z-large.png"]["reason"]
    assert {row["label"] for row in reasons.values()} == {None}
    assert "4 broken" in capsys.readouterr().err
    good = [row for row in _read(table) if not row["reason"]]
    assert len(good) == len(list(damaged.glob("0*.png")))
    assert all(row["confidence"] > 0 for row in good)


def test_of_broken_pictures_alone_there_is_no_table(model, tmp_path, capsys):
    (tmp_path / "1.png").write_bytes(b"no picture")
    assert _score(model, tmp_path / "1.png", "--out", tmp_path / "t.csv", "--skip-broken") == 2
    assert "no picture could be read. The first, " in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_a_run_with_skip_broken_is_not_finished_without(damaged, model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    table = tmp_path / "scores.csv"
    monkeypatch.setattr(_run, "write_table", full)
    assert _score(model, damaged, "--out", table, "--skip-broken") == 2
    assert (tmp_path / "scores.csv.parts").exists()
    monkeypatch.undo()
    assert _score(model, damaged, "--out", table) == 2
    assert _score(model, damaged, "--out", table, "--skip-broken") == 0


def test_files_of_others_beside_the_shards_outlive_them(folder, model, tmp_path, monkeypatch):
    def full(*_):
        (tmp_path / "scores.csv.parts" / "notes.txt").write_text("mine")
        raise OSError(28, "No space left on device")

    table = tmp_path / "scores.csv"
    monkeypatch.setattr(_run, "write_table", full)
    assert _score(model, folder, "--out", table) == 2
    monkeypatch.undo()
    for _ in range(2):
        assert _score(model, folder, "--out", table) == 0
        table.unlink()
        assert {path.name for path in tmp_path.rglob("*")} >= {"notes.txt"}
        assert not list(tmp_path.rglob("from-*")) + list(tmp_path.rglob("run.json"))


PREPROCESSING = """
import numpy as np
def crop(picture):
    return np.asarray(picture.resize((8, 8)), np.float32)[None] / 255
def wrong(picture):
    raise ValueError("not today")
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_onnx_file_gets_its_preprocessing_from_a_file(folder, onnx, tmp_path, capsys, jobs):
    code = tmp_path / "pixels_of_test.py"
    code.write_text(PREPROCESSING)
    large = tmp_path / "large.png"
    Image.open(folder / "000.png").resize((80, 80), Image.Resampling.NEAREST).save(large)
    arguments = (onnx, large, "--out", tmp_path / "scores.csv", "--jobs", jobs)
    assert _score(*arguments) == 2
    assert "large.png becomes an array of shape (1, 80, 80), wanted (1, 8, 8): give --pre" in (
        capsys.readouterr().err
    )
    assert _score(*arguments, "--preprocessing", f"{code}:wrong") == 2
    assert "not today This was while preprocessing" in capsys.readouterr().err
    assert _score(*arguments, "--preprocessing", f"{code}:crop") == 0
    assert _read(tmp_path / "scores.csv")[0]["label"] == "digit 0"
    assert _score(onnx, large, "--out", tmp_path / "2.csv", "--preprocessing", "json:no") == 2
    assert "json has no no" in capsys.readouterr().err


def test_pictures_of_any_mode_have_the_scores_of_the_pipeline(folder, models, tmp_path, capsys):
    ground = Image.new("L", (8, 8), 0)
    clear = Image.merge("LA", (ground, Image.open(folder / "000.png")))
    clear.save(tmp_path / "clear.png")
    found = []
    for kind in ("joblib", "onnx"):
        table = tmp_path / f"{kind}.csv"
        assert _score(models / f"pipe.{kind}", tmp_path / "clear.png", "--out", table) == 0
        found.append(float(_read(table)[0]["score"]))
    assert found[0] == pytest.approx(found[1], rel=1e-6)
    deep = tmp_path / "deep.png"
    Image.fromarray(np.asarray(Image.open(folder / "000.png")).astype(np.uint16) * 257).save(deep)
    arguments = models / "pipe.onnx", deep, "--out", tmp_path / "deep.csv"
    assert _score(*arguments) == 2
    assert "deep.png': a picture of mode 'I;16' has pixels outside 0-255" in capsys.readouterr().err
    code = tmp_path / "deep_of_test.py"
    code.write_text("import numpy as np\ndef f(x): return np.asarray(x)[None] / np.float32(65535)")
    assert _score(*arguments, "--preprocessing", f"{code}:f") == 0
    assert _read(tmp_path / "deep.csv")[0]["label"] == "digit 0"


def _command(*arguments):
    return [sys.executable, "-m", "sklearn_densconf", "score", *map(str, arguments), "--quiet"]


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_gives_the_table_of_one_run(onnx, folder, tmp_path):
    """DENSCONF_KILLS sets how often; a table that is done before a kill is compared, and left."""
    pictures = [folder / "000.png", folder / "003.png"]
    listed, whole = tmp_path / "list.txt", tmp_path / "whole.parquet"
    listed.write_text("\n".join(str(pictures[n % 2]) for n in range(6_000)))
    start = time.monotonic()
    subprocess.run(_command(onnx, listed, "--out", whole, "--jobs", 2), check=True)
    seconds, chance = time.monotonic() - start, random.Random(0)
    table = tmp_path / "0.parquet"
    n_kills, n_left = 0, int(os.environ.get("DENSCONF_KILLS", "3"))
    while True:
        command = _command(onnx, listed, "--out", table, "--jobs", 2)
        process = subprocess.Popen(command, start_new_session=True)
        try:
            code = process.wait(chance.uniform(0.2, 1) * seconds if n_left else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            n_kills, n_left = n_kills + 1, n_left - 1
            assert not table.exists() or pq.read_table(table).num_rows == 6_000
            continue
        assert code == 0 or table.exists()  # killed after its last word: it was done
        assert table.read_bytes() == whole.read_bytes()
        if not n_left:
            break
        table = tmp_path / f"{n_kills}.parquet"
    left = {path.name for path in tmp_path.iterdir()} - {"list.txt"}
    assert all(name.endswith(".parquet") for name in left)


def test_what_is_done_is_not_done_again(folder, model, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_run, "SHARD", 10)
    table, seen = tmp_path / "scores.csv", []
    original = _run.write_shard

    def failing(scorer, shard, key, skip_broken):
        seen.append(shard[1].name)
        if len(seen) == 3:
            raise OSError(28, "No space left on device")
        return original(scorer, shard, key, skip_broken)

    monkeypatch.setattr(_run, "write_shard", failing)
    assert _score(model, folder, "--out", table) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: [Errno 28] No space left on device"
    assert _score(model, folder, "--out", table) == 0
    assert seen == ["from-0.npy", "from-10.npy", "from-20.npy", "from-20.npy", "from-30.npy"]
    assert "20 of an earlier run" in capsys.readouterr().err
    assert len(_read(table)) == N


def test_shards_of_another_run_are_not_taken(folder, models, tmp_path, monkeypatch, capsys):
    model, onnx = models / "pipe.joblib", models / "pipe.onnx"

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_run, "write_table", full)
    table = tmp_path / "scores.csv"
    assert _score(model, folder, "--out", table) == 2
    for arguments, other in (((onnx, folder), "model"), ((model, folder / "below"), "pictures")):
        assert _score(*arguments, "--out", table) == 2
        assert f"has results of another run, with another {other}" in capsys.readouterr().err
    monkeypatch.undo()
    assert _score(model, folder, "--out", table) == 0


def test_a_full_disk_is_one_line_and_leaves_no_table(folder, model, tmp_path):
    """A limit on the size of files stands for the disk: writing fails in the same way."""

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    listed = tmp_path / "list.txt"
    listed.write_text("\n".join([str(folder / "000.png")] * 300))
    done = subprocess.run(
        _command(model, listed, "--out", tmp_path / "scores.csv"),
        env={k: v for k, v in os.environ.items() if "COVERAGE" not in k},  # it writes a file, too
        preexec_fn=limited,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: [Errno 27] File too large: '{tmp_path / 'scores.csv'}")
    assert done.stderr.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"list.txt"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{model}", "{folder}", "--out", "{tmp}/scores.txt"], "--out must end in .csv or .parq"),
        (["{model}", "{folder}", "--out", "{tmp}/no/scores.csv"], "--out: there is no folder"),
        (["{tmp}/no", "{folder}", "--out", "{tmp}/t.csv"], "there is no model"),
        (["{folder}/000.png", "{folder}", "--out", "{tmp}/t.csv"], "000.png cannot be loaded ("),
        (["{scaler}", "{folder}", "--out", "{tmp}/t.csv"], "holds a StandardScaler, wanted a cla"),
        (["{newer}", "{folder}", "--out", "{tmp}/t.csv"], "was written with scikit-learn 99.1"),
        (["{bad}", "{folder}", "--out", "{tmp}/t.csv"], "cannot read"),
        (
            ["{saved}", "{folder}", "--out", "{tmp}/t.csv"],
            "give --network package.module:function or --network path/to/file.py:function",
        ),
        (["{head}", "{folder}", "--out", "{tmp}/t.csv"], "wanted one of pictures (n, c, h, w)"),
        (["{model}", "{tmp}/no", "--out", "{tmp}/t.csv"], "is neither there nor a pattern"),
        (["{model}", "{tmp}/*.xyz", "--out", "{tmp}/t.csv"], "is neither there nor a pattern"),
        (["{model}", "{empty}", "--out", "{tmp}/t.csv"], "there are no pictures in INPUT"),
        (["{model}", "{model}", "--out", "{tmp}/t.csv"], "is neither a picture nor a list"),
        (["{model}", "{folder}", "--out", "{there}"], "there.csv is there: delete it"),
        (
            ["{model}", "{folder}", "--out", "{tmp}/t.csv", "--preprocessing", "json:loads"],
            "--preprocessing is for ONNX files",
        ),
        (
            ["{onnx}", "{folder}", "--out", "{tmp}/t.csv", "--preprocessing", "loads"],
            "--preprocessing must be package.module:function",
        ),
        (
            ["{onnx}", "{folder}", "--out", "{tmp}/t.csv", "--preprocessing", "no.py:f"],
            "there is no Python file no.py",
        ),
        (["{model}", "{folder}", "--out", "/proc/t.csv"], "/proc/t.csv.parts"),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(arguments, message, models, tmp_path, capsys):
    places = {name: tmp_path / name for name in ("scaler", "empty")}
    places |= {"there": tmp_path / "there.csv", "newer": tmp_path / "newer.joblib"}
    places |= {"bad": tmp_path / "bad.onnx", "folder": tmp_path / "folder"}
    places["folder"].mkdir()
    Image.new("L", (8, 8)).save(places["folder"] / "000.png")
    joblib.dump(StandardScaler(), places["scaler"])
    places["saved"] = io.save(joblib.load(models / "pipe.joblib"), tmp_path / "pipe.densconf")
    places["empty"].mkdir()
    places["there"].touch()
    places["bad"].write_bytes(b"no model")
    if "{newer}" in arguments:
        joblib.dump(_Newer(), places["newer"])
    before = sorted(path.name for path in tmp_path.iterdir())
    files = {"model": "pipe.joblib", "onnx": "pipe.onnx", "head": "head.onnx"}
    names = {name: models / file for name, file in files.items()} | {"tmp": tmp_path, **places}
    assert _score(*(each.format(**names) for each in arguments)) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == before


class _Newer:
    """Pickles as a StandardScaler of version 99.1."""

    def __reduce__(self):
        return StandardScaler, (), {"_sklearn_version": "99.1"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write and read everywhere")
def test_folders_without_rights_are_one_line(folder, model, tmp_path, capsys):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert _score(model, folder, "--out", closed / "scores.csv") == 2
    assert "Permission denied" in capsys.readouterr().err
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0)
    assert _score(model, hidden, "--out", tmp_path / "scores.csv") == 2
    assert "Permission denied" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(onnx, folder, tmp_path):
    peaks = []
    for n in (2_000, 20_000):
        listed = tmp_path / f"{n}.txt"
        listed.write_text("\n".join([str(folder / "000.png")] * n))
        code = (
            "import sys; from sklearn_densconf.__main__ import main; "
            "main(['score', *sys.argv[1:]]); "
            # ru_maxrss would be that of the larger process which started it
            "print(*(line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line))"
        )
        arguments = [onnx, listed, "--out", tmp_path / f"{n}.parquet", "--quiet"]
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] <= peaks[0] * 1.1


def test_the_help_has_examples_and_exit_codes(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["score", "--help"])
    told = capsys.readouterr().out
    assert "examples:" in told
    assert "exit codes: 0; 2 where" in told
    with pytest.raises(SystemExit, match="2"):
        main(["score", "m", "i", "--out", "o.csv", "--jobs", "0"])
    assert "must be at least 1" in capsys.readouterr().err


NETWORKS = """
import numpy as np
import torch

def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 20), torch.nn.ReLU())

def seeded():
    torch.manual_seed(0)
    return build()

def pixels(picture):
    return torch.from_numpy(np.asarray(picture.convert("L"), np.float32)[None] / 255)

def number():
    return 3

def fails():
    raise RuntimeError("not today")
"""


@pytest.fixture(scope="module")
def saved_once(pipe, tmp_path_factory):
    """Files of `io.save` that need code: of the network, or of its builder and preprocessing."""
    place = tmp_path_factory.mktemp("code")
    (place / "nets_of_score.py").write_text(NETWORKS)
    io.save(pipe, place / "weights.densconf")
    code = (
        "import joblib, sys; from sklearn.pipeline import make_pipeline; import nets_of_score; "
        "from sklearn_densconf import FeatureExtractor, io; pipe = joblib.load(sys.argv[1]); "
        "extractor = FeatureExtractor('nets_of_score:seeded', preprocessing=nets_of_score.pixels); "
        "io.save(make_pipeline(extractor.fit(sys.argv[3:]), pipe[-1]), sys.argv[2])"
    )
    joblib.dump(pipe, place / "pipe.joblib")
    Image.new("L", (8, 8)).save(place / "one.png")
    arguments = [place / name for name in ("pipe.joblib", "named.densconf", "one.png")]
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True, cwd=place)
    return place


@pytest.fixture
def saved(saved_once, tmp_path):
    return shutil.copytree(saved_once, tmp_path / "code")


@pytest.mark.parametrize(
    "arguments",
    [
        ["weights.densconf", "--network", "nets_of_score.py:build", "--jobs", "2"],
        ["weights.densconf", "--network", "nets_of_score:build"],
        [
            "named.densconf",
            *(f"--allow-code=nets_of_score:{name}" for name in ("seeded", "pixels")),
        ],
    ],
    ids=["file", "module", "names"],
)
def test_a_file_of_io_save_runs_the_code_that_is_named(folder, saved, arguments):
    file, *options = arguments
    assert _score(saved / "pipe.joblib", folder, "--out", saved / "wanted.csv") == 0
    command = _command(file, folder, "--out", "scores.csv", *options)
    subprocess.run(command, check=True, cwd=saved)
    assert (saved / "scores.csv").read_text() == (saved / "wanted.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["named.densconf"], "asks for code: to import and call ['nets_of_score:pixels', 'nets_o"),
        (["named.densconf", "--allow-code", "a:b"], "If you know it, give --allow-code for each"),
        (["weights.densconf", "--network", "{code}:number"], "returns a int, wanted a torch.nn.M"),
        (["weights.densconf", "--network", "{code}:fails"], "fails() fails (RuntimeError: not to"),
        (["weights.densconf", "--network", "{code}:none"], "has no none"),
        (["weights.densconf", "--network", "no_such:f"], "cannot be imported (ModuleNotFoundError"),
        (["weights.densconf", "--network", "torch.nn:Flatten"], "network= is not the one that was"),
        (["weights.densconf", "--network", "build"], "--network must be package.module:function"),
        (["pipe.joblib", "--network", "{code}:build"], "--network is for files of io.save that h"),
    ],
)
def test_code_that_is_not_named_or_wrong_is_one_line(folder, saved, capsys, arguments, message):
    file, *options = arguments
    options = [option.format(code=saved / "nets_of_score.py") for option in options]
    assert _score(saved / file, folder, "--out", saved / "scores.csv", *options) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not list(saved.glob("scores.csv*"))


@pytest.mark.slow
def test_a_dask_cluster_scores(folder, model, tmp_path):
    from distributed import LocalCluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
            table = tmp_path / "scores.csv"
            assert _score(model, folder, "--out", table, "--dask", cluster.scheduler_address) == 0
    assert _score(model, folder, "--out", tmp_path / "here.csv") == 0
    assert table.read_bytes() == (tmp_path / "here.csv").read_bytes()
