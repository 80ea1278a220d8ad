"""Candidate terms: the network's trajectories, and sparse regression on them."""
