"""A full disk without filling one: no file of this process may grow beyond a size."""

import resource
from contextlib import contextmanager


@contextmanager
def files_of_at_most(n_bytes):
    """Refuse to let files grow further, for as long as the block runs.

    It is no fixture: those end after the test's result is written, and what it is written to may
    be a longer file.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
