"""The report: one HTML file that needs nothing else, to look at rather than to read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from sklearn_densconf.evaluation import _html as html
from sklearn_densconf.evaluation._case import Card, Case, Shown, collect_findings
from sklearn_densconf.evaluation._figures import as_svg
from sklearn_densconf.evaluation._findings import EVEN, Finding
from sklearn_densconf.evaluation._tables import Table, findings_tables


@dataclass(frozen=True)
class Words:
    """What a report says beside its numbers."""

    title: str  # of the window
    about: str  # one line on what was run
    called: Mapping[str, str]  # name of a confidence -> how a sentence about it begins
    facts: Mapping[str, str]  # how this was made
    verdicts: Mapping[str, str] = field(default_factory=dict)  # name -> heading of what it wins


def lead(findings: Sequence[Finding], called: Mapping[str, str]) -> list[str]:
    """Say in a sentence each what every confidence is better at."""
    return [
        f"{subject} is better at {_enumerate([f for f in findings if f.winner == name])}."
        for name, subject in called.items()
    ]


def _enumerate(findings: Sequence[Finding]) -> str:
    """Name what was won, measure by measure: "calibration (noise, blur), ..."."""
    by_measure: dict[str, list[str]] = {}
    for finding in findings:
        by_measure.setdefault(finding.measure.name, []).append(finding.pictures)
    won = [f"{measure} ({', '.join(pictures)})" for measure, pictures in by_measure.items()]
    return ", ".join(won) or "nothing that was measured"


def as_page(shown: Sequence[tuple[Case, Shown]], compared: Sequence[str], words: Words) -> str:
    """Return the whole page, HTML."""
    cards = {case.name: case.cards(part) for case, part in shown}
    leading = [(part, cards[case.name]) for case, part in shown if case.leads]
    first = [_parts(own.pop(0), part) for part, own in leading if own]
    sections = [_section(case, part, cards[case.name]) for case, part in shown if cards[case.name]]
    findings = collect_findings(shown)
    body = [_head(findings, compared, words, first), *sections, _colophon(words.facts)]
    page = Template(files(__package__).joinpath("_report.html").read_text(encoding="utf-8"))
    title, styles = escape(words.title), html.styles(compared)
    return page.substitute(title=title, styles=styles, body="\n".join(body))


def _head(
    findings: Sequence[Finding], compared: Sequence[str], words: Words, first: Sequence[str]
) -> str:
    said = ""
    if findings:
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in lead(findings, words.called))
    strip = "".join(f'<div class="card">{parts}</div>' for parts in first)
    found = findings_tables(findings, compared)
    usual, *others = [_verdict(name, found[name], compared, words) for name in found]
    return (
        "<h1>Does the confidence fall when the pictures get worse?</h1>"
        f'<p class="quiet">{escape(words.about)}</p>{said}{strip}'
        f'<div class="grid wide">{usual}<div class="stack">{"".join(others)}</div></div>'
    )


def _verdict(name: str, content: Table, compared: Sequence[str], words: Words) -> str:
    if not content.rows:
        return ""
    title = "Even" if name == EVEN else words.verdicts.get(name, f"{name} is better")
    kind = f"of-{html.class_of(name, compared)}"
    return (
        f'<section class="card verdict {kind}"><h3>{escape(title)}</h3>'
        f"{html.table(content, compared)}</section>"
    )


def _section(case: Case, shown: Shown, cards: Sequence[Card]) -> str:
    number = f' <span class="quiet">· {case.number}</span>' if case.number else ""
    inside = "".join(_card(card, shown) for card in cards)
    return (
        f"<h2>{case.title}{number}</h2><p>{escape(case.text(shown))}</p>"
        f'<div class="{case.grid}">{inside}</div>'
    )


def _card(card: Card, shown: Shown) -> str:
    title = f"<h3>{escape(card.title[0].upper() + card.title[1:])}</h3>" if card.title else ""
    return f'<section class="card">{title}{_parts(card, shown)}</section>'


def _parts(card: Card, shown: Shown) -> str:
    salt = "-".join(filter(None, (shown.name, card.title)))
    return "".join(_part(part, salt, shown.compared) for part in card.parts)


def _part(part: Any, salt: str, compared: Sequence[str]) -> str:
    if isinstance(part, Table):
        return html.table(part, compared)
    return part if isinstance(part, str) else as_svg(part, salt)


def _colophon(facts: Mapping[str, str]) -> str:
    entries = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    return f"<h2>How this was made</h2><dl>{entries}</dl>"
