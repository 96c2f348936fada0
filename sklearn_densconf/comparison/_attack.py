"""Pictures that were changed to fool: does a confidence rise, and can they be told?"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.comparison._grid import Grid, grid_of
from sklearn_densconf.comparison._measures import measure_attack
from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._findings import Finding, Measure, compare
from sklearn_densconf.evaluation._pictures import Pictures, scale_to_unit
from sklearn_densconf.evaluation._tables import Table, over_runs
from sklearn_densconf.evaluation.cases.attack import attack_confidences

_NOT_RISING = Measure("share", "not rising under attack", "pictures that rise", False, ".1%")
_ATTACKS = {"FGSM": "fast_gradient_sign", "universal": "add_universal"}
_MOST_FOOLING = 200  # pictures made from noise


def _measure(trial: Trial) -> dict[str, Any]:
    clean, attacked, norms, success = attack_confidences(trial)
    found = {"DeepFool": _measured(clean, attacked, norms, success)}
    before, pixels, labels = _seen(trial)
    for name, function in _ATTACKS.items():
        changed = _made(trial, function, pixels)
        after = trial.subject.examine(changed)
        lengths = np.linalg.norm((changed - pixels).reshape(len(pixels), -1), axis=1)
        success = next(iter(after.labels.values())) != labels
        found[name] = _measured(before, after.confidences, lengths, success)
    return found


def _seen(trial: Trial) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the confidences in the pictures to attack, their pixels, and the network's labels."""
    pixels = np.concatenate([scale_to_unit(batch) for batch in trial.attacked.chunks()])
    said = trial.subject.examine(pixels)
    return said.confidences, pixels, next(iter(said.labels.values()))


def _made(trial: Trial, function: str, pixels: np.ndarray) -> np.ndarray:
    """Return what an attack makes of pixels; kept in the trial's memory."""
    (extractor,) = trial.subject.extractors
    keep = trial.memory.cache(_perturbed, ignore=["extractor"], verbose=0)
    key = fingerprint([extractor]) if trial.memory.location else ""
    return keep(extractor, key, function, pixels, trial.subject.pixel_range)


def _perturbed(
    extractor: Any,
    key: str,  # noqa: ARG001 - tells networks apart
    function: str,
    pixels: np.ndarray,
    bounds: tuple[float, float],
) -> np.ndarray:
    import torch

    from sklearn_densconf.comparison import _perturbations

    network = extractor.backbone_.network().eval().requires_grad_(False)
    return getattr(_perturbations, function)(network, torch.from_numpy(pixels), bounds).numpy()


def make_fooling(trial: Trial) -> Pictures:
    """Return pictures made from noise until softmax is sure of them."""
    n = min(len(trial.attacked), _MOST_FOOLING)
    shape = trial.attacked.read(np.arange(1)).shape[1:]
    noise = np.random.default_rng(trial.seed).random((n, *shape), np.float32)
    made = _made(trial, "fooling_pictures", noise)
    return Pictures(np.zeros(n, np.int64), lambda indices: made[indices])


def _measured(
    clean: Mapping[str, np.ndarray],
    attacked: Mapping[str, np.ndarray],
    norms: np.ndarray,
    success: np.ndarray,
) -> dict[str, Any]:
    return {
        "n": len(norms),
        "fooled": float(success.mean()),
        "norm": float(norms.mean()),
        "confidences": {name: measure_attack(clean[name], attacked[name]) for name in clean},
    }


def _text(shown: Shown) -> str:
    first = shown.runs[0]
    said = (
        f"{name} fooled {over_runs((run[name]['fooled'] for run in shown.runs), '.1%')} (mean "
        f"length {over_runs((run[name]['norm'] for run in shown.runs), '.2f')})"
        for name in first
    )
    return (
        f"Of {first['DeepFool']['n']:,} pictures {'; '.join(said)}; pixels 0–1. DeepFool and FGSM "
        "change each picture by as little as changes its label, FGSM by at most 64 of 255 per "
        "pixel; the universal perturbation is the same for all, 10 of 255 per pixel or, where this "
        "fools fewer than half, 20, 40 or 80. A confidence that rises from a picture to its "
        "adversarial version fails; the AUROC is that of telling the two apart."
    )


def confidences_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was measured as attack -> name -> numbers."""
    return {name: part["confidences"] for name, part in run.items()}


def _grids(shown: Shown) -> list[Grid]:
    runs = [confidences_of(run) for run in shown.runs]
    return [
        grid_of(runs, "share", "share of the pictures that rise (smaller is better)"),
        grid_of(runs, "auroc", "AUROC (larger is better)", larger_is_better=True),
    ]


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    yield from ((grid.title, grid.table()) for grid in _grids(shown))


def _findings(shown: Shown) -> Iterator[Finding]:
    for name in shown.runs[0]:
        runs = [run[name]["confidences"] for run in shown.runs]
        yield from compare([_NOT_RISING], name, runs, shown.compared)


CASE = Case(
    name="attack",
    title="Adversarial pictures",
    place=40,
    measure=_measure,
    text=_text,
    tables=_tables,
    findings=_findings,
)
