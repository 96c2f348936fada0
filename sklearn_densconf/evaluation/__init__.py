"""Evaluation of fitted pipelines: distorted, scaled, adversarial and out-of-distribution pictures.

The engine behind ``python -m sklearn_densconf.paper``, for networks and pictures of one's own. Each
experiment is a file of ``cases/``. torch is imported only where pictures are attacked.
"""

from sklearn_densconf.evaluation._evaluate import evaluate
from sklearn_densconf.evaluation._evaluation import Evaluation

__all__ = ["Evaluation", "evaluate"]
