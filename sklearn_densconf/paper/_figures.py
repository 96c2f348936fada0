"""Figures of the results, for screen and print: PNG and SVG."""

from collections.abc import Callable, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.displays import ConfidenceCurveDisplay, PictureStripDisplay
from sklearn_densconf.displays._style import COLORS
from sklearn_densconf.metrics import ConfidenceCurve
from sklearn_densconf.paper._confidences import DENSITY, SOFTMAX
from sklearn_densconf.paper._experiments import strip_pixels
from sklearn_densconf.paper._study import Study

Results = dict[str, Any]
_PANEL = (4.6, 3.8)  # inches


def draw_figures(results: Results, study: Study) -> dict[str, Any]:
    """Draw every figure of which there are results.

    Parameters
    ----------
    results : dict
        Those of a run.
    study : Study
        Where the pictures are.

    Returns
    -------
    dict of str to matplotlib Figure
        Figures under their names, "figure1" to "figure5" and "table1".
    """
    measured = [name for name in _DRAWN if name in results["runs"][0]]
    return {name: _DRAWN[name](results, study, name) for name in measured}


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG and as SVG; ``path`` has no suffix."""
    figure.savefig(path.with_suffix(".png"), dpi=150)
    path.with_suffix(".svg").write_text(as_svg(figure, path.name), encoding="utf-8")


def as_svg(figure: Any, salt: str) -> str:
    """Give a figure as an SVG element, without the XML declaration.

    Parameters
    ----------
    figure : matplotlib Figure
        The figure.
    salt : str
        Makes the ids inside differ from those of other figures on one page.

    Returns
    -------
    str
        The element; the same figure gives the same text.
    """
    matplotlib = import_optional("matplotlib", "Figures")
    buffer = StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def draw_sweep(results: Results, name: str, sweep: str, ax: Any = None) -> Any:
    """Draw one panel of figure 2 or 4; give its figure."""
    ax = ax or _new_figure(1).subplots()
    runs = [run[name][sweep] for run in results["runs"]]
    accuracy = np.mean([run["accuracy"] for run in runs], axis=0)
    severity, means = np.array(runs[0]["severity"]), _means(runs)
    curves = {
        confidence: ConfidenceCurve(severity, values.mean(axis=0), accuracy)
        for confidence, values in means.items()
    }
    label = results["labels"][sweep]
    shown = ConfidenceCurveDisplay(curves=curves, severity_name=label).plot(ax)
    for confidence, values in means.items():
        relative = values / values[:, :1]
        color = shown.lines_[confidence].get_color()
        ax.fill_between(severity, relative.min(0), relative.max(0), color=color, alpha=0.2, lw=0)
    return ax.figure


def draw_scales(results: Results, ax: Any = None) -> Any:
    """Draw figure 1; give its figure."""
    ax = ax or _new_figure(1).subplots()
    runs = [run["figure1"] for run in results["runs"]]
    factor = np.array(runs[0]["factor"])
    means = {name: values.mean(axis=0) for name, values in _means(runs).items()}
    label = "Factor of the pixels (logarithmic)"
    ConfidenceCurveDisplay.from_predictions(
        factor, means, severity_name=label, ax=ax, relative=False
    )
    ax.set_xscale("log")
    ticker = import_optional("matplotlib.ticker", "Figures")
    ax.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    return ax.figure


def _draw_sweeps(results: Results, study: Study, name: str) -> Any:  # noqa: ARG001
    sweeps = list(results["runs"][0][name])
    figure = _new_figure(len(sweeps))
    for sweep, ax in zip(sweeps, np.atleast_1d(figure.subplots(1, len(sweeps))), strict=True):
        draw_sweep(results, name, sweep, ax)
    return figure


def _draw_strips(results: Results, study: Study, name: str) -> Any:
    strips = results["runs"][0][name]
    figure = _figure(figsize=(8, 2.05 * len(strips)))
    for strip, ax in zip(strips, np.atleast_1d(figure.subplots(len(strips), 1)), strict=True):
        PictureStripDisplay(
            pictures=as_images(strip_pixels(strip, study, results["runs"][0]["seed"])),
            confidences={k: strip["confidences"][k] for k in (SOFTMAX, DENSITY)},
            captions=[f"{strip['symbol']} {s:g}" for s in strip["severity"]],
        ).plot(ax)
    return figure


def draw_rises(results: Results) -> Any:
    """Draw table 1 as bars, with a mark for each training; give the figure."""
    runs = [run["table1"]["confidences"] for run in results["runs"]]
    names = list(runs[0])
    shares = np.array([[run[k]["share"] * 100 for k in names] for run in runs])  # (runs, names)
    figure = _figure(figsize=(_PANEL[0] * 1.2, 2.6))
    ax = figure.subplots()
    ax.barh(names, shares.mean(axis=0), color=COLORS[: len(names)], height=0.6)
    if len(runs) > 1:
        ax.plot(shares.T, names, color="black", marker="|", linestyle="", markersize=9)
    for name, mean, largest in zip(names, shares.mean(axis=0), shares.max(axis=0), strict=True):
        ax.annotate(
            f"{mean:.1f} %", (largest, name), (6, 0), textcoords="offset points", va="center"
        )
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlim(0, max(1.0, shares.max() * 1.2))
    ax.set_xlabel("Pictures whose confidence rises under attack (%)")
    return figure


def _draw_scales(results: Results, study: Study, name: str) -> Any:  # noqa: ARG001
    return draw_scales(results)


def _draw_rises(results: Results, study: Study, name: str) -> Any:  # noqa: ARG001
    return draw_rises(results)


_DRAWN: dict[str, Callable[[Results, Study, str], Any]] = {
    "figure1": _draw_scales,
    "figure2": _draw_sweeps,
    "figure3": _draw_strips,
    "figure4": _draw_sweeps,
    "figure5": _draw_strips,
    "table1": _draw_rises,
}


def as_images(pixels: np.ndarray) -> list[np.ndarray]:
    """Give pictures (n, c, height, width) with the channels last, as they are shown."""
    return [np.moveaxis(picture, 0, -1) for picture in pixels]


def _new_figure(n_panels: int) -> Any:
    return _figure(figsize=(_PANEL[0] * n_panels, _PANEL[1]))


def _figure(**options: Any) -> Any:
    """Give a figure that belongs to no window: nothing has to be closed."""
    return import_optional("matplotlib.figure", "Figures").Figure(layout="constrained", **options)


def _means(runs: Sequence[Results]) -> dict[str, np.ndarray]:
    """Give the mean confidences of all runs, (n_runs, n_severities) under each name."""
    return {
        name: np.array([run["confidences"][name]["mean"] for run in runs])
        for name in runs[0]["confidences"]
    }
