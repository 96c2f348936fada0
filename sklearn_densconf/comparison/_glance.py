"""All columns at a glance: who is best, and where this package's confidence loses."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sklearn_densconf.comparison._attack import confidences_of
from sklearn_densconf.comparison._grid import Grid, draw_grids, grid_of
from sklearn_densconf.evaluation._case import Card, Case, Shown
from sklearn_densconf.evaluation._tables import Table, over_runs

# What one wants of a confidence: (case, number, title, larger is better, how it is formatted).
_GRIDS = (
    ("errors", "auroc", "errors: AUROC", True, ".3f"),
    ("unknown", "auroc", "out-of-distribution: AUROC", True, ".3f"),
    ("errors", "calibration error", "calibration: ECE", False, ".3f"),
    ("errors", "aurc", "errors: AURC", False, ".4f"),
    ("errors", "augrc", "errors: AUGRC", False, ".4f"),
    ("unknown", "fpr", "out-of-distribution: FPR95", False, ".3f"),
    ("unknown", "scod", "both: SCOD-AURC", False, ".4f"),
    ("attack", "share", "attack: share that rises", False, ".3f"),
)
_FEWER = 3  # grids in the picture: the others are below, and in the list of losses


def glance_at(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured as case -> column -> name -> numbers."""
    errors = {column: part["confidences"] for column, part in run["errors"].items()}
    attack = confidences_of(run["attack"]) if "attack" in run else {}
    return {"errors": errors, "unknown": run["unknown"], "attack": attack}


def grids_of(runs: Sequence[Mapping[str, Any]]) -> list[Grid]:
    """Return a grid of each number."""
    return [
        grid_of([run[case] for run in runs], key, title, unit=unit, larger_is_better=larger)
        for case, key, title, larger, unit in _GRIDS
        if runs[0][case]
    ]


def losses(grids: Sequence[Grid], ours: str) -> tuple[Table, int, int]:
    """List where another confidence is better by more than a standard deviation over the runs.

    Returns the table, the largest loss of each number first, and how many columns were lost and
    compared.
    """
    found = [
        (loss, row)
        for grid in grids
        if ours in grid.names
        for loss, row in _losses_of(grid, list(grid.names).index(ours))
    ]
    n_columns = len(found)
    rows = [row for loss, row in found if loss > 0]
    return Table(["measure", ours, "best", "whose"], rows), len(rows), n_columns


def _losses_of(grid: Grid, ours: int) -> list[tuple[float, list[str]]]:
    """Return how much more than a standard deviation is lost in each column, the most first."""
    sign = 1 if grid.larger_is_better else -1
    means = np.where(np.isnan(grid.means), -np.inf, grid.means * sign)
    columns = np.flatnonzero(np.isfinite(means[ours]))
    losses = [_loss(grid, ours, int(means[:, j].argmax()), int(j), sign) for j in columns]
    return sorted(losses, key=lambda loss: -loss[0])


def _loss(grid: Grid, ours: int, best: int, column: int, sign: int) -> tuple[float, list[str]]:
    mine, theirs = grid.values[:, ours, column], grid.values[:, best, column]
    gain = (theirs - mine) * sign
    spread = gain.std(ddof=1) if len(gain) > 1 else 0.0
    is_shown = round(theirs.mean(), grid.decimals) != round(mine.mean(), grid.decimals)
    shown = [over_runs(values, grid.unit) for values in (mine, theirs)]
    row = [f"{grid.title}, {grid.columns[column]}", *shown, grid.names[best]]
    return float(gain.mean() - spread) if is_shown else 0.0, row


def _text(shown: Shown) -> str:
    usual, ours = shown.compared
    _, n_lost, n_columns = losses(grids_of(shown.runs), ours)
    return (
        f"{ours.capitalize()} is the best of all, or within one standard deviation of the best, in "
        f"{n_columns - n_lost} of {n_columns} columns; the table lists the others, the largest "
        f"loss of each measure first. In the picture blue is better than {usual}, orange worse, "
        "and the best of a column is bold; ± is the standard deviation."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    yield "Where it loses", losses(grids_of(shown.runs), shown.compared[1])[0]


def _draw(shown: Shown) -> Any:
    return draw_grids(grids_of(shown.runs)[:_FEWER], shown.compared[0])


def _cards(shown: Shown) -> Iterator[Card]:
    yield Card("", [_draw(shown)])
    yield Card("Where it loses", [table for _, table in _tables(shown)])


def _of_other_cases(_: Any) -> dict[str, Any]:
    return {}  # `glance_at` makes it of what they measured


CASE = Case(
    name="glance",
    title="At a glance",
    place=10,
    measure=_of_other_cases,
    text=_text,
    tables=_tables,
    draw=_draw,
    lay_out=_cards,
    grid="strips",
    leads=True,
)
