"""The checks of one place in one network, and what a second process must find again."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.utils import parametrize

from sklearn_densconf import FeatureExtractor

from ._cell import Cell, said
from ._entry import Entry, Place
from ._oracle import expected
from ._state import check_same_state, put_in_disorder, state
from ._workers import transformed

TOLERANCE = 1e-5


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
    put_in_disorder(network)
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
            check_same_state(before, state(network))
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
    cells = {name: Cell() for name in entry.places}
    for name, cell in cells.items():  # first: to build the network would change the process
        _check_saved(cell, entry.sample(), folder / name)
    network = entry.network()
    network.load_state_dict(torch.load(folder / "weights.pt"))
    put_in_disorder(network)
    for name, cell in cells.items():
        _check_remembered(cell, network, entry.sample(), folder / name)
    return {name: cell.results for name, cell in cells.items()}


def _check_saved(cell: Cell, X: Any, folder: Path) -> None:
    if (folder / "extractor.joblib").exists():
        with cell.trying("saved"):
            features = joblib.load(folder / "extractor.joblib").transform(X)
            check_close(features, np.load(folder / "right.npy"))


def _check_remembered(cell: Cell, network: nn.Module, X: Any, folder: Path) -> None:
    if not (folder / "memory").exists():
        return
    with cell.trying("memory"):
        parameters = joblib.load(folder / "parameters.joblib")
        extractor = FeatureExtractor(network, **parameters, memory=folder / "memory")
        with counted_calls() as calls:
            features = extractor.fit(X).transform(X)
        assert not set(calls) - _parametrizations(network), "the network ran again"
        check_close(features, np.load(folder / "right.npy"))


def _refusal(extractor: FeatureExtractor, X: Any, place: Place) -> str:
    """Return the error of an extractor that must refuse."""
    try:
        extractor.fit(X).transform(X)
    except (TypeError, ValueError) as error:
        if re.search(place.refusal, str(error)):
            return said(error)
        raise
    raise AssertionError(f"no refusal with {place.refusal!r}")


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

    def hook(module: nn.Module, _inputs: Any) -> None:
        calls.append(type(module).__name__)

    with register_module_forward_pre_hook(hook):
        yield calls


def _parametrizations(network: nn.Module) -> set[str]:
    """Return the classes of modules that are called to know a weight, such as a weight norm's."""
    return {
        type(module).__name__
        for part in network.modules()
        if parametrize.is_parametrized(part)
        for module in part.parametrizations.modules()
    }
