"""The fit: states found, their weights pooled, in the states' own units; the seam to everything outside this room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from spicestat.pooled.classes import choose_classes
from spicestat.pooled.contrasts import Design, make_design
from spicestat.pooled.em import PopulationFit, fit_population
from spicestat.pooled.laplace import Normal, Posterior, memberships, posterior
from spicestat.pooled.maximise import Prior
from spicestat.pooled.mixture import fit_mixture, guessing, heavy_tails
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.people import OwnEstimates, maximum_likelihood, mean_covariance
from spicestat.pooled.prediction import Kind, predict_fitted, predict_new
from spicestat.pooled.role_library import Library, library_for
from spicestat.pooled.state_search import SearchSettings, Step, Structure, Trials, search_structures
from spicestat.pooled.states import State, StateRows, state_rows

__all__ = [
    "Chosen",
    "PooledFit",
    "Tails",
    "choose_states",
    "fit_choices",
    "fit_pooled",
    "for_people",
    "posterior_weights",
    "search_library",
    "usual_begins",
]

Tails = Literal["heavy", "normal"]

_ROUNDS_BEFORE_KINDS = 12
_CHEAP_CHOICES = 50_000


class _Found(NamedTuple):
    """A fitted population of C kinds of people, in scaled units: shares with populations (None: people who guess)."""

    kinds: tuple[tuple[float, Normal | None], ...]
    belongs: Floats
    posteriors: tuple[Posterior, ...]
    log_marginals: Floats
    converged: bool


@dataclass(frozen=True, eq=False)
class Chosen:
    """States that a search chose.

    Attributes
    ----------
    states : tuple of K State
        Those whose weights are people's own first.
    n_own : int
    path : tuple of Step
        Accepted steps of the search; positions refer to the library.
    """

    states: tuple[State, ...]
    n_own: int
    path: tuple[Step, ...]


@dataclass(frozen=True, eq=False)
class PooledFit:
    """Weights of K states in the choices of N people, the first L of them people's own.

    All weights are in logits per unit of the state, rewards as fractions of `reward_size`.

    Attributes
    ----------
    states : tuple of K State
    n_own : int
    reward_size : float
    mean, std_error : ndarray of shape (K,)
        Means of the population, people who guess left out (shared weights: the weights), and their standard errors.
    mean_covariance : ndarray of shape (K, K)
        Covariance of the estimates in `mean`.
    covariance : ndarray of shape (L, L)
        Of people's own weights.
    kinds : tuple of C Kind
        Kinds of people that the population is made of.
    belongs : ndarray of shape (N, C)
        Probability that each person is of each kind, given the choices.
    pooled, pooled_sd : ndarray of shape (N, K)
        Posterior means and standard deviations; shared weights with their standard errors.
    pooled_covariance : ndarray of shape (N, L, L)
    own : OwnEstimates
        Everybody's maximum-likelihood weights of the L states.
    log_marginal : ndarray of shape (N,)
        Log-likelihood of everybody's choices, integrated over the population.
    n_choices : int ndarray of shape (N,)
    converged : bool
    """

    states: tuple[State, ...]
    n_own: int
    reward_size: float
    mean: Floats
    std_error: Floats
    mean_covariance: Floats
    covariance: Floats
    kinds: tuple[Kind, ...]
    belongs: Floats
    pooled: Floats
    pooled_sd: Floats
    pooled_covariance: Floats
    own: OwnEstimates
    log_marginal: Floats
    n_choices: Ints
    converged: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the states."""
        return tuple(declared.name for declared in self.states)

    @property
    def sd(self) -> Floats:
        """Standard deviations of people's own weights, shape (L,)."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    def rows(self, data: Sessions) -> StateRows:
        """Compute the fit's states on (other) trials, rewards in this fit's units."""
        return state_rows(data.in_unit(self.reward_size), self.states)

    def predict(self, rows: StateRows) -> Floats:
        """Probabilities (R, A) of the choices of people who were fitted, averaged over their posteriors."""
        return predict_fitted(rows, self.pooled, self.pooled_covariance)

    def predict_new(self, rows: StateRows, learn: bool = False) -> Floats:
        """Probabilities (R, A) of the choices of people who were not fitted, integrated over the population."""
        return predict_new(rows, self.kinds, learn=learn)


def choose_states(
    data: Sessions,
    library: Sequence[State] | None = None,
    begin: Sequence[Sequence[State]] | None = None,
    settings: SearchSettings = SearchSettings(),  # noqa: B008 (frozen)
) -> Chosen:
    """Search a library for the states that predict left-out blocks best.

    Parameters
    ----------
    data : Sessions
    library : sequence of State, optional
        Default: that of `library_for`.
    begin : sequence of sequences of State of the library, optional
        Where searches start; the one that ends best is taken. Default: those of `library_for`; the first alone
        where there are 50,000 choices or more, as it hardly matters there.
    settings : SearchSettings

    Returns
    -------
    Chosen
    """
    usual = library_for(data)
    states = usual.states if library is None else tuple(library)
    rows = state_rows(data, states)
    if begin is None:
        begin = usual_begins(usual, len(rows.choice))
    path = search_library(Trials.of(rows, single=True), states, begin, settings)
    found = path[-1].structure
    return Chosen(tuple(states[k] for k in found.columns), len(found.own), tuple(path))


def usual_begins(library: Library, n_choices: int) -> Sequence[Sequence[State]]:
    """Where searches start in a library, which matters little where choices are many; see `choose_states`."""
    return library.begins[: None if n_choices < _CHEAP_CHOICES else 1]


def search_library(
    trials: Trials,
    library: Sequence[State],
    begin: Sequence[Sequence[State]],
    settings: SearchSettings = SearchSettings(),  # noqa: B008 (frozen)
) -> list[Step]:
    """Search from every beginning, and return the path that ends best; positions in it refer to the library."""
    states = list(library)
    starts = [Structure(tuple(states.index(declared) for declared in first)[: settings.max_own]) for first in begin]
    return max((search_structures(trials, s, settings) for s in starts), key=lambda steps: steps[-1].criterion)


def fit_pooled(
    data: Sessions,
    states: Sequence[State],
    n_own: int | None = None,
    tails: Tails = "heavy",
    prior: Prior | None = Prior(),  # noqa: B008 (frozen)
    start: PopulationFit | None = None,
    tolerance: float = 0.1,
) -> PooledFit:
    """Estimate the weights of given states.

    Parameters
    ----------
    data : Sessions
    states : sequence of K State
        Those whose weights are people's own first.
    n_own : int, optional
        How many of the states these are. Default: all.
    tails : {"heavy", "normal"}
        "heavy": some people may lie far from the others, or guess; or the population has up to four classes, where
        these predict people who are left out better. "normal": one normal population.
    prior : Prior or None
        None, with normal tails: the maximised Laplace likelihood, as lme4's ``glmer`` has it.
    start : PopulationFit, optional
        The last fit of a search, to start from.
    tolerance : float, default 0.1
        Rise of the marginal log-likelihood, in nats over all people, at which the estimation ends.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> from spicestat.pooled.states import state
    >>> rng = np.random.default_rng(0)
    >>> data = pack_sessions(rng.integers(0, 2, (20, 50)), rng.integers(0, 2, (20, 50)), np.arange(20), n_actions=2)
    >>> fit = fit_pooled(data, [state("last"), state(("rewarded", 0.0))])
    >>> fit.names, fit.pooled.shape
    (('last', 'rewarded_0'), (20, 2))
    """
    design = make_design(state_rows(data, states), int(data.person.max()) + 1)
    n_own = len(states) if n_own is None else n_own
    if tails == "normal":
        found = _one_kind(fit_population(design, range(n_own), prior, start, min(tolerance, 1e-3), polish=True))
    else:
        found = _kinds(design, range(n_own), prior, start, tolerance)
    return _in_units(data.reward_size, tuple(states), design, found)


def fit_choices(fit: PooledFit, rows: StateRows) -> PooledFit:
    """Estimate the weights of a fit's states anew, from other choices of the same people after the same histories.

    Parameters
    ----------
    fit : PooledFit
        The defaults of `fit_pooled` made it.
    rows : StateRows
        Of its states, as `PooledFit.rows` makes them, with other choices.
    """
    design = make_design(rows, len(fit.n_choices))
    return _in_units(fit.reward_size, fit.states, design, _kinds(design, range(fit.n_own), Prior(), None, 0.1))


def for_people(fit: PooledFit, data: Sessions) -> PooledFit:
    """Find the weights of other people, or from other trials, under the population of a fit, which stays as it is.

    Parameters
    ----------
    fit : PooledFit
    data : Sessions
        With rewards in the units of the fit; persons are coded from 0 anew.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> from spicestat.pooled.states import state
    >>> rng = np.random.default_rng(0)
    >>> data = pack_sessions(rng.integers(0, 2, (20, 50)), rng.integers(0, 2, (20, 50)), np.arange(20), n_actions=2)
    >>> fit = fit_pooled(data, [state("last"), state(("rewarded", 0.0))])
    >>> one = for_people(fit, data.select(data.person == 0))
    >>> bool(np.allclose(one.pooled[0], fit.pooled[0], atol=0.05))
    True
    """
    design = make_design(fit.rows(data), int(data.person.max()) + 1)
    people = _under(fit, design)
    kept = {name: getattr(fit, name) for name in ("mean", "std_error", "mean_covariance", "covariance", "kinds")}
    there = _in_units(fit.reward_size, fit.states, design, people)
    # weights that are the population's keep its standard errors
    sds = np.array(there.pooled_sd)
    sds[:, fit.n_own :] = fit.std_error[fit.n_own :]
    return replace(there, **kept, pooled_sd=sds)


def posterior_weights(fit: PooledFit, rows: StateRows) -> tuple[Floats, Floats]:
    """Posterior means (N, K) and covariances (N, L, L) of the people who were fitted, given some of their choices.

    The population stays as it is, and is the posterior of those without a choice among the rows.

    Parameters
    ----------
    fit : PooledFit
    rows : StateRows
        Of the states of the fit, person by person.
    """
    design = make_design(rows, len(fit.n_choices))
    mean, covariance = _combine(_under(fit, design), np.arange(fit.n_own))
    own_scale = design.scale[: fit.n_own]
    return mean / design.scale, covariance / (own_scale[:, None] * own_scale)


def _under(fit: PooledFit, design: Design) -> _Found:
    """Find the posteriors of people under the population of a fit."""
    n_own, scale = fit.n_own, design.scale
    square = scale[:n_own, None] * scale[:n_own]
    normals = [
        None if kind.guesses else Normal(kind.mean * scale, kind.covariance * square, np.arange(n_own))
        for kind in fit.kinds
    ]
    found = tuple(guessing(design, n_own) if n is None else posterior(design, n) for n in normals)
    shares = np.array([kind.share for kind in fit.kinds])
    belongs, marginal = memberships(found, shares)
    return _Found(tuple(zip(shares.tolist(), normals, strict=True)), belongs, found, marginal, fit.converged)


def _one_kind(fit: PopulationFit) -> _Found:
    belongs = np.ones((len(fit.posterior.mode), 1))
    kinds = ((1.0, fit.population),)
    return _Found(kinds, belongs, (fit.posterior,), fit.posterior.log_marginal, fit.converged)


def _kinds(design: Design, own: range, prior: Prior | None, start: PopulationFit | None, tolerance: float) -> _Found:
    """Several classes where these predict left-out people better; else one population with heavy tails."""
    rough = design.single()
    normal = fit_population(rough, own, prior, start, tolerance, _ROUNDS_BEFORE_KINDS)
    best = choose_classes(design, normal, prior or Prior())
    if best is not None:
        kinds = tuple(zip(best.shares.tolist(), best.populations, strict=True))
        return _Found(kinds, best.belongs, best.posteriors, best.log_marginals, best.converged)
    near = fit_mixture(heavy_tails(rough), normal, prior, 2.0 * tolerance)
    begin = replace(normal, population=near.population, posterior=near.posteriors[0])
    components = heavy_tails(design)
    heavy = fit_mixture(components, begin, prior, tolerance, shares=near.shares)
    base = heavy.population
    wide = [None if c.guesses else replace(base, covariance=c.scale * base.covariance) for c in components]
    return _Found(
        tuple(zip(heavy.shares.tolist(), wide, strict=True)),
        heavy.belongs,
        heavy.posteriors,
        heavy.log_marginals,
        heavy.converged,
    )


def _total(found: _Found) -> tuple[Normal, Floats]:
    """Mean and covariance of all who do not guess, and how much every person is one of them."""
    fair = [(share, n) for share, n in found.kinds if n is not None]
    share = np.array([s for s, _ in fair]) / sum(s for s, _ in fair)
    own = fair[0][1].own
    means = np.stack([n.mean for _, n in fair])
    mean = share @ means
    away = means[:, own] - mean[own]
    covariance = np.tensordot(share, np.stack([n.covariance for _, n in fair]), 1) + (away * share[:, None]).T @ away
    there = np.array([n is not None for _, n in found.kinds])
    return Normal(mean, covariance, own), found.belongs[:, there].sum(axis=1)


def _combine(found: _Found, own: Ints) -> tuple[Floats, Floats]:
    """Posterior means (N, K) and covariances (N, L, L) over the kinds."""
    means = np.stack([p.mode for p in found.posteriors])
    means[:, :, own] += np.stack([p.shift for p in found.posteriors])
    share = found.belongs.T[..., None]
    mean = (share * means).sum(axis=0)
    away = (means - mean)[:, :, own]
    spread = np.zeros((len(mean), len(own), len(own)))
    for c, part in enumerate(found.posteriors):
        spread += share[c][..., None] * (part.covariance + away[c][:, :, None] * away[c][:, None])
    return mean, spread


def _in_units(reward_size: float, states: tuple[State, ...], design: Design, found: _Found) -> PooledFit:
    """Everything from scaled states to the states' own units."""
    population, fair = _total(found)
    pooled, spread = _combine(found, population.own)
    means = mean_covariance(population, found.posteriors[0].at_mode.information, fair)
    ml = maximum_likelihood(design, population, found.posteriors[0].mode)
    scale, n_own = design.scale, len(population.own)
    own_scale = scale[:n_own]
    square = own_scale[:, None] * own_scale
    mean_cov = means / (scale[:, None] * scale)
    sds = np.tile(np.sqrt(np.diag(mean_cov)), (len(pooled), 1))
    sds[:, :n_own] = np.sqrt(np.einsum("nkk->nk", spread / square))
    kinds = tuple(
        Kind(share, n.mean / scale, n.covariance / square, False)
        if n is not None
        else Kind(share, np.zeros(len(scale)), np.zeros_like(square), True)
        for share, n in found.kinds
    )
    return PooledFit(
        states=states,
        n_own=n_own,
        reward_size=reward_size,
        mean=population.mean / scale,
        std_error=np.sqrt(np.diag(mean_cov)),
        mean_covariance=mean_cov,
        covariance=population.covariance / square,
        kinds=kinds,
        belongs=found.belongs,
        pooled=pooled / scale,
        pooled_sd=sds,
        pooled_covariance=spread / square,
        own=OwnEstimates(ml.estimate / own_scale, ml.std_error / own_scale, ml.covariance / square, ml.log_lik),
        log_marginal=found.log_marginals,
        n_choices=design.n_choices,
        converged=found.converged,
    )
