"""The README's table of numbers: those of the comparison's page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WHERE = {  # row of the README -> table and column of the comparison, whether larger is better
    "errors, darker pictures: AUROC": ("AUROC of telling errors", "darker", True),
    "inverted pictures told from known ones: AUROC": ("AUROC", "inverted pictures", True),
    "errors, noise: AUROC": ("AUROC of telling errors", "noise", True),
    "calibration error, noise": ("Expected calibration error", "noise", False),
}


def _rows(lines):
    for line in lines:
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


def _column(title, column):
    """Return the means in one column of a table, by confidence."""
    page = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    section = page[page.index("## mobilenet_v2 on ImageNet") :]
    for part in section.split(f"**{title} (")[1:]:
        head, _, *rows = _rows(part.split("\n\n")[1].splitlines())
        if column in head:
            place = head.index(column)
            return {row[0]: row[place].split(" ±")[0] for row in rows}
    raise AssertionError(f"no table {title!r} has a column {column!r}")


@pytest.mark.parametrize("label", WHERE)
def test_a_row_of_the_readme_is_the_comparisons(label):
    readme = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    [(softmax, open_set, best)] = [row[1:] for row in _rows(readme) if row[0] == label]
    title, column, larger = WHERE[label]
    numbers = _column(title, column)
    assert (softmax, open_set.strip("*")) == (numbers["softmax"], numbers["open-set"])
    value, name = re.fullmatch(r"(\S+) (.+)", best).groups()
    extreme = (max if larger else min)(map(float, numbers.values()))
    assert float(value) == extreme == float(numbers[name])
