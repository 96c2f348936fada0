"""A whole run: every training, every experiment, and then all results at once."""

import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib

from sklearn_densconf import __version__
from sklearn_densconf._files import whole_files
from sklearn_densconf.paper._confidences import fit_subject
from sklearn_densconf.paper._experiments import EXPERIMENTS, Trial, measure_clean, meet_strangers
from sklearn_densconf.paper._figures import draw_figures, save_figure
from sklearn_densconf.paper._report import write_report
from sklearn_densconf.paper._study import Settings, Study, load_study

_LIBRARIES = ("joblib", "matplotlib", "numpy", "scikit-learn", "scipy", "torch")
_SHOWN_BY = {  # data set -> the paper's figures and tables of it
    "digits": ("figure1", "figure2", "figure3", "table1"),
    "mnist": ("figure1", "figure2", "figure3", "table1"),
    "imagenet": ("figure1", "figure4", "figure5", "table1"),
}


def reproduce(settings: Settings, out: Path) -> Path:
    """Run the experiments asked for, and write figures, ``results.json`` and ``report.html``.

    What takes long (networks, features, attacks) is kept in ``out/cache``: an interrupted run goes
    on from there. Results are written together at the end, or not at all.

    Parameters
    ----------
    settings : Settings
        What is asked for.
    out : Path
        Folder of the results.

    Returns
    -------
    Path
        The report.
    """
    names = _names(settings)
    study = load_study(settings)
    cache = out / "cache"
    runs = [_run_once(study, names, seed, cache) for seed in range(settings.seeds)]
    results = {
        "paper": "arXiv:1707.07013",
        "dataset": settings.dataset,
        "network": study.network_name,
        "n_classes": len(study.dataset.classes),
        "n_train": len(study.dataset.train),
        "n_test": len(study.dataset.test),
        "labels": {name: sweep.label for name, sweep in study.sweeps.items()},
        "settings": settings.as_json(),
        "versions": _versions(),
        "runs": runs,
    }
    with whole_files(out) as folder:
        _write(results, study, folder)
    return out / "report.html"


def _names(settings: Settings) -> tuple[str, ...]:
    shown = _SHOWN_BY[settings.dataset]
    if settings.experiment == "all":
        return shown
    if settings.experiment not in shown:
        raise ValueError(
            f"{settings.experiment} is not about --dataset {settings.dataset}: that has "
            f"{', '.join(shown)}"
        )
    return (settings.experiment,)


def _run_once(study: Study, names: tuple[str, ...], seed: int, cache: Path) -> dict[str, Any]:
    """Train and measure once."""
    memory, clock = joblib.Memory(cache, verbose=0), _Clock()
    network = study.network(study.dataset, seed, memory)
    clock.lap("training")
    trial = Trial(fit_subject(network, study.dataset.train, cache), study, seed, memory)
    measured = {"seed": seed, "clean": measure_clean(trial)}
    clock.lap("fitting")
    for name in names:
        measured[name] = EXPERIMENTS[name](trial)
        clock.lap(name)
    if study.strangers is not None:
        measured["strangers"] = meet_strangers(trial)
    return measured | {"seconds": clock.seconds}


def _write(results: dict[str, Any], study: Study, folder: Path) -> None:
    for name, figure in draw_figures(results, study).items():
        save_figure(figure, folder / name)
    write_report(results, study, folder / "report.html")
    text = json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"sklearn_densconf": __version__, "python": platform.python_version(), **libraries}


class _Clock:
    """Seconds of each step; said aloud on stderr."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._started = time.perf_counter()

    def lap(self, name: str) -> None:
        """Note what was done since the last lap."""
        now = time.perf_counter()
        self.seconds[name] = round(now - self._started, 1)
        self._started = now
        print(f"{name}: {self.seconds[name]} s", file=sys.stderr)
