"""A run: one case after the other, and what took how long."""

import platform
import sys
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from sklearn_densconf import __version__
from sklearn_densconf.evaluation._case import Case, Trial

_LIBRARIES = ("joblib", "matplotlib", "numpy", "scikit-learn", "scipy", "torch")


class Clock:
    """Seconds of each step; said aloud on stderr if asked for."""

    def __init__(self, verbose: bool = True) -> None:
        self.seconds: dict[str, float] = {}
        self._verbose = verbose
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note what was done since the last lap."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._started, 1)
        self._started = now
        if self._verbose:
            print(f"{name}: {self.seconds[name]} s", file=sys.stderr)


def measure_cases(cases: Iterable[Case], trial: Trial, clock: Clock) -> dict[str, Any]:
    """Measure every case."""
    measured = {}
    for case in cases:
        measured[case.name] = case.measure(trial)
        clock.lap(case.name)
    return measured


def versions(*others: str) -> dict[str, str]:
    """Return the versions of what was used, and of others, of libraries that are installed."""
    found = {"sklearn_densconf": __version__, "python": platform.python_version()}
    for name in (*_LIBRARIES, *others):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def without_arrays(value: Any) -> Any:
    """Return results as JSON can hold them: pictures that are only shown are left out."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not isinstance(v, np.ndarray)}
        return {name: without_arrays(part) for name, part in kept.items()}
    return [without_arrays(part) for part in value] if isinstance(value, list) else value
