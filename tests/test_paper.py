"""The reproduction, run as its user runs it."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("skorch")
pytest.importorskip("matplotlib")

from sklearn_densconf.paper.__main__ import main


@pytest.mark.slow
def test_the_demo_shows_a_density_confidence_that_falls_at_every_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    rows = re.findall(r"^(\d\.\d) +(\S+) +(\S+) +(\S+)$", printed, re.MULTILINE)
    density = [float(row[3]) for row in rows]
    assert len(rows) == 12
    for curve in (density[:6], density[6:]):  # noise, blur
        assert all(later < earlier for earlier, later in pairwise(curve))
    assert f"Figure: {tmp_path / 'demo.png'}" in printed
    assert (tmp_path / "demo.png").stat().st_size > 10_000


def test_a_missing_folder_is_one_line_on_stderr(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert "has neither train-images-idx3-ubyte.gz" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
