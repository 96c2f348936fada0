"""GaussianDensityClassifier: one Gaussian a class, and Bayes' rule."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.special import chdtrc
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from sklearn_densconf._array import Array, as_like, device_of, namespace, pick, to_numpy
from sklearn_densconf._callbacks import as_one_task
from sklearn_densconf._machine import one_thread_if_few
from sklearn_densconf._validation import (
    LABEL_RULES,
    check_blocks,
    check_classes,
    check_features,
    check_label_rule,
    check_labels,
    check_matrix,
    check_number,
    check_option,
    check_present,
    check_priors,
    check_same_namespace,
    check_scale,
    check_weight,
    encode_labels,
)
from sklearn_densconf.density import _blocks, _moments
from sklearn_densconf.density._covariance_types import COVARIANCE_TYPES, check_memory
from sklearn_densconf.density._head import Block, Head
from sklearn_densconf.density._logits import warn_of_features
from sklearn_densconf.density._moments import Moments
from sklearn_densconf.density._posterior import PosteriorMixin


@dataclass(frozen=True)
class _Derived:
    """What was made of the moments, and of which ones with which parameters."""

    moments: tuple[Moments, ...]
    parameters: tuple[tuple, tuple]
    gaussians: _blocks.Prepared
    head: Head


class GaussianDensityClassifier(PosteriorMixin):
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
        Root T, from 1e-9 to 1e9. The annulus correction: "n_features" takes the d-th root of the
        densities, so that they count per dimension. 1.0 is plain Bayes.
    covariance_scale : "n_features" or float, default=1.0
        Factor s of the covariances, from 1e-9 to 1e9. The paper taken literally is
        ``temperature=1.0, covariance_scale="n_features"``; beyond ten or so dimensions the
        log-determinants alone then choose the class.
    shrinkage : None, "auto" or float in [0, 1], default=None
        For "tied" and "full": weight of the mean variance times identity. "auto" is Ledoit and
        Wolf's, which needs all samples at once: not for ``partial_fit`` or ``merge``. It depends on
        the scale of the features: standardise them first. A class of "full" for which it comes out
        as 0, as for any two samples, takes that of all classes together.
    var_smoothing : float, default=1e-9
        Fraction of the largest variance of a feature that is added to all variances; from 0 to 1e9.
    priors : None, "uniform" or array of shape (n_classes,), default=None
        Class priors π; None takes the (weighted) class frequencies, as the paper does.
    background : float, default=0.0
        Weight ε of the background, in [0, 1).
    predict_from : {"posterior", "features"}, default="posterior"
        Label rule: the largest posterior, or the largest activation, as the paper does; the
        latter needs one feature a class, in the order of ``classes_``.
    blocks : None, sequence of int, or mapping of str to slice, default=None
        Groups of features, those of several layers, say: their widths, or the ``feature_groups_``
        of a `FeatureExtractor`. Each has Gaussians, T, s, shrinkage and smoothing of its own (the
        "n_features" of a block is its width), and the log-densities of the blocks are added: they
        count as independent given the class. None is one block.

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
        above. Divided by n, not n - 1. With ``blocks``, a list of one such array per block.
    shrinkage_ : array of shape () or (n_classes,)
        The shrinkage used, for "tied" and "full" with ``shrinkage="auto"`` only. With ``blocks``,
        of shape (n_blocks,) or (n_blocks, n_classes).
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
        blocks: Any = None,
    ) -> None:
        self.covariance_type = covariance_type
        self.temperature = temperature
        self.covariance_scale = covariance_scale
        self.shrinkage = shrinkage
        self.var_smoothing = var_smoothing
        self.priors = priors
        self.background = background
        self.predict_from = predict_from
        self.blocks = blocks

    _moments: tuple[Moments, ...]
    _derived: _Derived | None = None

    @as_one_task
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
            classes differ; ``blocks`` are not all features; a covariance is singular; squares of X
            would overflow or vanish in float64.
        MemoryError
            If covariances of type "full" or "tied" would not fit into memory (bytes are named).
        """
        self._check_parameters()
        X = check_matrix(self, X, reset=True)
        y, classes = check_labels(y, X)
        weight = check_weight(sample_weight, X)
        self._forget()  # unfitted, should this fail
        self.classes_ = classes
        codes = encode_labels(y, self.classes_)
        moments = self._measure(X, codes, weight)
        check_present(self.classes_, moments[0].count)
        if self.predict_from == "features":
            warn_of_features(X, codes, self.classes_)
        if self.shrinkage == "auto" and COVARIANCE_TYPES[self.covariance_type].family.shrinks:
            columns = self._columns(X.shape[1])
            self.shrinkage_ = _blocks.estimate_shrinkage(
                X, as_like(codes, X), weight, columns, moments
            )
        self._moments, self._derived = moments, None
        self._head(X)  # a singular covariance is found here, not in predict
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
        self._check_parameters()
        self._check_incremental("partial_fit")
        self.classes_ = check_classes(classes, None if first else self.classes_)
        X = check_matrix(self, X, reset=first)
        if not first:
            self._check_measured(self._columns(X.shape[1]))
        codes = encode_labels(check_labels(y, X)[0], self.classes_)
        part = self._measure(X, codes, check_weight(sample_weight, X))
        if first and self.predict_from == "features":
            warn_of_features(X, codes, self.classes_)
        self._moments = part if first else _blocks.merge(self._moments, part, self.covariance_type)
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
            If classes, features or ``covariance_type`` differ; ``shrinkage="auto"``; or squares
            of all samples together would overflow.
        """
        check_is_fitted(self)
        check_is_fitted(other)
        self._check_incremental("merge")
        self._check_mergeable(other)
        self._moments = _blocks.merge(self._moments, other._moments, self.covariance_type)
        self._derived = None
        return self

    def score_samples(self, X: Any) -> Array:
        """Compute log p(z), an out-of-distribution score: low where no class lies.

        Neither tempered nor scaled, and without the background: a normalised posterior alone is
        no such score.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples,)
            Evidence log Σ_k N(z; μ_k, Σ_k) π_k, in nats.
        """
        X = self._checked(X, "score_samples")
        head = self._head(X)
        return self._mapped(head.log_evidence, head, X)

    def mahalanobis(self, X: Any) -> Array:
        """Compute the squared Mahalanobis distance to each class.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.

        Returns
        -------
        array of shape (n_samples, n_classes)
            (z - μ_k)ᵀ Σ_k⁻¹ (z - μ_k); with ``blocks``, the sum over them. Infinite for a class
            without samples, which lies nowhere.
        """
        X = self._checked(X, "mahalanobis")
        head = self._head(X)
        return self._filled(self._distances(head), head, X)

    def typicality(self, X: Any, y: Any = None) -> Array:
        """Compute the fraction of a class that lies farther out than a sample.

        Parameters
        ----------
        X : array of shape (n_samples, n_features)
            Activations z.
        y : array of shape (n_samples,), default=None
            The class in question; None stands for the predicted one.

        Returns
        -------
        array of shape (n_samples,)
            Upper-tail probability, in [0, 1], of the squared Mahalanobis distance under a
            chi-squared distribution of d degrees of freedom; 0 of a class without samples.
        """
        X = self._checked(X, "typicality")
        head = self._head(X)
        distances = self._distances(head)

        def tail(chunk: Array, out: Array, codes: Array) -> Array:
            distance = to_numpy(pick(distances(chunk, out), codes))
            return as_like(chdtrc(self.n_features_in_, distance), chunk)

        codes = self._predicted_codes(X) if y is None else self._codes(y, X)
        return self._mapped(tail, head, X, codes)

    def _distances(self, head: Head) -> Callable[[Array, Array], Array]:
        """Return what computes squared distances: what stands for an empty class has none."""
        empty = np.flatnonzero(to_numpy(self.class_count_) == 0)

        def infinite_where_empty(chunk: Array, out: Array) -> Array:
            distance = head.squared_distance(chunk, out)
            for k in empty.tolist():
                distance[:, k] = np.inf
            return distance

        return infinite_where_empty if len(empty) else head.squared_distance

    @property
    def class_count_(self) -> Array:
        """Sum of the weights of each class's samples, (n_classes,)."""
        check_is_fitted(self)
        return self._moments[0].count

    @property
    def class_prior_(self) -> Array:
        """Class priors, (n_classes,)."""
        check_is_fitted(self)
        return self._prior(self.class_count_)

    @property
    def means_(self) -> Array:
        """Mean of each class, (n_classes, n_features)."""
        check_is_fitted(self)
        means = [moments.mean for moments in self._moments]
        return means[0] if len(means) == 1 else namespace(means[0]).concat(means, axis=1)

    @property
    def covariances_(self) -> Any:
        """Covariances, shrunk and smoothed; the shape depends on ``covariance_type``."""
        check_is_fitted(self)
        return _blocks.covariances(
            self._moments, self.covariance_type, self.var_smoothing, self._shrinkage()
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_moments")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.array_api_support = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Return the state as numpy arrays: what was fitted on a GPU loads where there is none."""
        state = dict(super().__getstate__())
        if "_moments" in state:
            state["_moments"] = tuple(map(_moments.as_numpy, self._moments))
            state["_derived"] = None  # made again when it is used
        arrays = {"classes_", "shrinkage_"} & set(state)
        return state | {name: to_numpy(state[name]) for name in arrays}

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state.get("_moments"), Moments):  # written before there were blocks
            state = {"blocks": None, **state, "_moments": (state["_moments"],)}
        super().__setstate__(state)

    def _checked(self, X: Any, method: str) -> Array:
        if "_moments" not in vars(self):  # of a fitted one each call would ask for its tags
            check_is_fitted(self)
        X = check_features(self, X, reset=False)
        check_same_namespace(X, self._moments[0].mean, f"{type(self).__name__}.{method}()")
        return X

    def _head(self, X: Array) -> Head:
        """Return what is evaluated, where X is, with the parameters as they are now.

        It is made anew only when they change: so a parameter that is set on a fitted classifier
        acts at once.
        """
        moments, derived = self._moments, self._derived  # once: another thread may replace them
        parameters = self._parameters_now(X)
        if derived is None or derived.moments is not moments or derived.parameters != parameters:
            self._derived = derived = self._derive(moments, parameters, X)
        return derived.head

    def _parameters_now(self, X: Array) -> tuple[tuple, tuple]:
        """Return all that a head depends on beside the moments: what its Gaussians do, the rest."""
        # as text, since an array has no single truth and may be changed in place
        texts = repr(self.blocks), repr(_plain(self.priors))
        rest = self.temperature, self.covariance_scale, self.background, *texts
        how = self.covariance_type, self.var_smoothing, self.shrinkage, self.background > 0
        return (*how, namespace(X), device_of(X)), rest

    def _derive(
        self, moments: tuple[Moments, ...], parameters: tuple[tuple, tuple], X: Array
    ) -> _Derived:
        self._check_parameters()
        columns = self._columns(self.n_features_in_)
        self._check_measured(columns)
        gaussians = self._gaussians(moments, parameters[0], X)
        blocks = tuple(
            Block(part, *pair, *self._temperature_and_scale(part.stop - part.start))
            for part, pair in zip(columns, gaussians, strict=True)
        )
        cost = float(_blocks.cost(moments, self.covariance_type)[0])
        head = Head(blocks, self._log_prior(X), float(self.background), cost)
        return _Derived(moments, parameters, gaussians, head)

    def _gaussians(
        self, moments: tuple[Moments, ...], parameters: tuple, X: Array
    ) -> _blocks.Prepared:
        """Return each block's Gaussians and background: those there are, unless they changed."""
        derived = self._derived
        if derived and derived.moments is moments and derived.parameters[0] == parameters:
            return derived.gaussians
        here = [_moments.like(part, X) for part in moments]
        with one_thread_if_few(_blocks.cost(here, self.covariance_type)[1]):
            return _blocks.prepare(
                here,
                self.covariance_type,
                self.var_smoothing,
                self._shrinkage(),
                with_background=self.background > 0,
            )

    def _shrinkage(self) -> Any:
        return getattr(self, "shrinkage_", None) if self.shrinkage == "auto" else self.shrinkage

    def _temperature_and_scale(self, width: int) -> list[float]:
        given = self.temperature, self.covariance_scale
        return [float(width if value == "n_features" else value) for value in given]

    def _prior(self, count: Array) -> Array:
        given = check_priors(self.priors, self.classes_.shape[0])
        return count / namespace(count).sum(count) if given is None else as_like(given, count)

    def _log_prior(self, X: Array) -> Array:
        count = as_like(self.class_count_, X)
        xp, prior = namespace(count), self._prior(count)
        prior = xp.where(count > 0, prior, xp.zeros_like(prior))
        if not bool(xp.any(prior > 0)):
            raise ValueError(
                f"priors={self.priors!r} are above 0 for no class that has samples, of weights "
                f"{to_numpy(count).tolist()}: pass priors that are, or samples of those classes"
            )
        with np.errstate(divide="ignore"):  # log 0 is meant: no samples, or a prior of 0
            return xp.log(prior)

    def _columns(self, d: int) -> list[slice]:
        return check_blocks(self.blocks, d)

    def _forget(self) -> None:
        for learned in ("_moments", "shrinkage_"):
            self.__dict__.pop(learned, None)

    def _measure(self, X: Array, codes: np.ndarray, weight: Array) -> tuple[Moments, ...]:
        self._check_shapes(X.shape[1])
        return _blocks.measure(
            X,
            codes,
            weight,
            columns=self._columns(X.shape[1]),
            n_classes=self.classes_.shape[0],
            covariance_type=self.covariance_type,
        )

    def _check_parameters(self) -> None:
        """Check the parameters that can be checked without data."""
        check_option("covariance_type", self.covariance_type, COVARIANCE_TYPES)
        check_option("predict_from", self.predict_from, LABEL_RULES)
        check_scale("temperature", self.temperature)
        check_scale("covariance_scale", self.covariance_scale)
        if self.shrinkage is not None and self.shrinkage != "auto":
            wanted = "None, 'auto' or a float in [0, 1]"
            check_number("shrinkage", self.shrinkage, lambda a: 0 <= a <= 1, wanted)
        wanted = "a float from 0 to 1e9"
        check_number("var_smoothing", self.var_smoothing, lambda v: 0 <= v <= 1e9, wanted)
        check_number("background", self.background, lambda e: 0 <= e < 1, "a float in [0, 1)")

    def _check_shapes(self, d: int) -> None:
        """Check the parameters against the numbers of features and classes, and the memory."""
        check_priors(self.priors, self.classes_.shape[0])
        check_label_rule(self.predict_from, d, self.classes_.shape[0])
        for part in self._columns(d):
            check_memory(self.covariance_type, part.stop - part.start, self.classes_.shape[0])

    def _check_measured(self, columns: list[slice]) -> None:
        """Check that the blocks are those whose moments there are."""
        widths = [moments.mean.shape[1] for moments in self._moments]
        if [part.stop - part.start for part in columns] != widths:
            raise ValueError(
                f"blocks={self.blocks!r}, but blocks of widths {widths} were measured: fit again"
            )

    def _check_incremental(self, method: str) -> None:
        """Refuse parts where the shrinkage needs all samples at once."""
        if self.shrinkage == "auto":
            raise ValueError(
                f"{method} cannot be used with shrinkage='auto', which needs all samples at once: "
                "set a float, or use fit"
            )

    def _check_mergeable(self, other: "GaussianDensityClassifier") -> None:
        """Check that two fitted classifiers are alike in all that their moments depend on."""
        mine, theirs = (
            (
                to_numpy(part.classes_).tolist(),
                [moments.mean.shape[1] for moments in part._moments],
                part.covariance_type,
                np.asarray(getattr(part, "feature_names_in_", [])).tolist(),
            )
            for part in (self, other)
        )
        if mine != theirs:
            raise ValueError(
                "only parts with the same classes, number of features, covariance_type and feature "
                f"names can be merged, got {mine} and {theirs}: fit each with "
                "partial_fit(classes=...), on the same columns in the same order"
            )


def _plain(priors: Any) -> Any:
    """Return an array of priors as a list."""
    return to_numpy(priors).tolist() if hasattr(priors, "shape") else priors
