"""Tables as text: what HTML, Markdown and the terminal then set. A leaf."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf.evaluation._findings import EVEN, Finding

QUALITY = (("auroc", ".3f"), ("calibration error", ".3f"))


class Table(NamedTuple):
    """A table of text."""

    header: list[str]
    rows: list[list[str]]

    def as_markdown(self) -> str:
        """Set the table: names to the left, numbers to the right."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        lines = (self.header, rule, *self.rows)
        return "\n".join(f"| {' | '.join(row)} |" for row in lines) + "\n"

    def as_text(self) -> str:
        """Set the table with spaces."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        )


def over_runs(values: Iterable[float | None], unit: str = ".3f") -> str:
    """Format the mean over all runs, and the standard deviation if there are several."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    parts = [np.mean(known)] if len(known) < 2 else [np.mean(known), np.std(known, ddof=1)]
    text = " ± ".join(format(float(part), unit) for part in parts).replace("-", "−")
    return f"{text.replace('%', '')} %" if unit.endswith("%") else text


def rows_by_name(
    runs: Sequence[Mapping[str, Any]], columns: Iterable[tuple[str, str]]
) -> list[list[str]]:
    """Return a row for each confidence: its name, and each number over all runs."""
    columns = list(columns)
    return [
        [name, *(over_runs((run[name].get(key) for run in runs), unit) for key, unit in columns)]
        for name in runs[0]
    ]


def findings_tables(findings: Sequence[Finding], compared: Sequence[str]) -> dict[str, Table]:
    """Return what each confidence wins, and what none does."""
    return {
        winner: Table(["measure", *compared], [_row(f) for f in findings if f.winner == winner])
        for winner in (*compared, EVEN)
    }


def losses_table(findings: Sequence[Finding], name: str) -> Table:
    """Return where another confidence is better than this one, by as much as is shown."""
    header = [f"{name} loses", name, "best", "whose"]
    return Table(header, [row for finding in findings if (row := _loss(finding, name))])


def _loss(finding: Finding, name: str) -> list[str]:
    measure, means = finding.measure, {k: v.mean() for k, v in finding.values.items()}
    best = max(means, key=lambda rival: means[rival] * (1 if measure.larger_is_better else -1))
    if round(means[best], measure.decimals) == round(means[name], measure.decimals):
        return []
    shown = [over_runs(finding.values[each], measure.unit) for each in (name, best)]
    return [f"{measure.name}, {finding.pictures} ({measure.note})", *shown, best]


def _row(finding: Finding) -> list[str]:
    measure = finding.measure
    name = f"{measure.name}, {finding.pictures} ({measure.note})"
    return [name, *(over_runs(values, measure.unit) for values in finding.values.values())]
