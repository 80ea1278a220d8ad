"""Rates: how fast states move, by profiling. Given the rates the weights are concave, so a grid finds every maximum.

A rate is the population's (one value, `profile_rates`), or people's own (a distribution over a grid, `spread_rates`),
which the marginal likelihood decides between. Rates are bounded, so that no state can run away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from spicestat.pooled.contrasts import Design, make_design
from spicestat.pooled.em import PopulationFit, fit_population
from spicestat.pooled.maximise import Prior, log_prior
from spicestat.pooled.mixture import Component, MixtureFit, fit_mixture
from spicestat.pooled.packed import Floats, Sessions
from spicestat.pooled.states import State, state_rows

__all__ = ["GRID", "PersonRates", "Profile", "RateAt", "profile_rates", "spread_rates"]

GRID: tuple[float, ...] = (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.88, 0.93, 0.97)
_LOWEST, _HIGHEST = 0.0, 0.995
_EDGE = 1e-3
_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0
_ROUNDS = 4


class RateAt(NamedTuple):
    """Which rate is meant: of which state, of which of its signals, and the name of the setting."""

    state: int
    signal: int = 0
    setting: str = "keep"


@dataclass(frozen=True, eq=False)
class Profile:
    """Rates of the population at the maximum of the marginal likelihood.

    Attributes
    ----------
    states : tuple of State
        With the rates found.
    fit : PopulationFit
        Of the weights, at these rates.
    rates : ndarray of shape (R,)
    std_error : ndarray of shape (R,)
        From the curvature of each rate's profile; NaN where it has none, as at a bound.
    scale : ndarray of shape (K,)
        By what the states were divided.
    n_fits : int
    """

    states: tuple[State, ...]
    fit: PopulationFit
    rates: Floats
    std_error: Floats
    scale: Floats
    n_fits: int


class _Profiler:
    """Marginal likelihood as a function of the rates, warm-started and remembered."""

    def __init__(
        self,
        data: Sessions,
        states: Sequence[State],
        places: Sequence[Sequence[RateAt]],
        own: Sequence[int] | None,
        prior: Prior | None,
    ):
        self.data, self.states, self.places, self.own, self.prior = data, tuple(states), places, own, prior
        self.rows = state_rows(data, self.states)
        self.scale = make_design(self.rows).scale
        self.known: dict[tuple[float, ...], tuple[float, PopulationFit]] = {}
        self.latest: PopulationFit | None = None

    def at(self, rates: Sequence[float]) -> tuple[State, ...]:
        """Return the states with these rates."""
        states = list(self.states)
        for place, rate in zip(self.places, rates, strict=True):
            for where in place:
                states[where.state] = states[where.state].with_rate(where.signal, where.setting, float(rate))
        return tuple(states)

    def design(self, rates: Sequence[float]) -> Design:
        """Lay out the states with these rates, computing only those that differ."""
        states, values = self.at(rates), self.rows.values.copy()
        changed = [k for k, declared in enumerate(states) if declared != self.states[k]]
        if changed:
            values[:, :, changed] = state_rows(self.data, [states[k] for k in changed]).values
        rows = type(self.rows)(**{**vars(self.rows), "values": values})
        return make_design(rows, scale=self.scale)

    def fit(self, rates: Sequence[float], tolerance: float = 1e-2) -> tuple[float, PopulationFit]:
        """Penalised marginal log-likelihood at these rates, and the fit of the weights."""
        key = tuple(round(float(r), 6) for r in rates)
        if key not in self.known:
            found = fit_population(self.design(key), self.own, self.prior, self.latest, tolerance, _ROUNDS, polish=True)
            self.known[key] = found.log_marginal + log_prior(found.population, self.prior), found
            self.latest = found
        return self.known[key]


def profile_rates(
    data: Sessions,
    states: Sequence[State],
    places: Sequence[Sequence[RateAt]],
    own: Sequence[int] | None = None,
    prior: Prior | None = Prior(),  # noqa: B008 (frozen)
    grid: Sequence[float] = GRID,
    sweeps: int = 2,
) -> Profile:
    """Estimate rates of the population: each in turn over the whole grid, then between its neighbours.

    Parameters
    ----------
    data : Sessions
    states : sequence of K State
    places : sequence of R sequences of RateAt
        What each of the R rates sets; several places where states share a rate.
    own : sequence of int, optional
        Positions of the states whose weights are people's own. Default: all.
    prior : Prior or None
    grid : sequence of float in [0, 1)
    sweeps : int, default 2
        How often each rate has its turn.
    """
    profiler = _Profiler(data, states, places, own, prior)
    rates = [float(getattr(states[p[0].state].signals[p[0].signal], p[0].setting)) for p in places]
    for sweep in range(sweeps):
        for r in range(len(rates)):
            near = grid if sweep == 0 else [rates[r]]
            rates[r] = _refine(profiler, rates, r, sorted({*near, rates[r]}))
    errors = np.array([_std_error(profiler, rates, r) for r in range(len(rates))])
    fit = profiler.fit(rates)[1]
    return Profile(profiler.at(rates), fit, np.array(rates), errors, profiler.scale, len(profiler.known))


def _height(profiler: _Profiler, rates: Sequence[float], r: int, rate: float) -> float:
    return profiler.fit([*rates[:r], float(rate), *rates[r + 1 :]])[0]


def _refine(profiler: _Profiler, rates: Sequence[float], r: int, grid: Sequence[float]) -> float:
    """Best rate of a grid, then golden sections between its neighbours."""
    heights = [_height(profiler, rates, r, rate) for rate in grid]
    best = int(np.argmax(heights))
    low = grid[best - 1] if best else max(_LOWEST, grid[best] - 0.1 * (1.0 - grid[best]) - 0.05)
    high = grid[best + 1] if best + 1 < len(grid) else min(_HIGHEST, grid[best] + 0.3 * (1.0 - grid[best]))
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    while high - low > 0.02 * (1.0 - low) + _EDGE:
        if _height(profiler, rates, r, left) > _height(profiler, rates, r, right):
            high, right, left = right, left, right - _GOLDEN * (right - low)
        else:
            low, left, right = left, right, left + _GOLDEN * (high - left)
    tried = [*grid, low, high, left, right]
    return float(max(tried, key=lambda rate: _height(profiler, rates, r, rate)))


def _std_error(profiler: _Profiler, rates: Sequence[float], r: int) -> float:
    """Read a standard error off a parabola through three heights of the profile, the other rates held."""
    step = min(0.1 * (1.0 - rates[r]), 0.5 * rates[r], 0.5 * (1.0 - rates[r]))
    if step < _EDGE / 10.0:
        return float("nan")
    low, here, high = (_height(profiler, rates, r, rates[r] + d) for d in (-step, 0.0, step))
    curvature = (2.0 * here - low - high) / step**2
    return float(curvature**-0.5) if curvature > 0.0 else float("nan")


@dataclass(frozen=True, eq=False)
class PersonRates:
    """Rates that differ between people.

    Attributes
    ----------
    mixture : MixtureFit
        One component for each point of the grid.
    points : ndarray of shape (C, R)
        The grid.
    mean, sd : ndarray of shape (N, R)
        Posterior mean and standard deviation of everybody's rates.
    gain : float
        Marginal log-likelihood above that of one rate for everybody, less BIC's penalty of the distribution's
        C - 1 shares; above 0 where the data identify people's own rates.
    """

    mixture: MixtureFit
    points: Floats
    mean: Floats
    sd: Floats
    gain: float


def spread_rates(
    data: Sessions,
    profile: Profile,
    places: Sequence[Sequence[RateAt]],
    own: Sequence[int] | None = None,
    prior: Prior | None = Prior(),  # noqa: B008 (frozen)
    grid: Sequence[float] = GRID,
    rounds: int = 60,
) -> PersonRates:
    """Let rates differ between people: a distribution over all points of a grid, by EM.

    Parameters
    ----------
    data : Sessions
    profile : Profile
        With one rate for everybody, to start from and to compare with.
    places, own, prior, grid
        As in `profile_rates`.
    rounds : int, default 60
        Most rounds of EM.
    """
    profiler = _Profiler(data, profile.states, places, own, prior)
    profiler.scale = profile.scale
    points = np.array(list(product(grid, repeat=len(places))))
    components = [Component(profiler.design(point.tolist())) for point in points]
    mixture = fit_mixture(components, profile.fit, prior, tolerance=0.1, rounds=rounds)
    mean = mixture.belongs @ points
    sd = np.sqrt(np.maximum(mixture.belongs @ points**2 - mean**2, 0.0))
    used = int((mixture.shares > 0.5 / len(mixture.belongs)).sum())
    price = 0.5 * max(used - 1 - len(places), 0) * float(np.log(len(mean)))
    return PersonRates(mixture, points, mean, sd, mixture.log_marginal - profile.fit.log_marginal - price)
