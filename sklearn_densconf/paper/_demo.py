"""The demonstration: a number to act on beside softmax and the paper's, in under a minute."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sklearn_densconf import (
    FeatureExtractor,
    GaussianDensityClassifier,
    OpenSetClassifier,
    SoftmaxClassifier,
)
from sklearn_densconf.displays import PictureStripDisplay
from sklearn_densconf.displays._style import COLORS
from sklearn_densconf.distortions import gaussian_blur, gaussian_noise
from sklearn_densconf.evaluation._figures import as_svg, new_figure
from sklearn_densconf.paper._data import in_memory_pixels, load_embedded_digits, load_original_mnist
from sklearn_densconf.paper._train import train_lenet5

ACCURACY, OPEN_SET, SOFTMAX, PAPER = "accuracy", "open-set", "softmax", "the paper's"
_NAMES = {OPEN_SET: COLORS[0], SOFTMAX: COLORS[1], PAPER: COLORS[2]}
Distort = Callable[[np.ndarray, float], np.ndarray]


def _noisy(X: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_noise(X, sigma, random_state=0, channel_axis=1)


def _brighter(X: np.ndarray, factor: float) -> np.ndarray:
    return (X * np.float32(factor)).clip(0, 1)


def _shuffled(X: np.ndarray) -> np.ndarray:
    order = np.random.default_rng(0).random((len(X), X[0].size)).argsort(axis=1)
    return np.take_along_axis(X.reshape(len(X), -1), order, axis=1).reshape(X.shape)


_SWEEPS: dict[str, tuple[Distort, tuple[float, ...]]] = {
    "noise σ (pixels 0–1)": (_noisy, (0, 0.1, 0.2, 0.3, 0.4, 0.5)),
    "blur σ (pixels)": (partial(gaussian_blur, channel_axis=1), (0, 0.4, 0.8, 1.2, 1.6, 2.0)),
    "brighter (times)": (_brighter, (1, 1.5, 2, 4, 8, 16)),
}
_FOREIGN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted": lambda X: 1 - X,
    "shuffled": _shuffled,
    "random": lambda X: np.random.default_rng(0).random(X.shape, np.float32),
}
_NEXT = """\
Where this comes from: {n} held-out pictures, which neither trained the network nor calibrated;
each number is a mean over them. "the paper's" is arXiv:1707.07013; the code is {code}.
Try next:
  python -m sklearn_densconf compare --quick    many confidences on this network, losses first
  python -m sklearn_densconf.paper all          every figure and table of the paper
  docs/user_guide.md                            on your own network"""


class _Judge(NamedTuple):
    """A network, and classifiers of its features and logits, or of its logits."""

    extractor: FeatureExtractor
    models: Mapping[str, Any]

    def confidences(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Return the confidence in the network's label under each name, (n,) each."""
        Z, logits = self.activations(X)
        of_logits = {name: self.models[name].confidence(logits) for name in (SOFTMAX, PAPER)}
        return {OPEN_SET: self.models[OPEN_SET].confidence(Z), **of_logits}

    def activations(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return features and logits together, and the logits alone."""
        Z = self.extractor.transform(X)
        return Z, Z[:, self.extractor.feature_groups_["output"]]

    def means(self, X: np.ndarray, y: np.ndarray | None = None) -> dict[str, float]:
        """Return the mean of each confidence, and the accuracy where there are labels."""
        said = {name: float(values.mean()) for name, values in self.confidences(X).items()}
        if y is None:
            return said
        return {ACCURACY: float((self.activations(X)[1].argmax(axis=1) == y).mean()), **said}


def demonstrate(data: Path | None, out: Path) -> Path:
    """Train, fit, distort, compare: print a table, save a figure and return its path, a PNG file.

    ``data`` is the folder of the original MNIST files; None takes the digits of scikit-learn.
    ``demo.svg`` is the same figure.
    """
    dataset = load_embedded_digits() if data is None else load_original_mnist(data)
    _say(f"training LeNet-5 on {len(dataset.train):,} pictures ...")
    X, y = in_memory_pixels(dataset.train), dataset.train.y
    network = train_lenet5(X, y, epochs=dataset.epochs)
    _say("fitting ...")
    X_test, y_test = in_memory_pixels(dataset.test), dataset.test.y
    judge = _fitted(network, (X, y), (X_test[::2], y_test[::2]))
    X_test, y_test = X_test[1::2], y_test[1::2]
    _say("measuring ...")
    curves = {
        title: [judge.means(distort(X_test, s), y_test) for s in severities]
        for title, (distort, severities) in _SWEEPS.items()
    }
    foreign = {name: judge.means(make(X_test)) for name, make in _FOREIGN.items()}
    _say("")
    print(file=sys.stderr)
    print("\n".join(_table(curves, foreign)))
    path = _save(_draw(curves, foreign, _strip(judge, X_test)), out)
    print(f"\nFigure: {path} (and .svg)\n")
    print(_NEXT.format(n=len(y_test), code="sklearn_densconf/paper/_demo.py"))
    return path


def _say(step: str) -> None:
    """Write over the one line of progress."""
    print(f"\r{step:<60}", end="", file=sys.stderr, flush=True)


def _fitted(
    network: Any, train: tuple[np.ndarray, np.ndarray], held_out: tuple[np.ndarray, np.ndarray]
) -> _Judge:
    extractor = FeatureExtractor(network, layer=["penultimate", "output"]).fit(train[0])
    judge = _Judge(extractor, {})
    (Z, logits), (Z_val, _) = judge.activations(train[0]), judge.activations(held_out[0])
    models = {
        OPEN_SET: OpenSetClassifier().fit(Z, train[1], X_val=Z_val, y_val=held_out[1]),
        SOFTMAX: SoftmaxClassifier().fit(logits, train[1]),
        PAPER: GaussianDensityClassifier(predict_from="features").fit(logits, train[1]),
    }
    return judge._replace(models=models)


def _table(
    curves: Mapping[str, list[dict[str, float]]], foreign: Mapping[str, dict[str, float]]
) -> Iterator[str]:
    """Yield the lines of a table: a row each for the clean pictures and the ends of the sweeps."""
    yield f"{'pictures':<28}" + "".join(f"{name:>12}" for name in (ACCURACY, *_NAMES))
    rows = {"held out": next(iter(curves.values()))[0]}
    for title, points in curves.items():
        for i in (2, 5):
            rows[f"{title.split(' (')[0]} {_SWEEPS[title][1][i]:g}"] = points[i]
    rows |= {f"{name} (no digits)": said for name, said in foreign.items()}
    for name, said in rows.items():
        cells = (
            f"{said[key]:12.2f}" if key in said else f"{'–':>12}" for key in (ACCURACY, *_NAMES)
        )
        yield f"{name:<28}{''.join(cells)}"


def _strip(judge: _Judge, X: np.ndarray) -> PictureStripDisplay:
    """Show the picture whose confidence is in the middle, under more and more noise."""
    distort, severities = next(iter(_SWEEPS.values()))
    middle = int(np.argsort(judge.confidences(X[:50])[OPEN_SET])[25])
    noisy = np.concatenate([distort(X[middle : middle + 1], s) for s in severities])
    pictures = np.concatenate(
        [noisy, *(make(X[middle : middle + 1]) for make in _FOREIGN.values())]
    )
    captions = [f"σ {s:g}" for s in severities] + list(_FOREIGN)
    return PictureStripDisplay(
        pictures=list(pictures[:, 0]), confidences=judge.confidences(pictures), captions=captions
    )


def _draw(
    curves: Mapping[str, list[dict[str, float]]],
    foreign: Mapping[str, dict[str, float]],
    strip: PictureStripDisplay,
) -> Any:
    figure = new_figure(figsize=(11, 5.6))
    above, below = figure.subfigures(2, 1, height_ratios=(1.5, 1))
    axes = above.subplots(1, len(curves) + 1, sharey=True)
    for (title, points), ax in zip(curves.items(), axes[:-1], strict=True):
        places = range(len(points))
        values = [point[ACCURACY] for point in points]
        ax.plot(places, values, color="0.8", linewidth=9, solid_capstyle="round", label=ACCURACY)
        _plot(points, ax, "-")
        ax.set_xticks(places, [f"{severity:g}" for severity in _SWEEPS[title][1]])
        ax.set_xlabel(title)
    _plot(list(foreign.values()), axes[-1], "")
    axes[-1].set_xticks(range(len(foreign)), list(foreign))
    axes[-1].set_xlabel("pictures that are no digits")
    axes[-1].set_xlim(-0.5, len(foreign) - 0.5)
    for ax in axes:
        ax.set_ylim(0, 1.03)
        ax.spines[["top", "right"]].set_visible(False)
        ax.axhline(0.1, color="0.6", linestyle=":", linewidth=1)
    axes[0].set_ylabel("mean confidence")
    options = {"textcoords": "offset points", "fontsize": "small", "color": "0.4"}
    axes[0].annotate("the priors: no idea", (0, 0.1), (0, 4), **options)
    entries = axes[0].get_legend_handles_labels()
    above.legend(*entries, loc="outside upper center", ncols=len(entries[0]), frameon=False)
    strip.plot(below.subplots())
    return figure


def _plot(points: list[dict[str, float]], ax: Any, line: str) -> None:
    for name, color in _NAMES.items():
        values = [point[name] for point in points]
        ax.plot(values, linestyle=line, marker="o", markersize=5, color=color, label=name)


def _save(figure: Any, out: Path) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / "demo.png"
    figure.savefig(path, dpi=150)
    svg = as_svg(figure, "demo", letters_as_text=True)
    path.with_suffix(".svg").write_text(svg, encoding="utf-8")
    return path
