#!/usr/bin/env bash
# torchvision's to_tensor makes negative numbers of the bright half of a 16-bit grey picture
#
# Versions: Python 3.11, torchvision 0.28.0, torch 2.13.0, pillow 13.0.0, numpy 2.4.6
# Behaviour: a PNG of 16-bit grey (X-rays, depth, microscopes) has the mode I;16, whose pixels Pillow hands out as
#   uint16. to_tensor and ToTensor copy them as int16: 32,768 and more wrap round. pil_to_tensor is right. And neither
#   to_tensor nor ToDtype(scale=True) of the result divides by 65,535; Pillow's convert("RGB") makes 255 of all
#   above 255.
# Output seen (four pixels from black to white):
#   in the file      0 20000 40000 65535
#   to_tensor        0 20000 -25536 -1
#   pil_to_tensor    0 20000 40000 65535
#   convert("RGB")   0 255 255 255
# Cure: torch.from_numpy(np.asarray(picture) / np.float32(65535))[None].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torchvision==0.28.0 torch==2.13.0 pillow==13.0.0 numpy==2.4.6
"$folder/bin/python" - <<'PY'
from io import BytesIO

import numpy as np
import torch
from PIL import Image

if torch.version.cuda is None:  # PyPI's torchvision beside a CPU build of torch lacks two operators
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision.transforms.functional import pil_to_tensor, to_tensor

pixels = np.array([[0, 20000, 40000, 65535]], np.uint16)
file = BytesIO()
Image.fromarray(pixels).save(file, "PNG")
picture = Image.open(file)
seen = {
    "in the file": pixels,
    "to_tensor": to_tensor(picture).numpy(),
    "pil_to_tensor": pil_to_tensor(picture).numpy(),
    'convert("RGB")': np.asarray(picture.convert("RGB"))[..., 0],
}
for name, values in seen.items():
    print(f"{name:16} {' '.join(map(str, values.ravel().tolist()))}")
assert picture.mode == "I;16"
assert seen["pil_to_tensor"].ravel().tolist() == pixels.ravel().tolist()
assert seen['convert("RGB")'].max() == 255
assert seen["to_tensor"].min() < 0, "to_tensor keeps 16 bits now"
PY
