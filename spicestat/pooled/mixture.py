r"""Populations of several components: heavy tails, people who guess, and rates that differ between people.

Person i belongs to component c with probability :math:`\pi_c` and then has weights
:math:`b_i \sim N(\mu, s_c \Sigma)` of the states as c computes them. Given the component the likelihood is concave,
so that the sum over components finds every mode.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spicestat.pooled.contrasts import Design
from spicestat.pooled.em import PopulationFit
from spicestat.pooled.laplace import Normal, Posterior, memberships, posterior
from spicestat.pooled.logit import Derivatives, by_chance
from spicestat.pooled.maximise import Part, Prior, log_prior, maximise
from spicestat.pooled.packed import Floats

__all__ = ["Component", "MixtureFit", "fit_mixture", "guessing", "heavy_tails"]


@dataclass(frozen=True, eq=False)
class Component:
    """One component: its states, by what the covariance is multiplied, and whether its people guess.

    Attributes
    ----------
    design : Design
    scale : float, default 1
    guesses : bool, default False
        Whether all actions are equally likely, whatever has happened.
    """

    design: Design
    scale: float = 1.0
    guesses: bool = False


@dataclass(frozen=True, eq=False)
class MixtureFit:
    """A fitted mixture of C components.

    Attributes
    ----------
    population : Normal
    shares : ndarray of shape (C,)
    belongs : ndarray of shape (N, C)
        Probability of each component, given the person's choices.
    posteriors : tuple of C Posterior
    log_marginals : ndarray of shape (N,)
        Marginal log-likelihood of each person.
    converged : bool
    n_rounds : int
    """

    population: Normal
    shares: Floats
    belongs: Floats
    posteriors: tuple[Posterior, ...]
    log_marginals: Floats
    converged: bool
    n_rounds: int

    @property
    def log_marginal(self) -> float:
        """Marginal log-likelihood of everybody's choices, without the prior."""
        return float(self.log_marginals.sum())


def heavy_tails(design: Design, scale: float = 9.0, guesses: bool = True) -> list[Component]:
    """Components of a population with heavy tails: most people, people far from the others, and people who guess."""
    components = [Component(design), Component(design, scale)]
    return [*components, Component(design, guesses=True)] if guesses else components


def fit_mixture(
    components: Sequence[Component],
    start: PopulationFit,
    prior: Prior | None = Prior(),  # noqa: B008 (frozen)
    tolerance: float = 1e-2,
    rounds: int = 200,
    shares: Floats | None = None,
) -> MixtureFit:
    """Estimate a mixture by EM.

    Parameters
    ----------
    components : sequence of C Component
        All of the same people and states.
    start : PopulationFit
        A normal population to start from; says which weights are people's own.
    prior : Prior or None
        Of the normal part; every component's share has a prior worth one person in all.
    tolerance, rounds
        See `fit_population`.
    shares : ndarray of shape (C,), optional
        Where to start. Default: all the same.
    """
    n_components, population = len(components), start.population
    shares = np.full(n_components, 1.0 / n_components) if shares is None else shares
    nobody, before = guessing(components[0].design, len(population.own)), -np.inf
    modes = [start.posterior.mode] * n_components
    for used in range(1, rounds + 1):
        pairs = list(zip(components, modes, strict=True))
        found = [nobody if c.guesses else _under(c, population, m, tolerance) for c, m in pairs]
        belongs, now = memberships(found, shares)
        height = float(now.sum()) + log_prior(population, prior) + float(np.log(shares).mean())
        if abs(height - before) < tolerance or used == rounds:
            return MixtureFit(population, shares, belongs, tuple(found), now, used < rounds, used)
        before, modes = height, [f.mode for f in found]
        shares = (belongs.sum(axis=0) + 1.0 / n_components) / (len(belongs) + 1.0)
        parts = [Part(f, belongs[:, i], c.scale) for i, (f, c) in enumerate(zip(found, components, strict=True))]
        population = maximise(population, [p for p, c in zip(parts, components, strict=True) if not c.guesses], prior)
    raise AssertionError("unreachable")


def _under(component: Component, population: Normal, modes: Floats, tolerance: float) -> Posterior:
    design = component.design
    wider = replace(population, covariance=component.scale * population.covariance)
    return posterior(design, wider, modes, tolerance / (10.0 * design.n_people + 1.0))


def guessing(design: Design, n_own: int) -> Posterior:
    """Posterior of people who guess: all weights are 0."""
    n_people, n_states = design.n_people, design.n_states
    log_lik = by_chance(design)
    none, nothing = np.zeros((n_people, n_states)), np.zeros((n_people, n_own))
    local = Derivatives(log_lik, none, np.zeros((n_people, n_states, n_states)))
    return Posterior(none, nothing, np.zeros((n_people, n_own, n_own)), log_lik, local, none)
