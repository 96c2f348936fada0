"""DriftMonitor: how often it is wrong, how soon it is right, and what it costs."""

import time
from functools import partial

import numpy as np

from sklearn_densconf.monitoring import DriftMonitor
from tests.benchmarks._harness import Row

RATE = 0.05
N_STREAMS = 1000
LENGTH = 10_000


def _false_alarms(n: int) -> Row:
    random = np.random.default_rng(n)
    monitor = DriftMonitor(false_alarm_rate=RATE, random_state=0)
    alarms = [
        monitor.fit(random.normal(size=n)).update(random.normal(size=LENGTH)).alarm_
        for _ in range(N_STREAMS)
    ]
    share = float(np.mean(alarms))
    return _row(
        "share of quiet streams with an alarm",
        f"{N_STREAMS:,} streams of {LENGTH:,} scores, {n:,} held-out ones, rate {RATE}",
        f"<= {RATE}",
        [share],
        "",
    )


def _delay(shift: float, quiet: int) -> Row:
    random = np.random.default_rng(0)
    monitor = DriftMonitor(random_state=0)
    delays = []
    for _ in range(100):
        monitor.fit(random.normal(size=1000)).update(random.normal(size=quiet))
        while not monitor.alarm_ and monitor.n_seen_ < quiet + 5000:
            monitor.update(random.normal(size=50) - shift)
        at = monitor.alarm_at_ or monitor.n_seen_
        delays.append(max(at - quiet, 0))
    size = (
        f"1,000 held-out scores, fall by {shift:g} standard deviations after {quiet:,}, rate 0.01"
    )
    return _row("scores until the alarm", size, "", delays, "scores")


def _seconds_of_update() -> Row:
    random = np.random.default_rng(0)
    monitor = DriftMonitor(random_state=0).fit(random.normal(size=1000))
    seconds = []
    for _ in range(20):
        scores = random.normal(size=LENGTH)
        start = time.perf_counter()
        monitor.update(scores)
        seconds.append(time.perf_counter() - start)
    return _row("time of update", f"{LENGTH:,} scores at once", "<= 0.1", seconds, "s")


def _row(name: str, size: str, goal: str, values: list[float], unit: str) -> Row:
    low, middle, high = (float(np.quantile(values, q)) for q in (0, 0.5, 1))
    return Row(name, "", size, goal, middle, low, high, unit=unit)


def _named(function: partial) -> partial:
    function.__name__ = f"{function.func.__name__}{function.args}"
    return function


FIGURES = [
    *(_named(partial(_false_alarms, n)) for n in (500, 1000, 5000)),
    *(_named(partial(_delay, shift, 1000)) for shift in (0.3, 0.5, 1.0)),
    _named(partial(_delay, 1.0, 100_000)),
    _seconds_of_update,
]
