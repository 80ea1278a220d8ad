"""The one-stage model: against exact answers for choices whose likelihood is known, and its tables."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, xlogy
from scipy.stats import t as student

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, ConvergenceWarning
from spicestat.group.formula.design import build_design
from spicestat.group.inputs.contract import Equation, GroupInputs
from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.quadrature import Place
from spicestat.group.methods import bayes
from spicestat.group.methods.bayes import Settings, estimate, sample_on_mixture
from spicestat.group.posterior.approximation import approximate_likelihoods, compare_likelihoods
from spicestat.group.posterior.scaling import make_scaling
from spicestat.pooled.shared import SharedWeights

pytest.importorskip("numpyro")

TERMS = (("x_value", "1"), ("x_trace", "1"))


@dataclass
class Coins:
    """Participants who throw coins: each coefficient is the probability of one coin's heads; heads (P, K) of n."""

    heads: np.ndarray
    n: int

    @property
    def participants(self):
        return tuple(f"s{row:02d}" for row in range(len(self.heads)))

    @property
    def terms(self):
        return TERMS[: self.heads.shape[1]]

    @property
    def n_trials(self):
        return np.full(len(self.heads), self.n * self.heads.shape[1])

    @property
    def low(self):
        return np.zeros(self.heads.shape[1])

    high = property(lambda self: self.low + 1.0)

    def log_likelihood(self, coefficients):
        tails = self.n - self.heads
        return (xlogy(self.heads, coefficients) + xlogy(tails, 1 - coefficients)).sum(axis=-1)

    def derivatives(self, coefficients):
        tails = self.n - self.heads
        gradient = self.heads / coefficients - tails / (1 - coefficients)
        information = self.heads / coefficients**2 + tails / (1 - coefficients) ** 2
        return self.log_likelihood(coefficients), gradient, information[:, :, None] * np.eye(len(self.terms))

    def select(self, people):
        return Coins(self.heads[people], self.n)


def throw(n_people, n, n_coins, seed):
    rng = np.random.default_rng(seed)
    X = np.column_stack([np.ones(n_people), rng.normal(size=n_people)])
    gamma = np.array([[0.4, -0.5], [0.8, 0.0]])[:, :n_coins]
    sigma = np.array([[0.6, 0.3], [0.3, 0.5]])[:n_coins, :n_coins]
    theta = X @ gamma + rng.multivariate_normal(np.zeros(n_coins), sigma, n_people)
    return Coins(rng.binomial(n, expit(theta)), n), X


def exact(coins, scale):
    """Posterior mean and standard deviation of mean and log sd of one coin, on a grid."""
    location, log_sd = np.linspace(-2.5, 2.5, 121) * scale.spread[0] + scale.centre[0], np.linspace(-4, 1.5, 111)
    nodes, weights = np.polynomial.hermite_e.hermegauss(61)
    theta = location[:, None, None] + np.exp(log_sd)[None, :, None] * nodes
    log_posterior = np.zeros(theta.shape[:2])
    for heads in coins.heads[:, 0]:
        likelihood = np.exp(heads * theta - coins.n * np.logaddexp(0, theta) + coins.n * np.log(2))
        log_posterior += np.log(likelihood @ (weights / weights.sum()))
    away = (location - scale.centre[0]) / (2.5 * scale.spread[0])
    log_posterior += (-0.5 * away**2)[:, None]
    log_posterior += student.logpdf(np.exp(log_sd) / scale.spread[0], 3) + log_sd
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()
    moments = []
    for values, density in ((location, posterior.sum(axis=1)), (log_sd, posterior.sum(axis=0))):
        mean = float(values @ density)
        moments.append((mean, float(np.sqrt((values - mean) ** 2 @ density))))
    return moments


def rough_place(coins):
    """Normal approximations that know nothing of the group but its rough size."""
    share = (coins.heads + 1) / (coins.n + 2)
    mean = np.log(share / (1 - share))
    spread = 1 / (coins.n * share * (1 - share) + 1)
    d = mean.shape[1]
    return Place(mean, spread[:, :, None] * np.eye(d), np.tile(mean.mean(axis=0), (len(mean), 1)), np.eye(d))


@pytest.mark.parametrize("n", [6, 40])
def test_posterior_of_coins_is_exact(n):
    # Monte Carlo error of means is below .03 posterior standard deviations (ESS > 1000); seed fixed
    coins, _ = throw(30, n, 1, seed=n)
    scaling = make_scaling(np.ones((30, 1)), np.array([0.4]), np.array([1.0]))
    place = rough_place(coins)
    links = [find_link("logit")]
    mixture = approximate_likelihoods(coins, links, place, np.ones(1), n_nodes=1024, n_components=6)
    settings = Settings(draws=600, tune=300, seed=1)
    found = sample_on_mixture(mixture, np.ones((30, 1)), scaling, settings, coins.participants)
    expected = exact(coins, scaling)
    for draws, (mean, sd) in zip((found.gamma, np.log(found.sd)), expected, strict=True):
        assert abs(draws.mean() - mean) < 0.15 * sd
        assert draws.std() == pytest.approx(sd, rel=0.1)
    compared = compare_likelihoods(mixture, coins, links, found.theta.reshape(-1, 30, 1)[::10])
    assert compared["ess_share"].min() > 0.95
    assert compared["log_ratio_sd"].max() < 0.2


class Fit:
    """What `estimate` needs of a fit."""

    def __init__(self, n_people=24, n=30):
        self.coins, X = throw(n_people, n, 2, seed=3)
        share = (self.coins.heads + 0.5) / (n + 1)
        ids = self.coins.participants
        frame = pd.DataFrame(
            {
                "participant": np.repeat(ids, 2),
                "module": np.tile([module for module, _ in TERMS], n_people),
                "term": "1",
                "estimate": share.ravel(),
                "std_error": np.sqrt(share * (1 - share) / n).ravel(),
            }
        )
        people = pd.DataFrame({"participant": ids, "score": X[:, 1]})
        table = CoefficientTable.from_frame(frame, None, people)
        design = build_design("~ score", people)
        nothing = np.full(n_people, np.nan)
        rows = np.arange(n_people)
        self.equations = tuple(Equation(*term, rows, nothing, nothing, 0, 0.0) for term in TERMS)
        self.inputs = GroupInputs(table, design, self.equations, self.coins)


@pytest.fixture(scope="module")
def fit():
    return Fit()


@pytest.fixture(scope="module")
def result(fit):
    return estimate(fit.inputs, Settings(links={"x_value": "logit", "x_trace": "logit"}, draws=400, tune=300))


def test_tables(fit, result):
    fixed = result.fixed.set_index(["module", "term"])
    # the truth within 4 posterior standard deviations: wrong once in 15 000 for each of four; seed fixed
    for module, values in (("x_value", (0.4, 0.8)), ("x_trace", (-0.5, 0.0))):
        for term, truth in zip(("(Intercept)", "score"), values, strict=True):
            row = fixed.loc[(module, term)]
            assert abs(row["estimate"] - truth) < 4 * row["std_error"]
    assert result.links == dict.fromkeys(TERMS, "logit")
    compared = result.posterior.approximation
    assert compared["participant"].tolist() == list(fit.coins.participants)
    assert compared["ess_share"].min() > 0.95
    data = result.posterior.inference_data
    assert data.posterior["coefficient"].shape == (4, 400, 24, 2)
    assert data.constant_data["n_choices"].to_numpy().tolist() == [60] * 24


def test_participants_lie_between_their_data_and_the_group(fit, result):
    drawn = result.posterior.inference_data.posterior["coefficient"].mean(("chain", "draw")).to_numpy()
    share = (fit.coins.heads + 0.5) / 31
    raw = np.log(share / (1 - share))
    assert (drawn.std(axis=0) < raw.std(axis=0)).all()
    assert np.corrcoef(drawn[:, 0], raw[:, 0])[0, 1] > 0.95


def test_only_what_was_asked_for_is_reported(fit):
    inputs = GroupInputs(fit.inputs.table, fit.inputs.design, fit.equations[1:], fit.coins)
    found = estimate(inputs, Settings(links={"x_value": "logit", "x_trace": "logit"}, draws=400, tune=300))
    assert set(found.fixed["module"]) == {"x_trace"}
    assert set(found.covariance) == {TERMS[1]}
    assert len(found.joint_covariance) == 4


@dataclass
class CoinsBesideShared(Coins):
    """Beside a weight of the population, with which the probabilities of heads move."""

    shared: SharedWeights


def test_what_is_not_known_of_shared_weights_moves_everybody_alike(fit, result):
    """The same draws, and what is added to them: variances of 1,600 draws are 4 % off, one standard error."""
    shared = SharedWeights(np.zeros(1), np.array([[0.04]]), np.array([[0.012], [0.0]]))
    inputs = replace(fit.inputs, likelihood=CoinsBesideShared(fit.coins.heads, fit.coins.n, shared))
    found = estimate(inputs, Settings(links={"x_value": "logit", "x_trace": "logit"}, draws=400, tune=300))
    gamma, own = (
        found.posterior.inference_data.posterior[name] - result.posterior.inference_data.posterior[name]
        for name in ("fixed", "coefficient")
    )
    moves = gamma.sel(covariate="(Intercept)").to_numpy()
    mean = result.posterior.inference_data.posterior["coefficient"].to_numpy().mean(axis=(0, 1, 2))[0]
    of_logit = 0.012**2 / 0.04 / (expit(mean) * expit(-mean)) ** 2
    assert moves[..., 0].var() == pytest.approx(of_logit, rel=0.15) and np.abs(moves[..., 1]).max() < 1e-9
    assert np.abs(gamma.sel(covariate="score")).max() < 1e-9
    np.testing.assert_allclose(own.to_numpy(), np.broadcast_to(moves[:, :, None], own.shape), atol=1e-9)


def test_a_coarse_approximation_is_told(fit, monkeypatch):
    monkeypatch.setattr(bayes, "_MIN_ESS_SHARE", 0.9999)
    settings = Settings(links={"x_value": "logit", "x_trace": "logit"}, draws=400, tune=300, n_nodes=64)
    with pytest.warns(ConvergenceWarning, match=r"\d+ participants is approximated coarsely .* Raise n_nodes"):
        estimate(fit.inputs, settings)


class EitherCoin(Coins):
    """Nobody knows which side was called heads, so that p and 1 - p are as likely."""

    def log_likelihood(self, coefficients):
        there = super().log_likelihood(coefficients)
        return np.logaddexp(there, super().log_likelihood(1 - coefficients))


def test_two_humps_need_two_components():
    coins = EitherCoin(np.array([[15], [16], [17]]), 20)
    links = [find_link("logit")]
    place = Place(np.zeros((3, 1)), np.full((3, 1, 1), 6.0), np.zeros((3, 1)), np.full((1, 1), 6.0))
    grid = np.tile(np.linspace(-3, 3, 200)[:, None, None], (1, 3, 1))
    away = {}
    for n_components in (1, 6):
        mixture = approximate_likelihoods(coins, links, place, np.ones(1), n_nodes=1024, n_components=n_components)
        away[n_components] = compare_likelihoods(mixture, coins, links, grid)["log_ratio_sd"]
    assert (away[1] > 5 * away[6]).all()
    assert (away[6] < 0.3).all()


def test_without_choices_it_says_what_to_do(fit):
    bare = GroupInputs(fit.inputs.table, fit.inputs.design, fit.equations)
    with pytest.raises(ConfigError, match="reads the choices"):
        estimate(bare, Settings())


@pytest.mark.parametrize(("name", "value"), [("n_nodes", 100), ("n_nodes", 16), ("n_components", 0), ("draws", 0)])
def test_settings_are_checked(name, value):
    with pytest.raises(ConfigError, match=name):
        Settings(**{name: value})
