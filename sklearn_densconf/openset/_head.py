"""The record of what a fitted open-set classifier evaluates, and its evaluation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sklearn_densconf._array import Array, namespace
from sklearn_densconf.openset._discount import keep_order, log_known
from sklearn_densconf.openset._familiarity import Familiarity


@dataclass(frozen=True)
class OpenSetHead:
    """A posterior, and how it is discounted: all numbers, no parameters left to interpret.

    Attributes
    ----------
    width : int
        How many of the columns are features, u; the others are logits, z.
    log_posterior : callable
        From rows of X to log q(y | x), (n, k), a new array.
    familiarity : Familiarity
        What scores the features.
    location, scale : array of shape (2,)
        a and w: the factors are σ((s - a) / w).
    log_prior : array of shape (k,)
        log π.
    n_multiplications : float
        About how many one sample takes, in products of matrices.
    """

    width: int
    log_posterior: Callable[[Array], Array]
    familiarity: Familiarity
    location: Array
    scale: Array
    log_prior: Array
    n_multiplications: float

    def joint(self, X: Array, out: Array) -> tuple[Array, float]:
        """Compute log(ρ q + (1 - ρ) π), (n, k); it is normalised."""
        log_proba = self.log_posterior(X)
        known, unknown = keep_order(*self.log_known(X, out))
        log_proba += known[:, None]
        rest = unknown[:, None] + self.log_prior
        xp = namespace(out)
        if xp is np:
            np.logaddexp(log_proba, rest, out=out)
        else:
            out[...] = xp.logaddexp(log_proba, rest)
        return out, 0.0

    def log_known(self, X: Array, out: Array) -> tuple[Array, Array]:
        """Compute log ρ and log(1 - ρ), (n,)."""
        scores = self.familiarity.scores(X[:, : self.width], out)
        return log_known((scores - self.location) / self.scale)

    def known(self, X: Array, out: Array) -> Array:
        """Compute ρ, (n,)."""
        return namespace(X).exp(self.log_known(X, out)[0])

    def log_odds(self, X: Array, out: Array) -> Array:
        """Compute log ρ - log(1 - ρ), (n,)."""
        known, unknown = self.log_known(X, out)
        return known - unknown
