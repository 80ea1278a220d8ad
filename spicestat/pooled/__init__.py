"""Pooled weights of declared states in choices: states, their search, and one population of weights (private)."""
