"""Who wins, measure by measure, over all runs. A leaf."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

EVEN = "even"


class Measure(NamedTuple):
    """A number that says how good a confidence is."""

    key: str  # in the results
    name: str  # in words
    note: str  # what exactly it is
    larger_is_better: bool
    unit: str  # how it is formatted, such as ".3f"

    @property
    def decimals(self) -> int:
        """How many decimals of the number are shown."""
        return int(self.unit[1]) + (2 if self.unit.endswith("%") else 0)


OF_LABELS = (
    Measure("auroc", "error detection", "AUROC", True, ".3f"),
    Measure("calibration error", "calibration", "expected error", False, ".3f"),
)
OF_CURVES = (
    Measure("left", "falling with severity", "left at the strongest", False, ".1%"),
    Measure("rises", "falling at every step", "rises", False, ".1f"),
)


@dataclass(frozen=True)
class Finding:
    """One measure of the compared confidences, in every run."""

    measure: Measure
    pictures: str  # on which it was measured
    values: dict[str, np.ndarray]  # name -> numbers (n_runs,)

    @property
    def winner(self) -> str:
        """Who is better than all others, by as much as is shown, in every run; or "even"."""
        sign = 1 if self.measure.larger_is_better else -1
        for name, value in self.values.items():
            others = [other for rival, other in self.values.items() if rival != name]
            gains = [((value - other) * sign).round(self.measure.decimals) for other in others]
            if all((gain > 0).all() for gain in gains):
                return name
        return EVEN


def compare(
    measures: Sequence[Measure],
    pictures: str,
    runs: Sequence[Mapping[str, Any]],
    compared: Sequence[str],
) -> Iterator[Finding]:
    """Yield a finding for each measure that was measured in every run.

    Of each run ``runs`` has name -> key of a measure -> number.
    """
    for measure in measures:
        columns = {name: [run[name].get(measure.key) for run in runs] for name in compared}
        if len(columns) > 1 and not any(None in column for column in columns.values()):
            values = {name: np.array(column, dtype=float) for name, column in columns.items()}
            yield Finding(measure, pictures, values)
