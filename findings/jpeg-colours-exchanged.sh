#!/usr/bin/env bash
# albumentations' JPEG compression treats red as blue
#
# Versions: Python 3.11, albumentations 2.0.8, opencv-python-headless 5.0.0.93, pillow 13.0.0, numpy 2.4.6
# Behaviour: ImageCompression hands its RGB picture to OpenCV, whose encoder takes the first channel for blue.
#   The channels come back in their places, so that nothing looks wrong; but JPEG keeps less of blue than of
#   red, and here it is the red that suffers. The result is exactly what Pillow makes of the picture with red
#   and blue exchanged, exchanged back. Robustness measured "under JPEG at quality 20" is for other artefacts.
# Output seen (a picture of coloured squares):
#   quality 20: mean difference from Pillow 9.35 of 255, from Pillow with red and blue exchanged 0.00
#   quality 50: mean difference from Pillow 8.17 of 255, from Pillow with red and blue exchanged 0.00
#   quality 90: mean difference from Pillow 4.18 of 255, from Pillow with red and blue exchanged 0.00
# Cure: compress with Pillow, or exchange the channels before and after (picture[..., ::-1]).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet albumentations==2.0.8 opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
NO_ALBUMENTATIONS_UPDATE=1 "$folder/bin/python" - <<'PY'
import io

import albumentations
import numpy as np
from PIL import Image

squares = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
picture = squares.repeat(8, axis=0).repeat(8, axis=1)


def pillow(picture, quality):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file)).astype(int)


for quality in (20, 50, 90):
    compress = albumentations.ImageCompression(
        compression_type="jpeg", quality_range=(quality, quality), p=1.0
    )
    result = compress(image=picture)["image"].astype(int)
    plain = abs(result - pillow(picture, quality)).mean()
    exchanged = np.ascontiguousarray(picture[..., ::-1])
    back = abs(result - pillow(exchanged, quality)[..., ::-1]).mean()
    print(f"quality {quality}: mean difference from Pillow {plain:.2f} of 255, ", end="")
    print(f"from Pillow with red and blue exchanged {back:.2f}")
    assert plain > 3 and back < 0.5, "the encoder is given the right order now"
PY
