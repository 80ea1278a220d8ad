from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError, NumericalError, ShapeError
from spicestat.group import deshrink
from spicestat.group.deshrink import Settings, deshrunk_inputs, information_meta_regression
from spicestat.group.design import build_design
from spicestat.group.links import find_link
from spicestat.group.multivariate_meta import multivariate_meta_regression
from spicestat.group.problem import GroupProblem
from spicestat.group.selection import select_equations

SEEDS = st.integers(0, 10**6)
TERMS = (("x_rate", "1"), ("beta", "x"), ("x_shift", "1"))


@dataclass(frozen=True)
class Toy:
    """Successes of n_trials with probability c0, a count with mean 10 c1, and a measurement of c2."""

    successes: np.ndarray
    trials: np.ndarray
    counts: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    terms: tuple = TERMS

    @property
    def participants(self):
        return tuple(f"s{row:02d}" for row in range(len(self.trials)))

    @property
    def n_trials(self):
        return self.trials

    @property
    def low(self):
        return np.array([0.0, 0.0, -np.inf])

    @property
    def high(self):
        return np.array([1.0, np.inf, np.inf])

    def log_likelihood(self, c):
        p, rate, shift = c[..., 0], c[..., 1], c[..., 2]
        value = self.successes * np.log(p) + (self.trials - self.successes) * np.log1p(-p)
        return value + self.counts * np.log(10 * rate) - 10 * rate - 0.5 * ((self.measured - shift) / self.error) ** 2

    def derivatives(self, c):
        p, rate, shift = c.T
        s, f = self.successes, self.trials - self.successes
        slopes = [s / p - f / (1 - p), self.counts / rate - 10.0, (self.measured - shift) / self.error**2]
        bends = [s / p**2 + f / (1 - p) ** 2, self.counts / rate**2, self.error**-2]
        information = np.zeros((len(c), 3, 3))
        information[:, [0, 1, 2], [0, 1, 2]] = np.column_stack(bends)
        return self.log_likelihood(c), np.column_stack(slopes), information

    def select(self, people):
        return replace(
            self, **{k: getattr(self, k)[people] for k in ("successes", "trials", "counts", "measured", "error")}
        )


LINKS = tuple(map(find_link, ("logit", "log", "identity")))


def cohort(seed, n=40, trials=10, slope=0.8):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    u = np.array([0.9, 0.5, 0.0]) + slope * z[:, None] * [1, 0, 0] + rng.normal(size=(n, 3)) * [0.6, 0.4, 0.5]
    error = rng.uniform(0.1, 0.5, n)
    toy = Toy(
        rng.binomial(trials, 1 / (1 + np.exp(-u[:, 0]))).astype(float),
        np.full(n, float(trials)),
        rng.poisson(10 * np.exp(u[:, 1])).astype(float),
        u[:, 2] + error * rng.normal(size=n),
        error,
    )
    return toy, np.column_stack([np.ones(n), z])


@given(SEEDS, st.floats(-3, 3), st.floats(0.3, 5))
@settings(max_examples=20)
def test_a_normal_likelihood_is_returned_whatever_the_prior(seed, center, width):
    toy, _ = cohort(seed, n=6)
    inputs = deshrunk_inputs(toy, LINKS, np.array([0.0, 0.5, center]), np.diag([1.5, 1.0, width]) ** 2)
    assert inputs.converged.all()
    np.testing.assert_allclose(inputs.information[:, 2, 2], toy.error**-2, rtol=1e-9)
    np.testing.assert_allclose(inputs.pull[:, 2], toy.measured / toy.error**2, rtol=1e-5, atol=1e-5)


def test_the_mode_balances_prior_and_likelihood_and_the_prior_is_taken_off():
    toy, _ = cohort(1)
    mean, cov = np.array([0.0, 0.5, 0.0]), np.array([[2.0, 0.3, 0], [0.3, 1.0, 0.1], [0, 0.1, 1.0]])
    inputs = deshrunk_inputs(toy, LINKS, mean, cov)
    pull_of_prior = np.linalg.solve(cov, (inputs.mode - mean).T).T
    gradient = inputs.pull - np.einsum("nab,nb->na", inputs.information, inputs.mode)
    np.testing.assert_allclose(gradient, pull_of_prior, atol=1e-2)
    # with many trials the approximation is the maximum-likelihood estimate with its Fisher information
    many = replace(toy, successes=toy.successes * 1e4 + 1, trials=toy.trials * 1e4 + 2)
    sharp = deshrunk_inputs(many, LINKS, mean, cov)
    p = many.successes / many.trials
    ordinary = (p > 0.01) & (p < 0.99)
    np.testing.assert_allclose(sharp.information[ordinary, 0, 0], (many.trials * p * (1 - p))[ordinary], rtol=1e-3)
    estimate = np.linalg.solve(sharp.information, sharp.pull[:, :, None])[:, 0, 0]
    np.testing.assert_allclose(estimate[ordinary], np.log(p / (1 - p))[ordinary], atol=1e-3)


def test_an_estimate_at_infinity_counts_for_little_but_counts():
    toy, X = cohort(2)
    toy = replace(toy, successes=toy.trials.copy())
    inputs = deshrunk_inputs(toy, LINKS, np.array([0.0, 0.5, 0.0]), np.diag([1.5, 1.0, 1.0]) ** 2)
    estimate = np.linalg.solve(inputs.information, inputs.pull[:, :, None])[:, 0, 0]
    assert np.isfinite(estimate).all()
    # all ten succeeded: the approximated likelihood peaks above even odds, with less information than at even odds
    assert (estimate > 1).all()
    assert (inputs.information[:, 0, 0] < 2.5 / 2).all()
    assert (inputs.information[:, 0, 0] > 0).all()
    assert information_meta_regression(inputs.information, inputs.pull, X).converged


def test_directions_without_information_have_no_pull_either():
    toy, _ = cohort(3)

    class Sloping(Toy):
        # convex and sloping in the last coefficient, so not even a maximum
        def log_likelihood(self, c):
            return (
                super().log_likelihood(c)
                + 0.5 * ((self.measured - c[..., 2]) / self.error) ** 2
                + np.exp(0.1 * np.clip(c[..., 2], None, 3))
            )

        def derivatives(self, c):
            value, gradient, information = super().derivatives(c)
            bump = np.exp(0.1 * c[:, 2])
            gradient, information = gradient.copy(), information.copy()
            gradient[:, 2], information[:, 2, 2] = 0.1 * bump, -0.01 * bump
            return self.log_likelihood(c), gradient, information

    odd = Sloping(toy.successes, toy.trials, toy.counts, toy.measured, toy.error)
    inputs = deshrunk_inputs(odd, LINKS, np.array([0.0, 0.5, 0.0]), np.diag([1.5, 1.0, 1.0]) ** 2)
    assert inputs.removed.tolist() == [1] * 40
    np.testing.assert_allclose(inputs.information[:, 2], 0.0, atol=1e-12)
    np.testing.assert_allclose(inputs.pull[:, 2], 0.0, atol=1e-12)
    assert (inputs.information[:, 0, 0] > 0).all()


@given(SEEDS, st.sampled_from(["REML", "ML"]))
@settings(max_examples=15)
def test_regular_information_is_the_multivariate_meta_regression(seed, estimator):
    rng = np.random.default_rng(seed)
    n = 25
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    noise = rng.normal(size=(n, 2, 5)) / np.sqrt(5)
    V = 0.3 * noise @ noise.transpose(0, 2, 1)
    y = X @ rng.normal(size=(2, 2)) * 3 + rng.normal(size=(n, 2)) * [0.5, 0.3]
    information = np.linalg.inv(V)
    theirs = multivariate_meta_regression(y, V, X, estimator=estimator)
    ours = information_meta_regression(information, np.einsum("nab,nb->na", information, y), X, estimator=estimator)
    assert ours.converged
    np.testing.assert_allclose((ours.beta - theirs.beta) / theirs.std_errors, np.zeros((2, 2)), atol=1e-5)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, atol=1e-5 * np.abs(theirs.covariance).max())
    np.testing.assert_allclose(ours.sigma, theirs.sigma, atol=1e-5)
    np.testing.assert_allclose(ours.deviations, theirs.deviations, atol=1e-4)
    np.testing.assert_allclose(ours.deviation_errors, theirs.deviation_errors, atol=1e-4)


def test_log_likelihood_differs_from_the_multivariate_one_by_a_constant():
    rng = np.random.default_rng(0)
    V = np.array([np.diag(rng.uniform(0.05, 0.5, 2)) for _ in range(30)])
    y = rng.normal(size=(30, 2)) + 5
    information, z = np.linalg.inv(V), rng.normal(size=30)
    pull = np.einsum("nab,nb->na", information, y)
    differences = []
    for X in (np.ones((30, 1)), np.column_stack([np.ones(30), z])):
        theirs = multivariate_meta_regression(y, V, X, estimator="ML")
        differences.append(
            theirs.log_likelihood - information_meta_regression(information, pull, X, estimator="ML").log_likelihood
        )
    np.testing.assert_allclose(differences[0], differences[1], rtol=1e-10)


def test_a_singular_information_is_the_limit_of_an_infinite_variance():
    rng = np.random.default_rng(1)
    X = np.column_stack([np.ones(30), rng.normal(size=30)])
    y = rng.normal(size=(30, 2)) @ np.array([[1.0, 0.5], [0.0, 0.8]])
    information = np.tile(20.0 * np.eye(2), (30, 1, 1))
    direction = np.array([0.6, 0.8])
    information[:10] = 20.0 * np.outer(direction, direction)
    pull = np.einsum("nab,nb->na", information, y)
    ours = information_meta_regression(information, pull, X)
    vague = information + np.where(np.arange(30)[:, None, None] < 10, 1e-7 * np.eye(2), 0.0)
    theirs = multivariate_meta_regression(
        np.linalg.solve(vague, np.einsum("nab,nb->na", information, y)[:, :, None])[:, :, 0], np.linalg.inv(vague), X
    )
    np.testing.assert_allclose(ours.beta, theirs.beta, atol=1e-5)
    np.testing.assert_allclose(ours.sigma, theirs.sigma, atol=1e-5)
    # missing estimates are another way to say it
    gap = information.copy()
    gap[:10] = np.diag([20.0, 0.0])
    missing = y.copy()
    missing[:10, 1] = np.nan
    ours = information_meta_regression(gap, np.einsum("nab,nb->na", gap, y), X)
    theirs = multivariate_meta_regression(missing, np.tile(0.05 * np.eye(2), (30, 1, 1)), X)
    np.testing.assert_allclose(ours.beta, theirs.beta, atol=1e-6)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-5, atol=1e-9)


def test_without_an_intercept_the_fit_is_the_same():
    toy, _ = cohort(4)
    inputs = deshrunk_inputs(toy, LINKS, np.array([0.0, 0.5, 0.0]), np.diag([1.5, 1.0, 1.0]) ** 2)
    half = np.arange(40) % 2
    one = information_meta_regression(inputs.information, inputs.pull, np.column_stack([np.ones(40), half]))
    other = information_meta_regression(inputs.information, inputs.pull, np.column_stack([1 - half, half]))
    np.testing.assert_allclose(other.beta[:, 0], one.beta[:, 0], atol=1e-6)
    np.testing.assert_allclose(other.beta[:, 1], one.beta.sum(axis=1), atol=1e-6)
    np.testing.assert_allclose(other.log_likelihood, one.log_likelihood, rtol=1e-3)


def test_it_is_less_biased_than_leaving_out_those_at_a_bound():
    # 40 cohorts of 60 people with 10 trials, slope .8: the mean of 40 slopes has a standard error near .02, so that
    # .1 is five of them. Without those whose maximum-likelihood estimate is infinite the slope is too small.
    ours, dropped = [], []
    prior = np.array([0.0, 0.5, 0.0]), np.diag([1.5, 1.0, 1.0]) ** 2
    for seed in range(40):
        toy, X = cohort(1000 + seed, n=60)
        inputs = deshrunk_inputs(toy, LINKS, *prior)
        ours.append(information_meta_regression(inputs.information, inputs.pull, X).beta[0, 1])
        inside = (toy.successes > 0) & (toy.successes < toy.trials)
        p = toy.successes[inside] / toy.trials[inside]
        logits, V = np.log(p / (1 - p))[:, None], (1 / (toy.trials[inside] * p * (1 - p)))[:, None, None]
        dropped.append(multivariate_meta_regression(logits, V, X[inside]).beta[0, 1])
    assert abs(np.mean(ours) - 0.8) < 0.1
    assert abs(np.mean(dropped) - 0.8) > 2 * abs(np.mean(ours) - 0.8)


def problem_of(toy, X, terms=TERMS):
    estimate = np.column_stack([(toy.successes + 0.5) / (toy.trials + 1), toy.counts / 10 + 0.05, toy.measured])
    frame = pd.DataFrame(
        {
            "participant": np.repeat(toy.participants, 3),
            "module": [module for module, _ in TERMS] * len(X),
            "term": [term for _, term in TERMS] * len(X),
            "estimate": estimate.ravel(),
            "std_error": 0.1,
        }
    )
    table = CoefficientTable.from_frame(frame)
    table = replace(table)
    design = build_design("~ z", pd.DataFrame({"participant": toy.participants, "z": X[:, 1]}))
    equations, _ = select_equations(table, design)
    chosen = tuple(equation for equation in equations if equation.key in terms)
    return GroupProblem(table, design, chosen, likelihood=toy)


def test_estimate_gives_tables_on_the_links_scales():
    toy, X = cohort(5)
    problem = problem_of(toy, X)
    estimates = deshrink.estimate(problem, Settings(links={"x_rate": "logit", "beta": "log"}))
    fixed = estimates.fixed.set_index(["module", "term"])
    assert abs(fixed.loc[("x_rate", "z"), "estimate"] - 0.8) < 4 * fixed.loc[("x_rate", "z"), "std_error"]
    assert estimates.links == {("x_rate", "1"): "logit", ("beta", "x"): "log"}
    assert estimates.fixed["df"].eq(38.0).all()
    assert estimates.joint_covariance.shape == (6, 6)
    glance = estimates.glance.iloc[0]
    assert (glance["nobs"], glance["n_excluded"], glance["converged"]) == (40, 0, True)
    wide = deshrink.estimate(problem, Settings(links={"x_rate": "logit", "beta": "log"}, prior_width=1.5))
    shift = (wide.fixed["estimate"] - estimates.fixed["estimate"]) / estimates.fixed["std_error"]
    assert np.abs(shift).max() < 0.5


def test_only_coefficients_asked_for_are_shown_but_all_are_in_the_model():
    toy, X = cohort(6)
    links = {"x_rate": "logit", "beta": "log"}
    whole = deshrink.estimate(problem_of(toy, X), Settings(links=links))
    part = deshrink.estimate(problem_of(toy, X, terms=TERMS[:1]), Settings(links=links))
    assert part.fixed["module"].unique().tolist() == ["x_rate"]
    np.testing.assert_allclose(part.fixed["estimate"], whole.fixed["estimate"][:2])
    assert part.joint_covariance.shape == (6, 6)


def test_a_table_without_choices_is_refused():
    toy, X = cohort(7)
    with pytest.raises(ConfigError, match="choices"):
        deshrink.estimate(replace(problem_of(toy, X), likelihood=None), Settings())


@pytest.mark.parametrize(
    "options", [{"estimator": "DL"}, {"prior_width": 0.0}, {"min_information": -1}, {"prior_width": True}]
)
def test_settings_are_checked(options):
    with pytest.raises(ConfigError):
        Settings(**options)


@pytest.mark.parametrize(
    ("information", "pull", "X", "error", "match"),
    [
        (np.ones((4, 2, 2)), np.ones((4, 1)), np.ones((4, 1)), ShapeError, "do not match"),
        (np.full((4, 1, 1), np.nan), np.ones((4, 1)), np.ones((4, 1)), DataError, "finite"),
        (-np.ones((4, 1, 1)), np.ones((4, 1)), np.ones((4, 1)), DataError, "positive"),
        (np.ones((1, 1, 1)), np.ones((1, 1)), np.ones((1, 1)), DataError, "more participants"),
        (np.zeros((4, 1, 1)), np.zeros((4, 1)), np.ones((4, 1)), NumericalError, "coefficient 0"),
    ],
)
def test_bad_information_is_refused(information, pull, X, error, match):
    with pytest.raises(error, match=match):
        information_meta_regression(information, pull, X)


def test_a_prior_of_another_shape_is_refused():
    toy, _ = cohort(8)
    with pytest.raises(ShapeError, match="prior"):
        deshrunk_inputs(toy, LINKS, np.zeros(2), np.eye(3))
