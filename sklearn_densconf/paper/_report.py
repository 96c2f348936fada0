"""The report: one HTML file that needs nothing else, to look at rather than to read."""

from base64 import b64encode
from collections.abc import Callable
from html import escape
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from sklearn_densconf._optional import import_optional
from sklearn_densconf.paper import _tables as tables
from sklearn_densconf.paper._confidences import DENSITY, SOFTMAX
from sklearn_densconf.paper._experiments import strip_pixels
from sklearn_densconf.paper._figures import as_images, as_svg, draw_rises, draw_scales, draw_sweep
from sklearn_densconf.paper._study import Study
from sklearn_densconf.paper._tables import Table
from sklearn_densconf.paper._texts import (
    CONFIDENCE_TEXT,
    STRANGERS_TEXT,
    STRIPS_TEXT,
    attack_text,
    command,
    describe_run,
    describe_time,
    lead,
    name_run,
    scales_text,
)

Results = dict[str, Any]
_VERDICTS = {SOFTMAX: "Softmax is better", DENSITY: "The density is better", "even": "Even"}
_SMALL = 64  # pixels: smaller pictures are shown with their pixels visible


def write_report(results: Results, study: Study, path: Path) -> None:
    """Write the report.

    Parameters
    ----------
    results : dict
        Those of a run.
    study : Study
        Where the pictures are.
    path : Path
        The file.
    """
    measured = results["runs"][0]
    parts = [_head(results, study)] + [
        _PARTS[k](results, study, k) for k in _PARTS if k in measured
    ]
    page = Template(files(__package__).joinpath("_report.html").read_text(encoding="utf-8"))
    title = f"Density confidence: {name_run(results)}"
    body = "\n".join([*parts, _colophon(results)])
    path.write_text(page.substitute(title=escape(title), body=body), encoding="utf-8")


def _head(results: Results, study: Study) -> str:
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in lead(results["runs"]))
    cards = {
        winner: f'<section class="card verdict of-{winner}"><h3>{_VERDICTS[winner]}</h3>'
        f"{_table(table)}</section>"
        for winner, table in tables.findings_tables(results["runs"]).items()
        if table.rows
    }
    softmax, others = cards.pop(SOFTMAX, ""), "".join(cards.values())
    return (
        "<h1>Does the confidence fall when the pictures get worse?</h1>"
        f'<p class="quiet">{escape(describe_run(results))}</p>{said}{_first_strip(results, study)}'
        f'<div class="grid wide">{softmax}<div class="stack">{others}</div></div>'
    )


def _first_strip(results: Results, study: Study) -> str:
    """Give one picture, distorted more and more, for those who do not read."""
    run = results["runs"][0]
    strips = run.get("figure3") or run.get("figure5")
    return f'<div class="card">{_strip(strips[0], study, run["seed"])}</div>' if strips else ""


def _curves(results: Results, study: Study, name: str) -> str:  # noqa: ARG001 - as all parts
    panels = "".join(
        f'<section class="card"><h3>{escape(_title(sweep))}</h3>'
        f"{as_svg(draw_sweep(results, name, sweep), f'{name}-{sweep}')}"
        f"{_table(tables.sweep_table(results['runs'], name, sweep))}</section>"
        for sweep in results["runs"][0][name]
    )
    heading = _heading(name, "Distorted more and more", CONFIDENCE_TEXT)
    return f'{heading}<div class="grid">{panels}</div>'


def _strips(results: Results, study: Study, name: str) -> str:
    cards = "".join(
        f'<section class="card"><h3>{escape(_title(strip["distortion"]))}</h3>'
        f"{_strip(strip, study, results['runs'][0]['seed'])}</section>"
        for strip in results["runs"][0][name][1:]  # the first is at the top of the page
    )
    return f'{_heading(name, "Single pictures", STRIPS_TEXT)}<div class="strips">{cards}</div>'


def _strip(strip: Results, study: Study, seed: int) -> str:
    images = as_images(strip_pixels(strip, study, seed))
    shown = {name: strip["confidences"][name] for name in (SOFTMAX, DENSITY)}
    cells = []
    for i, (image, severity) in enumerate(zip(images, strip["severity"], strict=True)):
        right = strip["predicted"][i] == strip["label"]
        mark = "" if right else '<span class="wrong">wrong</span>'
        bars = "".join(_bar(name, values[i], max(values)) for name, values in shown.items())
        caption = f"{strip['symbol']} {severity:g}"
        cells.append(
            f'<figure><img alt="{escape(strip["distortion"])}, {caption}" src="{_data_uri(image)}">'
            f'<figcaption><div class="of"><span>{caption}</span>{mark}</div>{bars}</figcaption>'
            "</figure>"
        )
    size = "small" if images[0].shape[0] < _SMALL else "large"
    return f'<div class="strip {size}">{"".join(cells)}</div>'


def _bar(name: str, value: float, largest: float) -> str:
    width = 100 * value / (largest or 1)
    number = f"{value:.2f}" if value >= 0.01 else f"{value:.1g}"
    return (
        f'<div class="of"><span>{name}</span><span class="{name}">{number}</span></div>'
        f'<div class="bar {name}-bar"><i style="width:{width:.1f}%"></i></div>'
    )


def _attacks(results: Results, study: Study, name: str) -> str:  # noqa: ARG001
    text = attack_text(results["runs"])
    table = _table(tables.attack_table(results["runs"]))
    panel = as_svg(draw_rises(results), name)
    return (
        f'{_heading(name, "Adversarial pictures", text)}<div class="grid wide">'
        f'<div class="card">{table}</div><div class="card">{panel}</div></div>'
    )


def _scales(results: Results, study: Study, name: str) -> str:  # noqa: ARG001
    text, panel = scales_text(results["runs"]), as_svg(draw_scales(results), name)
    table = _table(tables.scale_table(results["runs"]))
    return (
        f"{_heading(name, 'Pixels scaled up', text)}"
        f'<div class="grid"><div class="card">{panel}</div><div class="card">{table}</div></div>'
    )


def _strangers(results: Results, study: Study, name: str) -> str:  # noqa: ARG001
    table = _table(tables.strangers_table(results["runs"]))
    return (
        f"<h2>Pictures of another data set</h2><p>{escape(STRANGERS_TEXT)}</p>"
        f'<div class="grid"><div class="card">{table}</div></div>'
    )


_PARTS: dict[str, Callable[[Results, Study, str], str]] = {
    "figure2": _curves,
    "figure4": _curves,
    "figure3": _strips,
    "figure5": _strips,
    "table1": _attacks,
    "figure1": _scales,
    "strangers": _strangers,
}


def _colophon(results: Results) -> str:
    facts = {
        "paper": results["paper"],
        "command": command(results),
        "time": describe_time(results),
        "versions": ", ".join(f"{name} {number}" for name, number in results["versions"].items()),
    }
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<h2>How this was made</h2><dl>{entries}</dl>"


def _heading(name: str, title: str, text: str) -> str:
    number = f"{name[:-1].capitalize()} {name[-1]}"
    return f'<h2>{title} <span class="quiet">· {number}</span></h2><p>{escape(text)}</p>'


def _title(sweep: str) -> str:
    return sweep[0].upper() + sweep[1:]


def _table(table: Table) -> str:
    head = "".join(f'<th class="{cell}">{escape(cell)}</th>' for cell in table.header)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in table.rows
    )
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def _cell(text: str) -> str:
    """Set the spread smaller than the mean."""
    mean, plus_minus, spread = text.partition(" ± ")
    return f"{escape(mean)} <small>± {escape(spread)}</small>" if plus_minus else escape(text)


def _data_uri(image: np.ndarray) -> str:
    """Give a picture as part of the page: large ones as JPEG, which is a tenth of the size."""
    pillow = import_optional("PIL.Image", "The report")
    pixels = image if image.dtype == np.uint8 else np.rint(image * 255).astype(np.uint8)
    kind = "PNG" if pixels.shape[0] < _SMALL else "JPEG"
    coded = BytesIO()
    plane = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    pillow.fromarray(plane).save(coded, kind, **({"quality": 88} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{b64encode(coded.getvalue()).decode()}"
