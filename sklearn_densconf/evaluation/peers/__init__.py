"""Other confidences, to compare with: what each computes of a network's features and logits.

All are about the network's own label, so that they differ in nothing but how sure they are.
"""

from sklearn_densconf.evaluation.peers import (
    _densities,
    _dropout,
    _logits,
    _openmax,
    _pytorch_ood,
)
from sklearn_densconf.evaluation.peers._densities import OPEN_SET
from sklearn_densconf.evaluation.peers._last_layer import find_last_layer
from sklearn_densconf.evaluation.peers._peer import Activations, FittedPeer, Known, Peer, fit_peers

_FAMILIES = (_logits, _dropout, _openmax, _densities, _pytorch_ood)
PEERS: tuple[Peer, ...] = tuple(  # probabilities first, since they can do more
    sorted(
        (peer for family in _FAMILIES for peer in family.PEERS),
        key=lambda peer: not peer.is_probability,
    )
)

__all__ = [
    "OPEN_SET",
    "PEERS",
    "Activations",
    "FittedPeer",
    "Known",
    "Peer",
    "find_last_layer",
    "fit_peers",
]
