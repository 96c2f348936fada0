"""Before scikit-learn 1.9 there are no callbacks: fits work without them, and nothing is told."""

import subprocess
import sys

WITHOUT = """
import sys
import numpy as np, sklearn.linear_model, sklearn.model_selection, torch
from sklearn.pipeline import make_pipeline
sys.modules["sklearn.callback"] = None  # as in scikit-learn 1.8
from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier
from sklearn_densconf._callbacks import begin_fit

X, y = np.random.default_rng(0).normal(size=(20, 3)), np.arange(20) % 2
pipe = make_pipeline(FeatureExtractor(torch.nn.Linear(3, 2)), GaussianDensityClassifier())
print(pipe.fit(X, y).predict_proba(X).shape, begin_fit(pipe[-1]), hasattr(pipe[0], "set_callbacks"))
"""


def test_fits_work_where_scikit_learn_has_no_callbacks():
    command = [sys.executable, "-W", "error", "-c", WITHOUT]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "(20, 2) None False\n", done.stderr
