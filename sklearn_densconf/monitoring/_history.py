"""A curve of any length in at most 256 numbers: the highest value of each stretch."""

import numpy as np

LENGTH = 256


def extended(
    history: np.ndarray, stride: int, n: int, values: np.ndarray
) -> tuple[np.ndarray, int]:
    """Return the history with further values, and the length of its stretches.

    Parameters
    ----------
    history : ndarray of shape (n_stretches,), float64
        Highest value of each stretch; the last may be short.
    stride : int
        Values in a stretch, a power of two.
    n : int
        Number of values so far.
    values : ndarray of shape (n_values,), float64
        Those that follow.

    Returns
    -------
    history : ndarray of shape (at most 256,), float64
        All of them.
    stride : int
        The smallest power of two for which they are enough: it does not depend on how many values
        came at a time.
    """
    while n + len(values) > stride * LENGTH:
        pairs = np.pad(history, (0, len(history) % 2), constant_values=-np.inf)
        history, stride = pairs.reshape(-1, 2).max(axis=1), 2 * stride
    stretch = np.arange(n, n + len(values)) // stride
    longer = np.full(-(-(n + len(values)) // stride), -np.inf)
    longer[: len(history)] = history
    np.maximum.at(longer, stretch, values)
    return longer, stride
