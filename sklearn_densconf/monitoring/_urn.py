"""Where the next score falls, if nothing has changed: exactly, as draws from an urn.

Cut the line of scores at some of the N calibration scores. Before anything else is seen, the next
score lies in bin k with probability a_k / (N + 1), where a_k counts the gaps between neighbouring
calibration scores in that bin; and every score of the stream adds one to the count of its bin, as
in Pólya's urn. This holds for any continuous distribution; equal scores get an order by chance.

The refused alternative ranks each score among the calibration scores alone. These ranks are not
independent: N scores are not the distribution, and in a long stream the bets win on what they miss.
"""

from itertools import pairwise

import numpy as np

N_WIDE = 32  # bins of equal mass; the outermost are halved again and again


def cut_ranks(n: int) -> np.ndarray:
    """Return the ranks of the calibration scores to cut at: even, and ever finer in both tails.

    Parameters
    ----------
    n : int
        Number of calibration scores.

    Returns
    -------
    ndarray of shape (n_cuts,), int64
        Ranks, of 1 to n, rising.
    """
    even = np.arange(1, N_WIDE) * (n + 1) // N_WIDE
    tail = 2 ** np.arange(max(n // N_WIDE, 1).bit_length())
    ranks = np.unique(np.concatenate([tail, even, n + 1 - tail]))
    return ranks[(ranks >= 1) & (ranks <= n)]


def cut(scores: np.ndarray, jitter: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores to cut at, and the counts that the urn begins with.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
        Calibration scores.
    jitter : ndarray of shape (n,), float64
        Order of equal scores, uniform in [0, 1).

    Returns
    -------
    cuts : ndarray of shape (n_cuts,), complex128
        Scores, with the order of equal ones as imaginary parts; rising.
    counts : ndarray of shape (n_cuts + 1,), int64
        Gaps in each bin; their sum is n + 1.
    """
    ranks = cut_ranks(len(scores))
    ordered = np.sort(_with_jitter(scores, jitter))
    ends = [0, *ranks.tolist(), len(scores) + 1]
    return ordered[ranks - 1], np.array([high - low for low, high in pairwise(ends)])


def bins_of(scores: np.ndarray, jitter: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """Return the bin of each score.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
        Scores of the stream.
    jitter : ndarray of shape (n,), float64
        Order of equal scores, uniform in [0, 1).
    cuts : ndarray of shape (n_cuts,), complex128
        As `cut` returns them.

    Returns
    -------
    ndarray of shape (n,), int64
        Bins, from 0.
    """
    return np.searchsorted(cuts, _with_jitter(scores, jitter))


def intervals(bins: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which part of [0, 1] each score's bin had, just before the score was seen.

    Parameters
    ----------
    bins : ndarray of shape (n,), int64
        Bins of the scores, in the order of the stream.
    counts : ndarray of shape (n_bins,), int64
        The urn before the first of them.

    Returns
    -------
    low, high : ndarray of shape (n,), float64
        Probabilities of a lower bin, and of this or a lower one.
    """
    n = len(bins)
    below = np.zeros((n, len(counts) + 1), np.int64)  # before score i, in bins lower than k
    np.cumsum(bins[:-1, None] < np.arange(len(counts) + 1), axis=0, out=below[1:])
    below += np.concatenate([[0], np.cumsum(counts)])
    row, total = np.arange(n), counts.sum() + np.arange(n)
    return below[row, bins] / total, below[row, bins + 1] / total


def _with_jitter(scores: np.ndarray, jitter: np.ndarray) -> np.ndarray:
    """Return complex numbers, which numpy orders by their real parts first."""
    pairs = np.empty(len(scores), np.complex128)
    pairs.real, pairs.imag = scores, jitter
    return pairs
