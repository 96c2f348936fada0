"""Run the benchmarks and write their table: ``python -m tests.benchmarks [TOPIC ...]``.

Each topic has a process of its own: settings of threads, and what glibc learns from the arrays that
one topic frees, would change the times of the next.

Each ``bench_<topic>.py`` has ``CASES`` (pairs run in turn, see ``_harness.Case``), ``FIGURES``
(functions that give a ``Row`` measured in another way, such as peak memory), or both. A run of one
topic replaces that topic's rows in ``docs/benchmarks.json`` and keeps the others.
"""

import argparse
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import date
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import joblib
import psutil
from threadpoolctl import threadpool_info

from tests.benchmarks._harness import Row, measure
from tests.benchmarks._scaling_page import scaling_page

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
PACKAGES = ["scikit-learn", "numpy", "scipy", "torch", "onnxruntime"]
PACKAGES += ["joblib", "pytorch-ood", "foolbox"]


def main() -> None:
    """Run the topics asked for, print their rows, and rewrite both files."""
    topics = sorted(path.stem[len("bench_") :] for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {topics}; default all")
    parser.add_argument(
        "--only", default="", help="run only the cases whose name contains this; writes nothing"
    )
    options = parser.parse_args()
    if unknown := set(options.topics) - set(topics):
        parser.error(f"TOPIC must be among {topics}, got {sorted(unknown)}")
    chosen = options.topics or topics
    if len(chosen) > 1:
        for topic in chosen:
            command = [sys.executable, "-m", "tests.benchmarks", topic, "--only", options.only]
            subprocess.run(command, check=True)
        return
    rows = _run(chosen[0], options.only)
    if not options.only:
        _store(chosen[0], rows)


def _run(topic: str, only: str) -> list[Row]:
    module = import_module(f"tests.benchmarks.bench_{topic}")
    rows = [_said(measure(case)) for case in getattr(module, "CASES", []) if only in case.name]
    figures = [figure for figure in getattr(module, "FIGURES", []) if only in figure.__name__]
    return rows + [_said(figure()) for figure in figures]


def _said(row: Row) -> Row:
    print(_line(row), flush=True)
    return row


def _store(topic: str, rows: list[Row]) -> None:
    path = DOCS / "benchmarks.json"
    stored = json.loads(path.read_text()) if path.exists() else {"topics": {}}
    stored["versions"] = {name: version(name) for name in PACKAGES}
    stored["topics"][topic] = {
        "date": date.today().isoformat(),
        "machine": _machine(),
        "rows": [{**asdict(row), "met": row.met} for row in rows],
    }
    stored["topics"] = dict(sorted(stored["topics"].items()))
    path.write_text(json.dumps(stored, indent=1) + "\n")
    (DOCS / "benchmarks.md").write_text(_page(stored))
    if {"scaling", "distributed"} <= set(stored["topics"]):
        (DOCS / "scaling.md").write_text(scaling_page(stored["topics"]))


def _machine() -> str:
    memory = psutil.virtual_memory().total / 2**30
    blas = next(library for library in threadpool_info() if library["user_api"] == "blas")
    return (
        f"{joblib.cpu_count()} cores ({platform.machine()}; {blas['internal_api']} chose its "
        f"{blas['architecture']} kernels), {memory:.0f} GiB of memory, {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _line(row: Row) -> str:
    met = {True: "met", False: "**missed**", None: "–"}[row.met]
    figure = f"{row.ratio:.3g} {row.unit} ({row.low:.3g} – {row.high:.3g})"
    times = "" if row.ours_s != row.ours_s else f"{row.ours_s:.3g} s / {row.peer_s:.3g} s"
    cells = [row.name, row.peer, row.size, figure, times, row.goal, met, row.note]
    return "| " + " | ".join(cells) + " |"


def _page(stored: dict) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in stored["versions"].items())
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. Each figure is the median of at least five ratios "
        "(smallest – largest) of two things run in turn in one process. Where the goal is `>=` the "
        "figure is the peer's time over ours, where it is `<=` ours over the peer's; the times are "
        "medians, ours first.",
        "",
        f"Versions: {versions}.",
    ]
    for topic, table in stored["topics"].items():
        measured = f"Measured on {table['date']}, on {table['machine']}."
        lines += ["", f"## {topic.capitalize()}", "", measured, ""]
        lines += [
            "| what | against | at | figure | times | goal | met | note |",
            "| --- " * 8 + "|",
        ]
        for row in table["rows"]:
            row.pop("met")
            lines.append(_line(Row(**row)))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
