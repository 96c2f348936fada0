"""Distortions of pictures: noise, blur, JPEG, thumbnails and scaled pixels.

Every distortion is a function of pictures and a severity. Pictures are arrays of dtype uint8 or
floating; what their axes mean depends on ``channel_axis`` alone, which is counted in a batch:

============  ======================  =====================
channel_axis  a batch                 one picture
============  ======================  =====================
None          (n, height, width)      (height, width)
-1 or 3       (n, height, width, c)   (height, width, c)
1 or -3       (n, c, height, width)   (c, height, width)
============  ======================  =====================

Pixels lie in ``pixel_range``; None means [0, 255] for uint8 and [0, 1] for floating pictures. The
result has the shape and dtype of the input, and its pixels are clipped to that range; only
`scale_pixels` leaves it, on purpose. Arithmetic is in float32, for float64 pictures in float64.
"""

from sklearn_densconf.distortions._functions import (
    DISTORTIONS,
    gaussian_blur,
    gaussian_noise,
    jpeg,
    scale_pixels,
    thumbnail,
)
from sklearn_densconf.distortions._transformer import Distortion

__all__ = [
    "DISTORTIONS",
    "Distortion",
    "gaussian_blur",
    "gaussian_noise",
    "jpeg",
    "scale_pixels",
    "thumbnail",
]
