"""Bandit tasks behave as their documentation says, alone and many at once."""

# ruff: noqa: NPY002  (the seed API promises to follow NumPy's global state)

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.errors import ConfigError
from spicestat.simulate import (
    Bandits,
    BanditsDrift,
    BanditsFlip,
    BanditsFlipEckstein2022,
    BanditsStandard,
    BanditsSwitch,
)

MAKERS = {
    "drift": lambda **options: BanditsDrift(sigma=0.2, n_actions=3, **options),
    "flip": lambda **options: BanditsFlip(block_flip_prob=0.1, **options),
    "switch": lambda **options: BanditsSwitch(block_flip_prob=0.1, **options),
    "eckstein": BanditsFlipEckstein2022,
    "standard": lambda **options: BanditsStandard((0.8, 0.5, 0.3, 0.1), **options),
}
every_task = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def play(environment, n_trials, choice=0):
    """Rewards (T, A) and the probabilities (T, A) that they were drawn with."""
    probabilities, rewards = [], []
    for _ in range(n_trials):
        probabilities.append(environment.reward_probs)
        rewards.append(environment.step(choice))
    return np.array(rewards), np.array(probabilities)


@every_task
def test_rewards_not_shown_are_missing(make):
    environment = make(seed=1)
    rewards, _ = play(environment, 30, choice=1)
    assert np.isin(rewards[:, 1], (0, 1)).all()
    assert np.isnan(np.delete(rewards, 1, axis=1)).all()
    shown, _ = play(make(seed=1, counterfactual=True), 30, choice=1)
    assert np.isin(shown, (0, 1)).all()
    assert environment.n_actions == rewards.shape[1]


@every_task
def test_rewards_come_with_their_probabilities(make):
    """Summed over 4000 trials, all actions; |z| > 4.5 has probability 1e-5 per task."""
    run = make(seed=1, counterfactual=True).vectorized(200, np.random.default_rng(3))
    surprise = variance = 0.0
    for _ in range(20):
        probabilities = run.reward_probs.copy()
        # the worst action, as the first good choice of a block is always rewarded in one task
        drawn = run.step(probabilities.argmin(axis=1))
        surprise += (drawn - probabilities).sum()
        variance += (probabilities * (1 - probabilities)).sum()
    assert abs(surprise / np.sqrt(variance)) < 4.5


@every_task
def test_numpys_seed_reproduces_and_sessions_differ(make):
    def two_sessions():
        environment = make()
        first = play(environment, 40)
        environment.new_sess()
        return *first, *play(environment, 40)

    np.random.seed(42)
    one = two_sessions()
    np.random.seed(42)
    same = two_sessions()
    for left, right in zip(one, same, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one[0], one[2], equal_nan=True)


def test_numpys_seed_set_after_construction_counts_from_the_next_session():
    environment = MAKERS["drift"]()
    sessions = []
    for _ in range(2):
        np.random.seed(3)
        environment.new_sess()
        sessions.append(play(environment, 20)[0])
    np.testing.assert_array_equal(*sessions)


@every_task
def test_an_explicit_seed_ignores_the_global_state_and_leaves_it(make):
    np.random.seed(1)
    before = np.random.get_state()[1].tolist()
    one, other = make(seed=5), make(seed=6)
    first = play(one, 40)[0]
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(2)
    np.testing.assert_array_equal(play(make(seed=5), 40)[0], first)
    assert not np.array_equal(play(other, 40)[0], first, equal_nan=True)
    one.reset(seed=5)
    np.testing.assert_array_equal(play(one, 40)[0], first)


@given(sigma=st.floats(0, 2), n_actions=st.integers(2, 5), seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_drifting_probabilities_stay_between_0_and_1(sigma, n_actions, seed):
    _, probabilities = play(BanditsDrift(sigma, n_actions, seed=seed), 20)
    assert probabilities.shape == (20, n_actions)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if sigma == 0:
        assert (probabilities == probabilities[0]).all()


def test_drift_is_a_clipped_gaussian_walk_from_a_uniform_start():
    """5000 starts and steps: standard errors .004 (mean) and 1 % (sd), so 5 of them each."""
    run = BanditsDrift(0.05, seed=1).vectorized(5000, np.random.default_rng(1))
    start = run.reward_probs.copy()
    assert start.mean() == pytest.approx(0.5, abs=0.015)
    assert start.std() == pytest.approx(np.sqrt(1 / 12), abs=0.01)
    run.step(np.zeros(5000, dtype=int))
    inside = (start > 0.3) & (start < 0.7)
    assert (run.reward_probs - start)[inside].std() == pytest.approx(0.05, rel=0.06)
    wide = BanditsDrift(3.0, seed=1).vectorized(1000, np.random.default_rng(1))
    wide.step(np.zeros(1000, dtype=int))
    # clipping, unlike reflection, leaves probabilities of exactly 0 and 1
    assert np.isin(wide.reward_probs, (0, 1)).mean() > 0.6


def test_flips_turn_the_pair_round_at_the_given_rate():
    """4000 sequences and 5 trials; standard error of the rate .0015."""
    run = BanditsFlip(0.05, 0.9, 0.3, seed=1).vectorized(4000, np.random.default_rng(2))
    assert run.reward_probs[:, 0].mean() == pytest.approx(0.6, abs=0.03)
    flips = 0
    for _ in range(5):
        before = run.reward_probs.copy()
        run.step(np.zeros(4000, dtype=int))
        turned = run.reward_probs[:, 0] != before[:, 0]
        np.testing.assert_array_equal(run.reward_probs[turned], before[turned][:, ::-1])
        flips += turned.sum()
    assert flips / 20_000 == pytest.approx(0.05, abs=0.0075)


def test_no_flip_and_sure_flips():
    _, still = play(BanditsFlip(0.0, seed=1), 50)
    assert (still == still[0]).all()
    _, turning = play(BanditsFlip(1.0, seed=1), 4)
    assert (np.diff(turning[:, 0]) != 0).all()


def test_switches_reach_seven_pairs_and_never_stay():
    run = BanditsSwitch(1.0, 0.9, 0.1, 0.4, seed=1).vectorized(700, np.random.default_rng(1))
    pairs = {tuple(row) for row in run.reward_probs}
    assert pairs == {(0.9, 0.1), (0.9, 0.4), (0.4, 0.1), (0.4, 0.4), (0.1, 0.9), (0.4, 0.9), (0.1, 0.4)}
    before = run.reward_probs.copy()
    run.step(np.zeros(700, dtype=int))
    assert (run.reward_probs != before).any(axis=1).all()


def test_eckstein_flips_after_7_to_15_rewards_and_rewards_the_first_good_choice():
    environment = BanditsFlipEckstein2022(seed=3)
    assert sorted(environment.reward_probs) == [0, 0.75]
    blocks, rewards_in_block, fresh = [], 0, True
    for _ in range(2000):
        good = int(environment.reward_probs.argmax())
        reward = environment.step(good)[good]
        assert reward == 1 or not fresh
        rewards_in_block += reward
        fresh = int(environment.reward_probs.argmax()) != good
        if fresh:
            blocks.append(rewards_in_block)
            rewards_in_block = 0
    # U(7, 15) is passed by the next whole number of rewards
    assert set(blocks) == set(range(8, 16))


def test_eckstein_bad_choices_never_pay_or_flip():
    environment = BanditsFlipEckstein2022(seed=3)
    bad = int(environment.reward_probs.argmin())
    rewards, probabilities = play(environment, 200, choice=bad)
    assert (rewards[:, bad] == 0).all()
    assert (probabilities == probabilities[0]).all()


def test_a_new_session_starts_flip_tasks_afresh():
    """Regression: in SPICE 0.2.0 new_sess did nothing in BanditsFlip and BanditsSwitch."""
    environment = BanditsFlip(0.0, seed=1)
    starts = set()
    for _ in range(40):
        environment.new_sess()
        starts.add(tuple(environment.reward_probs))
    assert starts == {(0.8, 0.2), (0.2, 0.8)}


def test_reward_probs_is_a_copy():
    environment = BanditsStandard((0.8, 0.2), seed=1)
    environment.reward_probs[0] = 0.0
    assert environment.reward_probs.tolist() == [0.8, 0.2]


@every_task
def test_sequences_played_together_are_independent_and_leave_the_session_alone(make):
    environment = make(seed=1)
    before = environment.reward_probs
    run = environment.vectorized(50, np.random.default_rng(1))
    rewards = np.array([run.step(np.zeros(50, dtype=int))[:, 0] for _ in range(40)])
    # in Eckstein's task every second sequence starts with a choice that never pays
    paying = rewards.T[rewards.any(axis=0)]
    assert len(paying) > 15
    assert len({tuple(row) for row in paying}) == len(paying)
    np.testing.assert_array_equal(environment.reward_probs, before)


class FairCoins(Bandits):
    """As a user would write it."""

    def step(self, choice):
        return np.where(np.arange(self.n_actions) == choice, float(self.rng.random() < 0.5), np.nan)


def test_a_users_subclass_plays_one_copy_per_sequence():
    run = FairCoins(3).vectorized(30, np.random.default_rng(1))
    rewards = np.array([run.step(np.arange(30) % 3) for _ in range(20)])
    assert rewards.shape == (20, 30, 3)
    assert (~np.isnan(rewards)).sum(axis=2).tolist() == [[1] * 30] * 20
    assert len({tuple(column) for column in np.nansum(rewards, axis=2).T}) == 30


def test_a_task_without_step_says_so():
    with pytest.raises(NotImplementedError, match="step"):
        Bandits().step(0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: BanditsDrift(-0.1),
        lambda: BanditsDrift(float("nan")),
        lambda: BanditsDrift(0.2, n_actions=1),
        lambda: BanditsDrift(0.2, n_actions=2.5),
        lambda: BanditsDrift(0.2, seed=-1),
        lambda: BanditsDrift(0.2, seed="a"),
        lambda: BanditsFlip(1.2),
        lambda: BanditsFlip(reward_prob_high="much"),
        lambda: BanditsSwitch(reward_prob_middle=-0.1),
        lambda: BanditsFlipEckstein2022(reward_prob_low=True),
        lambda: BanditsStandard((0.5,)),
        lambda: BanditsStandard((0.5, 1.5)),
        lambda: BanditsStandard(0.5),
    ],
)
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize("choice", [-1, 2, 0.5, None, "left", float("nan"), float("inf")])
def test_choices_that_are_no_action_are_refused(choice):
    with pytest.raises(ConfigError, match="not one of the actions"):
        BanditsStandard(seed=1).step(choice)
