"""Simulation-based calibration of the Bayesian group models (Talts et al. 2018, https://arxiv.org/abs/1804.06788).

Parameters are drawn from the prior, data from the parameters, and the rank of the truth among the posterior
draws is uniform if and only if the sampler, the priors and the likelihood are right together.

    python benchmarks/bayes_engines/calibration.py 40     # replicates; writes benchmarks/results/bayes_calibration.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from scipy.stats import kstest

RESULTS = Path(__file__).parents[1] / "results"
N, D, P, RANKS = 30, 2, 2, 99


def replicate(model, seed):
    """Ranks of the true fixed effects, standard deviations and correlation among RANKS draws, in (0, 1)."""
    from benchmarks.bayes_engines.models import NormalLikelihood
    from spicestat.group.inputs.links import find_link
    from spicestat.group.marginal.quadrature import Place
    from spicestat.group.methods.bayes import Settings, sample_on_mixture
    from spicestat.group.methods.bayes_meta import Estimates, posterior_draws, sample
    from spicestat.group.posterior.approximation import approximate_likelihoods
    from spicestat.group.posterior.scaling import Scaling

    rng = np.random.default_rng([20261122, seed])
    # a fixed standard scale, as a prior that follows the data could not be drawn from
    scaling = Scaling(np.zeros(D), np.ones(D), np.ones(D), np.eye(P), np.eye(P)[0])
    X = np.column_stack([np.ones(N), rng.normal(size=N)])
    gamma = rng.normal(0, 1.0, (P, D))
    sd = 0.5 * np.abs(rng.standard_t(3, D))
    # LKJ(2) for two: the correlation is 2 Beta(2, 2) - 1
    r = 2 * rng.beta(2, 2) - 1
    sigma = np.outer(sd, sd) * np.array([[1, r], [r, 1]])
    root = 0.2 * rng.normal(size=(N, D, 4))
    covariance = root @ root.transpose(0, 2, 1)
    theta = X @ gamma + rng.normal(size=(N, D)) @ np.linalg.cholesky(sigma).T
    y = theta + np.einsum("nij,nj->ni", np.linalg.cholesky(covariance), rng.normal(size=(N, D)))
    settings = Settings(draws=300, tune=300, chains=4, seed=seed, prior_scale=1.0, prior_sd_scale=0.5)
    estimates = Estimates(y, covariance, np.ones((N, D), bool), X, tuple(range(N)), True)
    if model == "meta":
        chains = sample(estimates, scaling, settings, correlated=True)
        found = posterior_draws(estimates, scaling, chains, settings, correlated=True)
    else:
        centre = X @ np.linalg.lstsq(X, y, rcond=None)[0]
        place = Place(y, covariance, centre, np.cov(y.T))
        links = [find_link("identity")] * D
        mixture = approximate_likelihoods(
            NormalLikelihood(estimates), links, place, y.std(axis=0), n_nodes=1024, n_components=6
        )
        found = sample_on_mixture(mixture, X, scaling, settings, estimates.participants)
    kept = np.linspace(0, 4 * 300 - 1, RANKS).astype(int)
    draws = np.concatenate(
        [
            found.gamma.reshape(-1, P * D),
            found.sd.reshape(-1, D),
            found.correlation[..., 1, 0].reshape(-1, 1),
            found.theta[..., 0, :].reshape(-1, D),
        ],
        axis=1,
    )[kept]
    truth = np.concatenate([gamma.ravel(), sd, [r], theta[0]])
    # a random place between the draws makes the rank continuous
    return (((draws < truth).sum(axis=0) + rng.random(len(truth))) / (RANKS + 1)).tolist()


def main(n_replicates):
    names = ["fixed_11", "fixed_12", "fixed_21", "fixed_22", "sd_1", "sd_2", "correlation", "theta_1", "theta_2"]
    record = {"participants": N, "models": {}}
    for model in ("meta", "choices"):
        ranks = np.array([replicate(model, seed) for seed in range(n_replicates)])
        record["models"][model] = {
            "replicates": n_replicates,
            "p_uniform": {name: float(kstest(ranks[:, k], "uniform").pvalue) for k, name in enumerate(names)},
            "coverage_90": {
                name: float(np.mean((ranks[:, k] > 0.05) & (ranks[:, k] < 0.95))) for k, name in enumerate(names)
            },
            "ranks": ranks.round(4).tolist(),
        }
        p_values = record["models"][model]["p_uniform"]
        pooled = np.mean((ranks > 0.05) & (ranks < 0.95))
        print(model, "smallest p", round(min(p_values.values()), 4), "coverage of 90 %", round(float(pooled), 3))
    (RESULTS / "bayes_calibration.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
