"""GaussianDensityClassifier: one Gaussian a class, and Bayes' rule."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import Array, as_like, to_numpy
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf._validation import (
    check_labels,
    check_matrix,
    check_present,
    check_weight,
    encode_labels,
)
from sklearn_densconf.density import _checks, _covariances, _moments
from sklearn_densconf.density._gaussian_scores import GaussianScores
from sklearn_densconf.density._moments import Moments


class GaussianDensityClassifier(GaussianScores):
    r"""Bayes' rule on one Gaussian a class: a confidence that falls off the training data.

    ``predict_proba`` is the paper's density confidence

    .. math:: p(y \mid z) = \frac{q(z \mid y) \, \pi_y}{\sum_k q(z \mid k) \, \pi_k}, \quad
        q(z \mid k) = \mathcal{N}(z; \mu_k, s \, \Sigma_k)^{1 / T},

    where z are the activations of a trained network. With ``background`` ε > 0, q is replaced by
    :math:`(1 - \varepsilon) \, q(z \mid k) + \varepsilon \, q_0(z)`, where :math:`q_0` is tempered
    in the same way and belongs to a Gaussian broader than every class in every direction: the
    posterior then falls to the priors far away, along any ray.

    Parameters
    ----------
    covariance_type : {"diag", "spherical", "tied_diag", "tied", "full"}, default="diag"
        Shape of Σ: a variance for each class and feature (the paper), one for each class, one for
        each feature, one full matrix for all classes, or one for each class (O(k d²) memory).
    temperature : "n_features" or float, default="n_features"
        Root T, above 0. The annulus correction: "n_features" takes the d-th root of the
        densities, so that they count per dimension. 1.0 is plain Bayes.
    covariance_scale : "n_features" or float, default=1.0
        Factor s of the covariances, above 0. The paper taken literally is ``temperature=1.0,
        covariance_scale="n_features"``; beyond ten or so dimensions the log-determinants alone
        then choose the class.
    shrinkage : None, "auto" or float in [0, 1], default=None
        For "tied" and "full": weight of the mean variance times identity. "auto" is Ledoit and
        Wolf's, which needs all samples at once: not for ``partial_fit`` or ``merge``.
    var_smoothing : float, default=1e-9
        Fraction of the largest variance of a feature that is added to all variances; at least 0.
    priors : None, "uniform" or array of shape (n_classes,), default=None
        Class priors π; None takes the (weighted) class frequencies, as the paper does.
    background : float, default=0.0
        Weight ε of the background, in [0, 1).
    predict_from : {"posterior", "features"}, default="posterior"
        Label rule: the largest posterior, or the largest activation, as the paper does; the
        latter needs one feature a class, in the order of ``classes_``.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted.
    class_count_ : array of shape (n_classes,)
        Sum of the weights of each class's samples.
    class_prior_ : array of shape (n_classes,)
        π.
    means_ : array of shape (n_classes, n_features)
        μ.
    covariances_ : array
        Σ, shrunk and smoothed: (n_classes, n_features), (n_classes,), (n_features,),
        (n_features, n_features) or (n_classes, n_features, n_features) for the types in the order
        above. Divided by the number of samples, not that less one.
    shrinkage_ : array of shape () or (n_classes,)
        The shrinkage used, for "tied" and "full" with ``shrinkage="auto"`` only.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, where X had them.

    References
    ----------
    A. Subramanya, S. Srinivas, R. V. Babu, "Confidence estimation in Deep Neural networks via
    density modelling", arXiv:1707.07013, sections 3.2 and 3.3. They scale the covariance by d in
    place of tempering; the two are the same posterior where all log-determinants are equal.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_densconf import GaussianDensityClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> density = GaussianDensityClassifier().fit(X, y)
    >>> density.predict_proba(X[[0, 70, 118]]).round(2)
    array([[1. , 0. , 0. ],
           [0. , 0.4, 0.6],
           [0. , 0. , 1. ]])
    """

    def __init__(
        self,
        covariance_type: str = "diag",
        *,
        temperature: str | float = "n_features",
        covariance_scale: str | float = 1.0,
        shrinkage: str | float | None = None,
        var_smoothing: float = 1e-9,
        priors: Any = None,
        background: float = 0.0,
        predict_from: str = "posterior",
    ) -> None:
        self.covariance_type = covariance_type
        self.temperature = temperature
        self.covariance_scale = covariance_scale
        self.shrinkage = shrinkage
        self.var_smoothing = var_smoothing
        self.priors = priors
        self.background = background
        self.predict_from = predict_from

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Fit one Gaussian to each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z of the training pictures.
        y : array of shape (n_samples,)
            Labels.
        sample_weight : array of shape (n_samples,), default=None
            Weights, at least 0.

        Returns
        -------
        GaussianDensityClassifier
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range; a value of X is not finite (the sample is named);
            a class has no weight; ``predict_from="features"`` and the numbers of features and
            classes differ; a covariance is singular.
        MemoryError
            If covariances of type "full" or "tied" would not fit into memory (bytes are named).
        """
        _checks.check_parameters(self)
        X = check_matrix(self, X, reset=True)
        y, classes = check_labels(y, X)
        weight = check_weight(sample_weight, X)
        self._forget()  # unfitted, should this fail
        self.classes_ = classes
        codes = encode_labels(y, self.classes_)
        moments = self._measure(X, codes, weight)
        check_present(self.classes_, moments.count)
        if self.shrinkage == "auto" and self.covariance_type in _covariances.MATRIX_TYPES:
            self.shrinkage_ = _covariances.ledoit_wolf(X, as_like(codes, X), weight, moments)
        self._moments, self._derived = moments, None
        self._gaussians(X)  # a singular covariance is found here, not in predict
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add samples; the same as ``fit`` on all samples so far together.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.
        y : array of shape (n_samples,)
            Labels.
        classes : array of shape (n_classes,), default=None
            All labels that will ever be seen; needed in the first call.
        sample_weight : array of shape (n_samples,), default=None
            Weights, at least 0.

        Returns
        -------
        GaussianDensityClassifier
            Itself.

        Raises
        ------
        ValueError
            As ``fit``; if ``classes`` is missing in the first call, or differs later; if a label
            is not among them; if ``shrinkage="auto"``.
        """
        first = not hasattr(self, "_moments")
        _checks.check_parameters(self)
        _checks.check_incremental(self, "partial_fit")
        self.classes_ = _checks.check_classes(self, classes, first)
        X = check_matrix(self, X, reset=first)
        codes = encode_labels(check_labels(y, X)[0], self.classes_)
        part = self._measure(X, codes, check_weight(sample_weight, X))
        self._moments = part if first else self._merged(part)
        self._derived = None
        return self

    def fit_batches(self, batches: Iterable[tuple], classes: Any) -> Self:
        """Fit from batches that come one by one, in constant memory.

        Parameters
        ----------
        batches : iterable of tuple
            ``(X, y)`` or ``(X, y, sample_weight)``, as ``partial_fit`` takes them.
        classes : array of shape (n_classes,)
            All labels.

        Returns
        -------
        GaussianDensityClassifier
            Itself, fitted to these batches alone.

        Raises
        ------
        ValueError
            As ``partial_fit``; if there is no batch.
        """
        self._forget()
        for X, y, *weight in batches:
            self.partial_fit(X, y, classes, *weight)
        if not hasattr(self, "_moments"):
            raise ValueError("batches is empty: give at least one (X, y)")
        return self

    def merge(self, other: "GaussianDensityClassifier") -> Self:
        """Add what another classifier was fitted to; the order does not matter.

        Parameters
        ----------
        other : GaussianDensityClassifier
            Fitted with the same classes, features and ``covariance_type``.

        Returns
        -------
        GaussianDensityClassifier
            Itself.

        Raises
        ------
        ValueError
            If classes, number of features or ``covariance_type`` differ, or
            ``shrinkage="auto"``.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        _checks.check_incremental(self, "merge")
        _checks.check_mergeable(self, other)
        self._moments, self._derived = self._merged(other._moments), None
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_moments")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Give the state as numpy arrays: what was fitted on a GPU loads where there is none."""
        state = dict(super().__getstate__())
        if "_moments" in state:
            state["_moments"] = _moments.as_numpy(self._moments)
            state["_derived"] = None  # made again when it is used
        arrays = {"classes_", "shrinkage_"} & set(state)
        return state | {name: to_numpy(state[name]) for name in arrays}

    def _forget(self) -> None:
        if hasattr(self, "_moments"):
            del self._moments

    def _measure(self, X: Array, codes: np.ndarray, weight: Array) -> Moments:
        _checks.check_shapes(self, X.shape[1])
        kind = _moments.KIND[self.covariance_type]
        # Of matrices: a diagonal scatter takes no product of them.
        n_multiplications = 0 if kind == "diag" else X.shape[0] * X.shape[1] ** 2
        few = one_thread_if_few(n_multiplications)
        with few, np.errstate(over="ignore", invalid="ignore"):  # said by check_measured
            moments = _moments.measure(X, codes, weight, self._n_classes, kind)
        _checks.check_measured(moments, X)
        return moments

    def _merged(self, part: Moments) -> Moments:
        _checks.check_kind(self._moments, self.covariance_type)
        return _moments.merge(self._moments, _moments.like(part, self._moments.count))
