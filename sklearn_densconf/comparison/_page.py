"""The page in Markdown: docs/comparison.md is written by this, never by hand."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn_densconf._files import write_content
from sklearn_densconf.comparison._words import command, describe_run, name_run
from sklearn_densconf.evaluation._case import Case, Shown, show_cases
from sklearn_densconf.evaluation._figures import as_svg
from sklearn_densconf.evaluation._tables import Table

Results = Mapping[str, Any]

_DRAWINGS = Path("_static", "comparison")
_HEAD = """\
# Confidences compared

Confidences in the label of one network, from the same features and logits: fitted to the training
pictures, calibrated on one half of the held-out pictures (temperature, norm, open set) and measured
on the other half. Numbers after ± are standard deviations over trainings or, of a pretrained
network, over draws of the halves and of the noise. This page is written by the commands below with
`--page`, never by hand; they need the extra `compare`.
"""


def read_results(path: Path) -> Results:
    """Read the results of an earlier comparison."""
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        describe_run(results)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} holds no results: give what compare wrote") from error
    return dict(results)


def write_page(
    runs: Sequence[Results], cases: Iterable[Case], compared: Sequence[str], path: Path
) -> None:
    """Write one page of several comparisons, and its drawings to _static/comparison beside it."""
    drawings = path.parent / _DRAWINGS
    drawings.mkdir(parents=True, exist_ok=True)
    parts = [_HEAD]
    for results in runs:
        parts += _about(results)
        for case, shown in show_cases(cases, results, compared):
            name = f"{results['settings']['dataset']}-{case.name}"
            parts += _section(case, shown, name, drawings)
    parts += _colophon(runs[0])
    write_content(path, "\n".join(parts).encode())


def _about(results: Results) -> Iterator[str]:
    yield f"## {name_run(results)}\n"
    yield f"{describe_run(results)}\n"
    yield f"```console\n{command(results)}\n```\n"


def _section(case: Case, shown: Shown, name: str, drawings: Path) -> Iterator[str]:
    yield f"### {case.title}\n\n{case.text(shown)}\n"
    if case.draw:
        # Letters as text: a grid of numbers drawn as paths takes ten times the bytes.
        svg = as_svg(case.draw(shown), name, letters_as_text=True)
        write_content(drawings / f"{name}.svg", svg.encode())
        yield f"![{case.title}]({(_DRAWINGS / name).as_posix()}.svg)\n"
    for title, table in case.tables(shown):
        if title:
            yield f"**{title[0].upper() + title[1:]}**\n"
        yield table.as_markdown()


def _colophon(results: Results) -> Iterator[str]:
    about = results["about"]
    rows = [[name, about[name]] for name in results["runs"][0]["cost"]]
    rows += [[name, f"left out: {why}"] for name, why in results["left_out"].items()]
    text = Table(["confidence", "what it is"], rows).as_markdown().replace("---:", "---")
    yield f"## What was compared\n\n{text}"
    numbers = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    yield f"Versions: {numbers}.\n"
