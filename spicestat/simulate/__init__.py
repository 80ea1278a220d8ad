"""Simulated environments, agents and cohorts.

What needs torch, the sessions in the models' layout, is imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
    "BanditSession",
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
    "create_dataset",
    "draw_decision_times",
    "drifting_probabilities",
    "get_update_dynamics",
    "learner_parameters",
    "replay_learners",
    "run_experiment",
    "simulate_cohort",
    "simulate_diffusion_cohort",
    "simulate_learners",
]

_SESSIONS = ("BanditSession", "create_dataset", "get_update_dynamics", "run_experiment")

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow __getattr__
    from spicestat.spice.sessions import BanditSession as BanditSession
    from spicestat.spice.sessions import create_dataset as create_dataset
    from spicestat.spice.sessions import get_update_dynamics as get_update_dynamics
    from spicestat.spice.sessions import run_experiment as run_experiment


def __getattr__(name: str) -> Any:
    if name not in _SESSIONS:
        raise AttributeError(f"module 'spicestat.simulate' has no attribute '{name}'")
    return getattr(import_module("spicestat.spice.sessions"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
