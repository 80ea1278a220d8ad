"""Sparse equations: candidate terms, selection, likelihood estimates, and the coefficient table."""
