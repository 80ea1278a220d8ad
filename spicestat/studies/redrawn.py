"""A fit's people choose anew after the histories that were observed, and are estimated from these choices.

Nothing has to be known of the task: offers, rewards and everything before a choice stay as they were, so that any fit
can be checked at its own numbers of people and trials.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.estimate.refit import refit
from spicestat.equations.structure.equation_set import FREE, EquationSet
from spicestat.errors import ConfigError, DataError
from spicestat.fit.history import HistoryFit
from spicestat.fit.network_fit import SpiceFit
from spicestat.fit.packing import pack_table
from spicestat.pooled.fit import fit_choices, search_library, usual_begins
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.prediction import covariance_root, predict_at, probabilities_of, sampled
from spicestat.pooled.role_library import Library, library_for
from spicestat.pooled.state_search import Trials
from spicestat.pooled.states import State, StateRows, row_places, state_rows
from spicestat.studies.players import stable_equations
from spicestat.studies.population import Population, fitted_population
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Places", "Redrawn", "RedrawnHistory", "redrawn"]


@dataclass(frozen=True, eq=False)
class Places:
    """Where R predicted choices were made, and after what.

    Attributes
    ----------
    choice, before : int ndarray of shape (R,)
        Action from 0; that of the trial before, -1 where there is none.
    earned : ndarray of shape (R,)
        Reward of the trial before, NaN where there is none.
    session, trial, person : int ndarray of shape (R,)
        Codes from 0; position in the session.
    """

    choice: Ints
    before: Ints
    earned: Floats
    session: Ints
    trial: Ints
    person: Ints


class Redrawn(Protocol):
    """A fit whose N people, with K coefficients of their own, choose anew."""

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """Module and term of the K coefficients."""

    @property
    def places(self) -> Places:
        """The choices that were observed."""

    def posterior(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw everybody's coefficients n times, as the choices leave them open, (n, N, K')."""

    def people(self, rng: np.random.Generator) -> Floats:
        """Draw coefficients that such people may have, (N, K')."""

    def choose(self, coefficients: Floats, rng: np.random.Generator) -> Ints:
        """Draw the R choices of people with some coefficients (N, K')."""

    def estimate(self, choice: Ints) -> Floats:
        """Estimate the structure's coefficients from R other choices, (N, K); NaN where they are not identified."""


def redrawn(fit: SpiceFit | HistoryFit) -> Redrawn:
    """Return the fit as one whose people choose anew.

    Raises
    ------
    ConfigError
        The model is one of choices and response times.
    """
    if isinstance(fit, HistoryFit):
        return RedrawnHistory(fit)
    if fit.model.network.needs_times:
        raise ConfigError("response times are not drawn anew", got=fit.coefficients.info["model"])
    return _Equations(fit)


@dataclass(frozen=True, eq=False)
class RedrawnHistory:
    """Weights of states: histories are the states' values, which stay as they are; see `Redrawn`."""

    fit: HistoryFit

    @cached_property
    def data(self) -> Sessions:
        """The trials, rewards in the fit's unit."""
        return pack_table(self.fit.trials, self.fit.pooled.reward_size)

    @cached_property
    def rows(self) -> StateRows:
        """The fit's states before every choice."""
        return self.fit.pooled.rows(self.data)

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """Module and term of people's own coefficients."""
        return self.fit.coefficients.terms[: self.fit.pooled.n_own]

    @cached_property
    def places(self) -> Places:
        """The choices that were observed."""
        time, session = row_places(self.data)
        before = np.where(time > 0, self.data.choice[time - 1, session], -1)
        reward = np.take_along_axis(self.data.reward[time - 1, session], before.clip(0)[:, None], axis=1)[:, 0]
        earned = np.where(before >= 0, reward, np.nan)
        return Places(self.rows.choice, before, earned, session, time, self.rows.person)

    def posterior(self, n: int, rng: np.random.Generator) -> Floats:
        """Draw everybody's weights n times from their posteriors."""
        return np.stack([self.people(rng) for _ in range(n)])

    def people(self, rng: np.random.Generator) -> Floats:
        """Draw weights from everybody's posterior, which vary between people as the population does; means do not."""
        pooled = self.fit.pooled
        weights = pooled.pooled.copy()
        weights[:, : pooled.n_own] += np.einsum("nkl,nl->nk", self._roots, rng.normal(size=self._roots.shape[:2]))
        return weights

    @cached_property
    def _roots(self) -> Floats:
        return np.stack([covariance_root(covariance) for covariance in self.fit.pooled.pooled_covariance])

    def choose(self, coefficients: Floats, rng: np.random.Generator) -> Ints:
        """Draw the choices of people with some weights."""
        return sampled(predict_at(self.rows, coefficients), rng)

    def estimate(self, choice: Ints) -> Floats:
        """Estimate the weights of the fit's states, pooled, from other choices."""
        found = fit_choices(self.fit.pooled, replace(self.rows, choice=choice))
        return found.pooled[:, : found.n_own]

    @cached_property
    def _usual(self) -> Library:
        return library_for(self.data)

    @cached_property
    def _known(self) -> tuple[State, ...]:
        """All states that a search may take, those of the fit first."""
        own = self.fit.states
        return (*own, *(declared for declared in self._usual.states if declared not in own))

    @cached_property
    def library(self) -> StateRows:
        """Values of all states that a search may take, those of the fit first."""
        return state_rows(self.data, self._known)

    @cached_property
    def likeness(self) -> Floats:
        """Size of the correlations of the fit's states with all of the library, over actions and choices, (K', M)."""
        values = self.library.values - self.library.values.mean(axis=1, keepdims=True)
        flat = values.reshape(-1, values.shape[2])
        size = np.sqrt((flat**2).sum(axis=0))
        # a state that never differs is like no other
        scaled = flat / np.where(size > 0.0, size, 1.0)
        return np.asarray(np.abs(scaled[:, : len(self.fit.states)].T @ scaled))

    def structure_of(self, choice: Ints) -> tuple[int, ...]:
        """Search the library again with R other choices; return the positions of the states that are found."""
        trials = Trials.of(replace(self.library, choice=choice), len(self.fit.pooled.n_choices), single=True)
        return search_library(trials, self._known, usual_begins(self._usual, len(choice)))[-1].structure.columns


@dataclass(frozen=True, eq=False)
class _Equations:
    """Equations of a network: histories are the inputs of each step, and the targets are drawn anew."""

    fit: SpiceFit

    @cached_property
    def data(self) -> SequenceDataset:
        return SequenceDataset.from_trials(self.fit.trials)

    @cached_property
    def free(self) -> Ints:
        """Positions of terms that are estimated for somebody, (K,)."""
        return np.flatnonzero((self.fit.model.equations.status == FREE).any(axis=0))

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.fit.model.equations.terms[position] for position in self.free)

    @cached_property
    def places(self) -> Places:
        data = self.data
        session, trial = np.nonzero(data.mask.numpy())
        actions, rewards = data.actions.numpy()[session, trial], data.rewards.numpy()[session, trial]
        before = np.where(actions.sum(axis=1) > 0, actions.argmax(axis=1), -1)
        reward = np.take_along_axis(rewards, before.clip(0)[:, None], axis=1)[:, 0]
        return Places(
            data.targets.numpy()[session, trial],
            before,
            np.where(before >= 0, reward, np.nan).astype("float64"),
            session,
            trial,
            data.participant.numpy()[session],
        )

    def posterior(self, n: int, rng: np.random.Generator) -> Floats:
        """Everybody's estimates: there is no population that would bound what their choices leave open."""
        own = self.fit.model.equations.coefficients[:, self.free]
        return np.broadcast_to(own, (n, *own.shape))

    @cached_property
    def _population(self) -> Population | None:
        """How people differ; None without a common structure, or where too few are identified."""
        try:
            return fitted_population(self.fit)
        except (ConfigError, DataError):
            return None

    def people(self, rng: np.random.Generator) -> Floats:
        own, population = self.fit.model.equations.coefficients[:, self.free], self._population
        if population is None:
            return own
        drawn = population.draw(rng, np.zeros((len(own), len(population.terms))))
        equations = self._with(drawn / self.fit.model.unit_factors[self.free])
        return stable_equations(self.fit.model.network, equations).coefficients[:, self.free]

    def choose(self, coefficients: Floats, rng: np.random.Generator) -> Ints:
        logits = equation_logits(self.fit.model.network, self.data, self._with(coefficients))
        places = self.places
        return sampled(probabilities_of(logits.double().numpy()[places.session, places.trial]), rng)

    def estimate(self, choice: Ints) -> Floats:
        targets = self.data.targets.clone()
        targets[self.data.mask] = torch.from_numpy(choice).to(targets.dtype)
        model = self.fit.model
        found = refit(model.network, replace(self.data, targets=targets), model.equations)
        own = found.equations.coefficients[:, self.free].copy()
        own[found.at_bound.any(axis=1) | ~found.converged | found.unidentified] = np.nan
        return own

    def _with(self, coefficients: Floats) -> EquationSet:
        full = self.fit.model.equations.coefficients.copy()
        full[:, self.free] = coefficients
        return self.fit.model.equations.with_coefficients(full)
