"""The whole command: list, score in shards, and join them in one table."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import joblib
import numpy as np

from sklearn_densconf._files import UNFINISHED, whole_file
from sklearn_densconf._optional import import_optional
from sklearn_densconf.distributed._engine import each
from sklearn_densconf.distributed._folder import Run, delete_run, sweep
from sklearn_densconf.scoring._listing import Listing, find_pictures, write_listing
from sklearn_densconf.scoring._models import Code, identity, read_scorer
from sklearn_densconf.scoring._shards import write_shard
from sklearn_densconf.scoring._tables import check_suffix, write_table

SHARD = 256  # pictures: what a kill can cost each worker
PATHS, PART = "paths", "from-{}.npy"


@dataclass(frozen=True)
class Job:
    """What the command line asks for."""

    model: Path
    inputs: Sequence[str]
    out: Path
    preprocessing: str | None = None
    skip_broken: bool = False
    jobs: int = 1
    dask: str | None = None
    quiet: bool = False
    allow_code: Sequence[str] = ()
    network: str | None = None

    @property
    def folder(self) -> Path:
        """Where the shards are, beside the table, until it is written."""
        return self.out.with_name(f"{self.out.name}.parts")


def score(job: Job) -> Path:
    """Score pictures into a table; a run that was killed goes on where it was.

    Parameters
    ----------
    job : Job
        What to do.

    Returns
    -------
    Path
        The table, which is there whole or not at all.

    Raises
    ------
    FileNotFoundError
        If the model, an input or the folder of the table is not there.
    FileExistsError
        If the table is there.
    ValueError
        If the model is none, a picture cannot be read, or the shards beside are of another run.
    OSError
        If something cannot be read or written.
    """
    check_suffix(job.out)
    if not job.out.parent.is_dir():
        raise FileNotFoundError(f"--out: there is no folder {job.out.parent}")
    discarded = job.out.with_name(f"{UNFINISHED}{job.folder.name}")
    _delete(discarded)  # a kill came while it was being deleted
    if job.out.exists() and not job.folder.exists():
        raise FileExistsError(f"--out {job.out} is there: delete it, or give another name")
    code = Code(job.allow_code, job.network)
    scorer = read_scorer(job.model, job.preprocessing, _threads(job), code)
    with _claimed(job) as (listing, run):
        _score_missing(job, scorer, listing, run)
        parts = _Parts(job.folder, listing)
        label = parts.label(job.skip_broken)
        with whole_file(job.out) as unfinished:
            write_table(unfinished, parts, label, job.out.suffix)
    with suppress(OSError):  # files of others are in a folder of this name
        job.folder.rename(discarded)  # at once: the table is done
    _delete(discarded)
    _delete(job.folder)
    return job.out


def _delete(folder: Path) -> None:
    """Delete the shards of a run that is over; files of others stay, and the folder with them."""
    delete_run(folder)
    (folder / PATHS).unlink(missing_ok=True)
    with suppress(OSError):  # not empty, or not there
        folder.rmdir()


def _threads(job: Job) -> int:
    """Return how many threads of onnxruntime each worker gets; a cluster's workers have cores."""
    if job.dask is not None:
        return 1
    n_cores = joblib.cpu_count()
    n_workers = job.jobs if job.jobs > 0 else n_cores + 1 + job.jobs
    return max(n_cores // max(n_workers, 1), 1)


@contextmanager
def _claimed(job: Job) -> Iterator[tuple[Listing, Run]]:
    """List the pictures, and take the folder of the shards; leave no empty one."""
    job.folder.mkdir(exist_ok=True)
    try:
        sweep(job.folder)
        place = job.folder / PATHS
        with whole_file(place) as unfinished:
            listing = write_listing(find_pictures(job.inputs), unfinished, place, SHARD)
            about = {
                "model": identity(job.model, job.preprocessing),
                "pictures": listing.digest,
                "shard_size": SHARD,
            }
            n_rows = {_part(job, n): listing.size(n) for n in range(len(listing))}
            run = Run(job.folder, about, n_rows)
        yield listing, run
    finally:
        _discard_if_empty(job.folder)


def _discard_if_empty(folder: Path) -> None:
    if folder.exists() and not any(folder.glob(PART.format("*"))):
        for name in (PATHS, "run.json"):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # it holds what is not ours
            folder.rmdir()


def _score_missing(job: Job, scorer: Any, listing: Listing, run: Run) -> None:
    """Score the shards that are not there."""
    progress = _Progress(listing, None if job.quiet else sys.stderr)
    task = partial(write_shard, key=run.key, skip_broken=job.skip_broken)

    def missing() -> Iterator[tuple[list[str], Path]]:
        for number in range(len(listing)):
            place = _part(job, number)
            if run.has(place):
                progress.found(listing.size(number))
            else:
                yield listing.shard(number), place

    tasks = each(task, scorer, missing(), _n_jobs(job), job.folder)
    with run.noting(), _workers(job), closing(tasks) as done:
        for written, n_pictures, n_broken in done:
            run.note(*written)
            progress.add(n_pictures, n_broken)
    progress.end()


def _part(job: Job, number: int) -> Path:
    return job.folder / PART.format(number * SHARD)


def _n_jobs(job: Job) -> int | None:
    return None if job.dask is not None else job.jobs


def _workers(job: Job) -> Any:
    """Return a context in which joblib's tasks run on a Dask cluster, if one is asked for."""
    return nullcontext() if job.dask is None else _cluster(job.dask)


@contextmanager
def _cluster(address: str) -> Iterator[None]:
    client = import_optional("distributed", "--dask").Client(address)
    with client, joblib.parallel_config("dask", n_jobs=-1):
        yield


class _Parts:
    """The rows of all shards, read one shard at a time, as often as one likes."""

    def __init__(self, folder: Path, listing: Listing) -> None:
        self._folder = folder
        self._listing = listing

    def __iter__(self) -> Iterator[tuple[list[str], np.ndarray]]:
        for number in range(len(self._listing)):
            yield self._listing.shard(number), self._rows(number)

    def _rows(self, number: int) -> np.ndarray:
        return np.load(self._folder / PART.format(number * SHARD), mmap_mode="r")

    def label(self, skip_broken: bool) -> np.dtype:
        """Return a type that holds the labels of all shards; check that there are some."""
        found, broken = set(), ""
        for paths, rows in self:
            is_broken = rows["reason"] != ""
            if not is_broken.all():
                found.add(rows["label"].dtype)
            if is_broken.any() and not broken:
                first = int(is_broken.argmax())
                broken = f"{paths[first]} could not be read: {rows['reason'][first]}"
        if broken and not skip_broken:
            raise ValueError(f"{broken}. The run before went on, with --skip-broken")
        if not found:
            raise ValueError(f"no picture could be read. The first, {broken}")
        is_text = any(dtype.kind == "U" for dtype in found)
        return np.dtype(str) if is_text else np.result_type(*found)


class _Progress:
    """One line on a terminal, and one every half minute elsewhere."""

    def __init__(self, listing: Listing, stream: TextIO | None) -> None:
        self._n_pictures, self._stream = listing.n_pictures, stream
        self._n_done = self._n_found = self._n_broken = 0
        self._begun = self._told = time.monotonic()
        self._on_terminal = stream is not None and stream.isatty()

    def found(self, n: int) -> None:
        """Count pictures of an earlier run."""
        self._n_found += n

    def add(self, n: int, n_broken: int) -> None:
        """Count pictures that were just scored."""
        self._n_done, self._n_broken = self._n_done + n, self._n_broken + n_broken
        now = time.monotonic()
        if now - self._told > (0.2 if self._on_terminal else 30):
            self._told = now
            self._tell("\r" if self._on_terminal else "", "" if self._on_terminal else "\n")

    def end(self) -> None:
        """Tell the last."""
        self._tell("\r" if self._on_terminal else "", "\n")

    def _tell(self, before: str, after: str) -> None:
        if self._stream is not None:
            self._stream.write(f"{before}{self.line()}{after}")
            self._stream.flush()

    def line(self) -> str:
        """Return the line."""
        n, seconds = self._n_found + self._n_done, time.monotonic() - self._begun
        rate = self._n_done / max(seconds, 1e-9)
        words = [f"{n:,} of {self._n_pictures:,} pictures"]
        words += [f"{self._n_found:,} of an earlier run"] if self._n_found else []
        words += [f"{self._n_broken:,} broken"] if self._n_broken else []
        words += [f"{rate:,.0f} a second"] if self._n_done else []
        left = self._n_pictures - n
        words += [f"{_duration(left / rate)} left"] if left and rate else []
        return f"{', '.join(words)}    "


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
