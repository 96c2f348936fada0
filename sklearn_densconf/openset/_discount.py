"""The discount: from scores of familiarity to the probability that a picture is known.

The lower tail of a score on known pictures falls about exponentially: beyond a level m that one
in ten falls short of, by β on average, P(s < m - t β) ≈ 0.1 exp(-t). Where unknown pictures are
spread evenly over such scores, the log-odds of "known" therefore are a straight line in s, of slope
1 / β: ρ(s) = σ((s - a) / β), with the location a where the two are as likely. So the width of the
discount is measured, and only the locations are to be chosen: as t in a = m - t β.
"""

from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit

from sklearn_densconf._array import Array, namespace

SHARE = 0.1  # of known pictures, that make up the tail
FEWEST = 10  # pictures in it, or half of all
STARTS = (2.0, 5.0, 10.0)  # widths below the level
FARTHEST = 700.0  # widths: exp of it is a float64


def log_known(log_odds: Array) -> tuple[Array, Array]:
    """Compute log ρ and log(1 - ρ), (n,), with ρ the product of the factors σ(x_i).

    Neither is a difference of near numbers: where ρ is large, 1 - ρ₁ρ₂ = (1 - ρ₁) + ρ₁ (1 - ρ₂).

    Parameters
    ----------
    log_odds : array of shape (n, 2)
        x.
    """
    xp = namespace(log_odds)
    zero = xp.zeros_like(log_odds)
    known, unknown = -xp.logaddexp(zero, -log_odds), -xp.logaddexp(zero, log_odds)
    both = known[:, 0] + known[:, 1]
    either = xp.logaddexp(unknown[:, 0], known[:, 0] + unknown[:, 1])
    is_small = both < -1  # then 1 - ρ is near 1, and a sum of two logarithms rounds to it
    rest = xp.log1p(-xp.exp(xp.where(is_small, both, -xp.ones_like(both))))
    return both, xp.where(is_small, rest, either)


def tail(scores: np.ndarray, weight: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Measure the lower tails of scores on known pictures.

    Parameters
    ----------
    scores : ndarray of shape (n, m)
        Scores of m kinds.
    weight : ndarray of shape (n,), default=None
        Weights; None are ones.

    Returns
    -------
    level, width : ndarray of shape (m,)
        What a share of `SHARE` falls short of, and by how much on average, above 0.
    """
    weight = np.ones(len(scores)) if weight is None else weight
    scores, weight = scores[weight > 0], weight[weight > 0]
    share = max(SHARE, min(FEWEST / len(scores), 0.5))
    order = np.argsort(scores, axis=0)
    ordered, weights = np.take_along_axis(scores, order, axis=0), weight[order]
    below = np.cumsum(weights, axis=0) <= share * weight.sum()  # (n, m)
    last = np.minimum(below.sum(axis=0), len(scores) - 1)
    level = ordered[last, np.arange(scores.shape[1])]
    short = np.sum(weights * below * (level - ordered), axis=0)
    width = short / np.maximum(np.sum(weights * below, axis=0), np.finfo(np.float64).tiny)
    return level, np.maximum(width, 1e-6 * (1 + np.abs(level)))  # equal scores have no width


def within_budget(log_odds: np.ndarray, weight: np.ndarray, budget: float) -> float:
    """Compute the t of all factors at which the mean of 1 - ρ on known pictures is the budget.

    Parameters
    ----------
    log_odds : ndarray of shape (n, m)
        (s - level) / width of m factors, 1 or 2, on known pictures.
    weight : ndarray of shape (n,)
        Their weights.
    budget : float
        δ in (0, 1).

    Returns
    -------
    float
        t, in widths below the level.
    """
    if log_odds.shape[1] == 1:  # the other factor is 1
        log_odds = np.column_stack([log_odds, np.full(len(log_odds), np.inf)])

    def excess(t: float) -> float:
        return np.average(np.exp(log_known(log_odds + t)[1]), weights=weight) - budget

    return float(brentq(excess, -FARTHEST, FARTHEST + np.abs(log_odds[:, 0]).max(), xtol=1e-9))


def most_likely(log_odds: np.ndarray, log_proba: np.ndarray, log_prior: np.ndarray) -> np.ndarray:
    """Compute the locations by the likelihood of held-out pictures.

    Maximises Σ log(ρ q + (1 - ρ) π) + log prior of t, with the prior that each share of known
    pictures beyond a location, P(s < a) = σ(-t), is as plausible as any other: a logistic
    distribution of t. It pulls each location towards the known pictures, by 1 nat for each width;
    the likelihood holds it off those that the network is right about. The more pictures are held
    out, the less the prior weighs.

    Parameters
    ----------
    log_odds : ndarray of shape (n, 2)
        (s - level) / width.
    log_proba : ndarray of shape (n,)
        log q, the network's log-probability of each picture's label.
    log_prior : ndarray of shape (n,)
        log π of that label.

    Returns
    -------
    ndarray of shape (2,)
        t, in widths below the level.
    """

    def loss(t: np.ndarray) -> tuple[float, np.ndarray]:
        x = log_odds + t
        known, unknown = log_known(x)
        log_p = np.logaddexp(known + log_proba, unknown + log_prior)
        lost = np.minimum(known + log_prior - log_p, FARTHEST)  # of a picture that is surely wrong
        gain = np.exp(known + log_proba - log_p) - np.exp(lost)
        value = log_p.sum() - np.sum(t + 2 * np.logaddexp(0, -t))
        slope = gain @ expit(-x) + 1 - 2 * expit(t)
        return -value / len(x), -slope / len(x)

    return _best(loss)


def _best(loss: Callable[[np.ndarray], tuple[float, np.ndarray]]) -> np.ndarray:
    found = [minimize(loss, start, jac=True) for start in product(STARTS, repeat=2)]
    return min(found, key=lambda result: result.fun).x
