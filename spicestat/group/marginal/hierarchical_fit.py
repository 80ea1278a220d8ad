"""The one-stage hierarchical model in numbers: normal sites for the choices, and the linear model of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import entr, expit

from spicestat.errors import NumericalError
from spicestat.group.inputs.likelihood import ChoiceLikelihood, HasSkewness
from spicestat.group.inputs.links import Link, in_unit
from spicestat.group.marginal.covariances import Coordinates, climb
from spicestat.group.marginal.linear_model import LinearModel, Part, Point, Sites
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
from spicestat.group.numerics.variance_components import column_sizes

__all__ = ["APART", "DIFFERENT", "HierarchicalFit", "Integration", "fit_hierarchical", "stacked_design"]

Integration = Literal["moments", "laplace"]

_STEADY = 0.02
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
_MANY = 4
"""Coefficients above which nodes are a sample."""
_FIRST_SHARE = 0.05
_RAN_AWAY = 2.0
"""Standard deviation between rows, in those of the wide prior, at which expansions have run away: they do where
likelihoods stay nearly as high however far a coefficient goes, and moments at nodes see that they do not rise."""
_MOVE, _PASSES, _FOLLOWED = 0.02, 8, 40
_FLAT, _NOTHING = 1e-6, 1e-6


@dataclass(frozen=True, eq=False)
class HierarchicalFit:
    """A fitted model of n rows' d unconstrained coefficients.

    Attributes
    ----------
    gamma : ndarray of shape (m,)
        Fixed effects.
    sigma : ndarray of shape (d, d)
        Covariance of the rows' own rest; 0 where they have none.
    random : tuple of ndarray of shape (r d, r d)
        Covariance of each random part's effects, ordered by column, then by coefficient.
    covariance, given_sigma : ndarray of shape (m, m)
        Of gamma; as if the covariances were known.
    df : ndarray of shape (m,)
        Satterthwaite's degrees of freedom.
    spread_errors : list of ndarray
        Standard errors of the standard deviations of each random part's effects, and last of the rows' own rest; NaN
        where the data say nothing of them.
    mean : ndarray of shape (n, d)
        Posterior means of the rows' coefficients.
    spread : ndarray of shape (n, d, d)
        Their posterior covariances.
    log_likelihood : float
        Marginal log-likelihood of all choices at the estimates.
    row_log_likelihood : ndarray of shape (n,)
        Of each row's choices, given all others'.
    guesses : ndarray of shape (n,)
        Probability that a row's choices were guesses.
    share : float
        Share of rows of guesses.
    n_parameters : int
        Fixed effects, entries of covariances, and the share of guesses.
    ends : tuple of float
        How high the searches from each start came, in nats; the fit is of the highest.
    apart : float
        Largest difference of a fixed effect, in standard errors, between the fit's search and others that came within
        two nats of it.
    rounds : int
        How often nodes were placed.
    change : float
        Largest change in the last round: gamma in standard errors, covariances relative to their diagonal.
    converged : bool
        ``change`` is below the tolerance.
    fell_back : bool
        Whether nodes, or third derivatives, came to no end, and plain expansions about modes took their place.
    """

    gamma: np.ndarray
    sigma: np.ndarray
    random: tuple[np.ndarray, ...]
    covariance: np.ndarray
    given_sigma: np.ndarray
    df: np.ndarray
    spread_errors: list[np.ndarray]
    mean: np.ndarray
    spread: np.ndarray
    log_likelihood: float
    row_log_likelihood: np.ndarray
    guesses: np.ndarray
    share: float
    n_parameters: int
    ends: tuple[float, ...]
    apart: float
    rounds: int
    change: float
    converged: bool
    fell_back: bool = False


def stacked_design(designs: list[np.ndarray]) -> np.ndarray:
    """Return Z (P, d, m) with which the coefficients' means are Z gamma, from one design matrix (P, p_k) each."""
    widths = [design.shape[1] for design in designs]
    stacked = np.zeros((len(designs[0]), len(designs), sum(widths)))
    for k, (design, end) in enumerate(zip(designs, np.cumsum(widths), strict=True)):
        stacked[:, k, end - widths[k] : end] = design
    return stacked


def fit_hierarchical(
    likelihood: ChoiceLikelihood,
    links: Sequence[Link],
    Z: np.ndarray,
    center: np.ndarray,
    scale: np.ndarray,
    parts: Sequence[Part] = (),
    *,
    with_rest: bool = True,
    reml: bool = True,
    avoid_boundary: bool = True,
    guessed: np.ndarray | None = None,
    integration: Integration | None = None,
    per_dimension: int | None = None,
    tolerance: float = _STEADY,
    max_rounds: int = 40,
    with_errors: bool = True,
    report: Callable[[int, int, str], object] | None = None,
) -> HierarchicalFit:
    r"""Fit :math:`u_r = Z_r\gamma + \sum_p b_{pr} + e_r`, choices of row r :math:`\sim p(y \mid u_r)`.

    The likelihood of each row's choices is replaced by a normal one, a site; with these the model is a linear mixed
    model, whose covariances maximise its (restricted) likelihood; and both are repeated until nothing changes. First
    sites are expansions about modes, from several starts; then, from the best, they match the moments of the
    likelihood in its cavity, found at nodes (expectation propagation). With third derivatives the former end where
    Laplace's marginal likelihood is highest, but for terms of second order; the latter are exact, but for the nodes,
    where random parts do not link rows.

    Parameters
    ----------
    likelihood : ChoiceLikelihood
        Of n rows with d coefficients.
    links : sequence of Link, length d
    Z : ndarray of shape (n, d, m)
        Every column belongs to one coefficient.
    center, scale : ndarray of shape (d,)
        Of the wide normal prior where modes are first looked for; the result does not depend on it.
    parts : sequence of Part
    with_rest : bool, default True
        Whether rows have a rest of their own, of covariance Sigma.
    reml : bool, default True
        Restricted likelihood: the fixed effects are integrated over.
    avoid_boundary : bool, default True
        Whether covariances have the prior :math:`|\Sigma|^{1/2}` of Chung et al., worth less than one level.
    guessed : ndarray of shape (n,), optional
        Log-likelihood of guesses: with it, a share of the rows may be such.
    integration : {"moments", "laplace"}, optional
        "laplace" ends with the expansions, from whose modes third derivatives, where the likelihood knows these, lead
        to means. Default: so where it knows them and there are more than four coefficients, too many for nodes.
    per_dimension : int, optional
        Nodes along each dimension; see `quadrature_rule`. By default a few, and if the fit does not converge or two
        more give a row another likelihood, the fit goes on by importance sampling; if that ends nowhere either, by
        expansions, as "laplace" does.
    tolerance : float, default .02
        See `HierarchicalFit.change`.
    max_rounds : int, default 40
    with_errors : bool, default True
        Whether what is not known of the covariances counts in the covariance of the fixed effects, and is reported;
        that takes most of the time where likelihoods are slow.
    report : callable, optional
        Called with (round, max_rounds, message) at the end of each round.

    References
    ----------
    Minka (2001), https://arxiv.org/abs/1301.2294; Chung et al. (2015), https://doi.org/10.3102/1076998615570945.
    """
    # in units of the wide prior, so that the unit of a coefficient changes nothing
    sizes = scale
    links = [in_unit(link, size) for link, size in zip(links, scale, strict=True)]
    basis, back = _orthonormal(Z)
    widths = [column_sizes(part.matrix) for part in parts]
    scaled = [replace(part, matrix=part.matrix / width) for part, width in zip(parts, widths, strict=True)]
    widest = int((Z != 0).any(axis=0).sum(axis=1).max())
    # with one degree of freedom the prior would be all that holds Sigma, and it pulls to infinity
    avoid_boundary = avoid_boundary and len(Z) - widest > 1
    units = [np.outer(1.0 / width, sizes).ravel() for width in widths] + [sizes]
    model = LinearModel(basis, scaled, with_rest, reml)
    climber = _Climber(likelihood, links, model, avoid_boundary, guessed, tolerance, report)
    try:
        ends = climber.expansions(center / sizes)
    except np.linalg.LinAlgError as error:
        raise NumericalError(
            "the choices say nothing of some coefficient, whatever the others are, as where nobody learns",
            do="see in the ladder of the fit whether it predicts at all, or collect more choices",
        ) from error
    wanted = integration == "laplace" or (integration is None and climber.knows_skewness and Z.shape[1] > _MANY)

    def finished(end: _State) -> _State:
        return climber.laplace(end, max_rounds) if wanted else climber.integrated(end, per_dimension, max_rounds)

    heights, apart = climber.heights(ends), climber.apart(ends)
    if apart > DIFFERENT or not all(np.isfinite(end.change) for end in ends):
        # modes may differ where what is integrated does not
        ends = [finished(end) for end in ends]
        heights, apart = climber.heights(ends), climber.apart(ends)
        state = ends[int(np.argmax(heights))]
    else:
        state = finished(ends[int(np.argmax(heights))])
    turned = back * sizes[(Z != 0).any(axis=0).argmax(axis=0)][:, None]
    found = climber.report_on(state, heights, apart, turned, units, sizes, with_errors)
    rough = state.nodes is None and climber.knows_skewness and not state.skewed
    return replace(found, fell_back=rough or (state.nodes is None and not wanted))


class _State(NamedTuple):
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


class _Climber:
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

    def expansions(self, center: np.ndarray) -> list[_State]:
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
            state = _State(roots, sites, sites, self.model.at(roots, sites), np.zeros(n), np.zeros(n), modes.mode)
            begun.append(state)
            ends.append(self._roughly(state, _ROUGH))
        if self.apart(ends) > DIFFERENT:
            # a search that is slow looks like another optimum
            ends = [self._roughly(state, 0.1 * _ROUGH) for state in ends]
        return [old if _ran_away(end) else end for old, end in zip(begun, ends, strict=True)]

    def _roughly(self, state: _State, tolerance: float) -> _State:
        """Search by expansions about modes without third derivatives."""
        for _ in range(_ROUGH_ROUNDS):
            state = self._climbed(self._renewed(state), tolerance)
            if state.change < tolerance:
                break
        return state

    def heights(self, ends: Sequence[_State]) -> tuple[float, ...]:
        """Log-likelihood and log prior of the covariances."""
        return tuple(self._evidence(state) + self._log_prior(state) for state in ends)

    def apart(self, ends: Sequence[_State]) -> float:
        """How far effects are from those of the highest end, in standard errors, at ends that are nearly as high."""
        heights = self.heights(ends)
        best = ends[int(np.argmax(heights))].point
        errors = np.sqrt(np.diag(best.covariance))
        near = [end.point for end, height in zip(ends, heights, strict=True) if height > max(heights) - APART]
        return float(max(np.abs((point.gamma - best.gamma) / errors).max() for point in near))

    def laplace(self, state: _State, max_rounds: int) -> _State:
        """Expand about modes until nothing changes, with posterior means for modes unless these run away."""
        found = self._expanding(state._replace(skewed=self.knows_skewness), max_rounds)
        if found.converged or not found.skewed:
            return found
        plain = self._expanding(state, max_rounds)
        return plain if plain.converged else found

    def _expanding(self, state: _State, max_rounds: int) -> _State:
        for used in range(1, max_rounds + 1):
            before = state
            try:
                state = self._climbed(self._towards(state, self._renewed(state), used), self.tolerance)
            except np.linalg.LinAlgError:  # where choices say nothing of a coefficient
                return before._replace(converged=False)
            state = state._replace(rounds=used, converged=state.change < self.tolerance)
            self._tell(state, max_rounds)
            if state.converged:
                break
        return state

    def _towards(self, old: _State, new: _State, used: int) -> _State:
        """Go to new sites, after a few rounds only a share of the way: corrected means can go back and forth."""
        if used <= _BOLD + 1:
            return new
        share = 1.0 / (used - _BOLD)
        sites = _blended(old.sites, new.sites, share)
        return new._replace(sites=sites, point=self.model.at(new.roots, sites, self.given))

    def integrated(self, state: _State, per_dimension: int | None, max_rounds: int) -> _State:
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

    def moments(self, state: _State, rule: Rule, max_rounds: int) -> _State:
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
                    state = self._climbed(self._renewed(state), self.tolerance)
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

    def _tell(self, state: _State, max_rounds: int) -> None:
        """Say how far it is."""
        if self.report is not None:
            self.report(state.rounds, max_rounds, f"change {state.change:.2g}, {self.tolerance:g} is enough")

    def agrees(self, state: _State, rule: Rule) -> bool:
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

    def _cavity(self, state: _State) -> Cavities:
        """Return what everything but a row's choices says of it."""
        if state.nodes is not None:
            return Cavities.of(state.point)
        return Cavities.of(self._about_modes(state))

    def _about_modes(self, state: _State) -> Point:
        """Return the linear model of the expansions about modes, the fixed effects integrated over or given."""
        gamma = None if self.model.restricted else state.point.gamma
        return self.model.at(state.roots, state.plain, gamma)

    def _place(self, state: _State) -> Place:
        """Return where nodes go."""
        cavity = self._cavity(state)
        mean, covariance = cavity.posterior(state.plain)
        return Place(mean, covariance, cavity.mean, cavity.covariance)

    def _renewed(self, state: _State) -> _State:
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

    def _weighed(self, state: _State, plain: Sites, evidence: np.ndarray) -> _State:
        """Say how probably rows are guesses, which count as little as that."""
        state = state._replace(plain=plain, log_evidence=evidence)
        if self.guessed is None:
            return state
        odds = np.log(state.share) + self.guessed - np.log1p(-state.share) - evidence
        guesses = expit(odds)
        share = float((guesses.sum() + 0.5) / (len(guesses) + 1.0))
        return state._replace(guesses=guesses, share=share, plain=plain._replace(weight=1.0 - guesses))

    def _climbed(self, state: _State, tolerance: float) -> _State:
        """Find the likeliest covariances, given the sites."""
        roots = climb(self.model, state.sites, state.roots, self.avoid_boundary, 0.1 * tolerance)
        after = state._replace(roots=roots, point=self.model.at(roots, state.sites))
        return after._replace(change=self._change(state, after))

    def _change(self, old: _State, new: _State) -> float:
        """How far fixed effects moved, in standard errors, and covariances, relative to their diagonal."""
        errors = np.sqrt(np.diag(new.point.covariance))
        moved = [np.abs(new.point.gamma - old.point.gamma) / errors]
        for before, after in zip(old.roots, new.roots, strict=True):
            size = np.sqrt(np.sum(after**2, axis=1)).clip(_NOTHING)
            moved.append((np.abs(after @ after.T - before @ before.T) / np.outer(size, size)).ravel())
        return float(np.max(np.concatenate(moved)))

    def _evidence(self, state: _State) -> float:
        """Log marginal likelihood of everybody's choices."""
        about = state.point if state.nodes is not None else self._about_modes(state)
        rows = state.log_evidence - log_normaliser(Cavities.of(about), state.plain)
        if self.guessed is None:
            return about.log_evidence + float(rows.sum())
        guesses, own = state.guesses, 1.0 - state.guesses
        kinds = own * np.log1p(-state.share) + guesses * (np.log(state.share) + self.guessed)
        return about.log_evidence + float(np.sum(own * rows + kinds + entr(own) + entr(guesses)))

    def _log_prior(self, state: _State) -> float:
        """Log prior of the covariances."""
        return Coordinates(self.model, state.roots, self.avoid_boundary).log_prior(state.roots)

    def _at_estimates(self, state: _State) -> tuple[_State, float]:
        """Everybody's choices with the fixed effects at their estimates instead of integrated over."""
        gamma = state.point.gamma
        sharp = LinearModel(self.model.F[:, :, : self.model.m], self.model.parts, self.model.with_rest, False)
        own = _Climber(self.likelihood, self.links, sharp, False, self.guessed, self.tolerance, None, gamma)
        state = state._replace(point=sharp.at(state.roots, state.sites, gamma))
        for _ in range(_PASSES if self.model.parts else 1):
            state = own._renewed(state)
        return state, own._evidence(state)

    def report_on(
        self,
        state: _State,
        ends: tuple[float, ...],
        apart: float,
        back: np.ndarray,
        units: list[np.ndarray],
        sizes: np.ndarray,
        with_errors: bool,
    ) -> HierarchicalFit:
        """Say what was found, with gamma turned by ``back`` and roots in ``units``."""
        sharp, log_likelihood = self._at_estimates(state)
        given = back @ state.point.covariance @ back.T
        if with_errors:
            covariance, df, spread_errors = self._errors(state, back)
        else:
            covariance, df = given, np.full(len(back), np.inf)
            spread_errors = [np.full(len(root), np.nan) for root in state.roots]
        both = np.outer(sizes, sizes)
        G = [np.outer(unit, unit) * (root @ root.T) for unit, root in zip(units, state.roots, strict=False)]
        return HierarchicalFit(
            gamma=back @ state.point.gamma,
            sigma=G.pop() if self.model.with_rest else np.zeros_like(both),
            random=tuple(G),
            covariance=covariance,
            given_sigma=given,
            df=df,
            spread_errors=[unit * error for unit, error in zip(units, spread_errors, strict=False)],
            mean=sizes * state.point.mean,
            spread=both * state.point.spread,
            log_likelihood=log_likelihood,
            row_log_likelihood=sharp.log_evidence,
            guesses=state.guesses,
            share=0.0 if self.guessed is None else state.share,
            n_parameters=len(back) + sum(int(free.sum()) for free in self.model.free) + (self.guessed is not None),
            ends=ends,
            apart=apart,
            rounds=state.rounds,
            change=state.change,
            converged=state.converged,
        )

    def _errors(self, state: _State, back: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Covariance of the fixed effects, their degrees of freedom, and errors of standard deviations.

        What is not known of the covariances moves the fixed effects: by differences, with everybody's sites following.
        """
        at = Coordinates(self.model, state.roots, self.avoid_boundary)
        # of many, only those of the variances move the sites far enough to count
        followed = at.diagonal if at.size > _FOLLOWED else np.ones(at.size, dtype=bool)
        given = back @ state.point.covariance @ back.T
        if not at.size:
            return given, np.full(len(back), np.inf), []
        here = self._moved(state, at, np.zeros(at.size), back, 0) if not followed.all() else None
        ends = []
        for move, passes in zip(_MOVE * np.eye(at.size), followed * _PASSES, strict=True):
            above = self._moved(state, at, move, back, passes)
            ends.append((above, here or self._moved(state, at, -move, back, passes)))
        width = 2.0 * _MOVE if here is None else _MOVE
        gamma, slope, variance, spread = (
            np.stack([(above[k] - below[k]) / width for above, below in ends]) for k in range(4)
        )
        values, vectors = np.linalg.eigh(-0.5 * (slope + slope.T))
        curved = values > _FLAT * max(1.0, float(values.max()))
        toward = vectors[:, curved] / np.sqrt(values[curved])
        unknown = toward.T @ gamma @ back.T
        satterthwaite = np.sum((toward.T @ variance) ** 2, axis=0)
        known = satterthwaite > 2.0 * np.diag(given) ** 2 * 1e-12
        df = np.where(known, 2.0 * np.diag(given) ** 2 / np.where(known, satterthwaite, 1.0), np.inf)
        errors = np.sqrt(np.sum((toward.T @ spread) ** 2, axis=0))
        # where a direction has no curvature, nothing is known of what moves along it
        flat = np.abs(vectors[:, ~curved].T @ spread).max(axis=0, initial=0.0) > 1e-3 * errors
        errors = np.where(flat, np.nan, errors)
        ends_at = np.cumsum([len(root) for root in state.roots])[:-1]
        return given + unknown.T @ unknown, df, np.split(errors, ends_at)

    def _moved(
        self, state: _State, at: Coordinates, x: np.ndarray, back: np.ndarray, passes: int
    ) -> tuple[np.ndarray, ...]:
        """Return fixed effects, slope, variances and standard deviations at other covariances."""
        roots, first = at.roots(x), state.point.gamma
        state = state._replace(roots=roots, point=self.model.at(roots, state.sites))
        for _ in range(passes):
            before, state = state, self._renewed(state)._replace(share=state.share)  # which is not followed
            moved = np.abs(state.point.gamma - before.point.gamma).max()
            if moved <= 1e-3 * np.abs(state.point.gamma - first).max():
                break
        spread = np.concatenate([np.sqrt(np.sum(root**2, axis=1)) for root in roots])
        variance = np.einsum("ia,ab,ib->i", back, state.point.covariance, back)
        return state.point.gamma, at.slope(state.point, roots), variance, spread


def _blended(old: Sites, new: Sites, share: float) -> Sites:
    """Go a share of the way from old sites to new ones; weights are the new ones."""
    linear = (1.0 - share) * old.linear + share * new.linear
    return new._replace(linear=linear, precision=(1.0 - share) * old.precision + share * new.precision)


def _between(old: Place, new: Place, share: float) -> Place:
    """Go a share of the way from one placement to another."""
    pairs = [(getattr(old, field.name), getattr(new, field.name)) for field in fields(Place)]
    return Place(*((1.0 - share) * before + share * after for before, after in pairs))


def _orthonormal(Z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return an equivalent design whose columns are orthogonal and of size 1, and the matrix that maps gamma back.

    So neither the unit nor the zero of a covariate, such as a year of birth, changes how a fit is found.
    """
    m = Z.shape[2]
    back = np.zeros((m, m))
    for block in Z.transpose(1, 0, 2):
        columns = np.flatnonzero((block != 0).any(axis=0))
        triangle = np.linalg.qr(block[:, columns])[1] / np.sqrt(len(Z))
        back[np.ix_(columns, columns)] = np.linalg.inv(triangle)
    return Z @ back, back


def _ran_away(state: _State) -> bool:
    return any(bool((np.diag(root @ root.T) > _RAN_AWAY**2).any()) for root in state.roots)
