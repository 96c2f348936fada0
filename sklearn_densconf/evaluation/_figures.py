"""What the figures share: panels, curves over runs, and SVG."""

from collections.abc import Callable, Sequence
from io import BytesIO, StringIO
from pathlib import Path
from typing import Any

import numpy as np

from sklearn_densconf._files import write_content
from sklearn_densconf._optional import import_optional

PANEL = (4.6, 3.8)  # inches


def new_figure(**options: Any) -> Any:
    """Return a figure that belongs to no window: nothing has to be closed."""
    return import_optional("matplotlib.figure", "Figures").Figure(layout="constrained", **options)


def draw_panels(draw: Callable[[str, Any], object], names: Sequence[str]) -> Any:
    """Draw panels side by side; return the figure."""
    figure = new_figure(figsize=(PANEL[0] * len(names), PANEL[1]))
    for name, ax in zip(names, np.atleast_1d(figure.subplots(1, len(names))), strict=True):
        draw(name, ax)
    return figure


def means_of_runs(runs: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return the mean confidences of all runs, (n_runs, n_severities) under each name."""
    return {
        name: np.array([run["confidences"][name]["mean"] for run in runs])
        for name in runs[0]["confidences"]
    }


def check_formats(formats: Sequence[str]) -> None:
    """Check that matplotlib writes figures in these formats, before any file or folder is made."""
    backends = import_optional("matplotlib.backend_bases", "Figures")
    known = sorted(backends.FigureCanvasBase.get_supported_filetypes())
    if isinstance(formats, str) or not set(formats) <= set(known):
        raise ValueError(f"formats must be a list of some of {known}, got {formats!r}")


def save_figure(figure: Any, path: Path, formats: Sequence[str]) -> None:
    """Write a figure as SVG and in other formats; ``path`` has no suffix."""
    for kind in set(formats) - {"svg"}:
        content = BytesIO()
        figure.savefig(content, format=kind, dpi=150)
        write_content(path.with_suffix(f".{kind}"), content.getvalue())
    write_content(path.with_suffix(".svg"), as_svg(figure, path.name).encode())


def as_svg(figure: Any, salt: str, *, letters_as_text: bool = False) -> str:
    """Return a figure as an SVG element, without the XML declaration; always the same text.

    ``salt`` makes the ids inside differ from those of other figures on one page. Letters are
    drawn as paths, the same everywhere, or as text in the reader's font, in far fewer bytes.
    """
    matplotlib = import_optional("matplotlib", "Figures")
    buffer = StringIO()
    options: dict[str, Any] = {"svg.hashsalt": salt}
    if letters_as_text:  # each carries the names of all its fonts
        options |= {"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans"]}
    with matplotlib.rc_context(options):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
