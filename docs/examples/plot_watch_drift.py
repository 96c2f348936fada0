"""
Watch a stream for drift
========================

A camera gets noisier. The pictures have no labels, so nobody sees the errors; the scores of the
density do. A monitor is fitted to the scores of held-out pictures, and raises an alarm when those
of the stream fall. If nothing changes, the probability of an alarm, ever, is at most 1 %.
"""

# %%
# A network, and a density of its activations. One third of the pictures calibrates the monitor, and
# another third is the stream.

import warnings

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf.displays import DriftDisplay
from sklearn_densconf.distortions import gaussian_noise
from sklearn_densconf.monitoring import DriftMonitor

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X, X_rest, y, y_rest = train_test_split(X, y, test_size=2 / 3, random_state=0, stratify=y)
X_held_out, X_stream, _, y_stream = train_test_split(X_rest, y_rest, test_size=0.5, random_state=0)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", ConvergenceWarning)
    trained = MLPClassifier((64,), alpha=0.01, max_iter=200, random_state=0).fit(X, y)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
for layer, weight, bias in zip(network[::2], trained.coefs_, trained.intercepts_, strict=True):
    layer.weight.data, layer.bias.data = torch.tensor(weight.T), torch.tensor(bias)
extractor = FeatureExtractor(network).fit(X)
density = GaussianDensityClassifier().fit(extractor.transform(X), y)

# %%
# The stream: the first half as it was trained on, then more and more noise.

sigma = np.linspace(-0.5, 0.5, len(X_stream)).clip(0)
noisy = np.stack(
    [
        gaussian_noise(x.reshape(8, 8), s, random_state=0).ravel()
        for x, s in zip(X_stream, sigma, strict=True)
    ]
)
Z = extractor.transform(noisy)
scores = density.score_samples(Z)

monitor = DriftMonitor(false_alarm_rate=0.01, random_state=0)
monitor.fit(density.score_samples(extractor.transform(X_held_out)))
for score in scores:  # one by one, as they come
    monitor.update(score)
at = monitor.alarm_at_
print(f"alarm after {at} pictures, at noise σ = {sigma[at - 1]:.2f} of a pixel's range")

# %%
# The evidence of drift along the stream, and when it was enough for an alarm. Below, the errors
# that nobody saw.

figure, (above, below) = plt.subplots(2, figsize=(6, 6), sharex=True, layout="constrained")
DriftDisplay.from_monitor(monitor, ax=above)
above.set_xlabel("")
wrong = density.predict(Z) != y_stream
below.plot(np.arange(1, len(wrong) + 1), np.cumsum(wrong), color="black")
below.axvline(at, color="0.35", linestyle="--", linewidth=1)
below.set(xlabel="Pictures seen", ylabel="Errors so far")
plt.show()

# %%
# The rate is for the whole stream, so it can be counted: of 200 quiet streams of 2,000 scores,
# with a rate of 5 %, how many raised an alarm?

random = np.random.default_rng(0)
quiet = DriftMonitor(false_alarm_rate=0.05, random_state=0)
alarms = [
    quiet.fit(random.normal(size=500)).update(random.normal(size=2000)).alarm_ for _ in range(200)
]
print(f"{np.mean(alarms):.1%} of the quiet streams")
