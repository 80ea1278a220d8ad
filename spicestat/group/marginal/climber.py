"""Sites and covariances of the one-stage hierarchical model in turns, until nothing changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import NamedTuple

import numpy as np
from scipy.special import entr, expit

from spicestat.group.inputs.likelihood import ChoiceLikelihood, HasSkewness
from spicestat.group.inputs.links import Link
from spicestat.group.marginal.covariances import Coordinates, climb
from spicestat.group.marginal.linear_model import LinearModel, Point, Sites
from spicestat.group.marginal.modes import to_natural
from spicestat.group.marginal.quadrature import (
    Nodes,
    Place,
    Rule,
    finer_rule,
    make_nodes,
    quadrature_rule,
    sampling_rule,
)
from spicestat.group.marginal.sites import Cavities, expanded, log_normaliser, tilted

__all__ = ["APART", "DIFFERENT", "Climber", "State"]

_ROUGH = 0.05
_ROUGH_ROUNDS = 40
_REUSED, _BOLD = 8, 3
_STARTS = (1.0, 0.2)
"""Standard deviations, in those of the participants' own estimates, from which the search begins."""
_ALIKE = 0.05
"""Two rules agree if no row's log likelihood, averaged over its cavity, differs by more. Where posteriors are near
normal they agree to .01; one participant with a bent posterior, for whom they do not, can double standard errors."""
APART, DIFFERENT = 2.0, 0.5
"""Ends of searches within so many nats have nothing to choose between them, if effects differ by so many errors."""
_FIRST_SHARE = 0.05
_RAN_AWAY = 2.0
"""Standard deviation between rows, in those of the wide prior, at which expansions have run away: they do where
likelihoods stay nearly as high however far a coefficient goes, and moments at nodes see that they do not rise."""
_NOTHING = 1e-6


class State(NamedTuple):
    """Where a search is.

    Attributes
    ----------
    roots : list of ndarray
        Of the covariances.
    sites, plain : Sites
        What stands for the choices, and about what nodes are placed, or modes looked for: the same, but that the
        former's means are those of posteriors where the latter's are modes.
    point : Point
        The linear model of ``sites``.
    log_evidence : ndarray of shape (n,)
        Log likelihoods of people who do not guess, averaged over the cavities.
    guesses : ndarray of shape (n,)
        Probabilities that rows are guesses, and
    share : float
        their share.
    skewed : bool
        Whether expansions count third derivatives.
    """

    roots: list[np.ndarray]
    sites: Sites
    plain: Sites
    point: Point
    log_evidence: np.ndarray
    guesses: np.ndarray
    mode: np.ndarray
    nodes: Nodes | None = None
    skewed: bool = False
    share: float = _FIRST_SHARE
    rounds: int = 0
    change: float = np.inf
    converged: bool = False


class Climber:
    """Sites and covariances, in turns."""

    def __init__(
        self,
        likelihood: ChoiceLikelihood,
        links: Sequence[Link],
        model: LinearModel,
        avoid_boundary: bool,
        guessed: np.ndarray | None,
        tolerance: float,
        report: Callable[[int, int, str], object] | None,
        given: np.ndarray | None = None,
    ) -> None:
        self.likelihood, self.links, self.model = likelihood, links, model
        self.avoid_boundary, self.tolerance, self.report = avoid_boundary, tolerance, report
        self.guessed, self.given = guessed, given

    @property
    def knows_skewness(self) -> bool:
        """Whether third derivatives are known, so that expansions are good enough with many coefficients."""
        return isinstance(self.likelihood, HasSkewness) and all(link.name == "identity" for link in self.links)

    def _skewness(self, mode: np.ndarray, spread: np.ndarray) -> np.ndarray:
        """Third derivatives contracted with posterior covariances, (n, d): means are -V c / 2 away from modes."""
        assert isinstance(self.likelihood, HasSkewness)
        sizes = to_natural(self.links, np.ones((1, mode.shape[1])))[0]
        return np.asarray(sizes * self.likelihood.skewness(sizes * mode, np.outer(sizes, sizes) * spread))

    def expansions(self, center: np.ndarray) -> list[State]:
        """Search roughly, by expansions about modes, from each start, and return where these ended.

        Where a search ran away, the finer one goes on from where it began, with a change that is infinite.
        """
        n, d = self.model.n, len(center)
        eye = np.tile(np.eye(d), (n, 1, 1))
        wide = Cavities(np.tile(center, (n, 1)), eye, eye)
        modes, sites = expanded(self.likelihood, self.links, wide, wide.mean)
        begun, ends = [], []
        for size in _STARTS:
            roots = self._beginning(modes.mode, size)
            state = State(roots, sites, sites, self.model.at(roots, sites), np.zeros(n), np.zeros(n), modes.mode)
            begun.append(state)
            ends.append(self._roughly(state, _ROUGH))
        if self.apart(ends) > DIFFERENT:
            # a search that is slow looks like another optimum
            ends = [self._roughly(state, 0.1 * _ROUGH) for state in ends]
        return [old if _ran_away(end) else end for old, end in zip(begun, ends, strict=True)]

    def _roughly(self, state: State, tolerance: float) -> State:
        """Search by expansions about modes without third derivatives."""
        for _ in range(_ROUGH_ROUNDS):
            state = self._climbed(self.renewed(state), tolerance)
            if state.change < tolerance:
                break
        return state

    def heights(self, ends: Sequence[State]) -> tuple[float, ...]:
        """Log-likelihood and log prior of the covariances."""
        return tuple(self.evidence(state) + self._log_prior(state) for state in ends)

    def apart(self, ends: Sequence[State]) -> float:
        """How far effects are from those of the highest end, in standard errors, at ends that are nearly as high."""
        heights = self.heights(ends)
        best = ends[int(np.argmax(heights))].point
        errors = np.sqrt(np.diag(best.covariance))
        near = [end.point for end, height in zip(ends, heights, strict=True) if height > max(heights) - APART]
        return float(max(np.abs((point.gamma - best.gamma) / errors).max() for point in near))

    def laplace(self, state: State, max_rounds: int) -> State:
        """Expand about modes until nothing changes, with posterior means for modes unless these run away."""
        found = self._expanding(state._replace(skewed=self.knows_skewness), max_rounds)
        if found.converged or not found.skewed:
            return found
        plain = self._expanding(state, max_rounds)
        return plain if plain.converged else found

    def _expanding(self, state: State, max_rounds: int) -> State:
        for used in range(1, max_rounds + 1):
            before = state
            try:
                state = self._climbed(self._towards(state, self.renewed(state), used), self.tolerance)
            except np.linalg.LinAlgError:  # where choices say nothing of a coefficient
                return before._replace(converged=False)
            state = state._replace(rounds=used, converged=state.change < self.tolerance)
            self._tell(state, max_rounds)
            if state.converged:
                break
        return state

    def _towards(self, old: State, new: State, used: int) -> State:
        """Go to new sites, after a few rounds only a share of the way: corrected means can go back and forth."""
        if used <= _BOLD + 1:
            return new
        share = 1.0 / (used - _BOLD)
        sites = _blended(old.sites, new.sites, share)
        return new._replace(sites=sites, point=self.model.at(new.roots, sites, self.given))

    def integrated(self, state: State, per_dimension: int | None, max_rounds: int) -> State:
        """Match moments at a grid of nodes, if these do not suffice at a sample, and if these do not, expand."""
        d = len(self.links)
        found = self.moments(state, quadrature_rule(d, per_dimension), max_rounds)
        finer = None if per_dimension is not None else finer_rule(d)
        if finer is not None and not (found.converged and self.agrees(found, finer)):
            sampled = self.moments(found, sampling_rule(d), max_rounds)
            found = sampled if sampled.converged or not found.converged else found
        if found.converged:
            return found
        about_modes = self.laplace(state, max_rounds)
        return about_modes if about_modes.converged else found

    def moments(self, state: State, rule: Rule, max_rounds: int) -> State:
        """Match moments at nodes until nothing changes."""
        place = None
        for used in range(1, max_rounds + 1):
            before, found = state, self._place(state)
            # full moves at first; later they can go back and forth between two placements
            share = 1.0 / max(used - _BOLD, 1)
            place = found if place is None else _between(place, found, share)
            try:
                state = state._replace(nodes=make_nodes(self.likelihood, self.links, place, rule))
                for _ in range(_REUSED):
                    state = self._climbed(self.renewed(state), self.tolerance)
                    if state.change < 0.25 * self.tolerance:
                        break
            except np.linalg.LinAlgError:  # sites took away more than there is
                return before._replace(converged=False)
            change = self._change(before, state)
            state = state._replace(rounds=used, change=change, converged=change < self.tolerance)
            self._tell(state, max_rounds)
            if state.converged:
                break
        return state

    def _tell(self, state: State, max_rounds: int) -> None:
        """Say how far it is."""
        if self.report is not None:
            self.report(state.rounds, max_rounds, f"change {state.change:.2g}, {self.tolerance:g} is enough")

    def agrees(self, state: State, rule: Rule) -> bool:
        """Whether another rule gives every row the same likelihood."""
        nodes = make_nodes(self.likelihood, self.links, self._place(state), rule)
        here, there = (tilted(each, self._cavity(state))[1] for each in (state.nodes, nodes) if each is not None)
        return bool(np.abs(there - here).max() < _ALIKE)

    def _beginning(self, modes: np.ndarray, size: float) -> list[np.ndarray]:
        """Roots of the covariances from the spread of the first modes, shared out evenly."""
        model = self.model
        F = model.F[:, :, : model.m].reshape(-1, model.m)
        away = modes - (F @ np.linalg.lstsq(F, modes.ravel(), rcond=None)[0]).reshape(modes.shape)
        spread = size * np.clip(away.std(axis=0), 0.3, 1.0) / np.sqrt(len(model.free))
        return [np.diag(np.tile(spread, len(free) // len(spread))) for free in model.free]

    def _cavity(self, state: State) -> Cavities:
        """Return what everything but a row's choices says of it."""
        if state.nodes is not None:
            return Cavities.of(state.point)
        return Cavities.of(self._about_modes(state))

    def _about_modes(self, state: State) -> Point:
        """Return the linear model of the expansions about modes, the fixed effects integrated over or given."""
        gamma = None if self.model.restricted else state.point.gamma
        return self.model.at(state.roots, state.plain, gamma)

    def _place(self, state: State) -> Place:
        """Return where nodes go."""
        cavity = self._cavity(state)
        mean, covariance = cavity.posterior(state.plain)
        return Place(mean, covariance, cavity.mean, cavity.covariance)

    def renewed(self, state: State) -> State:
        """Make the sites anew, at given covariances."""
        cavity = self._cavity(state)
        if state.nodes is not None:
            plain, evidence = tilted(state.nodes, cavity)
            state, sites = self._weighed(state, plain, evidence), plain
        else:
            modes, plain = expanded(self.likelihood, self.links, cavity, state.mode)
            at_mode = modes.likelihood.value - np.einsum("nk,nk->n", plain.linear, modes.mode)
            at_mode = at_mode + 0.5 * np.einsum("nk,nkl,nl->n", modes.mode, plain.precision, modes.mode)
            evidence = log_normaliser(cavity, plain) + at_mode
            state = self._weighed(state._replace(mode=modes.mode), plain, evidence)
            sites = state.plain
            if state.skewed:
                spread = self._about_modes(state).spread
                sites = sites._replace(linear=sites.linear - 0.5 * self._skewness(modes.mode, spread))
        sites = sites._replace(weight=state.plain.weight)
        return state._replace(sites=sites, point=self.model.at(state.roots, sites, self.given))

    def _weighed(self, state: State, plain: Sites, evidence: np.ndarray) -> State:
        """Say how probably rows are guesses, which count as little as that."""
        state = state._replace(plain=plain, log_evidence=evidence)
        if self.guessed is None:
            return state
        odds = np.log(state.share) + self.guessed - np.log1p(-state.share) - evidence
        guesses = expit(odds)
        share = float((guesses.sum() + 0.5) / (len(guesses) + 1.0))
        return state._replace(guesses=guesses, share=share, plain=plain._replace(weight=1.0 - guesses))

    def _climbed(self, state: State, tolerance: float) -> State:
        """Find the likeliest covariances, given the sites."""
        roots = climb(self.model, state.sites, state.roots, self.avoid_boundary, 0.1 * tolerance)
        after = state._replace(roots=roots, point=self.model.at(roots, state.sites))
        return after._replace(change=self._change(state, after))

    def _change(self, old: State, new: State) -> float:
        """How far fixed effects moved, in standard errors, and covariances, relative to their diagonal."""
        errors = np.sqrt(np.diag(new.point.covariance))
        moved = [np.abs(new.point.gamma - old.point.gamma) / errors]
        for before, after in zip(old.roots, new.roots, strict=True):
            size = np.sqrt(np.sum(after**2, axis=1)).clip(_NOTHING)
            moved.append((np.abs(after @ after.T - before @ before.T) / np.outer(size, size)).ravel())
        return float(np.max(np.concatenate(moved)))

    def evidence(self, state: State) -> float:
        """Log marginal likelihood of everybody's choices."""
        about = state.point if state.nodes is not None else self._about_modes(state)
        rows = state.log_evidence - log_normaliser(Cavities.of(about), state.plain)
        if self.guessed is None:
            return about.log_evidence + float(rows.sum())
        guesses, own = state.guesses, 1.0 - state.guesses
        kinds = own * np.log1p(-state.share) + guesses * (np.log(state.share) + self.guessed)
        return about.log_evidence + float(np.sum(own * rows + kinds + entr(own) + entr(guesses)))

    def _log_prior(self, state: State) -> float:
        """Log prior of the covariances."""
        return Coordinates(self.model, state.roots, self.avoid_boundary).log_prior(state.roots)


def _blended(old: Sites, new: Sites, share: float) -> Sites:
    """Go a share of the way from old sites to new ones; weights are the new ones."""
    linear = (1.0 - share) * old.linear + share * new.linear
    return new._replace(linear=linear, precision=(1.0 - share) * old.precision + share * new.precision)


def _between(old: Place, new: Place, share: float) -> Place:
    """Go a share of the way from one placement to another."""
    pairs = [(getattr(old, field.name), getattr(new, field.name)) for field in fields(Place)]
    return Place(*((1.0 - share) * before + share * after for before, after in pairs))


def _ran_away(state: State) -> bool:
    return any(bool((np.diag(root @ root.T) > _RAN_AWAY**2).any()) for root in state.roots)
