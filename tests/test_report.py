"""The command that reports on one's own models: as a process, on real pictures and their labels."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier, io
from sklearn_densconf.__main__ import main
from sklearn_densconf.evaluation import evaluate
from sklearn_densconf.export import to_onnx
from sklearn_densconf.scoring._labelled import as_classes, read_labelled

NETWORK = """
import torch

def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))

def nothing():
    return None

def fails():
    raise RuntimeError("not today")
"""
N_TRAIN, N_HELD_OUT = 900, 120


def _pixels():
    """Digits as uint8 pictures, and their labels in words."""
    digits = load_digits()
    words = np.array([f"digit {label}" for label in digits.target])
    return (digits.images * 15.9).astype(np.uint8)[:, None], words


def _trained(X, y):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.05)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(X), y).backward()
        optimizer.step()
    return network


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Models in files of all kinds, held-out pictures in folders, and pictures of nothing."""
    place = tmp_path_factory.mktemp("report")
    pixels, words = _pixels()
    X = pixels.astype(np.float32)[:N_TRAIN] / 255
    codes = np.unique(words, return_inverse=True)[1]
    network = _trained(torch.from_numpy(X), torch.from_numpy(codes[:N_TRAIN]))
    for name, classifier in (
        ("softmax", SoftmaxClassifier()),
        ("density", GaussianDensityClassifier()),
    ):
        pipe = make_pipeline(FeatureExtractor(network), classifier).fit(X, words[:N_TRAIN])
        joblib.dump(pipe, place / f"{name}.joblib")
        io.save(pipe, place / f"{name}.densconf")
        to_onnx(pipe, place / f"{name}.onnx")
        numbered = make_pipeline(FeatureExtractor(network), classifier).fit(X, codes[:N_TRAIN])
        joblib.dump(numbered, place / f"{name}_numbered.joblib")
    for number in range(N_TRAIN, N_TRAIN + N_HELD_OUT):
        folder = place / "held out" / words[number]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number, 0]).save(folder / f"{number}.png")
    (place / "textures").mkdir()
    for number, noise in enumerate(np.random.default_rng(0).integers(0, 256, (30, 8, 8))):
        Image.fromarray(noise.astype(np.uint8)).save(place / "textures" / f"{number}.png")
    (place / "nets_of_report.py").write_text(NETWORK)
    return place


def _report(*arguments):
    return main(["report", *map(str, arguments), "--quiet"])


def _run(place, *arguments):
    command = [sys.executable, "-m", "sklearn_densconf", "report", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=place, env=environment
    )


def test_the_command_prints_losses_first_and_writes_what_evaluate_measures(place, tmp_path):
    out = tmp_path / "report"
    done = _run(
        place, "softmax.joblib", "density.joblib", "held out", "--out", out,
        "--unknown", "textures", "--cases", "clean", "unknown",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["density", "loses", "density", "best", "whose"]
    assert "calibration, clean pictures (expected error)" in lines[1:3][-1] + lines[1]
    assert lines[-1] == str(out / "report.html")
    assert "clean: " in done.stderr  # what took how long
    paths, labels = read_labelled(place / "held out")
    pipes = {name: joblib.load(place / f"{name}.joblib") for name in ("softmax", "density")}
    unknown = {"textures": sorted(map(str, (place / "textures").glob("*.png")))}
    cases = ["clean", "unknown"]
    measured = evaluate(pipes, paths, labels, unknown=unknown, cases=cases)
    assert measured.losses() in done.stdout
    assert str(measured) in done.stdout
    told = json.loads((out / "results.json").read_text(encoding="utf-8"))
    clean = told["runs"][0]["clean"]["confidences"]
    for name, expected in measured.results["runs"][0]["clean"]["confidences"].items():
        for measure, value in expected.items():  # processes may differ in threads: by rounding
            assert clean[name][measure] == pytest.approx(value, abs=1e-6)
    assert told["n_test"] == N_HELD_OUT
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "textures" in page
    assert {path.name for path in out.iterdir()} == {"report.html", "results.json", "cache"}


def _numbers(out):
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    return results["runs"][0]["clean"]["confidences"]


def test_files_of_every_kind_give_the_same_numbers(place, tmp_path, capsys):
    network = f"{place / 'nets_of_report.py'}:build"
    found = {}
    for kind, options in {"joblib": [], "densconf": ["--network", network], "onnx": []}.items():
        files = [place / f"{name}.{kind}" for name in ("softmax", "density")]
        arguments = [*files, place / "held out", "--out", tmp_path / kind, "--cases", "clean"]
        assert _report(*arguments, *options) == 0
        found[kind] = _numbers(tmp_path / kind)
        assert "density loses" in capsys.readouterr().out
    assert found["densconf"] == found["joblib"]
    for name, numbers in found["joblib"].items():
        for measure, value in numbers.items():
            assert found["onnx"][name][measure] == pytest.approx(value, abs=1e-5)


def test_an_onnx_file_passes_pictures_of_its_own_preprocessing_once(place, tmp_path, capsys):
    large = tmp_path / "large"
    shutil.copytree(place / "held out", large)
    for path in large.rglob("*.png"):
        Image.open(path).resize((24, 24), Image.Resampling.NEAREST).save(path)
    code = tmp_path / "small_for_report.py"
    code.write_text(
        "import numpy as np\n"
        "def small(picture):\n"
        "    return np.asarray(picture.resize((8, 8), 0), np.float32)[None] / 255\n"
    )
    arguments = [place / "density.onnx", large, "--out", tmp_path / "out", "--cases", "clean"]
    assert _report(*arguments) == 2
    assert "wanted (1, 8, 8): give --preprocessing" in capsys.readouterr().err
    assert _report(*arguments, "--preprocessing", f"{code}:small") == 0
    assert "nothing was compared: give several pipelines" in capsys.readouterr().out
    first = [
        place / "density.onnx",
        place / "held out",
        "--out",
        tmp_path / "8",
        "--cases",
        "clean",
    ]
    assert _report(*first) == 0
    assert _numbers(tmp_path / "out") == _numbers(tmp_path / "8")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_table_of_paths_and_labels_is_as_good_as_folders(place, tmp_path, suffix):
    paths, labels = read_labelled(place / "held out")
    table = tmp_path / f"labels{suffix}"
    if suffix == ".csv":
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("path", "label"), *zip(paths, labels, strict=True)])
    else:
        pq.write_table(pa.table({"path": paths, "label": labels}), table)
    assert read_labelled(table) == (paths, labels)
    models = [f"usual={place / 'softmax.joblib'}", f"ours={place / 'density.joblib'}"]
    for pictures, out in ((table, "table"), (place / "held out", "folders")):
        assert _report(*models, pictures, "--out", tmp_path / out, "--cases", "clean") == 0
    assert _numbers(tmp_path / "table") == _numbers(tmp_path / "folders")
    assert list(_numbers(tmp_path / "table")) == ["usual", "ours"]


def test_numbers_of_load_image_folder_are_the_sorted_folders(place, tmp_path):
    for kind, out in (("", "words"), ("_numbered", "numbers")):
        models = [f"{name}={place / name}{kind}.joblib" for name in ("softmax", "density")]
        arguments = [*models, place / "held out", "--out", tmp_path / out, "--cases", "clean"]
        assert _report(*arguments) == 0
    assert _numbers(tmp_path / "words") == _numbers(tmp_path / "numbers")


def test_labels_are_found_by_their_text():
    assert as_classes(["2", "10"], np.array([10, 2]), "m").tolist() == [2, 10]
    assert as_classes(["2", "10"], np.array([10.0, 2.5, 2.0]), "m").tolist() == [2.0, 10.0]
    assert as_classes(["True", "False"], np.array([False, True]), "m").tolist() == [True, False]
    assert as_classes(["b", "a", "b"], np.array([0, 1]), "m").tolist() == [1, 0, 1]
    assert as_classes(["b"], np.array(["a", "b"], object), "m").tolist() == ["b"]
    for labels, classes in ((["a"], [0, 1]), (["a", "b"], [1, 2]), (["0", "b"], [0, 1])):
        with pytest.raises(ValueError, match="which m was not fitted with, but with"):
            as_classes(labels, np.array(classes), "m")


def test_broken_pictures_end_the_run_or_are_left_out_and_told(place, tmp_path, capsys):
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    shutil.copytree(place / "held out", pictures)
    whole = next((pictures / "digit 3").glob("*.png"))
    (pictures / "digit 3" / "cut.png").write_bytes(whole.read_bytes()[:60])
    arguments = [place / "density.joblib", pictures, "--out", out, "--cases", "clean"]
    assert _report(*arguments) == 2
    assert "cut.png" in capsys.readouterr().err.splitlines()[-1]
    assert not (out / "report.html").exists()
    assert _report(*arguments, "--skip-broken") == 0
    assert "cut.png is left out: " in capsys.readouterr().err
    assert json.loads((out / "results.json").read_text())["n_test"] == N_HELD_OUT


@pytest.fixture
def here(place, monkeypatch):
    """The folder of the models, with what is wrong, as the working directory."""
    monkeypatch.chdir(place)
    for folder in ("other/cat", "empty"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    shutil.copy("textures/0.png", "other/cat/0.png")
    Path("no_rows.csv").write_text("path,label\n")
    Path("no_label.csv").write_text("path,label\na.png,cat\nb.png,\n")
    Path("other.csv").write_text("a\n1\n")


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.joblib", "held out", "--out", "{out}"], "there is no model no.joblib"),
        (["density.joblib", "no", "--out", "{out}"], "INPUT no is not there"),
        (["density.joblib", "density.onnx", "--out", "{out}"], "INPUT must be a folder with"),
        (["density.joblib", "textures", "--out", "{out}"], "textures has no pictures: expected"),
        (["density.joblib", "density.onnx", "held out", "--out", "{out}"], "are both 'density'"),
        (["density.joblib", "held out", "--out", "density.onnx"], "density.onnx is a file"),
        (["density.joblib", "other", "--out", "{out}"], "INPUT has the labels cat, which density"),
        (
            ["density.joblib", "softmax_numbered.joblib", "held out", "--out", "{out}"],
            "call the sa",
        ),
        (
            ["density.joblib", "held out", "--out", "{out}", "--unknown", "{out}"],
            "is neither there",
        ),
        (
            ["density.joblib", "held out", "--out", "{out}", "--unknown", "empty"],
            "empty has no pic",
        ),
        (["density.joblib", "no_rows.csv", "--out", "{out}"], "no_rows.csv has no rows"),
        (["density.joblib", "no_label.csv", "--out", "{out}"], "has no path or no label in row 2"),
        (["density.joblib", "other.csv", "--out", "{out}"], "['a'], wanted ['path', 'label'] too"),
        (
            ["density.joblib", "held out", "--out", "{out}", "--preprocessing", "json:loads"],
            "--preprocessing is for ONNX files",
        ),
        (
            ["density.joblib", "held out", "--out", "{out}", "--network", "json:loads"],
            "--network is for files of io.save that have weights alone: leave it out",
        ),
    ],
)
def test_wrong_input_is_one_line_and_leaves_nothing(tmp_path, capsys, arguments, message):
    assert _report(*(each.format(out=tmp_path / "out") for each in arguments)) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_help_has_examples_and_exit_codes(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["report", "--help"])
    told = capsys.readouterr().out
    assert told.startswith("usage: python -m sklearn_densconf report MODEL [MODEL ...] INPUT --out")
    assert "examples:" in told
    assert "exit codes: 0; 2 where" in told
