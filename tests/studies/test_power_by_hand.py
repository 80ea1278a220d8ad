"""spice_power of people who stay or switch, whose studies are binomial and can be simulated and analysed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from scipy.stats import t

from spicestat import spice_fit, spice_task
from spicestat.errors import ConfigError, FormulaError
from spicestat.fit.history import assemble_history
from spicestat.fit.packing import pack_table
from spicestat.group import spice_group
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.states import state
from spicestat.studies.population import group_population
from spicestat.studies.power import spice_power
from spicestat.trials.reading import read_trials

STAY = ("beta", "last")
N, TRIALS, STUDIES = 20, 41, 80
EFFECT = 0.45


def stayers(n_people, n_occasions=1):
    """A fit of people with one weight each, that of the last choice."""
    rng = np.random.default_rng(1)
    person, occasion = np.divmod(np.arange(n_people * n_occasions), n_occasions)
    weight = 0.8 + 0.7 * rng.normal(size=n_people)[person] + 0.5 * rng.normal(size=len(person)) * (n_occasions > 1)
    stays = rng.random((len(person), 80)) < expit(weight)[:, None]
    choice = 1 + (np.cumsum(~stays, axis=1) % 2)
    trials = pd.DataFrame(
        {
            "participant": np.repeat(person, 80),
            "visit": np.repeat(occasion, 80),
            "choice": choice.ravel(),
            "reward": rng.integers(2, size=choice.size),
        }
    )
    table = read_trials(trials, occasion="visit" if n_occasions > 1 else None, covariates=[])
    data = pack_table(table)
    return assemble_history(table, data, fit_pooled(data, (state("last"),), 1), math.nan, 0)


@pytest.fixture(scope="module")
def fit():
    return stayers(60)


def marginal(theta, stays, x):
    """Minus log marginal likelihood of binomial counts whose logits are normal, by Gauss-Hermite quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(25)
    logit = (theta[0] + theta[1] * x)[:, None] + np.exp(theta[2]) * nodes
    log_lik = stays[:, None] * logit - (TRIALS - 1) * np.logaddexp(0.0, logit)
    return -logsumexp(log_lik, axis=1, b=weights).sum()


def p_value(stays, x):
    """Wald's test of the slope, from the information that `minimize` and differences give."""
    found = minimize(marginal, np.array([0.5, 0.0, -0.5]), args=(stays, x), method="BFGS").x
    step = 1e-3 * np.eye(3)
    information = np.array(
        [
            [
                sum(a * b * marginal(found + a * left + b * right, stays, x) for a in (-1, 1) for b in (-1, 1)) / 4e-6
                for right in step
            ]
            for left in step
        ]
    )
    error = math.sqrt(max(np.linalg.pinv(information)[1, 1], 1e-12))
    return 2.0 * t.sf(abs(found[1]) / error, len(x) - 2)


def by_hand(mean, sd, effect, n_studies, rng):
    found = []
    for _ in range(n_studies):
        x = rng.normal(size=N)
        weight = mean + effect * (x - x.mean()) + sd * rng.normal(size=N)
        found.append(p_value(rng.binomial(TRIALS - 1, expit(weight)), x))
    return np.mean(np.array(found) < 0.05)


@pytest.mark.slow
def test_power_is_that_of_studies_by_hand_and_without_effect_that_of_errors(fit):
    """80 and 300 studies: powers differ by more than .22 with probability 5e-4, more than 11 of 80 err with 1e-3."""
    population = group_population(fit)
    found = spice_power(
        fit, STAY, effect=[0.0, EFFECT], n_participants=N, n_trials=TRIALS, n_simulations=STUDIES, seed=2
    )
    table = found.tidy().set_index("effect")
    sd = math.sqrt(population.covariance[0, 0])
    expected = by_hand(population.mean[0], sd, EFFECT, 300, np.random.default_rng(3))
    assert 0.3 < expected < 0.9
    assert abs(table.loc[EFFECT, "power"] - expected) < 0.22
    assert table.loc[0.0, "power"] * STUDIES <= 11
    assert abs(table.loc[EFFECT, "mean_estimate"] - EFFECT) < 5 * table.loc[EFFECT, "sd_estimate"] / math.sqrt(STUDIES)
    assert (table["share_failed"] == 0).all()


def test_effects_within_people_are_found_at_their_size(fit):
    """25 studies: means of estimates within 5 standard errors; of 25 intervals of .95, 18 or fewer cover with 1e-5."""
    found = spice_power(
        fit,
        STAY,
        effect={"drug": 0.6, "drug:x": [0.0, 0.4]},
        formula="~ drug * x + (1 | participant) + (1 | site)",
        covariates={"drug": "within", "site": 4},
        n_occasions=2,
        shares={"occasion": 0.2, "site": 0.1},
        n_participants=24,
        n_trials=60,
        n_simulations=25,
        seed=4,
    )
    table = found.tidy()
    assert table[["design", "term", "effect"]].to_numpy().tolist() == [
        [1, "drug", 0.6],
        [1, "drug:x", 0.0],
        [2, "drug", 0.6],
        [2, "drug:x", 0.4],
    ]
    assert len(found.studies) == 100
    assert ((table["mean_estimate"] - table["effect"]).abs() < table["sd_estimate"]).all()
    assert (table["coverage"] > 0.72).all()
    assert table["power"][0] > table["power"][1]
    # a person seen twice is no two people
    with pytest.raises(FormulaError, match=r"add \(1 \| participant\)"):
        spice_power(
            fit, STAY, effect=0.6, formula="~ drug", covariates="within", n_occasions=2, shares={"occasion": 0.2},
            n_participants=8, n_trials=20, n_simulations=1,
        )  # fmt: skip


def test_a_fit_with_occasions_says_how_much_they_differ():
    fit = stayers(30, n_occasions=2)
    found = group_population(fit)
    rows = spice_group(fit, "~ 1 + (1 | participant)").to_frame().query("effect == 'ran_pars'").set_index("group")
    between, within = rows.loc["participant", "estimate"] ** 2, rows.loc["participant:visit", "estimate"] ** 2
    np.testing.assert_allclose(found.within, [[within]])
    np.testing.assert_allclose(found.covariance, [[between + within]])
    power = spice_power(
        fit, STAY, effect=0.5, formula="~ drug + (1 | participant)", covariates="within", n_occasions=2,
        n_participants=8, n_trials=30, n_simulations=1,
    )  # fmt: skip
    assert power.studies["estimate"].notna().all()


@pytest.mark.parametrize("method", ["hierarchical", "meta"])
def test_people_of_a_published_model_play_its_task(method):
    task = spice_task("bandit")
    fit = spice_fit(task.simulate(12, 40, seed=1).trials, model="bandit", **task.columns)
    found = spice_power(
        fit, fit.choice_likelihood().terms[0], effect=0.5, n_participants=8, n_trials=90, n_blocks=3, n_simulations=1,
        method=method,
    )  # fmt: skip
    assert found.studies["message"].tolist() == [""]
    assert found.studies["estimate"].notna().all()
    with pytest.raises(ConfigError, match="play the task of its model"):
        spice_power(fit, STAY, effect=0.5, n_participants=8, n_trials=90, environment=0.2)


def test_two_stage_methods_estimate_weights_of_states(fit):
    found = spice_power(fit, STAY, effect=0.5, n_participants=12, n_trials=60, n_simulations=2, method="meta")
    assert found.studies["estimate"].notna().all()
    assert found.studies["share_unidentified"].notna().all()
