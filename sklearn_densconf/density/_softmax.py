"""SoftmaxClassifier: the confidence that the density confidence is compared with."""

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from sklearn_densconf._array import Array, float64, to_numpy
from sklearn_densconf._callbacks import as_one_task
from sklearn_densconf._validation import (
    check_features,
    check_held_out,
    check_labels,
    check_number,
    encode_labels,
)
from sklearn_densconf.density._logits import (
    fit_temperature,
    in_order,
    order_of_logits,
    tempered,
    warn_of_chance,
    warn_of_order,
    warn_of_probabilities,
)
from sklearn_densconf.density._posterior import PosteriorMixin


class SoftmaxClassifier(PosteriorMixin):
    r"""Softmax over the logits of a network: the usual confidence.

    .. math:: p(y \mid z) = \exp(z_y / T) / \sum_k \exp(z_k / T)

    Parameters
    ----------
    classes : array-like of shape (n_classes,), default=None
        The label of each logit, in the order of the logits. None: they are in the order of the
        sorted labels of y. Of a network with a single logit z for two classes these are [0, z]:
        the first label is that of negative logits, and p of the second is the sigmoid.
    temperature : float or "nll", default=1.0
        T, above 0. "nll" takes the one of the smallest mean negative log-likelihood on pictures
        that the network was not trained on, ``X_val`` and ``y_val`` of `fit`.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted: the columns of ``predict_proba``.
    temperature_ : float
        T.
    n_features_in_ : int
        Number of logits: that of the classes, or 1 for two classes.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On Calibration of Modern Neural Networks",
    ICML 2017, section 4.2 (the temperature).

    Examples
    --------
    >>> from sklearn_densconf import SoftmaxClassifier
    >>> SoftmaxClassifier().fit([[4.0, 0.0], [0.0, 4.0]], [0, 1]).predict_proba([[1.0, 1.0]])
    array([[0.5, 0.5]])

    The logits of a network that counts "two" first:

    >>> softmax = SoftmaxClassifier(classes=["two", "one"])
    >>> softmax.fit([[4.0, 0.0], [0.0, 4.0]], ["two", "one"]).predict([[3.0, 1.0]]).tolist()
    ['two']
    """

    predict_from = "posterior"  # the largest posterior is the largest logit
    __metadata_request__fit = {"X_val": True, "y_val": True}  # a Pipeline passes them on

    def __init__(self, *, classes: Any = None, temperature: float | str = 1.0) -> None:
        self.classes = classes
        self.temperature = temperature

    @as_one_task
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,  # noqa: ARG002 - as all
        X_val: Any = None,
        y_val: Any = None,
    ) -> Self:
        """Learn which labels there are, and the temperature if it is "nll".

        Parameters
        ----------
        X : array of shape (n_samples, n_classes) or (n_samples, 1)
            Logits, in the order of ``classes``, else of the sorted labels; or a single one for two
            classes.
        y : array of shape (n_samples,)
            Labels; without ``classes``, every class must be among them.
        sample_weight : array of shape (n_samples,), default=None
            Ignored: there is nothing to weigh. Here for a common interface.
        X_val : array of shape (n_held_out, n_classes), default=None
            Logits of pictures that the network was not trained on, for ``temperature="nll"``.
        y_val : array of shape (n_held_out,), default=None
            Their labels.

        Returns
        -------
        SoftmaxClassifier
            Itself.

        Raises
        ------
        ValueError
            If the number of features is not that of the classes, ``classes`` are not one label per
            logit, a parameter is out of its range, or "nll" has no ``X_val`` and ``y_val``.

        Warns
        -----
        UserWarning
            If another order of the logits explains the labels of y far better, or if the network is
            sure but right by chance only.
        """
        self._check_temperature(X_val, y_val)
        X = check_features(self, X, reset=True)
        y, labels = check_labels(y, X)
        self.classes_, self._order = order_of_logits(self.classes, labels, X.shape[1], "softmax")
        warn_of_probabilities(X)
        cure = "pass classes=, the label of every logit in order, those without samples included"
        warn_of_order(
            in_order(X, self._order), encode_labels(y, self.classes_), self.classes_, cure
        )
        self.temperature_ = self._fit_temperature(X_val, y_val)
        return self

    def _head(self, _X: Array) -> "_Logits":
        return _Logits(self._order, self.temperature_)

    def _fit_temperature(self, X_val: Any, y_val: Any) -> float:
        if self.temperature != "nll":
            return float(self.temperature)
        X_val = check_held_out(self, X_val)
        codes = encode_labels(check_labels(y_val, X_val)[0], self.classes_)
        logits = in_order(to_numpy(float64(X_val)), self._order)
        warn_of_chance(logits, codes, "X_val and y_val")
        return fit_temperature(logits, codes)

    def _check_temperature(self, X_val: Any, y_val: Any) -> None:
        if self.temperature != "nll":
            wanted = "'nll' or a finite float above 0"
            check_number("temperature", self.temperature, lambda t: 0 < t < math.inf, wanted)
        elif X_val is None or y_val is None:
            raise ValueError(
                "temperature='nll' needs X_val and y_val, got None: pass pictures that the network "
                "was not trained on, since it is too sure of those that it was"
            )

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        return state | {name: to_numpy(state[name]) for name in {"classes_"} & set(state)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        before = {"classes": None, "temperature": 1.0}  # written when there were no parameters
        if "classes_" in state:
            before |= {"temperature_": 1.0, "_order": None}
        super().__setstate__({**before, **state})


@dataclass(frozen=True)
class _Logits:
    """The head of softmax: logits, over the temperature, are joint log-probabilities."""

    order: np.ndarray | None
    temperature: float
    n_multiplications = 0.0

    def joint(self, X: Array, _out: Array) -> tuple[Array, Array | float]:
        logits = in_order(X, self.order)
        return (logits, 0.0) if self.temperature == 1 else tempered(logits, self.temperature)
