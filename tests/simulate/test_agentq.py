"""Agents learn, choose and sample parameters as documented; regressions of SPICE 0.2.0's agents."""

# ruff: noqa: NPY002  (the seed API promises to follow NumPy's global state)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import ConfigError, DataError
from spicestat.simulate import Agent, AgentQ, AgentQSampleZeros

NAN = np.nan


def value(agent):
    return agent.state["x_value_reward"]


def test_defaults_are_those_of_the_seed():
    agent = AgentQ()
    assert agent.parameters == {
        "beta_reward": 3.0,
        "alpha_reward": 0.2,
        "alpha_penalty": 0.2,
        "beta_counterfactual": 0.0,
        "alpha_counterfactual_reward": 0.0,
        "alpha_counterfactual_penalty": 0.0,
        "beta_choice": 0.0,
        "alpha_choice": 1.0,
        "forget_rate": 0.0,
    }
    assert (agent.n_actions, agent._n_actions, agent.deterministic) == (2, 2, False)
    assert Agent().parameters == {"beta_reward": 3.0, "alpha_reward": 0.2}
    assert Agent().deterministic


def test_the_simplest_agent_learns_the_chosen_value_only():
    agent = Agent(n_actions=3, beta_reward=2.0, alpha_reward=0.5)
    agent.update(1, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(value(agent), [0.5, 0.75, 0.5])
    np.testing.assert_allclose(agent.q, [1.0, 1.5, 1.0])
    np.testing.assert_allclose(agent.state["x_learning_rate_reward"], [0, 0.5, 0])
    agent.update(1, np.array([NAN, 0.0, NAN]))
    np.testing.assert_allclose(value(agent), [0.5, 0.375, 0.5])


def test_a_session_starts_at_the_initial_values():
    agent = AgentQ(beta_choice=1.0, seed=1)
    agent.update(0, [1.0, NAN])
    agent.new_sess(participant_id=3, experiment_id=1, additional_embedding_inputs=np.zeros(2))
    assert {name: set(values) for name, values in agent.state.items()} == {
        "x_value_reward": {0.5},
        "x_value_counterfactual": {0.5},
        "x_value_choice": {0.0},
        "x_learning_rate_reward": {0.0},
    }


def test_rates_differ_for_rewards_and_penalties():
    agent = AgentQ(alpha_reward=0.8, alpha_penalty=0.1)
    agent.update(0, [1.0, NAN])
    np.testing.assert_allclose(value(agent), [0.9, 0.5])
    agent.update(0, [0.0, NAN])
    np.testing.assert_allclose(value(agent), [0.81, 0.5])
    agent.update(0, [0.5, NAN])  # .5 is no penalty
    np.testing.assert_allclose(value(agent), [0.81 + 0.8 * (0.5 - 0.81), 0.5])
    assert agent.state["x_learning_rate_reward"].tolist() == [0.8, 0]


@pytest.mark.parametrize("penalty", [-1, -0.5])
def test_a_negative_penalty_rate_is_the_reward_rate(penalty):
    agent = AgentQ(alpha_reward=0.4, alpha_penalty=penalty)
    agent.update(0, [0.0, NAN])
    np.testing.assert_allclose(value(agent), [0.3, 0.5])


def test_a_penalty_rate_of_zero_is_zero():
    agent = AgentQ(alpha_reward=0.4, alpha_penalty=0)
    agent.update(0, [0.0, NAN])
    np.testing.assert_allclose(value(agent), [0.5, 0.5])


def test_values_not_chosen_are_forgotten():
    agent = AgentQ(n_actions=3, alpha_reward=1.0, forget_rate=0.25)
    agent.update(2, [NAN, NAN, 1.0])
    agent.update(0, [0.0, NAN, NAN])
    np.testing.assert_allclose(value(agent), [0.0, 0.5, 0.875])


def test_the_choice_kernel_follows_its_equation():
    agent = AgentQ(n_actions=3, beta_reward=0.0, beta_choice=2.0, alpha_choice=0.25)
    agent.update(1, [NAN, 1.0, NAN])
    np.testing.assert_allclose(agent.state["x_value_choice"], [0, 0.25, 0])
    agent.update(0, [1.0, NAN, NAN])
    np.testing.assert_allclose(agent.state["x_value_choice"], [0.25, 0.1875, 0])
    np.testing.assert_allclose(agent.q, [0.5, 0.375, 0])
    last = AgentQ(alpha_choice=1.0, beta_choice=-1.0)
    for choice in (0, 0, 1):
        last.update(choice, 0.5)
    np.testing.assert_allclose(last.get_state_value("x_value_choice"), [0, -1])


def test_shown_counterfactual_rewards_are_learned_with_their_own_rates():
    agent = AgentQ(n_actions=3, alpha_reward=0.0, alpha_counterfactual_reward=0.6, alpha_counterfactual_penalty=0.2)
    agent.update(0, np.array([0.0, 1.0, 0.0]))
    np.testing.assert_allclose(value(agent), [0.5, 0.8, 0.4])
    np.testing.assert_allclose(agent.state["x_learning_rate_reward"], [0, 0.6, 0.2])


@pytest.mark.parametrize(("reward", "expected"), [(1.0, 0.5 - 0.6 * 0.5), (0.0, 0.5 + 0.2 * 0.5)])
def test_counterfactual_rewards_that_were_not_shown_are_one_less_the_reward(reward, expected):
    """The rate is that of the reward received, as in SPICE and in Eckstein et al. (2022)."""
    for hidden in (NAN, -1.0):
        agent = AgentQ(alpha_reward=0.0, alpha_counterfactual_reward=0.6, alpha_counterfactual_penalty=0.2)
        agent.update(0, np.array([reward, hidden]))
        np.testing.assert_allclose(value(agent), [0.5, expected])


def test_forgetting_and_counterfactual_learning_add_up():
    agent = AgentQ(alpha_reward=1.0, alpha_counterfactual_penalty=0.5, forget_rate=0.25)
    agent.update(0, [1.0, NAN])
    agent.update(1, [NAN, 0.0])
    # value 1, then half of the way to 1 - 0 and a quarter of the way to .5
    np.testing.assert_allclose(value(agent), [1 + 0.5 * (1 - 1) + 0.25 * (0.5 - 1), 0])


def test_beta_counterfactual_weighs_what_was_foregone():
    """Regression: SPICE 0.2.0 accepts beta_counterfactual and ignores it."""
    plain, weighing = (AgentQ(alpha_counterfactual_reward=0.5, beta_counterfactual=weight) for weight in (0.0, 2.0))
    for agent in (plain, weighing):
        agent.update(0, [0.0, 1.0])
    np.testing.assert_allclose(weighing.state["x_value_counterfactual"], [0.5, 0.75])
    np.testing.assert_allclose(weighing.q - plain.q, [1.0, 1.5])
    with pytest.raises(ConfigError, match="no effect"):
        AgentQ(beta_counterfactual=1.0)


def test_whole_number_rewards_do_not_round_the_learning_rate():
    """Regression: SPICE 0.2.0 makes its array of learning rates of the rewards' type, so ints give rate 0."""
    agent, floats = AgentQ(alpha_reward=0.8), AgentQ(alpha_reward=0.8)
    agent.update(0, np.array([1, 0]))
    floats.update(0, np.array([1.0, 0.0]))
    np.testing.assert_allclose(value(agent), [0.9, 0.5])
    np.testing.assert_allclose(value(agent), value(floats))


@pytest.mark.parametrize("kind", [Agent, AgentQ])
def test_the_reward_of_the_choice_alone_will_do(kind):
    agent = kind(alpha_reward=0.5)
    agent.update(1, 1)
    np.testing.assert_allclose(value(agent), [0.5, 0.75])


@pytest.mark.parametrize("kind", [Agent, AgentQ])
def test_a_missing_reward_leaves_the_value(kind):
    agent = kind(alpha_reward=0.5)
    agent.update(1, [NAN, 1.0])
    agent.update(1, [NAN, NAN])
    np.testing.assert_allclose(value(agent), [0.5, 0.75])
    assert not agent.state["x_learning_rate_reward"].any()


def test_a_missing_reward_leaves_counterfactual_values_but_not_forgetting_and_the_trace():
    agent = AgentQ(alpha_reward=1.0, alpha_counterfactual_reward=0.5, forget_rate=0.5, beta_choice=1.0)
    agent.update(0, [1.0, 0.0])
    agent.update(1, [NAN, NAN])
    np.testing.assert_allclose(value(agent), [0.75, 0.5])
    np.testing.assert_allclose(agent.state["x_value_choice"], [0, 1])


def test_a_missed_trial_is_forgotten_through():
    agent = AgentQ(alpha_reward=1.0, forget_rate=0.5, beta_choice=1.0, alpha_choice=0.25)
    agent.update(0, [1.0, NAN])
    agent.update(-1, [NAN, NAN])
    np.testing.assert_allclose(value(agent), [0.75, 0.5])
    np.testing.assert_allclose(agent.state["x_value_choice"], [0.1875, 0])


def test_choice_frequencies_are_the_softmax():
    """20,000 choices; |z| > 4.5 for one of 3 actions has probability 2e-5."""
    agent = AgentQ(n_actions=3, beta_reward=2.0, beta_choice=0.7, seed=4)
    agent.update(1, [NAN, 1.0, NAN])
    q = agent.q
    expected = np.exp(q) / np.exp(q).sum()
    np.testing.assert_allclose(agent.get_choice_probs(), expected)
    counts = np.bincount([agent.get_choice() for _ in range(20_000)], minlength=3)
    z = (counts - 20_000 * expected) / np.sqrt(20_000 * expected * (1 - expected))
    assert np.abs(z).max() < 4.5


def test_probabilities_survive_large_temperatures():
    agent = AgentQ(beta_reward=1e5, seed=1)
    agent.update(0, [1.0, NAN])
    np.testing.assert_array_equal(agent.get_choice_probs(), [1, 0])
    assert agent.get_choice() == 0


def test_a_deterministic_agent_takes_the_best_and_a_stochastic_one_does_not_always():
    agents = [AgentQ(alpha_reward=0.5, deterministic=deterministic, seed=1) for deterministic in (True, False)]
    for agent in agents:
        agent.update(1, [NAN, 1.0])
    assert {agents[0].get_choice() for _ in range(50)} == {1}
    assert {agents[1].get_choice() for _ in range(50)} == {0, 1}
    assert isinstance(agents[1].get_choice(), int)


def test_state_values_come_with_or_without_their_weight():
    agent = AgentQ(beta_reward=4.0, alpha_reward=0.5)
    agent.update(0, [1.0, NAN])
    np.testing.assert_allclose(agent.get_state_value("x_value_reward"), [3, 2])
    np.testing.assert_allclose(agent.get_state_value("x_value_reward", multiply_with_beta=False), [0.75, 0.5])
    np.testing.assert_allclose(agent.get_state_value("x_learning_rate_reward"), [0.5, 0])
    with pytest.raises(ConfigError, match="no such state"):
        agent.get_state_value("x_nothing")


def sampled(agent, n=1500):
    rows = []
    for _ in range(n):
        agent.new_sess(sample_parameters=True)
        rows.append(dict(agent.parameters))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def test_sampling_half_of_the_mean():
    """Regression: AgentQ.new_sess(sample_parameters=True) is an AttributeError in SPICE 0.2.0.

    1500 draws: standard error of a standard deviation 2 %.
    """
    agent = AgentQ(beta_reward=3.0, alpha_reward=0.3, beta_choice=-2.0, alpha_choice=0.4, parameter_variance=-1, seed=1)
    draws = sampled(agent)
    for name, mean in (("beta_reward", 3.0), ("alpha_reward", 0.3), ("beta_choice", -2.0), ("alpha_choice", 0.4)):
        inside = np.abs(draws[name] - mean) < abs(mean) * 0.999
        # of a normal distribution cut at 2 sd, the sd is .880 sd
        assert draws[name][inside].std() == pytest.approx(0.880 * abs(mean) / 2, rel=0.1), name
        assert draws[name].mean() == pytest.approx(mean, rel=0.06), name
    assert 0 <= draws["beta_reward"].min() < draws["beta_reward"].max() <= 6
    assert -4 <= draws["beta_choice"].min() < draws["beta_choice"].max() <= 0
    assert 0 <= draws["alpha_reward"].min() < draws["alpha_reward"].max() <= 1
    np.testing.assert_array_equal(draws["alpha_penalty"], draws["alpha_reward"])
    for name in ("forget_rate", "alpha_counterfactual_reward", "beta_counterfactual"):
        assert not draws[name].any()


def test_sampling_with_one_number_leaves_what_is_off():
    draws = sampled(AgentQ(beta_reward=3.0, forget_rate=0.5, parameter_variance=0.1, seed=1))
    assert draws["beta_reward"].std() == pytest.approx(0.1, rel=0.1)
    assert draws["forget_rate"].std() == pytest.approx(0.1, rel=0.1)
    assert not draws["beta_choice"].any()
    assert not draws["alpha_counterfactual_reward"].any()
    # a whole number is a number
    assert sampled(AgentQ(parameter_variance=1, seed=1), 50)["beta_reward"].std() > 0.5


def test_sampling_per_parameter():
    draws = sampled(AgentQ(alpha_penalty=0.4, parameter_variance={"alpha_penalty": 0.05, "forget_rate": 0.1}, seed=1))
    assert set(draws["beta_reward"]) == {3.0}
    assert set(draws["alpha_reward"]) == {0.2}
    assert draws["alpha_penalty"].std() == pytest.approx(0.05, rel=0.1)
    assert draws["forget_rate"].max() > 0.1
    assert sampled(Agent(parameter_variance={"alpha_reward": 0.05}, seed=1), 100)["alpha_reward"].std() > 0.03


def test_sampled_forgetting_leaves_room_for_counterfactual_learning():
    agent = AgentQ(
        alpha_counterfactual_reward=0.4, alpha_counterfactual_penalty=0.2, forget_rate=0.5, parameter_variance=1.0
    )
    draws = sampled(agent, 200)
    larger = np.maximum(draws["alpha_counterfactual_reward"], draws["alpha_counterfactual_penalty"])
    assert (larger + draws["forget_rate"] <= 1 + 1e-12).all()


def test_sampled_parameters_stay_until_the_next_draw():
    agent = AgentQ(parameter_variance=-1, seed=1)
    agent.new_sess(sample_parameters=True)
    drawn = dict(agent.parameters)
    agent.new_sess()
    assert agent.parameters == drawn
    assert drawn["beta_reward"] != 3.0
    agent.update(0, [1.0, NAN])
    np.testing.assert_allclose(value(agent)[0], 0.5 + drawn["alpha_reward"] * 0.5)
    np.testing.assert_allclose(agent.q, drawn["beta_reward"] * value(agent))


def test_sample_zeros_works_and_samples_zeros():
    """Regression: AgentQ_SampleZeros() is a TypeError in SPICE 0.2.0.

    1500 draws with P(zero) = .1 each, less .01 for both zero: standard error .008.
    """
    assert AgentQSampleZeros().parameters == AgentQ().parameters
    draws = sampled(AgentQSampleZeros(beta_reward=3.0, beta_choice=-1.0, seed=1))
    reward_off, choice_off = draws["beta_reward"] == 0, draws["beta_choice"] == 0
    assert not (reward_off & choice_off).any()
    assert reward_off.mean() == pytest.approx(0.09 / 0.99, abs=0.035)
    assert choice_off.mean() == pytest.approx(0.09 / 0.99, abs=0.035)
    assert (draws["forget_rate"] == 0).mean() == pytest.approx(0.1, abs=0.035)
    assert (draws["alpha_reward"] == draws["alpha_penalty"]).mean() == pytest.approx(0.19, abs=0.05)
    assert 0.6 < draws["beta_reward"][~reward_off].min() < draws["beta_reward"].max() < 6
    assert -2 < draws["beta_choice"].min() < draws["beta_choice"][~choice_off].max() < -0.2
    assert draws["beta_reward"][~reward_off].mean() == pytest.approx(3.3, rel=0.06)


def test_sample_zeros_with_one_temperature_always_keeps_it():
    draws = sampled(AgentQSampleZeros(seed=1, zero_threshold=0.6), 100)
    assert (draws["beta_reward"] > 3.6).all()
    assert not draws["beta_choice"].any()
    with pytest.raises(ConfigError, match="both 0"):
        AgentQSampleZeros(beta_reward=0.0)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha_reward": 1.1},
        {"alpha_reward": -0.1},
        {"alpha_reward": NAN},
        {"alpha_penalty": 1.1},
        {"alpha_penalty": "low"},
        {"alpha_counterfactual_reward": -0.1},
        {"alpha_counterfactual_penalty": 2},
        {"alpha_choice": 1.5},
        {"forget_rate": -1},
        {"beta_reward": np.inf},
        {"beta_choice": "strong"},
        {"n_actions": 1},
        {"n_actions": 2.0},
        {"seed": -3},
        {"parameter_variance": -0.5},
        {"parameter_variance": {"alpha": 0.1}},
        {"parameter_variance": {"beta_reward": -2}},
        {"parameter_variance": {"alpha_penalty": 0.1}},
        {"forget_rate": 0.6, "alpha_counterfactual_reward": 0.5},
    ],
)
def test_parameters_out_of_range_are_refused(parameters):
    with pytest.raises(ConfigError):
        AgentQ(**parameters)


def test_choices_and_rewards_that_do_not_fit_are_refused():
    agent = AgentQ()
    for choice in (2, -2, 0.5, "left"):
        with pytest.raises(ConfigError, match="not one of the actions"):
            agent.update(choice, [1.0, 0.0])
    for reward in ([1.0, 0.0, 0.0], [[1.0, 0.0]], None, "much"):
        with pytest.raises(DataError):
            agent.update(0, reward)


def test_numpys_seed_reproduces_and_sessions_differ():
    def choices(agent):
        agent.new_sess()
        return [agent.get_choice() for _ in range(60)]

    np.random.seed(42)
    agent = AgentQ()
    one, two = choices(agent), choices(agent)
    np.random.seed(42)
    agent = AgentQ()
    assert [choices(agent), choices(agent)] == [one, two]
    assert one != two
    np.random.seed(42)
    assert choices(agent) == one


def test_an_explicit_seed_ignores_the_global_state_and_leaves_it():
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    agent, other = AgentQ(seed=5), AgentQ(seed=6)
    drawn = [agent.get_choice() for _ in range(60)]
    assert drawn != [other.get_choice() for _ in range(60)]
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(2)
    again = AgentQ(seed=5)
    assert [again.get_choice() for _ in range(60)] == drawn


def test_learning_and_replaying_do_not_touch_the_global_state():
    before = np.random.get_state()[1].tolist()
    agent = AgentQ(deterministic=True)
    agent.new_sess()
    agent.update(agent.get_choice(), 1.0)
    assert np.random.get_state()[1].tolist() == before


unit = st.floats(0, 1)


@st.composite
def learners(draw, n_actions):
    forget = draw(unit)
    return AgentQ(
        n_actions,
        beta_reward=draw(st.floats(-20, 20)),
        alpha_reward=draw(unit),
        alpha_penalty=draw(st.floats(-1, 1)),
        alpha_counterfactual_reward=draw(st.floats(0, 1 - forget)),
        alpha_counterfactual_penalty=draw(st.floats(0, 1 - forget)),
        beta_choice=draw(st.floats(-5, 5)),
        alpha_choice=draw(unit),
        forget_rate=forget,
    )


outcomes = st.one_of(unit, st.just(NAN))


@given(st.data())
@settings(max_examples=60)
def test_values_and_kernel_stay_between_0_and_1(data):
    n_actions = data.draw(st.integers(2, 4))
    agent = data.draw(learners(n_actions))
    for _ in range(data.draw(st.integers(1, 12))):
        agent.update(
            data.draw(st.integers(0, n_actions - 1)),
            data.draw(st.lists(outcomes, min_size=n_actions, max_size=n_actions)),
        )
        for state in agent.state.values():
            assert ((state >= -1e-12) & (state <= 1 + 1e-12)).all()
        assert agent.get_choice_probs().sum() == pytest.approx(1)


@given(st.data())
@settings(max_examples=60)
def test_renaming_the_actions_renames_the_states(data):
    n_actions = data.draw(st.integers(2, 4))
    agent = data.draw(learners(n_actions))
    order = np.array(data.draw(st.permutations(range(n_actions))))
    renamed = AgentQ(n_actions, **agent.parameters)
    for _ in range(data.draw(st.integers(1, 10))):
        choice = data.draw(st.integers(0, n_actions - 1))
        rewards = np.array(data.draw(st.lists(outcomes, min_size=n_actions, max_size=n_actions)))
        agent.update(choice, rewards)
        renamed.update(int(np.flatnonzero(order == choice)[0]), rewards[order])
    np.testing.assert_allclose(renamed.get_choice_probs(), agent.get_choice_probs()[order], atol=1e-12)
    for name, state in agent.state.items():
        np.testing.assert_allclose(renamed.state[name], state[order], atol=1e-12)
