"""One page of several runs: docs/reproduction.md is made by this, never by hand."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sklearn_densconf.paper import _tables as tables
from sklearn_densconf.paper._confidences import DENSITY, SOFTMAX
from sklearn_densconf.paper._tables import Table
from sklearn_densconf.paper._texts import (
    CONFIDENCE_TEXT,
    STRANGERS_TEXT,
    STRIPS_TEXT,
    attack_text,
    command,
    describe_run,
    describe_time,
    name_run,
    scales_text,
)

Results = dict[str, Any]
Part = tuple[str, list[tuple[str, Table]]]  # what is said, and tables under their titles

_DRAWINGS = Path("_static", "reproduction")
_HEAD = """\
# The paper, reproduced

This page is written by `python -m sklearn_densconf.paper summary` from the results of the commands
below, never by hand. Confidences are in the network's own label, arg max z, as in arXiv:1707.07013:

- *softmax*;
- *density*, the default of this package: the d-th root of the densities;
- *literal dΣ*, the paper's words taken literally (`temperature=1.0,
  covariance_scale="n_features"`);
- *plain Bayes* (`temperature=1.0`).

Numbers after ± are standard deviations over the runs: trainings or, of a pretrained network, draws
of the noise. One confidence is called better than another where it is in every run.
"""


def summarise(results: list[Path], out: Path) -> Path:
    """Write one Markdown page of several runs, and copy their drawings beside it.

    Parameters
    ----------
    results : list of Path
        The ``results.json`` of each run, beside its figures.
    out : Path
        The page; drawings go to ``_static/reproduction`` beside it.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ValueError
        If a file is not the results of a run.
    """
    read = [(_read(path), path.parent) for path in results]
    (out.parent / _DRAWINGS).mkdir(parents=True, exist_ok=True)
    sections = [_section(run, source, out.parent) for run, source in read]
    out.write_text("\n".join([_HEAD, *sections]), encoding="utf-8")
    return out


def _read(path: Path) -> Results:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        describe_run(results)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no results: give what an experiment wrote") from error
    return results


def _section(results: Results, source: Path, target: Path) -> str:
    """Give the text of one run: who wins, then every figure with its numbers."""
    about = f"{describe_run(results)}. {describe_time(results)}."
    lines = [f"## {name_run(results)}\n", f"{about}\n", f"```console\n{command(results)}\n```\n"]
    lines += _titled(_verdicts(results["runs"]))
    for name, write in _PARTS.items():
        if name in results["runs"][0] and _is_ours(name, results):
            text, numbers = write(results, name)
            lines += [f"### {_TITLES[name]}\n", f"{text}\n"]
            lines += _drawing(name, name_run(results), source, target)
            lines += _titled(numbers)
    return "\n".join(lines)


def _is_ours(name: str, results: Results) -> bool:
    """Tell whether a part may be published: pictures of the other data sets are not ours."""
    return name != "figure3" or results["dataset"] == "digits"


def _verdicts(runs: list[Results]) -> list[tuple[str, Table]]:
    titles = {SOFTMAX: "Where softmax is better", DENSITY: "Where the density is better"}
    found = tables.findings_tables(runs).items()
    return [(titles.get(winner, "Even"), table) for winner, table in found if table.rows]


def _clean(results: Results, name: str) -> Part:  # noqa: ARG001 - as all parts
    text = "AUROC tells errors from right labels; ECE is the expected calibration error."
    return text, [("", tables.clean_table(results["runs"]))]


def _curves(results: Results, name: str) -> Part:
    runs = results["runs"]
    both = [
        (results["labels"][sweep] if table is tables.sweep_table else "", table(runs, name, sweep))
        for sweep in runs[0][name]
        for table in (tables.sweep_table, tables.curve_table)
    ]
    return CONFIDENCE_TEXT, both


def _strips(results: Results, name: str) -> Part:  # noqa: ARG001
    return STRIPS_TEXT, []


def _attacks(results: Results, name: str) -> Part:  # noqa: ARG001
    return attack_text(results["runs"]), [("", tables.attack_table(results["runs"]))]


def _scales(results: Results, name: str) -> Part:  # noqa: ARG001
    return scales_text(results["runs"]), [("", tables.scale_table(results["runs"]))]


def _strangers(results: Results, name: str) -> Part:  # noqa: ARG001
    return STRANGERS_TEXT, [("", tables.strangers_table(results["runs"]))]


_PARTS: dict[str, Callable[[Results, str], Part]] = {
    "clean": _clean,
    "figure2": _curves,
    "figure3": _strips,
    "figure4": _curves,
    "table1": _attacks,
    "figure1": _scales,
    "strangers": _strangers,
}
_TITLES = {
    "clean": "Clean pictures",
    "figure2": "Figure 2: distorted more and more",
    "figure3": "Figure 3: single pictures",
    "figure4": "Figure 4: distorted more and more",
    "table1": "Table 1: adversarial pictures",
    "figure1": "Figure 1: pixels scaled up",
    "strangers": "Pictures of another data set",
}


def _drawing(name: str, run: str, source: Path, target: Path) -> Iterator[str]:
    """Copy a drawing, if there is one of this part, and show it."""
    drawing = source / f"{name}.svg"
    if drawing.exists():
        place = _DRAWINGS / f"{run.lower().replace(' ', '-').replace(',', '')}-{name}.svg"
        shutil.copyfile(drawing, target / place)
        yield f"![{_TITLES[name]}, {run}]({place.as_posix()})\n"


def _titled(numbers: list[tuple[str, Table]]) -> Iterator[str]:
    for title, table in numbers:
        if title:
            yield f"**{title}**\n"
        yield _markdown(table)


def _markdown(table: Table) -> str:
    """Set a table: names to the left, numbers to the right."""
    rule = ["---", *["---:"] * (len(table.header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (table.header, rule, *table.rows)) + "\n"
