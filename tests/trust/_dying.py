"""A model that ends its process. It imports no torch: workers that load it start in a second."""

import os

from sklearn_densconf import GaussianDensityClassifier


class Dying(GaussianDensityClassifier):
    """Ends its process at a sample, once: as long as a file is there, which it deletes."""

    def predict_proba(self, X):
        if X[0, 0] == self.at_ and os.path.exists(self.marker_):
            os.unlink(self.marker_)
            os._exit(1)
        return super().predict_proba(X)
