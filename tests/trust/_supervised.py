"""Attempts in a process that may crash, hang or fill the memory: each is counted, none ends it.

The worker writes the number of an attempt before it, and its outcome after. If it dies or is
silent for too long, the supervisor counts that against the number that was last, and starts
another one behind it.
"""

import json
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

PATIENCE = 600.0  # seconds without a word, importing on a busy machine included
ROOT = Path(__file__).resolve().parents[2]


def supervise(module, kind, n, *, room, seed=0):
    """Run attempts ``seed`` to ``seed + n`` of a kind.

    Parameters
    ----------
    module : str
        Has ``TRIALS``, from the name of a kind to a class of trials.
    kind : str
        Its name.
    n : int
        Number of attempts.
    room : int
        Bytes of address space that an attempt may take beyond those of the start.
    seed : int
        The first number.

    Returns
    -------
    Counter
        Outcomes by name, with "crashed" and "hung"; the latter's numbers go to stderr.
    int
        Largest growth of resident memory, in bytes.
    """
    outcomes, grown, at = Counter(), 0, seed
    while at < seed + n:
        command = [sys.executable, "-m", "tests.trust._supervised", module, kind]
        worker = subprocess.Popen(
            [*command, str(at), str(seed + n), str(room)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        watch = _Watch(worker)
        for line in worker.stdout:
            watch.touch()
            said = json.loads(line)
            if "outcome" in said:
                outcomes[said["outcome"]] += 1
                _tell(kind, said)
                at = said["number"] + 1
            grown = max(grown, said.get("grown", 0))
        worker.wait()
        watch.stop()
        if at < seed + n:
            end = "hung" if watch.ended else "crashed"
            outcomes[end] += 1
            print(f"{kind} {at}: {end}, code {worker.returncode}", file=sys.stderr, flush=True)
            at += 1
    return outcomes, grown


def _tell(kind, said):
    if said["outcome"] not in ("right", "refused", "missed"):
        print(f"{kind} {said['number']}: {said}", file=sys.stderr, flush=True)


class _Watch:
    """Ends a worker that has not said a word for too long."""

    def __init__(self, worker):
        self.ended, self._worker, self._last = False, worker, time.monotonic()
        self._stopped = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def touch(self):
        self._last = time.monotonic()

    def stop(self):
        self._stopped.set()

    def _look(self):
        while not self._stopped.wait(1.0):
            if time.monotonic() - self._last > PATIENCE:
                self.ended = True
                self._worker.kill()
                return


def _work(module, kind, start, stop, room):
    """Be the worker."""
    from importlib import import_module

    import tests.conftest  # noqa: F401 - repairs torchvision

    trial = import_module(module).TRIALS[kind]()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + room, resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no outcome
    for number in range(start, stop):
        outcome, detail = trial.attempt(number)
        about = {"number": number, "outcome": outcome, "detail": str(detail)[:300]}
        print(json.dumps(about), file=out)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"grown": 1024 * (after - before)}), file=out)


if __name__ == "__main__":
    _work(*sys.argv[1:3], *map(int, sys.argv[3:]))
