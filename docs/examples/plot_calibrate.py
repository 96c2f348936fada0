"""
Calibrate a confidence
======================

Of the labels that a calibrated classifier gives with 80 % confidence, 80 % are right. Networks are
usually too sure. One number, the temperature, corrects this for pictures like those it was chosen
on. For a confidence that is calibrated under distortion, too, show the open-set classifier some
distorted pictures.
"""

# %%
# A network that is too sure of itself: few pictures, many epochs.

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, OpenSetClassifier, SoftmaxClassifier
from sklearn_densconf.displays import ReliabilityDisplay
from sklearn_densconf.distortions import gaussian_noise
from sklearn_densconf.metrics import expected_calibration_error

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X, X_rest, y, y_rest = train_test_split(X, y, train_size=400, random_state=0, stratify=y)
X_val, X_test, y_val, y_test = train_test_split(X_rest, y_rest, train_size=400, random_state=0)

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
trainer = NeuralNetClassifier(
    network, criterion=nn.CrossEntropyLoss, lr=0.5, max_epochs=100, batch_size=32, verbose=0
)
network = trainer.fit(X, y).module_

# %%
# ``temperature="nll"`` and the open-set classifier both learn from pictures that the network was
# not trained on: on its training pictures it is always right, and nothing is left to learn. The
# last pipeline is shown each held-out picture twice, clean and under noise.

sklearn.set_config(enable_metadata_routing=True)
scaled = SoftmaxClassifier(temperature="nll")
logits = FeatureExtractor(network)
features = FeatureExtractor(network, layer=["penultimate", "output"])
pipes = {
    "softmax": make_pipeline(logits, SoftmaxClassifier()),
    "softmax, T": make_pipeline(logits, scaled, transform_input=["X_val"]),
    "open-set": make_pipeline(features, OpenSetClassifier(), transform_input=["X_val"]),
    "open-set, shown noise": make_pipeline(
        features, OpenSetClassifier(), transform_input=["X_val"]
    ),
}
some_noise = np.concatenate([X_val, gaussian_noise(X_val, 0.5, random_state=1)])
pipes["softmax"].fit(X, y)
pipes["softmax, T"].fit(X, y, X_val=X_val, y_val=y_val)
pipes["open-set"].fit(X, y, X_val=X_val, y_val=y_val)
pipes["open-set, shown noise"].fit(X, y, X_val=some_noise, y_val=np.tile(y_val, 2))
f"T = {scaled.temperature_:.2f}: the logits are too large by this factor"

# %%
# Reliability on new pictures, clean and under noise. Below the diagonal a classifier is too sure,
# above it too cautious.

noisy = gaussian_noise(X_test, 0.5, random_state=0)
figure, axes = plt.subplots(2, figsize=(6, 9), layout="constrained")
for ax, (title, pictures) in zip(axes, {"clean": X_test, "noise": noisy}.items(), strict=True):
    for name, pipe in pipes.items():
        ReliabilityDisplay.from_estimator(pipe, pictures, y_test, name=name, n_bins=8, ax=ax)
    ax.set_xlabel(f"Mean confidence in the bin ({title})")

# %%
# The calibration error (ECE; smaller is better) as the noise grows. Classifiers that were shown no
# noise are too sure under it (softmax) or too cautious (open-set).

severities = np.linspace(0, 1, 6)
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, pipe in pipes.items():
    errors = []
    for severity in severities:
        proba = pipe.predict_proba(gaussian_noise(X_test, severity, random_state=0))
        right = pipe.classes_[proba.argmax(axis=1)] == y_test
        errors.append(expected_calibration_error(right, proba.max(axis=1)))
    ax.plot(severities, errors, marker="o", label=name)
ax.set(xlabel="Noise σ (pixels 0–1)", ylabel="Calibration error", ylim=(0, None))
_ = ax.legend()
plt.show()
