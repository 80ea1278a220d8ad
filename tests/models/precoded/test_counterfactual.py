"""Rewards of actions that were not chosen count for this model only, and only where they were shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from model_contract import BETA, EVERY_RATE, ModelContract
from numpy_learners import each, polynomial

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.estimate.refit import refit
from spicestat.equations.trajectories import record_trajectories
from spicestat.models.precoded import COUNTERFACTUAL_RNN_CONFIG, PRECODED, CounterfactualRNN

OWN, OTHER = "x_learning_rate_reward", "x_learning_rate_counterfactual"
NAN = float("nan")


class TestCounterfactual(ModelContract):
    name = "counterfactual"
    known = (
        EVERY_RATE
        | {(OTHER, "1"): 0.2, (OTHER, OTHER): 0.1, (OTHER, "c_reward"): -0.1, (OTHER, "c_value_reward"): 0.15}
        | {BETA: 3.0}
    )

    @staticmethod
    def learner(equations, actions, rewards, logits):
        modules, value = {True: OWN, False: OTHER}, np.full(actions.shape[1], 0.5)
        rates = {chosen: np.zeros(actions.shape[1]) for chosen in modules}
        for step, action, chosen, reward in each(actions, rewards):
            rates[not chosen][action] = 0.0
            if not np.isnan(reward):
                module, rate = modules[chosen], rates[chosen]
                rate[action] = polynomial(
                    equations[module], **{module: rate[action], "c_reward": reward, "c_value_reward": value[action]}
                )
                value[action] += rate[action] * (reward - value[action])
            logits[step, action] = equations["beta"]["x_value_reward"] * value[action]


def last_value(model, *steps):
    """Values (A,) after steps of (choice, rewards)."""
    rows = [
        [float(action == choice) for action in range(len(rewards))] + list(rewards) + [0] for choice, rewards in steps
    ]
    with torch.no_grad():
        _, state = model(torch.tensor([rows]), batch_first=True)
    assert torch.isfinite(state["x_value_reward"]).all()
    return state["x_value_reward"][0]


def test_a_shown_reward_moves_the_value_of_an_action_not_chosen():
    model = CounterfactualRNN(3).eval()
    value = last_value(model, (0, [1.0, 1.0, 0.0]))
    assert value[1] > 0.5 > value[2]
    assert value[0] > 0.5


def test_a_reward_that_was_not_shown_keeps_the_value():
    model = CounterfactualRNN(3).eval()
    value = last_value(model, (0, [1.0, NAN, 1.0]))
    assert value[1] == 0.5
    assert value[2] > 0.5


def test_a_missing_reward_of_the_chosen_action_keeps_its_value_only():
    model = CounterfactualRNN(2).eval()
    value = last_value(model, (0, [NAN, 1.0]))
    assert value[0] == 0.5
    assert value[1] > 0.5


def test_what_was_not_shown_to_one_participant_leaves_the_others_alone(small_data):
    shown = torch.where(torch.isnan(small_data.rewards), 1.0, small_data.rewards)
    model = CounterfactualRNN(2, 3).eval()
    complete = replace(small_data, rewards=shown)
    gap = shown.clone()
    gap[0, 3] = torch.nan
    with torch.no_grad():
        before, _ = model(complete.xs, batch_first=True)
        after, _ = model(replace(small_data, rewards=gap).xs, batch_first=True)
    torch.testing.assert_close(after[1:][small_data.valid[1:]], before[1:][small_data.valid[1:]])
    assert not torch.equal(after[0], before[0])


def test_gradients_stay_finite():
    model = CounterfactualRNN(2)
    logits, _ = model(torch.tensor([[[1.0, 0, 1, NAN, 0], [0, 1, 0, 1, 0], [1, 0, NAN, 0, 0]]]), batch_first=True)
    logits.square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)


def test_trajectories_hold_what_was_shown(small_data):
    rewards = torch.where(torch.isnan(small_data.rewards), 1.0, small_data.rewards)
    rewards[:, ::2] = small_data.rewards[:, ::2]
    data = replace(small_data, rewards=rewards)
    found = record_trajectories(CounterfactualRNN(2, 3), data, COUNTERFACTUAL_RNN_CONFIG)
    seen = ~torch.isnan(data.rewards) & data.valid[..., None]
    assert len(found[OWN].target) == int((seen & (data.actions > 0)).sum())
    assert len(found[OTHER].target) == int((seen & (data.actions == 0)).sum())
    assert all(np.isfinite(trajectory.variables).all() for trajectory in found.values())


@pytest.mark.parametrize("name", [name for name, (model, _) in PRECODED.items() if not model.sees_counterfactual])
def test_the_other_models_learn_from_the_chosen_action_only(name, build, small_data):
    """A bug of reading unobserved rewards as numbers would show here."""
    model = build(name, 2, 3).eval()
    everything = replace(small_data, rewards=torch.where(small_data.actions > 0, small_data.rewards, 1.0))
    with torch.no_grad():
        before, _ = model(small_data.xs, batch_first=True)
        after, _ = model(everything.xs, batch_first=True)
    where = small_data.valid
    torch.testing.assert_close(after[where], before[where], rtol=0, atol=0)


def test_without_any_shown_reward_the_second_rate_is_flagged(build, equations_of, small_data):
    equations = equations_of("counterfactual", 3, {(OWN, "1"): 0.4, (OTHER, "1"): 0.2, BETA: 3.0})
    model = build("counterfactual", 2, 3)
    with_rate = equation_logits(model, small_data, equations)
    without = equation_logits(model, small_data, equations_of("counterfactual", 3, {(OWN, "1"): 0.4, BETA: 3.0}))
    assert torch.equal(with_rate[small_data.valid], without[small_data.valid])
    assert refit(model, small_data, equations).unidentified.all()
