"""Fits: spice_fit and the estimator behind it; predictions, simulation, further trials, files. Use the names of `spicestat`."""
