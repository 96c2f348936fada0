"""What a comparison's page says beside its numbers."""

from collections.abc import Mapping
from typing import Any

from sklearn_densconf.evaluation._report import Words
from sklearn_densconf.evaluation._tables import over_runs

_DATASETS = {"digits": "scikit-learn's digits", "mnist": "MNIST", "imagenet": "ImageNet"}


def name_run(results: Mapping[str, Any]) -> str:
    """Name a comparison by its network and its data set."""
    return f"{results['network']} on {_DATASETS[results['settings']['dataset']]}"


def describe_run(results: Mapping[str, Any]) -> str:
    """Say in one line what was compared, and on what."""
    runs = results["runs"]
    n_runs, is_trained = len(runs), results["settings"]["dataset"] != "imagenet"
    kind = "training" if is_trained else "draw"
    accuracy = over_runs((run["errors"]["clean"]["accuracy"][0] for run in runs), ".1%")
    return (
        f"{name_run(results)}: {len(runs[0]['cost'])} confidences on the same network and "
        f"features. {results['n_train']:,} training pictures fit, {results['n_calibrating']:,} "
        f"others calibrate, and {results['n_measured']:,} more measure. Accuracy "
        f"{accuracy}, {n_runs} {kind if n_runs == 1 else kind + 's'}"
        f"{', mean ± standard deviation' if n_runs > 1 else ''}."
    )


def command(results: Mapping[str, Any]) -> str:
    """Return the command that made these results."""
    options = [
        f"--{name}" if value is True else f"--{name} {value}"
        for name, value in results["settings"].items()
        if value not in (None, False)
    ]
    return " ".join(["python -m sklearn_densconf compare", *options])


def words(results: Mapping[str, Any], usual: str, ours: str) -> Words:
    """Return what the report says beside its numbers."""
    seconds = sum(sum(run["seconds"].values()) for run in results["runs"])
    facts = {
        "command": command(results),
        "time": f"{seconds / 60:.1f} minutes, less what was kept from an interrupted run",
        "versions": ", ".join(f"{name} {number}" for name, number in results["versions"].items()),
    }
    facts |= {f"no {name}": reason for name, reason in results["left_out"].items()}
    about = results["about"]
    facts |= {name: about[name] for name in results["runs"][0]["cost"]}
    verdicts = {usual: f"Where {usual} beats {ours}", ours: f"Where {ours} beats {usual}"}
    called = {usual: usual.capitalize(), ours: ours.capitalize()}
    title = f"Confidences compared: {name_run(results)}"
    return Words(title, describe_run(results), called, facts, verdicts)
