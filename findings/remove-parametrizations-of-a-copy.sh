#!/usr/bin/env bash
# Taking weight norm off a copy of a network breaks the original
#
# Versions: Python 3.11, torch 2.13.0, numpy 2.4.6
# Behaviour: a parametrized module gets a class of its own (ParametrizedLinear), on which the weight is a property.
#   copy.deepcopy shares this class, and remove_parametrizations deletes the property from the class: the original,
#   which was not touched, has no weight any more. The same befalls all other copies, those of averaged weights too.
# Output seen:
#   before: the original and its copy agree
#   after remove_parametrizations(copy): original AttributeError: 'ParametrizedLinear' object has no attribute 'weight'
# Cure: build the network anew and load the state dict into it, instead of deepcopy (pickling is refused).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/bin/python" - <<'PY'
import copy

import torch
from torch.nn.utils.parametrizations import weight_norm
from torch.nn.utils.parametrize import remove_parametrizations

torch.manual_seed(0)
original = weight_norm(torch.nn.Linear(3, 2))
twin = copy.deepcopy(original)
x = torch.ones(1, 3)
assert torch.equal(original(x), twin(x))
print("before: the original and its copy agree")
remove_parametrizations(twin, "weight")
found = None
try:
    original(x)
except AttributeError as error:
    found = error
print(f"after remove_parametrizations(copy): original {type(found).__name__}: {found}")
assert found is not None, "the original is left alone now"
PY
