"""Bets against "nothing has changed", and what they have made of a capital of one.

A bet multiplies its capital by the probability that it gave to the bin of a score, over that of
the urn. While nothing has changed its expectation stays what it is, whatever the bet: a test
martingale. A power bet of exponent ε gives a bin that holds [low, high] of the unit interval the
probability high^ε - low^ε, more than high - low where scores are low.

Nobody knows when a drift begins. The capital sleeps, and a part of what still sleeps joins the bets
with every score: after t scores the part S(t) = 1 / (1 + log(1 + t)) sleeps. The price of a change
at score t is thus log t + 2 log log t nats, and not, as for bets that begin at once, a part of t.
"""

import numpy as np

EXPONENTS = (0.2, 0.4, 0.6, 0.8)  # of drifts from strong to weak, equally endowed
DIRECTIONS = {"fall": (False,), "rise": (True,), "both": (False, True)}  # -> bets reversed?


def n_bets(direction: str) -> int:
    """Return the number of bets.

    Parameters
    ----------
    direction : {"fall", "rise", "both"}
        What is bet on.

    Returns
    -------
    int
        Their number.
    """
    return len(DIRECTIONS[direction]) * len(EXPONENTS)


def log_gains(low: np.ndarray, high: np.ndarray, direction: str) -> np.ndarray:
    """Return the logarithm of what each bet multiplies its capital by.

    Parameters
    ----------
    low, high : ndarray of shape (n,), float64
        Parts of [0, 1] that the scores' bins had.
    direction : {"fall", "rise", "both"}
        What is bet on.

    Returns
    -------
    ndarray of shape (n_bets, n), float64
        Nats.
    """
    ends = [(1 - high, 1 - low) if mirrored else (low, high) for mirrored in DIRECTIONS[direction]]
    return np.array(
        [
            np.log((above**power - below**power) / (above - below))
            for below, above in ends
            for power in EXPONENTS
        ]
    )


def grow(
    log_asleep: float, log_active: np.ndarray, gains: np.ndarray, n_seen: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the capital that sleeps, and that of each bet, after each score.

    Parameters
    ----------
    log_asleep : float
        Logarithm of what sleeps.
    log_active : ndarray of shape (n_bets,), float64
        Logarithm of each bet's capital.
    gains : ndarray of shape (n_bets, n), float64
        Nats, from `log_gains`.
    n_seen : int
        Number of scores before.

    Returns
    -------
    log_asleep : ndarray of shape (n,), float64
        Logarithm of what sleeps after each score.
    log_active : ndarray of shape (n_bets, n), float64
        Logarithms of the bets' capital after each score.
    """
    t = n_seen + np.arange(gains.shape[1] + 1)
    log_sleeping = -np.log1p(np.log1p(t))  # log S(t)
    sleeping = log_asleep + log_sleeping - log_sleeping[0]  # (n + 1,)
    # S(t) - S(t + 1) = log(1 + 1 / (t + 1)) S(t) S(t + 1), without a difference of near equals
    joining = sleeping[:-1] + log_sleeping[1:] + np.log(np.log1p(1 / (t[:-1] + 1)))
    total = np.cumsum(gains, axis=1)
    before = np.hstack([np.zeros((len(gains), 1)), total[:, :-1]])
    stakes = joining - np.log(len(gains)) - before  # each in money of the first score
    stakes[:, 0] = np.logaddexp(stakes[:, 0], log_active)
    return sleeping[1:], np.logaddexp.accumulate(stakes, axis=1) + total
