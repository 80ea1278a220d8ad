"""Choice likelihoods that are known in closed form, to test one-stage group models against exact answers."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import xlog1py, xlogy

from spicestat.group.links import find_link


@dataclass(frozen=True)
class Toy:
    """What every toy has: K coefficients without bounds and ten choices each."""

    @property
    def participants(self):
        return tuple(f"s{row:02d}" for row in range(len(self.y)))

    @property
    def terms(self):
        return tuple((f"module{k}", "1") for k in range(self.y.shape[1]))

    @property
    def n_trials(self):
        return np.full(len(self.y), 10)

    @property
    def low(self):
        return np.full(self.y.shape[1], -np.inf)

    @property
    def high(self):
        return np.full(self.y.shape[1], np.inf)


@dataclass(frozen=True)
class GaussianChoices(Toy):
    """Log-likelihood log N(y_i; g(coefficients), V_i); g is the identity or a link, V_i^-1 = 0 where nothing is known.

    y of shape (P, d), precision (P, d, d), links of length d.
    """

    y: np.ndarray
    precision: np.ndarray
    links: tuple[str, ...] | None = None

    def unconstrained(self, coefficients):
        if self.links is None:
            return coefficients
        return np.stack(
            [find_link(name).to_unconstrained(coefficients[..., k]) for k, name in enumerate(self.links)], axis=-1
        )

    @property
    def constant(self):
        known = np.linalg.eigvalsh(self.precision)[:, 0] > 0
        log_det = np.where(known, np.linalg.slogdet(np.where(known[:, None, None], self.precision, 1.0))[1], 0.0)
        return 0.5 * (log_det - known * self.y.shape[1] * np.log(2 * np.pi))

    def log_likelihood(self, coefficients):
        away = self.unconstrained(coefficients) - self.y
        return self.constant - 0.5 * np.einsum("...pk,pkl,...pl->...p", away, self.precision, away)

    def derivatives(self, coefficients):
        u = self.unconstrained(coefficients)
        pull = -np.einsum("pkl,pl->pk", self.precision, u - self.y)
        gradient, information = pull, self.precision
        if self.links is not None:
            links = [find_link(name) for name in self.links]
            slope = np.stack([link.derivative(u[:, k]) for k, link in enumerate(links)], axis=-1)
            bend = np.stack([link.second_derivative(u[:, k]) for k, link in enumerate(links)], axis=-1)
            gradient = pull / slope
            information = self.precision / (slope[:, :, None] * slope[:, None, :])
            information = information + (pull * bend / slope**3)[:, :, None] * np.eye(u.shape[1])
        return self.log_likelihood(coefficients), gradient, information

    def select(self, people):
        return replace(self, y=self.y[people], precision=self.precision[people])


@dataclass(frozen=True)
class Coins(Toy):
    """Participants throw a coin each: the coefficient is its probability of heads; y (P, 1) heads of n (P, 1).

    Outside (0, 1) the log-likelihood is minus infinity.
    """

    y: np.ndarray
    n: np.ndarray

    def log_likelihood(self, coefficients):
        p = coefficients
        inside = (p > 0) & (p < 1)
        safe = np.where(inside, p, 0.5)
        value = np.where(inside, xlogy(self.y, safe) + xlog1py(self.n - self.y, -safe), -np.inf)
        return value.sum(axis=-1)

    def derivatives(self, coefficients):
        p = coefficients
        gradient = self.y / p - (self.n - self.y) / (1 - p)
        information = self.y / p**2 + (self.n - self.y) / (1 - p) ** 2
        return self.log_likelihood(p), gradient, information[:, :, None] * np.eye(p.shape[1])

    def select(self, people):
        return replace(self, y=self.y[people], n=self.n[people])


def gaussian_study(n, sigma, seed=0, *, error=0.5, slope=0.3, links=None):
    """Draw y_i = gamma_0 + slope z_i + u_i + e_i: a toy likelihood, and the design matrix (n, 2)."""
    rng = np.random.default_rng(seed)
    d = len(sigma)
    X = np.column_stack([np.ones(n), rng.standard_normal(n)])
    factor = rng.standard_normal((n, d, d + 2))
    V = error**2 * rng.uniform(0.3, 1.7, n)[:, None, None] * (factor @ factor.transpose(0, 2, 1)) / (d + 2)
    truth = 0.2 * np.arange(d) + slope * X[:, 1:] + rng.standard_normal((n, d)) @ np.linalg.cholesky(sigma).T
    y = truth + np.einsum("pkl,pl->pk", np.linalg.cholesky(V), rng.standard_normal((n, d)))
    return GaussianChoices(y, np.linalg.inv(V), links), X
