"""The tables of a report, as text: what HTML and Markdown then set."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf.paper._findings import WINNERS, Finding, collect_findings

Run = dict[str, Any]
PAPER_RISES = {"softmax": 5795, "density": 2214}  # of the 50,000 pictures of ILSVRC2012's val
PAPER_PICTURES = 50_000


class Table(NamedTuple):
    """A table of text.

    Attributes
    ----------
    header : list of str
        Names of the columns.
    rows : list of list of str
        Cells.
    """

    header: list[str]
    rows: list[list[str]]


def over_runs(values: Iterable[float | None], unit: str = ".3f") -> str:
    """Give the mean over all trainings, and the standard deviation if there are several."""
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    parts = [np.mean(known)] if len(known) < 2 else [np.mean(known), np.std(known, ddof=1)]
    text = " ± ".join(format(float(part), unit) for part in parts).replace("-", "−")
    return f"{text.replace('%', '')} %" if unit.endswith("%") else text


def sweep_table(runs: list[Run], figure: str, sweep: str) -> Table:
    """Tell the shape of each confidence's curve, and what the confidence is good for."""
    header = ["confidence", "τ", "rises", "left", "AUROC", "ECE"]
    columns = (("tau", ".2f"), ("rises", ".1f"), ("left", ".1%"), *_QUALITY)
    return Table(header, _rows([run[figure][sweep]["confidences"] for run in runs], columns))


def clean_table(runs: list[Run]) -> Table:
    """Tell what the confidences are good for on clean pictures."""
    header = ["confidence", "AUROC", "ECE"]
    return Table(header, _rows([run["clean"]["confidences"] for run in runs], _QUALITY))


def attack_table(runs: list[Run]) -> Table:
    """Tell how often each confidence rises under attack, beside the paper's counts: table 1."""
    header = ["confidence", "rises", "share", "mean, clean", "mean, attacked", "paper, of 50,000"]
    columns = (("rises", ".0f"), ("share", ".1%"), ("clean", ".3f"), ("attacked", ".3f"))
    rows = _rows([run["table1"]["confidences"] for run in runs], columns)
    return Table(header, [[*row, _of_paper(row[0])] for row in rows])


def curve_table(runs: list[Run], figure: str, sweep: str) -> Table:
    """Give the numbers of a panel: mean confidence and accuracy at each severity."""
    first = runs[0][figure][sweep]
    header = ["severity", "accuracy", *first["confidences"]]
    rows = []
    for i, severity in enumerate(first["severity"]):
        curves = [[run[figure][sweep]["accuracy"][i] for run in runs]]
        curves += [_at(runs, i, _confidence(figure, sweep, name)) for name in first["confidences"]]
        rows.append([f"{severity:g}", *(over_runs(values) for values in curves)])
    return Table(header, rows)


def scale_table(runs: list[Run]) -> Table:
    """Give the numbers of figure 1: mean confidence at each factor of the pixels."""
    first = runs[0]["figure1"]
    rows = [
        [f"× {factor:g}"]
        + [
            over_runs(run["figure1"]["confidences"][name]["mean"][i] for run in runs)
            for name in first["confidences"]
        ]
        for i, factor in enumerate(first["factor"])
    ]
    return Table(["pixels", *first["confidences"]], rows)


def strangers_table(runs: list[Run]) -> Table:
    """Tell how well each score tells known pictures from those of another data set."""
    return Table(["score", "AUROC"], _rows([run["strangers"] for run in runs], (("auroc", ".3f"),)))


def findings_tables(runs: list[Run]) -> dict[str, Table]:
    """Give what softmax wins, what the density confidence wins, and what neither does."""
    findings = collect_findings(runs)
    return {
        winner: Table(
            ["measure", "softmax", "density"], [_row(f) for f in findings if f.winner == winner]
        )
        for winner in WINNERS
    }


def _row(finding: Finding) -> list[str]:
    measure = finding.measure
    unit = measure.unit
    name = f"{measure.name}, {finding.of} ({measure.note})"
    return [name, over_runs(finding.softmax, unit), over_runs(finding.density, unit)]


_QUALITY = (("auroc", ".3f"), ("calibration error", ".3f"))


def _rows(runs: list[Run], columns: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Give a row for each confidence: its name, and each number over all trainings."""
    columns = list(columns)
    return [
        [name, *(over_runs((run[name].get(key) for run in runs), unit) for key, unit in columns)]
        for name in runs[0]
    ]


def _of_paper(name: str) -> str:
    count = PAPER_RISES.get(name)
    return (
        "–" if count is None else f"{count} ({count / PAPER_PICTURES * 100:.1f}\N{NO-BREAK SPACE}%)"
    )


def _confidence(figure: str, sweep: str, name: str) -> Callable[[Run], list[float]]:
    return lambda run: run[figure][sweep]["confidences"][name]["mean"]


def _at(runs: list[Run], i: int, curve: Callable[[Run], list[float]]) -> list[float]:
    return [curve(run)[i] for run in runs]
