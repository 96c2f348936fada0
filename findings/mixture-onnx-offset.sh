#!/usr/bin/env bash
# A Gaussian mixture changes labels when it becomes ONNX, if the features have an offset
#
# Versions: Python 3.11, skl2onnx 1.20.0, onnxruntime 1.32.0, onnx 1.23.2, scikit-learn 1.9.1, numpy 2.4.6
# Behaviour: for "diag" and "spherical", skl2onnx writes the squared distance as x² - 2xm + m², all in float32.
#   Where the mean is large beside the spread the three terms cancel, and what is left is rounding.
#   scikit-learn writes it so too, but only x² is float32 there: given the same float32 samples it keeps its
#   labels until the offset is ten times larger. ONNX keeps them for "full" and "tied".
# Output seen (iris, spread 0.1; labels of 150 that differ from the float64 model's):
#   offset    0: scikit-learn in float32    0   ONNX diag    0   ONNX full    0
#   offset  100: scikit-learn in float32    0   ONNX diag    9   ONNX full    0
#   offset 1000: scikit-learn in float32   39   ONNX diag   90   ONNX full    0
# Cure: centre the features before the mixture (StandardScaler), or convert it in float64.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet skl2onnx==1.20.0 onnxruntime==1.32.0 onnx==1.23.2 \
    scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
from onnxruntime import InferenceSession
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.mixture import GaussianMixture

flowers = load_iris().data / 10


def labels_changed(covariance_type, offset):
    X = flowers + offset
    narrow = X.astype(np.float32)
    model = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    session = InferenceSession(to_onnx(model, narrow[:1]).SerializeToString())
    exported = session.run(None, {session.get_inputs()[0].name: narrow})[0].ravel()
    expected = model.predict(X)
    return (model.predict(narrow) != expected).sum(), (exported != expected).sum()


changed = {}
for offset in (0, 100, 1000):
    here, diag = labels_changed("diag", offset)
    full = labels_changed("full", offset)[1]
    changed[offset] = here, diag, full
    print(f"offset {offset:>4}: scikit-learn in float32 {here:>4}   ONNX diag {diag:>4}   ONNX full {full:>4}")
assert changed[0] == (0, 0, 0)
assert changed[100][0] == 0 and changed[100][1] > 0, "the exported mixture bears an offset now"
assert changed[1000][1] > 50 and changed[1000][2] == 0
PY
