"""What each confidence costs beside the network's pass."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._tables import Table, over_runs

_TIMES = 3  # scores are timed; the fastest counts


def _measure(trial: Trial) -> dict[str, Any]:
    X = trial.subject.features(next(iter(trial.pictures.chunks())))[0]
    return {
        name: {
            "fit": round(peer.seconds, 4),  # seconds
            "score": round(1000 * _seconds(partial(peer.confidence, X)) / len(X), 6),  # seconds
            "bytes": peer.n_bytes,
        }
        for name, (_, peer) in trial.subject.models.items()
    }


def _seconds(call: Callable[[], object]) -> float:
    def once() -> float:
        started = time.perf_counter()
        call()
        return time.perf_counter() - started

    return min(once() for _ in range(_TIMES))


def _text(_: Shown) -> str:
    return (
        "Seconds of the fit; milliseconds for the scores of 1,000 pictures, the fastest of three; "
        "and what has to be kept, written to a file."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    rows = [
        [
            name,
            over_runs((run[name]["fit"] for run in shown.runs), ".2f"),
            over_runs((run[name]["score"] * 1000 for run in shown.runs), ".1f"),
            f"{shown.runs[0][name]['bytes'] / 1000:,.0f}",
        ]
        for name in shown.runs[0]
    ]
    yield "", Table(["confidence", "fit (s)", "1,000 scores (ms)", "kilobytes"], rows)


CASE = Case(name="cost", title="Cost", place=50, measure=_measure, text=_text, tables=_tables)
