"""Who is examined: networks, and the confidences that are read from what they give."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf.metrics import predict_with_confidence

Outcomes = np.ndarray | dict[str, np.ndarray]


class Opinions(NamedTuple):
    """What is said of pictures under each name, and how sure it is: arrays of shape (n_pictures,).

    ``confidences`` are in those ``labels``, float64 in [0, 1].
    """

    labels: dict[str, np.ndarray]
    confidences: dict[str, np.ndarray]


@dataclass(frozen=True)
class Subject:
    """Fitted networks, and classifiers of their features."""

    extractors: tuple[Any, ...]  # from pictures to features; None takes the pictures themselves
    models: Mapping[str, tuple[int, Any]]  # number of the extractor, classifier of its features
    names: tuple[str, ...]  # the confidences that every case looks at
    compared: tuple[str, ...]  # those among which a winner is sought, the usual one first
    one_label: bool = False  # whether all of `names` judge the same labels
    log_densities: Mapping[str, str] = field(default_factory=dict)  # score -> name of its model
    present: Callable[[Any], Any] = lambda batch: batch  # to what the extractors take
    attackable: tuple[int, ...] = ()  # extractors whose networks take floating pixels as they are
    pixel_range: tuple[float, float] = (0.0, 1.0)  # of the floating pixels that `present` gives

    def features(self, batch: Any) -> dict[int, Any]:
        """Compute the features of pictures: one pass through each extractor, by its number."""
        X = self.present(batch)
        return {i: X if one is None else one.transform(X) for i, one in enumerate(self.extractors)}

    def judge(self, features: Mapping[int, Any], names: Iterable[str] | None = None) -> Opinions:
        """Return labels and confidences of pictures whose features are known."""
        said = {}
        for name in names or self.names:
            which, model = self.models[name]
            said[name] = _labels_and_confidence(model, features[which])
        labels = {name: labels for name, (labels, _) in said.items()}
        return Opinions(labels, {k: np.asarray(c, np.float64) for k, (_, c) in said.items()})

    def examine(self, batch: Any, names: Iterable[str] | None = None) -> Opinions:
        """Return labels and confidences of pictures."""
        return self.judge(self.features(batch), names)

    def scores(self, batch: Any) -> dict[str, np.ndarray]:
        """Return the confidences of pictures, and log p(z) where there is one."""
        features = self.features(batch)
        logs = {score: self.models[name] for score, name in self.log_densities.items()}
        return self.judge(features).confidences | {
            score: np.asarray(model.score_samples(features[which]), np.float64)
            for score, (which, model) in logs.items()
        }

    def outcomes(self, labels: Mapping[str, np.ndarray], y: np.ndarray) -> Outcomes:
        """Tell who is right: one array where all judge the same labels."""
        correct = {name: np.asarray(said == y) for name, said in labels.items()}
        return next(iter(correct.values())) if self.one_label else correct


def _labels_and_confidence(model: Any, features: Any) -> tuple[np.ndarray, np.ndarray]:
    if hasattr(model, "confidence"):  # those of this package need no (n, k) probabilities
        return model.predict(features), model.confidence(features)
    return predict_with_confidence(model, features)
