#!/usr/bin/env bash
# What fused optimizers and batch norm write into a tensor is not counted by its version
#
# Versions: Python 3.11, torch 2.13.0, numpy 2.4.6
# Behaviour: tensor._version counts what is written in place; autograd looks at it, and caches of features do, to tell
#   that weights are still those that made the features. A step of an optimizer with fused=True changes the weights
#   and not the count, and a pass of batch norm in training changes its statistics and not the count. A cache then
#   gives features of the network before; and backward, which refuses weights that were changed since the forward
#   pass, computes wrong gradients without a word.
# Output seen:
#   SGD                weights changed True, writes counted 1, then backward: RuntimeError
#   SGD, fused         weights changed True, writes counted 0, then backward: gradient 0.0, where 2.0 is right
#   batch norm         statistics changed True, writes counted 0
# Cure: know weights by a hash of their content; step only after backward.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import torch


def step(fused):
    """Return whether weights changed, how many writes were counted, and the gradient in the end."""
    weight = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=1.0, fused=fused)
    loss = (weight**2).sum()  # whose gradient is 2 w = 2, at the weight of the forward pass
    weight.grad, version = torch.ones(1), weight._version
    optimizer.step()
    changed, counted = weight.item() != 1, weight._version - version
    optimizer.zero_grad()
    try:
        loss.backward()
    except RuntimeError as error:
        assert "modified by an inplace operation" in str(error)
        return changed, counted, "RuntimeError"
    return changed, counted, f"gradient {weight.grad.item()}, where 2.0 is right"


plain, fused = step(False), step(True)
print("SGD                weights changed {}, writes counted {}, then backward: {}".format(*plain))
print("SGD, fused         weights changed {}, writes counted {}, then backward: {}".format(*fused))
norm = torch.nn.BatchNorm1d(3)
mean, version = norm.running_mean.clone(), norm.running_mean._version
norm(torch.randn(8, 3) + 5)
changed, counted = not torch.equal(mean, norm.running_mean), norm.running_mean._version - version
print(f"batch norm         statistics changed {changed}, writes counted {counted}")
assert plain == (True, 1, "RuntimeError")
assert changed and fused[0]
assert fused[1] == 0 and fused[2].startswith("gradient 0.0"), "fused writes are counted now"
assert counted == 0, "what batch norm writes is counted now"
PY
