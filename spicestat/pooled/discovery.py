"""Discovery: states beyond the library that predict left-out blocks better, beside its states or instead of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spicestat.pooled.fit import Chosen
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.role_library import library_for
from spicestat.pooled.screen import Screen, screen_states
from spicestat.pooled.state_library import further_states
from spicestat.pooled.state_search import SearchSettings, Step, Structure, Trials, fit_structure
from spicestat.pooled.states import State, row_places, state_rows

__all__ = ["Discovery", "Proposal", "discover_beside", "discover_states"]

_TRIES = 8
_MOST_STEPS = 6


@dataclass(frozen=True)
class Proposal:
    """One state that was found beyond the library.

    Attributes
    ----------
    state : State
    own : bool
        Whether its weights differ between people.
    instead_of : tuple of State
        States that it made superfluous.
    gain : float
        Log-likelihood of left-out blocks that it brought, in nats over all choices.
    """

    state: State
    own: bool
    instead_of: tuple[State, ...]
    gain: float


@dataclass(frozen=True, eq=False)
class Discovery:
    """What was found beyond the library.

    Attributes
    ----------
    chosen : Chosen
        The states with those that were found.
    proposals : tuple of Proposal
        In the order in which they were found; none where the library says it all.
    n_candidates : int
        How many states were candidates.
    n_choices : int
    """

    chosen: Chosen
    proposals: tuple[Proposal, ...]
    n_candidates: int
    n_choices: int

    @property
    def criterion(self) -> float:
        """Log-likelihood of left-out blocks, less what states, parameters and the choice among candidates cost."""
        return self.chosen.path[-1].criterion - len(self.proposals) * float(np.log(max(self.n_candidates, 1)))


@dataclass(frozen=True, eq=False)
class _Move:
    """One change of the structure, which brings a candidate in."""

    structure: Structure
    candidate: int
    promise: float


def discover_states(
    data: Sessions,
    chosen: Chosen,
    candidates: Sequence[State] | None = None,
    settings: SearchSettings = SearchSettings(max_own=16, max_shared=16),  # noqa: B008 (frozen)
) -> Discovery:
    r"""Add states beyond the library, one at a time, and drop those that they make superfluous.

    A candidate is taken where the log-likelihood of left-out blocks rises by more than :math:`1 + \log C` for the
    choice among C candidates, and still rises after a nat has been paid for every parameter.

    Parameters
    ----------
    data : Sessions
    chosen : Chosen
        Where to start: what the search of the library found.
    candidates : sequence of State, optional
        Default: `further_states`.
    settings : SearchSettings
        ``price`` is that of the states that are there already.
    """
    further = tuple(further_states(data.n_actions) if candidates is None else candidates)
    further = tuple(declared for declared in further if declared not in chosen.states)
    states = (*chosen.states, *further)
    rows = state_rows(data, states)
    finder = _Finder(Trials.of(rows, single=True), len(chosen.states), settings)
    begin = Structure(tuple(range(chosen.n_own)), tuple(range(chosen.n_own, len(chosen.states))))
    path = [finder.trimmed(finder.fit(begin, None, None))]
    proposals = _grown(finder, path, states)
    structure = path[-1].structure
    after = Chosen(tuple(states[k] for k in structure.columns), len(structure.own), tuple(path))
    return Discovery(after, proposals, len(further), len(rows.choice))


def discover_beside(
    data: Sessions,
    model: Floats,
    settings: SearchSettings = SearchSettings(max_own=16, max_shared=16),  # noqa: B008 (frozen)
) -> Discovery:
    """Search the library for states that a model lacks, whose own logits are always in.

    Everybody has a weight of the model's logits, about 1 where it is right. A state is taken as by `discover_states`.

    Parameters
    ----------
    data : Sessions
    model : ndarray of shape (T, S, A)
        The model's log-probabilities at everybody's parameters.
    settings : SearchSettings

    Returns
    -------
    Discovery
        Its chosen states are those that were found, without the model.
    """
    candidates = library_for(data).states
    rows = state_rows(data, candidates)
    time, session = row_places(data)
    values = np.concatenate([model[time, session][..., None], rows.values], axis=2)
    rows = replace(rows, values=values, names=("model", *rows.names))
    finder = _Finder(Trials.of(rows, single=True), 1, settings, always=(0,))
    path = [finder.fit(Structure((0,)), None, None)]
    # positions are those of the states, with the model before them
    proposals = _grown(finder, path, (candidates[0], *candidates))
    own, shared = (
        [candidates[k - 1] for k in part if k] for part in (path[-1].structure.own, path[-1].structure.shared)
    )
    return Discovery(Chosen((*own, *shared), len(own), tuple(path)), proposals, len(candidates), len(rows.choice))


def _grown(finder: _Finder, path: list[Step], states: Sequence[State]) -> tuple[Proposal, ...]:
    """Go on from the end of a path as long as a candidate pays, and say what was found."""
    proposals: list[Proposal] = []
    while len(proposals) < _MOST_STEPS:
        found = finder.best(path[-1])
        if found is None:
            break
        candidate, step = found
        gone = tuple(states[k] for k in path[-1].structure.columns if k not in step.structure.columns)
        gain = step.left_out - path[-1].left_out
        proposals.append(Proposal(states[candidate], candidate in step.structure.own, gone, gain))
        path.append(step)
    return tuple(proposals)


class _Finder:
    """The search for the next candidate."""

    def __init__(self, trials: Trials, n_known: int, settings: SearchSettings, always: tuple[int, ...] = ()):
        self.trials, self.n_known, self.settings, self.always = trials, n_known, settings, always
        n_states = trials.design.n_states
        self.prices = np.full(n_states, settings.price)
        self.prices[n_known:] += np.log(max(n_states - n_known, 1))

    def fit(self, structure: Structure, start: Step | None, variances: Floats | None) -> Step:
        """Fit a structure roughly."""
        s = self.settings
        return fit_structure(self.trials, structure, s.prior, start, variances, s.tolerance, s.rounds, price=s.price)

    def criterion(self, step: Step) -> float:
        """Left-out log-likelihood, less a nat for every parameter and the price of every state."""
        return step.left_out - step.structure.n_parameters - float(self.prices[list(step.structure.columns)].sum())

    def best(self, here: Step) -> tuple[int, Step] | None:
        """Add each of the most promising candidates and drop what it makes superfluous; return the best if it pays."""
        screen = self._screen(here)
        moves = sorted(self._additions(here, screen), key=lambda move: -move.promise)
        candidates = list(dict.fromkeys(move.candidate for move in moves))[:_TRIES]
        tried = []
        for candidate in candidates:
            structures = [move.structure for move in moves if move.candidate == candidate]
            steps = [self.fit(structure, here, screen.variance) for structure in structures]
            tried.append((candidate, self.trimmed(max(steps, key=self.criterion), candidate)))
        # what only makes room, by dropping others, has found nothing
        paying = [pair for pair in tried if pair[1].left_out > here.left_out + self.prices[pair[0]]]
        candidate, step = max(paying, key=lambda pair: self.criterion(pair[1]), default=(0, here))
        return (candidate, step) if self.criterion(step) > self.criterion(here) + self.settings.least_gain else None

    def trimmed(self, here: Step, kept: int | None = None) -> Step:
        """Drop states, the least useful ones first, as long as the criterion rises."""
        while len(here.structure.columns) > 1:
            screen = self._screen(here)
            own = here.structure.own
            gains = {c: float((screen.gain_own if c in own else screen.gain_shared)[c]) for c in here.structure.columns}
            saved = {c: self._cost(here.structure, c) for c in gains if c not in (kept, *self.always)}
            weakest = sorted(saved, key=lambda c: gains[c] - saved[c])[:2]
            steps = [self.fit(here.structure.drop(c), here, None) for c in weakest]
            better = max(steps, key=self.criterion, default=here)
            if self.criterion(better) <= self.criterion(here):
                break
            here = better
        return here

    def _cost(self, structure: Structure, column: int) -> float:
        return structure.n_parameters - structure.drop(column).n_parameters + float(self.prices[column])

    def _screen(self, step: Step) -> Screen:
        inside: Ints = np.array(step.structure.columns, dtype=np.int64)
        return screen_states(self.trials.design, inside, step.fit.population, step.fit.posterior.mode)

    def _additions(self, here: Step, screen: Screen) -> Iterator[_Move]:
        """Each candidate as people's own and as shared, with the rise of the criterion to expect."""
        for column in range(self.n_known, self.trials.design.n_states):
            if column in here.structure.columns:
                continue
            for own, gain in ((True, screen.gain_own[column]), (False, screen.gain_shared[column])):
                there = here.structure.add(column, own=own)
                yield _Move(there, column, float(gain) - self._cost(there, column))
