"""Damage: what disks, networks and tools do to files, at random."""

import gzip
import struct
import zlib

import numpy as np

EDGES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutated(content, rng):
    """Return content with one to four damages."""
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        content = rng.choice(DAMAGES)(content, rng) if content else content
    return content


def _place(content, rng):
    """Return a place, every second time among the first 64 bytes, where headers are."""
    most = len(content) if rng.random() < 0.5 else min(64, len(content))
    return int(rng.integers(0, max(most, 1)))


def _flip(content, rng):
    place = _place(content, rng)
    return content[:place] + bytes([content[place] ^ 1 << rng.integers(8)]) + content[place + 1 :]


def _set(content, rng):
    place = _place(content, rng)
    return content[:place] + rng.bytes(1) + content[place + 1 :]


def _set_number(content, rng):
    place, form = _place(content, rng), rng.choice(["<H", ">H", "<I", ">I"])
    size = struct.calcsize(form)
    value = int(rng.choice(EDGES)) % 256**size
    return content[:place] + struct.pack(form, value) + content[place + size :]


def _cut(content, rng):
    return content[: _place(content, rng)]


def _remove(content, rng):
    place = _place(content, rng)
    return content[:place] + content[place + int(rng.integers(1, 33)) :]


def _insert(content, rng):
    place = _place(content, rng)
    return content[:place] + rng.bytes(int(rng.integers(1, 33))) + content[place:]


def _repeat(content, rng):
    place, size = _place(content, rng), int(rng.integers(1, 65))
    return content[: place + size] + content[place:]


def _zero(content, rng):
    place, size = _place(content, rng), int(rng.integers(1, 513))
    part = content[place : place + size]
    return content[:place] + bytes(len(part)) + content[place + size :]


def _append(content, rng):
    return content + rng.bytes(int(rng.integers(1, 65)))


def _scatter(content, rng):
    """Change one byte in a hundred, as a bad copy does."""
    values = np.frombuffer(content, np.uint8).copy()
    chosen = rng.random(len(values)) < 0.01
    values[chosen] = rng.integers(0, 256, chosen.sum())
    return values.tobytes()


DAMAGES = (_flip, _set, _set_number, _cut, _remove, _insert, _repeat, _zero, _append, _scatter)


def mutated_png(content, rng):
    """Damage a PNG, and every second time make the sums of its chunks right again."""
    content = mutated(content, rng)
    return _with_right_sums(content) if rng.random() < 0.5 else content


def _with_right_sums(content):
    place, parts = 8, [content[:8]]
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        chunk = content[place + 4 : place + 8 + size]
        if len(chunk) < size + 4:
            break
        parts.append(content[place : place + 4] + chunk + struct.pack(">I", zlib.crc32(chunk)))
        place += size + 12
    return b"".join(parts) + content[place:]


def mutated_gzip(content, rng):
    """Damage a gzipped file, or what is in it."""
    if rng.random() < 0.5:
        return mutated(content, rng)
    return gzip.compress(mutated(gzip.decompress(content), rng), mtime=0)
