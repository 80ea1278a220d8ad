"""The rates of positive and negative prediction errors do not mix."""

import numpy as np
import torch
from model_contract import BETA, FORGET, NOT_CHOSEN, RATE, ModelContract
from numpy_learners import each, polynomial

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.trajectories import record_trajectories
from spicestat.models.precoded import (
    ASYMMETRIC_RNN_CONFIG,
    INTERACTION_RNN_CONFIG,
    PRECODED,
    AsymmetricRNN,
    InteractionRNN,
)
from spicestat.trials.sequences import SequenceDataset

UP, DOWN = "x_learning_rate_positive", "x_learning_rate_negative"


class TestAsymmetric(ModelContract):
    name = "asymmetric"
    known = (
        {(UP, "1"): 0.5, (UP, UP): 0.1, (UP, "c_value_reward"): -0.2}
        | {(DOWN, "1"): 0.1, (DOWN, DOWN): -0.1, (DOWN, "c_value_reward"): 0.3}
        | FORGET
        | {BETA: 3.0}
    )

    @staticmethod
    def learner(equations, actions, rewards, logits):
        n_actions = actions.shape[1]
        value, rates = np.full(n_actions, 0.5), {UP: np.zeros(n_actions), DOWN: np.zeros(n_actions)}
        for step, action, chosen, reward in each(actions, rewards):
            before = {module: rate[action] for module, rate in rates.items()}
            for rate in rates.values():
                rate[action] = 0.0
            if not chosen:
                value[action] = polynomial(equations[NOT_CHOSEN], **{NOT_CHOSEN: value[action]})
            elif not np.isnan(reward) and reward != value[action]:
                module = UP if reward > value[action] else DOWN
                rates[module][action] = polynomial(
                    equations[module], **{module: before[module], "c_value_reward": value[action]}
                )
                value[action] += rates[module][action] * (reward - value[action])
            logits[step, action] = equations["beta"]["x_value_reward"] * value[action]


def graded_data(n_actions=3, seed=0):
    """Rewards between 0 and 1, a few of them missing, so that their sign does not follow from the reward."""
    rng = np.random.default_rng(seed)
    choice = rng.integers(0, n_actions, (2, 31))
    actions = np.eye(n_actions)[choice]
    rewards = np.where(actions > 0, rng.uniform(size=actions.shape), np.nan)
    rewards[rng.random(rewards.shape) < 0.1] = np.nan
    who = np.broadcast_to(np.arange(2)[:, None, None], (2, 31, 1))
    return SequenceDataset.from_arrays(np.concatenate([actions, rewards, who], axis=2)[:, :-1], actions[:, 1:])


def test_each_module_learns_from_errors_of_its_sign_only():
    data = graded_data()
    model = AsymmetricRNN(3, 2)
    found = record_trajectories(model, data, ASYMMETRIC_RNN_CONFIG)
    with torch.no_grad(), model.record() as (signals, _):
        model(data.xs, batch_first=True)
    value = torch.stack(signals["c_value_reward"], dim=1)
    chosen = data.actions > 0
    up, down = (chosen & (data.rewards > value)).sum(), (chosen & (data.rewards < value)).sum()
    assert len(found[UP].target) == int(up)
    assert len(found[DOWN].target) == int(down)
    assert int(up + down) == int((chosen & ~torch.isnan(data.rewards)).sum())
    assert up > 0
    assert down > 0


def test_only_the_rate_of_the_errors_sign_is_in_the_state():
    model = AsymmetricRNN(2)
    for reward, sign in ((1.0, UP), (0.0, DOWN), (0.5, None), (float("nan"), None)):
        _, state = model(torch.tensor([[[1.0, 0, reward, 0, 0]]]), batch_first=True)
        used = {name for name in (UP, DOWN) if state[name].abs().max() > 0}
        assert used == ({sign} if sign else set())
        assert (state["x_value_reward"][0, 0] == 0.5) == (sign is None)


def test_with_rewards_of_0_and_1_it_is_the_learning_rate_model_with_a_reward_term(build, equations_of, small_data):
    """alpha = alpha_minus + (alpha_plus - alpha_minus) r."""
    others = {(NOT_CHOSEN, "1"): 0.1, (NOT_CHOSEN, NOT_CHOSEN): 0.8, BETA: 3.0}
    signed = equations_of("asymmetric", 3, {(UP, "1"): 0.6, (DOWN, "1"): 0.2} | others)
    by_reward = equations_of("learning_rate", 3, {(RATE, "1"): 0.2, (RATE, "c_reward"): 0.4} | others)
    left = equation_logits(build("asymmetric", 2, 3), small_data, signed)
    right = equation_logits(build("learning_rate", 2, 3), small_data, by_reward)
    where = small_data.valid
    torch.testing.assert_close(left[where], right[where], rtol=0, atol=1e-12)


def test_spices_name_for_it():
    assert InteractionRNN is AsymmetricRNN
    assert INTERACTION_RNN_CONFIG is ASYMMETRIC_RNN_CONFIG
    assert PRECODED["asymmetric"] == (AsymmetricRNN, ASYMMETRIC_RNN_CONFIG)
