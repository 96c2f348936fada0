"""Case: one experiment, whole. What it measures and how that is shown stand in one file of cases/.

Adding an experiment is adding a module to ``cases/`` that holds a `Case` named ``CASE``.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import joblib
import numpy as np

from sklearn_densconf.evaluation._findings import OF_CURVES, OF_LABELS, Finding
from sklearn_densconf.evaluation._pictures import Distortion, Pictures, distort_batch
from sklearn_densconf.evaluation._progress import track
from sklearn_densconf.evaluation._subject import Outcomes, Subject
from sklearn_densconf.evaluation._sweeps import Sweep
from sklearn_densconf.evaluation._tables import Table


@dataclass(frozen=True)
class Trial:
    """What a case measures: a subject, and what it is tried on."""

    subject: Subject
    pictures: Pictures  # held out
    sweeps: Mapping[str, Sweep]  # how they are distorted more and more
    attacked: Pictures  # those to attack
    unknown: Mapping[str, Pictures] = field(default_factory=dict)  # out-of-distribution
    seed: int = 0  # of all that is drawn
    memory: joblib.Memory = field(default_factory=lambda: joblib.Memory(None))  # of attacks
    unscalable: str = ""  # why pixels cannot be multiplied, if so
    verbose: bool = True  # whether to show progress

    def track(self, pictures: Pictures, description: str) -> Iterable[Any]:
        """Return the batches of pictures, with a progress bar if asked for."""
        return track(pictures.chunks(), pictures.n_chunks, description, self.verbose)

    def outcomes(
        self,
        distortions: Sequence[Distortion],
        description: str,
        names: Sequence[str] | None = None,
    ) -> tuple[Outcomes, dict[str, np.ndarray]]:
        """Return who is right, and the confidences, each (n_distortions, n_pictures)."""
        names = names or self.subject.names
        seen = [
            [self.subject.examine(distort_batch(distort, batch), names) for distort in distortions]
            for batch in self.track(self.pictures, description)
        ]
        labels, confidences = (
            {
                name: np.hstack([[said[i][name] for said in chunk] for chunk in seen])
                for name in names
            }
            for i in (0, 1)
        )
        return self.subject.outcomes(labels, self.pictures.y), confidences


class Shown(NamedTuple):
    """What a case has measured, ready to be shown."""

    name: str  # of the case in the results
    runs: list[Any]  # what `Case.measure` gave in each run
    labels: dict[str, str]  # name of a distortion -> what its severity is
    compared: Sequence[str]  # the confidences among which a winner is sought


class Card(NamedTuple):
    """A part of a page: figures, tables and HTML under a title."""

    title: str
    parts: list[Any]


def _nothing(_: Any) -> tuple[()]:
    return ()


def _no_reason(_: Any) -> str:
    return ""


@dataclass(frozen=True)
class Case:
    """One experiment: what is done, what is recorded, and how it is shown."""

    name: str  # in the results
    title: str
    place: int  # cases are measured, and stand in a report, in the order of this number
    measure: Callable[[Trial], Any]  # what JSON can hold; arrays, such as pictures, are not saved
    text: Callable[[Shown], str]  # what has to be said
    tables: Callable[[Shown], Iterable[tuple[str, Table]]] = _nothing  # under their titles
    draw: Callable[[Shown], Any] | None = None  # a figure
    lay_out: Callable[[Shown], Iterable[Card]] | None = None  # None: the figure beside the tables
    findings: Callable[[Shown], Iterable[Finding]] = _nothing  # who is better at what
    hindrance: Callable[[Trial], str] = _no_reason  # why it cannot be measured, if so
    grid: str = "grid"  # HTML class in which the cards lie
    number: str = ""  # of the paper's figure or table
    leads: bool = False  # the first card stands at the top of a page, for those who do not read

    def cards(self, shown: Shown) -> list[Card]:
        """Return the parts of a page."""
        if self.lay_out:
            return list(self.lay_out(shown))
        tables = [table for _, table in self.tables(shown)]
        figure = [Card("", [self.draw(shown)])] if self.draw else []
        return [*figure, *([Card("", tables)] if tables else [])]


def show_cases(
    cases: Iterable[Case], results: Mapping[str, Any], compared: Sequence[str]
) -> list[tuple[Case, Shown]]:
    """Return the cases that were measured with what they measured, in the order of a report."""
    runs = results["runs"]
    return [
        (case, Shown(case.name, [run[case.name] for run in runs], results["labels"], compared))
        for case in sorted(cases, key=lambda case: case.place)
        if case.name in runs[0]
    ]


def collect_findings(shown: Iterable[tuple[Case, Shown]]) -> list[Finding]:
    """Compare the confidences in all that was measured; findings of one measure stand together."""
    findings = [finding for case, part in shown for finding in case.findings(part)]
    measures = (*OF_LABELS, *OF_CURVES, *(finding.measure for finding in findings))
    names = [measure.name for measure in measures]
    return sorted(findings, key=lambda finding: names.index(finding.measure.name))
