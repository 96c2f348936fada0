"""Pictures distorted more and more: confidence and accuracy against severity."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from sklearn_densconf.displays import ConfidenceCurveDisplay
from sklearn_densconf.evaluation._case import Card, Case, Shown, Trial
from sklearn_densconf.evaluation._figures import draw_panels, means_of_runs
from sklearn_densconf.evaluation._findings import OF_CURVES, OF_LABELS, Finding, compare
from sklearn_densconf.evaluation._measures import accuracies, measure_sweep
from sklearn_densconf.evaluation._pictures import Distortion
from sklearn_densconf.evaluation._sweeps import Sweep
from sklearn_densconf.evaluation._tables import QUALITY, Table, over_runs, rows_by_name
from sklearn_densconf.metrics import ConfidenceCurve


def _measure(trial: Trial) -> dict[str, Any]:
    measured = {}
    for name, sweep in trial.sweeps.items():
        distortions = [_at(sweep, severity, trial.seed) for severity in sweep.severities]
        measured[name] = measure_sweep(sweep.severities, *trial.outcomes(distortions, name))
    return measured


def _at(sweep: Sweep, severity: float, seed: int) -> Distortion:
    return lambda pixels: sweep.apply(pixels, severity, seed)


def _text(shown: Shown) -> str:
    shared = "accuracy" in next(iter(shown.runs[0].values()))
    label, its = ("the network's label", "its ") if shared else ("each one's label", "")
    return (
        f"Mean confidence in {label}, clean pictures = 1, and {its}accuracy; bands show the range "
        "over the runs. Kendall's τ is −1 where every step falls; rises are counted in steps; left "
        "is the confidence at the strongest distortion as a fraction of that at the mildest; AUROC "
        "tells errors from right labels, ECE is the expected calibration error, both over all "
        "pictures at all severities."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    for name in shown.runs[0]:
        runs = [run[name] for run in shown.runs]
        yield shown.labels[name], _shape_table(runs)
        yield "", _curve_table(runs)


def _shape_table(runs: list[Any]) -> Table:
    """Tell the shape of each confidence's curve, and what the confidence is good for."""
    header = ["confidence", "τ", "rises", "left", "AUROC", "ECE"]
    columns = (("tau", ".2f"), ("rises", ".1f"), ("left", ".1%"), *QUALITY)
    return Table(header, rows_by_name([run["confidences"] for run in runs], columns))


def _curve_table(runs: list[Any]) -> Table:
    """Return the numbers of a panel: accuracy and mean confidence at each severity."""
    curves = _accuracy_columns(runs)
    curves |= {name: means.T for name, means in means_of_runs(runs).items()}
    rows = [
        [f"{severity:g}", *(over_runs(values[i]) for values in curves.values())]
        for i, severity in enumerate(runs[0]["severity"])
    ]
    return Table(["severity", *curves], rows)


def _accuracy_columns(runs: list[Any]) -> dict[str, np.ndarray]:
    """Return one accuracy (n_severities, n_runs) where all judge the same labels."""
    if "accuracy" in runs[0]:
        return {"accuracy": np.transpose([run["accuracy"] for run in runs])}
    return {
        f"accuracy, {name}": np.transpose([accuracies(run)[name] for run in runs])
        for name in runs[0]["confidences"]
    }


def _draw(shown: Shown) -> Any:
    return draw_panels(partial(_draw_panel, shown), list(shown.runs[0]))


def _draw_panel(shown: Shown, name: str, ax: Any) -> None:
    runs = [run[name] for run in shown.runs]
    severity, means = np.array(runs[0]["severity"]), means_of_runs(runs)
    means = {name: values for name, values in means.items() if values[:, 0].all()}  # or no fraction
    accuracy = {k: np.mean([accuracies(run)[k] for run in runs], axis=0) for k in means}
    curves = {
        confidence: ConfidenceCurve(severity, values.mean(axis=0), accuracy[confidence])
        for confidence, values in means.items()
    }
    display = ConfidenceCurveDisplay(curves=curves, severity_name=shown.labels[name]).plot(ax)
    for confidence, values in means.items():
        relative = values / values[:, :1]
        color = display.lines_[confidence].get_color()
        ax.fill_between(severity, relative.min(0), relative.max(0), color=color, alpha=0.2, lw=0)


def _cards(shown: Shown) -> Iterator[Card]:
    for name in shown.runs[0]:
        table = _shape_table([run[name] for run in shown.runs])
        yield Card(name, [draw_panels(partial(_draw_panel, shown), [name]), table])


def _findings(shown: Shown) -> Iterator[Finding]:
    for name in shown.runs[0]:
        runs = [run[name]["confidences"] for run in shown.runs]
        yield from compare((*OF_LABELS, *OF_CURVES), name, runs, shown.compared)


def _hindrance(trial: Trial) -> str:
    return "" if trial.sweeps else "there is no distortion"


CASE = Case(
    name="sweep",
    title="Distorted more and more",
    place=20,
    measure=_measure,
    text=_text,
    tables=_tables,
    draw=_draw,
    lay_out=_cards,
    findings=_findings,
    hindrance=_hindrance,
)
