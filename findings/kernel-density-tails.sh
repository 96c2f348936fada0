#!/usr/bin/env bash
# A kernel density in a tree gets far points wrong, by more than a thousand nats
#
# Versions: Python 3.11, scikit-learn 1.9.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: KernelDensity sums its kernels in a tree, and at the default tolerances (atol = rtol = 0) the
#   log-density of a point far from the data is far off. Inside one class nothing shows; but to classify
#   by one density per class is to ask every class but one about far points.
# Output seen (64 pixels, bandwidth 1):
#   exact sum             accuracy 0.991
#   default leaf_size     accuracy 0.518   largest error 1213.4 nats
#   leaf_size=n_samples   accuracy 0.991   largest error 0.0 nats
# Cure: leaf_size of at least the number of samples: one leaf, in which the sum is exact.
# Also: scikit-learn issues 7492 and 25799 (open).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" - <<'PY'
import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KernelDensity

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
classes = [X_train[y_train == k] for k in range(10)]


def exact(samples):
    kernels = logsumexp(-cdist(X_test, samples, "sqeuclidean") / 2, axis=1)
    return kernels - np.log(len(samples)) - 32 * np.log(2 * np.pi)


def in_a_tree(**options):
    models = [KernelDensity(bandwidth=1.0, **options).fit(samples) for samples in classes]
    return np.stack([model.score_samples(X_test) for model in models], axis=1)


def accuracy(scores):
    return (scores.argmax(axis=1) == y_test).mean()


reference = np.stack([exact(samples) for samples in classes], axis=1)
tree, leaf = in_a_tree(), in_a_tree(leaf_size=len(X_train))
print(f"exact sum             accuracy {accuracy(reference):.3f}")
for name, scores in ("default leaf_size  ", tree), ("leaf_size=n_samples", leaf):
    error = abs(scores - reference).max()
    print(f"{name}   accuracy {accuracy(scores):.3f}   largest error {error:.1f} nats")
assert abs(tree - reference).max() > 1000 and accuracy(tree) < 0.6, "the tree is exact now"
assert np.allclose(leaf, reference) and accuracy(reference) > 0.98
PY
