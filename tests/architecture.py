"""Draw the package: one box a room, one arrow an import, from what its files import.

``python -m tests.architecture`` writes ``docs/_static/architecture.svg``; a test fails while the
drawing is not current, and where an arrow points up. A room is a package or a module directly in
sklearn_densconf. A new one takes its place in `LAYERS`, beside its line in test_package.py.
"""

import ast
import html
import re
import textwrap
from functools import cache
from pathlib import Path

import sklearn_densconf

ROOT = Path(sklearn_densconf.__file__).parent
DRAWING = Path(__file__).resolve().parents[1] / "docs" / "_static" / "architecture.svg"
LAYERS = (  # from the top: a room imports rooms of lower rows only
    ("__main__",),
    ("comparison",),
    ("paper", "scoring"),
    ("evaluation", "export", "io"),
    ("adversarial", "displays", "distortions", "datasets", "distributed", "openset"),
    ("features", "metrics", "rejection", "monitoring", "baselines"),
    ("density",),
)
LEAVES = (  # below them all, in rows likewise; every room may import them, so no arrow says so
    ("_validation",),
    ("_array", "_fingerprint", "_files", "_machine", "_callbacks", "_modes"),
    ("_optional",),
)

WIDTH, GAP, LINE, BETWEEN = 186, 22, 15, 44  # pixels: a box, beside it, a line, below it
CHARACTERS = 26  # of a line in a box, in the widest font that a browser may take


def room(path):
    """Return the room that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path):
    """Yield every (module, name) that a file imports; the name of a whole module is empty."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from ((node.module, alias.name) for alias in node.names)


def reached(module, name):
    """Return the file of this package that an import reaches, or None."""
    words = [word for word in (*module.split("."), name) if word]
    if words[0] != ROOT.name:
        return None
    if len(words) == 2:  # from sklearn_densconf import NAME
        words[1:] = sklearn_densconf._HOME.get(words[1], words[1]).split(".")
    for end in (len(words), len(words) - 1):  # the last word may be a name in a file
        place = ROOT.joinpath(*words[1:end])
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                return path
    raise AssertionError(f"{module}.{name} is in no file")


@cache
def files():
    """Return the files that each file of the package imports."""
    return {
        path: {found for each in imported(path) if (found := reached(*each))} - {path}
        for path in sorted(ROOT.rglob("*.py"))
    }


def rooms():
    """Return the rooms that each room imports; the front door, ``__init__``, is none."""
    arrows = {}
    for path, others in files().items():
        if room(path) != "__init__":
            entered = {room(other) for other in others}
            arrows.setdefault(room(path), set()).update(entered - {room(path), "__init__"})
    return arrows


def circle(arrows):
    """Return a circle of arrows as a list, or an empty one."""
    done = set()

    def search(node, way):
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        found = next(filter(None, (search(n, [*way, node]) for n in sorted(arrows[node]))), [])
        done.add(node)
        return found

    return next(filter(None, (search(node, []) for node in sorted(arrows))), [])


def reduced(arrows):
    """Return the arrows that no longer way along other arrows implies."""

    def beyond(node):
        return set().union(*({other} | beyond(other) for other in arrows[node]))

    return {node: others - set().union(*map(beyond, others)) for node, others in arrows.items()}


@cache
def purpose(name):
    """Return the first sentence of a room's docstring, without marks and its own name."""
    path = ROOT / name / "__init__.py"
    path = path if path.exists() else ROOT / f"{name}.py"
    sentence = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).split("\n")[0]
    sentence = re.sub(r"(?<=[.]) .*|\.$", "", sentence.replace("``", "")).rstrip(".")
    return textwrap.wrap(sentence, CHARACTERS, break_on_hyphens=False)


def drawing():
    """Return the drawing, as SVG."""
    boxes, bottoms = _placed()
    width = max(x for x, _, _ in boxes.values()) + WIDTH + GAP
    height = bottoms[-1] + GAP
    leaves = {name for row in LEAVES for name in row}
    arrows = {
        name: others if name in leaves else others - leaves
        for name, others in reduced(rooms()).items()
    }
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        "<title>The rooms of sklearn_densconf, and what imports what</title>",
        _STYLE,
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        _ground(bottoms[len(LAYERS) - 1] + 20, width, height),
        *_arrows(arrows, boxes),
        *(_box(name, boxes[name], name in leaves) for name in boxes),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


_STYLE = """<style>
text { font-family: Helvetica, Arial, sans-serif; font-size: 12px; fill: #24292f }
.name { font-size: 14px; font-weight: bold }
.note { fill: #57606a; font-style: italic }
path { fill: none; stroke: #57606a; stroke-width: 1.4 }
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"
 orient="auto"><polygon points="0,0 8,4 0,8" fill="#57606a"/></marker></defs>"""


def _placed():
    """Return each room's box (x, y, height), and the bottom of each row."""
    rows = (*LAYERS, *LEAVES)
    width = max(len(row) for row in rows) * (WIDTH + GAP)
    boxes, bottoms, y = {}, [], GAP
    for number, row in enumerate(rows):
        height = 32 + LINE * max(len(purpose(name)) for name in row)
        y += 20 if number == len(LAYERS) else 0  # for the note on the leaves
        x = (width - len(row) * (WIDTH + GAP)) / 2 + GAP
        for place, name in enumerate(row):
            boxes[name] = x + place * (WIDTH + GAP), y, height
        bottoms.append(y + height)
        y += height + BETWEEN
    return boxes, bottoms


def _ground(top, width, height):
    """Return what the leaves lie on."""
    return (
        f'<rect x="4" y="{top}" width="{width - 8}" height="{height - top - 4}" rx="8" '
        f'fill="#eef1f4"/><text x="16" y="{top + 20}" class="note">'
        "Leaves: every room above may import them</text>"
    )


def _box(name, box, is_leaf):
    x, y, height = box
    fill, stroke = ("#fff", "#8c959f") if is_leaf else ("#ddf4ff", "#0969da")
    folder = "/" if (ROOT / name).is_dir() else ""
    lines = [
        f'<text x="{x + 10:g}" y="{y + 39 + LINE * number}">{html.escape(line)}</text>'
        for number, line in enumerate(purpose(name))
    ]
    return (
        f'<rect x="{x:g}" y="{y}" width="{WIDTH}" height="{height}" rx="6" fill="{fill}" '
        f'stroke="{stroke}"/><text x="{x + 10:g}" y="{y + 21}" class="name">{name}{folder}</text>'
        + "".join(lines)
    )


def _arrows(drawn, boxes):
    """Yield a curve an arrow; those of one box leave, and enter, side by side."""
    pairs = [(name, other) for name in boxes for other in sorted(drawn[name], key=boxes.get)]
    for name, other in pairs:
        leaving = [b for a, b in pairs if a == name]
        entering = sorted((a for a, b in pairs if b == other), key=boxes.get)
        x, y, height = boxes[name]
        start = x + WIDTH * (leaving.index(other) + 1) / (len(leaving) + 1), y + height
        x, y, _ = boxes[other]
        end = x + WIDTH * (entering.index(name) + 1) / (len(entering) + 1), y
        yield f'<path d="{_curve(start, end, boxes)}" marker-end="url(#head)"/>'


def _curve(start, end, boxes):
    """Return a way down that passes between the boxes of the rows between."""
    points = [start]
    for y, height in sorted({(y, h) for _, y, h in boxes.values() if start[1] < y < end[1]}):
        starts = [x for x, row, _ in boxes.values() if row == y]
        free = [min(starts) - GAP / 2, *(x + WIDTH + GAP / 2 for x in starts)]
        straight = start[0] + (end[0] - start[0]) * (y - start[1]) / (end[1] - start[1])
        x = min(free, key=lambda x: (abs(x - straight), x))
        points += [(x, y), (x, y + height)]
    points.append(end)
    path = f"M{start[0]:g},{start[1]:g}"
    for (x0, y0), (x1, y1) in zip(points[::2], points[1::2], strict=True):
        middle = (y0 + y1) / 2
        path += f" L{x0:g},{y0:g} C{x0:g},{middle:g} {x1:g},{middle:g} {x1:g},{y1:g}"
    return path


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
