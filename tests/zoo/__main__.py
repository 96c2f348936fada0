"""Run the zoo, and write ``docs/networks.md``: ``python -m tests.zoo [--only NAME]``."""

import argparse
import subprocess
import sys
import tempfile
import time
import warnings
from importlib import import_module
from pathlib import Path

import joblib

from ._cell import Cell, said
from ._checks import examined, found_again
from ._entry import Entry
from ._page import Row, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "networks.md"
GROUPS = {
    "torchvision": ["_torchvision"],
    "timm": ["_timm"],
    "transformers": ["_text", "_senses"],
    "torch alone": ["_plain"],
}


def main() -> None:
    """Check all networks in this process and in another one, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.zoo", description=__doc__)
    parser.add_argument("--only", default="", help="networks whose name has this; prints the page")
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # libraries deprecate things every week
    warnings.filterwarnings("error", module="sklearn_densconf")  # a false alarm is a fault
    chosen = _entries(options.only)
    if options.again:
        joblib.dump(_again(chosen, options.again), options.again / "again.joblib")
        return
    groups = _checked(chosen, options.only)
    if options.only:
        print(page(groups, []))
    else:
        sections = [_section("text"), _section("table")]
        PAGE.write_text(page(groups, sections), encoding="utf-8")


def _section(kind: str) -> list[str]:
    """Return the lines on real text or tables; of an error, what it says."""
    try:
        return import_module(f"._real_{kind}", __package__).section()
    except Exception as error:
        return [f"## Real {kind}", "", f"**Fails**: `{said(error)}`"]


def _entries(only: str) -> dict[str, Entry]:
    """Return the networks by library and name, such as "timm: ViT"."""
    return {
        f"{library}: {entry.name}": entry
        for library, files in GROUPS.items()
        for file in files
        for entry in import_module(f".{file}", __package__).ENTRIES
        if only in f"{library}: {entry.name}"
    }


def _checked(entries: dict[str, Entry], only: str) -> dict[str, list[Row]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = {}
        for number, (title, entry) in enumerate(entries.items()):
            start = time.monotonic()
            (folder / str(number)).mkdir()
            cells[title] = examined(entry, folder / str(number))
            print(_line(title, cells[title]), f"({time.monotonic() - start:.1f} s)", flush=True)
        command = [sys.executable, "-m", "tests.zoo", "--only", only, "--again", name]
        subprocess.run(command, check=True)
        for title, places in joblib.load(folder / "again.joblib").items():
            for place, results in places.items():
                cells[title][place].add(results)
    groups: dict[str, list[Row]] = {}
    for title, found in cells.items():
        inside = entries[title].inside
        row = entries[title].name, inside.asked or inside.module, found
        groups.setdefault(title.partition(": ")[0], []).append(row)
    return groups


def _again(entries: dict[str, Entry], folder: Path) -> dict[str, dict[str, dict[str, str]]]:
    return {
        title: found_again(entry, folder / str(number))
        for number, (title, entry) in enumerate(entries.items())
    }


def _line(title: str, cells: dict[str, Cell]) -> str:
    faults = [f"{place} {list(cell.faults)}" for place, cell in cells.items() if cell.faults]
    return f"{title}: {'; '.join(faults) or 'ok'}"


if __name__ == "__main__":
    main()
