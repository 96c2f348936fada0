#!/usr/bin/env bash
# An attack of torchattacks sets torch's global seed to 0: what is drawn after it is the same in every repetition
#
# Versions: Python 3.11, torchattacks 3.5.1, torch 2.13.0, torchvision 0.28.0, numpy 2.4.6, scipy 1.17.1
# Behaviour: APGD, APGDT, FAB and Square have a seed, 0 by default, which each call gives to torch.random.manual_seed,
#   and nothing restores the generator. Noise, dropout, shuffled batches and the random starts of other attacks that
#   follow are the same in each repetition: their standard deviation over repetitions is 0. PGD leaves it alone.
# Output seen (a mean of 100 normal numbers, drawn after the attack, with seeds 1 to 5 set before it):
#   PGD      -0.035 0.084 -0.106 0.049 -0.026
#   APGD     0.110 0.110 0.110 0.110 0.110
#   Square   0.034 0.034 0.034 0.034 0.034
# Cure: with torch.random.fork_rng(): around the attack; deepfool of sklearn_densconf draws nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torchattacks==3.5.1 torch==2.13.0 torchvision==0.28.0 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" -W ignore - <<'PY'
import torch

if torch.version.cuda is None:  # PyPI's torchvision beside a CPU build of torch lacks two operators
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import torchattacks

network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 4)).eval()
torch.manual_seed(0)
pictures = torch.rand(20, 1, 8, 8)
labels = network(pictures).argmax(1)
drawn = {}
for name, few in (("PGD", {}), ("APGD", {"steps": 3}), ("Square", {"n_queries": 20})):
    attack, drawn[name] = getattr(torchattacks, name)(network, **few), []
    for seed in range(1, 6):
        torch.manual_seed(seed)
        attack(pictures, labels)
        drawn[name].append(torch.randn(100).mean().item())
    print(f"{name:8} " + " ".join(f"{value:.3f}" for value in drawn[name]))
assert len(set(drawn["PGD"])) == 5
assert len(set(drawn["APGD"])) == len(set(drawn["Square"])) == 1, "the generator is restored now"
torch.manual_seed(1)
with torch.random.fork_rng():
    torchattacks.APGD(network, steps=3)(pictures, labels)
after = torch.rand(1)
torch.manual_seed(1)
assert torch.equal(after, torch.rand(1))
PY
