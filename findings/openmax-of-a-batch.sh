#!/usr/bin/env bash
# pytorch-ood's OpenMax scores a picture by the other pictures of its batch
#
# Versions: Python 3.11, pytorch-ood 0.4.0, torch 2.13.0, torchvision 0.28.0, scipy 1.17.1, numpy 2.4.6
# Behaviour: OpenMax compares a picture's logits with the mean logits of each class. pytorch-ood computes the
#   distances only to classes that are predicted somewhere in the same batch, and takes 0 for the others, as if
#   the picture stood at their centre. The probability of "unknown" thus depends on what else is scored.
# Output seen (ten classes; 200 pictures scored one by one, and in one batch with 800 more):
#   largest difference of the probability of "unknown"   0.806
# Cure: append one training picture of each class to every batch and drop their scores. OpenMax of
#   sklearn_densconf.evaluation.peers looks at all centres.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet pytorch-ood==0.4.0 torch==2.13.0 torchvision==0.28.0 scipy==1.17.1 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import numpy as np
import torch

if torch.version.cuda is None:  # PyPI's torchvision beside a CPU build of torch lacks two operators
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from pytorch_ood.detector import OpenMax

draw, y = np.random.default_rng(0), np.arange(1200) % 10
logits = torch.tensor(draw.normal(size=(1200, 10)) + 6 * np.eye(10)[y], dtype=torch.float32)
openmax = OpenMax(None).fit_logits(logits, torch.tensor(y))
together = openmax.predict_logits(logits[:1000])[:200]
alone = torch.cat([openmax.predict_logits(one[None]) for one in logits[:200]])
difference = float((together - alone).abs().max())
print(f'largest difference of the probability of "unknown"   {difference:.3f}')
assert difference > 0.5, "a picture's score no longer depends on its batch"
PY
