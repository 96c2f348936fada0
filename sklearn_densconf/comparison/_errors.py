"""Errors told from right labels: clean pictures, and pictures distorted more and more."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np

from sklearn_densconf.comparison._grid import Grid, grid_of
from sklearn_densconf.comparison._measures import measure_errors
from sklearn_densconf.displays._style import COLORS
from sklearn_densconf.evaluation._case import Card, Case, Shown, Trial
from sklearn_densconf.evaluation._figures import PANEL, new_figure
from sklearn_densconf.evaluation._findings import OF_LABELS, Finding, compare
from sklearn_densconf.evaluation._pictures import Distortion
from sklearn_densconf.evaluation._sweeps import Sweep
from sklearn_densconf.evaluation._tables import Table

_GRIDS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("auroc", "AUROC of telling errors (larger is better)", {"larger_is_better": True}),
    ("calibration error", "expected calibration error (smaller is better)", {}),
    ("aurc", "AURC (smaller is better)", {"unit": ".4f"}),
    ("augrc", "AUGRC (smaller is better)", {"unit": ".4f"}),
    ("rises", "rises of the mean, in steps of the sweep", {"unit": ".1f"}),
    ("tau", "Kendall's τ of the mean", {"unit": ".2f"}),
)
_PANELS = 3  # in a row


def _measure(trial: Trial) -> dict[str, Any]:
    unchanged: list[Distortion] = [lambda pixels: pixels]
    measured = {"clean": _measure_sweep(trial, "clean", (0.0,), unchanged)}
    for name, sweep in trial.sweeps.items():
        distortions = [_at(sweep, severity, trial.seed) for severity in sweep.severities]
        measured[name] = _measure_sweep(trial, name, sweep.severities, distortions)
    return measured


def _measure_sweep(
    trial: Trial, name: str, severities: Sequence[float], distortions: list[Distortion]
) -> dict[str, Any]:
    correct, confidences = trial.outcomes(distortions, name)
    models = trial.subject.models.items()
    probabilities = [name for name, (_, peer) in models if peer.is_probability]
    return measure_errors(severities, np.asarray(correct), confidences, probabilities)


def _at(sweep: Sweep, severity: float, seed: int) -> Distortion:
    return lambda pixels: sweep.apply(pixels, severity, seed)


def _text(_: Shown) -> str:
    return (
        "Each sweep is measured over all of its severities together, the clean pictures among "
        "them. AUROC, AURC and AUGRC only need an order; the expected calibration error (ECE) "
        "needs a probability. The mean of a confidence should fall at each step of a sweep: rises "
        "are steps where it does not, and Kendall's τ is −1 where all fall."
    )


def _grids(shown: Shown) -> list[Grid]:
    runs = [{k: part["confidences"] for k, part in run.items()} for run in shown.runs]
    return [grid_of(runs, key, title, **options) for key, title, options in _GRIDS]


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    yield from ((grid.title, grid.table()) for grid in _grids(shown))


def _cards(shown: Shown) -> Iterator[Card]:
    yield Card("the mean of each probability, and the accuracy", [_draw(shown)])
    yield from (Card(title, [table]) for title, table in _tables(shown))


def _draw(shown: Shown) -> Any:
    """Draw the mean of each probability at each severity, beside the accuracy."""
    sweeps = [name for name in shown.runs[0] if name != "clean"]
    n_rows = -(-len(sweeps) // _PANELS)
    figure = new_figure(figsize=(PANEL[0] * _PANELS * 0.8, PANEL[1] * n_rows * 0.8))
    axes = np.ravel(figure.subplots(n_rows, _PANELS, sharey=True))
    for name, ax in zip(sweeps, axes, strict=False):
        _draw_panel([run[name] for run in shown.runs], shown.labels[name], ax)
    for ax in axes[len(sweeps) :]:
        ax.set_axis_off()
    entries = axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=len(entries[0]), frameon=False)
    return figure


def _draw_panel(runs: Sequence[Mapping[str, Any]], label: str, ax: Any) -> None:
    """Draw one sweep; severities are evenly spaced, since they grow by factors."""
    places = range(len(runs[0]["severity"]))
    accuracy = np.mean([run["accuracy"] for run in runs], axis=0)
    ax.plot(places, accuracy, color="0.8", linewidth=7, solid_capstyle="round", label="accuracy")
    found = runs[0]["confidences"]
    names = [name for name in found if "calibration error" in found[name]]
    for name, color in zip(names, cycle(COLORS)):
        means = np.mean([run["confidences"][name]["mean"] for run in runs], axis=0)
        ax.plot(places, means, marker="o", markersize=3, color=color, label=name)
    ax.set_xticks(places, [f"{severity:g}" for severity in runs[0]["severity"]])
    ax.set_xlabel(label)
    ax.set_ylim(0, 1.02)
    ax.spines[["top", "right"]].set_visible(False)


def _findings(shown: Shown) -> Iterator[Finding]:
    for name in shown.runs[0]:
        runs = [run[name]["confidences"] for run in shown.runs]
        yield from compare(OF_LABELS, name, runs, shown.compared)


CASE = Case(
    name="errors",
    title="Errors",
    place=20,
    measure=_measure,
    text=_text,
    tables=_tables,
    draw=_draw,
    lay_out=_cards,
    findings=_findings,
    grid="strips",
)
