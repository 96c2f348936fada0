"""What a peer is: a confidence in the network's label, from its features and logits. A leaf."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import cloudpickle
import numpy as np

from sklearn_densconf._optional import import_optional


class Activations(NamedTuple):
    """What a network gives of pictures."""

    features: np.ndarray  # (n, d): the input of its last linear layer
    logits: np.ndarray  # (n, k)


class LastLayer(NamedTuple):
    """The last linear layer: logits = features @ weight.T + bias."""

    weight: np.ndarray  # (k, d)
    bias: np.ndarray  # (k,)


@dataclass(frozen=True)
class Known:
    """What peers are fitted to: the training pictures, and held-out ones to calibrate with."""

    train: Activations
    y: np.ndarray  # 0 ... k - 1
    held_out: Activations
    y_held_out: np.ndarray
    last_layer: LastLayer | None = None  # None: not found

    def linear(self) -> LastLayer:
        """Return the last layer, which some peers need."""
        if self.last_layer is None:
            raise ValueError("needs the weights of the last linear layer, which were not found")
        return self.last_layer


Score = Callable[[Activations], np.ndarray]


@dataclass(frozen=True)
class Posterior:
    """A score that is a probability: the log-odds of the network's label under a classifier."""

    model: Any  # fitted, of this package
    read: Callable[[Activations], np.ndarray]  # what it takes

    def __call__(self, activations: Activations) -> np.ndarray:
        """Compute the log-odds, (n,)."""
        return self.model.confidence(self.read(activations), log_odds=True)

    def predict_proba(self, activations: Activations) -> np.ndarray:
        """Compute the probability of each label, (n, k)."""
        return np.asarray(self.model.predict_proba(self.read(activations)))


def logits_of(activations: Activations) -> np.ndarray:
    """Return the logits, float64."""
    return np.asarray(activations.logits, np.float64)


@dataclass(frozen=True)
class Peer:
    """A confidence that can be fitted.

    ``fit`` returns the score, (n,) of activations and larger where the label is surer: any number,
    or the log-odds of a probability, then with ``predict_proba``. It raises ValueError or
    ImportError where it cannot.
    """

    name: str
    fit: Callable[[Known], Score]
    about: str  # what it is, in a line
    is_probability: bool = False
    library: str = ""  # module of an optional library, imported before the fit is timed


@dataclass(frozen=True)
class FittedPeer:
    """A fitted peer as the cases of the engine take one: X has the features, then the logits."""

    score: Score
    n_features: int
    is_probability: bool
    seconds: float  # of the fit
    n_bytes: int  # of what has to be kept

    def activations(self, X: np.ndarray) -> Activations:
        """Return features and logits apart."""
        return Activations(X[:, : self.n_features], X[:, self.n_features :])

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the network's label, the same for all peers."""
        return X[:, self.n_features :].argmax(axis=1)

    def confidence(self, X: np.ndarray) -> np.ndarray:
        """Compute the score; a peer that has none for a picture is not sure of it at all."""
        score = np.asarray(self.score(self.activations(X)), np.float64)
        return np.where(np.isnan(score), -np.inf, score)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Compute the probability of each label, (n, k), where the score is one."""
        posterior: Any = self.score  # a `Posterior`: where `is_probability`, and only there
        return posterior.predict_proba(self.activations(X))


def fit_peers(peers: Iterable[Peer], known: Known) -> tuple[dict[str, FittedPeer], dict[str, str]]:
    """Fit peers; return those that could be, and why the others could not."""
    fitted, left_out = {}, {}
    for peer in peers:
        try:
            fitted[peer.name] = _fit(peer, known)
        except (ImportError, ValueError) as error:
            left_out[peer.name] = " ".join(str(error).split())
    return fitted, left_out


@cache
def _library(name: str) -> ModuleType | ImportError:
    """Import a library, or return why it cannot be.

    It is tried once: where torchvision does not fit torch, a second try of pytorch-ood seems to
    succeed, with what the first one left behind.
    """
    try:
        return import_optional(name, "It")
    except ImportError as error:
        return error


def _fit(peer: Peer, known: Known) -> FittedPeer:
    if peer.library and isinstance(missing := _library(peer.library), ImportError):
        raise missing
    started = time.perf_counter()
    score = peer.fit(known)
    seconds = time.perf_counter() - started
    size = len(cloudpickle.dumps(score))
    return FittedPeer(score, known.train.features.shape[1], peer.is_probability, seconds, size)
