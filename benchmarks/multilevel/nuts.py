"""The one-stage model beside its posterior: python -m benchmarks.multilevel.nuts SEED.

The model of `hierarchical` for people on two occasions, written apart from the package: numpyro samples all that is
unknown, with the choices themselves in the likelihood. Once the covariance of people's effects is held at the estimate,
which shows what the integration over people costs; once it has a prior of its own (half-normal standard deviations, a
flat prior of correlations). Prints differences of the fixed effects, and errors, in posterior standard deviations.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import MCMC, NUTS

from benchmarks.multilevel.cohorts import CELLS, STATES, cohort
from spicestat.fit.history import HistoryFit, pack_table
from spicestat.group import spice_group
from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical, stacked_design
from spicestat.group.marginal.linear_model import Part

FORMULA = "~ drug * anxiety + (drug | participant)"
K, SIZE = len(STATES), 2 * len(STATES)


def contrasts(fit: HistoryFit) -> tuple[np.ndarray, np.ndarray]:
    """Differences between the states of the chosen action and of the other, (R, 3), and whose they are."""
    rows = fit.pooled.rows(pack_table(fit.trials, fit.pooled.reward_size))
    chosen = np.take_along_axis(rows.values, rows.choice[:, None, None], axis=1)[:, 0]
    return 2 * chosen - rows.values.sum(axis=1), rows.person


def model(
    n_people: int,
    root: np.ndarray | None,
    states: jnp.ndarray,
    row: jnp.ndarray,
    X: jnp.ndarray,
    Z: jnp.ndarray,
    person: jnp.ndarray,
) -> None:
    """Fixed effects (p, K), and an intercept and a slope of each person and weight, all correlated."""
    gamma = numpyro.sample("gamma", dist.Normal(0, 10).expand([X.shape[1], K]).to_event(2))
    if root is None:
        sd = numpyro.sample("sd", dist.HalfNormal(2).expand([SIZE]).to_event(1))
        root = sd[:, None] * numpyro.sample("root", dist.LKJCholesky(SIZE, 1.0))
    standard = numpyro.sample("standard", dist.Normal(0, 1).expand([n_people, SIZE]).to_event(2))
    effects = (standard @ root.T).reshape(n_people, 2, K)
    weights = X @ gamma + jnp.einsum("na,nak->nk", Z, effects[person])
    numpyro.factor("choices", jax.nn.log_sigmoid(jnp.sum(states * weights[row], axis=1)).sum())


def main(arguments: Sequence[str]) -> None:
    """Compare on one cohort."""
    fit, _ = cohort(CELLS["occasions"], int(arguments[0]))
    group = spice_group(fit, FORMULA, guessing=False)
    X, random = group.design.matrix, group.design.random[0]
    part = Part(random.matrix, random.codes, np.tri(SIZE, dtype=bool))
    identity = [find_link("identity")] * K
    Z = stacked_design([X] * K)
    found = fit_hierarchical(fit.choice_likelihood(), identity, Z, np.zeros(K), np.ones(K), [part], with_rest=False)
    states, row = contrasts(fit)
    data = tuple(map(jnp.asarray, (states, row, X, random.matrix, random.codes)))
    for name, root, covariance in (
        ("covariance at its estimate", np.linalg.cholesky(found.random[0]), found.given_sigma),
        ("covariance unknown", None, found.covariance),
    ):
        kernel = NUTS(partial(model, part.n_levels, root), target_accept_prob=0.9)
        sampler = MCMC(kernel, num_warmup=500, num_samples=1500, progress_bar=False)
        sampler.run(jax.random.PRNGKey(0), *data)
        draws = np.asarray(sampler.get_samples()["gamma"])
        sd = draws.std(axis=0)
        gamma, errors = found.gamma.reshape(K, -1).T, np.sqrt(np.diag(covariance)).reshape(K, -1).T
        print(name, "\n", ((gamma - draws.mean(axis=0)) / sd).round(3), "\n", (errors / sd).round(3), flush=True)


if __name__ == "__main__":
    numpyro.enable_x64()
    main(sys.argv[1:])
