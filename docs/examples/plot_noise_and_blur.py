"""
Confidence under noise and blur
===============================

A network is trained with softmax on handwritten digits; then the held-out digits are distorted
more and more. A useful confidence falls as the distortion grows.
"""

# %%
# Train the network in the usual way.

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.displays import ConfidenceCurveDisplay, PictureStripDisplay
from sklearn_densconf.distortions import gaussian_blur, gaussian_noise
from sklearn_densconf.metrics import confidence_curve

pictures, y = load_digits(return_X_y=True)
pictures = (pictures / 16).astype(np.float32).reshape(-1, 1, 8, 8)
X, X_test, y, y_test = train_test_split(pictures, y, random_state=0, stratify=y)

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 64), nn.ReLU(), nn.Linear(64, 10)
)
trainer = NeuralNetClassifier(
    network,
    criterion=nn.CrossEntropyLoss,
    lr=0.1,
    optimizer__momentum=0.9,
    optimizer__weight_decay=2e-3,
    max_epochs=20,
    verbose=0,
)
network = trainer.fit(X, y).module_

# %%
# Two confidences on the same activations. ``predict_from="features"`` keeps the network's labels.

confidences = {
    "softmax": make_pipeline(FeatureExtractor(network), SoftmaxClassifier()),
    "density": make_pipeline(
        FeatureExtractor(network), GaussianDensityClassifier(predict_from="features")
    ),
}
for pipe in confidences.values():
    pipe.fit(X, y)

# %%
# Distort the held-out digits and draw the mean confidence in the predicted label.

sweeps = {
    "Noise σ (pixels 0–1)": (partial(gaussian_noise, random_state=0), np.linspace(0, 1, 6)),
    "Blur σ (pixels)": (gaussian_blur, np.linspace(0, 1.5, 6)),
}
figure, axes = plt.subplots(2, figsize=(6, 7), layout="constrained")
for ax, (title, (distort, severities)) in zip(axes, sweeps.items(), strict=True):
    distorted = {s: (distort(X_test, s, channel_axis=1), y_test) for s in severities}
    curves = {name: confidence_curve(pipe, distorted) for name, pipe in confidences.items()}
    ConfidenceCurveDisplay(curves=curves, severity_name=title).plot(ax, relative=False)

# %%
# One digit under more and more noise, with both confidences in its predicted label.

sigmas = np.linspace(0, 1, 6)
digit = X_test[:1]
strip = np.concatenate(
    [gaussian_noise(digit, sigma, random_state=0, channel_axis=1) for sigma in sigmas]
)
PictureStripDisplay.from_estimator(
    confidences, strip, pictures=strip[:, 0], captions=[f"σ = {sigma:.1f}" for sigma in sigmas]
)
plt.show()
