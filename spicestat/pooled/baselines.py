"""What any reader could fit: choice shares, lagged choices and rewards with a ridge, and a library without a search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from spicestat.pooled.contrasts import make_design
from spicestat.pooled.em import PopulationFit, fit_population
from spicestat.pooled.laplace import Normal, posterior
from spicestat.pooled.left_out import left_out, make_folds
from spicestat.pooled.maximise import Prior
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.prediction import Kind, predict_fitted, predict_mixed, predict_new
from spicestat.pooled.states import State, StateRows, row_places, state_rows

__all__ = ["Shares", "WeightedStates", "fit_lags", "fit_library", "fit_shares", "lag_rows"]

_LAGS = 5
_RIDGE_SDS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Standard deviations of people's weights of lags around the population's that are tried, in scaled units."""

_CONCENTRATIONS = (0.1, 1e6)
_TOLERANCE, _ROUNDS = 0.3, 30
_MEAN_SD = 0.5
"""Where nobody searches, all means are shrunken: few people with few trials do not say what 40 states are worth."""


@dataclass(frozen=True, eq=False)
class Shares:
    """How often N people choose each of A actions.

    Attributes
    ----------
    population : ndarray of shape (A,)
        With one choice of each action added, so that none is 0.
    person : ndarray of shape (N, A)
        Everybody's own, shrunken to the population's.
    concentration : float
        How many choices the population's shares are worth.
    """

    population: Floats
    person: Floats
    concentration: float


def fit_shares(data: Sessions) -> Shares:
    r"""Estimate choice shares of all choices but the first of each session, by empirical Bayes.

    Person i's are :math:`(n_{ia} + \kappa \pi_a) / (n_i + \kappa)` with the population's shares :math:`\pi`; the
    concentration :math:`\kappa` maximises the Dirichlet-multinomial likelihood of everybody's counts.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> data = pack_sessions([[0, 0, 0, 0, 0], [0, 1, 1, 1, 1]], np.zeros((2, 5)), [0, 1], n_actions=2)
    >>> found = fit_shares(data)
    >>> found.population, found.person.round(3)
    (array([0.5, 0.5]), array([[0.988, 0.012],
           [0.012, 0.988]]))
    """
    there = data.choice[1:] >= 0
    counts = np.zeros((int(data.person.max()) + 1, data.n_actions))
    np.add.at(counts, (np.broadcast_to(data.person, there.shape)[there], data.choice[1:][there]), 1.0)
    total = counts.sum(axis=0) + 1.0
    population = total / total.sum()
    low, high = np.log(_CONCENTRATIONS)
    found = minimize_scalar(lambda k: -_log_marginal(counts, np.exp(k) * population), bounds=(low, high))
    concentration = float(np.exp(found.x))
    weighted = counts + concentration * population
    return Shares(population, weighted / weighted.sum(axis=1, keepdims=True), concentration)


def _log_marginal(counts: Floats, pseudo: Floats) -> float:
    """Dirichlet-multinomial log-likelihood of counts (N, A) under pseudo-counts (A,)."""
    each = gammaln(counts + pseudo).sum(axis=1) - gammaln(pseudo).sum()
    return float((each + gammaln(pseudo.sum()) - gammaln(counts.sum(axis=1) + pseudo.sum())).sum())


@dataclass(frozen=True, eq=False)
class WeightedStates:
    """Weights of K states in the choices of N people, and of the population they come from.

    Attributes
    ----------
    mean : ndarray of shape (N, K)
        In logits per unit of the state.
    covariance : ndarray of shape (N, L, L)
        What is not known of the first L weights; the others are the population's.
    population : Kind
    """

    mean: Floats
    covariance: Floats
    population: Kind

    @property
    def n_free(self) -> int:
        """Number of weights: everybody's own, and those of the population."""
        n_people, n_own = self.covariance.shape[:2]
        return int(n_people * n_own + self.mean.shape[1] - n_own)

    def predict(self, rows: StateRows, who: Ints) -> Floats:
        """Probabilities (R, A) of choices by the people ``who`` (R,); -1 for one who was not fitted."""
        return predict_mixed(
            rows,
            who,
            lambda known: predict_fitted(known, self.mean, self.covariance),
            lambda new: predict_new(new, [self.population]),
        )


def lag_rows(data: Sessions, n_lags: int = _LAGS) -> StateRows:
    """Per action: whether it was chosen, and the reward that it showed, 1, 2, ... choices ago; and preferences.

    Examples
    --------
    >>> from spicestat.pooled.packed import pack_sessions
    >>> rows = lag_rows(pack_sessions([[0, 1, 1]], [[1.0, 0, 1]], [0], n_actions=2), n_lags=2)
    >>> rows.names
    ('chosen_1', 'reward_1', 'chosen_2', 'reward_2', 'constant_2')
    >>> rows.values[1]
    array([[0., 0., 1., 1., 0.],
           [1., 0., 0., 0., 1.]])
    """
    n_sessions = data.choice.shape[1]
    time, session = row_places(data)
    seen = np.stack([data.choice[..., None] == np.arange(data.n_actions), np.nan_to_num(data.reward)], axis=-1)
    padded = np.concatenate([np.zeros((n_lags, n_sessions, data.n_actions, 2)), seen])
    lags = [padded[time + n_lags - lag, session] for lag in range(1, n_lags + 1)]
    constant = np.broadcast_to(np.eye(data.n_actions)[:, 1:], (len(time), data.n_actions, data.n_actions - 1))
    names = [f"{what}_{lag}" for lag in range(1, n_lags + 1) for what in ("chosen", "reward")]
    names += [f"constant_{action + 1}" for action in range(1, data.n_actions)]
    return StateRows(
        np.concatenate([*lags, constant], axis=2),
        data.choice[time, session],
        data.person[session],
        session,
        data.trial[time, session],
        tuple(names),
    )


def fit_lags(data: Sessions) -> WeightedStates:
    """Weigh the last five choices and rewards: everybody's weights, with a ridge to those of all people together.

    The ridge is the one under which blocks of the data are predicted best when they are left out (`left_out`).
    """
    rows = lag_rows(data)
    design = make_design(rows, int(data.person.max()) + 1)
    folds = make_folds(rows, design.scale)
    together = fit_population(design, own=()).population.mean
    fits: list[PopulationFit] = []
    for sd in _RIDGE_SDS:
        population = Normal(together, sd**2 * np.eye(len(together)), np.arange(len(together)))
        found = posterior(design, population, fits[-1].posterior.mode if fits else None, tolerance=1e-4, skewed=False)
        fits.append(PopulationFit(population, found, float(found.log_marginal.sum()), converged=True, n_rounds=0))
    best = max(fits, key=lambda fit: float(left_out(folds, fit).sum()))
    # a ridge gives one value of every weight, and no distribution
    return _in_units(best, design.scale, known=True)


def fit_library(data: Sessions, states: Sequence[State], n_own: int) -> WeightedStates:
    """Weigh given states without a search, the first ``n_own`` by everybody's own weights (a mixed logit)."""
    design = make_design(state_rows(data, states), int(data.person.max()) + 1)
    fit = fit_population(design.single(), range(n_own), Prior(mean_sd=_MEAN_SD), tolerance=_TOLERANCE, rounds=_ROUNDS)
    return _in_units(fit, design.scale)


def _in_units(fit: PopulationFit, scale: Floats, known: bool = False) -> WeightedStates:
    """From weights of scaled states to weights of states; ``known``: without what is not known of them."""
    population, found = fit.population, fit.posterior
    n_own = len(population.own)
    square = scale[:n_own, None] * scale[:n_own]
    mean: npt.NDArray[np.float64] = found.mode.copy()
    mean[:, :n_own] += found.shift
    covariance = np.zeros_like(found.covariance) if known else found.covariance
    kind = Kind(1.0, population.mean / scale, population.covariance / square, False)
    return WeightedStates(mean / scale, covariance / square, kind)
