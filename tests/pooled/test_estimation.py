import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from spicestat.pooled.contrasts import make_design
from spicestat.pooled.em import fit_population, joint_mean_covariance
from spicestat.pooled.laplace import Normal, posterior
from spicestat.pooled.logit import derivatives, log_likelihood, skewness
from spicestat.pooled.maximise import Prior, laplace_gradient
from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.people import maximum_likelihood, mean_covariance
from spicestat.pooled.states import Signal, State, state, state_rows

STATES = [state("last"), state(("rewarded", 0.5)), State((Signal(kind="constant", action=1),))]


def design_of(data: Sessions, states: list[State] | None = None):
    return make_design(state_rows(data, STATES if states is None else states))


@pytest.fixture(params=["cohort", "three_arms"])
def design(request: pytest.FixtureRequest):
    return design_of(request.getfixturevalue(request.param)[0])


def test_log_likelihood_is_the_softmax(three_arms) -> None:
    rows = state_rows(three_arms[0], STATES)
    design = make_design(rows)
    weights = np.random.default_rng(0).normal(size=(design.n_people, 3))
    logits = np.einsum("rak,rk->ra", rows.values / design.scale, weights[rows.person])
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = np.bincount(rows.person, log_p[np.arange(len(log_p)), rows.choice])
    assert np.allclose(log_likelihood(design, weights), expected)


def test_derivatives_are_those_of_the_likelihood(design) -> None:
    weights = np.random.default_rng(0).normal(size=(design.n_people, 3))
    local, step = derivatives(design, weights), 1e-5
    for k in range(3):
        move = step * np.eye(3)[k]
        up, down = derivatives(design, weights + move), derivatives(design, weights - move)
        assert np.allclose((up.log_lik - down.log_lik) / (2 * step), local.slope[:, k], atol=1e-5)
        assert np.allclose(-(up.slope - down.slope) / (2 * step), local.information[:, k], atol=1e-5)


def test_skewness_is_the_derivative_of_the_information(design) -> None:
    rng = np.random.default_rng(1)
    weights, root = rng.normal(size=(design.n_people, 3)), rng.normal(size=(design.n_people, 3, 3))
    spread, step = root @ root.transpose(0, 2, 1), 1e-5
    got = skewness(design, weights, spread)
    for k in range(3):
        move = step * np.eye(3)[k]
        change = derivatives(design, weights + move).information - derivatives(design, weights - move).information
        assert np.allclose(np.einsum("nkl,nkl->n", spread, change) / (2 * step), got[:, k], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("own", [[0, 1, 2], [0, 2]])
def test_laplace_gradient_is_exact(design, own: list[int]) -> None:
    rng = np.random.default_rng(2)
    root = rng.normal(size=(len(own), len(own)))
    at = Normal(rng.normal(size=3), 0.4 * root @ root.T + 0.3 * np.eye(len(own)), np.array(own))

    def height(mean: np.ndarray, covariance: np.ndarray) -> float:
        return posterior(design, Normal(mean, covariance, at.own), tolerance=1e-13).log_marginal.sum()

    by_mean, by_covariance = laplace_gradient(at, posterior(design, at, tolerance=1e-13))
    step = 1e-4
    for k in range(3):
        move = step * np.eye(3)[k]
        rise = height(at.mean + move, at.covariance) - height(at.mean - move, at.covariance)
        assert rise / (2 * step) == pytest.approx(by_mean[k], rel=1e-5, abs=1e-4)
    move = np.zeros_like(at.covariance)
    move[0, 1] = move[1, 0] = step
    rise = height(at.mean, at.covariance + move) - height(at.mean, at.covariance - move)
    assert rise / (2 * step) == pytest.approx(2 * by_covariance[0, 1], rel=1e-5, abs=1e-4)


def test_nothing_depends_on_the_batches(cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit_population(design_of(cohort[0]), polish=True)
    monkeypatch.setattr("spicestat.pooled.contrasts._BATCH_NUMBERS", 500)
    assert fit_population(design_of(cohort[0]), polish=True).log_marginal == pytest.approx(whole.log_marginal, abs=1e-6)


def test_em_and_the_climb_end_at_the_same_maximum(design) -> None:
    for prior in (None, Prior()):
        em = fit_population(design, prior=prior, tolerance=1e-7, rounds=2000)
        climbed = fit_population(design, prior=prior, tolerance=1e-7, rounds=3, polish=True)
        assert climbed.converged
        assert em.log_marginal == pytest.approx(climbed.log_marginal, abs=1e-3)


def test_the_population_is_recovered(cohort) -> None:
    data, weights = cohort
    design = design_of(data)
    fit = fit_population(design, prior=None, polish=True)
    error = np.sqrt(np.diag(mean_covariance(fit.population, fit.posterior.at_mode.information))) / design.scale
    assert (np.abs(fit.population.mean / design.scale - weights.mean(axis=0)) < 2.5 * error).all()
    assert np.allclose(np.sqrt(np.diag(fit.population.covariance)) / design.scale, weights.std(axis=0), rtol=0.35)
    pooled = (fit.posterior.mode + fit.posterior.shift) / design.scale
    assert np.corrcoef(pooled[:, 0], weights[:, 0])[0, 1] > 0.8


def test_shared_weights_are_the_same_for_everybody(design) -> None:
    fit = fit_population(design, own=[0, 1], polish=True)
    assert np.ptp(fit.posterior.mode[:, 2]) == 0
    free = fit_population(design, polish=True)
    assert fit.log_marginal < free.log_marginal + 1.0


@pytest.mark.parametrize("seed", range(5))
def test_eight_people_are_enough_to_be_stable(seed: int) -> None:
    rng = np.random.default_rng(seed)
    data = pack_sessions(rng.integers(0, 2, (8, 60)), rng.integers(0, 2, (8, 60)), np.arange(8), n_actions=2)
    fit = fit_population(design_of(data))
    assert fit.converged
    assert np.abs(fit.posterior.mode).max() < 2
    assert np.sqrt(np.diag(fit.population.covariance)).max() < 1.5


def test_somebody_who_never_switches_stays_finite_and_has_no_own_estimate() -> None:
    rng = np.random.default_rng(0)
    choice = rng.integers(0, 2, (20, 50))
    choice[0] = 0
    data = pack_sessions(choice, rng.integers(0, 2, choice.shape), np.arange(20), n_actions=2)
    design = design_of(data)
    fit = fit_population(design)
    assert np.abs(fit.posterior.mode).max() < 10
    own = maximum_likelihood(design, fit.population, fit.posterior.mode)
    assert np.isnan(own.std_error[0, [0, 2]]).all()
    assert np.isfinite(own.std_error[1:]).all()
    assert (own.log_lik >= derivatives(design, fit.posterior.mode).log_lik - 1e-9).all()


def test_own_estimates_stand_where_the_slope_is_zero(cohort) -> None:
    design = design_of(cohort[0])
    fit = fit_population(design)
    own = maximum_likelihood(design, fit.population, fit.posterior.mode)
    fine = np.isfinite(own.estimate).all(axis=1)
    assert fine.mean() > 0.9
    local = derivatives(design, np.nan_to_num(own.estimate))
    assert np.abs(local.slope[fine]).max() < 1e-3
    assert np.allclose(np.linalg.inv(local.information[fine]), own.covariance[fine], rtol=1e-5)


def test_people_without_choices_get_the_population(cohort) -> None:
    rows = state_rows(cohort[0], STATES)
    n_people = int(rows.person.max()) + 3
    fit = fit_population(make_design(rows, n_people))
    assert np.allclose(fit.posterior.mode[-1], fit.population.mean)
    assert np.allclose(fit.posterior.covariance[-1], fit.population.covariance)
    assert np.allclose(fit.posterior.log_marginal[-2:], 0)


def test_single_precision_is_enough_to_compare_structures(design) -> None:
    exact, rough = fit_population(design), fit_population(design.single())
    assert rough.log_marginal == pytest.approx(exact.log_marginal, abs=0.05)


GLMER = """
suppressMessages(library(lme4))
d <- read.csv("{path}")
control <- glmerControl(optimizer = "bobyqa", tolPwrss = 1e-10, optCtrl = list(maxfun = 1e5, rhoend = 1e-8))
m <- glmer(y ~ 0 + a + b + c + (0 + a + b + c | p), d, family = binomial, control = control)
cat(sprintf("%.8f", c(logLik(m), fixef(m), sqrt(diag(as.matrix(vcov(m)))), attr(VarCorr(m)$p, "stddev"))))
"""


@pytest.mark.skipif(shutil.which("Rscript") is None, reason="needs R with lme4")
@pytest.mark.parametrize("seed", [0, 1])
def test_the_maximum_is_that_of_glmer(tmp_path: Path, cohort, seed: int) -> None:
    data = cohort[0].select(np.isin(cohort[0].person % 2, [seed]))
    rows = state_rows(data, STATES)
    design = make_design(rows)
    fit = fit_population(design, prior=None, tolerance=1e-6, polish=True)
    x = (rows.values[:, 1] - rows.values[:, 0]) / design.scale
    table = np.column_stack([rows.person, rows.choice, x])
    np.savetxt(tmp_path / "d.csv", table, delimiter=",", header="p,y,a,b,c", comments="", fmt="%.17g")
    script = GLMER.format(path=tmp_path / "d.csv")
    answer = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True)
    height, *numbers = map(float, answer.stdout.split())
    mean, error, sd = np.reshape(numbers, (3, 3))
    assert fit.log_marginal == pytest.approx(height, abs=1e-3)
    assert (np.abs(fit.population.mean - mean) < 0.01 * error).all()
    assert np.allclose(np.sqrt(np.diag(fit.population.covariance)), sd, rtol=0.01)
    assert np.allclose(np.sqrt(np.diag(joint_mean_covariance(design, fit))), error, rtol=0.01)
    held = mean_covariance(fit.population, fit.posterior.at_mode.information)
    assert np.allclose(np.sqrt(np.diag(held)), error, rtol=0.1)
