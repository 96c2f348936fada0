"""Single pictures distorted more and more, with the confidences below each."""

from collections.abc import Iterator
from html import escape
from typing import Any

import numpy as np

from sklearn_densconf.displays import PictureStripDisplay
from sklearn_densconf.evaluation._case import Card, Case, Shown, Trial
from sklearn_densconf.evaluation._figures import new_figure
from sklearn_densconf.evaluation._html import bar, class_of, picture_address
from sklearn_densconf.evaluation._pictures import channels_last
from sklearn_densconf.evaluation._sweeps import every_other

_SMALL = 64  # pixels: smaller pictures are shown with their pixels visible


def _measure(trial: Trial) -> list[dict[str, Any]]:
    return [
        _measure_strip(trial, index, name)
        for index in _choose_pictures(trial)
        for name in trial.sweeps
    ]


def _measure_strip(trial: Trial, index: int, name: str) -> dict[str, Any]:
    sweep, original = trial.sweeps[name], trial.pictures.read(np.array([index]))
    severities = every_other(sweep.severities)
    distorted = [picture for s in severities for picture in sweep.apply(original, s, trial.seed)]
    labels, confidences = trial.subject.examine(np.stack(distorted))
    predicted = {key: said.tolist() for key, said in labels.items()}
    return {
        "picture": index,
        "label": trial.pictures.y[index].item(),
        "distortion": name,
        "symbol": sweep.symbol,
        "severity": severities,
        "predicted": next(iter(predicted.values())) if trial.subject.one_label else predicted,
        "confidences": {key: values.tolist() for key, values in confidences.items()},
        "pictures": np.stack(distorted),  # shown, not saved
    }


def _choose_pictures(trial: Trial, n: int = 2) -> list[int]:
    """Return a typical picture, rightly labelled, of each of ``n`` classes that are far apart."""
    y = trial.pictures.y
    classes = np.unique(y)
    places = np.linspace(0, len(classes) - 1, n + 2).round().astype(int)[1:-1]
    if len(np.unique(places)) < n:  # of three classes both would be the one in the middle
        places = np.unique(np.linspace(0, len(classes) - 1, n).round().astype(int))
    wanted = classes[places]
    return [_typical(trial, np.flatnonzero(y == label)[:25]) for label in wanted]


def _typical(trial: Trial, candidates: np.ndarray) -> int:
    """Return the one in the middle of the last confidence, of those that are right."""
    name = trial.subject.compared[-1]
    labels, confidences = trial.subject.examine(trial.pictures.read(candidates), [name])
    order = np.argsort(confidences[name])
    right = order[labels[name][order] == trial.pictures.y[candidates[order]]]
    middle = right if len(right) else order
    return int(candidates[middle[len(middle) // 2]])


def _text(shown: Shown) -> str:
    return (
        "Confidences in pictures chosen by rule: of the first 25 of a class, those rightly "
        f"labelled, the one whose {shown.compared[-1]} confidence is in the middle. Bars are "
        "relative to the largest in the row."
    )


def _draw(shown: Shown) -> Any:
    strips = shown.runs[0]
    figure = new_figure(figsize=(8, 2.05 * len(strips)))
    for strip, ax in zip(strips, np.atleast_1d(figure.subplots(len(strips), 1)), strict=True):
        PictureStripDisplay(
            pictures=channels_last(strip["pictures"]),
            confidences={name: strip["confidences"][name] for name in shown.compared},
            captions=_captions(strip),
        ).plot(ax)
    return figure


def _captions(strip: dict[str, Any]) -> list[str]:
    return [f"{strip['symbol']} {severity:g}" for severity in strip["severity"]]


def _cards(shown: Shown) -> Iterator[Card]:
    for strip in shown.runs[0]:
        yield Card(strip["distortion"], [_as_html(strip, shown)])


def _as_html(strip: dict[str, Any], shown: Shown) -> str:
    images = channels_last(strip["pictures"])
    cells = [
        f'<figure><img alt="{escape(strip["distortion"])}, {caption}" '
        f'src="{picture_address(image, lossless=image.shape[0] < _SMALL)}">'
        f"<figcaption>{_under(strip, i, caption, shown)}</figcaption></figure>"
        for i, (image, caption) in enumerate(zip(images, _captions(strip), strict=True))
    ]
    size = "small" if images[0].shape[0] < _SMALL else "large"
    return f'<div class="strip {size}">{"".join(cells)}</div>'


def _under(strip: dict[str, Any], i: int, caption: str, shown: Shown) -> str:
    """Set what stands under a picture: its severity, what is labelled wrongly, and bars."""
    said, mark = strip["predicted"], '<span class="wrong">wrong</span>'
    shared = not isinstance(said, dict)
    bars = []
    for name in shown.compared:
        values, kind = strip["confidences"][name], class_of(name, shown.compared)
        is_wrong = not shared and said[name][i] != strip["label"]
        bars.append(bar(name, values[i], max(values), kind, f" {mark}" if is_wrong else ""))
    of_all = mark if shared and said[i] != strip["label"] else ""
    return f'<div class="of"><span>{caption}</span>{of_all}</div>{"".join(bars)}'


def _hindrance(trial: Trial) -> str:
    n_channels = len(trial.pictures.read(np.arange(1))[0])
    if n_channels not in (1, 3):
        return f"pictures have {n_channels} channels, and 1 or 3 can be shown"
    return "" if trial.sweeps else "there is no distortion"


CASE = Case(
    name="strips",
    title="Single pictures",
    place=30,
    measure=_measure,
    text=_text,
    draw=_draw,
    lay_out=_cards,
    hindrance=_hindrance,
    grid="strips",
    leads=True,
)
