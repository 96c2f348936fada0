"""Long trials of what the package promises: ``python -m tests.trust`` writes their table."""
