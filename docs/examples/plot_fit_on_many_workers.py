"""
Fit on many workers
===================

A density is fitted from sums, and sums can be computed anywhere: each worker measures its part of
the pictures, and what it sends back is as small as the model. ``distributed.fit`` does so on any
joblib backend: processes of one machine, or a Dask or Ray cluster.
"""

# %%
# A trained network, and the training pictures in eight shards. A shard may also be a function that
# reads its pictures where it is called, so that no picture travels.

import matplotlib.pyplot as plt
import numpy as np
import torch
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split((X / 16).astype(np.float32), y, random_state=0)

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
trainer = NeuralNetClassifier(
    network, criterion=nn.CrossEntropyLoss, lr=0.2, max_epochs=20, verbose=0
)
network = trainer.fit(X, y).module_
shards = [(X[start::8], y[start::8]) for start in range(8)]

# %%
# Fit on two workers and, for comparison, all at once. ``parallel_config("dask")`` with a connected
# client, or Ray's backend (the file ``ray_recipe.py`` beside this one), takes a cluster instead.

pipe = make_pipeline(FeatureExtractor(network).fit(X), GaussianDensityClassifier("tied"))
with parallel_config("loky", n_jobs=2):
    fitted = distributed.fit(pipe, shards, classes=range(10))
whole = make_pipeline(FeatureExtractor(network), GaussianDensityClassifier("tied")).fit(X, y)

# %%
# The same model: sums are merged in the order in which they arrive, which moves the last digits.

apart = np.abs(fitted.score_samples(X_test) - whole.score_samples(X_test)).max()
print(f"largest difference of log p(z): {apart:.0e} nats")

# %%
# One shard after another: a density that was fitted to some pictures can take more.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
growing = pipe[-1].__class__("tied")
seen, scores = [], []
for X_shard, y_shard in shards:
    growing.partial_fit(pipe[:-1].transform(X_shard), y_shard, classes=range(10))
    seen.append(growing.class_count_.sum())
    scores.append(growing.score_samples(pipe[:-1].transform(X_test)).mean())
ax.plot(seen, scores, marker="o", label="shard by shard")
ax.axhline(whole.score_samples(X_test).mean(), color="0.5", linestyle=":", label="all at once")
ax.set(xlabel="Pictures seen", ylabel="Mean log p(z) of new pictures (nats)")
_ = ax.legend()
plt.show()
