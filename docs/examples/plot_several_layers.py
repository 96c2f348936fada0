"""
Features of several layers
==========================

Early layers see strokes, late ones digits. One pass through the network gives the features of all,
and with ``blocks`` each layer has a density of its own, whose logarithms are added.
"""

# %%
# A network with two hidden layers.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.distortions import gaussian_blur, gaussian_noise

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
X, X_test, y, y_test = train_test_split(X, y, random_state=0, stratify=y)

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU(), nn.Linear(64, 10)
)
trainer = NeuralNetClassifier(
    network, criterion=nn.CrossEntropyLoss, lr=0.1, max_epochs=20, verbose=0
)
network = trainer.fit(X, y).module_

# %%
# Names of layers are those of ``network.named_modules()``. Maps are pooled to one number per
# channel (``pooling`` has other ways); ``feature_groups_`` says which columns belong to which
# layer.

extractor = FeatureExtractor(network, layer=["0", "penultimate", "output"])
Z = extractor.fit_transform(X)
print(extractor.feature_groups_)

# %%
# A density for each layer alone, and one for all of them.

models = {
    name: (columns, GaussianDensityClassifier("tied", shrinkage="auto").fit(Z[:, columns], y))
    for name, columns in extractor.feature_groups_.items()
}
blocks = list(extractor.feature_groups_.values())
together = GaussianDensityClassifier("tied", shrinkage="auto", blocks=blocks).fit(Z, y)
models["all"] = slice(None), together

rng = np.random.default_rng(0)
unknown = {
    "shuffled": rng.permuted(X_test.reshape(len(X_test), -1), axis=1).reshape(X_test.shape),
    "noisy": gaussian_noise(X_test, 0.2, random_state=0, channel_axis=1),
    "blurred": gaussian_blur(X_test, 1.0, channel_axis=1),
}
Z_test = extractor.transform(X_test)
known = np.repeat([1, 0], len(X_test))
areas = {}
for name, pictures in unknown.items():
    both = np.concatenate([Z_test, extractor.transform(pictures)])
    areas[name] = [
        roc_auc_score(known, model.score_samples(both[:, columns]))
        for columns, model in models.values()
    ]

# %%
# No layer is the best for everything. A blurred digit lies nearer to the middle of its class than a
# sharp one, so that a log-density takes it for more familiar: a score below 0.5 is misled.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
places = np.arange(len(models))
for shift, (name, values) in zip((-0.25, 0, 0.25), areas.items(), strict=True):
    ax.bar(places + shift, values, width=0.25, label=name)
ax.set_xticks(places, models)
ax.axhline(0.5, color="0.5", linestyle=":")
ax.set(xlabel="Layer", ylabel="AUROC of log p(z)", ylim=(0, 1))
figure.legend(title="digits against", loc="outside right upper")
plt.show()
