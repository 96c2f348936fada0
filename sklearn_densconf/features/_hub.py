"""Weights from the Hugging Face Hub: where it is out of reach, from its cache or not at all."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from torch import nn

from sklearn_densconf._optional import import_optional

_PATIENCE = 5  # seconds for one connection; the Hub's client retries for three quarters of a minute


def from_hub(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network with weights of the Hub; out of its reach, with those in its cache.

    Parameters
    ----------
    build : callable
        What fetches the weights through ``huggingface_hub`` and returns the network.

    Returns
    -------
    torch.nn.Module
        The network.

    Raises
    ------
    ConnectionError
        If the Hub is out of reach, and the cache does not hold the weights.
    """
    constants = import_optional("huggingface_hub.constants", "Weights of the Hugging Face Hub")
    obstacle = None if constants.HF_HUB_OFFLINE else _why_out_of_reach(constants.ENDPOINT)
    if obstacle is None:
        return build()
    with _offline(constants):
        try:
            return build()
        except OSError as error:
            raise ConnectionError(f"{constants.ENDPOINT}: {obstacle}") from error


def _why_out_of_reach(address: str) -> OSError | None:
    """Return what prevents a connection; None too where a proxy would make it, not this process."""
    where = urlsplit(address)
    if {where.scheme, "all"} & set(getproxies()):
        return None
    port = where.port or {"http": 80}.get(where.scheme, 443)
    try:
        socket.create_connection((where.hostname or "", port), _PATIENCE).close()
    except OSError as error:
        return error
    return None


@contextmanager
def _offline(constants: Any) -> Iterator[None]:
    """Let the Hub's client look into its cache only; it reads the environment once, at import."""
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False
