"""A whole comparison: every training or draw, all that is measured of it, and then the page."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from sklearn.model_selection import train_test_split
from torch import nn

from sklearn_densconf import FeatureExtractor
from sklearn_densconf.comparison import (
    _attack,
    _cost,
    _errors,
    _glance,
    _rejection,
    _unknown,
)
from sklearn_densconf.comparison._kept import Kept
from sklearn_densconf.comparison._page import read_results, write_page
from sklearn_densconf.comparison._sweeps import sweeps_of
from sklearn_densconf.comparison._unknown import reshape_pictures
from sklearn_densconf.comparison._words import words
from sklearn_densconf.evaluation._case import Case, Trial
from sklearn_densconf.evaluation._evaluation import Evaluation
from sklearn_densconf.evaluation._pictures import Pictures
from sklearn_densconf.evaluation._progress import track
from sklearn_densconf.evaluation._run import Clock, versions
from sklearn_densconf.evaluation._subject import Subject
from sklearn_densconf.evaluation.peers import (
    OPEN_SET,
    PEERS,
    Activations,
    FittedPeer,
    Known,
    find_last_layer,
    fit_peers,
)
from sklearn_densconf.paper._data import load_strangers
from sklearn_densconf.paper._study import VGG16, Settings, Study, load_study

SOFTMAX = "softmax"
COMPARED = (SOFTMAX, OPEN_SET)
MEASURED = (_errors.CASE, _unknown.CASE, _rejection.CASE, _attack.CASE, _cost.CASE)
CASES = (_glance.CASE, *MEASURED)
_FEWEST_HELD_OUT = 4  # of a class
_MOST_ATTACKED = 1000  # pictures, of which a share of 0.1 % can be seen


@dataclass(frozen=True)
class Question:
    """What the command line asks for."""

    dataset: str = "digits"
    data: Path | None = None
    backbone: str | None = None  # None: VGG16
    layer: str | None = None  # of the features; None: the input of the last linear layer
    unknown: Sequence[Path] = ()  # folders of out-of-distribution pictures in MNIST's format
    attacked: int | None = None  # pictures; None: all, or 100 of ImageNet where there is no GPU
    seeds: int = 3  # trainings, or draws of the halves and of the noise
    quick: bool = False
    links_outside: bool = False  # whether ImageNet's links that lead out of its folder are followed

    def settings(self) -> Settings:
        """Return what the study needs to know."""
        return Settings(
            "all",
            self.dataset,
            self.data,
            backbone=self.backbone or VGG16,
            quick=self.quick,
            attacked=self.attacked,
            links_outside=self.links_outside,
        )

    def layers(self) -> list[str]:
        """Return the names of the layers of the features and of the logits."""
        inside = "network." if self.dataset == "imagenet" else ""  # of `PixelNetwork`
        return [f"{inside}{self.layer}" if self.layer else "penultimate", "output"]

    def as_json(self) -> dict[str, Any]:
        """Return what was asked for; of folders and files their names only."""
        plain = {k: v.name if isinstance(v, Path) else v for k, v in vars(self).items()}
        unknown = " ".join(folder.name for folder in self.unknown)
        backbone = self.backbone and self.settings().as_json()["backbone"]
        return plain | {"unknown": unknown or None, "backbone": backbone}


def compare(
    question: Question, out: Path, page: Path | None = None, beside: Sequence[Path] = ()
) -> Path:
    """Compare all confidences; write ``report.html``, ``results.json`` and figures to ``out``.

    What takes long (networks, features, attacks, the numbers of each case) is kept in
    ``out/cache``: an interrupted run goes on from there. Results are written together at the end,
    or not at all. ``page`` is a Markdown file to write too, with the results of earlier comparisons
    ``beside`` these. Returns the report.
    """
    earlier = [read_results(path) for path in beside]
    study = load_study(question.settings())
    _check_numbers(study.dataset.test.y, study.dataset.classes)
    others = {folder.name: load_strangers(folder) for folder in question.unknown}
    runs = [
        _run_once(study, question, others, seed, out / "cache") for seed in range(question.seeds)
    ]
    sweeps = sweeps_of(quick=question.quick)
    n_calibrating, n_measured = map(len, _halves(study.dataset.test, 0))
    results = {
        "network": study.network_name,
        "n_classes": len(study.dataset.classes),
        "n_train": len(study.dataset.train),
        "n_calibrating": n_calibrating,
        "n_measured": n_measured,
        "labels": {name: sweep.label for name, sweep in sweeps.items()},
        "about": {peer.name: peer.about for peer in PEERS},
        "left_out": runs[0].pop("left_out"),
        "settings": question.as_json(),
        "versions": versions("pytorch-ood"),
        "runs": [{k: v for k, v in run.items() if k != "left_out"} for run in runs],
    }
    evaluation = Evaluation(results, CASES, COMPARED, words(results, *COMPARED))
    report = evaluation.save(out)
    if page is not None:
        write_page([evaluation.results, *earlier], CASES, COMPARED, page)
    return report


def _check_numbers(y: np.ndarray, classes: Sequence[str]) -> None:
    counts = np.bincount(y)
    if (fewest := counts.min()) < _FEWEST_HELD_OUT:
        raise ValueError(
            f"class {classes[int(counts.argmin())]} has {fewest} held-out pictures, wanted at "
            f"least {_FEWEST_HELD_OUT}: they are halved twice, to calibrate and to measure"
        )


def _run_once(
    study: Study, question: Question, others: Mapping[str, Pictures], seed: int, cache: Path
) -> dict[str, Any]:
    """Train, fit and measure once."""
    memory, clock = joblib.Memory(cache, verbose=0), Clock()
    network = study.network(study.dataset, seed, memory)
    clock.lap("training")
    calibrating, measured = _halves(study.dataset.test, seed)
    extractor = FeatureExtractor(network, layer=question.layers(), memory=cache)
    extractor.fit(study.dataset.train.read(np.arange(1)))
    known = _known(extractor, network, study.dataset.train, calibrating)
    judged = _activations(extractor, measured, "measured pictures")
    unknown = {name: _like(measured, pictures) for name, pictures in others.items()}
    clock.lap("features")
    foreign = [part for pictures in unknown.values() for part in pictures.chunks()]
    asked = question.quick, question.attacked, seed, versions("pytorch-ood")
    kept = Kept(cache, *asked, *known.train, *known.held_out, *judged, foreign, list(unknown))

    @functools.cache
    def fitted() -> tuple[Mapping[str, FittedPeer], dict[str, str]]:
        return fit_peers(PEERS, known)

    def trial() -> Trial:
        return Trial(
            _subject(extractor, fitted()[0]),
            measured,
            sweeps_of(quick=question.quick),
            measured.spread(min(len(study.attacked), len(measured), _MOST_ATTACKED)),
            unknown,
            seed,
            memory,
        )

    def measure(case: Case) -> Any:
        return case.measure(trial())

    left_out = kept.result("left_out", lambda: fitted()[1])
    clock.lap("fitting")
    run = {}
    for case in MEASURED:
        run[case.name] = kept.result(case.name, functools.partial(measure, case))
        clock.lap(case.name)
    glance = {"glance": _glance.glance_at(run)}
    return {"seed": seed, **glance, **run, "seconds": clock.seconds, "left_out": left_out}


def _like(measured: Pictures, others: Pictures) -> Pictures:
    """Return as many other pictures, as SCOD-AURC depends on their share, of the same shape."""
    some, like = others.spread(min(len(measured), len(others))), measured.read(np.arange(1))
    return Pictures(
        some.y, lambda indices: reshape_pictures(some.read(indices), like), measured.chunk
    )


def _halves(pictures: Pictures, seed: int) -> tuple[Pictures, Pictures]:
    """Split held-out pictures: one half calibrates, the other measures."""
    parts = train_test_split(
        np.arange(len(pictures)), test_size=0.5, stratify=pictures.y, random_state=seed
    )
    calibrating, measured = (pictures.only(np.sort(part)) for part in parts)
    return calibrating, measured


def _known(
    extractor: FeatureExtractor, network: nn.Module, train: Pictures, calibrating: Pictures
) -> Known:
    fitted, held_out = (
        _activations(extractor, part, name)
        for part, name in ((train, "training pictures"), (calibrating, "calibrating pictures"))
    )
    layer = find_last_layer(network, fitted)
    return Known(fitted, train.y, held_out, calibrating.y, layer)


def _activations(extractor: FeatureExtractor, pictures: Pictures, name: str) -> Activations:
    batches = track(pictures.chunks(), pictures.n_chunks, name)
    X = np.concatenate([extractor.transform(batch) for batch in batches])
    width = next(iter(extractor.feature_groups_.values())).stop
    return Activations(X[:, :width], X[:, width:])


def _subject(extractor: FeatureExtractor, peers: Mapping[str, FittedPeer]) -> Subject:
    return Subject(
        extractors=(extractor,),
        models={name: (0, peer) for name, peer in peers.items()},
        names=tuple(peers),
        compared=COMPARED,
        one_label=True,
        attackable=(0,),
    )
