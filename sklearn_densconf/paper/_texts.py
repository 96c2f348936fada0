"""What report and documentation say of a run in words."""

from typing import Any

from sklearn_densconf.evaluation._report import Words
from sklearn_densconf.evaluation._tables import over_runs
from sklearn_densconf.paper._confidences import DENSITY, SOFTMAX
from sklearn_densconf.paper._study import VGG16
from sklearn_densconf.paper._train import WEIGHT_DECAY

_DATASETS = {"digits": "digits", "mnist": "MNIST", "imagenet": "ImageNet"}
_DEFAULTS = {"backbone": VGG16, "seeds": 1, "weight_decay": WEIGHT_DECAY}
CALLED = {SOFTMAX: "Softmax", DENSITY: "The density confidence"}


def words(results: dict[str, Any]) -> Words:
    """Return what the report says beside its numbers."""
    facts = {
        "paper": results["paper"],
        "command": command(results),
        "time": describe_time(results),
        "versions": ", ".join(f"{name} {number}" for name, number in results["versions"].items()),
    }
    verdicts = {SOFTMAX: "Softmax is better", DENSITY: "The density is better"}
    title = f"Density confidence: {name_run(results)}"
    return Words(title, describe_run(results), CALLED, facts, verdicts)


def command(results: dict[str, Any]) -> str:
    """Return the command that made these results."""
    options = ["python -m sklearn_densconf.paper"]
    for name, value in results["settings"].items():
        if name == "experiment":
            options.append(value)
        elif name == "severities":
            options += [_option(sweep, severities) for sweep, severities in (value or {}).items()]
        elif value is True:
            options.append(f"--{name}")
        elif value not in (None, False, _DEFAULTS.get(name)):
            options.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(options)


def _option(sweep: str, severities: list[float]) -> str:
    return " ".join([f"--{sweep.lower()}", *(f"{severity:g}" for severity in severities)])


def name_run(results: dict[str, Any]) -> str:
    """Name a run by its network, its data set and what is unusual about its training."""
    decay = results["settings"]["weight_decay"]
    unusual = "" if decay == WEIGHT_DECAY else f", weight decay {decay:g}"
    return f"{results['network']} on {_DATASETS[results['dataset']]}{unusual}"


def describe_time(results: dict[str, Any]) -> str:
    """Say how long the first training with its experiments took; the others share its work."""
    minutes = sum(results["runs"][0]["seconds"].values()) / 60
    return f"{minutes:.1f} minutes for the first, less what was kept from an interrupted run"


def describe_run(results: dict[str, Any]) -> str:
    """Say in one line what was run, and how accurate the network is."""
    accuracy = over_runs((run["clean"]["accuracy"][0] for run in results["runs"]), ".2%")
    n_runs = len(results["runs"])
    one, several = "training", "trainings"
    if results["dataset"] == "imagenet":
        one, several = "draw of the noise", "draws of the noise"
    times = f"{n_runs} {one if n_runs == 1 else several}"
    return (
        f"{name_run(results)} · {results['n_classes']} classes · "
        f"{results['n_test']:,} held-out pictures · accuracy {accuracy} · {times}"
    )
