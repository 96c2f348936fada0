"""Pictures as arrays: their axes, their range of pixels, and a function applied to each of them.

A leaf: imports nothing of this package.
"""

from collections.abc import Callable

import numpy as np

PixelRange = tuple[float, float]

_CHANNELS_FROM_THE_END = {None: None, -1: -1, 3: -1, 1: -3, -3: -3}


def view_pictures(images: np.ndarray, channel_axis: int | None) -> np.ndarray:
    """Return one picture or a batch as a view with all four axes.

    Parameters
    ----------
    images : ndarray
        One picture or a batch; see the package for the shapes.
    channel_axis : {None, -1, 1, 3, -3}
        Axis of the channels, counted in a batch.

    Returns
    -------
    ndarray of shape (n, c, height, width)
        A view of ``images``: what is written to it is written there.

    Raises
    ------
    ValueError
        If the shape or ``channel_axis`` is not one of those allowed.
    """
    if channel_axis not in _CHANNELS_FROM_THE_END:
        raise ValueError(
            f"channel_axis must be None, -1 or 3 (last) or 1 or -3 (before the rows), "
            f"got {channel_axis!r}"
        )
    n_axes = 2 if channel_axis is None else 3
    if images.ndim not in (n_axes, n_axes + 1) or 0 in images.shape[-n_axes:]:
        raise ValueError(
            f"with channel_axis={channel_axis} a picture has {n_axes} axes, none of them "
            f"empty, and a batch {n_axes + 1}, got shape {images.shape}: "
            f"set channel_axis, or reshape"
        )
    axis = _CHANNELS_FROM_THE_END[channel_axis]
    pictures = images[..., None, :, :] if axis is None else np.moveaxis(images, axis, -3)
    return pictures if pictures.ndim == 4 else pictures[None]


def check_dtype(images: np.ndarray) -> None:
    """Refuse pixels that are neither uint8 nor floating.

    Parameters
    ----------
    images : ndarray
        Pictures of any shape.

    Raises
    ------
    ValueError
        If the dtype is another.
    """
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise ValueError(
            f"pixels must be uint8 or floating, got dtype {images.dtype}: "
            f"convert them, for example with images.astype(np.uint8)"
        )


def check_pixels(images: np.ndarray, pixel_range: PixelRange | None) -> PixelRange:
    """Check that the pixels lie in their range, and return the range.

    Parameters
    ----------
    images : ndarray of dtype uint8 or floating
        Pictures of any shape.
    pixel_range : tuple of float or None
        Lowest and highest pixel; None means (0, 255) for uint8, (0, 1) for floating pictures.

    Returns
    -------
    tuple of float
        Lowest and highest pixel allowed.

    Raises
    ------
    ValueError
        If the dtype is another, the range is empty, or a pixel is outside of it or not finite.
    """
    check_dtype(images)
    low, high = pixel_range or ((0, 255) if images.dtype == np.uint8 else (0, 1))
    if not low < high:
        raise ValueError(f"pixel_range must be (lowest, highest), got {pixel_range}")
    if images.size and not low <= images.min() <= images.max() <= high:
        raise ValueError(
            f"pixels must lie in [{low}, {high}], got {images.min()} to {images.max()}: "
            f"set pixel_range=(lowest, highest), and distort before any normalisation"
        )
    return low, high


def check_severity(
    name: str, severity: float, low: float, high: float, *, unit: str, whole: bool = False
) -> None:
    """Refuse a severity outside its range.

    Parameters
    ----------
    name : str
        What the function calls it.
    severity : float
        The severity.
    low, high : float
        Smallest and largest value allowed.
    unit : str
        Its unit, for the message.
    whole : bool, default=False
        Whether only whole numbers are allowed.

    Raises
    ------
    ValueError
        If the severity is outside [low, high], NaN, or not whole where it must be.
    """
    if not low <= severity <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}] ({unit}), got {severity}")
    if whole and severity != int(severity):
        raise ValueError(f"{name} must be a whole number ({unit}), got {severity}: round it")


def distort_each(
    distort: Callable[[np.ndarray], np.ndarray],
    images: np.ndarray,
    channel_axis: int | None,
    pixel_range: PixelRange,
) -> np.ndarray:
    """Apply a function of one picture to all of them; round, clip and restore the dtype.

    Parameters
    ----------
    distort : callable
        Takes and returns an array of shape (c, height, width), float64 for float64 pictures and
        float32 for all others.
    images : ndarray of dtype uint8 or floating
        One picture or a batch; see the package for the shapes.
    channel_axis : {None, -1, 1, 3, -3}
        Axis of the channels, counted in a batch.
    pixel_range : tuple of float
        Lowest and highest pixel of the result.

    Returns
    -------
    ndarray
        The distorted pictures, in the shape and dtype of ``images``.
    """
    result = np.empty_like(images)
    exact = np.result_type(images, np.float32)
    finish = np.rint if images.dtype == np.uint8 else np.positive
    targets = view_pictures(result, channel_axis)
    for picture, target in zip(view_pictures(images, channel_axis), targets, strict=True):
        distorted = distort(np.ascontiguousarray(picture, dtype=exact))
        target[...] = finish(np.clip(distorted, *pixel_range))
    return result


def multiply_each(
    operator: Callable[[int], np.ndarray],
    images: np.ndarray,
    channel_axis: int | None,
    pixel_range: PixelRange,
) -> np.ndarray:
    """Apply a linear operator to the columns and to the rows of every picture.

    Parameters
    ----------
    operator : callable
        Takes the length of a side and returns the matrix (side, side).
    images : ndarray of dtype uint8 or floating
        One picture or a batch; see the package for the shapes.
    channel_axis : {None, -1, 1, 3, -3}
        Axis of the channels, counted in a batch.
    pixel_range : tuple of float
        Lowest and highest pixel of the result.

    Returns
    -------
    ndarray
        The distorted pictures, in the shape and dtype of ``images``.
    """
    exact = np.result_type(images, np.float32)
    height, width = view_pictures(images, channel_axis).shape[2:]
    down, across = (operator(side).astype(exact) for side in (height, width))
    return distort_each(
        lambda picture: down @ picture @ across.T, images, channel_axis, pixel_range
    )
