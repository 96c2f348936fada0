#!/usr/bin/env bash
# pytorch-ood's squared Mahalanobis distances are negative where samples are fewer than features
#
# Versions: Python 3.11, pytorch-ood 0.4.0, torch 2.13.0, torchvision 0.28.0, numpy 2.4.6
# Behaviour: the scatter gets a ridge of 1e-6 and is inverted by torch.linalg.inv in torch's default type, float32.
#   The scatter is a sum, of the size of the number of samples, so that the ridge is lost in rounding wherever it is
#   needed: samples fewer than features, or directions without variance. The inverse is noise. No error, no warning.
#   float64 features alone do not help: the sums begin as torch.zeros of the default type.
# Output seen (300 samples of ten classes, 512 features; the same number of samples with 1.5 times the spread):
#   float32: 96 % of the scores are negative, AUROC 0.465
#   float64 by torch.set_default_dtype: 0 % are negative, AUROC 1.000
# Cure: torch.set_default_dtype(torch.float64) around fit_features, and float64 features; RMD needs it too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet pytorch-ood==0.4.0 torch==2.13.0 torchvision==0.28.0 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import numpy as np
import torch

if torch.version.cuda is None:  # PyPI's torchvision beside a CPU build of torch lacks two operators
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from pytorch_ood.detector import Mahalanobis

draw, y = np.random.default_rng(0), np.arange(300) % 10
centres = draw.normal(size=(10, 512))
train, near, far = (centres[y] + spread * draw.normal(size=(300, 512)) for spread in (1, 1, 1.5))


def measure(dtype):
    torch.set_default_dtype(dtype)
    detector = Mahalanobis(None).fit_features(torch.tensor(train, dtype=dtype), torch.tensor(y))
    familiar, other = (
        detector.predict_features(torch.tensor(X, dtype=dtype)).numpy() for X in (near, far)
    )
    auroc = (familiar[:, None] < other).mean()
    return (np.concatenate([familiar, other]) < 0).mean(), auroc


negative, auroc = measure(torch.float32)
negative_64, auroc_64 = measure(torch.float64)
print(f"float32: {negative:.0%} of the scores are negative, AUROC {auroc:.3f}".replace("%", " %"))
print(
    f"float64 by torch.set_default_dtype: {negative_64:.0%} are negative, "
    f"AUROC {auroc_64:.3f}".replace("%", " %")
)
assert negative_64 == 0 and auroc_64 > 0.99
assert negative > 0.2 and auroc < 0.8, "float32 is enough now"
PY
