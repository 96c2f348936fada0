"""The reproduction, run as its user runs it."""

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("skorch")
pytest.importorskip("matplotlib")

from sklearn_densconf.paper.__main__ import main


@pytest.mark.slow
def test_the_demo_shows_a_confidence_that_follows_the_accuracy_and_falls_to_the_priors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr()
    rows = re.findall(r"^(\S.*?) +(\S+) +(\S+) +(\S+) +(\S+)$", said.out, re.MULTILINE)
    found = {row[0]: [float(cell) for cell in row[1:] if cell != "–"] for row in rows[1:11]}
    assert re.search("pictures +accuracy +open-set +softmax +the paper's", said.out)
    accuracy, open_set, softmax, paper = np.transpose(list(found.values())[:7])
    assert np.abs(open_set - accuracy).max() < 0.15 < np.abs(softmax - accuracy).max()
    assert (paper[1:] < paper[0]).all()  # the paper's falls, wherever it starts from
    for name, (of_open_set, of_softmax, _) in list(found.items())[7:]:
        assert "(no digits)" in name
        assert of_open_set < 0.15 < of_softmax
    assert f"Figure: {tmp_path / 'demo.png'}" in said.out
    assert "Try next:" in said.out
    assert said.err.count("\n") == 1  # one line of progress, written over
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert "<svg" in (tmp_path / "demo.svg").read_text(encoding="utf-8")


def test_a_missing_folder_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert "has neither train-images-idx3-ubyte.gz" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
