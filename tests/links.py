"""Check the built site without a connection: ``python tests/links.py docs/_build/html``.

Every local address on every page, and in llms.txt, must lead to a file, and to the place in it
that it names; every picture must say in words what it shows.
"""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page has and where it leads: ``ids``, ``addresses``, ``silent`` pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids, self.addresses, self.silent = {""}, [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element names."""
        named = dict(attrs)
        self.ids.update(value for key in ("id", "name") if (value := named.get(key)))
        self.addresses += [value for key in ("href", "src") if (value := named.get(key))]
        if tag == "img" and not named.get("alt"):
            self.silent.append(named.get("src"))


def broken(folder: Path) -> Iterator[str]:
    """Return a sentence for each address that leads nowhere, and each picture without words."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in folder.rglob("*.html")}
    pages = {path: page for path, page in pages.items() if "_static" not in path.parts}
    for path, page in pages.items():
        here = path.relative_to(folder.resolve())
        yield from (
            f"{here}: {address}" for address in page.addresses if lost(address, path, pages)
        )
        yield from (f"{here}: picture {name} without alt" for name in page.silent)
    listed = re.findall(r"\]\(([^)]+)\)", (folder / "llms.txt").read_text("utf-8"))
    start = (folder / "llms.txt").resolve()
    yield from (f"llms.txt: {address}" for address in listed if lost(address, start, pages))


def lost(address: str, path: Path, pages: dict[Path, Page]) -> bool:
    """Check whether an address on a page leads nowhere; those of other hosts are not followed."""
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return False
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    target = target / "index.html" if target.is_dir() else target
    if target in pages:
        return unquote(parts.fragment) not in pages[target].ids
    return not target.is_file()


if __name__ == "__main__":
    found = sorted(set(broken(Path(sys.argv[1]))))
    sys.exit("\n".join([*found, f"{len(found)} faults"]) if found else 0)
