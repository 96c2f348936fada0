"""Pictures that DeepFool changed: does a confidence rise, and can they be told?"""

from collections.abc import Iterator
from typing import Any

from sklearn_densconf.comparison._measures import measure_attack
from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._findings import Finding, Measure, compare
from sklearn_densconf.evaluation._tables import Table, over_runs, rows_by_name
from sklearn_densconf.evaluation.cases.attack import attack_confidences

_NOT_RISING = Measure("share", "not rising under attack", "pictures that rise", False, ".1%")


def _measure(trial: Trial) -> dict[str, Any]:
    clean, attacked, norms, success = attack_confidences(trial)
    return {
        "n": len(norms),
        "fooled": float(success.mean()),
        "norm": float(norms.mean()),
        "confidences": {name: measure_attack(clean[name], attacked[name]) for name in clean},
    }


def _text(shown: Shown) -> str:
    fooled = over_runs((run["fooled"] for run in shown.runs), ".1%")
    norm = over_runs((run["norm"] for run in shown.runs), ".2f")
    return (
        f"DeepFool on {shown.runs[0]['n']:,} pictures fooled {fooled} of them; mean length of the "
        f"change: {norm} (pixels 0–1). A confidence that rises from a picture to the one that "
        "fools is a failure; AUROC tells the pictures from those that fool."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    columns = (("share", ".1%"), ("auroc", ".3f"))
    rows = rows_by_name([run["confidences"] for run in shown.runs], columns)
    yield "", Table(["confidence", "rises", "AUROC"], rows)


def _findings(shown: Shown) -> Iterator[Finding]:
    runs = [run["confidences"] for run in shown.runs]
    yield from compare([_NOT_RISING], "DeepFool", runs, shown.compared)


CASE = Case(
    name="attack",
    title="Adversarial pictures",
    place=40,
    measure=_measure,
    text=_text,
    tables=_tables,
    findings=_findings,
)
