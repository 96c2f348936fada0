"""Logits of a network: which label each belongs to, and their temperature."""

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.optimize import brentq, linear_sum_assignment
from scipy.special import logsumexp

from sklearn_densconf._array import Array, as_like, namespace, to_numpy
from sklearn_densconf._validation import FEWEST, check_one_feature_per_class, unique_labels

# Log-temperatures are sought this far from the standard deviation of the logits: at the ends
# every confidence is 1 or 1 / k in float32.
REACH = 7.0
SHOWN = 10  # labels in a message
OFTEN = 0.1  # share of zeros from which values are taken for activations; a half is usual


def order_of_logits(
    classes: Any, labels: Array, n_logits: int, what: str
) -> tuple[Array, np.ndarray | None]:
    """Check ``classes``, the label of each logit in their order, against the labels of y.

    Parameters
    ----------
    classes : array-like of shape (n_logits,), or None
        None: the logits are in the order of the sorted labels. Of a single logit two labels: that
        where it is negative, and that where it is positive.
    labels : array of shape (n_labels,)
        The sorted labels of y.
    n_logits : int
        Number of logits.
    what : str
        Who takes the logits, for messages.

    Returns
    -------
    classes : array of shape (n_logits,)
        The sorted labels.
    order : ndarray of shape (n_classes,), or None
        Where the logit of each of them is; None if they are in this order. For a single logit of
        two classes it is given in any case: see `in_order`.

    Raises
    ------
    ValueError
        If there is not one label per logit, one is named twice, or one of y is not named.
    """
    is_single = n_logits == 1 and np.shape(labels if classes is None else classes) == (2,)
    if classes is None:
        cure = "or pass classes=, the label of each logit, if some have no samples"
        check_one_feature_per_class(what, n_logits, labels.shape[0], cure)
        return labels, np.arange(2) if is_single else None
    named, n_logits = to_numpy(classes), 2 if is_single else n_logits
    if named.shape != (n_logits,) or len(np.unique(named)) != n_logits:
        raise ValueError(
            f"classes must have one label per logit, each once, got {named.shape} labels for "
            f"{n_logits} logits: name them all, in the order of the logits"
        )
    if missing := np.setdiff1d(to_numpy(labels), named).tolist():
        raise ValueError(f"y has labels that classes lacks, {missing[:SHOWN]}: name every logit")
    order = np.argsort(named)
    known = unique_labels(classes) if hasattr(classes, "shape") else named[order]
    return known, None if (order == np.arange(n_logits)).all() and not is_single else order


def in_order(logits: Array, order: np.ndarray | None) -> Array:
    """Bring columns of logits into the order of the sorted labels; a single one z becomes [0, z].

    The softmax of these two is [1 - sigmoid(z), sigmoid(z)].
    """
    if order is None:
        return logits
    logits = two_of_single(logits, len(order))
    return namespace(logits).take(logits, as_like(order, logits), axis=1)


def two_of_single(logits: Array, n_classes: int) -> Array:
    """Return logits [0, z] in place of a single one z for two classes; others as they are."""
    if logits.shape[1] != 1 or n_classes != 2:
        return logits
    xp = namespace(logits)
    return xp.concat([xp.zeros_like(logits), logits], axis=1)


def warn_of_order(
    logits: Array, codes: np.ndarray, classes: Array, cure: str, *, are_sure: bool = True
) -> None:
    """Warn if another order of the logits explains the labels far better than the one taken.

    The other order is found on half of the samples and judged on the rest, where it must be
    right twice as often, and by four standard deviations of the difference: chance does not do
    that, whatever the numbers of samples and classes, and a poor network does not either.

    Parameters
    ----------
    logits : array of shape (n, k)
        Logits in the order that is taken.
    codes : ndarray of shape (n,)
        Position of each sample's label in that order.
    classes : array of shape (k,)
        The labels in that order.
    cure : str
        What to do, for the message.
    are_sure : bool, default=True
        Whether softmax of them is the confidence, so that labels by chance are warned of, too.
    """
    largest = to_numpy(namespace(logits).argmax(logits, axis=1))
    right = largest == codes
    if right.mean() >= 0.5:
        return
    half = np.random.default_rng(0).random(len(codes)) < 0.5
    counts = np.zeros((logits.shape[1],) * 2)
    np.add.at(counts, (largest[half], codes[half]), 1)  # (logit, label)
    label = linear_sum_assignment(counts, maximize=True)[1]  # of each logit
    if (counts.sum(axis=1) == 0).any():
        label = np.where(counts.sum(axis=1) == 0, -1, label)  # never the largest: nothing is known
    right, better = right[~half], label[largest[~half]] == codes[~half]
    gain = better.sum() - right.sum()
    if better.sum() > 2 * right.sum() and gain > 4 * np.sqrt((better != right).sum()):
        known = to_numpy(classes).tolist()
        found = [None if k < 0 else known[k] for k in label]
        shown = f"{found[:SHOWN]}" + (" ..." if len(found) > SHOWN else "")
        shown += ", where None is not known" if None in found[:SHOWN] else ""
        warnings.warn(
            f"the largest logit is that of the label for {right.mean():.0%} of the samples, but "
            f"for {better.mean():.0%} if the logits belong to the labels {shown}: {cure}",
            UserWarning,
            stacklevel=2,
        )
    elif are_sure:
        warn_of_chance(logits, codes, "X and y")


def warn_of_chance(logits: Array, codes: np.ndarray, what: str) -> None:
    """Warn where the network is sure of its labels, and they are right no more often than chance.

    Chance is what the same labels would give in any other order of the samples. A network that is
    poor or was not trained is not sure; one whose samples and labels are out of step, or whose
    pixels are not those that it was trained on, is.

    Parameters
    ----------
    logits : array of shape (n, k)
        Logits in the order of the labels.
    codes : ndarray of shape (n,)
        Position of each sample's label in that order.
    what : str
        The names of the samples and of their labels, for the message.
    """
    values, n_classes = to_numpy(logits).astype(np.float64), logits.shape[1]
    largest, n = values.argmax(axis=1), len(codes)
    right = (largest == codes).mean()
    if n < FEWEST or right >= 0.5 or (codes == codes[0]).all():  # of one class any order is right
        return
    shares = [np.bincount(part, minlength=n_classes) / n for part in (largest, codes)]
    chance = float(shares[0] @ shares[1])
    sure = float(np.mean(np.exp(values.max(axis=1) - logsumexp(values, axis=1))))
    is_skilled = right > chance + 3 * math.sqrt(chance * (1 - chance) / n)
    if is_skilled or sure < (3 + chance) / 4:
        return
    warnings.warn(
        f"softmax is sure of its labels, {sure:.2f} on average, but only {right:.0%} of them are "
        f"right, as by chance ({chance:.0%}): check that {what} are in the same order, and that "
        "the samples are scaled and preprocessed as those that the network was trained on",
        UserWarning,
        stacklevel=2,
    )


def warn_of_single(columns: Array, codes: np.ndarray) -> None:
    """Warn if the last column alone seems to be the logit of two classes, not the last two.

    It has to make half as many mistakes, by four standard deviations of the difference.

    Parameters
    ----------
    columns : array of shape (n, 2)
        The last two columns, as they are given.
    codes : ndarray of shape (n,)
        Position of each sample's label in the order of the logits.
    """
    as_taken = to_numpy(columns)
    alone = as_taken[:, -1] > 0
    right, better = as_taken.argmax(axis=1) == codes, alone == codes
    gain = better.sum() - right.sum()
    if (~right).sum() > 2 * (~better).sum() and gain > 4 * np.sqrt((better != right).sum()):
        warnings.warn(
            f"the larger of the last two columns is the label's for {right.mean():.0%} of the "
            f"samples, but for {better.mean():.0%} the sign of the last one tells the label: set "
            "logits=1 if the network has a single logit",
            UserWarning,
            stacklevel=2,
        )


def warn_of_probabilities(outputs: Array) -> None:
    """Warn where all that a network gives lies in [0, 1], as after a softmax or sigmoid.

    Values that are 0 or 1 throughout are labels in another form: nobody's probabilities.

    Parameters
    ----------
    outputs : array of shape (n, k)
        What is taken for logits.
    """
    values = to_numpy(outputs)
    if values.min() < 0 or values.max() > 1 or np.isin(values, (0, 1)).all():
        return
    is_softmax = values.shape[1] > 1 and np.abs(values.sum(axis=1) - 1).max() < 1e-2
    after = "a softmax, with a sum of 1 per sample" if is_softmax else "independent sigmoids"
    warnings.warn(
        f"all logits lie in [0, 1], as the probabilities after {after}: a softmax of these is "
        "nearly flat. Extract a layer before that, such as layer='penultimate' of a network that "
        "ends in it, or pass their log-odds",
        UserWarning,
        stacklevel=2,
    )


def warn_of_activations(outputs: Array) -> None:
    """Warn where what is taken for logits looks like activations after a ReLU.

    Those are nowhere negative and often 0 to the last bit; logits hardly ever are.

    Parameters
    ----------
    outputs : array of shape (n, k)
        What is taken for logits.
    """
    values = to_numpy(outputs)
    share = (values == 0).mean()
    if values.min() < 0 or share < OFTEN or np.isin(values, (0, 1)).all():
        return
    warnings.warn(
        f"the last {values.shape[1]} columns, taken for logits, are nowhere negative, and "
        f"{share:.0%} of them are exactly 0, as activations after a ReLU: extract the network's "
        "output as the last layer, layer=['penultimate', 'output']",
        UserWarning,
        stacklevel=2,
    )


def warn_of_features(X: Array, codes: np.ndarray, classes: Array) -> None:
    """Warn of ``predict_from="features"`` where the features are logits in another order."""
    cure = "name the labels so that they sort into the order of the logits, or set "
    logits = two_of_single(X, classes.shape[0])
    if logits is not X:  # 0 is where a single logit changes its label
        warn_of_probabilities(X)
    warn_of_order(logits, codes, classes, cure + "predict_from='posterior'")


def tempered(logits: Array, temperature: float) -> tuple[Array, Array | float]:
    """Compute logits / T, (n, k), less what all share, (n, 1) or 0.0, where that is too large."""
    xp = namespace(logits)
    with np.errstate(over="ignore", invalid="ignore"):
        divided = logits / temperature
        if bool(xp.isfinite(xp.sum(divided))):
            return divided, 0.0
        largest = xp.max(logits, axis=1, keepdims=True)
        limit = xp.finfo(logits.dtype).max
        return (logits - largest) / temperature, xp.clip(largest / temperature, -limit, limit)


def fit_temperature(logits: np.ndarray, codes: np.ndarray) -> float:
    """Compute the T that minimises the mean of -log softmax(z / T)_y on held-out samples.

    Where the largest logit is always that of the label there is no minimum: the error would be 0.
    One more sample, as hard as the others and of any label, then stands for those that were not
    seen (the rule of succession).

    Parameters
    ----------
    logits : ndarray of shape (n, k), float64
        Logits of samples that the network was not trained on.
    codes : ndarray of shape (n,)
        The column of each one's label.

    Returns
    -------
    float
        T, within e⁷ of the standard deviation of the logits of a sample.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017, section 4.2.
    """
    logits = logits - logits.mean(axis=1, keepdims=True)
    scale = np.sqrt(np.mean(logits**2))
    if scale == 0:
        return 1.0
    logits /= scale
    of_label = logits[np.arange(len(codes)), codes]
    unseen = 1 / (len(codes) + 1) if (of_label == logits.max(axis=1)).all() else 0.0
    target = (1 - unseen) * of_label  # the mean logit of any label is 0

    def slope(log_temperature: float) -> float:
        return float(np.mean(_softmax(logits, target, log_temperature)[1]))

    ends = slope(-REACH), slope(REACH)
    if ends[0] * ends[1] > 0:  # worse than chance at any temperature, or all but equal logits
        return float(scale * np.exp(REACH if ends[0] > 0 else -REACH))
    return float(scale * np.exp(brentq(slope, -REACH, REACH, xtol=1e-7)))


def softmax_of_labels(
    logits: np.ndarray, codes: np.ndarray
) -> Callable[[float], tuple[np.ndarray, np.ndarray]]:
    """Return the function of log T that computes log softmax(z / T)_y, (n,), and its derivative."""
    logits = logits - logits.max(axis=1, keepdims=True)
    of_label = logits[np.arange(len(codes)), codes]

    @lru_cache(maxsize=1)  # the starts of a search differ in other parameters
    def at(log_temperature: float) -> tuple[np.ndarray, np.ndarray]:
        return _softmax(logits, of_label, log_temperature)

    return at


def _softmax(
    logits: np.ndarray, of_label: np.ndarray, log_temperature: float
) -> tuple[np.ndarray, np.ndarray]:
    """Compute log softmax of the label's logit, (n,), and its derivative in log T."""
    factor = np.exp(-log_temperature)
    tempered = logits * factor
    peak = tempered.max(axis=1)
    exponentials = np.exp(tempered - peak[:, None])
    total = exponentials.sum(axis=1)
    expected = np.einsum("nk,nk->n", exponentials, tempered) / total
    return of_label * factor - peak - np.log(total), expected - of_label * factor
