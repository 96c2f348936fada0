"""Pixels multiplied far beyond their range: what piecewise linear networks grow certain of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.displays import ConfidenceCurveDisplay
from sklearn_densconf.distortions import scale_pixels
from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._figures import draw_panels, means_of_runs
from sklearn_densconf.evaluation._findings import Finding, Measure, compare
from sklearn_densconf.evaluation._measures import mean_confidences
from sklearn_densconf.evaluation._pictures import Distortion, scale_to_unit
from sklearn_densconf.evaluation._tables import Table, over_runs

_FACTORS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
_DOUBT = Measure("last", "doubting absurd pictures", "largest posterior", False, ".3f")


def measure_scales(trial: Trial, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Measure the mean of each confidence at each factor."""
    distortions = [_scaled_by(factor) for factor in _FACTORS]
    _, confidences = trial.outcomes(distortions, "pixels scaled up", names)
    return {"factor": list(_FACTORS), "confidences": mean_confidences(confidences)}


def _scaled_by(factor: float) -> Distortion:
    return lambda pixels: scale_pixels(scale_to_unit(pixels), factor)


def rise(shown: Shown) -> bool:
    """Tell whether the first confidence grows with the pixels in every run."""
    means = [run["confidences"][shown.compared[0]]["mean"] for run in shown.runs]
    return all(mean[-1] > mean[0] for mean in means)


def _text(_: Shown) -> str:
    return (
        "Brighter than any picture. The softmax of a network of plain ReLU layers tends to 1 "
        "there, and so does the largest posterior of a density, since far from all classes one of "
        "them is nearest by far; with a broad background it returns to the prior. A network whose "
        "activations are clamped stays as it is."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    means = means_of_runs(shown.runs)
    rows = [
        [f"× {factor:g}", *(over_runs(values[:, i]) for values in means.values())]
        for i, factor in enumerate(shown.runs[0]["factor"])
    ]
    yield "", Table(["pixels", *means], rows)


def _draw(shown: Shown) -> Any:
    return draw_panels(lambda _, ax: _draw_panel(shown, ax), [shown.name])


def _draw_panel(shown: Shown, ax: Any) -> None:
    factor = np.array(shown.runs[0]["factor"])
    means = {name: values.mean(axis=0) for name, values in means_of_runs(shown.runs).items()}
    label = "Factor of the pixels (logarithmic)"
    ConfidenceCurveDisplay.from_predictions(
        factor, means, severity_name=label, ax=ax, relative=False
    )
    ax.set_xscale("log")
    ticker = import_optional("matplotlib.ticker", "Figures")
    ax.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))


def find_doubt(shown: Shown, largest: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Compare the largest posteriors at the largest factor.

    ``largest`` names the confidence that is the largest posterior, where that is another.
    """
    asked = {name: (largest or {}).get(name, name) for name in shown.compared}
    runs = [
        {name: {"last": run["confidences"][source]["mean"][-1]} for name, source in asked.items()}
        for run in shown.runs
    ]
    return compare([_DOUBT], f"pixels × {shown.runs[0]['factor'][-1]:g}", runs, shown.compared)


def _hindrance(trial: Trial) -> str:
    return trial.unscalable


CASE = Case(
    name="scales",
    title="Pixels scaled up",
    place=50,
    measure=measure_scales,
    text=_text,
    tables=_tables,
    draw=_draw,
    findings=find_doubt,
    hindrance=_hindrance,
)
