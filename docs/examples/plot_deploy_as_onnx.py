"""
Deploy as one ONNX file
=======================

From a trained network to one file that gives label, probabilities, known and score, and that needs
neither torch nor scikit-learn where it is used.
"""

# %%
# A network for digits, and a pipeline on it. It knows only the digits 0 to 7.

import json
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import onnxruntime
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, OpenSetClassifier
from sklearn_densconf.export import to_onnx

NAMES = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
is_known = y < 8
X_train, X_test, y_train, y_test = train_test_split(X[is_known], NAMES[y[is_known]], random_state=0)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    trained = MLPClassifier((64,), alpha=0.01, max_iter=200, random_state=0).fit(X_train, y_train)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
for layer, weight, bias in zip(network[::2], trained.coefs_, trained.intercepts_, strict=True):
    layer.weight.data, layer.bias.data = torch.tensor(weight.T), torch.tensor(bias)

extractor = FeatureExtractor(network, layer=["penultimate", "output"])
pipe = make_pipeline(extractor, OpenSetClassifier()).fit(X_train, y_train)

# %%
# Write the file. Its numbers are compared with those of the pipeline, in onnxruntime, before it
# gets its name.

folder = tempfile.TemporaryDirectory()
file = Path(folder.name) / "digits.onnx"
to_onnx(pipe, file)
print(f"{file.stat().st_size / 1024:.0f} KB")

# %%
# Use the file. This cell needs only onnxruntime, numpy and the file.

session = onnxruntime.InferenceSession(file)
about = session.get_modelmeta().custom_metadata_map
classes = json.loads(about["classes"])
for output in session.get_outputs():
    print(output.name, output.type)
print(about["versions"])

label, probabilities = session.run(["label", "probabilities"], {"samples": X_test})
print([classes[code] for code in label[:5]], y_test[:5].tolist())
print(f"largest difference: {np.abs(probabilities - pipe.predict_proba(X_test)).max():.1g}")

# %%
# A sample with a NaN gets no label, and the others keep theirs.

spoilt = X_test[:3].copy()
spoilt[1, 20] = np.nan
print(session.run(["label"], {"samples": spoilt})[0])

# %%
# What the file says of pictures that are not digits, and of eights and nines, which it has never
# seen. The former are not "known". The latter look much like digits that it knows: "known" hardly
# falls, but "score" does, and a threshold on it rejects nearly half of them, at the price of 5 % of
# the others.

pictures = {"0 to 7": X_test, "8 and 9": X[~is_known], "inverted": 1 - X_test}
said = {
    name: session.run(["known", "score"], {"samples": samples})
    for name, samples in pictures.items()
}
for name, (known, _) in said.items():
    print(f"{name}: known {np.median(known):.4f} in the median")
threshold = np.quantile(said["0 to 7"][1], 0.05)
print(f"8 and 9, below the threshold: {np.mean(said['8 and 9'][1] < threshold):.0%}")

figure, ax = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name in ("0 to 7", "8 and 9"):
    score = said[name][1]
    ax.hist(score, 30, weights=np.full(len(score), 1 / len(score)), alpha=0.6, label=name)
ax.axvline(threshold, color="black", linestyle="--", label="threshold")
ax.set(xlabel='"score", from the file', ylabel="Share of the pictures")
ax.legend()

folder.cleanup()
