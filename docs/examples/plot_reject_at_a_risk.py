"""
Reject at a stated risk
=======================

You may show a label only if at most 2 % of the labels that you show are wrong. Which ones?
:class:`~sklearn_densconf.ConformalRejector` chooses the threshold on pictures that nothing was
fitted to, and the promise holds with the probability that you ask for.
"""

# %%
# A network that errs now and then: it saw only 300 digits. The rest is divided into three: pictures
# to calibrate the confidence, pictures to set the threshold, and pictures to see whether the
# promise holds.

import matplotlib.pyplot as plt
import numpy as np
import sklearn
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import ConformalRejector, FeatureExtractor, OpenSetClassifier
from sklearn_densconf.displays import RiskCoverageDisplay

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X, X_rest, y, y_rest = train_test_split(X, y, train_size=300, random_state=0, stratify=y)
X_val, X_rest, y_val, y_rest = train_test_split(X_rest, y_rest, train_size=300, random_state=0)
X_threshold, X_test, y_threshold, y_test = train_test_split(
    X_rest, y_rest, train_size=600, random_state=0
)

torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
trainer = NeuralNetClassifier(
    network, criterion=nn.CrossEntropyLoss, lr=0.2, max_epochs=60, batch_size=32, verbose=0
)
network = trainer.fit(X, y).module_

sklearn.set_config(enable_metadata_routing=True)  # X_val passes through the network, too
extractor = FeatureExtractor(network, layer=["penultimate", "output"])
pipe = make_pipeline(extractor, OpenSetClassifier(), transform_input=["X_val"])
pipe.fit(X, y, X_val=X_val, y_val=y_val)
f"without rejection {1 - pipe.score(X_test, y_test):.1%} of the labels are wrong"

# %%
# ``risk=0.02, delta=0.1``: at most 2 % of the accepted labels are wrong, with a probability of 90 %
# over the pictures that set the threshold. ``decide`` returns the label, whether it may be used,
# and if not, why not.

rejector = ConformalRejector(pipe, risk=0.02, delta=0.1).fit(X_threshold, y_threshold)
label, accepted, reason = rejector.decide(X_test)
wrong = label != y_test
print(f"accepted {accepted.mean():.0%}, of which {wrong[accepted].mean():.1%} are wrong")
for why in ("not sure", "not known"):
    print(f"{why}: {(reason == why).sum()}")

# %%
# The risk at every coverage on new pictures, and where the promise put the threshold. The price of
# the guarantee is the distance between the cross and the point where the curve meets 2 %.

display = RiskCoverageDisplay.from_estimator(pipe, X_test, y_test, name="open-set")
ax = display.ax_
ax.axhline(0.02, color="0.5", linestyle=":", label="promised: 2 %")
ax.plot(accepted.mean(), wrong[accepted].mean(), "x", markersize=10, label="accepted here")
_ = ax.legend()
plt.show()
