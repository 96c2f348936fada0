#!/usr/bin/env bash
# A transformers model loaded in another process has no hidden states to give
#
# Versions: Python 3.11, transformers 5.24.0, torch 2.13.0
# Behaviour: what a model can record is noted per class in a table that __init__ fills. Unpickling (torch.load of
#   a whole model, joblib, process pools) calls no __init__: in a process that built no model of the class,
#   output_hidden_states=True gives None, without a word. SegFormer's segmentation, which needs
#   its own hidden states, raises TypeError: 'NoneType' object is not subscriptable in its forward pass.
# Output seen:
#   where it was built: 3 hidden states
#   where it was loaded: None
#   where it was loaded, after another model of the class was built: 3 hidden states
# Cure: from_pretrained; or build any model of the class first, e.g. on the meta device.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet transformers==5.24.0 torch==2.13.0
"$folder/bin/python" - "$folder/network.pt" <<'PY'
import subprocess
import sys

import torch
from transformers import BertConfig, BertModel

sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
network = BertModel(BertConfig(vocab_size=100, **sizes)).eval()
torch.save(network, sys.argv[1])
states = network(torch.tensor([[5, 6, 7]]), output_hidden_states=True).hidden_states
print(f"where it was built: {len(states)} hidden states")
LOADING = """
import sys
import torch
network = torch.load(sys.argv[1], weights_only=False)
words = torch.tensor([[5, 6, 7]])
states = network(words, output_hidden_states=True).hidden_states
print(f"where it was loaded: {states}")
assert states is None, "hidden states survive loading now"
with torch.device("meta"):
    type(network)(network.config)
network = torch.load(sys.argv[1], weights_only=False)
states = network(words, output_hidden_states=True).hidden_states
print(f"where it was loaded, after another model of the class was built: {len(states)} hidden states")
"""
subprocess.run([sys.executable, "-c", LOADING, sys.argv[1]], check=True)
PY
