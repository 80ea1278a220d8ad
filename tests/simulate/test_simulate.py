"""Simulated cohorts have the effects, values and probabilities that they say they have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import ConfigError
from spicestat.simulate import (
    DEFAULT_PARAMETERS,
    BanditsDrift,
    BanditsFlip,
    BanditsSwitch,
    Parameter,
    drifting_probabilities,
    replay_learners,
    simulate_cohort,
)
from spicestat.trials.reading import read_trials


def with_parameter(**changes):
    return dict(DEFAULT_PARAMETERS) | changes


def test_shapes_and_labels():
    cohort = simulate_cohort(12, 40, n_blocks=4, n_actions=3, seed=1)
    assert len(cohort.trials) == 480
    assert list(cohort.trials) == ["participant", "block", "trial", "choice", "reward"]
    assert set(cohort.trials["choice"]) <= {1, 2, 3}
    assert set(cohort.trials["reward"]) <= {0, 1}
    assert cohort.people["participant"].tolist() == [f"p{number:02d}" for number in range(1, 13)]
    assert cohort.truth["participant"].tolist() == cohort.people["participant"].tolist()
    assert cohort.trials.groupby(["participant", "block"]).size().eq(10).all()


def test_the_seed_decides():
    one, same, other = (simulate_cohort(3, 40, seed=seed) for seed in (1, 1, 2))
    assert one.trials.equals(same.trials)
    assert one.truth.equals(same.truth)
    assert not one.trials.equals(other.trials)


def test_probabilities_are_those_of_the_learner():
    """Replays one block in plain Python."""
    cohort = simulate_cohort(2, 60, n_blocks=2, seed=3)
    rows = cohort.trials.query("participant == 'p2' and block == 2")
    truth = cohort.truth.set_index("participant").loc["p2"]
    value = [0.5, 0.5]
    for position, row in rows.iterrows():
        weight = np.exp(truth["beta"] * np.array(value))
        assert cohort.probability[position] == pytest.approx(weight[row["choice"] - 1] / weight.sum(), rel=1e-12)
        for action in range(2):
            if action == row["choice"] - 1:
                value[action] += truth["alpha"] * (row["reward"] - value[action])
            else:
                value[action] += truth["forget"] * (0.5 - value[action])


def test_oracle_nll_leaves_out_first_trials():
    cohort = simulate_cohort(3, 40, n_blocks=4, seed=0)
    expected = -np.log(cohort.probability[cohort.trials["trial"] > 1]).mean()
    assert cohort.oracle_nll == pytest.approx(expected)
    first = cohort.trials["trial"] == 1
    np.testing.assert_allclose(cohort.probability[first], 0.5)


def test_probabilities_are_calibrated():
    """Choices to which the learner gives probability p happen with frequency p; error rate below 1e-4."""
    cohort = simulate_cohort(100, 200, seed=4)
    likely = np.where(cohort.trials["choice"] == 1, cohort.probability, 1 - cohort.probability)
    took_first = (cohort.trials["choice"] == 1).to_numpy()
    z = (took_first - likely).sum() / np.sqrt((likely * (1 - likely)).sum())
    assert abs(z) < 4


def test_parameters_without_spread_are_equal():
    truth = simulate_cohort(5, 20, parameters=with_parameter(forget=Parameter(0.0, 0.0)), seed=0).truth
    assert (truth["forget"] == 0).all()


def test_effects_of_covariates_are_exact_without_spread():
    effects = {"anxiety": 0.02, "age": 0.001, "diagnosis": -0.05}
    cohort = simulate_cohort(20, 20, parameters=with_parameter(alpha=Parameter(0.5, 0.0, effects)), seed=0)
    people = cohort.people
    expected = 0.5 + 0.02 * people["anxiety"] + 0.001 * people["age"] - 0.05 * (people["diagnosis"] == "patient")
    np.testing.assert_allclose(cohort.truth["alpha"], expected, atol=1e-12)


def test_parameters_stay_inside_their_limits():
    wild = Parameter(0.5, 5.0, {}, 0.2, 0.7)
    alpha = simulate_cohort(50, 20, parameters=with_parameter(alpha=wild), seed=0).truth["alpha"]
    assert (alpha.min(), alpha.max()) == (0.2, 0.7)


def test_covariates_are_balanced_and_scaled():
    people = simulate_cohort(40, 20, seed=0).people
    assert people["anxiety"].mean() == pytest.approx(0, abs=1e-12)
    assert people["anxiety"].std() == pytest.approx(1)
    assert people["diagnosis"].value_counts().tolist() == [20, 20]
    assert people["age"].between(18, 65).all()


@pytest.mark.parametrize(
    "sizes",
    [
        {"n_participants": 1},
        {"n_actions": 1},
        {"n_blocks": 0},
        {"n_trials": 10, "n_blocks": 3},
        {"n_trials": 4, "n_blocks": 4},
    ],
)
def test_sizes_that_do_not_fit_are_refused(sizes):
    with pytest.raises(ConfigError, match="sizes|n_actions is out of range|n_blocks is out of range"):
        simulate_cohort(**({"n_participants": 3, "n_trials": 40, "n_blocks": 4} | sizes))


@pytest.mark.parametrize("wrong", ["5", 5.5, True, None])
def test_sizes_are_whole_numbers(wrong):
    with pytest.raises(ConfigError, match="n_participants"):
        simulate_cohort(wrong)


@pytest.mark.parametrize(
    "parameters",
    [
        {"alpha": Parameter(0.5)},
        with_parameter(gamma=Parameter(1.0)),
        with_parameter(alpha=Parameter(0.5, effects={"height": 1.0})),
    ],
)
def test_unknown_parameters_and_covariates_are_refused(parameters):
    with pytest.raises(ConfigError):
        simulate_cohort(3, 40, parameters=parameters)


@given(sigma=st.floats(0, 2), n_actions=st.integers(1, 4), seed=st.integers(0, 1000))
@settings(max_examples=25)
def test_reward_probabilities_are_probabilities(sigma, n_actions, seed):
    drawn = drifting_probabilities(np.random.default_rng(seed), 3, 20, n_actions, sigma)
    assert drawn.shape == (3, 20, n_actions)
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_without_drift_probabilities_stay():
    drawn = drifting_probabilities(np.random.default_rng(0), 2, 10, 2, 0.0)
    np.testing.assert_allclose(drawn, drawn[:, :1] * np.ones((1, 10, 1)))
    with pytest.raises(ConfigError, match="sigma"):
        drifting_probabilities(np.random.default_rng(0), 2, 10, 2, -0.1)


def test_steps_have_the_stated_size():
    drawn = drifting_probabilities(np.random.default_rng(0), 4000, 2, 1, 0.05)
    inside = (drawn[:, 0, 0] > 0.25) & (drawn[:, 0, 0] < 0.75)
    assert (drawn[inside, 1] - drawn[inside, 0]).std() == pytest.approx(0.05, rel=0.1)


def test_the_default_cohort_never_changes():
    """Published tables and the README come from it; the numbers are those of the first version."""
    cohort = simulate_cohort(seed=1)
    choice, reward = cohort.trials["choice"].to_numpy(), cohort.trials["reward"].to_numpy()
    weights = np.arange(len(choice)) % 9973
    assert (int((choice * weights).sum()), int((reward * weights).sum())) == (48635627, 16862256)
    assert cohort.oracle_nll == pytest.approx(0.49401449186178686, rel=1e-12)
    assert cohort.truth["alpha"].iloc[0] == pytest.approx(0.5238700928593915, rel=1e-12)


def test_further_parameters_are_drawn_and_played():
    further = {
        "alpha_penalty": Parameter(0.2, 0.05),
        "perseverance": Parameter(0.8, 0.2, {"anxiety": 0.3}, -5.0, 5.0),
        "persistence": Parameter(0.5),
        "counterfactual": Parameter(0.1, 0.0, high=0.3),
    }
    cohort = simulate_cohort(6, 60, n_blocks=2, parameters=dict(DEFAULT_PARAMETERS) | further, seed=1)
    assert list(cohort.truth) == ["participant", "alpha", "forget", "beta", *further]
    choices = cohort.trials["choice"].to_numpy().reshape(12, 30) - 1
    rewards = np.full((12, 30, 2), np.nan)
    np.put_along_axis(rewards, choices[..., None], cohort.trials["reward"].to_numpy().reshape(12, 30, 1), axis=-1)
    per_block = {name: np.repeat(cohort.truth[name], 2) for name in (*DEFAULT_PARAMETERS, *further)}
    replayed = np.take_along_axis(replay_learners(per_block, choices, rewards), choices[..., None], axis=-1)
    np.testing.assert_allclose(cohort.probability, replayed.ravel(), rtol=1e-12)


def test_an_environment_is_played():
    cohort = simulate_cohort(4, 80, environment=BanditsDrift(0.1, n_actions=3), seed=1)
    assert set(cohort.trials["choice"]) == {1, 2, 3}
    assert list(cohort.trials) == ["participant", "block", "trial", "choice", "reward"]
    assert cohort.trials["reward"].dtype == "int64"
    same = simulate_cohort(4, 80, environment=BanditsDrift(0.1, n_actions=3), seed=1)
    assert cohort.trials.equals(same.trials)
    with pytest.raises(ConfigError, match="number of actions"):
        simulate_cohort(4, 80, n_actions=4, environment=BanditsFlip())


def test_counterfactual_rewards_have_one_column_each():
    cohort = simulate_cohort(4, 80, environment=BanditsSwitch(counterfactual=True), seed=1)
    assert list(cohort.trials) == ["participant", "block", "trial", "choice", "reward_1", "reward_2"]
    trials = read_trials(cohort.trials, block="block", trial="trial", reward=["reward_1", "reward_2"])
    assert trials.record["feedback"] == "counterfactual"
    np.testing.assert_array_equal(trials.frame["reward_1"], cohort.trials["reward_2"])


def test_rewards_of_any_size_and_missing_ones_are_kept():
    class Points:
        n_actions = 2

        def reset(self, seed=None):
            self.rng = np.random.default_rng(seed)

        def step(self, choice):
            return self.rng.choice([0.25, 0.75, np.nan])

    rewards = simulate_cohort(3, 80, environment=Points(), seed=1).trials["reward"]
    assert set(rewards.dropna()) == {0.25, 0.75}
    assert 0 < rewards.isna().sum() < 240


def test_parameters_that_no_learner_can_have_are_refused():
    with pytest.raises(ConfigError, match="forget and a counterfactual"):
        simulate_cohort(3, 40, parameters=with_parameter(forget=Parameter(0.9), counterfactual=Parameter(0.5)))
    with pytest.raises(ConfigError, match="out of range"):
        simulate_cohort(3, 40, parameters=with_parameter(alpha=Parameter(1.5, high=2.0)))


@given(position=st.floats(-50, 50))
def test_folding_is_reflection(position):
    """The walk's fold, written as a remainder."""
    shifted = position + 1.0
    assert abs(shifted - 2.0 * np.floor(shifted / 2.0) - 1.0) == abs(shifted % 2.0 - 1.0)
