"""Agents: fitted models that play, one trial at a time or as a whole study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spicestat._lazy import lazy_names

_HOMES = {
    "AgentNetwork": "spicestat.agents.agents",
    "AgentSpice": "spicestat.agents.agents",
    "Simulation": "spicestat.agents.simulation",
    "simulate_model": "spicestat.agents.simulation",
}

__all__ = [
    "AgentNetwork",
    "AgentSpice",
    "Simulation",
    "simulate_model",
]

if TYPE_CHECKING:  # for type checkers and editors, which cannot follow names that are found when used
    from spicestat.agents.agents import AgentNetwork as AgentNetwork
    from spicestat.agents.agents import AgentSpice as AgentSpice
    from spicestat.agents.simulation import Simulation as Simulation
    from spicestat.agents.simulation import simulate_model as simulate_model

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
