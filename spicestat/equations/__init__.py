"""Equations: from a trained network to sparse equations and everybody's coefficients (private)."""
