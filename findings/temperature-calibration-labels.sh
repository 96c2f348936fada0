#!/usr/bin/env bash
# Temperature calibration answers 1/k for every sample when labels are 1 ... k
#
# Versions: Python 3.11, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: CalibratedClassifierCV(method="temperature") compares labels with column numbers. With labels
#   0 ... k-1 and with strings it works. With integers that start elsewhere, the temperature that it finds
#   flattens every row to 1/k: no error, no warning, and the accuracy stays as it was.
# Output seen:
#   labels 0, 1, 2      mean confidence 0.977   accuracy 0.973
#   labels 1, 2, 3      mean confidence 0.333   accuracy 0.973
#   labels "a" to "c"   mean confidence 0.977   accuracy 0.973
# Cure: number the labels from 0 (LabelEncoder), or give strings.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_iris
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression

X, codes = load_iris(return_X_y=True)


def calibrated_confidence(name, y):
    model = FrozenEstimator(LogisticRegression(max_iter=1000).fit(X, y))
    calibrated = CalibratedClassifierCV(model, method="temperature").fit(X, y)
    confidence = calibrated.predict_proba(X).max(axis=1).mean()
    print(f"{name:<19} mean confidence {confidence:.3f}   accuracy {calibrated.score(X, y):.3f}")
    return confidence


from_zero = calibrated_confidence("labels 0, 1, 2", codes)
from_one = calibrated_confidence("labels 1, 2, 3", codes + 1)
strings = calibrated_confidence('labels "a" to "c"', np.array(["a", "b", "c"])[codes])
assert abs(from_one - 1 / 3) < 1e-3, "labels from 1 are calibrated now"
assert from_zero > 0.95 and strings > 0.95
PY
