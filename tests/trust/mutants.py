"""Mutation of what computes: does a test fail when one operator, number or line is another?

``python -m tests.trust mutants --n 300`` changes the modules of `MODULES` one by one, in a copy of
the tree, and runs the tests of each beside. What survives is printed: to be read, and killed by a
test or explained. The process imports the large libraries once and forks for every mutant.
"""

import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.trust._mutations import Mutant, mutant, places

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "sklearn_densconf"
SECONDS = 120  # of the processor; then a mutant hangs, and that is noticed
GAUSSIANS = ("gaussian", "numbers", "moments", "blocks", "gaussian_classifier")
MORE = ("gaussian_incremental", "gaussian_edges", "posterior", "array_api")
LOGITS = ("logits", "baselines", "numbers", "posterior")
RANKS = ("metrics", "metrics_of_risk", "metrics_of_estimators")
MODULES = {  # and the tests, those first that notice most in least time
    "density/_moments.py": ("moments", *GAUSSIANS, "gaussian_incremental"),
    "density/_logits.py": ("logits", "baselines", "numbers", "openset", "single_logit"),
    "density/_softmax.py": LOGITS,
    "density/_density_classifier.py": ("density_classifier", "numbers", "laws"),
    "density/_posterior.py": ("posterior", "baselines", "logits", "numbers", "gaussian_classifier"),
    "density/_gaussian_classifier.py": (*GAUSSIANS, *MORE, "laws", "logits"),
    "density/": (*GAUSSIANS, *MORE, "laws"),
    "openset/": ("openset", "laws", "logits", "single_logit"),
    "rejection.py": ("rejection",),
    "metrics/": RANKS,
}


def run(n=300, seed=0, log=None):
    """Try n mutants, drawn by chance, and count those that no test notices.

    Parameters
    ----------
    n : int, default=300
        How many.
    seed : int, default=0
        Of the draw.
    log : path, default=None
        A file that each outcome is added to at once.

    Returns
    -------
    dict
        ``tried``, ``failed`` (that survive), and ``examples``: file, line and change of these.
    """
    drawn = random.Random(seed).sample(list(_places()), n)
    _preload()
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        copy = _copy(Path(scratch))
        for name, place in drawn:
            text = (ROOT / PACKAGE / name).read_text(encoding="utf-8")
            changed = mutant(name, text, *place)
            start = time.monotonic()
            killed = _is_killed(copy, changed)
            where = f"{name}:{changed.line} {changed.change}"
            survivors += [] if killed else [where]
            if log is not None:
                with Path(log).open("a", encoding="utf-8") as file:
                    seconds = time.monotonic() - start
                    file.write(f"{'killed' if killed else 'ALIVE'} {seconds:.0f} s {where}\n")
    what, note = "mutants of what computes", "; ".join(survivors)
    return {
        "what": what,
        "tried": n,
        "failed": len(survivors),
        "note": note,
        "examples": survivors,
    }


def _places():
    """Yield every module that computes, with each place where it can be changed."""
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = file.relative_to(ROOT / PACKAGE).as_posix()
        if _tests(name):
            yield from ((name, place) for place in places(file.read_text(encoding="utf-8")))


def _tests(name):
    """Return the tests of a module: those of its name, else of its folder."""
    return MODULES.get(name) or next(
        (MODULES[part] for part in MODULES if part.endswith("/") and name.startswith(part)), ()
    )


def _copy(folder):
    for part in (PACKAGE, "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "docs", "README.md"):
        (folder / part).symlink_to(ROOT / part)
    return folder


def _preload():
    """Import what takes long, but nothing of the package, so that every fork has it."""
    import hypothesis  # noqa: F401
    import matplotlib.pyplot  # noqa: F401, ICN001
    import mpmath  # noqa: F401
    import pandas  # noqa: F401, ICN001
    import pytest  # noqa: F401
    import sklearn.ensemble
    import sklearn.linear_model
    import sklearn.mixture
    import sklearn.neighbors
    import sklearn.utils.estimator_checks  # noqa: F401
    import torch  # noqa: F401

    assert PACKAGE not in sys.modules


def _is_killed(folder, changed: Mutant):
    """Return whether a test fails, or hangs, with the mutant in the copy of the tree."""
    target = folder / PACKAGE / changed.file
    original = target.read_text(encoding="utf-8")
    target.write_text(changed.text, encoding="utf-8")
    try:
        child = os.fork()
        if child == 0:
            _test(folder, _tests(changed.file))
        _, status = os.waitpid(child, 0)
        return status != 0
    finally:
        target.write_text(original, encoding="utf-8")


def _test(folder, names):
    """Run the tests in this process, which ends with their verdict."""
    code = 1
    with contextlib.suppress(BaseException):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        os.chdir(folder)
        sys.path[:] = [str(folder), str(folder / "tests"), *_elsewhere()]
        sys.dont_write_bytecode = True
        import pytest

        files = [f"tests/test_{name}.py" for name in dict.fromkeys(names)]
        options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--assert=plain"]
        code = int(pytest.main([*options, *files]))
    os._exit(code)


def _elsewhere():
    """Return the path without this tree, whose modules would hide those of the copy."""
    mine = {"", str(ROOT), str(ROOT / "tests")}
    return [part for part in sys.path if part not in mine]
