"""Batches made ahead of the network: decoding, copying and computing overlap."""

from collections.abc import Iterator
from typing import Any

import cloudpickle
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from sklearn_densconf._machine import ahead
from sklearn_densconf.features.inputs import Batch, Source

AHEAD = 2  # batches made before they are wanted


def batches_for(
    device: torch.device, source: Source, plan: list[np.ndarray], num_workers: int
) -> Iterator[Batch]:
    """Yield the batches of a plan, in its order; for a GPU of CUDA they are copied there.

    Parameters
    ----------
    device : torch.device
        Where the network is.
    source : Source
        The samples.
    plan : list of ndarray
        Sorted indices of each batch.
    num_workers : int
        Processes that read pictures; 0 reads them in a thread beside the network.

    Yields
    ------
    Tensor of shape (n, *source.shape)
        A batch.
    """
    if source.in_memory:
        on_host = map(source.batch, plan) if device.type == "cpu" else _read_ahead(source, plan)
    elif num_workers > 0 and len(plan) > 1:  # one batch is read no faster by other processes
        on_host = _loaded(source, plan, min(num_workers, len(plan)))
    else:
        on_host = _read_ahead(source, plan)
    return _copied(on_host, device) if device.type == "cuda" else on_host


def _read_ahead(source: Source, plan: list[np.ndarray]) -> Iterator[Batch]:
    return ahead(source.batch, plan, n_threads=1, n_waiting=AHEAD)


class _Batches(Dataset):
    """A source whose items are whole batches."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __reduce__(self) -> tuple[Any, ...]:  # where workers are spawned: lambdas, too, go along
        return _unpickled, (cloudpickle.dumps(self._source),)

    def __getitem__(self, indices: np.ndarray) -> Batch:
        return self._source.batch(indices)


def _unpickled(source: bytes) -> _Batches:
    return _Batches(cloudpickle.loads(source))


def _loaded(source: Source, plan: list[np.ndarray], num_workers: int) -> Iterator[Batch]:
    loader = DataLoader(_Batches(source), batch_size=None, sampler=plan, num_workers=num_workers)
    try:
        yield from loader
    except Exception as error:
        # Its traceback holds the workers; they would be stopped by the garbage collector, in 5 s.
        # The worker's own traceback is in the message.
        raise error.with_traceback(None) from None


def _copied(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Copy from pinned memory on a stream of its own, one batch ahead of the network."""
    copying = torch.cuda.Stream(device)
    previous: tuple[Batch, torch.cuda.Event] | None = None

    for batch in batches:
        with torch.cuda.stream(copying):
            pinned = batch if batch.is_cuda else batch.pin_memory()
            current = pinned.to(device, non_blocking=True), copying.record_event()
        if previous is not None:
            yield _arrived(*previous)
        previous = current
    if previous is not None:
        yield _arrived(*previous)


def _arrived(batch: Batch, copied: torch.cuda.Event) -> Batch:
    stream = torch.cuda.current_stream(batch.device)
    stream.wait_event(copied)
    batch.record_stream(stream)  # else its memory could be taken again too early
    return batch
