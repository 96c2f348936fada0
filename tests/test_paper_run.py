"""A whole run of the reproduction on the digits: results, report, resumption, bad input."""

import gzip
import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skorch")
pytest.importorskip("matplotlib")

from sklearn_densconf.paper import _experiments
from sklearn_densconf.paper.__main__ import main
from sklearn_densconf.paper._confidences import CONFIDENCES
from sklearn_densconf.paper._texts import command

QUICK = ["--dataset", "digits", "--quick"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a quick run with two trainings."""
    out = tmp_path_factory.mktemp("paper") / "digits"
    assert main(["all", *QUICK, "--seeds", "2", "--out", str(out)]) == 0
    return out


def _results(out: Path) -> dict:
    return json.loads((out / "results.json").read_text(encoding="utf-8"))


def test_a_run_writes_every_figure_as_png_and_svg(run: Path) -> None:
    names = {"figure1", "figure2", "figure3", "table1"}
    assert {path.stem for path in run.glob("*.png")} == names
    assert {path.stem for path in run.glob("*.svg")} == names
    assert all(path.stat().st_size > 5000 for path in run.glob("*.[ps][nv]g"))
    assert {path.name for path in run.iterdir() if path.suffix not in (".png", ".svg")} == {
        "cache",
        "report.html",
        "results.json",
    }


def test_results_hold_numbers_settings_versions_and_seeds(run: Path) -> None:
    results = _results(run)
    assert [r["seed"] for r in results["runs"]] == [0, 1]
    assert results["settings"]["quick"] is True
    assert {"numpy", "python", "scikit-learn", "sklearn_densconf", "torch"} <= set(
        results["versions"]
    )
    for measured in results["runs"]:
        assert measured["table1"]["n"] == results["n_test"] == 50
        for part in (measured["table1"], *measured["figure2"].values()):
            assert tuple(part["confidences"]) == CONFIDENCES
        noise = measured["figure2"]["noise"]
        assert noise["severity"] == [0.0, 0.5, 1.0]
        assert len(noise["confidences"]["density"]["mean"]) == 3


def test_all_confidences_judge_the_same_labels_of_the_same_clean_pictures(run: Path) -> None:
    measured = _results(run)["runs"][0]
    clean = measured["clean"]
    for sweep in measured["figure2"].values():
        assert sweep["accuracy"][0] == clean["accuracy"][0]
        for name in CONFIDENCES:
            mean = sweep["confidences"][name]["mean"][0]
            assert mean == pytest.approx(clean["confidences"][name]["mean"][0], abs=1e-6)


def test_the_scale_of_the_pixels_fools_softmax_and_not_the_density_with_a_background(
    run: Path,
) -> None:
    for measured in _results(run)["runs"]:
        at_100 = {name: c["mean"][-1] for name, c in measured["figure1"]["confidences"].items()}
        assert at_100["softmax"] > 0.95
        assert at_100["density, 1 % background"] == pytest.approx(0.1, abs=0.02)  # the prior


class _Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_report_needs_nothing_but_itself(run: Path) -> None:
    page = _Page((run / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert {"svg", "img", "table", "h1"} <= page.tags
    assert all(address.startswith(("data:", "#")) for address in page.addresses)


def test_the_report_begins_with_what_softmax_is_better_at(run: Path) -> None:
    words = _Page((run / "report.html").read_text(encoding="utf-8")).words
    claim = re.search(r"Softmax is better at [^.]+\.", words)
    assert claim is not None
    assert claim.start() < words.index("Distorted more and more")
    assert "5795 (11.6\N{NO-BREAK SPACE}%)" in words
    assert "2214 (4.4\N{NO-BREAK SPACE}%)" in words


def test_the_ids_of_drawings_on_the_page_do_not_clash(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    clips = [set(re.findall(r'<clipPath id="(\w+)"', svg)) for svg in text.split("<svg")[1:]]
    assert sum(map(len, clips)) == len(set().union(*clips)) > 0


def test_a_second_run_takes_everything_from_the_first(run: Path, tmp_path: Path) -> None:
    def kept() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in run.rglob("*.npy")} | {
            p: p.stat().st_mtime_ns for p in run.rglob("output.pkl")
        }

    before, first = kept(), _results(run)
    assert main(["all", *QUICK, "--seeds", "2", "--out", str(run)]) == 0
    assert kept() == before
    second = _results(run)
    for results in (first, second):
        for measured in results["runs"]:
            del measured["seconds"]
    assert second == first


def test_an_interrupted_run_leaves_no_results_and_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(trial: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        attack = replace(_experiments.EXPERIMENTS["table1"], measure=interrupt)
        patch.setitem(_experiments.EXPERIMENTS, "table1", attack)
        assert main(["all", *QUICK, "--out", str(out)]) == 130
    assert "goes on from what is done" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["cache"]
    trained = list(out.rglob("train_lenet5/*/output.pkl"))
    assert len(trained) == 1
    assert main(["table1", *QUICK, "--out", str(out)]) == 0
    assert list(out.rglob("train_lenet5/*/output.pkl")) == trained
    assert "figure2" not in _results(out)["runs"][0]


def test_severities_of_the_user_are_taken(tmp_path: Path) -> None:
    arguments = ["figure2", "--dataset", "digits", "--quick", "--noise", "0", "0.25"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    results = _results(tmp_path)
    assert results["runs"][0]["figure2"]["noise"]["severity"] == [0, 0.25]
    assert command(results) == (
        "python -m sklearn_densconf.paper figure2 --dataset digits --quick --noise 0 0.25"
    )


def _cut_short(tmp_path: Path) -> list[str]:
    folder = tmp_path / "mnist"
    folder.mkdir()
    header = bytes([0, 0, 8, 3]) + np.array([60000, 28, 28], ">u4").tobytes()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header + bytes(1000)))
    return ["--dataset", "mnist", "--data", str(folder)]


BAD_INPUT: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "IDX file cut short": (_cut_short, r"is cut short or damaged: 1016 bytes .* fetch it again"),
    "no folder": (lambda _: ["--dataset", "mnist"], r"--dataset mnist needs --data FOLDER"),
    "folder of the digits": (
        lambda folder: ["--data", str(folder)],
        r"--data: the digits come with scikit-learn",
    ),
    "no strangers": (
        lambda folder: ["--strangers", str(folder)],
        r"--unknown: .* has neither t10k-images-idx3-ubyte.gz nor",
    ),
    "noise too strong": (
        lambda _: ["--noise", "0", "1.5"],
        r"--noise 1.5: sigma must lie in \[0, 1\]",
    ),
    "one severity": (lambda _: ["--blur", "1"], r"--blur needs at least two severities"),
    "equal severities": (lambda _: ["--blur", "1", "1"], r"at least two severities, all different"),
    "distortion of another data set": (
        lambda _: ["--jpeg", "100", "1"],
        r"--jpeg: --dataset digits is distorted by noise and blur only",
    ),
    "too many attacks": (
        lambda _: ["--attacked", "10000"],
        r"--attacked 10000: there are only 599 pictures",
    ),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_line_with_the_cure_and_leaves_nothing(
    arguments: Callable[[Path], list[str]],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert main(["all", *arguments(tmp_path), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said)
    assert not out.exists()


def test_a_figure_of_another_data_set_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["figure4", "--out", str(tmp_path / "out")]) == 2
    assert "figure4 is not about --dataset digits: that has figure1" in capsys.readouterr().err


def test_an_unknown_command_or_number_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["figure9"], ["all", "--seeds", "0"]):
        with pytest.raises(SystemExit, match=r"^2$"):
            main(arguments)
    assert "must be at least 1, got 0" in capsys.readouterr().err


def test_a_summary_shows_the_numbers_of_the_results(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "docs" / "reproduction.md"
    assert main(["summary", str(run / "results.json"), "--out", str(page)]) == 0
    text, runs = page.read_text(encoding="utf-8"), _results(run)["runs"]
    rises = [measured["table1"]["confidences"]["density"]["rises"] for measured in runs]
    row = rf"\| density \| {np.mean(rises):.0f} ± {np.std(rises, ddof=1):.0f} \|"
    assert re.search(row, text)
    shown = re.findall(r"!\[.+?\]\((.+?)\)", text)
    assert len(shown) == 4
    assert all((page.parent / place).stat().st_size < 200_000 for place in shown)


def test_a_summary_of_something_else_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    for text in ("{}", "no JSON"):
        path.write_text(text)
        assert main(["summary", str(path), "--out", str(tmp_path / "page.md")]) == 2
        assert "holds no results: give what an experiment wrote" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_mnist_is_read_and_strangers_are_found_by_the_density_itself(
    mnist_folder: Path, data_folder: Path, tmp_path: Path
) -> None:
    where = ["--data", str(mnist_folder), "--strangers", str(data_folder / "fashion_mnist")]
    arguments = ["figure1", "--dataset", "mnist", "--quick", *where, "--out", str(tmp_path)]
    assert main(arguments) == 0
    results = _results(tmp_path)
    assert (results["n_classes"], results["n_train"], results["n_test"]) == (10, 200, 50)
    assert 0.5 < results["runs"][0]["strangers"]["log p(z)"]["auroc"] <= 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "LeNet-5 on MNIST · 10 classes" in page
    assert "Pictures of another data set" in page
