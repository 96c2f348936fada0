"""The open-set classifier as a torch module: `sklearn_densconf.openset._head`, in tensors."""

import torch
from torch import nn

from sklearn_densconf.export._density_head import Blocks
from sklearn_densconf.export._evaluated import Evaluated, SoftmaxHead, as_buffer
from sklearn_densconf.export._logarithms import log_add_exp, log_sigmoid, log_sum_exp
from sklearn_densconf.openset._head import OpenSetHead as NumpyHead


class OpenSetHead(nn.Module):
    """`OpenSetClassifier`.

    Parameters
    ----------
    head : sklearn_densconf.openset._head.OpenSetHead
        What it evaluates.
    posterior : torch.nn.Module
        The head of the posterior.
    columns : slice
        What of X the posterior takes.
    logits : SoftmaxHead
        What brings the logits into the order of the sorted labels.
    dtype : torch.dtype
        As of `Distance`.
    """

    location: torch.Tensor
    scale: torch.Tensor
    log_prior: torch.Tensor

    def __init__(
        self,
        head: NumpyHead,
        posterior: nn.Module,
        columns: slice,
        logits: SoftmaxHead,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self._width, self._columns = head.width, columns
        self.posterior = posterior
        self.logits = logits
        self.classes = Blocks(head.familiarity.classes.blocks, dtype)
        self.background = Blocks(head.familiarity.background.blocks, dtype)
        for name in ("location", "scale", "log_prior"):
            self.register_buffer(name, as_buffer(getattr(head, name), dtype))

    def forward(self, X: torch.Tensor) -> Evaluated:
        """Evaluate features and logits, (n, d + k)."""
        joint = self.posterior(X[:, self._columns]).joint
        known, unknown = self._log_known(X[:, : self._width])
        of_label = joint - log_sum_exp(joint) + known[:, None]
        joint = log_add_exp(of_label, unknown[:, None] + self.log_prior)
        ranked = self.logits(X[:, self._width :]).ranked
        return Evaluated(joint, ranked, torch.exp(known), known - unknown)

    def _log_known(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute log ρ and log(1 - ρ), (n,)."""
        directions = _unit(features)
        nearest = self.classes.squared_distance(directions).amin(1)
        of_background = self.background.squared_distance(directions)[:, 0]
        scores = 0.5 * torch.stack([-nearest, of_background - nearest], 1)
        log_odds = (scores - self.location) / self.scale
        known, unknown = log_sigmoid(log_odds), log_sigmoid(-log_odds)
        either = log_add_exp(unknown[:, 0], known[:, 0] + unknown[:, 1])
        return known[:, 0] + known[:, 1], either


def _unit(features: torch.Tensor) -> torch.Tensor:
    """Compute features / their length; rows of 0 stay 0."""
    largest = features.abs().amax(1, keepdim=True)  # else squares could overflow
    directions = features / torch.where(largest > 0, largest, torch.ones_like(largest))
    length = torch.sqrt((directions * directions).sum(1, keepdim=True))
    return directions / torch.where(length > 0, length, torch.ones_like(length))
