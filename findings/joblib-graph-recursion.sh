#!/usr/bin/env bash
# joblib cannot save torchvision's graph of a long network, which pickle saves
#
# Versions: Python 3.11, torchvision 0.28.0, torch 2.13.0, joblib 1.6.0
# Behaviour: create_feature_extractor gives a module that holds its torch.fx graphs, whose nodes are a linked list.
#   pickle, in C, follows it; joblib.dump's pickler is Python code and runs into its limit of recursion with a
#   ShuffleNet (ResNet-18 is short enough). So a scikit-learn pipeline with such a network can't be saved.
# Output seen:
#   resnet18: 52 nodes, pickle yes, joblib yes
#   shufflenet_v2_x0_5: 274 nodes, pickle yes, joblib RecursionError
# Cure: sys.setrecursionlimit(100_000) around joblib.dump, or joblib.dump of pickle.dumps(network).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torchvision==0.28.0 torch==2.13.0 joblib==1.6.0 numpy==2.4.6
"$folder/bin/python" - <<'PY'
import io
import pickle

import joblib
import torch

if torch.version.cuda is None:  # else torchvision's wheel can't be imported beside a CPU build of torch
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor


def saves(dump, network):
    try:
        dump(network, io.BytesIO())
    except RecursionError:
        return "RecursionError"
    return "yes"


found = {}
for build, layer in ((models.resnet18, "layer3"), (models.shufflenet_v2_x0_5, "stage3")):
    network = create_feature_extractor(build(weights=None), {layer: "maps"}).eval()
    found[build.__name__] = saves(pickle.dump, network), saves(joblib.dump, network)
    print(f"{build.__name__}: {len(network.graph.nodes)} nodes, pickle {found[build.__name__][0]}, joblib {found[build.__name__][1]}")
assert found["shufflenet_v2_x0_5"] == ("yes", "RecursionError"), "joblib saves long graphs now"
PY
