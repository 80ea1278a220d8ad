"""Settings of the Bayesian group models: sampler, priors, and the criterion of convergence."""

from __future__ import annotations

from dataclasses import dataclass

from spicestat._checks import real_number, seed_number, whole_number

__all__ = ["MIN_ESS", "MAX_RHAT", "SamplerSettings"]

MAX_RHAT = 1.01
"""A posterior counts as converged only if R-hat of every parameter is below this."""
MIN_ESS = 400.0
"""A posterior counts as converged only if the effective sample sizes of every parameter are above this."""


@dataclass(frozen=True)
class SamplerSettings:
    r"""Settings that both Bayesian group models share.

    Priors are stated in the data's own spread, so that they mean the same in any unit: :math:`s_k` is the spread of
    equation term k over participants, :math:`m_k` its centre, :math:`s_x` the standard deviation of a covariate.

    .. math::
        \text{value at average covariates} \sim N(m_k,\ (a s_k)^2), \quad
        \text{covariate effect} \sim N(0,\ (a s_k / s_x)^2), \quad
        \text{sd}_k \sim t^+_\nu(0, b s_k), \quad
        \text{correlations} \sim \mathrm{LKJ}(\eta)

    Without an intercept in the formula every coefficient has mean 0, and the root mean squares of the term and of
    the covariate stand for :math:`s_k` and :math:`s_x`.

    Attributes
    ----------
    draws : int, default 1000
        Kept draws of each chain, 4 or more.
    tune : int, default 500
        Iterations before them that adapt step size and mass matrix, 50 or more.
    chains : int, default 4
        1 or more; they run side by side. R-hat needs 2.
    seed : int, default 0
        The same seed, data and machine give the same draws.
    target_accept : float, default 0.9
        In (0, 1). Raise it when there are divergences.
    prior_scale : float, default 2.5
        a, positive.
    prior_sd_scale : float, default 1.0
        b, positive.
    prior_sd_df : float, default 3.0
        Degrees of freedom of the half-t distribution, positive; 1 is half-Cauchy, 100 nearly half-normal.
    prior_lkj : float, default 2.0
        eta, positive: 1 is uniform over correlation matrices, larger values pull correlations to 0.
    """

    draws: int = 1000
    tune: int = 500
    chains: int = 4
    seed: int = 0
    target_accept: float = 0.9
    prior_scale: float = 2.5
    prior_sd_scale: float = 1.0
    prior_sd_df: float = 3.0
    prior_lkj: float = 2.0

    def __post_init__(self) -> None:
        for name, low in (("draws", 4), ("tune", 50), ("chains", 1)):
            whole_number(name, getattr(self, name), low)
        real_number("target_accept", self.target_accept, 0.0, 1.0, low_included=False)
        for name in ("prior_scale", "prior_sd_scale", "prior_sd_df", "prior_lkj"):
            real_number(name, getattr(self, name), 0.0, low_included=False)
        seed_number(self.seed)
