"""Formulas: text becomes terms, and terms a design matrix; never executed as code."""
