"""The record of what a fitted Gaussian classifier evaluates, and its evaluation.

This is the room where results are written in place: every function takes ``out``, a float64 array
(n, k), and a chunk of samples ``X`` (n, d), float64, that it overwrites. Factors and constant
sums ride on the products of matrices, so that no pass over (n, k) is made for them.
"""

import math
from dataclasses import dataclass

from sklearn_densconf._array import Array, log_sum_exp, namespace
from sklearn_densconf.density._distances import clip, copied, write_affine
from sklearn_densconf.density._gaussians import Gaussians


@dataclass(frozen=True)
class Block:
    """The densities of some features, those of one layer, say.

    Attributes
    ----------
    columns : slice
        Which features.
    gaussians : Gaussians
        One for each class, N(z; μ_k, Σ_k).
    background : Gaussians or None
        One that is broader than all of these.
    temperature, scale : float
        T and s: the density is N(z; μ_k, s Σ_k) to the power of 1 / T.
    """

    columns: slice
    gaussians: Gaussians
    background: Gaussians | None
    temperature: float
    scale: float


@dataclass(frozen=True)
class Head:
    """What a fitted classifier evaluates: all numbers, no parameters left to interpret.

    Attributes
    ----------
    blocks : tuple of Block
        Their log-densities are added: features of different blocks count as independent.
    log_prior : array of shape (k,)
        log π.
    share : float
        Weight ε of the background, in [0, 1).
    n_multiplications : float
        About how many one sample takes, in products of matrices.
    """

    blocks: tuple[Block, ...]
    log_prior: Array
    share: float
    n_multiplications: float

    def joint(self, X: Array, out: Array) -> tuple[Array, Array | float]:
        """Compute log q(z | k) + log π_k as what classes differ in, and what they share.

        Returns
        -------
        out : array of shape (n, k)
            The differences.
        shared : array of shape (n, 1) or 0.0
            The log-density of the background, or what one covariance for all classes makes of
            a sample; far away it would drown them.
        """
        if not self.share:
            return out, write_log_density(out, X, self.blocks, self.log_prior)
        shared = namespace(X).zeros_like(out[:, :1])
        of_background = copied(X), self.blocks
        add_shared(shared, write_log_density(shared, *of_background, background=True))
        add_shared(out, write_log_density(out, X, self.blocks))
        out -= shared
        out[...] = _mixed(out, self.share) + self.log_prior
        return out, shared

    def log_evidence(self, X: Array, out: Array) -> Array:
        """Compute log Σ_k N(z; μ_k, Σ_k) π_k, (n,): not tempered, scaled or mixed."""
        shared = write_log_density(out, X, self.blocks, self.log_prior, plain=True)
        return (log_sum_exp(out) + shared)[:, 0]

    def squared_distance(self, X: Array, out: Array) -> Array:
        """Compute the squared Mahalanobis distance to each class, summed over blocks."""
        write_squared_distance(out, X, self.blocks)
        return out


def write_log_density(
    out: Array,
    X: Array,
    blocks: tuple[Block, ...],
    log_prior: Array | float = 0.0,
    *,
    plain: bool = False,
    background: bool = False,
) -> Array | float:
    """Write Σ_b log N(z_b; μ_kb, s_b Σ_kb) / T_b + log_prior_k to ``out``, less what is shared.

    Parameters
    ----------
    out : array of shape (n, k), or (n, 1) for the background
        What is written to.
    X : array of shape (n, d)
        Samples; overwritten.
    blocks : tuple of Block
        The densities.
    log_prior : array of shape (k,), default=0.0
        Added to each row.
    plain : bool, default=False
        Whether to take T = s = 1.
    background : bool, default=False
        Whether to take the blocks' backgrounds in place of their classes.

    Returns
    -------
    array of shape (n, 1) or 0.0
        What all classes share, to be added.
    """
    plans, offset = [], log_prior
    for block in blocks:
        gaussians = block.background if background else block.gaussians
        assert gaussians is not None  # a share above 0 comes with backgrounds
        temperature, scale = (1.0, 1.0) if plain else (block.temperature, block.scale)
        d, factor = gaussians.center.shape[0], -0.5 / temperature
        normaliser = gaussians.log_determinant + d * math.log(2 * math.pi * scale)
        plans.append((X[:, block.columns], gaussians, factor / scale))
        offset = offset + factor * normaliser
    return write_affine(out, plans, offset)


def write_squared_distance(out: Array, X: Array, blocks: tuple[Block, ...]) -> None:
    """Write the squared Mahalanobis distance to each class, at least 0; X is overwritten.

    That of a point whose distance cannot be squared is one that can be, on the same ray.
    """
    plans = [(X[:, block.columns], block.gaussians, 1.0) for block in blocks]
    add_shared(out, write_affine(out, plans, 0.0))
    clip(out, 0.0, None)  # rounding of a difference can fall below 0


def add_shared(out: Array, shared: Array | float) -> None:
    """Add what all classes share to ``out``; 0.0 costs no pass."""
    if not isinstance(shared, float):
        out += shared


def _mixed(log_ratio: Array, share: float) -> Array:
    """Compute log((1 - share) exp(log_ratio) + share)."""
    xp = namespace(log_ratio)
    log_share = xp.full_like(log_ratio[:, :1], math.log(share))
    return xp.logaddexp(log_ratio + math.log1p(-share), log_share)
