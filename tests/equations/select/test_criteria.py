"""What a structure's score is: a priced likelihood, or the evidence, which brute force integrates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from spicestat.equations.estimate.prior import CoefficientPrior, weak_prior
from spicestat.equations.estimate.refit import Curvature, RefitResult, local_curvature, refit
from spicestat.equations.select.criteria import Arbiter, check_criterion, required_gain
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.errors import ConfigError
from spicestat.simulate import Parameter, simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

RATE, NOT_CHOSEN, BETA = "x_learning_rate_reward", "x_value_reward_not_chosen", ("beta", "x_value_reward")


# --- evidence -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    """Return two Rescorla-Wagner learners with 300 trials in ten blocks."""
    parameters = {"alpha": Parameter(0.4), "forget": Parameter(0.0), "beta": Parameter(4.0, high=20.0)}
    return SequenceDataset.from_trials(
        read_trials(simulate_cohort(2, 300, n_blocks=10, parameters=parameters, seed=2).trials, block="block")
    )


def log_likelihood(data, who, shape, start, learn):
    """Log-likelihood of one participant's choices on a grid; ``learn(logit, reward)`` is the chosen action's next."""
    total = np.zeros(shape)
    for sequence in np.flatnonzero(data.participant.numpy() == who):
        logits = np.full((2, *shape), start)
        for step in np.flatnonzero(data.valid[sequence].numpy()):
            chosen = int(data.actions[sequence, step].argmax())
            logits[chosen] = learn(logits[chosen], float(data.rewards[sequence, step, chosen]))
            if data.mask[sequence, step]:
                target = int(data.targets[sequence, step])
                total -= np.logaddexp(0.0, logits[1 - target] - logits[target])
    return total


def integrated(log_density, *spacings):
    top = log_density.max()
    return top + np.log(np.exp(log_density - top).sum() * np.prod(spacings))


def scored(build, data, name, equations, prior):
    result = refit(build(name), data, equations, prior=prior)
    return Arbiter(0.0, prior=prior).score(result), result


@pytest.mark.parametrize("center", [0.0, 0.6])
def test_evidence_of_two_coefficients_is_the_integral(build, equations_of, data, center):
    """Laplace's error is of the order of 1 / trials; what the prior and the volume add up to is ten times larger."""
    equations = equations_of("learning_rate", 2, {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0})
    where = [equations.terms.index((RATE, "1")), equations.terms.index(BETA)]
    centers, scales = np.zeros(7), np.full(7, 0.5)
    centers[where], scales[where] = [center, 1.0], [0.3, 4.0]
    score, _ = scored(build, data, "learning_rate", equations, CoefficientPrior(centers, scales))
    rates, betas = np.linspace(-0.1, 1.3, 141), np.linspace(0.0, 14.0, 141)
    rate, beta = rates[:, None], betas[None, :]
    for who in range(2):

        def learn(logit, reward, rate=rate, beta=beta):
            return logit + rate * (beta * reward - logit)

        density = log_likelihood(data, who, (141, 141), 0.5 * beta + 0 * rate, learn)
        density += student(4, center, 0.3).logpdf(rate) + student(4, 1.0, 4.0).logpdf(beta)
        brute_force = integrated(density, rates[1] - rates[0], betas[1] - betas[0])
        assert density.max() - brute_force > 1.2
        assert score[who] == pytest.approx(brute_force, abs=0.15)


def test_evidence_of_one_coefficient_is_the_integral(build, equations_of, data):
    """Of who remembers one reward: the chosen action's log odds are b r."""
    equations = equations_of("rescorla_wagner", 2, {("x_value_reward_chosen", "c_reward"): 1.0})
    prior = CoefficientPrior(np.zeros(3), np.full(3, 0.5))
    score, _ = scored(build, data, "rescorla_wagner", equations, prior)
    effects = np.linspace(-1, 4, 501)
    for who in range(2):
        density = log_likelihood(data, who, effects.shape, 0.0, lambda logit, reward: effects * reward)
        brute_force = integrated(density + student(4, 0, 0.5).logpdf(effects), effects[1] - effects[0])
        assert score[who] == pytest.approx(brute_force, abs=0.1)


def test_evidence_without_information_is_that_of_chance(build, equations_of, data):
    """Without an inverse temperature, choices say nothing of the learning rate: the posterior is the prior."""
    equations = equations_of("learning_rate", 2, {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep"})
    score, _ = scored(build, data, "learning_rate", equations, weak_prior(equations, 1.0))
    chance = -data.trials_per_participant.numpy() * np.log(2)
    np.testing.assert_allclose(score, chance, atol=0.3)


def test_evidence_punishes_a_coefficient_that_explains_nothing(build, equations_of, data):
    """No forgetting was simulated: freeing a kept own state gains less than it costs."""
    kept = {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
    small = equations_of("learning_rate", 2, kept)
    large = equations_of("learning_rate", 2, kept | {(NOT_CHOSEN, NOT_CHOSEN): 1.0})
    prior = weak_prior(small, 1.0)
    (low, one), (high, other) = (scored(build, data, "learning_rate", equations, prior) for equations in (small, large))
    assert (other.log_likelihood > one.log_likelihood - 0.1).all()
    assert high.sum() < low.sum()


# --- scores by hand -------------------------------------------------------------------------------------------------


def result_of(equations, log_likelihood, variance):
    """Refit result with a diagonal covariance: variance (P, K), NaN where a coefficient is not identified."""
    free = equations.status == FREE
    covariance = np.full((*free.shape, free.shape[1]), np.nan)
    for who, own in enumerate(free):
        where = np.flatnonzero(own)
        covariance[who][np.ix_(where, where)] = np.diag(variance[who, where])
    n = len(free)
    converged, at_bound = np.ones(n, dtype=bool), np.zeros_like(free)
    return RefitResult(equations, covariance, np.array(log_likelihood), np.full(n, 50), converged, at_bound)


@pytest.fixture
def three(equations_of):
    """Two, three and no free coefficients; the first and the last keep an own state."""
    equations = equations_of(
        "learning_rate", 3, {(RATE, "1"): 0.4, (NOT_CHOSEN, "1"): 0.1, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
    )
    status = equations.status.copy()
    constant, own = equations.terms.index((NOT_CHOSEN, "1")), equations.terms.index((NOT_CHOSEN, NOT_CHOSEN))
    status[0, constant] = EXCLUDED
    status[1, own] = EXCLUDED
    status[2] = np.where(np.arange(7) == own, KEPT, EXCLUDED)
    return equations.with_status(status)


def test_price_by_hand(three):
    """A coefficient costs the price, an own state that is kept next to nothing, but not nothing."""
    score = Arbiter(2.0).score(result_of(three, [-50.0, -60.0, -70.0], np.ones((3, 7))))
    np.testing.assert_allclose(score, [-50 - 4, -60 - 6, -70], atol=0.1)
    assert (score[[0, 2]] < [-54, -70]).all()
    assert score[1] == -66


def test_who_is_not_identified_costs_extra_without_a_prior(three):
    variance = np.ones((3, 7))
    variance[1, 0] = np.nan
    result = result_of(three, [-50.0, -60.0, -70.0], variance)
    plain, strict = Arbiter(2.0).score(result), Arbiter(2.0, identification_price=10.0).score(result)
    np.testing.assert_allclose(strict - plain, [0, -10, 0])


def test_evidence_by_hand(three):
    """Log-likelihood, log prior at the estimates, and half the log of 2 pi times the variances."""
    prior = CoefficientPrior(np.linspace(0, 0.3, 7), np.linspace(0.5, 2.0, 7))
    variance = np.random.default_rng(0).uniform(0.01, 0.5, size=(3, 7))
    score = Arbiter(0.0, prior=prior).score(result_of(three, [-50.0, -60.0, -70.0], variance))
    kept = Arbiter(0.0).score(result_of(three, [0.0, 0.0, 0.0], variance))
    for who, log_likelihood in enumerate([-50.0, -60.0, -70.0]):
        own = three.status[who] == FREE
        density = student(4, prior.center[own], prior.scale[own]).logpdf(three.coefficients[who, own]).sum()
        expected = log_likelihood + density + 0.5 * np.log(2 * np.pi * variance[who, own]).sum()
        assert score[who] == pytest.approx(expected + kept[who])


def test_evidence_without_a_peak_is_minus_infinity(three):
    """A coefficient at its bound or a flat likelihood; somebody without free coefficients needs no peak."""
    prior = CoefficientPrior(np.zeros(7), np.ones(7))
    variance = np.ones((3, 7))
    variance[1, 0] = np.nan
    score = Arbiter(0.0, prior=prior).score(result_of(three, [-50.0, -60.0, -70.0], variance))
    assert np.isfinite(score).tolist() == [True, False, True]
    assert score[1] == -np.inf


@pytest.mark.parametrize("with_prior", [True, False])
def test_a_prediction_at_the_peak_is_the_score(with_prior, build, equations_of, data):
    """Up to the prior's curvature, which is that of a normal in both."""
    equations = equations_of("learning_rate", 2, {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0})
    prior = weak_prior(equations, 1.0) if with_prior else None
    arbiter = Arbiter(0.0 if with_prior else 1.5, prior=prior)
    result = refit(build("learning_rate"), data, equations, prior=prior)
    curvature = local_curvature(build("learning_rate"), data, result.equations)
    predicted = arbiter.predict(result.log_likelihood, result.equations, curvature)
    np.testing.assert_allclose(predicted, arbiter.score(result), atol=1e-3)


# --- information ----------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**20), size=st.floats(1e-3, 1e3), with_prior=st.booleans())
@settings(max_examples=50)
def test_information_is_positive_definite(seed, size, with_prior, equations_of):
    """Whatever the likelihood's curvature: of any sign, or none at all."""
    rng = np.random.default_rng(seed)
    equations = equations_of("learning_rate", 3, {BETA: rng.normal(size=3)})
    status = np.where(equations.own_state, rng.integers(0, 3, size=(3, 7)), rng.integers(0, 2, size=(3, 7)))
    equations = equations.with_status(status.astype("int8")).with_coefficients(rng.normal(size=(3, 7)))
    raw = rng.normal(size=(3, 7, 7)) * size
    likelihoods = raw + raw.transpose(0, 2, 1)
    likelihoods[0] = 0.0
    before = likelihoods.copy()
    arbiter = Arbiter(0.0, prior=CoefficientPrior(np.zeros(7), np.ones(7)) if with_prior else None)
    information = arbiter.information(equations, likelihoods)
    assert (np.linalg.eigvalsh(information) > 0).all()
    unit = arbiter.inverse(equations, likelihoods) @ information
    np.testing.assert_allclose(unit, np.tile(np.eye(7), (3, 1, 1)), atol=1e-6)
    fixed = equations.status != FREE
    assert (information[fixed[:, :, None] & fixed[:, None, :] & np.eye(7, dtype=bool)] == 1).all()
    assert (np.abs(information[fixed[:, :, None] ^ fixed[:, None, :]]) < 1e-12).all()
    np.testing.assert_array_equal(likelihoods, before)


def test_a_convex_likelihood_keeps_its_information(equations_of):
    """The prior's precision comes on top."""
    rng = np.random.default_rng(1)
    equations = equations_of("learning_rate", 2, {(RATE, "1"): 0.3, BETA: 2.0})
    roots = rng.normal(size=(2, 7, 7))
    likelihoods = roots @ roots.transpose(0, 2, 1)
    prior = CoefficientPrior(np.zeros(7), np.ones(7))
    where = np.flatnonzero(equations.status[0] == FREE)
    plain = Arbiter(0.0).information(equations, likelihoods)[:, where[:, None], where]
    np.testing.assert_allclose(plain, likelihoods[:, where[:, None], where], rtol=1e-3, atol=1e-4)
    more = Arbiter(0.0, prior=prior).information(equations, likelihoods)[:, where[:, None], where] - plain
    expected = prior.precision(equations.coefficients)[:, where]
    np.testing.assert_allclose(np.einsum("pkk->pk", more), expected)


def test_a_structure_that_promises_more_likelihood_scores_higher(equations_of):
    equations = equations_of("learning_rate", 1, {(RATE, "1"): 0.3, BETA: 2.0})
    curvature = Curvature(np.zeros((1, 7)), np.eye(7)[None])
    for arbiter in (Arbiter(1.0), Arbiter(0.0, prior=CoefficientPrior(np.zeros(7), np.ones(7)))):
        low, high = (arbiter.predict(np.array([value]), equations, curvature) for value in (-20.0, -17.0))
        assert high - low == pytest.approx(3.0)


# --- price of a term ------------------------------------------------------------------------------------------------


def test_required_gain_by_hand():
    assert required_gain(40, 200, "aic", 0.001) == 40.0
    assert required_gain(1, 200, "aic", 0.05) == pytest.approx(3.841458820694124 / 2)
    assert required_gain(100, 200, "bic", 0.001) == pytest.approx(50 * np.log(200))


def test_required_gain_grows_with_participants_and_certainty():
    sizes = [required_gain(n, 100, "aic", 0.001) for n in range(1, 60)]
    assert sizes == sorted(sizes)
    assert required_gain(5, 100, "aic", 1e-4) > required_gain(5, 100, "aic", 1e-3)
    assert required_gain(5, 1000, "bic", 0.5) > required_gain(5, 100, "bic", 0.5)


@pytest.mark.parametrize("criterion", ["aic", "bic", "evidence", "cv"])
def test_known_criteria_are_accepted(criterion):
    check_criterion(criterion, 0.01)


@pytest.mark.parametrize(("criterion", "significance"), [("dic", 0.1), ("aic", 0.0), ("aic", 1.0), ("bic", -1)])
def test_unknown_prices_are_refused(criterion, significance):
    with pytest.raises(ConfigError):
        required_gain(3, 100, criterion, significance)
