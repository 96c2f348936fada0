#!/usr/bin/env bash
# pytorch-ood's temperature scaling ends far from the temperature, and goes on from there at each further fit
#
# Versions: Python 3.11, pytorch-ood 0.4.0, torch 2.13.0, torchvision 0.28.0, scipy 1.17.1, numpy 2.4.6
# Behaviour: fit_logits takes 50 steps of L-BFGS with a learning rate of 0.01 and no line search, which move the
#   temperature by some 0.25 whatever it should be; the documentation calls the optimum approximate. The next
#   fit_logits begins at the temperature of the last one, so that a second fit to the same data gives another.
# Output seen (5000 logits of ten classes that are three times too large; then fitted again to the same):
#   temperature of the least loss   3.02
#   after 1, 2, 3 and 4 fits        1.24 1.50 1.77 2.04
# Cure: minimise the loss over log T by scipy.optimize.minimize_scalar, as here;
#   sklearn_densconf.SoftmaxClassifier(temperature="nll") does so too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet pytorch-ood==0.4.0 torch==2.13.0 torchvision==0.28.0 scipy==1.17.1 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

if torch.version.cuda is None:  # PyPI's torchvision beside a CPU build of torch lacks two operators
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from pytorch_ood.detector import TemperatureScaling

draw = np.random.default_rng(0)
true = 2 * draw.normal(size=(5000, 10))
y = np.array([draw.choice(10, p=row) for row in softmax(true, axis=1)])
logits = 3 * true


def loss(log_t):
    return -log_softmax(logits / np.exp(log_t), axis=1)[np.arange(len(y)), y].mean()


wanted = np.exp(minimize_scalar(loss, bounds=(-4, 4)).x)
scaling = TemperatureScaling(None)
found = []
for _ in range(4):
    scaling.fit_logits(torch.tensor(logits, dtype=torch.float32), torch.tensor(y))
    found.append(scaling.t.item())
print(f"temperature of the least loss   {wanted:.2f}")
print("after 1, 2, 3 and 4 fits        " + " ".join(f"{t:.2f}" for t in found))
assert 2.9 < wanted < 3.1
assert found[0] < 1.5, "one fit comes near the temperature now"
assert found[-1] > found[0] + 0.5, "a further fit begins anew now"
PY
