"""The two Bayesian group models on simulated data, written for PyMC, and as spicestat samples them with numpyro."""

from __future__ import annotations

import numpy as np

from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.quadrature import Place
from spicestat.group.methods.bayes import Settings, sample_on_mixture
from spicestat.group.methods.bayes_meta import Estimates, posterior_draws, prior_data, sample
from spicestat.group.posterior.approximation import approximate_likelihoods
from spicestat.group.posterior.scaling import make_scaling

SIGMA = np.array([[0.25, 0.1, 0.0], [0.1, 0.25, 0.05], [0.0, 0.05, 0.5]])


def simulate(n, n_covariates, seed):
    """Estimates of three coefficients with known sampling covariances."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n), rng.normal(size=(n, n_covariates))])
    gamma = rng.normal(0, 0.5, (X.shape[1], 3))
    root = 0.2 * rng.normal(size=(n, 3, 5))
    covariance = root @ root.transpose(0, 2, 1)
    theta = X @ gamma + rng.multivariate_normal(np.zeros(3), SIGMA, n)
    y = theta + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), rng.normal(size=(n, 3)))
    return Estimates(y, covariance, np.ones((n, 3), dtype=bool), X, tuple(range(n)), True)


class NormalLikelihood:
    """What the choices would say if their likelihood were normal: then both models have the same posterior."""

    def __init__(self, estimates):
        self.y, self.precision = estimates.y, np.linalg.inv(estimates.covariance)

    def log_likelihood(self, coefficients):
        away = coefficients - self.y
        log_det = np.linalg.slogdet(self.precision)[1] - 3 * np.log(2 * np.pi)
        return 0.5 * (log_det - np.einsum("qpi,pij,qpj->qp", away, self.precision, away))


def mixture_of(estimates):
    """Mixtures for the participants' likelihoods, as `spicestat.group.methods.bayes.estimate` makes them."""
    group = np.linalg.inv(SIGMA)
    precision = np.linalg.inv(estimates.covariance)
    covariance = np.linalg.inv(precision + group)
    centre = estimates.X @ np.linalg.lstsq(estimates.X, estimates.y, rcond=None)[0]
    pull = np.einsum("nij,nj->ni", precision, estimates.y) + centre @ group
    place = Place(np.einsum("nij,nj->ni", covariance, pull), covariance, centre, SIGMA)
    links = [find_link("identity")] * 3
    spread = estimates.y.std(axis=0)
    return approximate_likelihoods(NormalLikelihood(estimates), links, place, spread, n_nodes=2048, n_components=6)


def scaling_of(estimates):
    return make_scaling(estimates.X, np.median(estimates.y, axis=0), estimates.y.std(axis=0))


def numpyro_meta(estimates, settings):
    scaling = scaling_of(estimates)
    chains = sample(estimates, scaling, settings, correlated=True)
    return posterior_draws(estimates, scaling, chains, settings, correlated=True)


def numpyro_choices(estimates, mixture, settings: Settings):
    return sample_on_mixture(mixture, estimates.X, scaling_of(estimates), settings, estimates.participants)


def pymc_meta(estimates, settings):
    scaling = scaling_of(estimates)
    y = (estimates.y - scaling.centre) / scaling.spread
    covariance = estimates.covariance / (scaling.spread[:, None] * scaling.spread)

    def log_likelihood(pt, gamma, factor):
        sigma = factor @ factor.T
        residual = y - pt.dot(estimates.X @ scaling.design, gamma)
        whole = {(a, b): covariance[:, a, b] + sigma[a, b] for a in range(3) for b in range(a + 1)}
        return -0.5 * pt.sum(sum(_log_det_and_squares(pt, whole, [residual[:, k] for k in range(3)])))

    return _pymc(estimates, scaling, settings, log_likelihood)


def pymc_choices(estimates, mixture, settings):
    scaling = scaling_of(estimates)
    standard = mixture.rescaled(scaling.centre, scaling.spread)
    dims, precision, slope = range(3), standard.precision, standard.slope

    def log_likelihood(pt, gamma, factor):
        mean = pt.dot(estimates.X @ scaling.design, gamma)
        away = [mean[:, i, None] - standard.anchor[:, :, i] for i in dims]
        curved = [sum(precision[:, :, i, j] * away[j] for j in dims) for i in dims]
        pull = [sum((slope[:, :, j] - curved[j]) * factor[j, i] for j in dims) for i in dims]
        half = [[sum(precision[:, :, i, k] * factor[k, j] for k in dims) for j in dims] for i in dims]
        whole = {
            (i, j): sum(factor[k, i] * half[k][j] for k in dims) + float(i == j) for i in dims for j in range(i + 1)
        }
        log_det, squares = _log_det_and_squares(pt, whole, pull)
        value = standard.value + sum((slope[:, :, i] - 0.5 * curved[i]) * away[i] for i in dims)
        return pt.sum(pt.logsumexp(value + 0.5 * (squares - log_det), axis=1))

    return _pymc(estimates, scaling, settings, log_likelihood)


def _pymc(estimates, scaling, settings, log_likelihood):
    import pymc as pm
    import pytensor.tensor as pt

    scale = prior_data(scaling, settings, estimates.X.shape[1])["location_scale"]
    with pm.Model():
        gamma = pm.Normal("gamma", 0.0, scale, shape=scale.shape)
        sd = pm.HalfStudentT.dist(nu=settings.prior_sd_df, sigma=settings.prior_sd_scale, shape=3)
        factor, _, _ = pm.LKJCholeskyCov("chol", n=3, eta=settings.prior_lkj, sd_dist=sd, compute_corr=True)
        pm.Potential("likelihood", log_likelihood(pt, gamma, factor))
        found = pm.sample(
            settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            cores=2,
            random_seed=settings.seed,
            target_accept=settings.target_accept,
            progressbar=False,
            compute_convergence_checks=False,
        )
    posterior = found.posterior
    return {
        "gamma": scaling.fixed_effects(posterior["gamma"].to_numpy()),
        "sd": posterior["chol_stds"].to_numpy() * scaling.spread,
        "correlation": posterior["chol_corr"].to_numpy(),
        "n_divergent": int(found.sample_stats["diverging"].sum()),
    }


def _log_det_and_squares(pt, whole, vector):
    """As `spicestat.group.posterior.density` does it: Cholesky's algorithm over all participants at once."""
    factor, solved, log_det, squares = {}, [], 0.0, 0.0
    for column in range(3):
        pivot = whole[column, column] - sum(factor[column, k] ** 2 for k in range(column))
        factor[column, column] = pt.sqrt(pivot)
        for row in range(column + 1, 3):
            rest = whole[row, column] - sum(factor[row, k] * factor[column, k] for k in range(column))
            factor[row, column] = rest / factor[column, column]
        rest = vector[column] - sum(factor[column, k] * solved[k] for k in range(column))
        solved.append(rest / factor[column, column])
        log_det += pt.log(pivot)
        squares += solved[column] ** 2
    return log_det, squares
