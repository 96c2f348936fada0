"""OpenMax: softmax with one more class, of what is far from the class that the logits say.

Written here because that of pytorch-ood 0.4.0 looks only at the distances to classes that are
predicted somewhere in the same batch, so that a picture's score depends on the others.

References
----------
A. Bendale, T. E. Boult, "Towards Open Set Deep Networks", CVPR 2016, algorithms 1 and 2; with the
numbers of pytorch-ood: tails of 25, all of ten classes revised, Euclidean distances.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp
from scipy.stats import exponweib

from sklearn_densconf.evaluation.peers._peer import Activations, Known, Peer, Score

_TAIL = 25  # the largest distances of a class, to which a Weibull distribution is fitted
_REVISED = 10  # logits, the largest ones
_SHIFT = 10_000  # of distances, as in the authors' libMR


class Tails(NamedTuple):
    """A centre for each class, and the distribution of the largest distances to it."""

    centres: np.ndarray  # (k, k)
    smallest: np.ndarray  # (k,), where each tail begins
    shape: np.ndarray  # (k,)
    scale: np.ndarray  # (k,)


def fit_tails(logits: np.ndarray, y: np.ndarray) -> Tails:
    """Fit a Weibull distribution to the tail of the distances to each class's mean."""
    centres, rows = [], []
    for label in np.unique(y):
        members = logits[y == label]
        centres.append(members.mean(axis=0))
        tail = np.sort(np.linalg.norm(members - centres[-1], axis=1))[-_TAIL:]
        _, shape, _, scale = exponweib.fit(tail - tail[0] + _SHIFT, floc=0, f0=1)
        rows.append((tail[0], shape, scale))
    return Tails(np.array(centres), *np.transpose(rows))


def log_known(tails: Tails, logits: np.ndarray) -> np.ndarray:
    """Compute the log-odds that a picture is of one of the classes, (n,)."""
    distance = np.linalg.norm(logits[:, None] - tails.centres, axis=2)  # (n, k)
    shifted = np.maximum(distance - tails.smallest + _SHIFT, 0)
    is_far = -np.expm1(-((shifted / tails.scale) ** tails.shape))
    n_revised = min(_REVISED, logits.shape[1])
    rank = (-logits).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    revised = np.clip((n_revised - rank) / n_revised, 0, None) * is_far * logits
    return logsumexp(logits - revised, axis=1) - revised.sum(axis=1)


def _fit(known: Known) -> Score:
    logits = np.asarray(known.train.logits, np.float64)
    return partial(_score, fit_tails(logits, known.y))


def _score(tails: Tails, activations: Activations) -> np.ndarray:
    return log_known(tails, np.asarray(activations.logits, np.float64))


PEERS = (Peer("OpenMax", _fit, "is the picture of one of the classes, by extreme values?"),)
