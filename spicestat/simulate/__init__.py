"""Simulated environments and cohorts."""

from spicestat.simulate.bandits import drifting_probabilities
from spicestat.simulate.cohort import DEFAULT_PARAMETERS, Cohort, Parameter, simulate_cohort

__all__ = ["DEFAULT_PARAMETERS", "Cohort", "Parameter", "drifting_probabilities", "simulate_cohort"]
