#!/usr/bin/env bash
# ViT-MAE's features are random in evaluation mode
#
# Versions: Python 3.11, transformers 5.24.0, torch 2.13.0
# Behaviour: ViTMAEModel drops a random three quarters of the picture in every forward pass, in evaluation mode
#   too, and gives the rest in random order: two passes of one picture differ as much as two pictures do.
#   With mask_ratio=0 nothing is dropped, but the order stays random: means over tokens are right, single tokens are not.
# Output seen:
#   mask_ratio 0.75: tokens (1, 5, 32), mean over tokens differs by 1.4 between two passes of one picture, the last token by 3.50
#   mask_ratio 0.0: tokens (1, 17, 32), mean over tokens differs by 1.2e-07 ..., the last token by 3.37
# Cure: config.mask_ratio = 0.0 before features are taken, and the mean over tokens or the first token.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet transformers==5.24.0 torch==2.13.0
"$folder/bin/python" - <<'PY'
import torch
from transformers import ViTMAEConfig, ViTMAEModel

sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
torch.manual_seed(0)
picture = torch.randn(1, 3, 32, 32)
for ratio in (0.75, 0.0):
    config = ViTMAEConfig(image_size=32, patch_size=8, mask_ratio=ratio, **sizes)
    network = ViTMAEModel(config).eval()
    with torch.no_grad():
        one, two = (network(picture).last_hidden_state for _ in range(2))
    mean, fifth = (one.mean(1) - two.mean(1)).abs().max(), (one[:, -1] - two[:, -1]).abs().max()
    print(f"mask_ratio {ratio}: tokens {tuple(one.shape)}, mean over tokens differs by {mean:.2g} "
          f"between two passes of one picture, the last token by {fifth:.2f}")
    assert (mean > 0.1) == (ratio > 0), "evaluation mode drops nothing now"
    assert fifth > 0.1, "evaluation mode keeps the order now"
PY
