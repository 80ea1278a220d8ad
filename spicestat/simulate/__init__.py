"""Simulated environments, agents and cohorts."""

from spicestat.simulate.agentq import Agent, AgentQ, AgentQSampleZeros
from spicestat.simulate.cohort import DEFAULT_PARAMETERS, Cohort, Parameter, simulate_cohort
from spicestat.simulate.diffusion import (
    DIFFUSION_PARAMETERS,
    DiffusionCohort,
    draw_decision_times,
    simulate_diffusion_cohort,
)
from spicestat.simulate.drift import drifting_probabilities
from spicestat.simulate.environments import (
    Bandits,
    BanditsDrift,
    BanditsFlip,
    BanditsFlipEckstein2022,
    BanditsStandard,
    BanditsSwitch,
)
from spicestat.simulate.learners import (
    LearnerRun,
    learner_parameters,
    replay_learners,
    simulate_learners,
)
from spicestat.simulate.user_environment import as_environment

__all__ = [
    "DEFAULT_PARAMETERS",
    "DIFFUSION_PARAMETERS",
    "Agent",
    "AgentQ",
    "AgentQSampleZeros",
    "Bandits",
    "BanditsDrift",
    "BanditsFlip",
    "BanditsFlipEckstein2022",
    "BanditsStandard",
    "BanditsSwitch",
    "Cohort",
    "DiffusionCohort",
    "LearnerRun",
    "Parameter",
    "as_environment",
    "draw_decision_times",
    "drifting_probabilities",
    "learner_parameters",
    "replay_learners",
    "simulate_cohort",
    "simulate_diffusion_cohort",
    "simulate_learners",
]
