"""The page of results, ``docs/networks.md``."""

from collections.abc import Iterable
from importlib.metadata import version

from ._cell import CHECKS, Cell

PLACES = ("output", "penultimate", "inside")
PACKAGES = ("torch", "torchvision", "timm", "transformers", "scikit-learn", "joblib")
LONGEST = 300  # characters of an error
Row = tuple[str, str, dict[str, Cell]]  # name, layer inside, cells


def page(groups: dict[str, list[Row]], sections: Iterable[list[str]]) -> str:
    """Return the page.

    Parameters
    ----------
    groups : dict of str to list of rows
        The networks of each library: name, layer inside, and what was found at each place.
    sections : iterable of list of str
        Lines of the sections that follow.

    Returns
    -------
    str
        Markdown.
    """
    cells = [cell for rows in groups.values() for *_, found in rows for cell in found.values()]
    notes = list(dict.fromkeys(cell.refusal for cell in cells if cell.refusal))
    lines = [*_opening(groups, cells), "", *_summary(groups)]
    for library, rows in groups.items():
        lines += ["", f"## {library}", "", *_table(rows, notes)]
    lines += ["", *_refusals(notes), *_faults(groups)]
    for section in sections:
        lines += ["", *section]
    return "\n".join(lines) + "\n"


def _opening(groups: dict[str, list[Row]], cells: list[Cell]) -> list[str]:
    n_networks = sum(map(len, groups.values()))
    n_passed = sum(cell.passes for cell in cells)
    libraries = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return [
        "# Networks",
        "",
        "Written by `make zoo`; do not edit. Networks as their libraries build them, with random "
        "weights and in small sizes, each checked at three places: its output, its penultimate "
        "layer (the input of the last linear layer that runs), and a layer inside.",
        "",
        f"{n_networks} networks, {len(cells)} places, {n_passed} of which pass all of "
        f"{len(CHECKS)} checks. Versions: {libraries}.",
        "",
        *(f"- **{name}**: {what}." for name, what in CHECKS.items()),
    ]


def _summary(groups: dict[str, list[Row]]) -> list[str]:
    lines = [f"| check | {' | '.join(PLACES)} |", "| --- " * (len(PLACES) + 1) + "|"]
    for check in CHECKS:
        counts = []
        for place in PLACES:
            cells = [found[place] for rows in groups.values() for *_, found in rows]
            made = [cell for cell in cells if check != "refusal" or check in cell.results]
            counts.append(f"{sum(cell.results.get(check) == '' for cell in made)} of {len(made)}")
        lines.append(f"| {check} | {' | '.join(counts)} |")
    return lines


def _table(rows: list[Row], notes: list[str]) -> list[str]:
    lines = ["| network | output | penultimate | inside | layer inside |", "| --- " * 5 + "|"]
    for name, inside, found in rows:
        cells = " | ".join(_short(found[place], notes) for place in PLACES)
        lines.append(f"| {name} | {cells} | `{inside}` |")
    return lines


def _short(cell: Cell, notes: list[str]) -> str:
    if cell.faults:
        return f"**fails**: {', '.join(check for check in CHECKS if check in cell.faults)}"
    if not cell.refusal:
        return "ok"
    cure = ", ".join(
        f"{name}={getattr(value, '__name__', repr(value))}" for name, value in cell.cure.items()
    )
    return f"refused ({notes.index(cell.refusal) + 1}); ok with `{cure}`"


def _refusals(notes: list[str]) -> list[str]:
    if not notes:
        return []
    lines = ["## What is refused, and the cure", ""]
    return [*lines, *(f"{number}. {_literal(note)}" for number, note in enumerate(notes, 1)), ""]


def _faults(groups: dict[str, list[Row]]) -> list[str]:
    """List the faults, each with the checks and places where it was found."""
    found: dict[str, list[str]] = {}
    for library, rows in groups.items():
        for name, _, cells in rows:
            for fault, where in _by_fault(cells).items():
                found.setdefault(fault, []).append(f"{library} {name} ({'; '.join(where)})")
    lines = [f"- {_literal(fault)}: {', '.join(where)}" for fault, where in found.items()]
    return ["## What fails", "", *lines] if lines else []


def _by_fault(cells: dict[str, Cell]) -> dict[str, list[str]]:
    """Return the checks and places of each fault of a network."""
    places: dict[tuple[str, str], list[str]] = {}
    for place, cell in cells.items():
        for check, fault in cell.faults.items():
            places.setdefault((fault, check), []).append(place)
    found: dict[str, list[str]] = {}
    for (fault, check), where in places.items():
        everywhere = len(where) == len(cells)
        found.setdefault(fault, []).append(check if everywhere else f"{check}: {', '.join(where)}")
    return found


def _literal(text: str) -> str:
    short = text if len(text) <= LONGEST else text[:LONGEST] + " ..."
    return f"`{short.replace('`', chr(39))}`"
