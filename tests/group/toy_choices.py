"""Choice likelihoods that are known in closed form, to test one-stage group models against exact answers."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import xlog1py, xlogy

from spicestat.coefficients import CoefficientTable
from spicestat.group.inputs.links import find_link


@dataclass(frozen=True)
class Toy:
    """What every toy has: y (P, d), labels, coefficients without bounds."""

    y: np.ndarray
    labels: tuple[str, ...]

    @property
    def participants(self):
        return self.labels

    @property
    def terms(self):
        return tuple((f"module{k}", "1") for k in range(self.y.shape[1]))

    @property
    def by_chance(self):
        """So unlikely that nobody guesses."""
        return np.full(len(self.y), -1e3)

    @property
    def low(self):
        return np.full(self.y.shape[1], -np.inf)

    @property
    def high(self):
        return np.full(self.y.shape[1], np.inf)


@dataclass(frozen=True)
class GaussianChoices(Toy):
    """Log-likelihood log N(y_i; g(coefficients), V_i); g is the identity or a link.

    precision (P, d, d) is V^-1; who has 0 there is a participant without choices.
    """

    precision: np.ndarray
    links: tuple[str, ...] | None = None

    @property
    def n_trials(self):
        return np.where(self.precision.any(axis=(1, 2)), 10, 0)

    @property
    def V(self):  # noqa: N802
        return np.linalg.inv(self.precision)

    def unconstrained(self, coefficients):
        if self.links is None:
            return coefficients
        columns = [find_link(name).to_unconstrained(coefficients[..., k]) for k, name in enumerate(self.links)]
        return np.stack(columns, axis=-1)

    def log_likelihood(self, coefficients):
        away = self.unconstrained(coefficients) - self.y
        known = self.n_trials > 0
        log_det = np.linalg.slogdet(np.where(known[:, None, None], self.precision, np.eye(self.y.shape[1])))[1]
        constant = 0.5 * (log_det - known * self.y.shape[1] * np.log(2 * np.pi))
        return constant - 0.5 * np.einsum("...pk,pkl,...pl->...p", away, self.precision, away)

    def derivatives(self, coefficients):
        u = self.unconstrained(coefficients)
        gradient, information = -np.einsum("pkl,pl->pk", self.precision, u - self.y), self.precision
        if self.links is not None:
            links = [find_link(name) for name in self.links]
            slope = np.stack([link.derivative(u[:, k]) for k, link in enumerate(links)], axis=-1)
            bend = np.stack([link.second_derivative(u[:, k]) for k, link in enumerate(links)], axis=-1)
            # of the inverse function
            information = information / (slope[:, :, None] * slope[:, None, :])
            information = information + (gradient * bend / slope**3)[:, :, None] * np.eye(u.shape[1])
            gradient = gradient / slope
        return self.log_likelihood(coefficients), gradient, information

    def select(self, people):
        labels = tuple(self.labels[row] for row in people)
        return replace(self, y=self.y[people], labels=labels, precision=self.precision[people])


@dataclass(frozen=True)
class Coins(Toy):
    """Participants throw coins: a coefficient is a coin's probability of heads, y (P, d) heads of n (P, d).

    Outside [0, 1] the log-likelihood is minus infinity.
    """

    n: np.ndarray

    @property
    def n_trials(self):
        return self.n.sum(axis=1)

    def log_likelihood(self, coefficients):
        inside = (coefficients >= 0) & (coefficients <= 1)
        p = np.where(inside, coefficients, 0.5)
        value = xlogy(self.y, p) + xlog1py(self.n - self.y, -p)
        return np.where(inside, value, -np.inf).sum(axis=-1)

    def derivatives(self, coefficients):
        p = coefficients
        gradient = self.y / p - (self.n - self.y) / (1 - p)
        information = self.y / p**2 + (self.n - self.y) / (1 - p) ** 2
        return self.log_likelihood(p), gradient, information[:, :, None] * np.eye(p.shape[1])

    def select(self, people):
        return replace(self, y=self.y[people], labels=tuple(self.labels[row] for row in people), n=self.n[people])


@dataclass(frozen=True)
class ToyFit:
    """What `spice_group` needs of a fit."""

    coefficients: CoefficientTable
    likelihood: Toy

    def choice_likelihood(self):
        return self.likelihood


def labels(n):
    return tuple(f"s{row:03d}" for row in range(n))


def gaussian_study(n, sigma, seed=0, *, error=0.5, slope=0.3, links=None):
    """Draw y_i = .2 k + slope z_i + u_i + e_i: a toy likelihood, and the design matrix (n, 2)."""
    rng = np.random.default_rng(seed)
    d = len(sigma)
    X = np.column_stack([np.ones(n), rng.standard_normal(n)])
    factor = rng.standard_normal((n, d, d + 2))
    V = error**2 * rng.uniform(0.3, 1.7, n)[:, None, None] * (factor @ factor.transpose(0, 2, 1)) / (d + 2)
    truth = 0.2 * np.arange(d) + slope * X[:, 1:] + rng.standard_normal((n, d)) @ np.linalg.cholesky(sigma).T
    y = truth + np.einsum("pkl,pl->pk", np.linalg.cholesky(V), rng.standard_normal((n, d)))
    return GaussianChoices(y, labels(n), np.linalg.inv(V), links), X


def toy_fit(likelihood, people, at_bound=0):
    """A fit whose estimates are a Gaussian toy's y; the first ``at_bound`` participants hit a bound."""
    n, d = likelihood.y.shape
    natural = likelihood.y
    if likelihood.links is not None:
        columns = [find_link(name).to_natural(natural[:, k]) for k, name in enumerate(likelihood.links)]
        natural = np.column_stack(columns)
    frame = pd.DataFrame(
        {
            "participant": np.repeat(likelihood.labels, d),
            "module": [module for module, _ in likelihood.terms] * n,
            "term": [term for _, term in likelihood.terms] * n,
            "estimate": natural.ravel(),
            "std_error": 0.1,
            "converged": True,
            "at_bound": np.repeat(np.arange(n) < at_bound, d),
        }
    )
    return ToyFit(CoefficientTable.from_frame(frame, people=people.assign(participant=likelihood.labels)), likelihood)
