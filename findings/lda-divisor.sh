#!/usr/bin/env bash
# LinearDiscriminantAnalysis decides by another covariance than it shows; a patch release changes its probabilities
#
# Versions: Python 3.11, scikit-learn 1.9.0 and 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: until 1.9.0 the default solver "svd" divides the scatter by n - k (k classes) where it decides, and by n
#   in covariance_; the solvers "lsqr" and "eigen" divide by n. QuadraticDiscriminantAnalysis divides by n - 1. From
#   1.9.1 on all divide by n: the same training gives other probabilities after an update in the third place.
# Output seen (three features of iris, ten samples per class; mean confidence on the others):
#   1.9.0  LDA svd 0.9836   LDA lsqr 0.9853   QDA svd 0.9884   QDA eigen 0.9897
#   1.9.1  LDA svd 0.9853   LDA lsqr 0.9853   QDA svd 0.9897   QDA eigen 0.9897
# Cure: give the solver by name ("lsqr", and QDA's "eigen"): these divide by n in both versions.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/run.py" <<'PY'
import json
import sys

import numpy as np
import sklearn
from sklearn.datasets import load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis as LDA
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis as QDA

X, y = load_iris(return_X_y=True)
X, chosen = X[:, :3], np.arange(150) % 50 < 10
models = {"LDA svd": LDA(), "LDA lsqr": LDA("lsqr"), "QDA svd": QDA(), "QDA eigen": QDA(solver="eigen")}
seen = {}
for name, model in models.items():
    seen[name] = model.fit(X[chosen], y[chosen]).predict_proba(X[~chosen]).max(axis=1).mean()
print(sklearn.__version__, *(f"{name} {value:.4f}" for name, value in seen.items()), sep="  ")
if len(sys.argv) > 1:
    before = json.loads(sys.argv[1])
    moved = {name for name in seen if abs(seen[name] - before[name]) > 1e-3}
    assert moved == {"LDA svd", "QDA svd"}, moved
    assert abs(before["LDA svd"] - before["LDA lsqr"]) > 1e-3
    assert abs(seen["LDA svd"] - seen["LDA lsqr"]) < 1e-9
else:
    print(json.dumps(seen), file=sys.stderr)
PY
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install --quiet scikit-learn==1.9.0 numpy==2.4.6 scipy==1.17.1
"$folder/v/bin/python" "$folder/run.py" 2>"$folder/before"
"$folder/v/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/v/bin/python" "$folder/run.py" "$(cat "$folder/before")"
