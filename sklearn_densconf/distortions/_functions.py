"""The distortions: functions of pictures and a severity."""

from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from io import BytesIO

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter
from sklearn.utils import check_random_state

from sklearn_densconf._array import unmasked
from sklearn_densconf._optional import import_optional
from sklearn_densconf.distortions._pictures import (
    PixelRange,
    check_dtype,
    check_pixels,
    check_severity,
    distort_each,
    multiply_each,
    view_pictures,
)

Seed = int | np.random.RandomState | None


def gaussian_noise(
    images: ArrayLike,
    sigma: float,
    *,
    random_state: Seed = None,
    channel_axis: int | None = None,
    pixel_range: PixelRange | None = None,
) -> np.ndarray:
    """Add independent Gaussian noise to every pixel and channel, then clip.

    The noise of a picture is drawn from a generator keyed by the seed and by the picture's own
    pixels. It is therefore the same in any batch, at any position in it, and for any order of the
    axes; equal pictures of one dtype get equal noise; and the noise at two values of ``sigma``
    differs only in scale.

    Parameters
    ----------
    images : array-like of dtype uint8 or floating
        One picture or a batch; see the module for the shapes.
    sigma : float
        Standard deviation of the noise, in units of the pixels (up to 1 for pixels in [0, 1], up
        to 255 for pixels in [0, 255]); 0 changes nothing.
    random_state : int, RandomState or None, default=None
        Seed of the noise. None draws a new one from NumPy's global state.
    channel_axis : {None, -1, 1, 3, -3}, default=None
        Axis of the channels, counted in a batch; None for greyscale pictures without one.
    pixel_range : tuple of float, default=None
        Lowest and highest pixel; None means (0, 255) for uint8, (0, 1) for floating pictures.

    Returns
    -------
    ndarray
        The noisy pictures, in the shape and dtype of ``images``.

    Raises
    ------
    ValueError
        If ``sigma`` is outside [0, width of the pixel range], the pixels are outside theirs or not
        finite, or dtype, shape or ``channel_axis`` are none of those allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.distortions import gaussian_noise
    >>> gaussian_noise(np.full((2, 2), 128, np.uint8), 25, random_state=0)
    array([[144, 156],
           [126, 163]], dtype=uint8)
    """
    images = np.asarray(unmasked(images))
    low, high = check_pixels(images, pixel_range)
    check_severity("sigma", sigma, 0, high - low, unit=f"units of pixels in [{low:g}, {high:g}]")
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max)).to_bytes(4)
    add_noise = partial(_add_noise, sigma=sigma, seed=seed)
    return distort_each(add_noise, images, channel_axis, (low, high))


def gaussian_blur(
    images: ArrayLike,
    sigma: float,
    *,
    channel_axis: int | None = None,
    pixel_range: PixelRange | None = None,
) -> np.ndarray:
    """Convolve each channel with a Gaussian.

    The same as `scipy.ndimage.gaussian_filter` with its kernel cut at 4 ``sigma`` and pictures
    mirrored at their edges (``mode="reflect"``: d c b a | a b c d | d c b a), which keeps their
    mean. Computed as two matrix products per channel, in O(height² width + height width²) whatever
    ``sigma`` is.

    Parameters
    ----------
    images : array-like of dtype uint8 or floating
        One picture or a batch; see the module for the shapes.
    sigma : float
        Standard deviation of the Gaussian in pixels, from 0 (nothing changes) to the longer side.
    channel_axis : {None, -1, 1, 3, -3}, default=None
        Axis of the channels, counted in a batch; None for greyscale pictures without one.
    pixel_range : tuple of float, default=None
        Lowest and highest pixel; None means (0, 255) for uint8, (0, 1) for floating pictures.

    Returns
    -------
    ndarray
        The blurred pictures, in the shape and dtype of ``images``.

    Raises
    ------
    ValueError
        If ``sigma`` is outside [0, longer side], the pixels are outside their range or not finite,
        or dtype, shape or ``channel_axis`` are none of those allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.distortions import gaussian_blur
    >>> gaussian_blur(np.array([[0, 0, 255, 0, 0]], np.uint8), 1)
    array([[ 15,  62, 102,  62,  15]], dtype=uint8)
    """
    images = np.asarray(unmasked(images))
    bounds = check_pixels(images, pixel_range)
    longer = max(view_pictures(images, channel_axis).shape[2:])
    check_severity("sigma", sigma, 0, longer, unit="pixels, up to the longer side")
    return multiply_each(partial(_blurring, sigma=sigma), images, channel_axis, bounds)


def jpeg(
    images: ArrayLike,
    quality: float,
    *,
    channel_axis: int | None = None,
    pixel_range: PixelRange | None = None,
) -> np.ndarray:
    """Encode each picture as JPEG and decode it again, with Pillow's own encoder.

    Floating pictures are rounded to 256 levels first, as the format needs. Colour is subsampled
    4:2:0, the encoder's default. No quality, not even 100, leaves every picture unchanged.

    Parameters
    ----------
    images : array-like of dtype uint8 or floating
        One picture or a batch, with 1 or 3 channels; see the module for the shapes.
    quality : int
        The encoder's quality, from 100 (best) down to 1.
    channel_axis : {None, -1, 1, 3, -3}, default=None
        Axis of the channels, counted in a batch; None for greyscale pictures without one.
    pixel_range : tuple of float, default=None
        Lowest and highest pixel; None means (0, 255) for uint8, (0, 1) for floating pictures.

    Returns
    -------
    ndarray
        The decoded pictures, in the shape and dtype of ``images``.

    Raises
    ------
    ValueError
        If ``quality`` is not a whole number in [1, 100], the number of channels is neither 1 nor 3,
        the pixels are outside their range or not finite, or dtype, shape or ``channel_axis`` are
        none of those allowed.
    ImportError
        If Pillow is missing.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.distortions import jpeg
    >>> jpeg(np.eye(4), 10).round(2)
    array([[0.82, 0.16, 0.  , 0.  ],
           [0.25, 0.7 , 0.08, 0.  ],
           [0.11, 0.14, 0.66, 0.1 ],
           [0.  , 0.  , 0.09, 0.8 ]])
    """
    images = np.asarray(unmasked(images))
    low, high = check_pixels(images, pixel_range)
    check_severity("quality", quality, 1, 100, unit="100 is the best", whole=True)
    channels = view_pictures(images, channel_axis).shape[1]
    if channels not in (1, 3):
        raise ValueError(
            f"JPEG pictures have 1 or 3 channels, got {channels} with channel_axis={channel_axis}: "
            f"set the axis of the channels, or drop an alpha channel"
        )
    recode = partial(_recode, quality=int(quality), pixel_range=(low, high))
    return distort_each(recode, images, channel_axis, (low, high))


def thumbnail(
    images: ArrayLike,
    size: float,
    *,
    channel_axis: int | None = None,
    pixel_range: PixelRange | None = None,
) -> np.ndarray:
    """Shrink each picture until its longer side has ``size`` pixels, and enlarge it again.

    Both ways with the triangle filter that Pillow calls BILINEAR (antialiased when shrinking);
    the picture between is not rounded. The ratio of the sides is kept, up to whole pixels.

    Parameters
    ----------
    images : array-like of dtype uint8 or floating
        One picture or a batch; see the module for the shapes.
    size : int
        Longer side of the thumbnail in pixels, from the picture's own (nothing changes) down to 1.
    channel_axis : {None, -1, 1, 3, -3}, default=None
        Axis of the channels, counted in a batch; None for greyscale pictures without one.
    pixel_range : tuple of float, default=None
        Lowest and highest pixel; None means (0, 255) for uint8, (0, 1) for floating pictures.

    Returns
    -------
    ndarray
        The coarse pictures, in the shape and dtype of ``images``.

    Raises
    ------
    ValueError
        If ``size`` is no whole number in [1, longer side], the pixels are outside their range or
        not finite, or dtype, shape or ``channel_axis`` are none of those allowed.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.distortions import thumbnail
    >>> thumbnail(np.array([[0, 0, 0, 255, 255, 255]], np.uint8), 2)
    array([[ 32,  32,  96, 159, 223, 223]], dtype=uint8)
    """
    images = np.asarray(unmasked(images))
    bounds = check_pixels(images, pixel_range)
    longer = max(view_pictures(images, channel_axis).shape[2:])
    check_severity("size", size, 1, longer, unit="pixels, up to the longer side", whole=True)
    shrinking = partial(_there_and_back, ratio=size / longer)
    return multiply_each(shrinking, images, channel_axis, bounds)


def scale_pixels(images: ArrayLike, factor: float) -> np.ndarray:
    """Multiply every pixel by ``factor``, without clipping.

    The figure 1 of the paper: a network that is piecewise linear grows ever more certain along
    this line, far outside any range of pixels.

    Parameters
    ----------
    images : array-like of dtype uint8 or floating
        Pictures of any shape.
    factor : float
        What the pixels are multiplied by, 0 or more and finite; 1 changes nothing.

    Returns
    -------
    ndarray
        The scaled pictures, in the shape of ``images``; in its dtype if that is floating, float32
        for uint8, which could not hold them.

    Raises
    ------
    ValueError
        If ``factor`` is negative or not finite, or the dtype is neither uint8 nor floating.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_densconf.distortions import scale_pixels
    >>> scale_pixels(np.array([[0, 200]], np.uint8), 10)
    array([[   0., 2000.]], dtype=float32)
    """
    images = np.asarray(unmasked(images))
    check_dtype(images)
    check_severity("factor", factor, 0, np.finfo(np.float64).max, unit="times the pixels")
    dtype = np.float32 if images.dtype == np.uint8 else images.dtype
    return np.multiply(images, factor, dtype=dtype)


DISTORTIONS: dict[str, Callable[..., np.ndarray]] = {
    "gaussian_blur": gaussian_blur,
    "gaussian_noise": gaussian_noise,
    "jpeg": jpeg,
    "scale_pixels": scale_pixels,
    "thumbnail": thumbnail,
}


def _add_noise(picture: np.ndarray, sigma: float, seed: bytes) -> np.ndarray:
    key = int.from_bytes(blake2b(picture.tobytes(), digest_size=16, key=seed).digest())
    generator = np.random.Generator(np.random.Philox(key=key))
    return picture + sigma * generator.standard_normal(picture.shape, picture.dtype)


def _blurring(side: int, sigma: float) -> np.ndarray:
    """Return the matrix (side, side) that blurs a row, scipy's filter of the identity."""
    return gaussian_filter(np.eye(side), (sigma, 0), mode="reflect", truncate=4)


def _recode(picture: np.ndarray, quality: int, pixel_range: PixelRange) -> np.ndarray:
    pillow = import_optional("PIL.Image", "JPEG")
    low, high = pixel_range
    levels = np.rint((picture - low) * (255 / (high - low))).astype(np.uint8)
    coded = BytesIO()
    plane = levels[0] if len(levels) == 1 else levels.transpose(1, 2, 0)  # (h, w) or (h, w, 3)
    pillow.fromarray(plane).save(coded, "JPEG", quality=quality)
    decoded = np.asarray(pillow.open(coded), picture.dtype).reshape(*picture.shape[1:], -1)
    return low + decoded.transpose(2, 0, 1) * ((high - low) / 255)


def _there_and_back(side: int, ratio: float) -> np.ndarray:
    small = max(1, round(side * ratio))
    return _resizing(small, side) @ _resizing(side, small)


def _resizing(side: int, new_side: int) -> np.ndarray:
    """Return the matrix (new_side, side) that resizes a line of pixels by the triangle filter."""
    scale = side / new_side
    centres = (np.arange(new_side)[:, None] + 0.5) * scale
    offsets = (np.arange(side) + 0.5 - centres) / max(scale, 1)
    weights = np.clip(1 - np.abs(offsets), 0, None)
    return weights / weights.sum(axis=1, keepdims=True)
