"""
A text classifier
=================

Texts are samples like any others: a tokenizer goes into ``preprocessing``, and the network takes
what it returns. Here a small network tells which part of scipy a docstring is from. Then it is
shown texts that are not docstrings at all.
"""

# %%
# Texts that every installation has: the paragraphs of docstrings.

import argparse
import inspect
import re
from zlib import crc32

import matplotlib.pyplot as plt
import numpy as np
import scipy
import sklearn
import torch
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from torch import nn

from sklearn_densconf import FeatureExtractor, OpenSetClassifier, SoftmaxClassifier

MODULES = ("stats", "signal", "linalg", "ndimage", "special")


def paragraphs(module):
    """Return the paragraphs of a module's docstrings that are long enough to say something."""
    names = [name for name in sorted(module.__all__) if hasattr(module, name)]
    texts = [inspect.getdoc(getattr(module, name)) or "" for name in names]
    found = {" ".join(part.split()) for text in texts for part in text.split("\n\n")}
    return sorted(part for part in found if len(part) > 60 and ">>>" not in part)[:400]


parts = [paragraphs(getattr(scipy, name)) for name in MODULES]
texts = [text for part in parts for text in part]
y = np.repeat(MODULES, [len(part) for part in parts])
texts, texts_test, y, y_test = train_test_split(texts, y, test_size=0.25, random_state=0)
texts, texts_val, y, y_val = train_test_split(texts, y, test_size=0.25, random_state=0)

# %%
# A tokenizer is any function from a list of texts to named arrays, those of transformers included.
# The network takes the arrays by these names. This one numbers words by a hash.


def tokenize(texts):
    """Return the numbers of the words, padded with 0 to the longest text."""
    words = [re.findall(r"[a-z]+", text.lower())[:64] or ["-"] for text in texts]
    numbers = [[1 + crc32(word.encode()) % 9999 for word in text] for text in words]
    longest = max(map(len, numbers))
    return {"words": np.array([row + [0] * (longest - len(row)) for row in numbers])}


class Reader(nn.Module):
    """The mean of the embedded words, then two layers."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.EmbeddingBag(10000, 64, mode="mean", padding_idx=0)
        self.hidden = nn.Linear(64, 32)
        self.output = nn.Linear(32, len(MODULES))

    def forward(self, words):
        """Return the logits."""
        return self.output(torch.relu(self.hidden(self.embedding(words))))


torch.manual_seed(0)
network = Reader()
labels, codes = np.unique(y, return_inverse=True)  # the logits are in the order of the labels
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
words, codes = torch.from_numpy(tokenize(texts)["words"]), torch.from_numpy(codes)
for _ in range(12):
    for batch in torch.randperm(len(words)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(words[batch]), codes[batch]).backward()
        optimizer.step()

# %%
# The pipeline takes texts. The second pipeline is the softmax of the same network.

sklearn.set_config(enable_metadata_routing=True)
extractor = FeatureExtractor(network, layer=["penultimate", "output"], preprocessing=tokenize)
pipe = make_pipeline(extractor, OpenSetClassifier(), transform_input=["X_val"])
pipe.fit(texts, y, X_val=texts_val, y_val=y_val)
softmax = make_pipeline(FeatureExtractor(network, preprocessing=tokenize), SoftmaxClassifier())
softmax.fit(texts, y)
f"accuracy on new docstrings: {pipe.score(texts_test, y_test):.2f}"

# %%
# Texts of another kind: lines of source code.

source = inspect.getsource(argparse)
code = [line.strip() for line in source.split("\n") if len(line) > 40 and '"' not in line][:300]
kinds = {"docstrings": texts_test, "source code": code}
figure, axes = plt.subplots(2, figsize=(6, 7), sharey=True, layout="constrained")
for ax, (title, classifier) in zip(
    axes, {"softmax": softmax, "open-set": pipe}.items(), strict=True
):
    for name, shown in kinds.items():
        confidence = classifier.predict_proba(shown).max(axis=1)
        label = f"{name}: mean {confidence.mean():.2f}"
        ax.hist(confidence, bins=np.linspace(0.2, 1, 17), density=True, alpha=0.6, label=label)
    ax.set(title=title, xlabel="Confidence", ylabel="Density of texts")
    ax.legend()
plt.show()
