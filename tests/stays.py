"""Count how often one prediction goes from room to room: ``python tests/stays.py``.

A stay is a run of calls of functions that are all in one file of the package, in the order in
which a thread makes them; what other libraries do between is left out. Traced is one
``predict_proba`` of a fitted pipeline, which was used before: a network of two convolutions on
the CPU and one Gaussian a class, for 12 samples in batches of 8.
"""

import sys
import tempfile
import threading
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
from networks import Convolutional
from PIL import Image
from sklearn.pipeline import make_pipeline

import sklearn_densconf
from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier

ROOT = Path(sklearn_densconf.__file__).parent


def calls(function):
    """Return the (file, function) of every call in the package, a list for each thread."""
    called, generators = {}, []

    def note(frame, event, _argument):
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(ROOT)):
            return
        if code.co_flags & 0x20:  # a generator, which each next() calls again
            if any(frame is other for other in generators):
                return
            generators.append(frame)
        name = str(Path(code.co_filename).relative_to(ROOT))
        called.setdefault(threading.get_ident(), []).append((name, code.co_qualname))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(called.values())


def stays(function):
    """Return the (file, first function called) of every stay."""
    found = []
    for each in calls(function):
        found.append(each[0])
        found += [after for before, after in pairwise(each) if before[0] != after[0]]
    return found


def predictions(folder):
    """Return two predictions to trace, of paths and of an array, each made once before."""
    pictures = np.random.default_rng(0).integers(0, 256, (12, 16, 16), dtype=np.uint8)
    paths = [Path(folder) / f"{number}.png" for number in range(12)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return {
        "12 paths": _prediction(paths),
        "an array": _prediction(pictures[:, None] / np.float32(255)),
    }


def _prediction(samples):
    extractor = FeatureExtractor(Convolutional(), device="cpu", batch_size=8)
    pipeline = make_pipeline(extractor, GaussianDensityClassifier(var_smoothing=0.1))
    pipeline.fit(samples, np.arange(12) % 3).predict_proba(samples)
    return lambda: pipeline.predict_proba(samples)


def main():
    """Print the number of stays, and where they are."""
    with tempfile.TemporaryDirectory() as folder:
        for name, prediction in predictions(folder).items():
            found = stays(prediction)
            lines = [f"{name}: {len(found)} stays in {len({file for file, _ in found})} files"]
            lines += [
                f"{n:5d}  {file}: {first}" for (file, first), n in Counter(found).most_common()
            ]
            sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
