"""The experiments of the paper: what is done to the pictures, and what is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import joblib
import numpy as np
import torch

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.adversarial import deepfool
from sklearn_densconf.distortions import scale_pixels
from sklearn_densconf.paper._confidences import (
    BACKGROUND,
    CONFIDENCES,
    DENSITY,
    OWN_LABEL,
    Opinions,
    Subject,
)
from sklearn_densconf.paper._data import Pictures, scale_to_unit
from sklearn_densconf.paper._measures import (
    Confidences,
    mean_confidences,
    measure_attack,
    measure_strangers,
    measure_sweep,
)
from sklearn_densconf.paper._progress import track
from sklearn_densconf.paper._study import Study
from sklearn_densconf.paper._sweeps import Sweep, every_other

Measured = dict[str, Any]
Distortion = Callable[[np.ndarray], np.ndarray]

_VALUES_ATTACKED = 2**20  # pixel values in a batch of an attack on a CPU: larger ones are slower
SCALES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class Trial:
    """One trained network, and what it is tried on.

    Attributes
    ----------
    subject : Subject
        The network and its confidences.
    study : Study
        Pictures and distortions.
    seed : int
        Of the training and of the noise.
    memory : joblib.Memory
        Keeps the results of attacks.
    """

    subject: Subject
    study: Study
    seed: int
    memory: joblib.Memory


def measure_clean(trial: Trial) -> Measured:
    """Examine the held-out pictures as they are."""
    return measure_sweep([0.0], *_outcomes(trial, [_as_it_is], "clean"))


def scale_pathology(trial: Trial) -> Measured:
    """Figure 1: multiply the pixels, far beyond any range of pixels."""
    names = (*CONFIDENCES, OWN_LABEL, BACKGROUND)
    _, confidences = _outcomes(trial, [_scaled_by(f) for f in SCALES], "figure 1", names)
    return {"factor": list(SCALES), "confidences": mean_confidences(confidences)}


def distort_more_and_more(trial: Trial) -> Measured:
    """Figures 2 and 4: mean confidence and accuracy against severity, for each distortion."""
    measured = {}
    for name, sweep in trial.study.sweeps.items():
        distortions = [_at(sweep, severity, trial.seed) for severity in sweep.severities]
        measured[name] = measure_sweep(sweep.severities, *_outcomes(trial, distortions, name))
    return measured


def look_at_single_pictures(trial: Trial) -> list[Measured]:
    """Figures 3 and 5: the confidences in a few pictures, distorted more and more."""
    test, shown = trial.study.dataset.test, _choose_pictures(trial)
    strips = [
        {
            "picture": index,
            "label": int(test.y[index]),
            "distortion": name,
            "symbol": sweep.symbol,
            "severity": every_other(sweep.severities),
        }
        for index in shown
        for name, sweep in trial.study.sweeps.items()
    ]
    for strip in strips:
        opinions = trial.subject.examine(strip_pixels(strip, trial.study, trial.seed))
        strip["predicted"] = opinions.labels.tolist()
        strip["confidences"] = {k: v.tolist() for k, v in opinions.confidences.items()}
    return strips


def strip_pixels(strip: Measured, study: Study, seed: int) -> np.ndarray:
    """Give the distorted pictures (n, c, height, width) of one strip."""
    pixels, sweep = study.dataset.test.read(np.array([strip["picture"]])), study.sweeps
    distort = sweep[strip["distortion"]].apply
    return np.concatenate([distort(pixels, severity, seed) for severity in strip["severity"]])


def attack_network(trial: Trial) -> Measured:
    """Table 1: how often confidence rises from a clean to an adversarial picture (DeepFool)."""
    subject, pictures = trial.subject, trial.study.attacked
    at_once = 2 * _batch_size(pictures.read(np.arange(1)))
    attack = trial.memory.cache(_attack, ignore=["network"], verbose=0)
    network = subject.extractor.backbone_
    chunks, n_chunks = replace(pictures, chunk=at_once).chunks(), -(-len(pictures) // at_once)
    parts = [
        (subject.examine(pixels), *attack(network, network.fingerprint, scale_to_unit(pixels)))
        for pixels in track(chunks, n_chunks, "DeepFool")
    ]
    clean, z, norms, success = zip(*parts, strict=True)
    attacked = subject.judge(np.concatenate(z)).confidences
    return measure_attack(_joined(clean), attacked, np.concatenate(norms), np.concatenate(success))


def meet_strangers(trial: Trial) -> Measured:
    """Tell pictures of another data set from the held-out ones, by confidence and by log p(z)."""
    assert trial.study.strangers is not None
    known, strange = (
        _scores(trial.subject, part) for part in (trial.study.dataset.test, trial.study.strangers)
    )
    return measure_strangers(known, strange)


EXPERIMENTS: dict[str, Callable[[Trial], Any]] = {
    "figure1": scale_pathology,
    "figure2": distort_more_and_more,
    "figure3": look_at_single_pictures,
    "figure4": distort_more_and_more,
    "figure5": look_at_single_pictures,
    "table1": attack_network,
}


def _outcomes(
    trial: Trial,
    distortions: Sequence[Distortion],
    description: str,
    names: Sequence[str] = CONFIDENCES,
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Give who is right, and the confidences, each (n_distortions, n_pictures)."""
    pictures, examine = trial.study.dataset.test, trial.subject.examine
    seen = [
        [examine(distort(pixels), names) for distort in distortions]
        for pixels in track(pictures.chunks(), pictures.n_chunks, description)
    ]
    labels = np.hstack([[opinions.labels for opinions in chunk] for chunk in seen])
    confidences = {
        name: np.hstack([[opinions.confidences[name] for opinions in chunk] for chunk in seen])
        for name in names
    }
    return labels == pictures.y, confidences


def _as_it_is(pixels: np.ndarray) -> np.ndarray:
    return pixels


def _scaled_by(factor: float) -> Distortion:
    return lambda pixels: scale_pixels(scale_to_unit(pixels), factor)


def _at(sweep: Sweep, severity: float, seed: int) -> Distortion:
    return lambda pixels: sweep.apply(pixels, severity, seed)


def _choose_pictures(trial: Trial, n: int = 2) -> list[int]:
    """Give a typical picture, rightly labelled, of each of ``n`` classes that are far apart."""
    y = trial.study.dataset.test.y
    classes = np.unique(y)
    wanted = classes[np.linspace(0, len(classes) - 1, n + 2).round().astype(int)[1:-1]]
    return [_typical(trial, np.flatnonzero(y == label)[:25]) for label in wanted]


def _typical(trial: Trial, candidates: np.ndarray) -> int:
    """Give the one in the middle of the density confidence, of those that are right."""
    test = trial.study.dataset.test
    opinions = trial.subject.examine(test.read(candidates))
    order = np.argsort(opinions.confidences[DENSITY])
    right = order[opinions.labels[order] == test.y[candidates[order]]]
    middle = right if len(right) else order
    return int(candidates[middle[len(middle) // 2]])


def _attack(network: Any, fingerprint: str, pixels: np.ndarray) -> tuple[np.ndarray, ...]:  # noqa: ARG001
    """Give logits of the adversarial pictures, norms (pixels 0-1) and success; kept on disk."""
    result = deepfool(network.network(), pixels, bounds=(0, 1), batch_size=_batch_size(pixels))
    z = FeatureExtractor(network).fit_transform(result.adversarial)
    return z, result.norms, result.success


def _batch_size(pixels: np.ndarray) -> int:
    """Give how many pictures to attack at once: of large ones a CPU takes a few."""
    return 256 if torch.cuda.is_available() else min(256, _VALUES_ATTACKED // pixels[0].size + 1)


def _joined(parts: Sequence[Opinions]) -> Confidences:
    return {
        name: np.concatenate([part.confidences[name] for part in parts])
        for name in parts[0].confidences
    }


def _scores(subject: Subject, pictures: Pictures) -> Confidences:
    z = np.concatenate([subject.extractor.transform(pixels) for pixels in pictures.chunks()])
    return subject.judge(z).confidences | {"log p(z)": subject.models[DENSITY].score_samples(z)}
