"""Trajectories hold the cells that a module is about, and no others."""

import copy
from dataclasses import asdict

import numpy as np
import pytest
import torch

from spicestat.equations.discover import SparseSettings, sparse_equations
from spicestat.equations.trajectories import record_member_trajectories, record_trajectories
from spicestat.errors import ConfigError
from spicestat.models.base import BuildSettings, building
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import FORGETTING_RNN_CONFIG, LEARNING_RATE_RNN_CONFIG, ForgettingRNN, LearningRateRNN
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

RATE, NOT_CHOSEN = LEARNING_RATE_RNN_CONFIG.rnn_modules


@pytest.fixture(scope="module")
def ragged():
    """Return three actions, unequal blocks, missing rewards and choices."""
    rng = np.random.default_rng(4)
    table = simulate_cohort(3, 40, n_blocks=2, n_actions=3, seed=4).trials
    table = table.astype({"choice": "float64", "reward": "float64"})
    table = table.drop(table.index[table["trial"].gt(11) & table["block"].eq(2)])
    table.loc[rng.random(len(table)) < 0.1, "reward"] = np.nan
    table.loc[rng.random(len(table)) < 0.1, ["choice", "reward"]] = np.nan
    return SequenceDataset.from_trials(read_trials(table, block="block"))


def test_rows_are_counted(ragged):
    found = record_trajectories(LearningRateRNN(3, 3), ragged, LEARNING_RATE_RNN_CONFIG)
    chosen = (ragged.actions > 0) & ragged.valid[..., None]
    observed = chosen & ~torch.isnan(ragged.rewards)
    not_chosen = (ragged.actions == 0) & ragged.valid[..., None]
    assert len(found[RATE].target) == int(observed.sum())
    assert len(found[NOT_CHOSEN].target) == int(not_chosen.sum())
    counts = np.bincount(found[RATE].participant, minlength=3)
    expected = torch.zeros(3, dtype=torch.int64).index_add(0, ragged.participant, observed.sum(dim=(1, 2)))
    assert counts.tolist() == expected.tolist()


def test_rows_are_the_module_on_its_inputs(ragged):
    model = ForgettingRNN(3, 3).eval()
    found = record_trajectories(model, ragged, FORGETTING_RNN_CONFIG)["x_value_reward_chosen"]
    assert found.variables.shape == (len(found.target), 2)
    value, reward = (torch.tensor(column, dtype=torch.float32).reshape(-1, 1) for column in found.variables.T)
    with torch.no_grad():
        embedding = model.embed(torch.tensor(found.participant)[:, None])
        update = model.submodules_rnn["x_value_reward_chosen"](
            value, torch.cat([reward, embedding], dim=1).unsqueeze(1)
        )
    np.testing.assert_allclose(found.target, (value + update).squeeze(1), atol=1e-5)
    assert set(np.unique(found.variables[:, 1])) == {0.0, 1.0}


def test_nothing_missing_reaches_the_regression(ragged):
    for trajectory in record_trajectories(LearningRateRNN(3, 3), ragged, LEARNING_RATE_RNN_CONFIG).values():
        assert np.isfinite(trajectory.variables).all()
        assert np.isfinite(trajectory.target).all()


@pytest.mark.parametrize("keep", [True, False])
def test_filters_keep_or_drop(ragged, keep):
    config = SpiceConfig(
        LEARNING_RATE_RNN_CONFIG.rnn_modules,
        LEARNING_RATE_RNN_CONFIG.control_parameters,
        LEARNING_RATE_RNN_CONFIG.library_setup,
        {RATE: ["c_reward", 1, keep]},
    )
    rewards = record_trajectories(LearningRateRNN(3, 3), ragged, config)[RATE].variables[:, 1]
    assert set(rewards) == ({1.0} if keep else {0.0})


def test_several_filters_apply_together(ragged):
    filters = {RATE: [["c_action", 1, True], ["c_reward", 1, True], ["c_action", 0, False]]}
    config = SpiceConfig(
        LEARNING_RATE_RNN_CONFIG.rnn_modules,
        LEARNING_RATE_RNN_CONFIG.control_parameters,
        LEARNING_RATE_RNN_CONFIG.library_setup,
        filters,
    )
    found = record_trajectories(LearningRateRNN(3, 3), ragged, config)[RATE]
    assert (found.variables[:, 1] == 1).all()
    assert len(found.target) == int((ragged.rewards[ragged.valid] == 1).sum())


def test_members_are_averaged_cell_by_cell(ragged):
    with building(BuildSettings(n_members=2)):
        pair = LearningRateRNN(3, n_participants=3)
    together = record_trajectories(pair, ragged, LEARNING_RATE_RNN_CONFIG)[RATE]
    alone = []
    for member in range(2):
        single = LearningRateRNN(3, n_participants=3)
        single.load_state_dict({name: value[member : member + 1] for name, value in pair.state_dict().items()})
        alone.append(record_trajectories(single, ragged, LEARNING_RATE_RNN_CONFIG)[RATE])
    np.testing.assert_allclose(together.target, (alone[0].target + alone[1].target) / 2, atol=1e-6)
    np.testing.assert_allclose(together.variables, (alone[0].variables + alone[1].variables) / 2, atol=1e-6)


def test_members_alone_are_what_each_one_does(ragged):
    """Whatever the others do; their mean is what is recorded together."""
    with building(BuildSettings(n_members=3)):
        model = LearningRateRNN(3, n_participants=3)
    apart, together = (
        record(model, ragged, LEARNING_RATE_RNN_CONFIG) for record in (record_member_trajectories, record_trajectories)
    )
    assert len(apart) == 3
    for member, found in enumerate(apart):
        single = LearningRateRNN(3, n_participants=3)
        single.load_state_dict({name: value[member : member + 1] for name, value in model.state_dict().items()})
        for module, expected in record_trajectories(single, ragged, LEARNING_RATE_RNN_CONFIG).items():
            np.testing.assert_array_equal(found[module].participant, expected.participant)
            np.testing.assert_allclose(found[module].variables, expected.variables, atol=1e-6)
            np.testing.assert_allclose(found[module].target, expected.target, atol=1e-6)
    for module in (RATE, NOT_CHOSEN):
        mean = np.mean([found[module].target for found in apart], axis=0)
        np.testing.assert_allclose(mean, together[module].target, atol=1e-6)
        assert np.ptp([found[module].target for found in apart], axis=0).max() > 1e-3


@pytest.mark.parametrize("record", [record_trajectories, record_member_trajectories])
def test_recording_changes_neither_data_nor_config(record, ragged):
    """SPICE changed its configuration in place (fit_sindy.py:54)."""
    filters = {RATE: [["c_action", 1, True], ["c_reward", 1, True]]}
    config = SpiceConfig(
        list(LEARNING_RATE_RNN_CONFIG.rnn_modules),
        list(LEARNING_RATE_RNN_CONFIG.control_parameters),
        dict(LEARNING_RATE_RNN_CONFIG.library_setup),
        filters,
    )
    before = copy.deepcopy(asdict(config))
    tensors = {name: value.clone() for name, value in ragged.__dict__.items() if isinstance(value, torch.Tensor)}
    record(LearningRateRNN(3, 3), ragged, config)
    assert asdict(config) == before
    for name, value in tensors.items():
        assert torch.equal(torch.nan_to_num(getattr(ragged, name)), torch.nan_to_num(value)), name


def test_recording_leaves_the_model_as_it_was(ragged):
    model = LearningRateRNN(3, 3).train()
    record_trajectories(model, ragged, LEARNING_RATE_RNN_CONFIG)
    assert model.training
    assert model.recording is None
    assert model.calls is None


def test_sparse_equations_carry_the_betas_of_the_network(ragged):
    model = LearningRateRNN(3, n_participants=3).eval()
    trajectories = record_trajectories(model, ragged, LEARNING_RATE_RNN_CONFIG)
    found = sparse_equations(model, ragged, LEARNING_RATE_RNN_CONFIG, SparseSettings(), trajectories)
    with torch.no_grad():
        expected = model.betas["x_value_reward"](model.embed(torch.arange(3)[:, None])).squeeze(1)
    np.testing.assert_allclose(found.coefficients[:, -1], expected, rtol=1e-6)
    assert found.terms[-1] == ("beta", "x_value_reward")


def test_unknown_structure_is_refused():
    with pytest.raises(ConfigError, match="structure"):
        SparseSettings(structure="everybody")
