"""Where the discount begins: found on held-out pictures, or on those of the fit."""

import numpy as np

from sklearn_densconf._array import Array, as_like, map_rows, namespace, to_numpy
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.openset._discount import most_likely, tail, within_budget
from sklearn_densconf.openset._familiarity import Familiarity, leave_one_out, unit

# Of the budget, where the network was trained on the pictures that calibrate: it finds them more
# familiar than others, in one factor more than in the other.
OF_TRAINED = 1 / 6
MOST_TRAINED = 5000  # training pictures that calibrate: more would take longer than the Gaussians

Discount = tuple[np.ndarray, np.ndarray]  # location and scale of the two factors


def by_likelihood(scores: np.ndarray, log_proba: np.ndarray, log_prior: np.ndarray) -> Discount:
    """Compute locations and scales from scores (n, 2) and log q, log π of the labels, (n,)."""
    level, width = tail(scores)
    t = most_likely((scores - level) / width, log_proba, log_prior)
    return level - t * width, width


def by_budget(scores: np.ndarray, budget: float) -> Discount:
    """Compute the locations at which the mean of 1 - ρ on scores (n, 2) is the budget."""
    level, width = tail(scores)
    t = within_budget((scores - level) / width, np.ones(len(scores)), budget)
    return level - t * width, width


def on_trained(scores: np.ndarray, weight: np.ndarray, budget: float) -> Discount:
    """Compute the location of the second factor alone, on pictures that were trained on."""
    level, width = tail(scores[:, 1:], weight)
    t = within_budget((scores[:, 1:] - level) / width, weight, OF_TRAINED * budget)
    return np.array([-np.inf, level[0] - t * width[0]]), np.array([1.0, width[0]])


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
        Of at most `MOST_TRAINED` pictures, drawn by chance.
    weight : ndarray of shape (m,)
        Their weights.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(features.shape[0])[:MOST_TRAINED])
    rows, xp = as_like(chosen, features), namespace(features)
    familiarity = Familiarity(density._head(features), background._head(features))
    about = {
        "moments": density._moments[0],
        "between": density.mahalanobis(density.means_),
        "shrinkages": (float(density.shrinkage or 0), float(background.shrinkage or 0)),
    }

    def left_out(chunk: Array, out: Array, codes: Array, weight: Array) -> Array:
        distances = familiarity.distances(unit(chunk), out)
        return leave_one_out(distances, codes, weight, **about)

    weight = xp.take(weight, rows, axis=0)
    scores = map_rows(
        left_out,
        len(density.classes_),
        xp.take(features, rows, axis=0),
        as_like(codes[chosen], features),
        weight,
    )
    return to_numpy(scores), to_numpy(weight)
