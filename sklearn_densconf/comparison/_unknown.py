"""Out-of-distribution pictures, told from the measured ones, and together with the errors."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from sklearn_densconf.comparison._attack import make_fooling
from sklearn_densconf.comparison._grid import Grid, draw_grids, grid_of
from sklearn_densconf.comparison._measures import measure_unknown
from sklearn_densconf.evaluation._case import Card, Case, Shown, Trial
from sklearn_densconf.evaluation._findings import Finding, Measure, compare
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.evaluation._tables import Table
from sklearn_densconf.evaluation.cases.unknown import unknown_sets

_FOUND = Measure("auroc", "telling out-of-distribution pictures", "AUROC", True, ".3f")


def _measure(trial: Trial) -> dict[str, Any]:
    correct, known = _scores(trial, trial.pictures)
    sets = {**unknown_sets(trial), "fooling": make_fooling(trial)}
    return {
        name: measure_unknown(correct, known, _scores(trial, pictures)[1])
        for name, pictures in sets.items()
    }


def reshape_pictures(pixels: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Return pictures in [0, 1], (n, 1, h, w), as others are: their size, channels and dtype."""
    import torch

    if pixels.shape[1:] != like.shape[1:]:
        size = torch.Size(like.shape[2:])
        resized = torch.nn.functional.interpolate(torch.from_numpy(pixels), size, mode="bilinear")
        pixels = np.repeat(resized.numpy(), like.shape[1], axis=1)
    return (pixels * 255).round().astype(np.uint8) if like.dtype == np.uint8 else pixels


def _scores(trial: Trial, pictures: Pictures) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return who is right, (n_pictures,), and the confidences."""
    names = trial.subject.names
    said = [trial.subject.examine(batch) for batch in trial.track(pictures, "out-of-distribution")]
    labels = np.concatenate([part.labels[names[0]] for part in said])
    confidences = [part.confidences for part in said]
    return labels == pictures.y, {
        k: np.concatenate([part[k] for part in confidences]) for k in names
    }


def _text(_: Shown) -> str:
    return (
        "AUROC of telling the measured pictures (positive) from others; FPR95, the share of the "
        "others above the threshold that accepts 95 % of the measured ones; and SCOD-AURC, the "
        "selective risk where keeping an error and keeping one of the others are equally wrong. "
        "Fooling pictures were made from noise, along the gradient, until softmax was sure of them."
    )


def _grids(shown: Shown) -> list[Grid]:
    return [
        grid_of(shown.runs, "auroc", "AUROC (larger is better)", larger_is_better=True),
        grid_of(shown.runs, "fpr", "FPR95 (smaller is better)"),
        grid_of(shown.runs, "scod", "SCOD-AURC (smaller is better)"),
    ]


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    yield from ((grid.title, grid.table()) for grid in _grids(shown))


def _draw(shown: Shown) -> Any:
    return draw_grids(_grids(shown), shown.compared[0])


def _cards(shown: Shown) -> Iterator[Card]:
    yield Card("", [_draw(shown)])
    yield from (Card(title, [table]) for title, table in _tables(shown))


def _findings(shown: Shown) -> Iterator[Finding]:
    for name in shown.runs[0]:
        yield from compare([_FOUND], name, [run[name] for run in shown.runs], shown.compared)


CASE = Case(
    name="unknown",
    title="Out-of-distribution pictures",
    place=30,
    measure=_measure,
    text=_text,
    tables=_tables,
    draw=_draw,
    lay_out=_cards,
    findings=_findings,
    grid="strips",
)
