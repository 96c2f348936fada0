"""One page of several runs: docs/reproduction.md is made by this, never by hand."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sklearn_densconf._files import write_content
from sklearn_densconf.evaluation._case import Case, collect_findings, show_cases
from sklearn_densconf.evaluation._tables import Table, findings_tables
from sklearn_densconf.paper._confidences import COMPARED, DENSITY, SOFTMAX
from sklearn_densconf.paper._experiments import all_cases
from sklearn_densconf.paper._texts import command, describe_run, describe_time, name_run

Results = dict[str, Any]

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
_VERDICTS = {SOFTMAX: "Where softmax is better", DENSITY: "Where the density is better"}


def summarise(results: list[Path], out: Path) -> Path:
    """Write one Markdown page of several runs, and copy the drawings beside their results to it."""
    read = [(_read(path), path.parent) for path in results]
    (out.parent / _DRAWINGS).mkdir(parents=True, exist_ok=True)
    sections = [_section(run, source, out.parent) for run, source in read]
    write_content(out, "\n".join([_HEAD, *sections]).encode())
    return out


def _read(path: Path) -> Results:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        describe_run(results)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no results: give what an experiment wrote") from error
    return results


def _section(results: Results, source: Path, target: Path) -> str:
    """Return the text of one run: who wins, then every figure with its numbers."""
    about = f"{describe_run(results)}. {describe_time(results)}."
    lines = [f"## {name_run(results)}\n", f"{about}\n", f"```console\n{command(results)}\n```\n"]
    shown = show_cases(all_cases(), results, COMPARED)
    verdicts = findings_tables(collect_findings(shown), COMPARED).items()
    lines += _titled((_VERDICTS.get(name, "Even"), table) for name, table in verdicts if table.rows)
    for case, part in shown:
        if _is_ours(case, results):
            lines += [f"### {_heading(case)}\n", f"{case.text(part)}\n"]
            lines += _drawing(case, name_run(results), source, target)
            lines += _titled(case.tables(part))
    return "\n".join(lines)


def _is_ours(case: Case, results: Results) -> bool:
    """Tell whether a part may be published: pictures of the other data sets are not ours."""
    return not case.leads or results["dataset"] == "digits"


def _heading(case: Case) -> str:
    title = case.title[0].lower() + case.title[1:]
    return f"{case.number}: {title}" if case.number else case.title


def _drawing(case: Case, run: str, source: Path, target: Path) -> Iterator[str]:
    """Copy a drawing, if there is one of this part, and show it."""
    drawing = source / f"{case.name}.svg"
    if drawing.exists():
        place = _DRAWINGS / f"{run.lower().replace(' ', '-').replace(',', '')}-{drawing.name}"
        write_content(target / place, drawing.read_bytes())
        yield f"![{_heading(case)}, {run}]({place.as_posix()})\n"


def _titled(numbers: Iterable[tuple[str, Table]]) -> Iterator[str]:
    for title, table in numbers:
        if title:
            yield f"**{title}**\n"
        yield table.as_markdown()
