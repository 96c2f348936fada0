#!/usr/bin/env bash
# The AUROC of log-densities is 0.5 in torchmetrics, however well they separate
#
# Versions: Python 3.11, torchmetrics 1.9.0, torch 2.13.0, numpy 2.4.6
# Behaviour: BinaryAUROC takes scores outside [0, 1] for logits and passes them through a float32 sigmoid.
#   Below about -104 that is 0 for every score, and above 17 it is 1: all scores are tied, and the area is
#   0.5. The decision is made anew for every batch, so that scores near 0 may be squashed in one batch and
#   not in the next, and the area then depends on the batches.
# Output seen:
#   log-densities of known and unknown samples, exact area 0.908, BinaryAUROC 0.500
#   the same scores, as ranks in [0, 1]:                          BinaryAUROC 0.908
#   four scores in one batch: 0.75, in two batches: 1.00
# Cure: scikit-learn's roc_auc_score, or replace scores by their ranks divided by their number.
# Also: torchmetrics issues 2195 and 2819 (open).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torchmetrics==1.9.0 torch==2.13.0 numpy==2.4.6
"$folder/bin/python" - <<'PY'
import torch
from torchmetrics.classification import BinaryAUROC

generator = torch.Generator().manual_seed(0)
known = torch.arange(2).repeat_interleave(500)
log_density = -300 + 20 * known + 10 * torch.randn(1000, generator=generator)
ranks = log_density.argsort().argsort() / 1000
exact = (log_density[500:, None] > log_density[:500]).float().mean()


def area(*batches):
    metric = BinaryAUROC()
    for scores, labels in batches:
        metric.update(scores, labels)
    return metric.compute()


squashed, ranked = area((log_density, known)), area((ranks, known))
scores, labels = torch.tensor([0.9, 0.8, 2.0, 3.0]), torch.tensor([1, 0, 0, 1])
together = area((scores, labels))
apart = area((scores[:2], labels[:2]), (scores[2:], labels[2:]))
print(f"log-densities of known and unknown samples, exact area {exact:.3f}, BinaryAUROC {squashed:.3f}")
print(f"the same scores, as ranks in [0, 1]:                          BinaryAUROC {ranked:.3f}")
print(f"four scores in one batch: {together:.2f}, in two batches: {apart:.2f}")
assert squashed == 0.5, "log-densities are ranked as they are now"
assert abs(ranked - exact) < 1e-3 and exact > 0.9
assert together != apart
PY
