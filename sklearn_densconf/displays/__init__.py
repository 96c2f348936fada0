"""Figures of confidences, in the conventions of scikit-learn's displays."""
