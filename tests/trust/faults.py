"""Faults injected at random points: what was finished is kept, and the next run is as if none was.

Three jobs are interrupted: pictures passed through a network into a memory, predictions written to
a folder, and a file that is saved over an older one. An exception or a kill comes at a random line
of the package, a full disk at a random size, a picture vanishes at a random one.
"""

import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections import Counter
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from networks import Convolutional
from PIL import Image

import sklearn_densconf
from sklearn_densconf import FeatureExtractor, GaussianDensityClassifier, distributed, io
from sklearn_densconf._fingerprint import fingerprint
from sklearn_densconf.distributed import _predict
from sklearn_densconf.features import _array_cache, _extraction, _memory
from tests.trust._dying import Dying

PACKAGE = str(Path(sklearn_densconf.__file__).parent)
N = 12  # pictures, and shards of predictions
X = np.random.default_rng(0).normal(size=(4 * N, 5))
DENSITY = GaussianDensityClassifier("tied").fit(X, np.arange(len(X)) % 3)


class Pictures:
    """Pictures of files, through a network, into a memory."""

    def __init__(self, folder):
        self.memory, self.network = folder / "memory", Convolutional()
        pixels = np.random.default_rng(0).integers(0, 256, (N, 10, 10), np.uint8)
        self.paths = [folder / f"{number}.png" for number in range(N)]
        for path, picture in zip(self.paths, pixels, strict=True):
            Image.fromarray(picture).save(path)
        self.contents = [path.read_bytes() for path in self.paths]

    def run(self):
        _memory._opened.cache_clear()  # as in a new process
        _array_cache.CACHE._seen.clear()
        options = {"batch_size": 2, "input_shape": (1, 10, 10), "device": "cpu"}
        extractor = FeatureExtractor(self.network, memory=self.memory, **options)
        return extractor.fit_transform(self.paths)

    def finished(self):
        return {path for path in self.memory.rglob("*.npy") if "unfinished" not in path.name}

    def state(self):
        network = self.network
        hooks = [
            len(part._forward_hooks) + len(part._forward_pre_hooks) for part in network.modules()
        ]
        needs = [tensor.requires_grad for tensor in network.parameters()]
        modes = [part.training for part in network.modules()]
        return fingerprint(list(network.state_dict().items())), hooks, needs, modes

    def restore(self):
        for path, content in zip(self.paths, self.contents, strict=True):
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)

    def check_kept(self, before, after):
        return before <= after


class Predictions:
    """Predictions, shard by shard, into a folder."""

    def __init__(self, folder):
        self.folder = folder / "results"

    def run(self):
        return np.array(distributed.predict(DENSITY, X, self.folder, shard_size=4))

    def finished(self):
        return set(self.folder.glob("*.npy"))

    def state(self):
        return fingerprint(DENSITY)

    def restore(self):
        pass

    def check_kept(self, before, after):
        """Shards are deleted once their result is there: were they computed again?"""
        parts = {path for path in before if path.name.startswith("from-")}
        whole = self.folder / "predict_proba.npy" in before
        return self.n_written <= (0 if whole else N - len(parts) + 1)


class Workers(Predictions):
    """The same on two workers, of which one dies on the way."""

    def __init__(self, folder):
        super().__init__(folder)
        self.model = Dying("tied").fit(X, np.arange(len(X)) % 3)
        self.model.marker_, self.model.at_ = str(folder / "marker"), 0.0

    def run(self):
        options = {"shard_size": 4, "n_jobs": 2}
        return np.array(distributed.predict(self.model, X, self.folder, **options))

    def check_kept(self, before, after):
        return before <= after


class Saved:
    """A file that replaces an older one."""

    def __init__(self, folder):
        self.path = folder / "model.densconf"
        io.save(GaussianDensityClassifier(), self.path)

    def run(self):
        io.save(DENSITY, self.path)
        return io.load(self.path).predict_proba(X)

    def finished(self):
        io.load(self.path)  # the old one or the new one, and whole
        return {self.path}

    def state(self):
        return fingerprint(DENSITY)

    def restore(self):
        pass

    def check_kept(self, before, after):
        return before <= after


@contextmanager
def _at_line(number, act):
    """Call a function at a line of the package, by its number among all that are run."""
    count = 0
    lock = threading.Lock()

    def trace(frame, event, _):
        nonlocal count
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line":
            with lock:
                count += 1
                is_now = count == number
            if is_now:
                STRUCK.append(number)
                act()
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield lambda: count
    finally:
        sys.settrace(None)
        threading.settrace(None)


def _raising(error):
    def act():
        raise error

    return act


ERRORS = {
    "interrupts": KeyboardInterrupt,
    "exceptions": lambda: RuntimeError("injected"),
    "out of memory": lambda: MemoryError("injected"),
    "errors of the disk": lambda: OSError(5, "injected"),
}


def _interrupted(job, rng, n_lines, kind):
    with _at_line(int(rng.integers(1, n_lines)), _raising(ERRORS[kind]())):
        try:
            job.run()
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, MemoryError)) or "injected" in repr(error):
                return
            if error.__cause__ is None and error.__context__ is None:
                raise


def _forked(act):
    """Run a function in a forked process; return how that ended."""
    process = get_context("fork").Process(target=act)
    process.start()
    process.join(60)
    if process.is_alive():
        process.kill()
        raise TimeoutError("a forked job hangs")
    return process.exitcode


def _killed(job, rng, n_lines, kind):
    number = int(rng.integers(1, n_lines))

    def act():
        with _at_line(number, lambda: os.kill(os.getpid(), signal.SIGKILL)):
            job.run()

    if _forked(act) == -signal.SIGKILL:
        STRUCK.append(number)


def _worker_killed(job, rng, n_lines, kind):
    job.model.at_ = float(X[4 * rng.integers(N), 0])
    Path(job.model.marker_).touch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # that a worker died
        job.run()
    if not os.path.exists(job.model.marker_):
        STRUCK.append(0)


def _full_disk(job, rng, n_lines, kind):
    size = int(rng.integers(0, 3000))

    def act():
        warnings.simplefilter("ignore")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            job.run()
        except OSError:
            left = list(ROOT_OF[job].rglob("unfinished-*"))
            os._exit(2 if left else 0)
        os._exit(0)  # whoever measures coverage writes a file at an ordinary end

    if (code := _forked(act)) != 0:
        raise AssertionError(f"a full disk ended with {code}")


def _vanished(job, rng, n_lines, kind):
    chosen, number = job.paths[rng.integers(N)], int(rng.integers(1, n_lines))
    cut = rng.random() < 0.5

    def act():
        chosen.write_bytes(chosen.read_bytes()[:40]) if cut else chosen.unlink()

    with _at_line(number, act):
        try:
            job.run()
        except (ValueError, FileNotFoundError) as error:
            if chosen.name not in str(error):
                raise


ROOT_OF = {}
STRUCK = []  # lines at which something was done, in this process
FAULTS = {
    **dict.fromkeys(ERRORS, _interrupted),
    "killed writers": _killed,
    "full disks": _full_disk,
    "vanished pictures": _vanished,
    "killed workers": _worker_killed,
}
JOBS = (Pictures, Predictions, Saved)
OF_ONE_JOB = {"vanished pictures": Pictures, "killed workers": Workers}


def run(n=300, seed=0):
    """Inject n faults.

    Returns
    -------
    list of dict
        One row: ``what``, ``tried``, ``failed`` and ``note``, with the number of each kind.
    """
    torch.set_num_threads(1)
    _extraction.KEEP_EVERY, before = 0.0, _extraction.KEEP_EVERY
    counts, failed = Counter(), 0
    STRUCK.clear()
    try:
        lines = {make: _count_lines(make) for make in JOBS}
        for number in range(seed, seed + n):
            kind, make = _drawn(number)
            counts[kind] += 1
            if wrong := _attempt(make, kind, np.random.default_rng(number), lines.get(make)):
                failed += 1
                print(f"{kind} of {make.__name__}, number {number}: {wrong}", file=sys.stderr)
    finally:
        _extraction.KEEP_EVERY = before
    kinds = ", ".join(f"{kind} {count}" for kind, count in counts.items())
    note = f"{kinds}; of all but the disks, {len(STRUCK)} struck before their job was over"
    return [{"what": "injected faults", "tried": n, "failed": failed, "note": note}]


def _drawn(number):
    """Return the kind of a fault and the job; workers take seconds to start, so few are killed."""
    if number % 30 == 29:
        return "killed workers", Workers
    kind = list(FAULTS)[number % (len(FAULTS) - 1)]
    return kind, OF_ONE_JOB.get(kind, JOBS[number // len(FAULTS) % 3])


@contextmanager
def _job(make):
    folder = Path(tempfile.mkdtemp())
    try:
        job = make(folder)
        ROOT_OF[job] = folder
        yield job
    finally:
        shutil.rmtree(folder)


def _count_lines(make):
    with _job(make) as job:
        job.run()  # what is run once a process only
    with _job(make) as job, _at_line(-1, None) as count:
        job.run()
        return count()


def _attempt(make, kind, rng, n_lines):
    """Return what is wrong after a fault and the next run; None if all is well."""
    with _job(Predictions if make is Workers else make) as reference:
        expected = reference.run()
    with _job(make) as job:
        state = job.state()
        try:
            FAULTS[kind](job, rng, n_lines, kind)
        except Exception as error:
            return repr(error)
        if job.state() != state:
            return "the network has changed"
        finished = job.finished()
        job.restore()
        with _counted(job), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            again = job.run()
        return _wrong(job, finished, again, expected, told)


def _wrong(job, finished, again, expected, told):
    left = [path.name for path in ROOT_OF[job].rglob("unfinished-*")]
    found = {
        "the next run differs": not np.allclose(again, expected, rtol=1e-6, atol=1e-7),
        f"temporary files are left: {left}": bool(left),
        "what was finished is lost": not job.check_kept(finished, job.finished()),
        f"warnings: {[str(each.message) for each in told]}": bool(told),
    }
    return "; ".join(what for what, is_so in found.items() if is_so) or None


@contextmanager
def _counted(job):
    """Count the arrays that predictions write."""
    write, job.n_written = _predict.write_array, 0

    def counting(*arguments):
        job.n_written += 1
        return write(*arguments)

    _predict.write_array = counting
    try:
        yield
    finally:
        _predict.write_array = write
