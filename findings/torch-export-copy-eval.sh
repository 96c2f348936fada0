#!/usr/bin/env bash
# A copy of an exported module takes eval() and goes on dropping out
#
# Versions: Python 3.11, torch 2.13.0, numpy 2.4.6
# Behaviour: what torch.export captures has its mode, training or evaluation, in its graph. Its module refuses
#   train() and eval() with NotImplementedError, so that nobody believes them. The refusal is an attribute of the
#   instance that copy.deepcopy leaves behind: the copy takes eval(), says training=False, and still drops out.
# Output seen:
#   module:   eval() NotImplementedError
#   deepcopy: eval() accepted, training=False, two passes of one input differ
# Cure: export the network in evaluation mode; don't rely on the flag of a copy.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/bin/python" -W ignore - <<'PY'
import copy

import torch

network = torch.nn.Sequential(torch.nn.Linear(4, 64), torch.nn.Dropout(0.5)).train()
module = torch.export.export(network, (torch.ones(1, 4),)).module()
refused = None
try:
    module.eval()
except NotImplementedError as error:
    refused = error
print(f"module:   eval() {type(refused).__name__}")
twin = copy.deepcopy(module)
twin.eval()
torch.manual_seed(0)
differ = not torch.equal(twin(torch.ones(1, 4)), twin(torch.ones(1, 4)))
print(f"deepcopy: eval() accepted, training={twin.training}, two passes of one input {'differ' if differ else 'agree'}")
assert refused is not None and not twin.training
assert differ, "the copy obeys eval() now"
PY
