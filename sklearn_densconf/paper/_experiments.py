"""The paper's figures and tables: cases of the engine under the names and words of the paper."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from sklearn_densconf.evaluation._case import Card, Case, Shown, Trial
from sklearn_densconf.evaluation._tables import Table
from sklearn_densconf.evaluation.cases import load_cases
from sklearn_densconf.evaluation.cases.scales import find_doubt, measure_scales, rise
from sklearn_densconf.evaluation.cases.unknown import measure_sets
from sklearn_densconf.paper._confidences import BACKGROUND, CONFIDENCES, DENSITY, OWN_LABEL

_PAPER_RISES = {"softmax": 5795, "density": 2214}  # of the 50,000 pictures of ILSVRC2012's val
_SHOWN_BY = {  # data set -> the paper's figures and tables of it
    "digits": ("figure1", "figure2", "figure3", "table1"),
    "mnist": ("figure1", "figure2", "figure3", "table1"),
    "imagenet": ("figure1", "figure4", "figure5", "table1"),
}
OTHER = "another data set"
_BASE = load_cases()


def _scales_text(shown: Shown) -> str:
    """Say what happened to pixels scaled up: the logits grow with them, or are bounded."""
    if rise(shown):
        return (
            "Brighter than any picture: softmax tends to 1, and so does the largest posterior of "
            "the density (its own label), since far from all classes one of them is nearest by "
            "far. In the network's label the density confidence falls, but only because the two "
            "labels part. What does fall is log p(z); and with a broad background of 1 % the "
            "confidence returns to the prior."
        )
    return (
        "Brighter than any picture. The logits of this network do not grow without bound with its "
        "pixels (its activations are clamped), so that no confidence tends to 1: the paper's lemma "
        "3.1 is about networks of plain ReLU layers."
    )


def _attack_tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    """Set the paper's counts beside ours."""
    ((title, table),) = _BASE["attack"].tables(shown)
    rows = [[*row, _of_paper(row[0])] for row in table.rows]
    yield title, Table([*table.header, "paper, of 50,000"], rows)


def _of_paper(name: str) -> str:
    count = _PAPER_RISES.get(name)
    return "–" if count is None else f"{count} ({count / 500:.1f}\N{NO-BREAK SPACE}%)"


def _attack_cards(shown: Shown) -> list[Card]:
    figure, _ = _BASE["attack"].cards(shown)
    return [Card("", [table for _, table in _attack_tables(shown)]), figure]


def _measure_others(trial: Trial) -> dict[str, Any]:
    return measure_sets(trial, trial.unknown)[OTHER]


def _of_others(show: Callable[[Shown], Any]) -> Callable[[Shown], Any]:
    """Return a view of the one set of other pictures, which the results have without a name."""
    return lambda shown: show(shown._replace(runs=[{OTHER: run} for run in shown.runs]))


CLEAN = replace(_BASE["clean"], lay_out=lambda _: ())
STRANGERS = replace(
    _BASE["unknown"],
    name="strangers",
    title="Pictures of another data set",
    measure=_measure_others,
    tables=_of_others(_BASE["unknown"].tables),
    findings=_of_others(_BASE["unknown"].findings),
)
_UNNAMED: dict[str, Case] = {
    "figure1": replace(
        _BASE["scales"],
        # The largest posteriors: not in the network's label, which the density leaves.
        measure=partial(measure_scales, names=(*CONFIDENCES, OWN_LABEL, BACKGROUND)),
        findings=partial(find_doubt, largest={DENSITY: OWN_LABEL}),
        text=_scales_text,
    ),
    "figure2": _BASE["sweep"],
    "figure3": _BASE["strips"],
    "figure4": _BASE["sweep"],
    "figure5": _BASE["strips"],
    "table1": replace(_BASE["attack"], tables=_attack_tables, lay_out=_attack_cards),
}
EXPERIMENTS = {
    name: replace(case, name=name, number=f"{name[:-1].capitalize()} {name[-1]}")
    for name, case in _UNNAMED.items()
}


def asked_for(experiment: str, dataset: str) -> list[Case]:
    """Return the experiments to run: "all", or one that the paper shows of this data set."""
    shown = _SHOWN_BY[dataset]
    if experiment not in ("all", *shown):
        raise ValueError(
            f"{experiment} is not about --dataset {dataset}: that has {', '.join(shown)}"
        )
    return [EXPERIMENTS[name] for name in shown if experiment in ("all", name)]


def all_cases() -> list[Case]:
    """Return everything that a results.json may hold."""
    return [CLEAN, *EXPERIMENTS.values(), STRANGERS]
