"""What the figures share: colours, open axes, and a legend that covers no data."""

from typing import Any

from sklearn.pipeline import Pipeline

from sklearn_densconf._optional import import_optional

# Okabe and Ito's colours, which colour-blind readers can tell apart; in grey, the markers help.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00")
_MARKERS = ("o", "s", "^", "D", "v", "P")
_LEGEND = {
    "loc": "upper left",
    "frameon": False,
    "fontsize": "small",
    "borderaxespad": 0,
    "handlelength": 1.6,
    "columnspacing": 1.2,
}
FAINT, QUIET = "0.9", "0.35"  # greys: of grids and tracks; of references


def _open_axes(ax: Any, display: object, **figure_kwargs: Any) -> Any:
    """Return the axes, new ones if None, ready for the first or a further curve."""
    if ax is None:
        pyplot = import_optional("matplotlib.pyplot", type(display).__name__)
        ax = pyplot.subplots(layout="constrained", **figure_kwargs)[1]
    if not ax.has_data():
        ax.set_prop_cycle(color=COLORS, marker=_MARKERS)
        ax.set_axisbelow(True)
        ax.grid(axis="y", color=FAINT)
        ax.spines[["top", "right"]].set_visible(False)
    return ax


def _close_axes(ax: Any, high: float, *, plot_legend: bool = True) -> None:
    """Scale the axes from 0 to the highest value of the data, with the legend above it."""
    ticker = import_optional("matplotlib.ticker", "a display")
    ticks = ticker.MaxNLocator(7, steps=[1, 2, 5, 10]).tick_values(0, high)
    ax.set_yticks(ticks[(ticks >= 0) & (ticks <= high * (1 + 1e-9))])
    labelled = plot_legend and ax.get_legend_handles_labels()[0]
    share = 1 - _place_legend(ax) if labelled else 0.97  # of the height, for the data
    ax.set_ylim(0, high / share)
    ax.spines["left"].set_bounds(0, high)
    ax.yaxis.label.set_y(share / 2)


def _place_legend(ax: Any) -> float:
    """Put the legend at the top, inside the axes; return the share of the height that it takes."""
    # Settles the layout: the sizes below are those of the page. A part of a figure cannot draw.
    ax.figure.canvas.figure.draw_without_rendering()
    box = ax.get_window_extent()
    n_entries = len(ax.get_legend_handles_labels()[0])
    for n_rows in range(1, n_entries + 1):
        legend = ax.legend(ncols=-(-n_entries // n_rows), **_LEGEND)
        extent = legend.get_window_extent()
        if extent.width <= box.width:
            break
    return min(extent.height / box.height + 0.02, 0.7)


def _name_estimator(estimator: Any) -> str:
    """Return the name of the class, for a Pipeline that of its last step."""
    return type(estimator[-1] if isinstance(estimator, Pipeline) else estimator).__name__


def _label(name: str | None, measure: str, value: float | None) -> str | None:
    """Return an entry for the legend: the name, the measured value, or both."""
    if value is None:
        return name
    measured = f"{measure} = {value:.3g}"
    return f"{name} ({measured})" if name else measured
