"""Fits: spice_fit and its result, the estimator behind it, predictions, further trials, files (private)."""
