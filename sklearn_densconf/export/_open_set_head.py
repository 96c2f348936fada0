"""The open-set classifier as a torch module: `sklearn_densconf.openset._head`, in tensors."""

from typing import Any, cast

import torch
from torch import nn

from sklearn_densconf.export._density_head import Blocks
from sklearn_densconf.export._evaluated import Evaluated, SoftmaxHead, as_buffer
from sklearn_densconf.export._logarithms import log_add_exp, log_sigmoids, log_sum_exp
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
    half_between: torch.Tensor
    tiny: torch.Tensor

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
        familiarity = head.familiarity
        # of vectors of length 1, and a center that is a mean of such
        self.classes = Blocks(familiarity.classes.blocks, dtype, largest=2.0)
        self.background = None
        if familiarity.between is None:
            self.background = Blocks(familiarity.background.blocks, dtype, largest=2.0)
        else:
            half = 0.5 * familiarity.between  # a number in the formula would be one more node
            self.register_buffer("half_between", as_buffer(half, dtype))
        self.register_buffer("tiny", as_buffer(torch.finfo(dtype).tiny, dtype))
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
        nearest, relative = self._distances(self._unit(features))
        scores = 0.5 * torch.stack([-nearest, relative], 1)
        log_odds = (scores - self.location) / self.scale
        known, unknown = log_sigmoids(log_odds)
        either = log_add_exp(unknown[:, 0], known[:, 0] + unknown[:, 1])
        return known[:, 0] + known[:, 1], either

    def _distances(self, directions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute min_k D_k and D₀ - min_k D_k, (n,)."""
        if self.background is not None:
            nearest = self.classes.squared_distance(directions).amin(1)
            return nearest, self.background.squared_distance(directions)[:, 0] - nearest
        [(differences, shared)] = self.classes.parts(directions)
        constant: Any = self.classes.distances[0].constant
        of_all = (constant - differences) @ self.half_between
        least = differences.amin(1)
        nearest = torch.clamp(least + cast(torch.Tensor, shared)[:, 0], min=0.0)
        return nearest, -least - (of_all * of_all).sum(1)

    def _unit(self, features: torch.Tensor) -> torch.Tensor:
        """Compute features / their length; rows of 0 stay 0."""
        largest = features.abs().amax(1, keepdim=True)  # else squares could overflow
        directions = features / torch.maximum(largest, self.tiny)
        length = torch.sqrt((directions * directions).sum(1, keepdim=True))
        return directions / torch.maximum(length, self.tiny)
