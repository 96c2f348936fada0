"""The discount: from scores of familiarity to the probability that a picture is known.

The lower tail of a score on known pictures falls about exponentially: of those below a level m,
which one in ten is, P(s < m - t β) ≈ exp(-t), with β their mean distance from it. Where unknown
pictures are spread evenly over such scores, the log-odds of "known" are a straight line in s, of
slope 1 / β: ρ(s) = σ((s - a) / β), with the location a where both are as likely. So the width of a
discount is measured, and its location is chosen in such widths: a = m - t β.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
from scipy.optimize import brentq, minimize
from scipy.special import expit, logit

from sklearn_densconf._array import Array, namespace

SHARE = 0.1  # of known pictures, that make up the tail
FEWEST = 10  # pictures in it, or half of all
SPREAD = 0.4  # standard deviation of log w about log β, a priori
STARTS = (0.0, 2.0, 5.0, 10.0)  # widths below the level
DROWNED = 1e-9  # a probability; far above what float64 resolves beside a prior of 1e-5
FARTHEST = 700.0  # widths, or nats: exp of it is a float64

# From log T to log q of the labels, (n,), and its derivative.
LogProba = Callable[[float], tuple[np.ndarray, np.ndarray | float]]


def log_known(log_odds: Array) -> tuple[Array, Array]:
    """Compute log ρ and log(1 - ρ), (n,), with ρ the product of the factors σ(x_i).

    Neither is a difference of near numbers: 1 - ρ₁ρ₂ = (1 - ρ₁) + ρ₁ (1 - ρ₂).

    Parameters
    ----------
    log_odds : array of shape (n, 2)
        x.

    Returns
    -------
    known, unknown : array of shape (n,)
        The logarithms.
    """
    xp = namespace(log_odds)
    zero = xp.zeros_like(log_odds)
    known, unknown = -xp.logaddexp(zero, -log_odds), -xp.logaddexp(zero, log_odds)
    either = xp.logaddexp(unknown[:, 0], known[:, 0] + unknown[:, 1])
    return known[:, 0] + known[:, 1], either


def keep_order(known: Array, unknown: Array) -> tuple[Array, Array]:
    """Compute log ρ and log(1 - ρ) of a ρ that no prior drowns, (n,).

    Added to a prior, a ρ of exp(-50) is nothing, and pictures that are less and less familiar
    could not be ranked any more. Below τ = `DROWNED` ρ becomes τ / (1 + log(τ / ρ)): its order is
    kept, its slope at τ too, and no probability changes by more than τ.

    Parameters
    ----------
    known, unknown : array of shape (n,)
        log ρ and log(1 - ρ).

    Returns
    -------
    known, unknown : array of shape (n,)
        The logarithms.
    """
    xp, least = namespace(known), math.log(DROWNED)
    below = xp.where(known < least, least - known, xp.zeros_like(known))
    stretched = least - xp.log1p(below)
    is_below = below > 0
    known = xp.where(is_below, stretched, known)
    return known, xp.where(is_below, xp.log1p(-xp.exp(stretched)), unknown)


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


def within_budget(log_odds: np.ndarray, weight: np.ndarray | None, budget: float) -> float:
    """Compute the t of both factors at which the mean of 1 - ρ on known pictures is the budget.

    Parameters
    ----------
    log_odds : ndarray of shape (n, 2)
        (s - m) / β on known pictures.
    weight : ndarray of shape (n,), or None
        Their weights.
    budget : float
        δ in (0, 1).

    Returns
    -------
    float
        t, in widths below the level.
    """

    def excess(t: float) -> float:
        return np.average(np.exp(log_known(log_odds + t)[1]), weights=weight) - budget

    farthest = FARTHEST + np.abs(log_odds).max()
    return float(brentq(excess, -farthest, farthest, xtol=1e-9))


def most_likely(
    log_odds: np.ndarray, log_proba: LogProba, log_prior: np.ndarray, log_temperature: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Compute temperature, locations and widths by the likelihood of held-out labels.

    Maximises Σ log(ρ q + (1 - ρ) π) plus the logarithm of a prior:

    - on each location, Jeffreys' prior of the share P(s < a) of known pictures beyond it: each
      width farther out costs half a nat. It pulls the discount towards the known pictures, whose
      labels hold it off: the more pictures are held out, the less it weighs;
    - on each log w, a normal distribution about log β with standard deviation `SPREAD`: wide enough
      for held-out pictures that are distorted, whose tail is no longer that of the known ones, and
      narrow enough that the pull on the locations does not narrow the widths;
    - on log T, a normal distribution about the temperature of softmax alone with standard
      deviation 1, since without an error on held-out pictures the likelihood knows no smallest T.

    Parameters
    ----------
    log_odds : ndarray of shape (n, 2)
        (s - m) / β.
    log_proba : callable
        From log T to log q, the network's log-probability of each picture's label, (n,), and its
        derivative.
    log_prior : ndarray of shape (n,)
        log π of that label.
    log_temperature : float
        That of softmax alone.

    Returns
    -------
    temperature : float
        T.
    t, width : ndarray of shape (2,)
        In units of β: locations below the level, and w.
    """

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """Compute minus the log-posterior of log T, t and log w, and its derivatives."""
        t, log_width = parameters[1:3], parameters[3:]
        log_q, slope_of_q = log_proba(parameters[0])
        x = (log_odds + t) / np.exp(log_width)
        known, unknown = log_known(x)
        log_p = np.logaddexp(known + log_q, unknown + log_prior)
        of_network = np.exp(known + log_q - log_p)
        gain = of_network - np.exp(np.minimum(known + log_prior - log_p, FARTHEST))
        slope = gain[:, None] * expit(-x)  # of log p in x, (n, 2)
        value, of_prior = _log_prior(parameters, log_temperature)
        derivatives = [
            [np.sum(of_network * slope_of_q)],
            slope.sum(axis=0) / np.exp(log_width),
            -np.sum(slope * x, axis=0),
        ]
        return -(log_p.sum() + value) / len(x), -(np.concatenate(derivatives) + of_prior) / len(x)

    found = _smallest(loss, np.array([log_temperature, 0.0, 0.0, 0.0, 0.0]))
    return float(np.exp(found[0])), found[1:3], np.exp(found[3:])


def _log_prior(parameters: np.ndarray, log_temperature: float) -> tuple[float, np.ndarray]:
    """Compute the log-prior of log T, t and log w, up to a constant, and its derivatives."""
    shift, log_width = parameters[0] - log_temperature, parameters[3:] / SPREAD
    log_odds = parameters[1:3] - logit(SHARE)  # of not being beyond the location
    value = -np.sum(np.logaddexp(0, log_odds) + np.logaddexp(0, -log_odds)) / 2
    value -= (shift**2 + np.sum(log_width**2)) / 2
    return value, np.concatenate([[-shift], -np.tanh(log_odds / 2) / 2, -log_width / SPREAD])


def _smallest(
    loss: Callable[[np.ndarray], tuple[float, np.ndarray]], start: np.ndarray
) -> np.ndarray:
    """Find the smallest loss, from the best of some starts of the locations."""

    def placed(t: tuple[float, ...]) -> np.ndarray:
        return np.concatenate([start[:1], t, start[3:]])

    best = min(product(STARTS, repeat=2), key=lambda t: loss(placed(t))[0])
    return minimize(loss, placed(best), jac=True, method="L-BFGS-B").x
