"""Activations of a trained torch network, as a scikit-learn transformer."""
