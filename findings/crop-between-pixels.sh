#!/usr/bin/env bash
# kornia's center_crop averages four pixels when the margin is odd
#
# Versions: Python 3.11, kornia 0.9.0, torch 2.13.0, numpy 2.4.6
# Behaviour: geometry.transform.center_crop puts the box in the exact middle. If width minus size is odd, that
#   is between pixels, and the crop is interpolated: every pixel is the mean of four, noise loses half
#   of its standard deviation. augmentation.CenterCrop of the same library takes whole pixels. A confidence
#   measured under noise is then measured under half of it, for some picture sizes and not for others.
# Output seen (noise of standard deviation 1):
#   256 -> 224: center_crop 1.00, CenterCrop 1.00, crop is a part of the picture: True
#   257 -> 224: center_crop 0.50, CenterCrop 1.00, crop is a part of the picture: False
# Cure: kornia.augmentation.CenterCrop, or slices with whole offsets.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet kornia==0.9.0 torch==2.13.0 numpy==2.4.6
"$folder/bin/python" - <<'PY'
import torch
from kornia.augmentation import CenterCrop
from kornia.geometry.transform import center_crop

deviations = {}
for side in (256, 257):
    noise = torch.randn(1, 1, side, side, generator=torch.Generator().manual_seed(0))
    cropped, whole = center_crop(noise, (224, 224)), CenterCrop(224)(noise)
    part = torch.allclose(cropped, noise[..., 16:240, 16:240], atol=1e-3)
    deviations[side] = cropped.std().item(), whole.std().item(), part
    print(f"{side} -> 224: center_crop {cropped.std():.2f}, CenterCrop {whole.std():.2f}, ", end="")
    print("crop is a part of the picture:", part)
assert abs(deviations[257][0] - 0.5) < 0.01 and not deviations[257][2], "whole pixels now"
assert deviations[256][2] and abs(deviations[257][1] - 1) < 0.01
PY
