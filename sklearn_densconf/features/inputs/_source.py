"""The protocol of inputs: all that the rest of the package knows of X. A leaf."""

from collections.abc import Callable, Hashable
from typing import Any, Protocol

import numpy as np
import torch

from sklearn_densconf.features.inputs._batch import Batch

Preprocessing = Callable[[Any], torch.Tensor]
Content = tuple[Hashable, np.ndarray]


class Source(Protocol):
    """Samples of one shape, numbered from 0, from which batches for a network are made.

    A source is made once per call of the extractor, after the checks that need one sample only.
    It may be read by several threads, and by other processes, which get a pickle of it.
    """

    @property
    def shape(self) -> tuple[Any, ...]:
        """Shape of one sample as the network sees it; of several inputs pairs (name, shape)."""

    @property
    def in_memory(self) -> bool:
        """Whether a batch is little more than a view of what is in memory.

        Then no thread and no process shall make it ahead of the network, and all samples may be
        one batch.
        """

    @property
    def on_disk(self) -> bool:
        """Whether samples are files, which another process may replace while they are read."""

    def __len__(self) -> int:
        """Return the number of samples, at least 1."""

    def name(self, index: int) -> str:
        """Return what errors call a sample: "sample 3", with its path if it has one."""

    def check(self, indices: np.ndarray) -> None:
        """Check what is cheap to check of samples, before anything long starts.

        Parameters
        ----------
        indices : ndarray of shape (n,), int
            The samples that will be wanted.

        Raises
        ------
        ValueError, FileNotFoundError
            If one of them can't be read; the message names it.
        """

    def batch(self, indices: np.ndarray) -> Batch:
        """Return samples as the network takes them.

        Parameters
        ----------
        indices : ndarray of shape (n,), int
            Sorted numbers of samples.

        Returns
        -------
        Tensor of shape (n, *shape), floating or int64, or Named
            The samples, floats in the type that was asked for, integers where they are given as
            such: on the host, or where the tensor is that they come from. It may share memory with
            X, so nobody writes into it.

        Raises
        ------
        ValueError
            If a sample can't be read, has another shape than the first, or has NaN or infinite
            values; the message names it. GPU tensors are not searched for such values, since the
            network would wait for the answer; what it makes of them is.
        """

    def digests(self, indices: np.ndarray) -> list[bytes]:
        """Hash the content of samples; the same in every process.

        Parameters
        ----------
        indices : ndarray of shape (n,), int
            Sorted numbers of samples.

        Returns
        -------
        list of bytes
            One digest of `DIGEST_BYTES` bytes per sample. Equal ones belong to samples of which
            the network, with the same preprocessing and shape, makes the same features.
        """

    def content(self, indices: np.ndarray) -> Content | None:
        """Return samples as bytes that can be compared, where that is cheaper than `digests`.

        Parameters
        ----------
        indices : ndarray of shape (n,), int
            Sorted numbers of samples.

        Returns
        -------
        (hashable, ndarray) or None
            How the bytes are to be read, and the contiguous values themselves: samples for which
            both are equal are equal. None: compare their digests.
        """

    def labels(self) -> np.ndarray | None:
        """Return the labels that the samples carry with them, None if there are none."""
