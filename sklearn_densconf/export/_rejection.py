"""`ConformalRejector` as a torch module: whether a label is accepted, and why not."""

from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf.export._evaluated import as_buffer

ACCEPTED, NOT_SURE, NOT_KNOWN = range(3)
REASONS = ["", "not sure", "not known"]


class Rejection(nn.Module):
    """Thresholds on what the classifier gives: a p-value above α is a score above a threshold.

    Parameters
    ----------
    rejector : ConformalRejector
        Fitted; its criterion is no function.
    dtype : torch.dtype
        As of `Distance`.
    """

    threshold: torch.Tensor

    def __init__(self, rejector: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self._criterion = rejector.criterion
        self._has_risk = rejector.risk is not None
        found = rejector.threshold_ if self._has_risk else _thresholds(rejector)
        self.register_buffer("threshold", as_buffer(found, dtype))

    def forward(
        self, label: torch.Tensor, probabilities: torch.Tensor, known: Any, score: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Decide about n samples.

        Returns
        -------
        accepted : Tensor of shape (n,), bool
            Whether the label may be used.
        reason : Tensor of shape (n,), int64
            Number in `REASONS`.
        """
        found = self._scores(label, probabilities, known, score)
        # A score equal to that of a calibration sample counts for its p-value, and not for a risk.
        above = found > self.threshold if self._has_risk else found >= self.threshold
        accepted = above.any(1)
        sure = torch.full_like(label, NOT_SURE)
        reason = sure if known is None else torch.where(known < 0.5, NOT_KNOWN, sure)
        return accepted, torch.where(accepted, ACCEPTED, reason)

    def _scores(
        self, label: torch.Tensor, probabilities: torch.Tensor, known: Any, score: Any
    ) -> torch.Tensor:
        """Return the scores that are compared, (n, k) or (n, 1)."""
        if self._criterion != "confidence":
            return (known if self._criterion == "known" else score)[:, None]
        if self._has_risk:
            return probabilities.gather(1, label.clamp(min=0)[:, None])
        return probabilities if len(self.threshold) > 1 else probabilities.amax(1, keepdim=True)


def _thresholds(rejector: Any) -> np.ndarray:
    """Return the lowest score of each class with a p-value above α.

    It is above α where (1 + m) / (1 + n) is, m being the number of the class's calibration scores
    that are no larger: where the score is at least the m-th smallest, for the least such m.
    """
    groups = rejector.calibration_scores_
    p_values = [np.arange(1, len(group) + 2) / (len(group) + 1) for group in groups]
    least = [int(np.argmax(p > rejector.alpha)) for p in p_values]
    return np.array(
        [group[m - 1] if m else -np.inf for group, m in zip(groups, least, strict=True)]
    )
