"""The memory is a finite one: lags and nothing else."""

import numpy as np
import torch
from model_contract import BETA, NOT_CHOSEN, RATE, ModelContract
from numpy_learners import each, learning_rate, polynomial

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.estimate.refit import local_curvature
from spicestat.equations.sparse import independent_terms, polynomial_library
from spicestat.equations.trajectories import record_trajectories
from spicestat.models.precoded import WORKING_MEMORY_RNN_CONFIG, WorkingMemoryRNN
from spicestat.trials.sequences import SequenceDataset

MEMORY = "x_value_memory"
NAN = float("nan")


class TestWorkingMemory(ModelContract):
    name = "working_memory"
    known = (
        {(RATE, "1"): 0.2, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
        | {(MEMORY, f"c_choice_lag{lag}"): 0.4 - 0.1 * lag for lag in range(4)}
        | {(MEMORY, f"c_reward_lag{lag}"): 1.0 - 0.3 * lag for lag in range(4)}
    )

    @staticmethod
    def learner(equations, actions, rewards, logits):
        learning_rate(equations, actions, rewards, logits)
        earned = np.nan_to_num(rewards) * actions
        for step, action, _, _ in each(actions, rewards):
            lags = {
                f"c_{what}_lag{lag}": history[step - lag, action] if step >= lag else 0.0
                for what, history in (("choice", actions), ("reward", earned))
                for lag in range(4)
            }
            logits[step, action] += polynomial(equations[MEMORY], x_value_memory=0.0, **lags)


def sequence(*steps):
    """Features of one sequence of two actions from (choice or None, reward)."""
    rows = []
    for choice, reward in steps:
        actions = [float(choice == action) for action in range(2)]
        rows.append(actions + [reward if choice == action else NAN for action in range(2)] + [0.0])
    return torch.tensor([rows])


def signals_of(xs):
    """Recorded signals by name, each (T, A)."""
    model = WorkingMemoryRNN(2)
    with torch.no_grad(), model.record() as (signals, _):
        model(xs, batch_first=True)
    return {name: torch.stack(steps)[:, 0] for name, steps in signals.items()}


def test_lags_are_the_choices_and_rewards_of_the_last_four_trials():
    signals = signals_of(sequence((0, 1.0), (1, 0.0), (1, 1.0), (0, 0.5), (0, 0.0), (1, 1.0)))
    assert [signals[f"c_choice_lag{lag}"][4].tolist() for lag in range(4)] == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert [signals[f"c_reward_lag{lag}"][4].tolist() for lag in range(4)] == [[0, 0], [0.5, 0], [0, 1], [0, 0]]
    assert signals["c_reward_lag3"][3].tolist() == [1, 0]
    assert signals["c_choice_lag1"][0].tolist() == [0, 0]


def test_a_missing_choice_or_reward_leaves_its_place_empty():
    signals = signals_of(sequence((0, 1.0), (None, NAN), (1, NAN)))
    assert signals["c_choice_lag1"][2].tolist() == [0, 0]
    assert signals["c_choice_lag2"][2].tolist() == [1, 0]
    assert signals["c_choice_lag0"][2].tolist() == [0, 1]
    assert signals["c_reward_lag0"][2].tolist() == [0, 0]
    assert all(torch.isfinite(signals[name]).all() for name in WORKING_MEMORY_RNN_CONFIG.signals(MEMORY))


def test_its_own_state_is_never_a_candidate(small_data):
    """A trace would be a second account of the same lags; the state is emptied before each trial."""
    model = WorkingMemoryRNN(2, 3)
    found = record_trajectories(model, small_data, WORKING_MEMORY_RNN_CONFIG)[MEMORY]
    library = polynomial_library(MEMORY, WORKING_MEMORY_RNN_CONFIG.signals(MEMORY))
    candidates = dict(zip(library.terms, independent_terms(found, library), strict=True))
    assert not candidates.pop(MEMORY)
    assert all(candidates.values())


def test_neither_its_own_state_nor_a_constant_changes_the_choices(build, equations_of, small_data):
    values = {(RATE, "1"): 0.3, (NOT_CHOSEN, NOT_CHOSEN): "keep", (MEMORY, "c_choice_lag0"): 0.5, BETA: 3.0}
    model, equations = build("working_memory", 2, 3), equations_of("working_memory", 3, values)
    gradient = local_curvature(model, small_data, equations).gradient
    terms = list(equations.terms)
    np.testing.assert_allclose(gradient[:, [terms.index((MEMORY, "1")), terms.index((MEMORY, MEMORY))]], 0, atol=1e-10)
    assert (np.abs(gradient[:, terms.index((MEMORY, "c_reward_lag0"))]) > 1e-3).all()


def test_the_network_does_not_propose_a_constant(small_data):
    """A common shift of all logits is invisible to training, so the network's would be arbitrary."""
    found = record_trajectories(WorkingMemoryRNN(2, 3), small_data, WORKING_MEMORY_RNN_CONFIG)[MEMORY]
    assert abs(found.target.mean()) < 1e-6
    assert np.abs(found.target).max() > 1e-3


def test_the_memory_goes_on_where_a_sequence_was_cut(small_data):
    model = WorkingMemoryRNN(2, 3).eval()
    with torch.no_grad():
        whole, _ = model(small_data.xs, batch_first=True)
        first, state = model(small_data.xs[:, :7], batch_first=True)
        second, _ = model(small_data.xs[:, 7:], prev_state=state, batch_first=True)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_with_a_learning_rate_of_1_the_last_reward_is_in_the_value_already(build, equations_of):
    """The confound that the documentation names: beta V and w M are the same there."""
    steps = [(choice, reward) for choice, reward in zip([0, 1, 1, 0, 1] * 8, [1.0, 0.0, 1.0, 0.0] * 10, strict=True)]
    data = SequenceDataset.from_arrays(sequence(*steps), torch.eye(2)[[0, 1] * 20][None])
    forget_all = {(RATE, "1"): 1.0, (NOT_CHOSEN, "1"): 0.0}
    by_value = equations_of("working_memory", 1, forget_all | {BETA: 2.0, (MEMORY, "c_reward_lag0"): 1.0})
    by_memory = equations_of("working_memory", 1, forget_all | {BETA: 1.0, (MEMORY, "c_reward_lag0"): 2.0})
    model = build("working_memory", 2, 1)
    torch.testing.assert_close(equation_logits(model, data, by_value), equation_logits(model, data, by_memory))
