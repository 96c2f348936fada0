#!/usr/bin/env bash
# A model for the labels True and False has other class weights after skops saved it
#
# Versions: Python 3.11, skops 0.16.0, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: skops writes keys of a dict as strings and makes their type of these again. bool("False") is True, so that
#   {False: 10, True: 1} is loaded as {True: 1}. What was fitted predicts as before; what is fitted again, in a search,
#   by cross-validation or on new data, has other weights, and no word is said. Names of errors detected (False, True)
#   are a usual target of this field.
# Output seen (weights, and share of samples with the label True, before and after fitting again):
#   saved   {False: 10, True: 1}  0.061  0.061
#   loaded  {True: 1}             0.061  0.462
# Cure: whole numbers or strings as labels; {0: 10, 1: 1} is loaded as it is.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet skops==0.16.0 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
import skops.io
from sklearn.linear_model import LogisticRegression

rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 1))
y = X[:, 0] + rng.normal(size=1000) > 0


def again(model):
    return skops.io.loads(skops.io.dumps(model))


def row(name, model):
    before, weights = model.predict(X).mean(), model.class_weight
    after = model.fit(X, y).predict(X).mean()
    print(f"{name:6}  {weights!s:20}  {before:.3f}  {after:.3f}")
    return weights, before, after


model = LogisticRegression(class_weight={False: 10, True: 1}).fit(X, y)
loaded = again(model)
rows = row("saved", model), row("loaded", loaded)
assert rows[0][1] == rows[0][2] == rows[1][1]
assert again(LogisticRegression(class_weight={0: 10, 1: 1})).class_weight == {0: 10, 1: 1}
assert rows[1][0] == {True: 1}, "the keys True and False are kept now"
assert rows[1][2] > rows[0][2] + 0.2
PY
