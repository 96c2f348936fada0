#!/usr/bin/env bash
# Dataset.map gives the features of the network before it was trained, if its function is in a module
#
# Versions: Python 3.11, datasets 5.2.0, torch 2.13.0, numpy 2.4.6
# Behaviour: map keeps its results under a hash of the function. One that is written in the script is hashed with the
#   globals that it uses, weights of a network included; one that is imported is hashed by its name alone. Move the
#   function to a file of its own, train or load other weights, and the features are read from the cache. In another
#   process the same.
# Output seen (x = [1, 2], the network multiplies by its weight, first 1, then 5):
#   written in the script   [1.0, 2.0], then [5.0, 10.0]
#   imported                [1.0, 2.0], then [1.0, 2.0]
# Cure: new_fingerprint= with a hash of the weights, load_from_cache_file=False, or the network in fn_kwargs.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet datasets==5.2.0 torch==2.13.0 numpy==2.4.6
cat >"$folder/embedding.py" <<'PY'
import torch

network = torch.nn.Linear(1, 1, bias=False)


def features(batch):
    with torch.no_grad():
        return {"feature": network(torch.tensor(batch["x"])[:, None])[:, 0].tolist()}
PY
cat >"$folder/script.py" <<'PY'
import datasets
import embedding
import torch

network, by_argument = embedding.network, lambda batch, network: features(batch)


def features(batch):
    with torch.no_grad():
        return {"feature": network(torch.tensor(batch["x"])[:, None])[:, 0].tolist()}


def both(function, **options):
    found = []
    for weight in (1.0, 5.0):
        torch.nn.init.constant_(network.weight, weight)
        found.append(data.map(function, batched=True, **options)["feature"][:])
    return found


datasets.disable_progress_bars()
data = datasets.load_dataset("csv", data_files="x.csv", split="train", cache_dir="cache")
written, imported = both(features), both(embedding.features)
print("written in the script   {}, then {}".format(*written))
print("imported                {}, then {}".format(*imported))
right = [[1.0, 2.0], [5.0, 10.0]]
assert written == both(by_argument, fn_kwargs={"network": network}) == right
assert imported[1] == imported[0] == right[0], "the imported function sees new weights now"
PY
cd "$folder"
printf 'x\n1.0\n2.0\n' >x.csv
HF_HUB_OFFLINE=1 HF_HOME="$folder/home" bin/python -W ignore script.py
