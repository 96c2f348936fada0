"""ConformalRejector on many random splits: is what it promises kept, and at what price?"""

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import train_test_split

from sklearn_densconf.evaluation._case import Case, Shown, Trial
from sklearn_densconf.evaluation._tables import Table, over_runs
from sklearn_densconf.rejection import ConformalRejector

N_SPLITS = 200
ALPHA = 0.1  # of every class, the share that may be rejected
DELTA = 0.1  # probability that the risk is exceeded
_FEWEST_ERRORS = 10  # a risk is at least this over the number of pictures that calibrate


class _AsGiven(ClassifierMixin, BaseEstimator):
    """A classifier of what was computed already: X is the label, then all probabilities."""

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def fit(self, _: Any, __: Any = None) -> "_AsGiven":
        """Learn nothing."""
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the labels."""
        return X[:, 0].astype(np.int64)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the probabilities."""
        return X[:, 1:]


def _measure(trial: Trial) -> dict[str, Any]:
    models = {name: peer for name, (_, peer) in trial.subject.models.items() if peer.is_probability}
    X = np.concatenate([trial.subject.features(batch)[0] for batch in trial.pictures.chunks()])
    return {
        name: measure_rejection(peer.predict(X), peer.predict_proba(X), trial.pictures.y)
        for name, peer in models.items()
    }


def measure_rejection(
    labels: np.ndarray, proba: np.ndarray, y: np.ndarray, n_splits: int = N_SPLITS
) -> dict[str, Any]:
    """Split the pictures at random: one half calibrates a rejector, the other measures it.

    "rejected" is the mean share of each true class that is rejected, "coverage" of all that are
    accepted; "risk", allowed, is half of the share of errors, or what so many pictures can show,
    "exceeded" the share of the splits in which more errors are accepted, "covered" the coverage.
    """
    error, n_calibrating = float(np.mean(labels != y)), len(y) // 2
    risk = min(max(error / 2, _FEWEST_ERRORS / n_calibrating), 0.5)
    X, model = np.column_stack([labels, proba]), _AsGiven(proba.shape[1]).fit(None)
    by_class = ConformalRejector(model, alpha=ALPHA)
    bounded = ConformalRejector(model, risk=risk, delta=DELTA)
    rejected, coverage, risks, covered = [], [], [], []
    for seed in range(n_splits):
        Z, Z_new, known, new = train_test_split(X, y, test_size=0.5, stratify=y, random_state=seed)
        accepted = _accepted(by_class, Z, known, Z_new)
        rejected.append(1 - np.bincount(new, accepted) / np.bincount(new))
        coverage.append(accepted.mean())
        accepted = _accepted(bounded, Z, known, Z_new)
        risks.append((model.predict(Z_new) != new)[accepted].mean() if accepted.any() else 0.0)
        covered.append(accepted.mean())
    return {
        "rejected": np.mean(rejected, axis=0).tolist(),
        "rejected, sd": np.std(rejected, axis=0, ddof=1).tolist(),
        "coverage": float(np.mean(coverage)),
        "risk": risk,
        "exceeded": float(np.mean(np.array(risks) > risk)),
        "kept": float(np.mean(risks)),
        "covered": float(np.mean(covered)),
    }


def _accepted(
    rejector: ConformalRejector, Z: np.ndarray, known: np.ndarray, new: np.ndarray
) -> np.ndarray:
    with warnings.catch_warnings():  # that too few pictures can promise this: the numbers show it
        warnings.simplefilter("ignore", UserWarning)
        return rejector.fit(Z, known).decide(new).accepted


def _text(shown: Shown) -> str:
    risk = over_runs((next(iter(run.values()))["risk"] for run in shown.runs), ".2%")
    sd = max(max(part["rejected, sd"]) for run in shown.runs for part in run.values())
    error = sd / math.sqrt(N_SPLITS)
    return (
        f"`ConformalRejector` on {N_SPLITS} random splits of the measured pictures: one half "
        f"calibrates it, the other is judged. With `alpha={ALPHA:g}` at most {100 * ALPHA:g} % of "
        "every class may be rejected, in expectation: the table has the mean over the classes, and "
        f"the class of which most is rejected (standard error at most {error:.1%}). "
        f"With `risk=`, here {risk}, at most that share of what is accepted may be wrong, except "
        f"in {100 * DELTA:g} % of the splits (`delta={DELTA:g}`)."
    )


def _tables(shown: Shown) -> Iterator[tuple[str, Table]]:
    header = ["confidence", "rejected", "most rejected", "accepted"]
    header += ["errors accepted", "exceeded", "accepted at that risk"]
    yield "", Table(header, [_row(name, shown) for name in shown.runs[0]])


def _row(name: str, shown: Shown) -> list[str]:
    runs = [run[name] for run in shown.runs]
    columns = (
        [np.mean(run["rejected"]) for run in runs],
        [np.max(run["rejected"]) for run in runs],
        *([run[key] for run in runs] for key in ("coverage", "kept", "exceeded", "covered")),
    )
    units = (".1%", ".1%", ".1%", ".2%", ".1%", ".1%")
    cells = (over_runs(values, unit) for values, unit in zip(columns, units, strict=True))
    return [name, *cells]


CASE = Case(
    name="rejection",
    title="Rejection with a guarantee",
    place=35,
    measure=_measure,
    text=_text,
    tables=_tables,
)
