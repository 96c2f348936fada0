"""OpenSetClassifier: a confidence to act on."""

from collections.abc import Iterable
from copy import copy
from typing import Any, Self

import numpy as np
from sklearn.exceptions import NotFittedError
from sklearn.utils import Bunch, Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import Array, as_like, float64, map_rows, namespace, pick, to_numpy
from sklearn_densconf._callbacks import as_one_task
from sklearn_densconf._validation import (
    check_classes,
    check_features,
    check_labels,
    check_number,
    check_present,
    check_priors,
    check_same_namespace,
    check_weight,
    encode_labels,
)
from sklearn_densconf.density import GaussianDensityClassifier
from sklearn_densconf.density import _moments as moments_of
from sklearn_densconf.density._logits import (
    fit_temperature,
    in_order,
    order_of_logits,
    softmax_of_labels,
    warn_of_activations,
    warn_of_order,
    warn_of_probabilities,
    warn_of_single,
)
from sklearn_densconf.density._moments import Moments
from sklearn_densconf.density._posterior import PosteriorMixin
from sklearn_densconf.openset._calibration import (
    OF_TRAINED,
    by_budget,
    by_likelihood,
    check_transformed,
    left_out_scores,
)
from sklearn_densconf.openset._discount import LogProba
from sklearn_densconf.openset._explanation import explain
from sklearn_densconf.openset._familiarity import Familiarity, gaussians, measure, unit
from sklearn_densconf.openset._head import OpenSetHead
from sklearn_densconf.openset._network_posterior import (
    Given,
    Softmax,
    check_same_classes,
    columns_of,
    fitted_posterior,
)

BUDGET = 0.003  # of mean confidence, where none is given


class OpenSetClassifier(PosteriorMixin):
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
        scikit-learn, that takes the logits, the features, or all columns of X. One that is not
        fitted is cloned and fitted to the logits. T is 1 then.
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

    _moments: Moments
    _fitted_here = False  # whether posterior_ was fitted to the logits by `fit`

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
            If another order of the logits explains the labels of y far better.
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
                held_out = self._logits(check_features(self, X_val, reset=False)), y_val
            self.posterior_ = fitted_posterior(
                self.posterior, self._logits(X), y, sample_weight, held_out
            )
            self._fitted_here = self.posterior_ is not self.posterior
        if X_val is not None:
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
        X_val = self._checked_place(check_features(self, X_val, reset=False), "calibrate")
        codes = self._codes_of_held_out(X_val, y_val)
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
        mine, theirs = (
            (
                to_numpy(part.classes_).tolist(),
                part.n_features_in_,
                np.asarray(getattr(part, "feature_names_in_", [])).tolist(),
            )
            for part in (self, other)
        )
        if mine != theirs:
            raise ValueError(
                f"only parts with the same classes and columns can be merged, got {mine} and "
                f"{theirs}: fit each with partial_fit(classes=...), on the same columns in the "
                "same order"
            )
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

    def confidence(self, X: Any, y: Any = None, *, log_odds: bool = False) -> Array:
        """Compute the posterior of one label per picture, or its log-odds.

        Rank by log-odds: they differ where posteriors round to 1, and where they round to the
        priors, since a ρ below 1e-9 is kept from vanishing beside them.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.
        y : array of shape (n_samples,), default=None
            The labels in question; None stands for the network's.
        log_odds : bool, default=False
            Whether to compute log p - log(1 - p) instead of p.

        Returns
        -------
        array of shape (n_samples,)
            Posterior p of the label, in [0, 1]; with ``log_odds``, in [-inf, inf], in nats, and
            float64 for float32 input too, which could not resolve it.

        Raises
        ------
        ValueError
            If ``y`` has a label that is not in ``classes_``, or another number of samples.
        """
        X = self._checked(X, "confidence")
        return super().confidence(float64(X) if log_odds else X, y, log_odds=log_odds)

    def known_proba(self, X: Any) -> Array:
        """Compute ρ, the probability that a picture is of the known world.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.

        Returns
        -------
        array of shape (n_samples,)
            Probability ρ, in [0, 1].
        """
        X = self._checked(X, "known_proba")
        head = self._head(X)
        return self._mapped(head.known, head, X)

    def score_samples(self, X: Any) -> Array:
        """Compute the log-odds of ρ: how familiar a picture is; low for what is unlike anything.

        It ranks as `known_proba` does, and keeps ranking where that rounds to 0 or 1.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.

        Returns
        -------
        array of shape (n_samples,)
            Log-odds, log ρ - log(1 - ρ), in nats.
        """
        X = self._checked(X, "score_samples")
        head = self._head(X)
        return self._mapped(head.log_odds, head, X)

    def explain(self, X: Any) -> Bunch:
        """Take the log-odds of ρ apart: which factor and which features lower it.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Features and logits.

        Returns
        -------
        Bunch
            Arrays of numpy, in nats. ``log_odds`` (n_samples,) is `score_samples`: the sum of
            ``factors`` (n_samples, 2), the log-odds of each factor, and of ``both`` (n_samples,),
            at most 0, since both factors have to hold. A factor is its ``offset`` (2,) and the sum
            of its ``features`` (n_samples, 2, n_columns), where a quadratic form vᵀ Σ⁻¹ v has the
            parts v_j (Σ⁻¹ v)_j. ``names`` are "nearest" and "relative"; ``nearest`` (n_samples,)
            is the label of the nearest class.
        """
        X = to_numpy(float64(self._checked(X, "explain")))
        directions = unit(X[:, : self._width].copy())
        densities = copy(self.density_), copy(self.background_)  # copies are numpy's
        return explain(directions, *densities, self.location_, self.scale_)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "location_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as numpy arrays: what was fitted on a GPU loads where there is none."""
        state = dict(super().__getstate__())
        if "_moments" in state:
            state["_moments"] = moments_of.as_numpy(self._moments)
        return state | {name: to_numpy(state[name]) for name in {"classes_"} & set(state)}

    def _checked(self, X: Any, method: str) -> Array:
        if hasattr(self, "_moments") and not hasattr(self, "location_"):
            raise NotFittedError(
                f"{method} needs a discount, and parts were added after the last one was fitted: "
                "call calibrate(X_val, y_val) first"
            )
        check_is_fitted(self)
        return self._checked_place(check_features(self, X, reset=False), method)

    def _checked_place(self, X: Array, method: str) -> Array:
        check_same_namespace(X, self._moments.mean, f"{type(self).__name__}.{method}()")
        return X

    def _check_measured(self, method: str) -> None:
        if not hasattr(self, "_moments"):
            raise NotFittedError(
                f"{method} needs Gaussians, but this {type(self).__name__} has seen no pictures: "
                "call fit or partial_fit first"
            )

    def _check_parameters(self) -> None:
        if self.discount != "likelihood":
            wanted = "'likelihood' or a float in (0, 1)"
            check_number("discount", self.discount, lambda d: 0 < d < 1, wanted)
        if self.logits is not None:
            wanted = "None or a whole number of at least 1"
            check_number("logits", self.logits, lambda n: n >= 1 and n == int(n), wanted)
        density = self._template()
        tied = isinstance(density, GaussianDensityClassifier) and density.covariance_type == "tied"
        if not tied or density.blocks is not None:
            raise ValueError(
                "density must be None or a GaussianDensityClassifier('tied') without blocks, got "
                f"{density!r}: one covariance serves all classes"
            )
        density._check_parameters()

    def _template(self) -> GaussianDensityClassifier:
        default = GaussianDensityClassifier("tied", shrinkage="auto")
        return default if self.density is None else self.density

    def _check_posterior(self) -> None:
        """Check that the posterior, if one is given, is fitted and fits."""
        if self.posterior is None:
            self.posterior_ = None
            return
        if not hasattr(self, "posterior_"):  # after partial_fit, which sees no logits twice
            check_is_fitted(self.posterior)
            self.posterior_ = self.posterior
        self._given_posterior()

    def _warn_of_logits(self, X: Array, codes: np.ndarray) -> None:
        """Warn of logits in another order, of a single one, and of what are no logits."""
        cure = "pass classes=, the label of each logit in their order"
        warn_of_order(self._logits(X), codes, self.classes_, cure)
        if self.posterior is None:
            warn_of_probabilities(X[:, self._width :])
            warn_of_activations(X[:, self._width :])
        if self.logits is None and len(self.classes_) == 2:
            given = codes if self._order is None else self._order[codes]
            warn_of_single(X[:, self._width :], given)

    def _name_logits(self, labels: Array, X: Array) -> None:
        """Learn which columns are features, and which label each logit has."""
        given = labels if self.classes is None else np.asarray(to_numpy(self.classes))
        n_logits = len(given) if self.logits is None else int(self.logits)
        if X.shape[1] <= n_logits:
            raise ValueError(
                f"X has {X.shape[1]} columns, and the last {n_logits} are logits: none is left for "
                "the density. Take FeatureExtractor(network, layer=['penultimate', 'output'])"
            )
        self._width = X.shape[1] - n_logits
        self.classes_, self._order = order_of_logits(
            self.classes, labels, n_logits, type(self).__name__
        )
        check_priors(self.priors, len(self.classes_))

    def _with_moments(self, moments: Moments) -> Self:
        self._forget()
        self._moments = moments
        return self

    def _forget(self) -> None:
        gaussians = "_moments", "density_", "background_", "posterior_", "_fitted_here"
        for learned in (*gaussians, "location_", "scale_", "temperature_"):
            self.__dict__.pop(learned, None)

    def _derive(self, X: Array) -> None:
        """Derive the Gaussians, where X is."""
        moments = moments_of.like(self._moments, X)
        self.density_, self.background_ = gaussians(moments, self.classes_, self._template())

    def _familiarity(self, X: Array) -> Familiarity:
        return Familiarity(self.density_._head(X), self.background_._head(X))

    def _scores(self, X: Array) -> np.ndarray:
        """Compute the two scores, (n, 2)."""
        scores, n_classes = self._familiarity(X).scores, len(self.density_.classes_)
        return to_numpy(float64(map_rows(scores, n_classes, X[:, : self._width])))

    def _calibrate_on_trained(self, X: Array, codes: np.ndarray, weight: Array) -> None:
        # among the classes that have samples
        codes = (np.cumsum(to_numpy(self._moments.count) > 0) - 1)[codes]
        densities = self.density_, self.background_
        scores, weights = left_out_scores(X[:, : self._width], codes, weight, *densities)
        budget = BUDGET if self.discount == "likelihood" else float(self.discount)
        self.location_, self.scale_ = by_budget(scores, OF_TRAINED * budget, weights)
        self.temperature_ = 1.0

    def _codes_of_held_out(self, X_val: Array, y_val: Any) -> np.ndarray | None:
        """Return the codes of the labels, or None where a budget needs none."""
        if self.discount != "likelihood":
            return None
        if y_val is None:
            raise ValueError(
                "discount='likelihood' needs y_val, got None: pass the labels of X_val, or set "
                "discount to a budget such as 0.003"
            )
        return encode_labels(check_labels(y_val, X_val)[0], self.classes_)

    def _log_proba(self, X: Array, codes: np.ndarray) -> tuple[LogProba, float]:
        """Return log q of labels as a function of log T, and the T of q alone."""
        if self.posterior_ is None:
            logits = to_numpy(float64(self._logits(X)))
            return softmax_of_labels(logits, codes), fit_temperature(logits, codes)
        posterior = self._log_posterior()

        def of_labels(chunk: Array, _out: Array, codes: Array) -> Array:
            return pick(posterior(chunk), codes)

        log_proba = to_numpy(float64(map_rows(of_labels, 0, X, as_like(codes, X))))
        return lambda _: (log_proba, 0.0), 1.0

    def _log_posterior(self) -> Softmax | Given:
        if self.posterior_ is None:
            return Softmax(self._width, self._order, self.temperature_)
        return self._given_posterior()

    def _given_posterior(self) -> Given:
        """Return what evaluates a classifier; one that was fitted here takes sorted logits."""
        check_same_classes(self.posterior_, self.classes_)
        if self._fitted_here:
            return Given(self.posterior_, slice(self._width, None), self._order)
        n_logits = self.n_features_in_ - self._width
        return Given(self.posterior_, columns_of(self.posterior_, self._width, n_logits))

    def _log_prior(self) -> np.ndarray:
        count = to_numpy(self._moments.count)
        given = check_priors(self.priors, len(self.classes_))
        with np.errstate(divide="ignore"):  # log 0 is meant: a class that is not expected
            return np.log(count / count.sum() if given is None else given)

    def _logits(self, X: Array) -> Array:
        return in_order(X[:, self._width :], self._order)

    def _head(self, X: Array) -> OpenSetHead:
        familiarity = self._familiarity(X)
        heads = familiarity.classes, familiarity.background
        return OpenSetHead(
            width=self._width,
            log_posterior=self._log_posterior(),
            familiarity=familiarity,
            location=as_like(self.location_, X),
            scale=as_like(self.scale_, X),
            log_prior=as_like(self._log_prior(), X),
            n_multiplications=sum(head.n_multiplications for head in heads),
        )

    def _predicted_codes(self, X: Array) -> Array:
        return namespace(X).argmax(self._logits(X), axis=1)
