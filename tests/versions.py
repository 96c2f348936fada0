"""Run the tests on the oldest and the newest versions that pyproject.toml admits.

``python tests/versions.py`` makes one environment a row in a temporary folder, runs the suite in
it, and writes ``docs/versions.md``; ``python tests/versions.py oldest`` renews one row. It needs
nothing but Python. An environment takes up to 6 GB: PyPI's torch for Linux brings CUDA with it.
"""

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "versions.md"
UNHELD = {"pyarrow"}  # in the oldest row: datasets, which the tests use, needs a newer one
LIBRARIES = ("scikit-learn", "numpy", "scipy", "joblib", "torch")
ROWS = {  # name -> Python
    "oldest": "3.11",
    "scikit-learn-1.8.0": "3.11",
    "scikit-learn-1.9.0": "3.11",
    "pinned": "3.11",
    "newest-3.11": "3.11",
    "newest-3.12": "3.12",
    "newest-3.13": "3.13",
    "newest-3.14": "3.14",
}
OLDER = [row for row in ROWS if not row.startswith(("pinned", "newest"))]
CORE = """
array_api baselines density_classifier device displays distortions estimator_checks extractor
gaussian gaussian_classifier gaussian_edges gaussian_incremental golden inputs layers layouts
logits mappings metrics metrics_of_estimators metrics_of_risk moments openset openset_pipeline
posterior progress rejection sklearn_gaussian_nb sources
"""  # of the suite, test_*.py: what leans on the libraries most, without other processes
HEAD = """\
# Versions

The suite, or its core (the estimators, features, metrics and inputs, scikit-learn's own checks
among them), with warnings as errors (deprecations aside on older versions). The row "oldest"
has the oldest versions that pyproject.toml admits, of the libraries and of the extras; "pinned"
those of constraints.txt, which `make` installs and CI runs at every change; "scikit-learn-" the
same but for that library; "newest" what resolves that day, on each Python that is there. A row that
is missing was not run. [Installation](installation.md) says when floors move. This page is written
by the command, never by hand:

```console
make versions
```

"""
TAIL = """
## What depends on the version of scikit-learn

The rows stand on both sides of these changes, and the tests say on each side what its version does.
The estimators here give the same numbers in every row: their covariances are divided by n.

| what | before | since |
| --- | --- | --- |
| `LinearDiscriminantAnalysis()`, compared with `covariance_type="tied"` | decides by a covariance \
divided by n − k, with k classes, while its `covariance_` is divided by n; the solvers "lsqr" and \
"eigen" decide by the latter | 1.9.1: by n, with every solver |
| `QuadraticDiscriminantAnalysis()`, compared with "full" | divides by n − 1; the solver "eigen", \
new in 1.8, by n | 1.9.1: by n, with both solvers |
| `accuracy_score` of strings and numbers, which the metrics here refuse in every row | 0, with no \
word | 1.9: an error |
| `CalibratedClassifierCV(method="temperature")`, cross-validation of tensors | not there | 1.8 |
| callbacks | fits work, and nothing can be set | 1.9: told when a fit begins and ends |
"""
SEEN = """
import importlib.metadata, sys
print(".".join(map(str, sys.version_info[:3])))
for name in sys.argv[1:]:
    print(importlib.metadata.version(name))
"""


def older(library, *version):
    """Check whether an installed library is older than a version, such as ``(1, 8)``."""
    found = importlib.metadata.version(library).split(".")[: len(version)]
    return tuple(map(int, found)) < version


def floors(project):
    """Return ``name==lowest`` of every library that the package or an extra of it needs.

    Parameters
    ----------
    project : dict
        What pyproject.toml says under [project].

    Returns
    -------
    list of str
        One constraint a library, sorted.
    """
    needed = list(project["dependencies"])
    for extra in project["optional-dependencies"].values():
        needed += extra
    found = (re.match(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)", requirement) for requirement in needed)
    lowest = {match.group(1, 2) for match in found if match}  # no match: this package's own extras
    return sorted("==".join(pair) for pair in lowest if pair[0] not in UNHELD)


def constraints(row):
    """Return what pip is to obey in a row: the text of a file of constraints."""
    if row.startswith("newest"):
        return ""
    if row == "oldest":
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return "\n".join(floors(project)) + "\n"
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    if row == "pinned":
        return pins
    library, version = row.rsplit("-", 1)
    return re.sub(rf"^{library}==.*", f"{library}=={version}", pins, flags=re.MULTILINE)


def programs(version):
    """Yield where this Python may be: on the path, in any folder of it, and where pyenv has it."""
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    theirs = sorted(root.glob(f"versions/{version}.*/bin"), reverse=True)
    for folder in [*os.environ["PATH"].split(os.pathsep), *map(str, theirs)]:
        if found := shutil.which(f"python{version}", path=folder):
            yield found


def program(version):
    """Return the first path of this Python that works, or None: pyenv has names that only fail."""
    for found in programs(version):
        if not subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
            return found
    return None


def install(row, folder):
    """Make a row's environment, and return its Python."""
    found = program(ROWS[row])
    if found is None:
        sys.exit(f"{row} needs Python {ROWS[row]}: none on the path or among pyenv's works")
    subprocess.run([found, "-m", "venv", f"{folder}/venv"], check=True)
    python = Path(folder, "venv", "bin", "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--no-compile"]
    subprocess.run([*pip, "--upgrade", "pip"], check=True)
    file = Path(folder, "constraints.txt")
    file.write_text(constraints(row), encoding="utf-8")
    subprocess.run([*pip, "-c", file, "-e", ".", "--group", "tests"], cwd=ROOT, check=True)
    return python


def measure(row, core):
    """Run the suite in a row's environment; return its line of the table, and if all passed."""
    files = [f"tests/test_{name}.py" for name in CORE.split()] if core else []
    with tempfile.TemporaryDirectory(prefix="versions-") as folder:
        python = install(row, folder)
        seen = subprocess.check_output([python, "-c", SEEN, *LIBRARIES], text=True).split()
        # An old library does not know what its newer neighbours have deprecated since.
        lenient = ["-W", "ignore::DeprecationWarning"] if row in OLDER else []
        suite = subprocess.run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *lenient, *files],
            cwd=ROOT,
            env=os.environ | {"SCIPY_ARRAY_API": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
    print(suite.stdout)
    summary = suite.stdout.strip().splitlines()[-1].strip("= ")
    result = re.sub(r" in [\d.]+s.*", "", summary)
    result = f"core: {result}" if core else result
    return f"| {' | '.join([row, *seen, result])} |", suite.returncode == 0


def kept():
    """Return the lines of the page's table, by row."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    return {line.split()[1]: line for line in re.findall(r"^\| .* \| \d.*$", text, re.MULTILINE)}


def write(lines):
    """Write the page."""
    titles = ["row", "Python", *LIBRARIES, "tests"]
    table = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    table += [lines[row] for row in ROWS if row in lines]
    PAGE.write_text(HEAD + "\n".join(table) + "\n" + TAIL, encoding="utf-8")


def main():
    """Renew the rows that the command line names, or all whose Python is here."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--core", action="store_true", help="a third of the time: CORE alone")
    asked = parser.parse_args()
    lines, failed = kept(), []
    for row in asked.rows or [row for row in ROWS if program(ROWS[row])]:
        print(f"{row}: installing, then the suite", file=sys.stderr, flush=True)
        lines[row], passed = measure(row, asked.core)
        print(lines[row], file=sys.stderr, flush=True)
        failed += [] if passed else [row]
        write(lines)
    return f"failed: {', '.join(failed)}" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
