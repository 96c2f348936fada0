"""Where the discount begins: found on held-out pictures, or on those of the fit."""

from typing import Any

import numpy as np

from sklearn_densconf._array import Array, as_like, map_rows, namespace, to_numpy
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.openset._discount import LogProba, most_likely, tail, within_budget
from sklearn_densconf.openset._familiarity import Familiarity, Left, score, unit

# Of the budget, where the network was trained on the pictures that calibrate: others cost up to
# three times as much (of eight networks, at 0.0005 and at 0.003; also where it knew them by heart).
OF_TRAINED = 1 / 3
MOST_TRAINED = 2000  # training pictures that calibrate: more would take longer than the Gaussians


def by_likelihood(
    scores: np.ndarray, log_proba: LogProba, log_prior: np.ndarray, temperature: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Compute temperature, locations and scales from scores (n, 2) and `most_likely`'s terms."""
    level, width = tail(scores)
    surplus = (scores - level) / width
    temperature, t, widths = most_likely(surplus, log_proba, log_prior, np.log(temperature))
    return temperature, level - t * width, widths * width


def by_budget(
    scores: np.ndarray, budget: float, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Compute locations and scales at which the mean of 1 - ρ on scores (n, 2) is the budget."""
    level, width = tail(scores, weight)
    t = within_budget((scores - level) / width, weight, budget)
    return level - t * width, width


def left_out_scores(
    features: Array,
    codes: np.ndarray,
    weight: Array,
    density: GaussianDensityClassifier,
    background: GaussianDensityClassifier,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute scores that some training pictures have without each of them, and their weights.

    Parameters
    ----------
    features : array of shape (n, d)
        All training pictures.
    codes : ndarray of shape (n,)
        Their classes, as positions in those of ``density``.
    weight : array of shape (n,)
        Their weights.
    density, background : GaussianDensityClassifier
        Fitted to all of them.

    Returns
    -------
    scores : ndarray of shape (m, 2)
        Of at most `MOST_TRAINED` pictures, drawn by chance. None is more familiar than with it.
    weight : ndarray of shape (m,)
        Their weights.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(features.shape[0])[:MOST_TRAINED])
    rows, xp = as_like(chosen, features), namespace(features)
    familiarity = Familiarity(density._head(features), background._head(features))
    means, all_together = density.means_, background._head(features)
    at_mean = background.mahalanobis(means)[:, 0]
    shrinkage: Any = density.shrinkage
    left = Left(density._moments[0], shrinkage, density.mahalanobis(means), at_mean)

    def left_out(chunk: Array, out: Array, codes: Array, weight: Array) -> Array:
        directions = unit(chunk)
        moved = directions - xp.take(means, codes, axis=0) + background.means_
        to_own = all_together.squared_distance(moved, xp.zeros_like(out[:, :1]))[:, 0]
        of_class, of_all = familiarity.distances(directions, out)
        scores = left.scores(of_class, of_all, to_own, codes, weight)
        # The background widens, too, without a picture. Where classes have hardly any width, that
        # is more than the scores differ by: the location would lie beyond all known pictures.
        return xp.minimum(scores, score(xp.min(of_class, axis=1), of_all))

    # numpy's take would first copy all columns of a view of some
    features = features[chosen] if xp is np else xp.take(features, rows, axis=0)
    weight = xp.take(weight, rows, axis=0)
    scores = map_rows(
        left_out,
        len(density.classes_),
        features,
        as_like(codes[chosen], features),
        weight,
    )
    return to_numpy(scores), to_numpy(weight)
