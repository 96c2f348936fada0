"""Who wins: softmax or the density confidence, measure by measure, over all trainings."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf.paper._confidences import DENSITY, OWN_LABEL, SOFTMAX

Run = dict[str, Any]
WINNERS = (SOFTMAX, DENSITY, "even")


class Measure(NamedTuple):
    """A number that says how good a confidence is.

    Attributes
    ----------
    key : str
        What it is called in the results.
    name : str
        What it is called in words.
    note : str
        What exactly it is.
    larger_is_better : bool
        Whether more is better.
    unit : str
        How it is formatted, such as ".3f".
    """

    key: str
    name: str
    note: str
    larger_is_better: bool
    unit: str

    @property
    def decimals(self) -> int:
        """How many decimals of the number are shown."""
        return int(self.unit[1]) + (2 if self.unit.endswith("%") else 0)


@dataclass(frozen=True)
class Finding:
    """One measure of softmax and of the density confidence, in every training.

    Attributes
    ----------
    measure : Measure
        What is measured.
    of : str
        On which pictures.
    softmax, density : ndarray of shape (n_runs,)
        The numbers.
    """

    measure: Measure
    of: str
    softmax: np.ndarray
    density: np.ndarray

    @property
    def winner(self) -> str:
        """Who is better, by as much as is shown, in every training; or "even"."""
        gain = (self.density - self.softmax) * (1 if self.measure.larger_is_better else -1)
        gain = gain.round(self.measure.decimals)
        if (gain > 0).all():
            return DENSITY
        return SOFTMAX if (gain < 0).all() else "even"


def collect_findings(runs: list[Run]) -> list[Finding]:
    """Compare softmax with the density confidence in all that was measured.

    Parameters
    ----------
    runs : list of dict
        The trainings of one results.json.

    Returns
    -------
    list of Finding
        One for each measure and kind of pictures.
    """
    sets = [("clean pictures", lambda run: run["clean"]["confidences"])]
    for figure in ("figure2", "figure4"):
        sets += [(sweep, _picker(figure, sweep)) for sweep in runs[0].get(figure, ())]
    found = [
        finding
        for measure in _OF_SETS
        for of, pick in sets
        for finding in _compare(measure, of, runs, pick)
    ]
    for name, of, measure, pick in _SINGLE:
        if name in runs[0]:
            found += _compare(measure, of, runs, pick)
    return found


def _compare(
    measure: Measure, of: str, runs: list[Run], pick: Callable[[Run], Run]
) -> Iterator[Finding]:
    """Give the finding, if this was measured in every run."""
    columns = [[pick(run)[name].get(measure.key) for run in runs] for name in (SOFTMAX, DENSITY)]
    if None not in columns[0] + columns[1]:
        yield Finding(measure, of, *(np.array(column, dtype=float) for column in columns))


def _picker(figure: str, sweep: str) -> Callable[[Run], Run]:
    return lambda run: run[figure][sweep]["confidences"]


def _at_largest_scale(run: Run) -> Run:
    """Give the largest posteriors: not in the network's label, which the density leaves."""
    names = {SOFTMAX: SOFTMAX, DENSITY: OWN_LABEL}
    means = run["figure1"]["confidences"]
    return {name: {"last": means[shown]["mean"][-1]} for name, shown in names.items()}


_OF_SETS = (
    Measure("auroc", "error detection", "AUROC", True, ".3f"),
    Measure("calibration error", "calibration", "expected error", False, ".3f"),
    Measure("left", "falling with severity", "left at the strongest", False, ".1%"),
    Measure("rises", "falling at every step", "rises", False, ".1f"),
)
_SINGLE: tuple[tuple[str, str, Measure, Callable[[Run], Run]], ...] = (
    (
        "table1",
        "DeepFool",
        Measure("share", "not rising under attack", "pictures that rise", False, ".1%"),
        lambda run: run["table1"]["confidences"],
    ),
    (
        "figure1",
        "pixels × 100",
        Measure("last", "doubting absurd pictures", "largest posterior", False, ".3f"),
        _at_largest_scale,
    ),
    (
        "strangers",
        "another data set",
        Measure("auroc", "finding strangers", "AUROC", True, ".3f"),
        lambda run: run["strangers"],
    ),
)
