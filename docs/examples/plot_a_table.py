"""
A table
=======

A network on numbers in place of pictures. What goes wrong in tables is a column in another unit, or
a missing value that became 0. A network answers such rows all the same, and with confidence.
"""

# %%
# Measurements of tumours, and a network on them. Scaling is part of the network, so that the
# pipeline takes the table as it is.

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, OpenSetClassifier, SoftmaxClassifier

X, y = load_breast_cancer(return_X_y=True)
X = X.astype(np.float32)
X, X_test, y, y_test = train_test_split(X, y, test_size=150, random_state=0, stratify=y)
X, X_val, y, y_val = train_test_split(X, y, test_size=150, random_state=0, stratify=y)


class Scale(nn.Module):
    """The table's columns, each less its mean and divided by its spread."""

    def __init__(self, X):
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(X.mean(axis=0)))
        self.register_buffer("spread", torch.from_numpy(X.std(axis=0)))

    def forward(self, rows):
        """Return the scaled rows."""
        return (rows - self.mean) / self.spread


torch.manual_seed(0)
network = nn.Sequential(Scale(X), nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 2))
trainer = NeuralNetClassifier(
    network, criterion=nn.CrossEntropyLoss, lr=0.1, max_epochs=60, batch_size=32, verbose=0
)
network = trainer.fit(X, y).module_

# %%
# The open-set confidence beside softmax.

sklearn.set_config(enable_metadata_routing=True)
extractor = FeatureExtractor(network, layer=["penultimate", "output"])
pipe = make_pipeline(extractor, OpenSetClassifier(), transform_input=["X_val"])
pipe.fit(X, y, X_val=X_val, y_val=y_val)
softmax = make_pipeline(FeatureExtractor(network), SoftmaxClassifier()).fit(X, y)

# %%
# What can happen to a row on its way.

metres = X_test.copy()
metres[:, [0, 2, 20, 22]] /= 1000  # radius and perimeter in another unit
empty = X_test.copy()
empty[:, 20:] = 0  # the last ten columns were not filled in
moved = np.roll(X_test, 1, axis=1)  # one column too many before the others
tables = {"as measured": X_test, "other unit": metres, "not filled in": empty, "moved": moved}

print(f"{'':13} accuracy  softmax  open-set  known")
for name, table in tables.items():
    accuracy = pipe.score(table, y_test)
    sure = [p.predict_proba(table).max(axis=1).mean() for p in (softmax, pipe)]
    known = pipe[-1].known_proba(pipe[:-1].transform(table)).mean()
    print(f"{name:13} {accuracy:8.2f} {sure[0]:8.2f} {sure[1]:9.2f} {known:6.2f}")

# %%
# Confidence of every row. With two classes, 0.5 means "no idea". A confidence is the second line of
# defence: columns that were not filled in go unnoticed here, where a check of the table would have
# found them.

figure, axes = plt.subplots(2, figsize=(6, 7), sharey=True, layout="constrained")
for ax, (title, classifier) in zip(
    axes, {"softmax": softmax, "open-set": pipe}.items(), strict=True
):
    confidence = [classifier.predict_proba(table).max(axis=1) for table in tables.values()]
    ax.boxplot(confidence, tick_labels=list(tables))
    ax.set(title=title, xlabel="Table", ylabel="Confidence", ylim=(0.45, 1.02))
    ax.tick_params(axis="x", rotation=20)
plt.show()
