"""Detectors of pytorch-ood on the same features, as their authors set them by default.

References
----------
K. Kirchheim, M. Filax, F. Ortmeier, "PyTorch-OOD: A Library for Out-of-Distribution Detection
based on PyTorch", CVPR workshops 2022; its documentation names the paper of each detector.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np

from sklearn_densconf.evaluation.peers._peer import Activations, Known, Peer, Score

_LIBRARY = "pytorch_ood.detector"
_MOST_NEIGHBOURS = 10_000
_AT_MOST = 512  # dimensions of ViM's principal space, its paper's choice for up to 2,048 features


def _tensor(values: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(values))


def _detector(name: str) -> Any:
    return getattr(import_module(_LIBRARY), name)


def _fit_features(
    name: str, known: Known, dtype: type[np.floating] = np.float32, **options: Any
) -> Score:
    detector = _detector(name)(None, **options)
    features = _tensor(np.asarray(known.train.features, dtype))
    with _made_in(features.dtype):
        detector.fit_features(features, _tensor(np.asarray(known.y, np.int64)))
    return partial(_of_features, detector, dtype)


def _of_features(detector: Any, dtype: type[np.floating], activations: Activations) -> np.ndarray:
    """Compute the score, of which larger ones mean out-of-distribution there."""
    features = np.asarray(activations.features, dtype)
    return -detector.predict_features(_tensor(features)).numpy()


def _made_in(dtype: Any) -> Any:
    """Return a context in which the sums of this thread's detectors begin in a type.

    Their covariance has a ridge of 1e-6 of a sum: in float32 its inverse is noise where units are
    dead or samples fewer than features, and squared distances are negative.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    class Begun(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            given = dict(kwargs or {})
            if func in (torch.zeros, torch.eye):
                given.setdefault("dtype", dtype)
            return func(*args, **given)

    return Begun()


def _fit_neighbours(known: Known) -> Score:
    """Fit kNN to pictures spread evenly over the training ones: its cost grows with their number.

    Its authors keep 1 % of ImageNet's, with little loss (Y. Sun et al., ICML 2022).
    """
    n = len(known.y)
    chosen = np.linspace(0, n - 1, min(n, _MOST_NEIGHBOURS)).round().astype(int)
    train = Activations(*(part[chosen] for part in known.train))
    return _fit_features("KNN", replace(known, train=train, y=known.y[chosen]))


def _fit_vim(known: Known) -> Score:
    layer = known.linear()
    options = {"w": _tensor(layer.weight), "b": _tensor(layer.bias)}
    d = min(_AT_MOST, layer.weight.shape[1] // 2)
    return _fit_features("ViM", known, d=d, **options)


def _fit_shaping(name: str, known: Known) -> Score:
    layer = known.linear()
    head = partial(_logits_of_maps, _tensor(layer.weight), _tensor(layer.bias))
    return partial(_of_maps, _detector(name)(None, head))


def _logits_of_maps(weight: Any, bias: Any, maps: Any) -> Any:
    return maps.flatten(1) @ weight.T + bias


def _of_maps(detector: Any, activations: Activations) -> np.ndarray:
    """Compute the score of features that were pooled: maps of one pixel."""
    maps = np.asarray(activations.features, np.float32)[:, :, None, None]
    return -detector.predict_feature_maps(_tensor(maps)).numpy()


_FITS: dict[str, tuple[Callable[[Known], Score], str]] = {
    "Mahalanobis": (partial(_fit_features, "Mahalanobis", dtype=np.float64), "of pytorch-ood"),
    "Mahalanobis, relative": (
        partial(_fit_features, "RMD", dtype=np.float64),
        "of pytorch-ood: RMD",
    ),
    "class Gaussians": (partial(_fit_features, "GMM"), "of pytorch-ood: GMM"),
    "kNN": (_fit_neighbours, "of pytorch-ood: the 50th neighbour, of at most 10,000 pictures"),
    "ViM": (_fit_vim, "of pytorch-ood"),
    "SCALE": (partial(_fit_shaping, "SCALE"), "of pytorch-ood"),
    "ASH": (partial(_fit_shaping, "ASH"), "of pytorch-ood: ASH-S"),
}
PEERS = tuple(Peer(name, fit, about, library=_LIBRARY) for name, (fit, about) in _FITS.items())
