"""From fitted classifiers to their heads as torch modules, with the parameters as they are now."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf.density import GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.density._posterior import PosteriorMixin
from sklearn_densconf.export._density_head import GaussianHead
from sklearn_densconf.export._evaluated import OfOrdered, SoftmaxHead
from sklearn_densconf.export._open_set_head import OpenSetHead
from sklearn_densconf.openset import OpenSetClassifier


def head_of(classifier: PosteriorMixin, dtype: torch.dtype) -> nn.Module:
    """Return the head of a fitted classifier as a module, with the parameters as they are now.

    Parameters
    ----------
    classifier : GaussianDensityClassifier, SoftmaxClassifier or OpenSetClassifier
        The classifier.
    dtype : torch.dtype
        As of `Distance`.

    Returns
    -------
    torch.nn.Module
        From features (n, d) to `Evaluated`.
    """
    return next(make for kind, make in EXPORTABLE.items() if isinstance(classifier, kind))(
        classifier, dtype
    )


def _gaussian(classifier: Any, dtype: torch.dtype) -> nn.Module:
    by_features = classifier.predict_from == "features"
    return GaussianHead(classifier._head(_one_row(classifier)), dtype, by_features=by_features)


def _softmax(classifier: Any, dtype: torch.dtype) -> nn.Module:
    n_logits = classifier.n_features_in_
    return SoftmaxHead(classifier._order, classifier.temperature_, n_logits, dtype)


def _open_set(classifier: Any, dtype: torch.dtype) -> nn.Module:
    head = classifier._head(_one_row(classifier))
    posterior: Any = head.log_posterior
    n_logits = classifier.n_features_in_ - head.width
    if classifier.posterior_ is None:
        module: nn.Module = SoftmaxHead(posterior.order, posterior.temperature, n_logits, dtype)
        columns = slice(head.width, None)
    else:
        module, columns = head_of(classifier.posterior_, dtype), posterior.columns
        if posterior.order is not None:  # it was fitted here, to the logits of the sorted labels
            module = OfOrdered(SoftmaxHead(posterior.order, 1.0, n_logits, dtype), module)
    logits = SoftmaxHead(classifier._order, 1.0, n_logits, dtype)
    return OpenSetHead(head, module, columns, logits, dtype)


def _one_row(classifier: Any) -> np.ndarray:
    return np.zeros((1, classifier.n_features_in_))


EXPORTABLE: dict[type, Callable[[Any, torch.dtype], nn.Module]] = {
    GaussianDensityClassifier: _gaussian,
    SoftmaxClassifier: _softmax,
    OpenSetClassifier: _open_set,
}
