"""The demonstration: a confidence that falls when the pictures get worse, in a minute."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.pipeline import make_pipeline

from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, SoftmaxClassifier
from sklearn_densconf.displays import ConfidenceCurveDisplay
from sklearn_densconf.distortions import gaussian_blur, gaussian_noise
from sklearn_densconf.evaluation._figures import new_figure
from sklearn_densconf.metrics import ConfidenceCurve, confidence_curve
from sklearn_densconf.paper._data import in_memory_pixels, load_embedded_digits, load_original_mnist
from sklearn_densconf.paper._train import train_lenet5

_SWEEPS: dict[str, tuple[Callable[..., np.ndarray], np.ndarray]] = {
    "Noise σ (pixels 0–1)": (partial(gaussian_noise, random_state=0), np.linspace(0, 1, 6)),
    "Blur σ (pixels)": (gaussian_blur, np.linspace(0, 2, 6)),
}


def demonstrate(data: Path | None, out: Path) -> Path:
    """Train, fit, distort, compare: print tables, save a figure and return its path, a PNG file.

    ``data`` is the folder of the original MNIST files; None takes the digits of scikit-learn.
    """
    dataset = load_embedded_digits() if data is None else load_original_mnist(data)
    X, X_test = in_memory_pixels(dataset.train), in_memory_pixels(dataset.test)
    y, y_test = dataset.train.y, dataset.test.y
    print(f"Training LeNet-5 with softmax on {len(y)} pictures ...")
    network = train_lenet5(X, y, epochs=dataset.epochs)
    models = {
        "softmax": make_pipeline(FeatureExtractor(network), SoftmaxClassifier()),
        "density": make_pipeline(
            FeatureExtractor(network), GaussianDensityClassifier(predict_from="features")
        ),
    }
    sweeps = {}
    for model in models.values():
        model.fit(X, y)
    for title, (distort, severities) in _SWEEPS.items():
        pictures = {s: (distort(X_test, s, channel_axis=1), y_test) for s in severities}
        sweeps[title] = {name: confidence_curve(model, pictures) for name, model in models.items()}
        print(f"\n{_table(title, sweeps[title])}")
    path = out / "demo.png"
    _draw(sweeps, path)
    print(f"\nFigure: {path}")
    return path


def _table(title: str, curves: dict[str, ConfidenceCurve]) -> str:
    softmax, density = curves["softmax"], curves["density"]
    lines = [f"{title:<22}accuracy   softmax confidence   density confidence"]
    rows = zip(
        softmax.severity, softmax.accuracy, softmax.confidence, density.confidence, strict=True
    )
    lines += [f"{s:<22.1f}{a:8.3f}{p:21.3f}{q:21.3f}" for s, a, p, q in rows]
    return "\n".join(lines)


def _draw(sweeps: dict[str, dict[str, ConfidenceCurve]], path: Path) -> None:
    figure = new_figure(figsize=(10, 4))
    axes = figure.subplots(1, len(sweeps))
    for ax, (title, curves) in zip(axes, sweeps.items(), strict=True):
        ConfidenceCurveDisplay(curves=curves, severity_name=title).plot(ax, relative=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
