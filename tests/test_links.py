"""Where the repository's own pages lead. The site's pages are checked by `make docs`."""

import re
from pathlib import Path

import links
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
FENCE = re.compile(r"^( *)(`{3,}|:{3,}).*?^\1\2", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(text):
    """The names that GitHub and myst give to headings."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_a_link_leads_to_a_file_and_to_a_heading_of_it(page):
    for address in LINK.findall(page.read_text(encoding="utf-8")):
        path, _, heading = address.partition("#")
        if "://" in path or path.startswith(("auto_examples/", "generated/")):  # built
            continue
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {address}"
        if heading:
            assert heading in anchors(target.read_text(encoding="utf-8")), f"{page.name}: {address}"


def test_a_page_that_is_not_there_is_found(tmp_path):
    (tmp_path / "llms.txt").write_text("[A](a.html) [B](b.html#there)", encoding="utf-8")
    body = '<a href="#nowhere"></a><a href="https://x.org/y" id="there"></a><img src="b.html">'
    (tmp_path / "b.html").write_text(body, encoding="utf-8")
    assert sorted(links.broken(tmp_path)) == [
        "b.html: #nowhere",
        "b.html: picture b.html without alt",
        "llms.txt: a.html",
    ]
