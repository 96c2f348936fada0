"""Confidences that look at the logits alone.

References
----------
D. Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML 2022
(maximum logit). W. Liu et al., "Energy-based Out-of-distribution Detection", NeurIPS 2020. X. Liu
et al., "GEN: Pushing the Limits of Softmax-Based Out-of-Distribution Detection", CVPR 2023.
L. F. P. Cattelan, D. Silva, "How to Fix a Broken Confidence Estimator", UAI 2024 (MaxLogit-pNorm).
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from scipy.special import logsumexp, softmax

from sklearn_densconf.density import SoftmaxClassifier
from sklearn_densconf.evaluation.peers._peer import (
    Activations,
    Known,
    Peer,
    Posterior,
    Score,
    logits_of,
)
from sklearn_densconf.metrics import area_under_risk_coverage

_NORMS = range(1, 11)  # p to choose from
Compute = Callable[[np.ndarray], np.ndarray]  # from logits to a score


def max_logit(logits: np.ndarray) -> np.ndarray:
    """Compute the largest logit."""
    return logits.max(axis=1)


def max_logit_of_norm(logits: np.ndarray, p: int) -> np.ndarray:
    """Compute the largest centred logit over the p-norm of them all."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(centred, ord=p, axis=1)
    return centred.max(axis=1) / np.where(norm > 0, norm, 1)


def energy(logits: np.ndarray) -> np.ndarray:
    """Compute log Σ exp(z_k), the negative energy."""
    return logsumexp(logits, axis=1)


def generalised_entropy(logits: np.ndarray, gamma: float = 0.1, most: int = 100) -> np.ndarray:
    """Compute -Σ (p (1 - p))^γ over the largest posteriors, at most 100 of them."""
    posterior = np.sort(softmax(logits, axis=1), axis=1)[:, -most:]
    return -((posterior * (1 - posterior)) ** gamma).sum(axis=1)


def _of_logits(compute: Compute, activations: Activations) -> np.ndarray:
    return compute(logits_of(activations))


def _as_they_are(compute: Compute, _: Known) -> Score:
    return partial(_of_logits, compute)


def _with_best_norm(known: Known) -> Score:
    """Choose p by the AURC of held-out pictures, as its authors do."""
    logits = np.asarray(known.held_out.logits, np.float64)
    correct = logits.argmax(axis=1) == known.y_held_out
    best = min(
        _NORMS, key=lambda p: area_under_risk_coverage(correct, max_logit_of_norm(logits, p))
    )
    return partial(_of_logits, partial(max_logit_of_norm, p=best))


def _softmax(temperature: float | str, known: Known) -> Score:
    classifier = SoftmaxClassifier(temperature=temperature)
    classifier.fit(known.train.logits, known.y, None, known.held_out.logits, known.y_held_out)
    return Posterior(classifier, logits_of)


PEERS = (
    Peer("softmax", partial(_softmax, 1.0), "the usual confidence", is_probability=True),
    Peer(
        "softmax, T",
        partial(_softmax, "nll"),
        "temperature by the likelihood of held-out labels",
        is_probability=True,
    ),
    Peer("max logit", partial(_as_they_are, max_logit), "the largest logit"),
    Peer("max logit, p-norm", _with_best_norm, "centred, over a norm chosen on held-out pictures"),
    Peer("energy", partial(_as_they_are, energy), "log-sum-exp of the logits"),
    Peer("GEN", partial(_as_they_are, generalised_entropy), "generalised entropy, γ = 0.1"),
)
