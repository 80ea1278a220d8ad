"""The one-stage hierarchical model in numbers: normal sites for the choices, and the linear model of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from spicestat.errors import NumericalError
from spicestat.group.inputs.likelihood import ChoiceLikelihood
from spicestat.group.inputs.links import Link, in_unit
from spicestat.group.marginal.climber import DIFFERENT, Climber, State
from spicestat.group.marginal.covariances import Coordinates
from spicestat.group.marginal.linear_model import LinearModel, Part
from spicestat.group.numerics.variance_components import column_sizes

__all__ = ["HierarchicalFit", "Integration", "fit_hierarchical", "stacked_design"]

Integration = Literal["moments", "laplace"]

_STEADY = 0.02
_MANY = 4
"""Coefficients above which nodes are a sample."""
_MOVE, _PASSES, _FOLLOWED = 0.02, 8, 40
_FLAT = 1e-6


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
    climber = Climber(likelihood, links, model, avoid_boundary, guessed, tolerance, report)
    try:
        ends = climber.expansions(center / sizes)
    except np.linalg.LinAlgError as error:
        raise NumericalError(
            "the choices say nothing of some coefficient, whatever the others are, as where nobody learns",
            do="see in the ladder of the fit whether it predicts at all, or collect more choices",
        ) from error
    wanted = integration == "laplace" or (integration is None and climber.knows_skewness and Z.shape[1] > _MANY)

    def finished(end: State) -> State:
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
    found = _reported(climber, state, heights, apart, turned, units, sizes, with_errors)
    rough = state.nodes is None and climber.knows_skewness and not state.skewed
    return replace(found, fell_back=rough or (state.nodes is None and not wanted))


def _reported(
    climber: Climber,
    state: State,
    ends: tuple[float, ...],
    apart: float,
    back: np.ndarray,
    units: list[np.ndarray],
    sizes: np.ndarray,
    with_errors: bool,
) -> HierarchicalFit:
    """Say what was found, with gamma turned by ``back`` and roots in ``units``."""
    sharp, log_likelihood = _at_estimates(climber, state)
    given = back @ state.point.covariance @ back.T
    if with_errors:
        covariance, df, spread_errors = _errors(climber, state, back)
    else:
        covariance, df = given, np.full(len(back), np.inf)
        spread_errors = [np.full(len(root), np.nan) for root in state.roots]
    both = np.outer(sizes, sizes)
    G = [np.outer(unit, unit) * (root @ root.T) for unit, root in zip(units, state.roots, strict=False)]
    return HierarchicalFit(
        gamma=back @ state.point.gamma,
        sigma=G.pop() if climber.model.with_rest else np.zeros_like(both),
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
        share=0.0 if climber.guessed is None else state.share,
        n_parameters=len(back) + sum(int(free.sum()) for free in climber.model.free) + (climber.guessed is not None),
        ends=ends,
        apart=apart,
        rounds=state.rounds,
        change=state.change,
        converged=state.converged,
    )


def _at_estimates(climber: Climber, state: State) -> tuple[State, float]:
    """Everybody's choices with the fixed effects at their estimates instead of integrated over."""
    gamma = state.point.gamma
    sharp = LinearModel(climber.model.F[:, :, : climber.model.m], climber.model.parts, climber.model.with_rest, False)
    own = Climber(climber.likelihood, climber.links, sharp, False, climber.guessed, climber.tolerance, None, gamma)
    state = state._replace(point=sharp.at(state.roots, state.sites, gamma))
    for _ in range(_PASSES if climber.model.parts else 1):
        state = own.renewed(state)
    return state, own.evidence(state)


def _errors(climber: Climber, state: State, back: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Covariance of the fixed effects, their degrees of freedom, and errors of standard deviations.

    What is not known of the covariances moves the fixed effects: by differences, with everybody's sites following.
    """
    at = Coordinates(climber.model, state.roots, climber.avoid_boundary)
    # of many, only those of the variances move the sites far enough to count
    followed = at.diagonal if at.size > _FOLLOWED else np.ones(at.size, dtype=bool)
    given = back @ state.point.covariance @ back.T
    if not at.size:
        return given, np.full(len(back), np.inf), []
    here = _moved(climber, state, at, np.zeros(at.size), back, 0) if not followed.all() else None
    ends = []
    for move, passes in zip(_MOVE * np.eye(at.size), followed * _PASSES, strict=True):
        above = _moved(climber, state, at, move, back, passes)
        ends.append((above, here or _moved(climber, state, at, -move, back, passes)))
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
    climber: Climber, state: State, at: Coordinates, x: np.ndarray, back: np.ndarray, passes: int
) -> tuple[np.ndarray, ...]:
    """Return fixed effects, slope, variances and standard deviations at other covariances."""
    roots, first = at.roots(x), state.point.gamma
    state = state._replace(roots=roots, point=climber.model.at(roots, state.sites))
    for _ in range(passes):
        before, state = state, climber.renewed(state)._replace(share=state.share)  # which is not followed
        moved = np.abs(state.point.gamma - before.point.gamma).max()
        if moved <= 1e-3 * np.abs(state.point.gamma - first).max():
            break
    spread = np.concatenate([np.sqrt(np.sum(root**2, axis=1)) for root in roots])
    variance = np.einsum("ia,ab,ib->i", back, state.point.covariance, back)
    return state.point.gamma, at.slope(state.point, roots), variance, spread


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
