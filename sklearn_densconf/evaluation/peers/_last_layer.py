"""Finding the last linear layer of a network: the one that makes its logits of its features."""

from typing import Any

import numpy as np

from sklearn_densconf.evaluation.peers._peer import Activations, LastLayer

_TRIED = 50  # pictures on which logits are compared
_TOLERANCE = 1e-3  # of the largest logit: sums in float32 in another order


def find_last_layer(network: Any, activations: Activations) -> LastLayer | None:
    """Return the weights that make these logits, in their order; None where no layer does.

    A network may give some of the outputs of its last layer only, in any order.
    """
    features, logits = (np.asarray(part[:_TRIED], np.float64) for part in activations)
    for layer in reversed(list(network.modules())):
        weight, bias = (_values(getattr(layer, name, None)) for name in ("weight", "bias"))
        if weight is not None and weight.shape[2:] == (1, 1):
            weight = weight[:, :, 0, 0]  # a convolution of one pixel is a linear layer
        if weight is None or weight.ndim != 2 or weight.shape[1] != features.shape[1]:
            continue
        bias = np.zeros(len(weight), weight.dtype) if bias is None else bias
        made = features @ weight.T.astype(np.float64) + bias  # (n, outputs)
        # The median over the pictures: some networks clamp the largest logits, to store them.
        error = np.stack([np.median(np.abs(made - one[:, None]), axis=0) for one in logits.T])
        outputs = error.argmin(axis=1)
        if error.min(axis=1).max() <= _TOLERANCE * np.abs(logits).max():
            return LastLayer(weight[outputs], bias[outputs])
    return None


def _values(parameter: Any) -> np.ndarray | None:
    return parameter.detach().cpu().float().numpy() if hasattr(parameter, "detach") else None
