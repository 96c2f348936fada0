"""Digests of samples: short hashes of content, the same in every process. A leaf."""

import hashlib
from typing import Any

DIGEST_BYTES = 16


def start_of(*about: Any) -> Any:
    """Begin a digest with what says how the content is to be read, such as its dtype and shape."""
    return hashlib.blake2b(repr(about).encode(), digest_size=DIGEST_BYTES)


def digest(start: Any, content: Any) -> bytes:
    """Return the digest of bytes after a beginning, which can be used again."""
    whole = start.copy()
    whole.update(content)
    return whole.digest()
