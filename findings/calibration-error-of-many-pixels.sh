#!/usr/bin/env bash
# The calibration error of 34 million pixels is 0, whatever their confidences and labels
#
# Versions: Python 3.11, torchmetrics 1.9.0, torch 2.13.0, numpy 2.4.6
# Behaviour: torchmetrics adds up counts, confidences and right labels of each bin one by one, in the type of the
#   confidences. A float32 sum stands still at 2^24 = 16,777,216, so that from there on counts, accuracies and mean
#   confidences of a full bin are all the same number, and the error is theirs: 16 pictures of Cityscapes are enough.
# Output seen (all confidences are 0.9, every other label is right, so that the error is 0.4):
#    1,000,000 pixels: float32 0.3920  float64 0.4000
#   40,000,000 pixels: float32 0.0000  float64 0.4000
# Cure: give double(): the sums are float64 then; or measure parts, and average them.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import torch
from torchmetrics.functional.classification import binary_calibration_error


def error(n_pixels, dtype):
    confidence = torch.full((n_pixels,), 0.9, dtype=dtype)
    label = torch.arange(n_pixels) % 2
    return binary_calibration_error(confidence, label, n_bins=15).item()


found = {}
for n_pixels in (1_000_000, 40_000_000):
    found[n_pixels] = error(n_pixels, torch.float32), error(n_pixels, torch.float64)
    print("{:10,} pixels: float32 {:.4f}  float64 {:.4f}".format(n_pixels, *found[n_pixels]))
assert all(abs(exact - 0.4) < 1e-6 for _, exact in found.values())
assert found[40_000_000][0] < 0.01, "many pixels have the error of few now"
PY
