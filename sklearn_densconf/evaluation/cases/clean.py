"""Clean pictures: what the confidences are good for where nothing was distorted."""

from collections.abc import Iterator
from typing import Any

from sklearn_densconf.evaluation._case import Card, Case, Shown, Trial
from sklearn_densconf.evaluation._findings import OF_LABELS, Finding, compare
from sklearn_densconf.evaluation._measures import accuracies, measure_sweep
from sklearn_densconf.evaluation._tables import QUALITY, Table, over_runs, rows_by_name


def _measure(trial: Trial) -> dict[str, Any]:
    return measure_sweep([0.0], *trial.outcomes([lambda pixels: pixels], "clean"))


def _text(_: Shown) -> str:
    return "AUROC tells errors from right labels; ECE is the expected calibration error."


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    rows = rows_by_name([run["confidences"] for run in shown.runs], QUALITY)
    yield "", Table(["confidence", "AUROC", "ECE"], rows)


def _cards(shown: Shown) -> Iterator[Card]:
    """Yield the table, with the accuracy and the mean confidence beside each other."""
    means = [run["confidences"] for run in shown.runs]
    rows = [
        [
            name,
            over_runs((accuracies(run)[name][0] for run in shown.runs), ".1%"),
            over_runs((mean[name]["mean"][0] for mean in means), ".1%"),
            *quality,
        ]
        for name, *quality in next(_tables(shown))[1].rows
    ]
    yield Card("", [Table(["confidence", "accuracy", "mean", "AUROC", "ECE"], rows)])


def _findings(shown: Shown) -> Iterator[Finding]:
    runs = [run["confidences"] for run in shown.runs]
    return compare(OF_LABELS, "clean pictures", runs, shown.compared)


CASE = Case(
    name="clean",
    title="Clean pictures",
    place=10,
    measure=_measure,
    text=_text,
    tables=_tables,
    lay_out=_cards,
    findings=_findings,
)
