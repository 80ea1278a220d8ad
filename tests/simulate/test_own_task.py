"""Environments of the user's own play with all agents and learners."""

# ruff: noqa: NPY002  (the seed API promises to follow NumPy's global state)

import numpy as np
import pytest

from spicestat.errors import ConfigError, DataError
from spicestat.simulate import AgentQ, Bandits, as_environment, simulate_learners
from spicestat.spice import run_experiment


class Space:
    def __init__(self, n):
        self.n = n


class GymBandit:
    """What gymnasium expects, without gymnasium."""

    def __init__(self, ends_after=10**9):
        self.action_space = Space(3)
        self.ends_after = ends_after
        self.rng = None
        self.resets = 0

    def reset(self, *, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.trial = 0
        self.resets += 1
        return 0, {}

    def step(self, action):
        self.trial += 1
        reward = float(self.rng.random() < 0.2 + 0.3 * action)
        return 0, reward, False, self.trial >= self.ends_after, {}


class PlainBandit:
    """Only rewards, and new_sess instead of reset."""

    n_actions = 2

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.sessions = 0

    def new_sess(self):
        self.sessions += 1

    def step(self, choice):
        return self.rng.normal(size=2)


def test_a_gymnasium_environment_plays():
    environment = as_environment(GymBandit())
    assert isinstance(environment, Bandits)
    assert environment.n_actions == 3
    rewards = np.array([environment.step(2) for _ in range(400)])
    assert np.isnan(rewards[:, :2]).all()
    # P(reward) = .8, standard error .02
    assert rewards[:, 2].mean() == pytest.approx(0.8, abs=0.1)


def test_the_first_step_resets_an_environment_that_was_not():
    wrapped = GymBandit()
    environment = as_environment(wrapped)
    environment.step(0)
    environment.step(0)
    assert wrapped.resets == 1


def test_bandits_are_returned_as_they_are():
    environment = as_environment(GymBandit())
    assert as_environment(environment) is environment
    with pytest.raises(ConfigError, match="number of actions"):
        as_environment(environment, n_actions=2)


def test_seeds_reach_the_environment():
    def rewards(**seed):
        environment = as_environment(GymBandit(), **seed)
        return [environment.step(1)[1] for _ in range(60)]

    assert rewards(seed=1) == rewards(seed=1)
    assert rewards(seed=1) != rewards(seed=2)
    np.random.seed(7)
    one = rewards()
    np.random.seed(7)
    assert rewards() == one


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (1, [np.nan, 1]),
        (np.float32(0.5), [np.nan, 0.5]),
        (np.array([0.25]), [np.nan, 0.25]),
        ([0.3, 0.6], [0.3, 0.6]),
        ((None, 0.7, True, {}), [np.nan, 0.7]),
        ((None, [0.1, np.nan], False, False, {}), [0.1, np.nan]),
        ([-1, 0.6], [np.nan, 0.6]),
        ([0.6, -1], [0.6, -1]),
    ],
)
def test_all_ways_to_return_a_reward(outcome, expected):
    class Environment:
        n_actions = 2

        def step(self, choice):
            return outcome

    np.testing.assert_allclose(as_environment(Environment(), not_shown=-1).step(1), expected)


def test_minus_one_is_a_reward_unless_told_otherwise():
    class Losses:
        n_actions = 2

        def step(self, choice):
            return np.array([-1.0, 1.0])

    np.testing.assert_array_equal(as_environment(Losses()).step(1), [-1, 1])


@pytest.mark.parametrize("outcome", [[1, 2, 3], "much", (1, 2), None, {}])
def test_what_is_no_reward_is_refused(outcome):
    class Environment:
        n_actions = 2

        def step(self, choice):
            return outcome

    with pytest.raises(DataError):
        as_environment(Environment()).step(0)


def test_an_end_stops_or_restarts():
    agent = AgentQ(3, seed=1)
    agent.new_sess()
    with pytest.raises(DataError, match="ended"):
        run_experiment(agent, GymBandit(ends_after=5), 10)
    wrapped = GymBandit(ends_after=5)
    experiment, _, _ = run_experiment(agent, as_environment(wrapped, restart=True), 14)
    assert experiment.n_trials == 14
    assert wrapped.resets == 3


def test_many_sequences_have_environments_of_their_own():
    run = simulate_learners({"alpha": 0.3, "beta": np.zeros(40)}, GymBandit(), 50, seed=1)
    assert len({tuple(row) for row in run.chosen_rewards}) == 40
    again = simulate_learners({"alpha": 0.3, "beta": np.zeros(40)}, GymBandit(), 50, seed=1)
    np.testing.assert_array_equal(run.choices, again.choices)
    np.testing.assert_array_equal(run.rewards, again.rewards)
    # P(reward) = .2 + .3 action
    for action in range(3):
        assert run.rewards[run.choices == action, action].mean() == pytest.approx(0.2 + 0.3 * action, abs=0.09)


def test_a_factory_makes_one_environment_per_sequence():
    made = []

    def factory():
        made.append(PlainBandit(seed=len(made)))
        return made[-1]

    run = simulate_learners({"alpha": [0.3, 0.3], "beta": 1.0}, factory, 10, n_blocks=2)
    assert [environment.sessions for environment in made[1:]] == [1, 1, 1, 1]
    assert len(np.unique(run.rewards[:, 0, 0])) == 4
    assert simulate_learners({"alpha": 0.3, "beta": 1.0}, GymBandit, 5).choices.shape == (1, 5)


def test_copies_that_would_draw_alike_are_refused():
    with pytest.raises(ConfigError, match="same rewards"):
        simulate_learners({"alpha": [0.3, 0.3], "beta": 1.0}, PlainBandit(), 10)


@pytest.mark.parametrize("thing", [object(), 3, lambda: 3])
def test_things_without_step_are_refused(thing):
    with pytest.raises(ConfigError, match="step"):
        as_environment(thing, 2)


def test_the_number_of_actions_must_be_known_and_agree():
    class Silent:
        def step(self, choice):
            return 1.0

    with pytest.raises(ConfigError, match="how many"):
        as_environment(Silent())
    assert as_environment(Silent(), 4).step(3).shape == (4,)
    with pytest.raises(ConfigError, match="number of actions"):
        as_environment(GymBandit(), 2)
