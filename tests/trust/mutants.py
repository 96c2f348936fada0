"""Mutation of what computes: does a test fail when one operator, number or line is another?

``python -m tests.trust mutants --n 300`` changes the modules of `MODULES` one by one, in a copy of
the tree, and runs the tests of each beside. What survives is printed: to be read, and killed by a
test or explained in `_explained`. Each worker imports the large libraries once and forks for every
mutant. Outcomes are kept in `LOG`, so a run that was stopped goes on, and its first part is a fair
sample: the order is drawn by chance. Delete the line of a survivor to try it again.
"""

import compileall
import contextlib
import hashlib
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from py_compile import PycInvalidationMode

from tests.trust._explained import EXPLAINED
from tests.trust._mutations import Mutant, mutant, places

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "sklearn_densconf"
LOG = ROOT / "build" / "mutants.jsonl"
SECONDS = 240  # of the processor for one file; then a mutant hangs, and that is noticed
# What starts other processes, or searches long, is left to those that nothing else notices.
LAST = "across_processes or fresh_process or skorch_net or grid_search_and or most_probable"
GAUSSIANS = ("moments", "blocks", "gaussian_classifier", "gaussian", "numbers")
MORE = ("gaussian_incremental", "gaussian_edges", "posterior")
LOGITS = ("logits", "baselines", "numbers", "posterior")
WIDE = ("golden", "array_api")  # of what is evaluated on tensors too, last
RANKS = ("metrics", "metrics_of_risk", "metrics_of_estimators")
MODULES = {  # and the tests, those first that notice most in least time
    "density/_logits.py": ("logits", "baselines", "openset", "single_logit"),
    "density/_softmax.py": ("baselines", "posterior", "logits", "numbers"),
    "density/_density_classifier.py": ("density_classifier", "posterior", "laws"),
    "density/_posterior.py": (*GAUSSIANS, "posterior", "baselines", "logits"),
    "density/": (*GAUSSIANS, *MORE, "laws"),
    "openset/": ("openset_laws", "openset", "single_logit", "logits", "laws"),
    "rejection.py": ("rejection",),
    "metrics/": RANKS,
}


def run(n=300, seed=0, workers=2):
    """Try n mutants, drawn by chance, and count those that no test notices.

    Parameters
    ----------
    n : int, default=300
        How many.
    seed : int, default=0
        Of the draw.
    workers : int, default=2
        Mutants that are tried at once.

    Returns
    -------
    dict
        ``tried``, ``failed`` (that survive unexplained), ``note``, and ``examples``: these.
    """
    drawn = [_mutant(name, place) for name, place in _drawn(seed)[:n]]
    LOG.parent.mkdir(exist_ok=True)
    killers = _killers(drawn, "near", workers)
    survivors = [each for each in drawn if not killers[_key(each)] and not _reason(each)]
    return _row(drawn, {**killers, **_killers(survivors, "wide", workers)})


def _killers(drawn, stage, workers):
    """Return which test each mutant falls to in a stage, by key: of those before, and now."""
    known = _logged(stage)
    rest = [each for each in drawn if _key(each) not in known]
    if rest:
        _preload()
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _start) as pool:
            known.update(pool.map(_try, rest, [stage] * len(rest)))
    return {_key(each): known[_key(each)] for each in drawn}


def _row(drawn, killers):
    """Return what is told of the mutants: how many were killed, and why the others live."""
    survivors = [each for each in drawn if not killers[_key(each)]]
    told = {f"{each.file}:{each.line} `{each.change}`": _reason(each) for each in survivors}
    examples = [where for where, reason in told.items() if not reason]
    explained = "; ".join(f"{where} ({reason})" for where, reason in told.items() if reason)
    note = (
        f"killed {len(drawn) - len(survivors)}, another program of the same results "
        f"{len(survivors) - len(examples)}: {explained or 'none'}"
    )
    if examples:
        note += f". Survive unexplained: {'; '.join(examples)}"
    row = {"what": "mutants of what computes", "tried": len(drawn), "failed": len(examples)}
    return {**row, "note": note.replace("|", "\\|"), "examples": examples}


def _reason(changed: Mutant):
    line = (
        (ROOT / PACKAGE / changed.file).read_text(encoding="utf-8").splitlines()[changed.line - 1]
    )
    return EXPLAINED.get((changed.file, line.strip(), changed.change), "")


def _mutant(name, place):
    return mutant(name, (ROOT / PACKAGE / name).read_text(encoding="utf-8"), *place)


def _key(changed: Mutant):
    """Return what names a mutant as long as its module is the same."""
    return hashlib.sha256(f"{changed.file} {changed.line} {changed.text}".encode()).hexdigest()


def _logged(stage):
    """Return the outcomes of runs before, by key."""
    lines = LOG.read_text(encoding="utf-8").splitlines() if LOG.exists() else []
    outcomes = [outcome for outcome in map(json.loads, lines) if outcome["stage"] == stage]
    return {outcome["key"]: outcome["by"] for outcome in outcomes}


def _start():
    """Make the copy of a worker."""
    global _copied  # noqa: PLW0603  # a worker has one copy, and nothing else of its state
    _copied = tempfile.TemporaryDirectory(prefix="mutants-")
    _copy(Path(_copied.name))


def _try(changed: Mutant, stage):
    """Return the key of a mutant, and which test it falls to: none, if it survives. Log it."""
    start = time.monotonic()
    killer, key = _killer(Path(_copied.name), changed, stage), _key(changed)
    seconds = round(time.monotonic() - start)
    where = f"{changed.file}:{changed.line} {changed.change}"
    outcome = {"stage": stage, "by": killer, "where": where, "seconds": seconds, "key": key}
    with LOG.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
    return key, killer


def _drawn(seed):
    """Return all places in an order by chance, in which a changed module moves no other's."""
    return sorted(_places(), key=lambda place: hashlib.sha256(f"{seed} {place}".encode()).digest())


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


def _stage(name, stage):
    """Return files of tests of a module, each with an expression that chooses some of them."""
    near = list(dict.fromkeys(_tests(name)))
    if stage == "near":
        return [(test, f"not ({LAST})") for test in near]
    on_tensors = WIDE if name.startswith(("density/", "openset/")) else ()
    return [(test, LAST) for test in near] + [(test, "") for test in on_tensors]


def _copy(folder):
    for part in (PACKAGE, "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "docs", "README.md"):
        (folder / part).symlink_to(ROOT / part)
    # by hash: a mutant of the same length, in the same second, is never taken for the original
    compileall.compile_dir(folder, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH)


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


def _killer(folder, changed: Mutant, stage):
    """Return the test that fails with the mutant in the copy of the tree, or nothing."""
    target, told = folder / PACKAGE / changed.file, folder / "told"
    original = target.read_text(encoding="utf-8")
    target.write_text(changed.text, encoding="utf-8")
    try:
        child = os.fork()
        if child == 0:
            _test(folder, told, _stage(changed.file, stage))
        _, status = os.waitpid(child, 0)
    finally:
        target.write_text(original, encoding="utf-8")
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", told.read_text(errors="replace"), re.MULTILINE)
    return (failed or [f"status {status}"])[-1] if status else ""


def _test(folder, told, chosen):
    """Run the tests in this process, which ends with their verdict."""
    code = 1
    with contextlib.suppress(BaseException):
        signal.signal(signal.SIGXCPU, signal.SIG_DFL)
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        sys.path[:] = [str(folder), str(folder / "tests"), *_elsewhere()]
        sys.dont_write_bytecode = True
        code = int(any(_fails(f"tests/test_{name}.py", which) for name, which in chosen))
    os._exit(code)


def _fails(file, chosen):
    """Return whether a test of a file fails, of those that an expression chooses."""
    import pytest

    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + SECONDS, hard))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", "--assert=plain"]
    nothing = pytest.ExitCode.NO_TESTS_COLLECTED
    return pytest.main([*options, "-k", chosen, file]) not in {pytest.ExitCode.OK, nothing}


def _elsewhere():
    """Return the path without this tree, whose modules would hide those of the copy."""
    mine = {"", str(ROOT), str(ROOT / "tests")}
    return [part for part in sys.path if part not in mine]
