"""Search over structures: which states count, and whose weights are people's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spicestat.pooled.contrasts import Design, make_design
from spicestat.pooled.em import PopulationFit, fit_population
from spicestat.pooled.laplace import Normal
from spicestat.pooled.left_out import Folds, left_out, make_folds
from spicestat.pooled.maximise import Prior
from spicestat.pooled.packed import Floats, Ints
from spicestat.pooled.screen import Screen, screen_states
from spicestat.pooled.states import StateRows

__all__ = ["SearchSettings", "Step", "Structure", "Trials", "fit_structure", "search_structures"]

_NEW_VARIANCE = 0.01
_LAPS = 3


@dataclass(frozen=True)
class Structure:
    """Which states of a library are in the equation.

    Attributes
    ----------
    own : tuple of int
        Positions of the states whose weights differ between people.
    shared : tuple of int
        Positions of the states that have one weight for everybody.
    """

    own: tuple[int, ...]
    shared: tuple[int, ...] = ()

    @property
    def columns(self) -> tuple[int, ...]:
        """All states, people's own first."""
        return self.own + self.shared

    @property
    def n_parameters(self) -> int:
        """Number of parameters of the population: means and covariances."""
        n_own = len(self.own)
        return len(self.columns) + n_own * (n_own + 1) // 2

    def add(self, column: int, own: bool) -> Structure:
        """Return the structure with one more state."""
        without = self.drop(column)
        if own:
            return replace(without, own=tuple(sorted((*without.own, column))))
        return replace(without, shared=tuple(sorted((*without.shared, column))))

    def drop(self, column: int) -> Structure:
        """Return the structure without a state."""
        own, shared = ((tuple(c for c in part if c != column)) for part in (self.own, self.shared))
        return Structure(own, shared)


@dataclass(frozen=True)
class SearchSettings:
    """How the search goes.

    Attributes
    ----------
    max_own : int, default 14
        Most states whose weights are people's own.
    max_shared : int, default 12
        Most states with one weight for everybody.
    tries : int, default 2
        How many of the most promising states are tried at each step.
    rounds : int, default 12
        Most rounds of EM for each fit.
    tolerance : float, default 0.3
        Rise of the marginal log-likelihood, in nats, at which these end.
    least_gain : float, default 0.5
        Rise of the criterion, in nats, that a step must bring.
    price : float, default 1
        What a state costs in the criterion, in nats. Around 1 predicts people best; the log of the number of
        candidates (3.7 of 40) keeps states out that only seem to matter, where the structure is the question.
    prior : Prior
    """

    max_own: int = 14
    max_shared: int = 12
    tries: int = 2
    rounds: int = 12
    tolerance: float = 0.3
    least_gain: float = 0.5
    price: float = 1.0
    prior: Prior | None = Prior()


@dataclass(frozen=True, eq=False)
class Step:
    """One accepted step of the search.

    Attributes
    ----------
    structure : Structure
    fit : PopulationFit
    left_out : float
        Log-likelihood of all blocks, each at its person's posterior mode without it.
    price : float
        What a state costs, in nats.
    """

    structure: Structure
    fit: PopulationFit
    left_out: float
    price: float = 1.0

    @property
    def criterion(self) -> float:
        """`left_out`, less a price for every parameter and for every state.

        A parameter of the population costs one nat, because it saw the blocks that were left out; a state costs
        `price`, because it was the best of many.
        """
        return self.left_out - self.structure.n_parameters - self.price * len(self.structure.columns)

    def evidence(self) -> float:
        """Marginal log-likelihood less BIC's penalty: half the log of the number of people per parameter."""
        return self.fit.log_marginal - 0.5 * self.structure.n_parameters * float(np.log(len(self.fit.posterior.mode)))


@dataclass(frozen=True, eq=False)
class Trials:
    """What structures are fitted to: all states of a library, by person and by block."""

    design: Design
    folds: Folds

    @classmethod
    def of(cls, rows: StateRows, n_people: int | None = None, single: bool = False) -> Trials:
        """Lay out rows; in single precision, which is enough to compare structures, on request."""
        design = make_design(rows, n_people)
        folds = make_folds(rows, design.scale)
        return cls(design.single(), folds.single()) if single else cls(design, folds)


def fit_structure(
    trials: Trials,
    structure: Structure,
    prior: Prior | None = Prior(),  # noqa: B008 (frozen)
    start: Step | None = None,
    variances: Floats | None = None,
    tolerance: float = 1e-2,
    rounds: int = 200,
    polish: bool = False,
    price: float = 1.0,
) -> Step:
    """Fit a structure, from the fit of a similar one where there is one.

    Parameters
    ----------
    trials : Trials
    structure : Structure
    prior : Prior or None
    start : Step, optional
    variances : ndarray of shape (K,), optional
        Variance that a new state's weights start with.
    tolerance, rounds, polish
        See `fit_population`.
    price : float, default 1
        See `SearchSettings`.
    """
    begin = None if start is None else _carry_over(structure, start, trials.design.n_states, variances)
    design, n_own = trials.design.columns(structure.columns), range(len(structure.own))
    fit = fit_population(design, n_own, prior, begin, tolerance, rounds, polish)
    predicted = left_out(trials.folds.columns(structure.columns), fit)
    return Step(structure, fit, float(predicted.sum()), price)


def _carry_over(structure: Structure, start: Step, size: int, variances: Floats | None) -> PopulationFit:
    """Bring the start's population and modes into the order of another structure; what is new begins at 0."""
    old, new = (np.array(s.columns, dtype=np.int64) for s in (start.structure, structure))
    mean, modes = np.zeros(size), np.zeros((len(start.fit.posterior.mode), size))
    mean[old], modes[:, old] = start.fit.population.mean, start.fit.posterior.mode
    covariance = np.diag(np.full(size, _NEW_VARIANCE) if variances is None else np.maximum(variances, 1e-3))
    old_own, new_own = (np.array(s.own, dtype=np.int64) for s in (start.structure, structure))
    covariance[np.ix_(old_own, old_own)] = start.fit.population.covariance
    population = Normal(mean[new], covariance[np.ix_(new_own, new_own)], np.arange(len(new_own)))
    modes[:, structure.shared] = mean[list(structure.shared)]
    return replace(start.fit, population=population, posterior=replace(start.fit.posterior, mode=modes[:, new]))


def search_structures(
    trials: Trials,
    begin: Structure,
    settings: SearchSettings = SearchSettings(),  # noqa: B008 (frozen)
    fixed: Sequence[int] = (),
) -> list[Step]:
    """Climb from a structure by adding, sharing, freeing and dropping states, one at a time.

    Parameters
    ----------
    trials : Trials
    begin : Structure
    settings : SearchSettings
    fixed : sequence of int
        Positions of the states that stay as they are.

    Returns
    -------
    list of Step
        From the beginning to the structure with the best criterion, which is the last.
    """
    path = [_quick(trials, begin, settings, None, None)]
    failed: set[Structure] = set()
    while True:
        step = _best_step(trials, path[-1], settings, set(fixed), failed)
        if step is None:
            return path
        path.append(step)


def _quick(
    trials: Trials, structure: Structure, settings: SearchSettings, start: Step | None, variances: Floats | None
) -> Step:
    tolerance, rounds = settings.tolerance, settings.rounds
    return fit_structure(trials, structure, settings.prior, start, variances, tolerance, rounds, price=settings.price)


def _best_step(
    trials: Trials, here: Step, settings: SearchSettings, fixed: set[int], failed: set[Structure]
) -> Step | None:
    """Fit the most promising changes; where none is better, the next ones, three times at most."""
    inside: Ints = np.array(here.structure.columns, dtype=np.int64)
    screen = screen_states(trials.design, inside, here.fit.population, here.fit.posterior.mode)
    queue = _promising(here.structure, screen, settings, fixed)
    for lap in range(_LAPS):
        changes = [s for group in queue[lap * settings.tries : (lap + 1) * settings.tries] for s in group]
        steps = [_quick(trials, s, settings, here, screen.variance) for s in changes if s not in failed]
        better = [s for s in steps if s.criterion > here.criterion + settings.least_gain]
        failed.update(s.structure for s in steps if s not in better)
        if better:
            return max(better, key=lambda step: step.criterion)
    return None


def _promising(
    structure: Structure, screen: Screen, settings: SearchSettings, fixed: set[int]
) -> list[list[Structure]]:
    """For each state, what can be done with it; the states whose best change promises most come first."""
    ranked = []
    for column in range(len(screen.gain_own)):
        variants = [] if column in fixed else list(_variants(structure, column, settings))
        if variants:
            ranked.append((max(_promise(structure, v, screen, column) for v in variants), variants))
    ranked.sort(key=lambda pair: -pair[0])
    return [variants for promise, variants in ranked if promise > -len(structure.own) - 1.0]


def _promise(structure: Structure, changed: Structure, screen: Screen, column: int) -> float:
    """Rise of the criterion that the screen expects."""
    rise = _gain(changed, screen, column) - _gain(structure, screen, column)
    return rise - (changed.n_parameters - structure.n_parameters)


def _gain(structure: Structure, screen: Screen, column: int) -> float:
    if column in structure.own:
        return float(screen.gain_own[column])
    return float(screen.gain_shared[column]) if column in structure.shared else 0.0


def _variants(structure: Structure, column: int, settings: SearchSettings) -> Iterator[Structure]:
    if column in structure.columns and len(structure.columns) > 1:
        yield structure.drop(column)
    if column not in structure.own and len(structure.own) < settings.max_own:
        yield structure.add(column, own=True)
    if column not in structure.shared and len(structure.shared) < settings.max_shared:
        yield structure.add(column, own=False)
