#!/usr/bin/env bash
# ART's DeepFool oversteps by the width of clip_values
#
# Versions: Python 3.11, adversarial-robustness-toolbox 1.20.1 (with packaging 26.4, which it imports and does
#   not require), torch 2.13.0, scikit-learn 1.9.1, numpy 2.4.6
# Behaviour: DeepFool looks for the smallest perturbation that changes the label, and its norm is reported as a
#   network's robustness. With clip_values (low, high), ART multiplies every step by high - low, right for
#   pictures in [0, 1] only. For standardised pictures in [-3, 3] the norm is up to six times too large,
#   and the network looks hard to fool. For a linear network the right answer is known.
# Output seen (a linear network, mean norm over 50 inputs in [-2.9, 2.9]):
#   exact distance to the nearest other class   0.606
#   clip_values=None                            0.618
#   clip_values=(-3, 3)                         3.617
# Cure: clip_values=None and clip afterwards, or attack pictures in [0, 1] and standardise inside the network.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet adversarial-robustness-toolbox==1.20.1 torch==2.13.0 \
    scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 packaging==26.4
"$folder/bin/python" -W ignore - <<'PY'
import numpy as np
import torch
from art.attacks.evasion import DeepFool
from art.estimators.classification import PyTorchClassifier

torch.manual_seed(0)
network = torch.nn.Linear(20, 3)
X = np.random.default_rng(0).normal(size=(50, 20)).clip(-2.9, 2.9).astype(np.float32)


def exact_distance():
    logits, weights = network(torch.tensor(X)).detach(), network.weight.detach()
    top, label = logits.max(dim=1, keepdim=True).values, logits.argmax(dim=1)
    distance = (top - logits) / (weights[label][:, None] - weights).norm(dim=2)
    distance[torch.arange(len(X)), label] = torch.inf
    return distance.min(dim=1).values.mean().item()


def deepfool_norm(clip_values):
    classifier = PyTorchClassifier(
        network, torch.nn.CrossEntropyLoss(), (20,), 3, clip_values=clip_values, device_type="cpu"
    )
    fooled = DeepFool(classifier, epsilon=0.02, verbose=False).generate(X)
    return np.linalg.norm(fooled - X, axis=1).mean()


exact, free, clipped = exact_distance(), deepfool_norm(None), deepfool_norm((-3, 3))
print(f"exact distance to the nearest other class   {exact:.3f}")
print(f"clip_values=None                            {free:.3f}")
print(f"clip_values=(-3, 3)                         {clipped:.3f}")
assert abs(free / exact - 1.02) < 0.001
assert clipped / exact > 5, "steps no longer grow with the width"
PY
