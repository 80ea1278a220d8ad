"""The one-stage model beside its whole posterior: python -m benchmarks.multilevel.nuts SEED.

The model of `hierarchical` for people on two occasions, written apart from the package: numpyro samples all that is
unknown, with the choices themselves in the likelihood and flat or weak priors. Prints differences of the fixed effects
in posterior standard deviations, and the ratio of the errors.
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

from benchmarks.multilevel.cohorts import CELLS, cohort
from spicestat.fit.history import HistoryFit, pack_table
from spicestat.group import spice_group

FORMULA = "~ drug * anxiety + (drug | participant)"


def contrasts(fit: HistoryFit) -> tuple[np.ndarray, np.ndarray]:
    """Differences between the states of the chosen action and of the other, (R, 3), and whose they are."""
    rows = fit.pooled.rows(pack_table(fit.trials, fit.pooled.reward_size))
    chosen = np.take_along_axis(rows.values, rows.choice[:, None, None], axis=1)[:, 0]
    return 2 * chosen - rows.values.sum(axis=1), rows.person


def model(
    n_people: int, states: jnp.ndarray, row: jnp.ndarray, X: jnp.ndarray, Z: jnp.ndarray, person: jnp.ndarray
) -> None:
    """Fixed effects (p, K), and an intercept and a slope of each person and weight, all correlated."""
    K, size = states.shape[1], Z.shape[1] * states.shape[1]
    gamma = numpyro.sample("gamma", dist.Normal(0, 10).expand([X.shape[1], K]).to_event(2))
    sd = numpyro.sample("sd", dist.HalfNormal(2).expand([size]).to_event(1))
    root = sd[:, None] * numpyro.sample("root", dist.LKJCholesky(size, 1.0))
    standard = numpyro.sample("standard", dist.Normal(0, 1).expand([n_people, size]).to_event(2))
    effects = (standard @ root.T).reshape(n_people, Z.shape[1], K)
    weights = X @ gamma + jnp.einsum("na,nak->nk", Z, effects[person])
    logits = jnp.sum(states * weights[row], axis=1)
    numpyro.factor("choices", jax.nn.log_sigmoid(logits).sum())


def main(arguments: Sequence[str]) -> None:
    """Compare on one cohort."""
    fit, _ = cohort(CELLS["occasions"], int(arguments[0]))
    group = spice_group(fit, FORMULA, guessing=False)
    design, random = group.design.matrix, group.design.random[0]
    states, row = contrasts(fit)
    sampler = MCMC(
        NUTS(partial(model, int(random.codes.max()) + 1), target_accept_prob=0.9),
        num_warmup=500,
        num_samples=1000,
        progress_bar=False,
    )
    data = (states, row, design, random.matrix, random.codes)
    sampler.run(jax.random.PRNGKey(0), *map(jnp.asarray, data))
    draws = np.asarray(sampler.get_samples()["gamma"])
    fixed = group.tidy()
    ours = fixed["estimate"].to_numpy().reshape(3, -1).T
    errors = fixed["std_error"].to_numpy().reshape(3, -1).T
    sd = draws.std(axis=0)
    print("difference in posterior SD\n", ((ours - draws.mean(axis=0)) / sd).round(3))
    print("error / posterior SD\n", (errors / sd).round(3))


if __name__ == "__main__":
    numpyro.enable_x64()
    main(sys.argv[1:])
