"""Log-densities of classes as a torch module: `sklearn_densconf.density._head`, in tensors."""

import math
from functools import reduce
from typing import Any

import numpy as np
import torch
from torch import nn

from sklearn_densconf.density._head import Block, Head
from sklearn_densconf.export._evaluated import Evaluated, as_buffer
from sklearn_densconf.export._gaussians import Distance, Distances
from sklearn_densconf.export._logarithms import log_add_exp, log_sum_exp


class Blocks(nn.Module):
    """The log-densities of blocks of features, of their classes or of their backgrounds.

    Parameters
    ----------
    blocks : tuple of Block
        The blocks.
    dtype : torch.dtype
        As of `Distance`.
    background : bool, default=False
        Whether to take the backgrounds.
    largest : float, default=inf
        What no deviation from the centers exceeds, if that is known.
    """

    offset: torch.Tensor
    plain_offset: torch.Tensor

    def __init__(
        self,
        blocks: tuple[Block, ...],
        dtype: torch.dtype,
        *,
        background: bool = False,
        largest: float = math.inf,
    ) -> None:
        super().__init__()
        gaussians: list[Any] = [
            block.background if background else block.gaussians for block in blocks
        ]
        self._columns = [block.columns for block in blocks]
        self.distances = nn.ModuleList(Distance(each, dtype, largest) for each in gaussians)
        for block, distance in zip(blocks, self.distances, strict=True):
            factor = -0.5 / block.temperature / block.scale
            distance.register_buffer("factor", as_buffer(factor, dtype))
        pairs = list(zip(blocks, gaussians, strict=True))
        tempered = sum(_normaliser(g, b.scale) / b.temperature for b, g in pairs)
        plain = sum(_normaliser(g, 1.0) for _, g in pairs)
        self.register_buffer("offset", as_buffer(tempered, dtype))
        self.register_buffer("plain_offset", as_buffer(plain, dtype))

    def squared_distance(self, X: torch.Tensor) -> torch.Tensor:
        """Compute the squared Mahalanobis distance to each class, (n, k), summed over blocks."""
        total: Any = 0.0
        for differences, shared in self.parts(X):
            total = total + (differences + shared)
        return torch.clamp(total, min=0.0)  # rounding of a difference can fall below 0

    def forward(self, X: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, Any, Any]:
        """Compute log-densities, tempered and scaled, and plain: differences of each, then shared.

        Returns
        -------
        tempered, plain : Tensor of shape (n, k)
            What the classes differ in.
        tempered_shared, plain_shared : Tensor of shape (n, 1) or 0.0
            What they share.
        """
        tempered, plain = self.offset, self.plain_offset
        tempered_shared: Any = 0.0
        plain_shared: Any = 0.0
        pairs = self.parts(X)
        for distance, (differences, shared) in zip(self.distances, pairs, strict=True):
            factor: Any = distance.factor
            tempered, plain = tempered + factor * differences, plain - 0.5 * differences
            tempered_shared = tempered_shared + factor * shared
            plain_shared = plain_shared - 0.5 * shared
        return tempered, plain, tempered_shared, plain_shared

    def parts(self, X: torch.Tensor) -> list[Distances]:
        """Compute the distances in each block; far points approach the center on their ray."""
        parts: list[Any] = list(self.distances)
        pairs = list(zip(parts, self._columns, strict=True))
        deviations = [part.centred(X[:, columns]) for part, columns in pairs]
        found = [part.reach(each) for part, each in zip(parts, deviations, strict=True)]
        reaches = [each for each in found if each is not None]
        if reaches:
            reach = reduce(torch.maximum, reaches)
            deviations = [each / reach for each in deviations]
        return [part(each) for part, each in zip(parts, deviations, strict=True)]


class GaussianHead(nn.Module):
    """`GaussianDensityClassifier`.

    Parameters
    ----------
    head : Head
        What it evaluates.
    dtype : torch.dtype
        As of `Distance`.
    by_features : bool
        Whether the label is that of the largest feature.
    """

    log_prior: torch.Tensor
    log_share: torch.Tensor
    log_rest: torch.Tensor

    def __init__(self, head: Head, dtype: torch.dtype, *, by_features: bool) -> None:
        super().__init__()
        self._by_features = by_features
        self.classes = Blocks(head.blocks, dtype)
        self.register_buffer("log_prior", as_buffer(head.log_prior, dtype))
        self.background = None
        if head.share:
            self.background = Blocks(head.blocks, dtype, background=True)
            self.register_buffer("log_share", as_buffer(math.log(head.share), dtype))
            self.register_buffer("log_rest", as_buffer(math.log1p(-head.share), dtype))

    def forward(self, X: torch.Tensor) -> Evaluated:
        """Evaluate features (n, d)."""
        tempered, plain, tempered_shared, plain_shared = self.classes(X)
        if self.background is not None:
            background, _, shared, _ = self.background(X)
            ratio = tempered + (tempered_shared - (background + shared))
            tempered = log_add_exp(ratio + self.log_rest, self.log_share)
        joint = tempered + self.log_prior
        score = (log_sum_exp(plain + self.log_prior) + plain_shared)[:, 0]
        return Evaluated(joint, self._ranked(X, joint), score=score)

    def _ranked(self, X: torch.Tensor, joint: torch.Tensor) -> torch.Tensor:
        if not self._by_features:
            return joint
        is_single = X.shape[1] == 1 and joint.shape[1] == 2
        return torch.cat([torch.zeros_like(X), X], 1) if is_single else X  # z stands for [0, z]


def _normaliser(gaussians: Any, scale: float) -> np.ndarray:
    """Compute -½ (log |Σ_k| + d log 2πs), (k,) or (1,)."""
    d = gaussians.center.shape[0]
    return -0.5 * (np.atleast_1d(gaussians.log_determinant) + d * math.log(2 * math.pi * scale))
