"""Learners played together agree with AgentQ step by step, and with the policy that they report."""

# ruff: noqa: NPY002  (the seed API promises to follow NumPy's global state)

import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.simulate import (
    AgentQ,
    BanditsDrift,
    BanditsFlip,
    BanditsFlipEckstein2022,
    BanditsStandard,
    BanditsSwitch,
    learner_parameters,
    replay_learners,
    simulate_learners,
)

NAN = np.nan

MECHANISMS = {
    "symmetric": {},
    "asymmetric": {"alpha_penalty": (0.0, 1.0)},
    "forgetting": {"forget_rate": (0.0, 1.0)},
    "perseverating": {"beta_choice": (-3.0, 3.0), "alpha_choice": (0.0, 1.0)},
    "counterfactual": {"alpha_counterfactual_reward": (0.0, 0.5), "alpha_counterfactual_penalty": (0.0, 0.5)},
    "all": {
        "alpha_penalty": (0.0, 1.0),
        "forget_rate": (0.0, 0.5),
        "beta_choice": (-3.0, 3.0),
        "alpha_choice": (0.0, 1.0),
        "alpha_counterfactual_reward": (0.1, 0.5),
        "alpha_counterfactual_penalty": (0.0, 0.5),
        "beta_counterfactual": (-2.0, 2.0),
    },
}


def agents_of(mechanism, rng, n_agents, n_actions):
    """Agents with parameters drawn from the ranges of a mechanism."""
    ranges = {"alpha_reward": (0.0, 1.0), "beta_reward": (-3.0, 9.0)} | MECHANISMS[mechanism]
    drawn = [{name: rng.uniform(*limits) for name, limits in ranges.items()} for _ in range(n_agents)]
    return [AgentQ(n_actions, **parameters) for parameters in drawn]


def step_by_step(agents, choices, rewards):
    probabilities = np.empty(rewards.shape)
    for row, agent in enumerate(agents):
        agent.new_sess()
        for trial in range(choices.shape[1]):
            probabilities[row, trial] = agent.get_choice_probs()
            agent.update(choices[row, trial], rewards[row, trial])
    return probabilities


def frame_of(agents):
    return pd.DataFrame([learner_parameters(agent.parameters) for agent in agents])


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("counterfactual", [False, True])
def test_probabilities_are_those_of_agents_step_by_step(mechanism, counterfactual):
    agents = agents_of(mechanism, np.random.default_rng(1), 8, n_actions=3)
    environment = BanditsDrift(0.1, 3, counterfactual=counterfactual, seed=1)
    run = simulate_learners(frame_of(agents), environment, 60, seed=2)
    expected = step_by_step(agents, run.choices, run.rewards)
    np.testing.assert_allclose(run.probabilities, expected, rtol=0, atol=1e-12)
    replayed = replay_learners(frame_of(agents), run.choices, run.rewards)
    np.testing.assert_allclose(replayed, expected, rtol=0, atol=1e-12)
    assert run.probabilities.std() > 0.05


@given(seed=st.integers(0, 10**6), n_actions=st.integers(2, 4), mechanism=st.sampled_from(sorted(MECHANISMS)))
@settings(max_examples=30)
def test_replays_agree_on_any_data(seed, n_actions, mechanism):
    """Missed trials, missing rewards, rewards of any size between 0 and 1, SPICE's -1."""
    rng = np.random.default_rng(seed)
    agents = agents_of(mechanism, rng, 4, n_actions)
    choices = rng.integers(-1, n_actions, size=(4, 12))
    rewards = rng.choice([0.0, 1.0, 0.5, rng.random(), NAN], size=(4, 12, n_actions))
    hidden = (choices[..., None] != np.arange(n_actions)) & (rng.random(rewards.shape) < 0.3)
    rewards[hidden] = -1.0
    found = replay_learners(frame_of(agents), choices, rewards)
    np.testing.assert_allclose(found, step_by_step(agents, choices, rewards), rtol=0, atol=1e-12)


def test_the_trace_is_that_of_the_choice_model():
    """C <- d C + p [chosen], added to the logits."""
    choices = np.array([[0, 0, 1, 0]])
    rewards = np.full((1, 4, 2), NAN)
    found = replay_learners({"alpha": 0.0, "beta": 1.0, "perseverance": 0.5, "persistence": 0.8}, choices, rewards)
    first, second = np.array([0, 0.5, 0.9, 0.72]), np.array([0, 0, 0, 0.5])
    np.testing.assert_allclose(found[0, :, 0], 1 / (1 + np.exp(second - first)))


@pytest.mark.parametrize("beta", [1e5, -1e5])
def test_probabilities_survive_large_temperatures(beta):
    rewards = np.array([[[1.0, NAN], [1.0, NAN]]])
    found = replay_learners({"alpha": 0.5, "beta": beta}, np.zeros((1, 2), dtype=int), rewards)
    np.testing.assert_array_equal(found[0, 1], [1, 0] if beta > 0 else [0, 1])


@pytest.mark.parametrize(
    "environment",
    [
        BanditsDrift(0.2, 3, seed=1),
        BanditsFlip(seed=1),
        BanditsSwitch(seed=1, counterfactual=True),
        BanditsFlipEckstein2022(seed=1),
        BanditsStandard((0.9, 0.5, 0.2, 0.1), seed=1),
    ],
    ids=lambda environment: type(environment).__name__,
)
def test_choices_follow_the_reported_probabilities(environment):
    """200 x 50 choices per task; |z| > 4.5 for one of A actions has probability 3e-5 per task."""
    rng = np.random.default_rng(1)
    parameters = {
        "alpha": rng.uniform(0.1, 0.9, 200), "beta": rng.uniform(0, 6, 200), "perseverance": rng.normal(0, 1, 200)
    }  # fmt: skip
    run = simulate_learners(parameters, environment, 50, seed=3)
    expected = run.probabilities
    taken = run.choices[..., None] == np.arange(environment.n_actions)
    z = (taken - expected).sum(axis=(0, 1)) / np.sqrt((expected * (1 - expected)).sum(axis=(0, 1)))
    assert np.abs(z).max() < 4.5
    np.testing.assert_allclose(expected.sum(axis=-1), 1)
    assert run.chosen_probabilities.shape == run.chosen_rewards.shape == (200, 50)
    assert np.isin(run.chosen_rewards, (0, 1)).all()
    assert np.isnan(run.rewards).any() != environment.counterfactual


def test_better_learners_earn_more():
    """2 x 400 x 100 trials; standard error of the difference about .003."""
    run = simulate_learners({"alpha": 0.5, "beta": np.repeat([0.0, 8.0], 400)}, BanditsStandard((0.9, 0.1)), 100)
    idle, keen = run.chosen_rewards[:400].mean(), run.chosen_rewards[400:].mean()
    assert idle == pytest.approx(0.5, abs=0.015)
    assert keen > 0.8


def test_blocks_start_afresh_and_stand_next_to_each_other():
    parameters = {"alpha": [0.1, 0.9], "beta": [2.0, 8.0], "perseverance": 1.0}
    run = simulate_learners(parameters, BanditsDrift(0.1), 30, n_blocks=3, seed=1)
    assert run.choices.shape == (6, 30)
    np.testing.assert_allclose(run.probabilities[:, 0], 0.5)
    repeated = {"alpha": [0.1] * 3 + [0.9] * 3, "beta": [2.0] * 3 + [8.0] * 3, "perseverance": 1.0}
    replayed = replay_learners(repeated, run.choices, run.rewards)
    np.testing.assert_allclose(replayed, run.probabilities, rtol=0, atol=1e-12)


def test_the_seed_decides_and_the_global_state_does_not():
    def run(seed, state=0):
        environment = BanditsDrift(0.2, seed=state)
        np.random.seed(state)
        before = np.random.get_state()[1].tolist()
        choices = simulate_learners({"alpha": [0.5] * 3, "beta": 3.0}, environment, 40, seed=seed).choices
        assert np.random.get_state()[1].tolist() == before
        return choices

    np.testing.assert_array_equal(run(1), run(1, state=5))
    assert (run(1) != run(2)).any()
    assert len(np.unique(run(1), axis=0)) == 3
    np.testing.assert_array_equal(run(np.random.default_rng(1)), run(1))


def test_one_learner_may_come_as_numbers_and_a_table_may_name_participants():
    assert simulate_learners({"alpha": 0.5, "beta": 3}, BanditsDrift(0.2), 5).choices.shape == (1, 5)
    table = pd.DataFrame({"participant": ["a", "b"], "alpha": [0.5, 0.2], "beta": [3.0, 2.0]})
    assert simulate_learners(table, BanditsDrift(0.2), 5).choices.shape == (2, 5)


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"alpha": 0.5}, ConfigError),
        ({"alpha": 0.5, "beta": 1.0, "gamma": 1.0}, ConfigError),
        ({"alpha": 1.5, "beta": 1.0}, ConfigError),
        ({"alpha": [0.5, NAN], "beta": 1.0}, ConfigError),
        ({"alpha": 0.5, "beta": np.inf}, ConfigError),
        ({"alpha": 0.5, "beta": 1.0, "persistence": -0.1}, ConfigError),
        ({"alpha": 0.5, "beta": 1.0, "forget": 0.6, "counterfactual": 0.5}, ConfigError),
        ({"alpha": 0.5, "beta": 1.0, "beta_counterfactual": 0.5}, ConfigError),
        ({"alpha": [0.5, 0.4], "beta": [1.0, 2.0, 3.0]}, ShapeError),
        ({"alpha": [[0.5]], "beta": 1.0}, ShapeError),
    ],
)
def test_parameters_that_do_not_fit_are_refused(parameters, error):
    with pytest.raises(error):
        simulate_learners(parameters, BanditsDrift(0.2), 5)


def test_data_that_do_not_fit_are_refused():
    parameters = {"alpha": 0.5, "beta": 1.0}
    with pytest.raises(ShapeError):
        replay_learners(parameters, np.zeros((2, 3), dtype=int), np.zeros((2, 4, 2)))
    with pytest.raises(ShapeError, match="one learner per sequence"):
        replay_learners({"alpha": [0.5] * 3, "beta": 1.0}, np.zeros((2, 3), dtype=int), np.zeros((2, 3, 2)))
    with pytest.raises(DataError, match="not one of the actions"):
        replay_learners(parameters, np.full((2, 3), 2), np.zeros((2, 3, 2)))


def test_ten_thousand_learners_take_seconds():
    """Five million trials of four mechanisms; about 2 s here, a loop over agents takes 5 minutes."""
    rng = np.random.default_rng(1)
    names = ("alpha", "alpha_penalty", "forget", "perseverance", "persistence")
    parameters = {name: rng.random(10_000) for name in names} | {"beta": 3.0}
    start = time.process_time()
    run = simulate_learners(parameters, BanditsDrift(0.1), 500)
    assert time.process_time() - start < 20
    assert run.choices.shape == (10_000, 500)
