"""Bayesian meta-regression: participants' estimates with known sampling covariances, by NUTS."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import median_abs_deviation

from spicestat.errors import ConfigError, DataError
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs
from spicestat.group.methods.registry import Method
from spicestat.group.posterior.density import density_size, known_covariance, unpack
from spicestat.group.posterior.engine import Chains, load_arviz, sample_chains
from spicestat.group.posterior.sampling import SamplerSettings
from spicestat.group.posterior.scaling import Scaling, make_scaling
from spicestat.group.posterior.tables import PosteriorDraws, collect_draws

__all__ = ["Estimates", "Settings", "estimate", "posterior_draws", "sample", "stack_estimates", "METHOD"]

_INDEPENDENT = (
    "the coefficient table has no covariances between the terms of a participant: their sampling errors are taken "
    "to be independent."
)


@dataclass(frozen=True)
class Settings(SamplerSettings):
    """Settings of `estimate`: those of the sampler and the priors, and whether equation terms are related.

    Attributes
    ----------
    multivariate : bool, default True
        Whether all equation terms are analysed together: correlated between participants, and with the
        participants' full sampling covariances. False: each term for itself.
    """

    multivariate: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.multivariate, bool):
            raise ConfigError("`multivariate` must be true or false", got=repr(self.multivariate))


@dataclass(frozen=True)
class Estimates:
    """Estimates of N participants for d equation terms.

    Attributes
    ----------
    y : ndarray of shape (N, d)
        0 where not observed.
    covariance : ndarray of shape (N, d, d)
        Sampling covariances; rows and columns of what is not observed are those of the identity.
    observed : bool ndarray of shape (N, d)
    X : ndarray of shape (N, p)
        Design matrix.
    participants : tuple of length N
        Labels.
    complete : bool
        Whether every participant's sampling covariance was known.
    """

    y: np.ndarray
    covariance: np.ndarray
    observed: np.ndarray
    X: np.ndarray
    participants: tuple[object, ...]
    complete: bool


def estimate(inputs: GroupInputs, settings: Settings | None = None) -> GroupEstimates:
    r"""Sample the posterior of a random-effects model of participants' estimates.

    .. math:: y_i \mid \theta_i \sim N(\theta_i, S_i), \qquad \theta_i \sim N(X_i\gamma, \Sigma)

    with known sampling covariances :math:`S_i`. The :math:`\theta_i` are integrated out,
    :math:`y_i \sim N(X_i\gamma, S_i + \Sigma)`, which leaves a posterior of few dimensions, and drawn afterwards.
    Priors: `SamplerSettings`; the centre of a term is its median over participants, its
    spread 1.4826 times the median absolute deviation.

    Limits. Estimates whose standard errors depend on their size (learning rates near a bound) bias every
    model with known covariances; the one-stage model does not need them.

    Raises
    ------
    ConfigError
        The packages of ``pip install 'spicestat[bayes]'`` are missing.

    References
    ----------
    Gelman (2006), https://doi.org/10.1214/06-BA117A; Lewandowski, Kurowicka & Joe (2009),
    https://doi.org/10.1016/j.jmva.2009.04.008.
    """
    chosen = settings or Settings()
    load_arviz()
    estimates = stack_estimates(inputs, joint=chosen.multivariate)
    scaling = _scaling_of(estimates)
    correlated = chosen.multivariate and len(inputs.equations) > 1
    chains = sample(estimates, scaling, chosen, correlated=correlated, report=inputs.report)
    posterior = posterior_draws(estimates, scaling, chains, chosen, correlated=correlated)
    shown = np.where(estimates.observed, estimates.y, np.nan)
    hidden = ~(estimates.observed[:, :, None] & estimates.observed[:, None, :])
    return collect_draws(
        posterior,
        [equation.key for equation in inputs.equations],
        inputs.design.names,
        conf_level=inputs.conf_level,
        n_excluded=len(inputs.table.participants) - len(estimates.participants),
        share_unidentified=max(equation.share_unidentified for equation in inputs.equations),
        data={
            "sampling_covariance": (
                ("participant", "equation_term", "equation_term_2"),
                np.where(hidden, np.nan, estimates.covariance),
            )
        },
        observed={"estimate": (("participant", "equation_term"), shown)},
        messages=(_INDEPENDENT,) if correlated and not estimates.complete else (),
    )


def stack_estimates(inputs: GroupInputs, *, joint: bool = True) -> Estimates:
    """Bring the estimates of all equations into one array.

    Parameters
    ----------
    inputs : GroupInputs
    joint : bool, default True
        Whether to use the covariances between a participant's terms where the table has them.

    Raises
    ------
    DataError
        A participant's sampling covariance is not positive definite.
    """
    equations = inputs.equations
    rows = np.unique(np.concatenate([equation.rows for equation in equations]))
    n, d = len(rows), len(equations)
    y, observed = np.zeros((n, d)), np.zeros((n, d), dtype=bool)
    covariance = np.tile(np.eye(d), (n, 1, 1))
    for k, equation in enumerate(equations):
        where = np.searchsorted(rows, equation.rows)
        y[where, k], observed[where, k] = equation.estimate, True
        covariance[where, k, k] = equation.variance
    people = inputs.design.rows[rows]
    complete = joint and _add_covariances(covariance, observed, inputs, people)
    labels = inputs.table.participants
    chosen = tuple(labels[position] for position in people)
    _check_positive(covariance, chosen)
    return Estimates(y, covariance, observed, inputs.design.matrix[rows], chosen, complete)


def sample(
    estimates: Estimates,
    scaling: Scaling,
    settings: SamplerSettings,
    *,
    correlated: bool,
    report: Callable[[int, int, str], object] | None = None,
) -> Chains:
    """Draw from the posterior on the standard scale; what the draws mean is up to `posterior_draws`.

    Parameters
    ----------
    estimates : Estimates
    scaling : Scaling
        Where the priors are stated.
    settings : SamplerSettings
    correlated : bool
        Whether equation terms may be correlated between participants.
    report : callable, optional
        See `sample_chains`.
    """
    p, d = estimates.X.shape[1], estimates.y.shape[1]
    outer = scaling.spread[:, None] * scaling.spread
    both = estimates.observed[:, :, None] & estimates.observed[:, None, :]
    data = {
        "y": np.where(estimates.observed, (estimates.y - scaling.centre) / scaling.spread, 0.0),
        "covariance": np.where(both, estimates.covariance / outer, estimates.covariance),
        "observed": estimates.observed.astype("float64"),
        "X": estimates.X @ scaling.design,
        **prior_data(scaling, settings, p),
    }
    return sample_chains(
        known_covariance,
        data,
        density_size(p, d, correlated),
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        seed=settings.seed,
        target_accept=settings.target_accept,
        report=report,
    )


def prior_data(scaling: Scaling, settings: SamplerSettings, p: int) -> dict[str, np.ndarray]:
    """Return the priors on the standard scale, as the densities read them."""
    return {
        "location_scale": np.tile(settings.prior_scale * scaling.location, (p, 1)),
        "sd_scale": np.array(float(settings.prior_sd_scale)),
        "sd_df": np.array(float(settings.prior_sd_df)),
        "lkj": np.array(float(settings.prior_lkj)),
    }


def posterior_draws(
    estimates: Estimates, scaling: Scaling, chains: Chains, settings: SamplerSettings, *, correlated: bool
) -> PosteriorDraws:
    """Turn draws on the standard scale into draws of parameters and of participants' coefficients."""
    p, d = estimates.X.shape[1], estimates.y.shape[1]
    shape = chains.draws.shape[:2]
    flat = chains.draws.reshape(-1, chains.draws.shape[-1])
    standard, sd, root = unpack(flat, prior_data(scaling, settings, p)["location_scale"])
    gamma, sd = scaling.fixed_effects(standard), sd * scaling.spread
    factor = sd[:, :, None] * root
    theta, log_likelihood = _participants(estimates, gamma, factor, settings.seed)
    return PosteriorDraws(
        chains=chains,
        gamma=gamma.reshape(*shape, p, d),
        sd=sd.reshape(*shape, d),
        correlation=(root @ root.transpose(0, 2, 1)).reshape(*shape, d, d),
        theta=theta.reshape(*shape, *theta.shape[1:]),
        log_likelihood=log_likelihood.reshape(*shape, -1),
        design=estimates.X,
        participants=estimates.participants,
        correlated=correlated,
    )


def _participants(
    estimates: Estimates, gamma: np.ndarray, factor: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw every participant's coefficients given their estimates, one for each draw of the group: (n, N, d).

    A draw from the prior with made-up data is moved by how the real data differ from the made-up ones
    (Matheron's rule), so that only the covariance of the data is ever factored.
    """
    rng = np.random.default_rng([seed, 1])
    n_draws, (n, d) = len(gamma), estimates.y.shape
    error_root = np.linalg.cholesky(estimates.covariance)
    theta, log_likelihood = np.empty((n_draws, n, d)), np.empty((n_draws, n))
    for draw in range(n_draws):
        mean = estimates.X @ gamma[draw]
        sigma = factor[draw] @ factor[draw].T
        prior = mean + rng.normal(size=(n, d)) @ factor[draw].T
        made_up = prior + np.einsum("nij,nj->ni", error_root, rng.normal(size=(n, d)))
        seen = estimates.observed
        whole = estimates.covariance + sigma * (seen[:, :, None] & seen[:, None, :])
        away = np.stack([(estimates.y - made_up) * seen, (estimates.y - mean) * seen], axis=-1)
        solved = np.linalg.solve(whole, away)
        theta[draw] = prior + solved[:, :, 0] * seen @ sigma
        squares = np.sum(away[:, :, 1] * solved[:, :, 1], axis=1)
        constant = seen.sum(axis=1) * np.log(2.0 * np.pi)
        log_likelihood[draw] = -0.5 * (squares + np.linalg.slogdet(whole)[1] + constant)
    return theta, log_likelihood


def _scaling_of(estimates: Estimates) -> Scaling:
    columns = [estimates.y[estimates.observed[:, k], k] for k in range(estimates.y.shape[1])]
    centre = np.array([np.median(values) for values in columns])
    spread = np.array([float(median_abs_deviation(values, scale="normal")) or values.std() for values in columns])
    return make_scaling(estimates.X, centre, spread)


def _add_covariances(covariance: np.ndarray, observed: np.ndarray, inputs: GroupInputs, people: np.ndarray) -> bool:
    """Fill in what the table knows of covariances between terms; whether it knew all that are needed."""
    d = observed.shape[1]
    needed = observed[:, :, None] & observed[:, None, :] & ~np.eye(d, dtype=bool)
    if inputs.table.covariance is None:
        return not needed.any()
    columns = [inputs.table.terms.index(equation.key) for equation in inputs.equations]
    blocks = inputs.table.covariance[people][:, columns][:, :, columns]
    known = needed & np.isfinite(blocks)
    covariance[known] = blocks[known]
    return bool((known == needed).all())


def _check_positive(covariance: np.ndarray, labels: Sequence[object]) -> None:
    scale = np.sqrt(np.einsum("nii->ni", covariance))
    smallest = np.linalg.eigvalsh(covariance / (scale[:, :, None] * scale[:, None, :]))[:, 0]
    bad = np.flatnonzero(smallest <= 1e-12)
    if len(bad):
        raise DataError(
            "the sampling covariance of a participant is not positive definite",
            got=", ".join(repr(labels[position]) for position in bad[:5]),
            do="check the covariances of the coefficient table, or pass multivariate=False",
        )


METHOD = Method(
    estimate,
    "bayes meta",
    "the posterior of the model of `multivariate_meta`, by NUTS",
    Settings,
)
