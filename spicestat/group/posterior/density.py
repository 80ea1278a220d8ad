r"""Log posterior densities of the Bayesian group models, on the unconstrained scale (JAX, loaded when first used).

The unconstrained vector z has, for p covariates and d equations, the p d fixed effects in units of their prior
standard deviation, the d logarithms of the standard deviations between participants, and the d (d - 1) / 2
partial correlations as :math:`\tanh^{-1}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np

from spicestat.group.posterior.engine import load_jax

__all__ = ["Parameters", "density_size", "known_covariance", "on_mixture", "unpack"]

# what `unpack` returns: fixed effects (p, d), standard deviations (d,), Cholesky factor of the correlations (d, d)
Parameters = tuple[np.ndarray, np.ndarray, np.ndarray]


def density_size(n_covariates: int, n_equations: int, correlated: bool) -> int:
    """Return the length of the unconstrained vector.

    Examples
    --------
    >>> density_size(2, 3, True), density_size(2, 3, False)
    (12, 9)
    """
    return n_covariates * n_equations + n_equations + (n_equations * (n_equations - 1) // 2 if correlated else 0)


def unpack(draws: np.ndarray, location_scale: np.ndarray) -> Parameters:
    """Return fixed effects, standard deviations and the correlations' Cholesky factor of unconstrained draws.

    Parameters
    ----------
    draws : ndarray of shape (n, M)
    location_scale : ndarray of shape (p, d)
        Prior standard deviations of the fixed effects.

    Returns
    -------
    gamma : ndarray of shape (n, p, d)
    sd : ndarray of shape (n, d)
    root : ndarray of shape (n, d, d)
        Lower triangular with rows of length 1.
    """
    p, d = location_scale.shape
    gamma = draws[:, : p * d].reshape(-1, p, d) * location_scale
    sd = np.exp(draws[:, p * d : p * d + d])
    root = np.zeros((len(draws), d, d))
    partial = np.tanh(draws[:, p * d + d :])
    position = 0
    for row in range(d):
        left = np.ones(len(draws))
        for column in range(row):
            if partial.shape[1]:
                root[:, row, column] = partial[:, position] * np.sqrt(left)
                left = left * (1.0 - partial[:, position] ** 2)
                position += 1
        root[:, row, row] = np.sqrt(left)
    return gamma, sd, root


def known_covariance(z: Any, data: Mapping[str, Any]) -> Any:
    r"""Log posterior of the model with known sampling covariances, participants' effects integrated out.

    .. math:: y_i \sim N(X_i\gamma,\ S_i + \Sigma)

    ``data``: ``y`` (N, d), ``covariance`` (N, d, d), ``observed`` (N, d) 1 or 0, ``X`` (N, p) and the
    priors. A missing estimate has ``y`` 0 and rows of the identity in ``covariance``: it adds a constant.
    """
    jnp = _numpy()
    gamma, sd, root, log_prior = _parameters(z, data)
    factor = sd[:, None] * root
    observed = data["observed"]
    sigma = factor @ factor.T * observed[:, :, None] * observed[:, None, :]
    residual = (data["y"] - data["X"] @ gamma) * observed
    whole = jnp.moveaxis(data["covariance"] + sigma, 0, -1)
    log_det, squares = _log_det_and_squares(whole, residual.T)
    return log_prior - 0.5 * jnp.sum(log_det + squares)


def on_mixture(z: Any, data: Mapping[str, Any]) -> Any:
    r"""Log posterior of the one-stage model, participants' effects integrated out of mixtures that stand for them.

    .. math:: \prod_i \int \sum_k \exp\{v_{ik} + s_{ik}'(\theta - a_{ik}) - \tfrac12 (\theta - a_{ik})' P_{ik}
        (\theta - a_{ik})\}\ N(\theta;\ X_i\gamma,\ FF')\,d\theta

    With :math:`\delta = X_i\gamma - a` and :math:`g = s - P\delta`, a component integrates to
    :math:`\exp\{v + s'\delta - \tfrac12\delta'P\delta + \tfrac12 (F'g)'A^{-1}F'g\}\,|A|^{-1/2}`,
    :math:`A = I + F'PF`: nothing is inverted that becomes singular as the group distribution narrows.

    ``data``: ``anchor`` (d, N, K), ``value`` (N, K), ``slope`` (d, N, K), ``precision`` (d, d, N, K), ``X`` (N, p)
    and the priors.
    """
    jnp = _numpy()
    gamma, sd, root, log_prior = _parameters(z, data)
    factor = sd[:, None] * root
    away = (data["X"] @ gamma).T[:, :, None] - data["anchor"]
    curved = jnp.sum(data["precision"] * away[None], axis=1)
    pull = jnp.tensordot(factor.T, data["slope"] - curved, 1)
    half = jnp.tensordot(factor.T, data["precision"], 1)
    whole = jnp.eye(len(sd))[:, :, None, None] + jnp.einsum("ijnk,jl->ilnk", half, factor)
    log_det, squares = _log_det_and_squares(whole, pull)
    value = data["value"] + jnp.sum((data["slope"] - 0.5 * curved) * away, axis=0) + 0.5 * (squares - log_det)
    return log_prior + jnp.sum(load_jax().nn.logsumexp(value, axis=1))


@cache
def _numpy() -> Any:
    return load_jax().numpy


def _parameters(z: Any, data: Mapping[str, Any]) -> tuple[Any, Any, Any, Any]:
    """Return gamma (p, d), sd (d,), the correlations' Cholesky factor (d, d) and the log prior with the Jacobian."""
    jnp = _numpy()
    p, d = data["location_scale"].shape
    sd_scale, sd_df, lkj = data["sd_scale"], data["sd_df"], data["lkj"]
    standard, log_sd, free = z[: p * d], z[p * d : p * d + d], z[p * d + d :]
    sd = jnp.exp(log_sd)
    log_prior = -0.5 * jnp.sum(standard**2)
    log_prior += jnp.sum(log_sd - 0.5 * (sd_df + 1.0) * jnp.log1p((sd / sd_scale) ** 2 / sd_df))
    root, log_correlations = _correlations(free, d, lkj) if len(free) else (jnp.eye(d), 0.0)
    return standard.reshape(p, d) * data["location_scale"], sd, root, log_prior + log_correlations


def _correlations(free: Any, d: int, lkj: Any) -> tuple[Any, Any]:
    r"""Build the Cholesky factor from partial correlations, and its log LKJ density with the Jacobian.

    In partial correlations r of column j (from 0) the LKJ(eta) density is a product of
    :math:`(1 - r^2)^{\eta - 1 + (d - 2 - j) / 2}`; :math:`r = \tanh z` adds one power of :math:`1 - r^2`.
    """
    jnp = _numpy()
    partial = jnp.tanh(free)
    # log(1 - tanh(z)^2) without cancellation
    log_left = 2.0 * (jnp.log(2.0) - jnp.abs(free) - jnp.log1p(jnp.exp(-2.0 * jnp.abs(free))))
    rows, log_density, position = [], 0.0, 0
    for row in range(d):
        entries, left = [], 0.0
        for column in range(row):
            entries.append(partial[position] * jnp.exp(0.5 * left))
            left += log_left[position]
            log_density += (lkj + 0.5 * (d - 2 - column)) * log_left[position]
            position += 1
        rows.append(jnp.stack([*entries, jnp.exp(0.5 * jnp.asarray(left)), *[jnp.zeros(())] * (d - 1 - row)]))
    return jnp.stack(rows), log_density


def _log_det_and_squares(matrix: Any, vector: Any) -> tuple[Any, Any]:
    """Return log determinants and squared Mahalanobis lengths of cases, (d, d, ...) and (d, ...) to (...) each.

    Cholesky's algorithm over all cases at once: with small d much faster than one factorisation per case.
    """
    jnp = _numpy()
    d = len(vector)
    factor: dict[tuple[int, int], Any] = {}
    solved: list[Any] = []
    log_det, squares = 0.0, 0.0
    for column in range(d):
        pivot = matrix[column, column] - sum(factor[column, k] ** 2 for k in range(column))
        factor[column, column] = jnp.sqrt(pivot)
        for row in range(column + 1, d):
            rest = matrix[row, column] - sum(factor[row, k] * factor[column, k] for k in range(column))
            factor[row, column] = rest / factor[column, column]
        rest = vector[column] - sum(factor[column, k] * solved[k] for k in range(column))
        solved.append(rest / factor[column, column])
        log_det += jnp.log(pivot)
        squares += solved[column] ** 2
    return log_det, squares
