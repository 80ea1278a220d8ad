"""Rivals: structures that searches find without some of the people, and everybody's weights under these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from spicestat.pooled.em import PopulationFit, fit_population
from spicestat.pooled.fit import Chosen, search_library, usual_begins
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.role_library import library_for
from spicestat.pooled.state_search import SearchSettings, Structure, Trials
from spicestat.pooled.states import State, StateRows, state_rows

__all__ = ["Rivals", "find_rivals"]

_GROUPS = 8
_LEAST_PEOPLE = 6
_TOLERANCE, _ROUNDS = 0.1, 20


@dataclass(frozen=True, eq=False)
class Rivals:
    """Weights of N people under a structure and under G structures that were found without some of the people.

    Attributes
    ----------
    states : tuple of K State
        All that occur in one of the structures.
    weights : ndarray of shape (1 + G, N, K)
        Posterior means under one normal population of all N people, in logits per unit of the state; 0 for states that
        are not in a structure. The structure itself comes first.
    structures : tuple of 1 + G Chosen
        Their states, without the way there.
    """

    states: tuple[State, ...]
    weights: Floats
    structures: tuple[Chosen, ...]

    @property
    def distinct(self) -> list[tuple[Chosen, int]]:
        """Structures that differ, in the order in which they first occur, and how often each does."""
        kinds = [(frozenset(one.states[: one.n_own]), frozenset(one.states)) for one in self.structures]
        return [(self.structures[kinds.index(kind)], kinds.count(kind)) for kind in dict.fromkeys(kinds)]


def find_rivals(
    data: Sessions,
    states: Sequence[State],
    n_own: int,
    settings: SearchSettings = SearchSettings(),  # noqa: B008 (frozen)
) -> Rivals:
    """Search the usual library, and the states that were found, again without each eighth of the people.

    Parameters
    ----------
    data : Sessions
    states : sequence of State
        The structure that was found; those whose weights are people's own first.
    n_own : int
    settings : SearchSettings

    Returns
    -------
    Rivals
        Without any where there are fewer than six people.
    """
    library = library_for(data)
    known = (*library.states, *(declared for declared in states if declared not in library.states))
    places = [known.index(declared) for declared in states]
    found = Structure(tuple(places[:n_own]), tuple(places[n_own:]))
    rows = state_rows(data, known)
    trials = Trials.of(rows, int(data.person.max()) + 1, single=True)
    mine = _fitted(trials, found, settings)
    begin = usual_begins(library, len(rows.choice))
    structures = [found, *_found_without(rows, known, begin, _groups(mine), settings)]
    fits = {s: mine if s == found else _fitted(trials, s, settings) for s in dict.fromkeys(structures)}
    used = sorted({column for structure in structures for column in structure.columns})
    weights = np.stack([_weights(trials, structure, fits[structure]) for structure in structures])
    chosen = tuple(Chosen(tuple(known[c] for c in one.columns), len(one.own), ()) for one in structures)
    return Rivals(tuple(known[column] for column in used), weights[:, :, used], chosen)


def _groups(fit: PopulationFit) -> Ints:
    """Deal people out to groups (N,) in order of likelihood, which no label changes; a few people are one group."""
    rank = np.argsort(np.argsort(fit.posterior.at_mode.log_lik, kind="stable"))
    return np.asarray(rank % min(_GROUPS, len(rank) // 2) if len(rank) >= _LEAST_PEOPLE else np.zeros_like(rank))


def _found_without(
    rows: StateRows,
    library: Sequence[State],
    begin: Sequence[Sequence[State]],
    groups: Ints,
    settings: SearchSettings,
) -> Iterator[Structure]:
    """Yield the structure that each search finds, one per group of people that is left out."""
    if not groups.any():
        return
    for group in range(int(groups.max()) + 1):
        some = rows.rows(groups[rows.person] != group)
        there, code = np.unique(some.person, return_inverse=True)
        trials = Trials.of(replace(some, person=code.astype(np.int64)), len(there), single=True)
        yield search_library(trials, library, begin, settings)[-1].structure


def _fitted(trials: Trials, structure: Structure, settings: SearchSettings) -> PopulationFit:
    """Fit one normal population to everybody's choices."""
    design = trials.design.columns(structure.columns)
    return fit_population(design, range(len(structure.own)), settings.prior, tolerance=_TOLERANCE, rounds=_ROUNDS)


def _weights(trials: Trials, structure: Structure, fit: PopulationFit) -> Floats:
    """Posterior means of everybody's weights of all states of the library, (N, K); 0 where a state is not used."""
    mean = np.array(fit.posterior.mode, dtype=float)
    mean[:, : len(structure.own)] += fit.posterior.shift
    weights = np.zeros((trials.design.n_people, trials.design.n_states))
    weights[:, list(structure.columns)] = mean / trials.design.scale[list(structure.columns)]
    return weights
