"""Confidences compared on one network: ``python -m sklearn_densconf compare``."""
