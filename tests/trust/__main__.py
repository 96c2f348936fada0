"""Run the trials and write their table: ``python -m tests.trust [TRIAL ...]``.

A run of some trials replaces their rows in ``docs/reliability.json`` and keeps the others; the page
``docs/reliability.md`` is made of these rows, never by hand. With ``--short``, a few tries of each
are made and nothing is written.
"""

import argparse
import json
import platform
import subprocess
import sys
from datetime import date
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
TRIALS = {  # in the order of the page; the tries of a short run
    "numbers": 50,
    "files": 60,
    "faults": 28,
    "threads": 12,
    "cycles": 20,
    "mutants": 5,
}
WORDS = {  # of trials that name no row
    "numbers": "random fits against an oracle of 50 digits and more",
    "threads": "calls from 12 threads at once, against the same made alone",
    "mutants": "mutants of what computes",
}
LEFT_OUT = {"tried", "examples", "seconds"}
PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pillow")
PAGE = """\
# Reliability

What was tried to break this package, and how often it did. This page is written by `make trust`
(`python -m tests.trust`), never by hand; the trials are in `tests/trust`, and a short form of them
runs with the tests. Every try has a number, from which it can be made again.

| tried | number | failed | what came of it | day, commit |
| --- | ---: | ---: | --- | --- |
{rows}

**What counts as failed.** Of numbers: NaN, a warning, an exception that is not documented, an error
beyond its stated bound. Of damaged files: a result that is silently another one, a crash, a hang,
more memory than stated, an exception that is not documented or does not name the file; "missed" is
a warning and a result that is computed again. Of faults: a network or a model that has changed,
work that was finished and is lost, another result of the next run, a temporary file that is left.
Of cycles: memory (8 MB), descriptors, threads or files that grow. Of mutants: those that no test
kills.

**Limits.** Each worker that reads damaged files has 3 GB of address space beyond what it starts
with. A picture takes up to 4 bytes a pixel while it is decoded and 33 on its way to a float array;
`PIL.Image.MAX_IMAGE_PIXELS` (89 million) bounds the pixels, `read_idx(max_bytes=)` what a packed
IDX file unpacks to, `load_image_folder(max_pictures=)` the paths that are listed. Files without a
checksum, pictures and IDX files that are not packed, hold whatever their bytes say: there "right"
means what an independent reader makes of the same bytes.

**Threads** means those of a Python with a global lock, 3.11 to 3.13. None without one (3.13t,
3.14t) could be had where this was measured, neither from Debian nor from the package index, so
nothing is said of it.

**Full disks** are of two kinds: among the faults a limit on the size of files, at a random one; in
`tests/test_full_disk.py` a disk of 1 MB that is filled, which needs the right to mount one. A file
that another program cuts short while it is mapped into memory ends the process (SIGBUS), as in all
programs: the results of `distributed.predict` and the features in `memory` are mapped.

Measured on {versions}.
"""


def main(arguments=None):
    """Run the trials asked for, print their rows, and rewrite both files."""
    parser = argparse.ArgumentParser(prog="python -m tests.trust", description=__doc__)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"of {list(TRIALS)}")
    parser.add_argument("--short", action="store_true", help="a few tries of each; writes nothing")
    parser.add_argument("--n", type=int, help="the tries of each, if not as many as it makes")
    parser.add_argument("--page", action="store_true", help="only write the page again")
    options = parser.parse_args(arguments)
    there = [name for name in TRIALS if find_spec(f"tests.trust.{name}")]
    if unknown := set(options.trials) - set(there):
        parser.error(f"TRIAL must be among {there}, got {sorted(unknown)}")
    failed = 0
    for name in () if options.page else options.trials or there:
        rows = run(name, TRIALS[name] if options.short else options.n)
        failed += sum(row["failed"] for row in rows)
        if not options.short:
            store(name, rows)
    if not options.short:
        (DOCS / "reliability.md").write_text(page(), encoding="utf-8")
    return min(failed, 1)


def run(name, n=None):
    """Run one trial; return its rows, of ``what``, ``tried``, ``failed`` and ``note``."""
    trial = import_module(f"tests.trust.{name}")
    found = trial.run() if n is None else trial.run(n)
    rows = [as_row(name, row) for row in ([found] if isinstance(found, dict) else found)]
    for row in rows:
        print(f"{row['what']}: {row['tried']:,} tried, {row['failed']} failed; {row['note']}")
        sys.stdout.flush()
    return rows


def as_row(name, found):
    """Return what a trial counted as a row; kinds that are no failures go into the note."""
    if "what" in found:
        return found
    kinds = {"nan", "warned", "failed", "beyond", "wrong"} & set(found)
    about = {key: value for key, value in found.items() if key not in LEFT_OUT}
    forms = {float: ",.3g", int: ","}
    note = ", ".join(f"{key} {format(value, forms[type(value)])}" for key, value in about.items())
    failed = sum(found[kind] for kind in kinds)
    return {"what": WORDS[name], "tried": found["tried"], "failed": failed, "note": note}


def store(name, rows):
    """Replace the rows of a trial in the file of all rows."""
    path = DOCS / "reliability.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    packages = [f"{package} {version(package)}" for package in PACKAGES]
    versions = ", ".join([f"Python {platform.python_version()}", *packages, platform.system()])
    about = {"date": date.today().isoformat(), "commit": _commit(), "versions": versions}
    kept[name] = {**about, "rows": rows}
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _commit():
    """Return the commit that is checked out, "" where there is none, with a "+" if files differ."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    found = subprocess.run(command, cwd=DOCS, capture_output=True, text=True, check=False)
    return found.stdout.strip()


def page():
    """Return the page of all rows."""
    kept = json.loads((DOCS / "reliability.json").read_text(encoding="utf-8"))
    trials = [kept[name] for name in TRIALS if name in kept]
    lines = [_line(row, trial) for trial in trials for row in trial["rows"]]
    versions = sorted({trial["versions"] for trial in trials})
    return PAGE.format(rows="\n".join(lines), versions="; ".join(versions))


def _line(row, trial):
    about = trial | row  # a row may have been made again by itself
    made = " ".join(filter(None, [about["date"], about.get("commit")]))
    cells = row["what"], f"{row['tried']:,}", f"{row['failed']:,}", row["note"], made
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
