"""Which source stands behind what the user gave as X."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.base import BaseEstimator

from sklearn_densconf.features.inputs._mappings import open_mapping
from sklearn_densconf.features.inputs._pictures import Pictures, Plain, as_pictures, pictures_in
from sklearn_densconf.features.inputs._rows import Rows, checked_array, is_pixels
from sklearn_densconf.features.inputs._source import Preprocessing, Source


@dataclass(frozen=True)
class Reading:
    """How samples are read.

    Parameters
    ----------
    preprocessing : callable or None
        The user's.
    of_library : callable or None
        That of the library which the network is from; it's for pictures only.
    input_shape : tuple of int or None
        The user's, to which flat rows are brought.
    learned_shape : tuple of int or None
        The shape of samples at ``fit``; None in ``fit`` itself.
    """

    preprocessing: Preprocessing | None
    of_library: Preprocessing | None
    input_shape: tuple[int, ...] | None
    learned_shape: tuple[int, ...] | None

    @property
    def in_fit(self) -> bool:
        """Whether the shape is yet to be learned."""
        return self.learned_shape is None

    @property
    def of_pictures(self) -> Preprocessing | None:
        """What pictures are preprocessed by."""
        return self.preprocessing or self.of_library


def open_source(estimator: BaseEstimator, X: Any, reading: Reading) -> Source:
    """Return the samples of X.

    Parameters
    ----------
    estimator : FeatureExtractor
        It learns the number and the names of columns in ``fit``, and checks them afterwards.
    X : object
        What the user gave: see `FeatureExtractor.fit`.
    reading : Reading
        How it is read.

    Returns
    -------
    Source
        Its samples.

    Raises
    ------
    ValueError
        If X is empty, or its samples have another shape or type than they should.
    """
    if isinstance(X, Mapping):
        return open_mapping(X)
    pictures = pictures_in(X)
    if pictures is None:
        values = checked_array(estimator, X, reset=reading.in_fit)
        if reading.preprocessing is None and not (reading.of_library and is_pixels(values)):
            return Rows(values, reading.learned_shape or reading.input_shape)
        pictures = as_pictures(values, reading.input_shape)
    return _pictures(pictures, reading)


def _pictures(pictures: Any, reading: Reading) -> Pictures:
    """Return pictures; only without a preprocessing is ``input_shape`` what they must have."""
    preprocessing = reading.of_pictures or Plain(reading.input_shape)
    shape = None if reading.of_pictures else reading.input_shape
    return Pictures(pictures, preprocessing, reading.learned_shape or shape)
