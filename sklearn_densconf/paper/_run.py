"""A whole run: every training, every experiment, and then all results at once."""

from pathlib import Path
from typing import Any

import joblib

from sklearn_densconf.evaluation._case import Case, Trial
from sklearn_densconf.evaluation._evaluation import Evaluation
from sklearn_densconf.evaluation._run import Clock, measure_cases, versions
from sklearn_densconf.paper._confidences import COMPARED, fit_subject
from sklearn_densconf.paper._experiments import CLEAN, OTHER, STRANGERS, all_cases, asked_for
from sklearn_densconf.paper._study import Settings, Study, load_study
from sklearn_densconf.paper._texts import words


def reproduce(settings: Settings, out: Path) -> Path:
    """Run the experiments asked for; write figures, ``results.json`` and ``report.html``, its path.

    What takes long (networks, features, attacks) is kept in ``out/cache``: an interrupted run goes
    on from there. Results are written together at the end, or not at all.
    """
    cases = asked_for(settings.experiment, settings.dataset)
    study = load_study(settings)
    cases += [STRANGERS] if study.strangers is not None else []
    runs = [_run_once(study, cases, seed, out / "cache") for seed in range(settings.seeds)]
    results = {
        "paper": "arXiv:1707.07013",
        "dataset": settings.dataset,
        "network": study.network_name,
        "n_classes": len(study.dataset.classes),
        "n_train": len(study.dataset.train),
        "n_test": len(study.dataset.test),
        "labels": {name: sweep.label for name, sweep in study.sweeps.items()},
        "settings": settings.as_json(),
        "versions": versions(),
        "runs": runs,
    }
    return Evaluation(results, all_cases(), COMPARED, words(results)).save(out, formats=["png"])


def _run_once(study: Study, cases: list[Case], seed: int, cache: Path) -> dict[str, Any]:
    """Train and measure once."""
    memory, clock = joblib.Memory(cache, verbose=0), Clock()
    network = study.network(study.dataset, seed, memory)
    clock.lap("training")
    trial = Trial(
        fit_subject(network, study.dataset.train, cache),
        study.dataset.test,
        study.sweeps,
        study.attacked,
        {} if study.strangers is None else {OTHER: study.strangers},
        seed,
        memory,
    )
    clean = CLEAN.measure(trial)
    clock.lap("fitting")
    measured = measure_cases(cases, trial, clock)
    return {"seed": seed, "clean": clean, **measured, "seconds": clock.seconds}
