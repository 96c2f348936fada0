"""Freed memory is kept while it is asked for, and goes back afterwards."""

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told what to keep"
)
CODE = """
import os
import numpy as np
from sklearn_densconf._machine import freed_memory_kept, keep_freed_memory

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 10**6

def kept_of_160_mb():
    arrays = [np.ones(2_000_000) for _ in range(10)]
    del arrays
    return resident() - before

before = resident()
"""


def _megabytes(code: str) -> list[int]:
    command = [sys.executable, "-c", CODE + code]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [int(number) for number in run.stdout.split()]


def test_it_is_kept_inside_and_goes_back_outside():
    inside, between, outside = _megabytes("""
with freed_memory_kept():
    with freed_memory_kept():
        inside = kept_of_160_mb()
    between = kept_of_160_mb()
print(inside, between, kept_of_160_mb())
""")
    assert inside > 150
    assert between > 150
    assert outside < 75


def test_a_worker_keeps_it_for_good():
    inside, outside = _megabytes("""
keep_freed_memory()
with freed_memory_kept():
    inside = kept_of_160_mb()
print(inside, kept_of_160_mb())
""")
    assert inside > 150
    assert outside > 150


def test_a_pass_of_a_network_keeps_it_and_a_pass_that_is_given_up_lets_go():
    inside, outside = _megabytes("""
import torch
from sklearn_densconf import FeatureExtractor
torch.set_num_threads(1)
X = np.ones((4, 1, 8, 8), np.float32)
batches = FeatureExtractor(torch.nn.Flatten(), batch_size=1, device="cpu").fit(X).iter_transform(X)
next(batches)
before = resident()
inside = kept_of_160_mb()
batches.close()
print(inside, kept_of_160_mb())
""")
    assert inside > 150
    assert outside < 75
