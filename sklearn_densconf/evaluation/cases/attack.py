"""Adversarial pictures: how often a confidence rises from a picture to the one that fools."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.displays._style import COLORS
from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._figures import PANEL, new_figure
from sklearn_densconf.evaluation._findings import Finding, Measure, compare
from sklearn_densconf.evaluation._measures import Confidences
from sklearn_densconf.evaluation._pictures import scale_to_unit
from sklearn_densconf.evaluation._subject import Subject
from sklearn_densconf.evaluation._tables import Table, over_runs, rows_by_name
from sklearn_densconf.metrics import confidence_rises

_VALUES_AT_ONCE = 2**20  # pixel values in a batch of an attack on a CPU: larger ones are slower
_NOT_RISING = Measure("share", "not rising under attack", "pictures that rise", False, ".1%")


def _measure(trial: Trial) -> dict[str, Any]:
    return measure_attack(*attack_confidences(trial))


def attack_confidences(trial: Trial) -> tuple[Confidences, Confidences, np.ndarray, np.ndarray]:
    """Attack every network, and look at the confidences that are read from it.

    Returns the confidences before and after, the norms of the changes, and whether labels changed.
    """
    clean: dict[str, np.ndarray] = {}
    attacked: dict[str, np.ndarray] = {}
    lengths, fooled = [], []
    for numbers in _numbers_by_network(trial.subject):
        names = [name for name in trial.subject.names if trial.subject.models[name][0] in numbers]
        before, after, norms, success = _attack_network(trial, numbers, names)
        clean, attacked = {**clean, **before}, {**attacked, **after}
        lengths.append(norms)
        fooled.append(success)
    clean = {name: clean[name] for name in trial.subject.names if name in clean}
    return clean, attacked, np.concatenate(lengths), np.concatenate(fooled)


def _numbers_by_network(subject: Subject) -> list[list[int]]:
    """Return the extractors that share a network: layers of one are attacked together."""
    numbers: dict[str, list[int]] = {}
    for number in subject.attackable:
        network = subject.extractors[number].backbone_.fingerprint
        numbers.setdefault(network, []).append(number)
    return list(numbers.values())


def _attack_network(
    trial: Trial, numbers: list[int], names: Sequence[str]
) -> tuple[Confidences, Confidences, np.ndarray, np.ndarray]:
    subject, extractors = trial.subject, [trial.subject.extractors[i] for i in numbers]
    size = _batch_size(trial.attacked.read(np.arange(1)))
    pictures = replace(trial.attacked, chunk=2 * size)
    keep = trial.memory.cache(_attack, ignore=["extractors", "size"], verbose=0)
    key = fingerprint(extractors) if trial.memory.location else ""
    attack = partial(keep, extractors, key, bounds=subject.pixel_range, size=size)
    shape = extractors[0].input_shape_
    parts = [
        (subject.features(batch), *attack(_as_the_network_takes(batch, subject, shape)))
        for batch in trial.track(pictures, "DeepFool")
    ]
    before, features, norms, success = zip(*parts, strict=True)
    clean = [subject.judge(part, names).confidences for part in before]
    after = dict(zip(numbers, map(np.concatenate, zip(*features, strict=True)), strict=True))
    return (
        {name: np.concatenate([part[name] for part in clean]) for name in names},
        subject.judge(after, names).confidences,
        np.concatenate(norms),
        np.concatenate(success),
    )


def _as_the_network_takes(
    batch: np.ndarray, subject: Subject, shape: tuple[int, ...]
) -> np.ndarray:
    given = np.asarray(subject.present(scale_to_unit(batch)), np.float32)
    return given.reshape(len(batch), *shape)


def _attack(
    extractors: list[Any],
    key: str,  # noqa: ARG001 - tells extractors apart
    pixels: np.ndarray,
    bounds: tuple[float, float],
    size: int,
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Return features of the adversarial pictures, norms (pixels 0-1) and success: what is kept."""
    from sklearn_densconf.adversarial import deepfool

    network = extractors[0].backbone_.network()
    result = deepfool(network, pixels, bounds=bounds, batch_size=size)
    features = [extractor.transform(result.adversarial) for extractor in extractors]
    return features, result.norms / (bounds[1] - bounds[0]), result.success


def _batch_size(batch: Any) -> int:
    """Return how many pictures to attack at once: of large ones a CPU takes a few."""
    from sklearn_densconf.features._device import choose_device

    on_gpu = choose_device("auto").type == "cuda"
    return 256 if on_gpu else min(256, _VALUES_AT_ONCE // batch[0].size + 1)


def measure_attack(
    clean: Confidences, attacked: Confidences, norms: np.ndarray, success: np.ndarray
) -> dict[str, Any]:
    """Count the confidences that rise under attack: table 1.

    Each confidence in the label predicted, before and after, has shape (n_pictures,); ``norms`` are
    the Euclidean lengths of the changes, pixels in [0, 1]; ``success`` says whether labels changed.
    """
    return {
        "n": len(norms),
        "fooled": float(success.mean()),
        "norm": float(norms.mean()),
        "confidences": {name: _rises(before, attacked[name]) for name, before in clean.items()},
    }


def _rises(before: np.ndarray, after: np.ndarray) -> dict[str, Any]:
    n_rises = confidence_rises(before, after)
    return {
        "rises": n_rises,
        "share": n_rises / len(before),
        "clean": float(before.mean()),
        "attacked": float(after.mean()),
    }


def _text(shown: Shown) -> str:
    fooled = over_runs((run["fooled"] for run in shown.runs), ".1%")
    norm = over_runs((run["norm"] for run in shown.runs), ".2f")
    return (
        f"DeepFool on {shown.runs[0]['n']:,} pictures fooled {fooled} of them; mean length of the "
        f"change: {norm} (pixels 0–1). A confidence that rises is a failure. DeepFool stops just "
        "beyond the border between two classes, where their logits are nearly equal: the softmax "
        "confidence there is close to a half by construction, so it rises only where it was below "
        "that already. The density confidence looks at all logits and has no such bound."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    header = ["confidence", "rises", "share", "mean, clean", "mean, attacked"]
    columns = (("rises", ".0f"), ("share", ".1%"), ("clean", ".3f"), ("attacked", ".3f"))
    yield "", Table(header, rows_by_name([run["confidences"] for run in shown.runs], columns))


def _draw(shown: Shown) -> Any:
    """Draw the shares as bars, with a mark for each run."""
    runs = [run["confidences"] for run in shown.runs]
    names = list(runs[0])
    shares = np.array([[run[k]["share"] * 100 for k in names] for run in runs])  # (runs, names)
    figure = new_figure(figsize=(PANEL[0] * 1.2, 2.6))
    ax = figure.subplots()
    ax.barh(names, shares.mean(axis=0), color=COLORS[: len(names)], height=0.6)
    if len(runs) > 1:
        ax.plot(shares.T, names, color="black", marker="|", linestyle="", markersize=9)
    for name, mean, largest in zip(names, shares.mean(axis=0), shares.max(axis=0), strict=True):
        ax.annotate(
            f"{mean:.1f} %", (largest, name), (6, 0), textcoords="offset points", va="center"
        )
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlim(0, max(1.0, shares.max() * 1.2))
    ax.set_xlabel("Pictures whose confidence rises under attack (%)")
    return figure


def _findings(shown: Shown) -> Iterator[Finding]:
    runs = [run["confidences"] for run in shown.runs]
    if all(name in runs[0] for name in shown.compared):
        yield from compare([_NOT_RISING], "DeepFool", runs, shown.compared)


def _hindrance(trial: Trial) -> str:
    if trial.subject.attackable:
        return ""
    return (
        "no pipeline begins with a FeatureExtractor that takes the pixels as they are: gradients "
        "need pictures given as an array, and normalisation inside the network, not in "
        "preprocessing"
    )


CASE = Case(
    name="attack",
    title="Adversarial pictures",
    place=40,
    measure=_measure,
    text=_text,
    tables=_tables,
    draw=_draw,
    findings=_findings,
    hindrance=_hindrance,
    grid="grid wide",
)
