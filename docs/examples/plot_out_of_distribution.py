"""
Out-of-distribution pictures and far points
===========================================

A posterior alone cannot tell that a picture is unlike everything that the network was trained on.
Two things can: the log-density of the activations, and a background density in the posterior.
"""

# %%
# Train a network on digits. The out-of-distribution pictures are the same pixels, shuffled.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import RocCurveDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier

pixels, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(pixels.astype(np.float32) / 16, y, random_state=0)
shuffled = np.random.default_rng(0).permuted(X_test, axis=1)

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
trainer = NeuralNetClassifier(
    network,
    criterion=nn.CrossEntropyLoss,
    lr=0.1,
    optimizer__momentum=0.9,
    max_epochs=30,
    verbose=0,
)
network = trainer.fit(X, y).module_

# %%
# Three scores for "this is a digit", from the same activations.

extractor = FeatureExtractor(network)
Z, Z_test, Z_shuffled = (extractor.fit_transform(part) for part in (X, X_test, shuffled))
density = GaussianDensityClassifier().fit(Z, y)
softmax = SoftmaxClassifier().fit(Z, y)

known = np.repeat([1, 0], len(X_test))
activations = np.concatenate([Z_test, Z_shuffled])
scores = {
    "softmax": softmax.confidence(activations),
    "density confidence": density.confidence(activations),
    "log p(z)": density.score_samples(activations),
}
figure, ax = plt.subplots(figsize=(5, 5), layout="constrained")
for name, score in scores.items():
    RocCurveDisplay.from_predictions(known, score, name=name, ax=ax)
_ = ax.set(xlabel="Shuffled pictures accepted as digits", ylabel="Digits accepted as digits")

# %%
# Scale the pixels up, along a ray to infinity (the paper's figure 1): softmax tends to 1, and so
# does a density confidence without a background.

factors = np.geomspace(1, 100, 15)
models = {
    "softmax": SoftmaxClassifier(),
    "density": GaussianDensityClassifier(),
    "density, background=0.001": GaussianDensityClassifier(background=0.001),
}
figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for name, model in models.items():
    pipe = make_pipeline(extractor, model).fit(X, y)
    confidence = [pipe.predict_proba(f * X_test).max(axis=1).mean() for f in factors.astype("f4")]
    ax.semilogx(factors, confidence, label=name)
ax.set(xlabel="Factor on the pixels", ylabel="Mean confidence", ylim=(0, 1.02))
_ = ax.legend()
plt.show()
