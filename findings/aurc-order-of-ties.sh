#!/usr/bin/env bash
# torch-uncertainty's AURC depends on the order of samples with equal confidence
#
# Versions: Python 3.11, torch-uncertainty 0.13.0, lightning 2.6.6, torch 2.13.0, torchvision 0.28.0
# Behaviour: the area under the risk-coverage curve sorts samples by confidence. Equal confidences stay in the
#   order in which they came, so that the same four predictions score anything from good to bad. Ties are
#   common: a saturated float32 softmax is exactly 1 for many samples, quantised networks have few values, and
#   a test set sorted by class is an order that matters.
# Output seen (four samples, confidence 0.8 each, two of them right):
#   right ones first 0.194, alternating 0.361, wrong ones first 0.806
# Cure: break ties by chance and take the mean, or let tied samples enter together.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet "torch-uncertainty[cpu]==0.13.0" lightning==2.6.6 torch==2.13.0 torchvision==0.28.0
"$folder/bin/python" -W ignore - <<'PY'
import torch

try:
    import torchvision
except RuntimeError:  # a CPU build of torch lacks two operators that torchvision wants declared
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torch_uncertainty.metrics.classification import AURC


def area(correct):
    metric = AURC()
    metric.update(torch.tensor([[0.8, 0.2]] * 4), 1 - torch.tensor(correct))
    return metric.compute().item()


first, alternating, last = area([1, 1, 0, 0]), area([1, 0, 1, 0]), area([0, 0, 1, 1])
print(f"right ones first {first:.3f}, alternating {alternating:.3f}, wrong ones first {last:.3f}")
assert first < alternating < last and last - first > 0.5, "ties no longer depend on the order"
PY
