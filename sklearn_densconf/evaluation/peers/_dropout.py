"""Dropout averaging: the mean posterior of a network whose last features are dropped at random.

The masks are drawn once, so that a picture's score does not depend on the others. They drop what
goes into the last linear layer, as in the reference's LeNet-5; the networks compared here were not
trained with dropout, which the method supposes.

References
----------
Y. Gal, Z. Ghahramani, "Dropout as a Bayesian Approximation", ICML 2016, section 5.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_softmax, logsumexp

from sklearn_densconf.evaluation.peers._peer import Activations, Known, LastLayer, Peer, Score

_RATE = 0.5  # of what is dropped, the reference's
_DRAWS = 50  # passes through the last layer


@dataclass(frozen=True)
class Dropped:
    """The log-odds of the network's label under the mean posterior of all masks."""

    layer: LastLayer
    kept: np.ndarray  # bool (n_draws, d)

    def __call__(self, activations: Activations) -> np.ndarray:
        """Compute the log-odds, (n,)."""
        label = activations.logits.argmax(axis=1)[:, None]
        chosen, others = [], []
        for log_proba in self._log_posteriors(activations.features):
            chosen.append(np.take_along_axis(log_proba, label, axis=1)[:, 0])
            np.put_along_axis(log_proba, label, -np.inf, axis=1)
            others.append(logsumexp(log_proba, axis=1))
        return logsumexp(chosen, axis=0) - logsumexp(others, axis=0)

    def predict_proba(self, activations: Activations) -> np.ndarray:
        """Compute the mean posterior, (n, k)."""
        return np.mean([np.exp(z) for z in self._log_posteriors(activations.features)], axis=0)

    def _log_posteriors(self, features: np.ndarray) -> Iterator[np.ndarray]:
        for kept in self.kept:
            weight = np.where(kept, self.layer.weight, 0) / (1 - _RATE)
            yield log_softmax(features @ weight.T + self.layer.bias, axis=1)


def _fit(known: Known) -> Score:
    shape = _DRAWS, known.train.features.shape[1]
    return Dropped(known.linear(), np.random.default_rng(0).random(shape) >= _RATE)


PEERS = (
    Peer(
        "dropout",
        _fit,
        "mean posterior of 50 draws, half of the features dropped; not trained with it",
        is_probability=True,
    ),
)
