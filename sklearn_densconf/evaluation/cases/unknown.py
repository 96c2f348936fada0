"""Out-of-distribution pictures: can they be told from the held-out ones?"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._findings import Finding, Measure, compare
from sklearn_densconf.evaluation._measures import Confidences, tell_apart
from sklearn_densconf.evaluation._pictures import Pictures, distort_batch
from sklearn_densconf.evaluation._tables import Table, over_runs

_FOUND = Measure("auroc", "telling out-of-distribution pictures", "AUROC", True, ".3f")


def _measure(trial: Trial) -> dict[str, Any]:
    """Measure the pictures that were given, and those that can be made of any."""
    return measure_sets(trial, unknown_sets(trial))


def unknown_sets(trial: Trial) -> dict[str, Pictures]:
    """Return the pictures that were given, and those that can be made of any, by name."""
    made = {name: _made_of(trial, make) for name, make in _MADE.items()}
    return {**trial.unknown, **made}


def measure_sets(trial: Trial, sets: Mapping[str, Pictures]) -> dict[str, Any]:
    """Measure some sets of out-of-distribution pictures."""
    known = _scores(trial, trial.pictures)
    return {name: measure_unknown(known, _scores(trial, other)) for name, other in sets.items()}


def _scores(trial: Trial, pictures: Pictures) -> Confidences:
    batches = trial.track(pictures, "out-of-distribution")
    parts = [trial.subject.scores(batch) for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _made_of(trial: Trial, make: Callable[[np.ndarray, np.random.Generator], Any]) -> Pictures:
    def read(indices: np.ndarray) -> Any:
        draw = np.random.default_rng([trial.seed, int(indices[0])])
        return distort_batch(lambda pixels: make(pixels, draw), trial.pictures.read(indices))

    return replace(trial.pictures, read=read)


def _uniform_noise(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    if pixels.dtype == np.uint8:
        return draw.integers(0, 256, pixels.shape, np.uint8)
    return draw.random(pixels.shape).astype(pixels.dtype)


def _inverted(pixels: np.ndarray, _: np.random.Generator) -> np.ndarray:
    return (255 if pixels.dtype == np.uint8 else 1) - pixels


def _shuffled(pixels: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """Put the pixels of each picture into another order, the channels of one together."""
    flat = pixels.reshape(*pixels.shape[:2], -1)  # (n, c, height * width)
    order = draw.random((len(flat), 1, flat.shape[2])).argsort(axis=2)
    return np.take_along_axis(flat, order, axis=2).reshape(pixels.shape)


_MADE = {
    "uniform noise": _uniform_noise,
    "inverted pictures": _inverted,
    "shuffled pixels": _shuffled,
}


MADE_NAMES = tuple(_MADE)


def measure_unknown(known: Confidences, unknown: Confidences) -> dict[str, Any]:
    """Compute, for each score, the AUROC of telling known pictures (positive) from others."""
    return {name: {"auroc": tell_apart(known[name], unknown[name])} for name in known}


def _text(_: Shown) -> str:
    return (
        "AUROC of telling the held-out pictures (positive) from out-of-distribution ones. log p(z) "
        "is the density itself, before it is normalised over the classes; it alone is bound to "
        "fall far from all of them."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    sets = list(shown.runs[0])
    header = ["score", *(sets if len(sets) > 1 else ["AUROC"])]
    yield (
        "",
        Table(
            header,
            [
                [
                    score,
                    *(over_runs(run[name][score]["auroc"] for run in shown.runs) for name in sets),
                ]
                for score in shown.runs[0][sets[0]]
            ],
        ),
    )


def _findings(shown: Shown) -> Iterator[Finding]:
    for name in shown.runs[0]:
        yield from compare([_FOUND], name, [run[name] for run in shown.runs], shown.compared)


CASE = Case(
    name="unknown",
    title="Out-of-distribution pictures",
    place=60,
    measure=_measure,
    text=_text,
    tables=_tables,
    findings=_findings,
)
