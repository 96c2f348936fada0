"""OpenSetClassifier: a confidence to act on."""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from sklearn_densconf._array import Array, to_numpy
from sklearn_densconf._callbacks import as_one_task
from sklearn_densconf._validation import (
    check_classes,
    check_features,
    check_held_out,
    check_labels,
    check_present,
    check_priors,
    check_weight,
    encode_labels,
    warn_of_trained,
)
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.density import _moments as moments_of
from sklearn_densconf.density._logits import order_of_logits
from sklearn_densconf.density._moments import Moments
from sklearn_densconf.openset._calibration import (
    OF_TRAINED,
    by_budget,
    by_likelihood,
    left_out_scores,
)
from sklearn_densconf.openset._checks import (
    check_parameters,
    check_same_kind,
    check_transformed,
    codes_of_held_out,
    count_features,
    warn_of_logits,
)
from sklearn_densconf.openset._familiarity import measure
from sklearn_densconf.openset._fitted import FittedMixin
from sklearn_densconf.openset._network_posterior import fitted_posterior

BUDGET = 0.003  # of mean confidence, where none is given


class OpenSetClassifier(FittedMixin):
    r"""The network's posterior, discounted where a density says "unfamiliar".

    .. math:: p(y \mid x) = \rho(u) \, \mathrm{softmax}(z / T)_y + (1 - \rho(u)) \, \pi_y

    where z are the logits, u the features before the last linear layer, and ρ the probability that
    the picture is of the known world: what is not of it tells nothing of the label, so that the
    priors π are left. ρ is a product of two factors σ((s - a) / w), whose scores s come from
    features of length 1: minus half the squared Mahalanobis distance to the nearest class, under
    one covariance of all classes with Ledoit and Wolf's shrinkage, and that relative to a
    background, one Gaussian of all classes together. The label is always the network's.

    T, a and w are chosen on pictures that the network was not trained on, ``X_val``. Without such
    pictures T is 1, and the training pictures, each scored as if it had not been among them, cost
    a third of a budget: what is familiar from training costs less than what is new. That follows
    distortions, but is not calibrated: hold out some hundreds of pictures.

    Parameters
    ----------
    posterior : classifier, default=None
        What gives the posterior in place of softmax: a fitted classifier of this package or of
        scikit-learn, that takes the logits, the features, or all columns of X; where features and
        logits are equally many only all, unless it is a `SoftmaxClassifier`. One that is not fitted
        is cloned and fitted to the logits. T is 1 then.
    density : GaussianDensityClassifier, default=None
        Shrinkage and smoothing of the two Gaussians, of ``covariance_type="tied"``. None takes
        ``GaussianDensityClassifier("tied", shrinkage="auto")``.
    discount : "likelihood" or float, default="likelihood"
        "likelihood" takes the T, a and w of the largest likelihood of the held-out labels, with a
        prior that draws each a towards the known pictures. A float in (0, 1) is a budget δ: the
        discount that costs this much mean confidence on held-out pictures, as the mean of 1 - ρ;
        T is 1 then, and w the mean width of the lower tail of s.
    logits : int, default=None
        How many of the last columns of X are logits; None stands for the number of classes. 1 is
        right for a network with a single logit for two classes: positive for the second.
    classes : array-like of shape (n_logits,), default=None
        The label of each logit, in the order of the logits. None: they are in the order of the
        sorted labels of y.
    priors : "uniform", None or array of shape (n_classes,), default="uniform"
        Priors π, in the order of the sorted labels; None takes the (weighted) class frequencies.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted: the columns of ``predict_proba``.
    density_ : GaussianDensityClassifier
        The Gaussians of the classes, on features of length 1.
    background_ : GaussianDensityClassifier
        The one Gaussian of all classes together.
    location_, scale_ : ndarray of shape (2,)
        a and w of the two factors, nearest and relative, in nats.
    temperature_ : float
        T.
    posterior_ : classifier or None
        What gives the posterior; None stands for softmax.
    n_features_in_ : int
        Number of columns of X, features and logits.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where X had them.

    See Also
    --------
    SoftmaxClassifier : The posterior without a discount.
    GaussianDensityClassifier : The paper's posterior, from densities alone.

    References
    ----------
    M. Müller, M. Hein, "Mahalanobis++: Improving OOD Detection via Feature Normalization",
    arXiv:2505.18032. J. Ren et al., "A Simple Fix to Mahalanobis Distance for Improving Near-OOD
    Detection", arXiv:2106.09022.

    Examples
    --------
    Features and logits of a network, here of one that needs no training:

    >>> import numpy as np
    >>> from sklearn_densconf import OpenSetClassifier
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(600) % 3
    >>> u = rng.normal(size=(600, 8)) + 6 * np.eye(3, 8)[y]
    >>> X = np.hstack([u, u[:, :3]])  # its logits are the first three features
    >>> model = OpenSetClassifier().fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    >>> strange = np.full(11, -4.0)
    >>> strange[8:] = [9.0, 0.0, 0.0]  # softmax would be sure
    >>> model.predict_proba([X[0], strange]).round(2)
    array([[1.  , 0.  , 0.  ],
           [0.33, 0.33, 0.33]])
    >>> model.known_proba([X[0], strange]).round(2)
    array([1., 0.])
    """

    predict_from = "features"  # the label is that of the largest logit, whatever is most probable
    __metadata_request__fit = {"X_val": True, "y_val": True}  # a Pipeline passes them on

    def __init__(
        self,
        *,
        posterior: Any = None,
        density: GaussianDensityClassifier | None = None,
        discount: str | float = "likelihood",
        logits: int | None = None,
        classes: Any = None,
        priors: Any = "uniform",
    ) -> None:
        self.posterior = posterior
        self.density = density
        self.discount = discount
        self.logits = logits
        self.classes = classes
        self.priors = priors

    @as_one_task
    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_val: Any = None, y_val: Any = None
    ) -> Self:
        """Fit the Gaussians to training pictures, and the discount to held-out ones.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features u and, last, logits z of the training pictures.
        y : array of shape (n_samples,)
            Labels.
        sample_weight : array of shape (n_samples,), default=None
            Weights of the training pictures, at least 0.
        X_val : array of shape (n_held_out, n_features), default=None
            The same of pictures that the network was not trained on: clean ones, or also distorted
            as they are expected to be.
        y_val : array of shape (n_held_out,), default=None
            Their labels; a budget needs none.

        Returns
        -------
        OpenSetClassifier
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range; a value of X is not finite (the sample is named);
            no column is left for features; ``classes`` are not one label per logit; a class has no
            weight; ``y_val`` is missing, or comes without ``X_val``.

        Warns
        -----
        UserWarning
            If the logits are in another order or right by chance only, or X_val is part of X.
        """
        self._check_parameters()
        X = check_features(self, X, reset=True)
        y, labels = check_labels(y, X)
        weight = check_weight(sample_weight, X)
        self._forget()  # unfitted, should this fail
        self._name_logits(labels, X)
        codes = encode_labels(y, self.classes_)
        if X_val is not None:
            check_transformed(X_val, X)
        elif y_val is not None:
            raise ValueError("y_val needs X_val, got None: pass the pictures with these labels")
        self._warn_of_logits(X, codes)
        self._moments = measure(X[:, : self._width], codes, weight, len(self.classes_))
        check_present(labels, to_numpy(self._moments.count)[np.unique(codes)])
        if self.posterior is not None:
            held_out = None
            if X_val is not None:
                held_out = self._logits(check_held_out(self, X_val)), y_val
            self.posterior_ = fitted_posterior(
                self.posterior, self._logits(X), y, sample_weight, held_out
            )
            self._fitted_here = self.posterior_ is not self.posterior
        if X_val is not None:
            warn_of_trained(check_held_out(self, X_val), X)
            return self.calibrate(X_val, y_val)
        self._check_posterior()
        self._derive(X)
        self._calibrate_on_trained(X, codes, weight)
        return self

    def calibrate(self, X_val: Any, y_val: Any = None) -> Self:
        """Fit the discount to held-out pictures, and leave the moments as they are.

        Parameters
        ----------
        X_val : array of shape (n_held_out, n_features)
            Features and logits of pictures that the network was not trained on.
        y_val : array of shape (n_held_out,), default=None
            Their labels; a budget needs none.

        Returns
        -------
        OpenSetClassifier
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of its range, or ``y_val`` is missing.
        sklearn.exceptions.NotFittedError
            If nothing was measured yet.
        """
        self._check_parameters()
        self._check_measured("calibrate")
        X_val = self._checked_place(check_held_out(self, X_val), "calibrate")
        codes = codes_of_held_out(self.discount, X_val, y_val, self.classes_)
        self._derive(X_val)
        self._check_posterior()
        scores, self.temperature_ = self._scores(X_val), 1.0
        if codes is None:
            self.location_, self.scale_ = by_budget(scores, float(self.discount))
            return self
        log_proba, start = self._log_proba(X_val, codes)
        found = by_likelihood(scores, log_proba, self._log_prior()[codes], start)
        self.temperature_, self.location_, self.scale_ = found
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """Add training pictures to the Gaussians; `calibrate` afterwards, before any prediction.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.
        y : array of shape (n_samples,)
            Labels.
        classes : array of shape (n_classes,), default=None
            All labels that will ever be seen, in any order; needed in the first call, unless the
            parameter ``classes`` names them.
        sample_weight : array of shape (n_samples,), default=None
            Weights, at least 0.

        Returns
        -------
        OpenSetClassifier
            Itself.

        Raises
        ------
        ValueError
            As ``fit``; if ``classes`` is missing in the first call, or differs later; if a label
            is not among them.
        """
        first = not hasattr(self, "_moments")
        self._check_parameters()
        X = check_features(self, X, reset=first)
        if first:
            self._name_logits(check_classes(self.classes if classes is None else classes, None), X)
        else:
            check_classes(classes, self.classes_)
            self._checked_place(X, "partial_fit")
        codes = encode_labels(check_labels(y, X)[0], self.classes_)
        if first:
            self._warn_of_logits(X, codes)
        weight = check_weight(sample_weight, X)
        part = measure(X[:, : self._width], codes, weight, len(self.classes_))
        return self._with_moments(part if first else moments_of.merge(self._moments, part))

    def merge(self, other: "OpenSetClassifier") -> Self:
        """Add what another classifier was fitted to; `calibrate` afterwards.

        Parameters
        ----------
        other : OpenSetClassifier
            Fitted, wholly or by parts, to the same columns with the same classes.

        Returns
        -------
        OpenSetClassifier
            Itself.

        Raises
        ------
        ValueError
            If classes or columns differ.
        sklearn.exceptions.NotFittedError
            If nothing was measured yet.
        """
        for part in (self, other):
            part._check_measured("merge")
        check_same_kind(self, other)
        added = moments_of.like(other._moments, self._moments.count)
        return self._with_moments(moments_of.merge(self._moments, added))

    def fit_batches(
        self, batches: Iterable[tuple], classes: Any = None, *, X_val: Any, y_val: Any = None
    ) -> Self:
        """Fit from batches that come one by one, in constant memory, and calibrate.

        Parameters
        ----------
        batches : iterable of tuple
            ``(X, y)`` or ``(X, y, sample_weight)``, as ``partial_fit`` takes them.
        classes : array of shape (n_classes,), default=None
            All labels; needed unless the parameter ``classes`` names them.
        X_val : array of shape (n_held_out, n_features)
            Features and logits of pictures that the network was not trained on.
        y_val : array of shape (n_held_out,), default=None
            Their labels; a budget needs none.

        Returns
        -------
        OpenSetClassifier
            Itself, fitted to these batches alone.

        Raises
        ------
        ValueError
            As ``partial_fit`` and ``calibrate``; if there is no batch.
        """
        self._forget()
        for X, y, *weight in batches:
            self.partial_fit(X, y, classes, *weight)
        if not hasattr(self, "_moments"):
            raise ValueError("batches is empty: give at least one (X, y)")
        return self.calibrate(X_val, y_val)

    def _check_parameters(self) -> None:
        check_parameters(self.discount, self.logits, self._template())

    def _warn_of_logits(self, X: Array, codes: np.ndarray) -> None:
        warn_of_logits(
            X[:, self._width :],
            self._order,
            codes,
            self.classes_,
            make_posterior=self.posterior is None,
            are_counted=self.logits is not None,
        )

    def _name_logits(self, labels: Array, X: Array) -> None:
        """Learn which columns are features, and which label each logit has."""
        given = labels if self.classes is None else np.asarray(to_numpy(self.classes))
        n_logits = len(given) if self.logits is None else int(self.logits)
        self._width = count_features(X.shape[1], n_logits)
        asked = self.classes, labels, n_logits, type(self).__name__
        self.classes_, self._order = order_of_logits(*asked)
        check_priors(self.priors, len(self.classes_))

    def _with_moments(self, moments: Moments) -> Self:
        self._forget()
        self._moments = moments
        return self

    def _forget(self) -> None:
        gaussians = "_moments", "density_", "background_", "_evaluated", "posterior_"
        for learned in (*gaussians, "_fitted_here", "location_", "scale_", "temperature_"):
            self.__dict__.pop(learned, None)

    def _calibrate_on_trained(self, X: Array, codes: np.ndarray, weight: Array) -> None:
        # among the classes that have samples
        codes = (np.cumsum(to_numpy(self._moments.count) > 0) - 1)[codes]
        densities = self.density_, self.background_
        scores, weights = left_out_scores(X[:, : self._width], codes, weight, *densities)
        budget = BUDGET if self.discount == "likelihood" else float(self.discount)
        self.location_, self.scale_ = by_budget(scores, OF_TRAINED * budget, weights)
        self.temperature_ = 1.0
