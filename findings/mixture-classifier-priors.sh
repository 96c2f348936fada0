#!/usr/bin/env bash
# scikit-lego's mixture classifiers leave out the priors, and one of them has no answer far away
#
# Versions: Python 3.11, scikit-lego 0.9.10, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: GMMClassifier and GaussianMixtureNB fit one density per class and divide it by the sum over classes.
#   Bayes' rule weighs each density with the class's frequency first; without it, of nine to one, half way
#   between the classes, the rare class is preferred. GaussianMixtureNB moreover divides after leaving log
#   space: far away both densities are 0, and the probabilities are NaN (a warning of numpy, no error).
# Output seen (900 samples around 0, 100 around 2; probability of the rare class):
#                              at 1     at 200
#   Bayes' rule               0.127      1.000
#   GMMClassifier             0.566      1.000
#   GaussianMixtureNB         0.566        nan
# Cure: multiply by the class frequencies and divide again; for far points compute with log-densities.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet scikit-lego==0.9.10 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" -W ignore - <<'PY'
import numpy as np
from sklearn.naive_bayes import GaussianNB
from sklego.mixture import GMMClassifier
from sklego.naive_bayes import GaussianMixtureNB

rng = np.random.default_rng(0)
X = np.concatenate([rng.normal(0, 1, (900, 1)), rng.normal(2, 1, (100, 1))])
y = np.repeat([0, 1], [900, 100])

rare = {}
print(" " * 27 + "at 1     at 200")
for name, model in (
    ("Bayes' rule", GaussianNB()),
    ("GMMClassifier", GMMClassifier()),
    ("GaussianMixtureNB", GaussianMixtureNB()),
):
    rare[name] = model.fit(X, y).predict_proba([[1.0], [200.0]])[:, 1]
    print(f"{name:<22} {rare[name][0]:>8.3f} {rare[name][1]:>10.3f}")
assert rare["Bayes' rule"][0] < 0.2
assert rare["GMMClassifier"][0] > 0.5 and rare["GaussianMixtureNB"][0] > 0.5, "priors count now"
assert np.isnan(rare["GaussianMixtureNB"][1]), "a far point has probabilities now"
PY
