"""What report and documentation say in words."""

from typing import Any

from sklearn_densconf.paper._confidences import DENSITY, SOFTMAX
from sklearn_densconf.paper._findings import Finding, collect_findings
from sklearn_densconf.paper._study import VGG16
from sklearn_densconf.paper._tables import over_runs
from sklearn_densconf.paper._train import WEIGHT_DECAY

Run = dict[str, Any]
_DATASETS = {"digits": "digits", "mnist": "MNIST", "imagenet": "ImageNet"}
_DEFAULTS = {"backbone": VGG16, "seeds": 1, "weight_decay": WEIGHT_DECAY}

CONFIDENCE_TEXT = (
    "Mean confidence in the network's label, clean pictures = 1, and its accuracy; bands show the "
    "range over the runs. Kendall's τ is −1 where every step falls; rises are counted in steps; "
    "left is the confidence at the strongest distortion as a fraction of that at the mildest; "
    "AUROC tells errors from right labels, ECE is the expected calibration error, both over all "
    "pictures at all severities."
)
STRIPS_TEXT = (
    "Confidences in pictures chosen by rule: of the first 25 of a class, those rightly labelled, "
    "the one whose density confidence is in the middle. Bars are relative to the largest in the "
    "row."
)
RISES_TEXT = (
    "DeepFool stops just beyond the border between two classes, where their logits are nearly "
    "equal: the softmax confidence there is close to a half by construction, so it rises only "
    "where it was below that already. The density confidence looks at all logits and has no such "
    "bound."
)
UNBOUNDED_TEXT = (
    "Brighter than any picture: softmax tends to 1, and so does the largest posterior of the "
    "density (its own label), since far from all classes one of them is nearest by far. In the "
    "network's label the density confidence falls, but only because the two labels part. What does "
    "fall is log p(z); and with a broad background of 1 % the confidence returns to the prior."
)
BOUNDED_TEXT = (
    "Brighter than any picture. The logits of this network do not grow without bound with its "
    "pixels (its activations are clamped), so that no confidence tends to 1: the paper's lemma 3.1 "
    "is about networks of plain ReLU layers."
)
STRANGERS_TEXT = (
    "AUROC of telling the held-out pictures (positive) from pictures of another data set. log p(z) "
    "is the density itself, before it is normalised over the classes; it alone is bound to fall "
    "far from all of them."
)


def scales_text(runs: list[Run]) -> str:
    """Say what happened to pixels scaled up: the logits grow with them, or are bounded."""
    means = [run["figure1"]["confidences"][SOFTMAX]["mean"] for run in runs]
    return UNBOUNDED_TEXT if all(mean[-1] > mean[0] for mean in means) else BOUNDED_TEXT


def attack_text(runs: list[Run]) -> str:
    """Say how the attack went, and why softmax seldom rises under it."""
    attacks = [run["table1"] for run in runs]
    fooled = over_runs((attack["fooled"] for attack in attacks), ".1%")
    norm = over_runs((attack["norm"] for attack in attacks), ".2f")
    return (
        f"DeepFool on {attacks[0]['n']:,} pictures fooled {fooled} of them; mean length of the "
        f"change: {norm} (pixels 0–1). A confidence that rises is a failure. {RISES_TEXT}"
    )


def command(results: dict[str, Any]) -> str:
    """Give the command that made these results."""
    words = ["python -m sklearn_densconf.paper"]
    for name, value in results["settings"].items():
        if name == "experiment":
            words.append(value)
        elif name == "severities":
            words += [_option(sweep, severities) for sweep, severities in (value or {}).items()]
        elif value is True:
            words.append(f"--{name}")
        elif value not in (None, False, _DEFAULTS.get(name)):
            words.append(f"--{name.replace('_', '-')} {value}")
    return " ".join(words)


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


def lead(runs: list[Run]) -> list[str]:
    """Say in a sentence each what softmax and what the density confidence is better at."""
    findings = collect_findings(runs)
    return [
        f"{subject} is better at {_enumerate([f for f in findings if f.winner == winner])}."
        for winner, subject in ((SOFTMAX, "Softmax"), (DENSITY, "The density confidence"))
    ]


def _enumerate(findings: list[Finding]) -> str:
    """Name what was won, measure by measure: "calibration (noise, blur), ..."."""
    by_measure: dict[str, list[str]] = {}
    for finding in findings:
        by_measure.setdefault(finding.measure.name, []).append(finding.of)
    won = [f"{measure} ({', '.join(of)})" for measure, of in by_measure.items()]
    return ", ".join(won) or "nothing that was measured"
