"""A grid of numbers: a row a confidence, a column what it was measured on; as table and picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sklearn_densconf.evaluation._figures import new_figure
from sklearn_densconf.evaluation._tables import Table, over_runs

_BETTER, _WORSE = np.array([0, 114, 178]) / 255, np.array([213, 94, 0]) / 255  # as in the figures
_CELL = (0.74, 0.27)  # inches
_MARGINS = (1.9, 0.75)  # of the names of rows, and of columns


@dataclass(frozen=True)
class Grid:
    """Numbers of all runs; NaN where something was not measured."""

    title: str
    unit: str  # how a number is formatted, such as ".3f"
    larger_is_better: bool
    names: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray  # (n_runs, n_names, n_columns)

    @property
    def decimals(self) -> int:
        """How many decimals of a number are shown."""
        return int(self.unit[1])

    @property
    def means(self) -> np.ndarray:
        """Means over the runs, (n_names, n_columns)."""
        return self.values.mean(axis=0)

    def with_rows(self, names: Sequence[str]) -> "Grid":
        """Return the grid with these rows, NaN where there is none."""
        values = np.full((len(self.values), len(names), len(self.columns)), np.nan)
        places = [list(names).index(name) for name in self.names]
        values[:, places] = self.values
        return replace(self, names=names, values=values)

    def table(self) -> Table:
        """Return the numbers as text, with their standard deviations."""
        rows = [
            [name, *(self._cell(self.values[:, i, j]) for j in range(len(self.columns)))]
            for i, name in enumerate(self.names)
        ]
        return Table(["confidence", *self.columns], rows)

    def _cell(self, values: np.ndarray) -> str:
        return over_runs([None if np.isnan(value) else value for value in values], self.unit)


def grid_of(
    runs: Sequence[Mapping[str, Mapping[str, Mapping[str, Any]]]],
    key: str,
    title: str,
    *,
    unit: str = ".3f",
    larger_is_better: bool = False,
) -> Grid:
    """Return the grid of one number; of each run there is column -> name -> key -> number."""
    columns = [column for column in runs[0] if _named(runs[0][column], key)]
    names = list(dict.fromkeys(name for column in columns for name in _named(runs[0][column], key)))
    found = [[[run[c][name].get(key) for c in columns] for name in names] for run in runs]
    return Grid(title, unit, larger_is_better, names, columns, np.array(found, dtype=float))


def _named(column: Mapping[str, Mapping[str, Any]], key: str) -> list[str]:
    return [name for name, numbers in column.items() if key in numbers]


def draw_grids(grids: Sequence[Grid], usual: str) -> Any:
    """Draw grids side by side, in the rows of the first: blue where better than the usual."""
    n_rows, n_columns = len(grids[0].names), [len(grid.columns) for grid in grids]
    width = _MARGINS[0] + _CELL[0] * sum(n_columns) + 0.3 * (len(grids) - 1)
    figure = new_figure(figsize=(width, _MARGINS[1] + _CELL[1] * n_rows))
    axes = np.atleast_1d(figure.subplots(1, len(grids), width_ratios=n_columns, sharey=True))
    for grid, ax in zip(grids, axes, strict=True):
        _draw(grid.with_rows(grids[0].names), usual, ax)
    return figure


def _draw(grid: Grid, usual: str, ax: Any) -> None:
    means = grid.means if grid.larger_is_better else -grid.means
    with_usual = usual in grid.names
    gain = means - (means[list(grid.names).index(usual)] if with_usual else means.max(axis=0))
    ax.imshow(_colours(gain), aspect="auto", interpolation="nearest")
    ax.set_xticks(range(len(grid.columns)), grid.columns, rotation=30, ha="left")
    ax.set_yticks(range(len(grid.names)), grid.names)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.set_xlabel(grid.title)
    _write(grid, means, ax)


def _write(grid: Grid, means: np.ndarray, ax: Any) -> None:
    """Write the numbers, the best of a column in bold."""
    best = np.nanmax(means.round(grid.decimals), axis=0, initial=-np.inf)
    for (i, j), mean in np.ndenumerate(means):
        if np.isfinite(mean):
            is_best = round(mean, grid.decimals) == best[j]
            text = format(abs(grid.means[i, j]), grid.unit)
            weight: dict[str, Any] = {"fontweight": "bold"} if is_best else {"alpha": 0.85}
            ax.text(j, i, text, ha="center", va="center", fontsize=8.5, **weight)


def _colours(gain: np.ndarray) -> np.ndarray:
    """Return a colour for each gain, (n, m, 3): white at 0, paler where it is small."""
    largest = np.nanmax(np.abs(gain), initial=1e-9)
    strength = np.nan_to_num(np.sqrt(np.abs(gain) / largest))[..., None] * 0.75
    target = np.where((np.nan_to_num(gain) > 0)[..., None], _BETTER, _WORSE)
    return 1 - strength * (1 - target)
