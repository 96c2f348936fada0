#!/usr/bin/env bash
# A drift detector that skops saved has forgotten the samples it compares with
#
# Versions: Python 3.11, skops 0.16.0, river 0.26.1, numpy 2.4.6, scipy 1.17.1
# Behaviour: skops keeps an object's attributes. A deque has none: it is loaded empty, and without its maxlen, while
#   skops says nothing on either side. KSWIN of river holds its window in one. A loaded detector says that it has
#   seen as many samples as before, and misses a change that the saved one tells at once.
# Output seen (150 samples of one distribution, saved, then 60 of another):
#   deque([1, 2, 3], maxlen=5)   loaded: deque([])
#   samples seen, in the window   saved: 150, 100   loaded: 150, 0
#   drift told                    saved: True       loaded: False
# Cure: pickle or joblib for what holds a deque; a list instead, in code of your own.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet skops==0.16.0 river==0.26.1 numpy==2.4.6 scipy==1.17.1
"$folder/bin/python" -W ignore - <<'PY'
import pickle
from collections import deque

import numpy as np
import skops.io
from river.drift import KSWIN


def again(thing):
    content = skops.io.dumps(thing)
    return skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))


def tells(detector, samples):
    told = False
    for sample in samples:
        detector.update(sample)
        told = told or detector.drift_detected
    return told


rng = np.random.default_rng(0)
saved = KSWIN(alpha=0.0001, seed=1)
assert not tells(saved, rng.normal(size=150).tolist())
loaded, pickled = again(saved), pickle.loads(pickle.dumps(saved))
print(f"deque([1, 2, 3], maxlen=5)   loaded: {again(deque([1, 2, 3], maxlen=5))}")
print("samples seen, in the window   ", end="")
print(f"saved: {saved.n}, {len(saved.window)}   loaded: {loaded.n}, {len(loaded.window)}")
shifted = rng.normal(3, size=60).tolist()
told = [tells(detector, shifted) for detector in (saved, loaded, pickled)]
print(f"drift told                    saved: {told[0]}       loaded: {told[1]}")
assert told[0] and told[2]
assert not told[1] and again(deque([1])) == deque(), "what is in a deque is kept now"
PY
