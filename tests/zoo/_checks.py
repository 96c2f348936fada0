"""The checks of one place in one network, and what a second process must find again."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from sklearn_densconf import FeatureExtractor

from ._entry import Entry, Place
from ._oracle import expected
from ._workers import transformed

CHECKS = {
    "refusal": "where the table says so, and nowhere else, the extractor refuses; the error names "
    "the cure, with which the other checks are made",
    "features": "equal, to 1e-5 of the largest, those of a plain hook on the user's network in "
    "evaluation mode, pooled by a rule written down for each layer",
    "untouched": "`fit` and `transform` leave the user's network as it was: weights, buffers, "
    "training flags, hooks, gradients, attributes",
    "saved": "the extractor, saved with joblib, gives the same features in another process",
    "memory": "in another process, with the network built anew, `memory` gives the same features "
    "without a forward pass",
    "workers": "two workers (`n_jobs=2`), each with half of the samples, give the same features",
}
TOLERANCE = 1e-5
HOOKS = [name for name in vars(nn.Module()) if name.endswith("hooks")]


@dataclass
class Cell:
    """What was found at one place.

    Parameters
    ----------
    refusal : str
        The error that the extractor gave where it had to refuse; "" where it had not.
    cure : mapping
        The parameters with which the checks were made then.
    results : dict of str to str
        What went wrong, by the name of the check; "" is nothing. Checks that were not reached,
        because one before them failed, are not there.
    """

    refusal: str = ""
    cure: Mapping[str, Any] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    @property
    def faults(self) -> dict[str, str]:
        """What went wrong, by the name of the check."""
        return {check: fault for check, fault in self.results.items() if fault}

    @property
    def passes(self) -> bool:
        """Whether all checks were made, and nothing went wrong."""
        return not self.faults and set(self.results) >= set(CHECKS) - {"refusal"}

    def add(self, results: Mapping[str, str]) -> None:
        """Add what another process found."""
        for check, fault in results.items():
            self.results[check] = self.results.get(check) or fault

    @contextmanager
    def trying(self, check: str) -> Iterator[None]:
        """Note an error as a fault: what a network does to the checks ends no other check."""
        try:
            yield
            self.results.setdefault(check, "")
        except Exception as error:
            self.results[check] = said(error)


def examined(entry: Entry, folder: Path) -> dict[str, Cell]:
    """Check all places of a network, and leave in a folder what `found_again` needs.

    Parameters
    ----------
    entry : Entry
        The network.
    folder : Path
        An empty folder.

    Returns
    -------
    dict of str to Cell
        What was found, by the names of the places.
    """
    network = entry.network()
    torch.save(network.state_dict(), folder / "weights.pt")
    plain = entry.network().eval()  # nothing of ours has ever touched it
    plain.load_state_dict(network.state_dict())
    _as_users_have_it(network)
    cells = {}
    for name, place in entry.places.items():
        (folder / name).mkdir()
        of_input = name == "penultimate" and "layer" not in place.cure
        right = expected(plain, place, entry.sample(), of_input=of_input)
        np.save(folder / name / "right.npy", right)
        cells[name] = _examined(network, entry, name, right, folder / name)
    return cells


def _examined(network: nn.Module, entry: Entry, name: str, right: np.ndarray, folder: Path) -> Cell:
    place, X, cell = entry.places[name], entry.sample(), Cell()
    layer = (place.asked or place.module) if name == "inside" else name
    parameters = {"layer": layer}
    if place.refusal:
        with cell.trying("refusal"):
            cell.refusal = _refusal(FeatureExtractor(network, **parameters), X, place)
            cell.cure = place.cure
            parameters = {**parameters, **place.cure}
    with cell.trying("features"):
        _check_telling(right)
        before = state(network)
        extractor = FeatureExtractor(network, **parameters).fit(X)
        features = extractor.transform(X)
        with cell.trying("untouched"):
            _check_same_state(before, state(network))
        with cell.trying("saved"):
            joblib.dump(extractor, folder / "extractor.joblib")
        with cell.trying("workers"):
            check_close(_in_two_workers(extractor, X), features)
        check_close(features, right)
    with cell.trying("memory"):
        kept = FeatureExtractor(network, **parameters, memory=folder / "memory").fit(X)
        check_close(kept.transform(X), right)
    joblib.dump(parameters, folder / "parameters.joblib")
    return cell


def found_again(entry: Entry, folder: Path) -> dict[str, dict[str, str]]:
    """Check, in another process, what `examined` left; return the results at each place.

    Parameters
    ----------
    entry : Entry
        The network.
    folder : Path
        What `examined` was given.

    Returns
    -------
    dict of str to dict of str to str
        The results, by the names of place and check.
    """
    network = entry.network()
    network.load_state_dict(torch.load(folder / "weights.pt"))
    _as_users_have_it(network)
    return {
        name: _found_again(network, entry.sample(), folder / name).results for name in entry.places
    }


def _found_again(network: nn.Module, X: Any, folder: Path) -> Cell:
    cell, right = Cell(), np.load(folder / "right.npy")
    if (folder / "extractor.joblib").exists():
        with cell.trying("saved"):
            check_close(joblib.load(folder / "extractor.joblib").transform(X), right)
    if (folder / "memory").exists():
        with cell.trying("memory"):
            parameters = joblib.load(folder / "parameters.joblib")
            extractor = FeatureExtractor(network, **parameters, memory=folder / "memory")
            with counted_calls() as calls:
                features = extractor.fit(X).transform(X)
            assert not calls, "the network ran again"
            check_close(features, right)
    return cell


def _as_users_have_it(network: nn.Module) -> None:
    """Leave a network in disorder: some of its parts train, some have hooks, some are frozen."""
    for number, part in enumerate(network.modules()):
        part.training = number % 3 != 1
    for number, weight in enumerate(network.parameters()):
        weight.requires_grad_(number % 2 == 0)
    network.register_forward_hook(user_hook)


def user_hook(_module: nn.Module, _inputs: Any, _output: Any) -> None:
    """Do nothing: a hook of the user."""


def _refusal(extractor: FeatureExtractor, X: Any, place: Place) -> str:
    """Return the error of an extractor that must refuse."""
    try:
        extractor.fit(X)
    except (TypeError, ValueError) as error:
        if re.search(place.refusal, str(error)):
            return said(error)
        raise
    raise AssertionError(f"no refusal with {place.refusal!r}")


def state(network: nn.Module) -> dict[str, Any]:
    """Return all that a user can see of a network."""
    parts = list(network.modules())
    return {
        "weights and buffers": {
            name: hashlib.sha256(value.detach().contiguous().view(torch.uint8).numpy()).hexdigest()
            for name, value in network.state_dict().items()
            if value.ndim
        },
        "training flags": [part.training for part in parts],
        "hooks": [[list(getattr(part, hooks)) for hooks in HOOKS] for part in parts],
        "gradients": [(p.requires_grad, p.grad is None) for p in network.parameters()],
        "attributes": [sorted(vars(part)) for part in parts],
    }


def _check_same_state(before: dict[str, Any], after: dict[str, Any]) -> None:
    changed = [what for what in before if before[what] != after[what]]
    assert not changed, f"changed: {', '.join(changed)}"


def _check_telling(right: np.ndarray) -> None:
    """Check the zoo itself: features that are alike for all samples would prove nothing."""
    spread = np.abs(right - right[::-1]).max() / np.abs(right).max()
    assert np.isfinite(right).all(), "the zoo's network gives no finite values"
    assert spread > 100 * TOLERANCE, f"the zoo's samples differ by {spread:.1g} only"


def check_close(features: np.ndarray, right: np.ndarray) -> None:
    """Check that features are right to `TOLERANCE` of the largest."""
    assert features.shape == right.shape, f"shape {features.shape} for {right.shape}"
    error = np.abs(features - right).max() / np.abs(right).max()
    assert error <= TOLERANCE, f"wrong by {error:.1g} of the largest"


def _in_two_workers(extractor: FeatureExtractor, X: Any) -> np.ndarray:
    middle = len(next(iter(X.values())) if isinstance(X, Mapping) else X) // 2
    halves = [part_of(X, slice(middle)), part_of(X, slice(middle, None))]
    parts = joblib.Parallel(n_jobs=2)(joblib.delayed(transformed)(extractor, X) for X in halves)
    return np.concatenate(parts)


def part_of(X: Any, rows: slice) -> Any:
    """Return some of the samples."""
    if isinstance(X, Mapping):
        return {name: values[rows] for name, values in X.items()}
    return X[rows]


@contextmanager
def counted_calls() -> Iterator[list[str]]:
    """Note the class of every module that is called, whatever calls it."""
    calls: list[str] = []
    hook: Callable[..., None] = lambda module, _inputs: calls.append(type(module).__name__)  # noqa: E731
    with register_module_forward_pre_hook(hook):
        yield calls


def said(error: Exception) -> str:
    """Return an error as one line, the same in every run."""
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return kind + re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(error).split()))
