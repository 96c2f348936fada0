"""What was computed is known by the digest of its sample, as long as that is what was read."""

import numpy as np

from sklearn_densconf.features._memory import FeatureStore
from sklearn_densconf.features.inputs import Source

Unkept = dict[bytes, np.ndarray]  # features, by the digest of their sample, that no folder has


def unchanged(source: Source, indices: np.ndarray, digests: list[bytes]) -> list[int]:
    """Return which samples still have the digests that were taken before they were decoded.

    A file that was replaced meanwhile would otherwise be known for ever by the old one's digest.

    Parameters
    ----------
    source : Source
        The samples.
    indices : ndarray of shape (n,), int
        Those that were decoded.
    digests : list of bytes
        One a sample.

    Returns
    -------
    list of int
        Positions in ``indices``, in order.
    """
    if not source.on_disk:
        return list(range(len(indices)))
    pairs = zip(indices, digests, strict=True)
    return [row for row, (index, digest) in enumerate(pairs) if _is_still(source, index, digest)]


def filled(
    store: FeatureStore, numbers: np.ndarray, digests: list[bytes], unkept: Unkept
) -> np.ndarray:
    """Return features, some of a memory and some that it could not keep.

    Parameters
    ----------
    store : FeatureStore
        The memory.
    numbers : ndarray of shape (n,), int64
        What it calls the features of each sample, -1 where it has none.
    digests : list of bytes
        One a sample.
    unkept : dict of bytes to ndarray
        The others.

    Returns
    -------
    ndarray of shape (n, n_features), float32
        The features.
    """
    computed = np.array([digest in unkept for digest in digests]) & (numbers < 0)
    if not computed.any():
        return store.read(numbers)
    out = np.empty((len(numbers), len(next(iter(unkept.values())))), np.float32)
    if not computed.all():
        out[~computed] = store.read(numbers[~computed])
    for row in np.flatnonzero(computed):
        out[row] = unkept[digests[row]]
    return out


def _is_still(source: Source, index: int, digest: bytes) -> bool:
    try:
        return source.digests(np.array([index])) == [digest]
    except OSError:  # deleted: the next look for it says so
        return False
