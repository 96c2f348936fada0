"""
Find out-of-distribution pictures
=================================

Some incoming pictures show none of the things that the network knows. A classifier gives them a
label all the same; ``score_samples`` of :class:`~sklearn_densconf.OpenSetClassifier` says which
ones to set aside.
"""

# %%
# A network for the digits 0 to 7. It never sees an 8 or a 9, nor the two other kinds of pictures:
# inverted digits, and digits whose pixels are shuffled.

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, OpenSetClassifier, SoftmaxClassifier

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
unseen, X, y = X[y > 7], X[y < 8], y[y < 8]
X, X_test, y, y_test = train_test_split(X, y, test_size=300, random_state=0, stratify=y)
X, X_val, y, y_val = train_test_split(X, y, test_size=300, random_state=0, stratify=y)
shuffled = np.random.default_rng(0).permuted(X_test.reshape(-1, 64), axis=1).reshape(X_test.shape)
unknown = {"eights and nines": unseen, "inverted": 1 - X_test, "shuffled": shuffled}

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 64), nn.ReLU(), nn.Linear(64, 8)
)
trainer = NeuralNetClassifier(
    network, criterion=nn.CrossEntropyLoss, lr=0.1, max_epochs=20, verbose=0
)
network = trainer.fit(X, y).module_

# %%
# The score looks at the features before the last linear layer, too.

sklearn.set_config(enable_metadata_routing=True)
extractor = FeatureExtractor(network, layer=["penultimate", "output"])
pipe = make_pipeline(extractor, OpenSetClassifier(), transform_input=["X_val"])
pipe.fit(X, y, X_val=X_val, y_val=y_val)
softmax = make_pipeline(FeatureExtractor(network), SoftmaxClassifier()).fit(X, y)

# %%
# A threshold: the score that 95 % of the held-out pictures exceed. What lies below is set aside.

threshold = np.quantile(pipe.score_samples(X_val), 0.05)
print(f"{'':17}   set aside   AUROC   AUROC of softmax")
print(f"{'digits 0 to 7':17} {(pipe.score_samples(X_test) < threshold).mean():11.0%}")
for name, pictures in unknown.items():
    aside = (pipe.score_samples(pictures) < threshold).mean()
    known = np.r_[np.ones(len(X_test)), np.zeros(len(pictures))]
    both = np.concatenate([X_test, pictures])
    ours = roc_auc_score(known, pipe.score_samples(both))
    theirs = roc_auc_score(known, softmax.predict_proba(both).max(axis=1))
    print(f"{name:17} {aside:11.0%} {ours:7.3f} {theirs:9.3f}")

# %%
# Where the scores lie. The unseen digits are the hardest, and softmax finds them as well: they lie
# near the boundaries between known digits. The other kinds lie far from all boundaries.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
for name, pictures in {"digits 0 to 7": X_test, **unknown}.items():
    ax.hist(pipe.score_samples(pictures), bins=40, histtype="step", density=True, label=name)
ax.axvline(threshold, color="0.5", linestyle=":", label="threshold")
ax.set(xlabel="score_samples (log-odds of “known”)", ylabel="Density of pictures")
_ = ax.legend()

# %%
# The six pictures of each kind that look most familiar.

figure, rows = plt.subplots(3, 6, figsize=(7, 4), layout="constrained")
for axes, (name, pictures) in zip(rows, unknown.items(), strict=True):
    scores = pipe.score_samples(pictures)
    for ax, picture in zip(axes, np.argsort(scores)[:-7:-1], strict=True):
        ax.imshow(pictures[picture, 0], cmap="gray_r", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[], xlabel=f"{scores[picture]:.1f}")
    axes[0].set_ylabel(name)
figure.suptitle("Most familiar, with their scores")
plt.show()
