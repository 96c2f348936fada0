"""Pieces of HTML. What belongs to the first of the compared names has class c0, and so on."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape
from io import BytesIO

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.displays._style import COLORS
from sklearn_densconf.evaluation._tables import Table


def class_of(name: str, compared: Sequence[str]) -> str:
    """Return the class of a name; empty if it is not among those compared."""
    return f"c{list(compared).index(name)}" if name in compared else ""


def styles(compared: Sequence[str]) -> str:
    """Return the rules that colour names, bars and verdicts as in the figures."""
    return "\n".join(
        f".c{i} {{ color: {color}; font-weight: 600; }} th.c{i} {{ color: {color}; }} "
        f".verdict.of-c{i} {{ border-top-color: {color}; }} "
        f".bar.of-c{i} i {{ background: {color}; }}"
        for i, color in ((i, COLORS[i % len(COLORS)]) for i in range(len(compared)))
    )


def table(content: Table, compared: Sequence[str]) -> str:
    """Set a table."""
    head = "".join(
        f'<th class="{class_of(cell, compared)}">{escape(cell)}</th>' for cell in content.header
    )
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in content.rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(text: str) -> str:
    """Set the spread smaller than the mean."""
    mean, plus_minus, spread = text.partition(" ± ")
    return f"{escape(mean)} <small>± {escape(spread)}</small>" if plus_minus else escape(text)


def bar(name: str, value: float, largest: float, kind: str, mark: str = "") -> str:
    """Set a confidence as a number above a bar, relative to the largest one of its row."""
    number = f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"
    width = 100 * value / (largest or 1)
    return (
        f'<div class="of"><span>{escape(name)}{mark}</span>'
        f'<span class="{kind}">{number}</span></div>'
        f'<div class="bar of-{kind}"><i style="width:{width:.1f}%"></i></div>'
    )


def picture_address(image: np.ndarray, *, lossless: bool) -> str:
    """Return a picture as an address: large ones as JPEG, which is a tenth of the size."""
    pillow = import_optional("PIL.Image", "The report")
    pixels = image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)
    kind = "PNG" if lossless else "JPEG"
    coded = BytesIO()
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    pillow.fromarray(plane).save(coded, kind, **({} if lossless else {"quality": 88}))
    return f"data:image/{kind.lower()};base64,{b64encode(coded.getvalue()).decode()}"
