"""
Choose among networks by their confidence
=========================================

Two networks of the same accuracy can differ in how well they know their errors. Where labels may be
withheld, choose by the area under the risk-coverage curve (AURC): the mean error rate over all
shares of pictures that are answered.
"""

# %%
# Four networks: narrow and wide, trained with and without weight decay.

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, PredefinedSplit, train_test_split
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_densconf import FeatureExtractor, SoftmaxClassifier
from sklearn_densconf.displays import RiskCoverageDisplay
from sklearn_densconf.metrics import SCORERS

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X, X_test, y, y_test = train_test_split(X, y, test_size=600, random_state=0, stratify=y)
X, X_val, y, y_val = train_test_split(X, y, train_size=300, random_state=0, stratify=y)


def train(width, decay):
    """Train one network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    trainer = NeuralNetClassifier(
        network,
        criterion=nn.CrossEntropyLoss,
        lr=0.2,
        optimizer__weight_decay=decay,
        max_epochs=40,
        batch_size=32,
        verbose=0,
    )
    return trainer.fit(X, y).module_


networks = {
    f"{width} units, decay {decay}": train(width, decay)
    for width in (16, 256)
    for decay in (0.0, 0.01)
}

# %%
# A search over networks: the backbone is a parameter like any other. The split is fixed, since the
# networks were trained on the first part; each candidate is measured on pictures it did not see.

AREA = "neg_area_under_risk_coverage"
candidates = [FeatureExtractor(network).fit(X[:1]).backbone_ for network in networks.values()]
pipe = make_pipeline(FeatureExtractor(candidates[0]), SoftmaxClassifier())
search = GridSearchCV(
    pipe,
    {"featureextractor__backbone": candidates},
    scoring={"accuracy": "accuracy", AREA: SCORERS[AREA]},
    refit=AREA,
    cv=PredefinedSplit(np.repeat([-1, 0], [len(X), len(X_val)])),
)
search.fit(np.concatenate([X, X_val]), np.concatenate([y, y_val]))
results = search.cv_results_
print(f"{'':22} accuracy    AURC")
for name, accuracy, area in zip(
    networks,
    results["mean_test_accuracy"],
    -results[f"mean_test_{AREA}"],
    strict=True,
):
    print(f"{name:22} {accuracy:8.3f} {area:7.4f}")
print("chosen:", list(networks)[search.best_index_])

# %%
# What the choice means on new pictures: the error rate at every share that is answered.

figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
for name, network in networks.items():
    pipe = make_pipeline(FeatureExtractor(network), SoftmaxClassifier()).fit(X, y)
    RiskCoverageDisplay.from_estimator(pipe, X_test, y_test, name=name, ax=ax)
plt.show()
