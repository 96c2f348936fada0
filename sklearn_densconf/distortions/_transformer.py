"""A distortion as a step of a pipeline."""

from inspect import signature
from math import prod

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import validate_data

from sklearn_densconf.distortions._functions import DISTORTIONS, Seed
from sklearn_densconf.distortions._pictures import PixelRange

_PIXEL_BY_PIXEL = {
    "gaussian_noise",
    "scale_pixels",
}  # these need not know where a row of pixels ends
_OPTIONS = {"channel_axis", "pixel_range", "random_state"}


class Distortion(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """A distortion of pictures as a stateless step of a pipeline.

    Parameters
    ----------
    kind : {"gaussian_blur", "gaussian_noise", "jpeg", "scale_pixels", "thumbnail"}, \
            default="gaussian_noise"
        Which distortion; a key of `DISTORTIONS`.
    severity : float, default=0.1
        Its strength, in the unit of that function: sigma, quality, factor or size.
    random_state : int, RandomState or None, default=None
        Seed of the noise; the other kinds do not use it.
    channel_axis : {None, -1, 1, 3, -3}, default=None
        Axis of the channels, counted in a batch; None for greyscale pictures without one.
    pixel_range : tuple of float, default=None
        Lowest and highest pixel; None means (0, 255) for uint8, (0, 1) for floating pictures.
    input_shape : tuple of int, default=None
        Shape of one picture, for pictures given as flat rows (n_samples, n_pixels). None takes
        rows as they are, which only noise and scaling can do.

    Attributes
    ----------
    n_features_in_ : int
        Length of the second axis of ``X`` in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, where they had names.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_densconf.distortions import Distortion
    >>> X, _ = load_digits(return_X_y=True)  # 8 x 8 pixels of 0-16, in flat rows
    >>> blur = Distortion("gaussian_blur", 1.0, pixel_range=(0, 16), input_shape=(8, 8))
    >>> blur.fit_transform(X).shape
    (1797, 64)
    """

    def __init__(
        self,
        kind: str = "gaussian_noise",
        severity: float = 0.1,
        *,
        random_state: Seed = None,
        channel_axis: int | None = None,
        pixel_range: PixelRange | None = None,
        input_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.kind = kind
        self.severity = severity
        self.random_state = random_state
        self.channel_axis = channel_axis
        self.pixel_range = pixel_range
        self.input_shape = input_shape

    def fit(self, X: ArrayLike, y: object = None) -> "Distortion":  # noqa: ARG002
        """Check the pictures and the kind; nothing is learned.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            A batch of pictures.
        y : None
            Ignored.

        Returns
        -------
        Distortion
            The same object.

        Raises
        ------
        ValueError
            If the kind is not known, or flat rows need ``input_shape``.
        """
        self._as_pictures(self._validated(X, reset=True))
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Distort a batch of pictures.

        Parameters
        ----------
        X : array-like of shape (n_samples, ...)
            A batch of pictures; numbers that are neither uint8 nor floating become float64.

        Returns
        -------
        ndarray of shape (n_samples, ...)
            The distorted pictures, in the shape of ``X``.

        Raises
        ------
        ValueError
            As the function of this kind, and as `fit`.
        """
        X = self._validated(X, reset=False)
        distort = DISTORTIONS[self.kind]
        options = {
            name: getattr(self, name) for name in _OPTIONS & {*signature(distort).parameters}
        }
        return distort(self._as_pictures(X), self.severity, **options).reshape(X.shape)

    def _validated(self, X: ArrayLike, reset: bool) -> np.ndarray:
        if self.kind not in DISTORTIONS:
            raise ValueError(f"kind must be one of {sorted(DISTORTIONS)}, got {self.kind!r}")
        dtypes = [np.float64, np.float32, np.float16, np.uint8]
        return validate_data(self, X, dtype=dtypes, allow_nd=True, reset=reset)

    def _as_pictures(self, X: np.ndarray) -> np.ndarray:
        """Return X as a batch of pictures: flat rows are reshaped."""
        n_axes = 2 if self.channel_axis is None else 3
        shape = X.shape[1:] if X.ndim > 2 else self._shape_of_a_row(X.shape[1], n_axes)
        if len(shape) != n_axes or prod(shape) != prod(X.shape[1:]):
            raise ValueError(
                f"with channel_axis={self.channel_axis} X needs {n_axes + 1} axes, or flat rows "
                f"and an input_shape of {n_axes} numbers whose product is their length, "
                f"got X {X.shape} and input_shape={self.input_shape}"
            )
        return X.reshape(len(X), *shape)

    def _shape_of_a_row(self, n_pixels: int, n_axes: int) -> tuple[int, ...]:
        if self.input_shape is not None:
            return self.input_shape
        if self.kind in _PIXEL_BY_PIXEL:
            return (*[1] * (n_axes - 1), n_pixels)
        raise ValueError(
            f"{self.kind} must know the shape of a picture, and X has flat rows: "
            f"set input_shape, such as input_shape=(28, 28)"
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.three_d_array = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32", "float16"]
        return tags
