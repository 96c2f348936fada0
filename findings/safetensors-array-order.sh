#!/usr/bin/env bash
# The axes that PCA learned come back from a safetensors file in disorder
#
# Versions: Python 3.11, safetensors 0.8.0, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: safetensors.numpy writes an array's bytes as they lie in memory and notes the shape as if they
#   lay row by row. PCA.components_ lies column by column, so the file holds the right shape and the right
#   set of numbers in wrong places. safetensors 0.7.0 writes the same array correctly.
# Output seen:
#   components_ is row by row: False
#   same shape True, same numbers sorted True, same array False
#   mean squared error of the reconstruction: 1.39 before, 17.09 after saving and loading
# Cure: numpy.ascontiguousarray(array) before saving.
# Also: safetensors issue 825 (open).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet safetensors==0.8.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
from safetensors.numpy import load, save
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

X = load_digits().data
axes = PCA(24).fit(X).components_
loaded = load(save({"axes": axes}))["axes"]
row_by_row = load(save({"axes": np.ascontiguousarray(axes)}))["axes"]


def reconstruction_error(axes):
    centred = X - X.mean(axis=0)
    return ((centred - centred @ axes.T @ axes) ** 2).mean()


same_numbers = np.array_equal(np.sort(loaded, axis=None), np.sort(axes, axis=None))
before, after = reconstruction_error(axes), reconstruction_error(loaded)
print("components_ is row by row:", axes.flags.c_contiguous)
print(f"same shape {loaded.shape == axes.shape}, same numbers sorted {same_numbers}, ", end="")
print("same array", np.array_equal(loaded, axes))
print(f"mean squared error of the reconstruction: {before:.2f} before, {after:.2f} after saving and loading")
assert loaded.shape == axes.shape and same_numbers and not np.array_equal(loaded, axes)
assert after > 5 * before, "arrays of any order come back whole now"
assert np.array_equal(row_by_row, axes)
PY
