#!/usr/bin/env bash
# A transformers model that once returned its hidden states can be saved no more
#
# Versions: Python 3.11, transformers 5.24.0, torch 2.13.0
# Behaviour: the first call with output_hidden_states=True (or output_attentions=True) leaves forward hooks on
#   the model for good, and they are local functions: pickle, torch.save(model), joblib.dump and process pools
#   fail from then on, with a message that names neither the call nor the model. SegFormer's segmentation
#   model makes such a call itself in every forward pass. copy.deepcopy still works, and copies the hooks.
# Output seen:
#   before: pickles, 0 hooks
#   after one call: AttributeError: Can't pickle local object 'install_output_capuring_hook.<locals>.output_capturing_hook', 4 hooks
# Cure: save_pretrained or the state dict; pickle the model before its first such call; or remove these hooks.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet transformers==5.24.0 torch==2.13.0
"$folder/bin/python" - <<'PY'
import pickle

import torch
from transformers import BertConfig, BertModel

sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
network = BertModel(BertConfig(vocab_size=100, **sizes)).eval()
words = torch.tensor([[5, 6, 7]])


def hooks():
    return sum(len(part._forward_hooks) for part in network.modules())


network(words)
pickle.dumps(network)
print(f"before: pickles, {hooks()} hooks")
network(words, output_hidden_states=True)
refused = None
try:
    pickle.dumps(network)
except (AttributeError, pickle.PicklingError) as error:
    refused = error
print(f"after one call: {type(refused).__name__}: {refused}, {hooks()} hooks")
assert refused is not None, "it can be pickled now"
PY
