"""A classifier as a torch module: from features to label, probabilities, known and score."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from sklearn_densconf.export._logarithms import softmax

UNKNOWN = -1  # the label of features that are not finite


class Confidence(NamedTuple):
    """What an exported classifier gives for n samples.

    Attributes
    ----------
    label : Tensor of shape (n,), int64
        Number of the predicted label in ``classes``; -1 where a feature is NaN or infinite.
    probabilities : Tensor of shape (n, k), float64 or float32
        ``predict_proba``; NaN where a feature is NaN or infinite.
    known, score : Tensor of shape (n,), or None
        ``known_proba`` and ``score_samples``, None where the classifier has no such method.
    """

    label: torch.Tensor
    probabilities: torch.Tensor
    known: torch.Tensor | None = None
    score: torch.Tensor | None = None


class Decided(NamedTuple):
    """What an exported `ConformalRejector` gives for n samples.

    Attributes
    ----------
    label, probabilities, known, score : Tensor, or None
        As of `Confidence`.
    accepted : Tensor of shape (n,), bool
        Whether the label may be used. Never where a feature is NaN.
    reason : Tensor of shape (n,), int64
        0 for what is accepted, 1 for "not sure", 2 for "not known".
    """

    label: torch.Tensor
    probabilities: torch.Tensor
    known: torch.Tensor | None
    score: torch.Tensor | None
    accepted: torch.Tensor
    reason: torch.Tensor


class ConfidenceHead(nn.Module):
    """A fitted classifier, from features to `Confidence`.

    Its numbers keep their type, whatever the module around it is cast to: ``half()`` halves the
    network in front of it.

    Parameters
    ----------
    head : torch.nn.Module
        From features to `Evaluated`.
    dtype : torch.dtype
        Type in which it computes.
    classes : list
        The labels in the order of the probabilities.
    rejection : Rejection or None
        What decides which labels are withheld.
    """

    def __init__(
        self,
        head: nn.Module,
        dtype: torch.dtype,
        classes: list[Any],
        rejection: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.rejection = rejection
        self.head = head
        self.dtype = dtype
        self.classes = classes

    def forward(self, features: torch.Tensor) -> Confidence | Decided:
        """Compute the confidence of features (n, d), of any floating-point type."""
        if torch.is_autocast_enabled(features.device.type):
            with torch.autocast(features.device.type, enabled=False):  # it would round products
                return self._confidence(features)
        return self._confidence(features)

    def _confidence(self, features: torch.Tensor) -> Confidence | Decided:
        # First of all: engines drop a NaN in a maximum, or carry it to other rows.
        is_finite = finite(features)
        usable = is_finite.all(1)
        zero = torch.zeros((), dtype=features.dtype, device=features.device)
        given = torch.where(is_finite, features, zero).to(self.dtype)
        found = self.head(given)
        confidence = Confidence(
            torch.where(usable, _first_largest(found.ranked), UNKNOWN),
            torch.where(usable[:, None], softmax(found.joint), torch.nan),
            None if found.known is None else torch.where(usable, found.known, torch.nan),
            None if found.score is None else torch.where(usable, found.score, torch.nan),
        )
        if self.rejection is None:
            return confidence
        return Decided(*confidence, *self.rejection(*confidence))

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        """Move the numbers where ``fn`` moves them, without its cast."""

        def moved(tensor: torch.Tensor) -> torch.Tensor:
            return tensor.to(fn(tensor).device)

        return super()._apply(moved, recurse)


def finite(values: torch.Tensor) -> torch.Tensor:
    """Mark the values that are neither NaN nor infinite, by a comparison: all engines agree."""
    return values.abs() < torch.inf


def _first_largest(values: torch.Tensor) -> torch.Tensor:
    """Return the first of the largest columns, (n,): an engine's arg max may take another."""
    k = values.shape[1]
    columns = torch.arange(k, device=values.device)[None]
    is_largest = values == values.amax(1, keepdim=True)
    return torch.where(is_largest, columns, k - 1).amin(1)
