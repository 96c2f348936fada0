"""The page in Markdown: docs/comparison.md is written by this, never by hand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sklearn_densconf.comparison._words import command, describe_run, name_run
from sklearn_densconf.evaluation._case import Case, Shown, show_cases
from sklearn_densconf.evaluation._figures import save_figure
from sklearn_densconf.evaluation._tables import Table

_DRAWINGS = Path("_static", "comparison")


def write_page(
    results: Mapping[str, Any], cases: Iterable[Case], compared: Sequence[str], path: Path
) -> Path:
    """Write a page, and its drawings to _static/comparison beside it."""
    drawings = path.parent / _DRAWINGS
    drawings.mkdir(parents=True, exist_ok=True)
    parts = [*_head(results)]
    for case, shown in show_cases(cases, results, compared):
        parts += _section(case, shown, f"{results['settings']['dataset']}-{case.name}", drawings)
    parts += _colophon(results)
    path.write_text("\n".join(parts), encoding="utf-8")
    return path


def _head(results: Mapping[str, Any]) -> Iterator[str]:
    yield "# Confidences compared\n"
    yield f"{describe_run(results)} Written by\n"
    yield f"```console\n{command(results)}\n```\n"
    yield "with the option `--page`, never by hand. It needs the extra `compare`.\n"


def _section(case: Case, shown: Shown, name: str, drawings: Path) -> Iterator[str]:
    yield f"## {case.title}\n\n{case.text(shown)}\n"
    if case.draw:
        save_figure(case.draw(shown), drawings / name, ())
        yield f"![{case.title}]({(_DRAWINGS / name).as_posix()}.svg)\n"
    for title, table in case.tables(shown):
        if title:
            yield f"**{title[0].upper() + title[1:]}**\n"
        yield table.as_markdown()


def _colophon(results: Mapping[str, Any]) -> Iterator[str]:
    about = results["about"]
    rows = [[name, about[name]] for name in results["runs"][0]["cost"]]
    rows += [[name, f"left out: {why}"] for name, why in results["left_out"].items()]
    text = Table(["confidence", "what it is"], rows).as_markdown().replace("---:", "---")
    yield f"## What was compared\n\nNetwork and data: {name_run(results)}.\n\n{text}"
    numbers = ", ".join(f"{name} {number}" for name, number in results["versions"].items())
    yield f"Versions: {numbers}.\n"
