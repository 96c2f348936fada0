"""Ratios of two things run in turn in one process: what every benchmark here is made of.

A time alone says little on a noisy machine. A case gives two callables that are run alternately,
after one unmeasured call each; its figure is the median of the ratios of the pairs.
"""

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Pair = tuple[Callable[[], object], Callable[[], object]]


@dataclass(frozen=True)
class Case:
    """One row of the table: ours against a peer.

    ``prepare()`` gives ``(ours, peer)``. A goal ``">= 70"`` reads peer's time / our time (times
    faster); ``"<= 1.5"`` reads our time / peer's time (times the cost); "" states no goal.
    """

    name: str
    peer: str
    size: str
    goal: str
    prepare: Callable[[], Pair]
    pairs: int = 5


@dataclass(frozen=True)
class Row:
    """The figure of a case: median, smallest and largest ratio, and the two median times (s)."""

    name: str
    peer: str
    size: str
    goal: str
    ratio: float
    low: float
    high: float
    ours_s: float = float("nan")
    peer_s: float = float("nan")
    unit: str = "x"
    note: str = ""
    ratios: list[float] = field(default_factory=list)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met by the median; None without a goal."""
        if not self.goal:
            return None
        sign, number = self.goal.split()[:2]
        return self.ratio >= float(number) if sign == ">=" else self.ratio <= float(number)


def measure(case: Case) -> Row:
    """Run a case: one warm-up call each, then ``pairs`` pairs, the order changing every time."""
    ours, peer = case.prepare()
    ours(), peer()
    times: dict[str, list[float]] = {"ours": [], "peer": []}
    for turn in range(case.pairs):
        order: list[tuple[str, Callable[[], Any]]] = [("ours", ours), ("peer", peer)]
        for name, call in order if turn % 2 == 0 else reversed(order):
            times[name].append(_seconds(call))
    pairs = list(zip(times["ours"], times["peer"], strict=True))
    faster = case.goal.startswith(">=")
    ratios = [p / o if faster else o / p for o, p in pairs]
    return Row(
        case.name,
        case.peer,
        case.size,
        case.goal,
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        statistics.median(times["ours"]),
        statistics.median(times["peer"]),
        ratios=ratios,
    )


def _seconds(call: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
