#!/usr/bin/env bash
# cross_validate cuts held-out samples by the indices of the training fold, if they are as many as X
#
# Versions: Python 3.11, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: what is passed in params= is taken for one value per sample of X if it has the length of X. X_val and
#   y_val, which HistGradientBoostingClassifier takes for early stopping, are held-out samples of their own: 300 beside
#   300 are cut to the rows with the numbers of the training fold, 301 are passed whole. So do GridSearchCV and others.
# Output seen (held-out samples that reach fit, in each of 3 folds):
#   X has 300, X_val 300: [200, 200, 200]
#   X has 300, X_val 301: [301, 301, 301]
# Cure: give the held-out samples to the estimator, such as by functools.partial, or one sample more or less.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_validate

sklearn.set_config(enable_metadata_routing=True)
reached = []


class Watched(HistGradientBoostingClassifier):
    def fit(self, X, y, X_val=None, y_val=None):
        reached.append(len(X_val))
        return super().fit(X, y, X_val=X_val, y_val=y_val)


def held_out(n):
    """Return the numbers of held-out samples that reach fit, of n that are given."""
    reached.clear()
    rng = np.random.default_rng(0)
    X, X_val = rng.normal(size=(300, 2)), rng.normal(size=(n, 2))
    model = Watched(early_stopping=True, max_iter=3).set_fit_request(X_val=True, y_val=True)
    params = {"X_val": X_val, "y_val": X_val[:, 0] > 0}
    cross_validate(model, X, X[:, 0] > 0, cv=3, params=params, error_score="raise")
    return list(reached)


same, other = held_out(300), held_out(301)
print(f"X has 300, X_val 300: {same}\nX has 300, X_val 301: {other}")
assert other == [301] * 3
assert same == [200] * 3, "held-out samples are passed whole now"
PY
