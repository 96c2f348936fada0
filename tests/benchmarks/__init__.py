"""Benchmarks: ``make bench``, or ``python -m tests.benchmarks TOPIC``. Never run as tests."""
