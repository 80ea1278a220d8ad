"""fit_spice turns an agent's networks into equations, and changes nothing that it is given."""

import copy

import numpy as np
import pysindy
import pytest
import torch

from spicestat.agents.agents import AgentNetwork, AgentSpice
from spicestat.equations.discover import SparseSettings, sparse_equations
from spicestat.equations.estimate.forward import equation_nll
from spicestat.equations.structure.equation_set import EXCLUDED
from spicestat.equations.trajectories import record_trajectories
from spicestat.errors import ConfigError, DataError
from spicestat.models.base import BaseRNN, BuildSettings, building
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, PRECODED, LearningRateRNN
from spicestat.spice.dataset import DatasetRNN
from spicestat.spice.fitting import fit_spice, fitting_data
from spicestat.spice.off_policy import joined_trajectories, off_policy_sessions
from spicestat.spice.signals import module_signals
from spicestat.trials.sequences import SequenceDataset

CONFIG = LEARNING_RATE_RNN_CONFIG
RATE, NOT_CHOSEN = CONFIG.rnn_modules


def _network(n_participants=3, n_members=1):
    with building(BuildSettings(n_members=n_members)), torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return LearningRateRNN(2, n_participants=n_participants)


@pytest.fixture(scope="module")
def agent():
    return AgentNetwork(_network())


def _fit(agent, data=None, **options):
    return fit_spice(CONFIG.rnn_modules, CONFIG.control_parameters, agent, data, **options)


# --- what comes out -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("degree", [1, 2])
def test_equations_are_the_sparse_regression_of_the_networks(agent, small_data, degree):
    found, loss = _fit(agent, small_data, polynomial_degree=degree, optimizer_threshold=0.02, optimizer_alpha=0.05)
    settings = SparseSettings(degree=degree, threshold=0.02, alpha=0.05, structure="participant")
    trajectories = record_trajectories(agent.model, small_data, CONFIG)
    expected = sparse_equations(agent.model, small_data, CONFIG, settings, trajectories)
    assert isinstance(found, AgentSpice)
    assert found.equations.terms == expected.terms
    np.testing.assert_array_equal(found.equations.status, expected.status)
    np.testing.assert_allclose(found.equations.coefficients, expected.coefficients, rtol=1e-10)
    assert loss == pytest.approx(equation_nll(agent.model, small_data, expected), abs=1e-12)


def test_a_dataset_rnn_is_the_same_data(agent, small_data):
    dataset = DatasetRNN(small_data.xs, small_data.ys)
    first, second = _fit(agent, small_data), _fit(agent, dataset)
    np.testing.assert_array_equal(first[0].equations.coefficients, second[0].equations.coefficients)
    assert first[1] == second[1]


def test_nothing_that_is_passed_changes(agent, small_data):
    """0.2.0 changes library_setup and the agent's model, and its default dicts are shared between calls."""
    library = {module: list(CONFIG.signals(module)) for module in CONFIG.rnn_modules}
    filters = {RATE: ["c_action", 1, True]}
    modules, signals = list(CONFIG.rnn_modules), list(CONFIG.control_parameters)
    dataset = DatasetRNN(small_data.xs, small_data.ys)
    given = (library, filters, modules, signals)
    before = copy.deepcopy(given), dataset.xs.clone(), copy.deepcopy(agent.model.state_dict())
    agent.model.train()
    first = fit_spice(modules, signals, agent, dataset, library_setup=library, filter_setup=filters)
    assert agent.model.training
    agent.model.eval()
    assert given == before[0]
    assert torch.equal(dataset.xs.nan_to_num(7.0), before[1].nan_to_num(7.0))
    assert all(torch.equal(weights, before[2][name]) for name, weights in agent.model.state_dict().items())
    second = fit_spice(modules, signals, agent, dataset, library_setup=library, filter_setup=filters)
    np.testing.assert_array_equal(first[0].equations.coefficients, second[0].equations.coefficients)


class _NearOne(BaseRNN):
    """A 'network' that multiplies its value by 0.97, which 0.2.0 would print as 1."""

    init_values = {"x_value": 0.5}

    class _Decay(torch.nn.Module):
        def forward(self, value, features):
            return -0.03 * value + 0.012 * features[..., 0]

    def __init__(self, n_actions, **_unused):
        super().__init__(n_actions)
        self.submodules_rnn["x_value"] = self._Decay()
        self.betas["x_value"] = self.setup_constant()

    def forward(self, inputs, prev_state=None, batch_first=False):
        (actions, rewards, _, _), _, logits, timesteps = self.init_forward_pass(inputs, prev_state, batch_first)
        for timestep, action, reward in zip(timesteps, actions, rewards, strict=True):
            self.record_signal("c_reward", reward)
            chosen = self.call_module("x_value", "x_value", action, (reward,))
            self.state["x_value"] = chosen + (1 - action) * self.state["x_value"]
            logits[timestep] = self.state["x_value"] * self.betas["x_value"]()
        return self.post_forward_pass(logits, batch_first), self.get_state()


def test_coefficients_near_one_and_near_zero_are_not_rounded(small_data):
    """0.2.0 sets coefficients within the threshold of 1 to 1."""
    agent, options = AgentNetwork(_NearOne(2)), {"optimizer_threshold": 0.01, "optimizer_alpha": 1e-6}
    found, _ = fit_spice(["x_value"], ["c_reward"], agent, small_data, polynomial_degree=1, **options)
    features = found.get_spice_features()[0]["x_value"]
    assert features == pytest.approx({"x_value": 0.97, "c_reward": 0.012}, abs=1e-5)


def test_one_participant_is_fitted_alone(agent, small_data):
    """0.2.0 indexes the masked targets by the participant's id: a wrong loss or an error for all but the first."""
    everybody, _ = _fit(agent, small_data)
    for code in range(3):
        alone, loss = _fit(agent, small_data, participant_id=code)
        assert alone.get_participant_ids() == (code,)
        np.testing.assert_allclose(
            alone.equations.coefficients[code], everybody.equations.coefficients[code], rtol=1e-5, atol=1e-5
        )
        own = small_data.select(torch.nonzero(small_data.participant == code).squeeze(1))
        assert loss == pytest.approx(equation_nll(agent.model, own, everybody.equations), abs=1e-6)
    with pytest.raises(ConfigError, match="participant_id"):
        _fit(agent, small_data, participant_id=3)


def test_the_loss_does_not_depend_on_the_order_of_sequences(agent, small_data):
    order = torch.randperm(small_data.n_sequences, generator=torch.Generator().manual_seed(0))
    shuffled = small_data.select(order)
    assert _fit(agent, shuffled)[1] == pytest.approx(_fit(agent, small_data)[1], abs=1e-6)


def test_without_embedding_the_equations_count_for_everybody(small_data):
    found, _ = _fit(AgentNetwork(_network(n_participants=0)), small_data)
    assert found.get_participant_ids() == (0,)
    found.new_sess(participant_id=2)


def test_ensembles_are_averaged(small_data):
    found, loss = _fit(AgentNetwork(_network(n_members=3)), small_data, polynomial_degree=1)
    assert found.model.n_members == 1
    assert 0.3 < loss < 1.5


def test_population_structure_is_shared(agent, small_data):
    found, _ = _fit(agent, small_data, structure="population", polynomial_degree=2, optimizer_threshold=0.1)
    assert (found.equations.status == found.equations.status[0]).all()
    assert (found.equations.status == EXCLUDED).any()


@pytest.mark.parametrize("optimizer", ["SR3_L1", "SR3_weighted_l1", pysindy.STLSQ(threshold=0.3)])
def test_other_optimizers_can_be_chosen(agent, small_data, optimizer):
    found, loss = _fit(agent, small_data, optimizer_type=optimizer, polynomial_degree=1, optimizer_threshold=0.01)
    assert np.isfinite(found.equations.coefficients).all()
    assert np.isfinite(loss)
    different = _fit(agent, small_data, polynomial_degree=1, optimizer_threshold=0.01)[0]
    assert not np.array_equal(found.equations.coefficients, different.equations.coefficients)


def test_without_data_the_agent_plays_a_drifting_bandit(agent):
    first, loss = _fit(agent)
    again, same = _fit(agent)
    other, different = _fit(agent, seed=5)
    np.testing.assert_array_equal(first.equations.coefficients, again.equations.coefficients)
    assert loss == same != different
    assert first.get_participant_ids() == (0, 1, 2)
    # the loss is that of choices the networks made themselves, so the networks reach little less
    assert 0.3 < loss < np.log(2) + 0.01
    assert not np.array_equal(first.equations.coefficients, other.equations.coefficients)


def test_verbose_prints_equations_and_loss(agent, small_data, capsys):
    _fit(agent, small_data)
    assert capsys.readouterr().out == ""
    _, loss = _fit(agent, small_data, participant_id=1, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "participant 1:"
    assert lines[1].startswith(f"{RATE}[k+1] =")
    assert lines[-1] == f"loss: {loss:.4f} nats per choice"


def test_agents_without_networks_are_refused(agent, small_data):
    found, _ = _fit(agent, small_data)
    with pytest.raises(ConfigError, match="networks"):
        _fit(found, small_data)
    with pytest.raises(ConfigError, match="'x_rate'"):
        fit_spice(["x_rate"], [], agent, small_data)
    with pytest.raises(ConfigError):
        _fit(agent, small_data, n_sessions_off_policy=-1)


# --- signals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PRECODED)
def test_the_signals_of_every_precoded_model_are_found(name):
    model_class, config = PRECODED[name]
    # the working memory records its last choice under two names
    used = {signal for module in config.rnn_modules for signal in config.signals(module)}
    named = [signal for signal in config.control_parameters if signal in used]
    setup = module_signals(model_class(n_actions=2, n_participants=2), config.rnn_modules, named)
    assert setup == {module: list(config.signals(module)) for module in config.rnn_modules}


def test_signals_of_an_ensemble_are_found():
    setup = module_signals(_network(n_members=2), CONFIG.rnn_modules, CONFIG.control_parameters)
    assert setup[RATE] == ["c_reward", "c_value_reward"]


def test_a_signal_that_is_not_named_is_refused():
    with pytest.raises(ConfigError, match="input 2 of the module 'x_learning_rate_reward'"):
        module_signals(_network(), CONFIG.rnn_modules, ["c_action", "c_reward"])


# --- off-policy sessions --------------------------------------------------------------------------------------------


def test_off_policy_rewards_are_those_of_the_data(small_data):
    """0.2.0 simulates rewards of 0 and 1 whatever the task."""
    points = small_data.rewards * 40 - 10
    data = SequenceDataset.from_arrays(
        torch.cat([small_data.actions, points, small_data.xs[..., -3:]], 2), small_data.ys
    )
    made_up = off_policy_sessions(data, n_sessions=2, n_trials=200, seed=1)
    chosen = made_up.actions > 0
    assert set(made_up.rewards[chosen].tolist()) == {-10.0, 30.0}
    assert torch.isnan(made_up.rewards[~chosen]).all()
    assert made_up.participant.tolist() == [0, 0, 1, 1, 2, 2]
    assert made_up.actions.mean(dim=(0, 1)).tolist() == pytest.approx([0.5, 0.5], abs=0.1)


def test_off_policy_actions_come_in_runs(small_data):
    actions = off_policy_sessions(small_data, 1, n_trials=101, same_action=5, seed=1).actions[0].argmax(dim=1)
    runs = actions.reshape(-1, 5)
    assert (runs == runs[:, :1]).all()
    assert len(set(runs[:, 0].tolist())) == 2


def test_off_policy_sessions_show_what_the_data_show(small_data):
    shown = small_data.rewards.nan_to_num(0.5)
    inputs = torch.full((*shown.shape[:2], 1), 4.0)
    features = torch.cat([small_data.actions, shown, inputs, small_data.xs[..., -3:]], dim=2)
    made_up = off_policy_sessions(SequenceDataset.from_arrays(features, small_data.ys), 1, n_trials=30)
    assert torch.isfinite(made_up.rewards).all()
    assert (made_up.inputs == 4.0).all()
    hidden = SequenceDataset.from_arrays(
        torch.cat([small_data.actions, torch.full_like(shown, torch.nan), small_data.xs[..., -3:]], dim=2),
        small_data.ys,
    )
    with pytest.raises(DataError, match="no reward"):
        off_policy_sessions(hidden, 1)


def test_off_policy_sessions_enter_the_regression_and_not_the_loss(agent, small_data):
    options = {"n_sessions_off_policy": 2, "n_trials_off_policy": 60, "seed": 3}
    prepared = fitting_data(CONFIG.rnn_modules, CONFIG.control_parameters, agent, small_data, **options)
    own = record_trajectories(agent.model, small_data, CONFIG)
    made_up = record_trajectories(agent.model, off_policy_sessions(small_data, 2, 60, seed=3), CONFIG)
    for module, trajectory in joined_trajectories(own, made_up).items():
        np.testing.assert_array_equal(prepared.trajectories[module].variables, trajectory.variables)
        assert len(trajectory.target) == len(own[module].target) + len(made_up[module].target)
    assert torch.equal(prepared.data.mask, small_data.mask)
    found, loss = _fit(agent, small_data, **options)
    assert loss == pytest.approx(equation_nll(agent.model, small_data, found.equations), abs=1e-12)


def test_a_given_library_is_used_as_it_is(agent, small_data):
    prepared = fitting_data([NOT_CHOSEN], CONFIG.control_parameters, agent, small_data, library_setup={NOT_CHOSEN: []})
    assert isinstance(prepared.config, SpiceConfig)
    assert list(prepared.trajectories) == [NOT_CHOSEN]
    with pytest.raises(ConfigError, match="library_setup of 'x_learning_rate_reward'"):
        _fit(agent, small_data, library_setup={RATE: ["c_reward"]})


def test_modules_that_are_not_named_go_on_as_networks(agent, small_data):
    found, loss = fit_spice([NOT_CHOSEN], CONFIG.control_parameters, agent, small_data, polynomial_degree=1)
    assert {module for module, _ in found.equations.terms} == {NOT_CHOSEN, "beta"}
    full, _ = _fit(agent, small_data, polynomial_degree=1)
    assert np.isfinite(loss)
    found.new_sess(1), full.new_sess(1), agent.new_sess(1)
    for player in (found, agent):
        player.update(0, 1.0)
    # the first learning rate still is the network's
    assert found.state[RATE][0] == pytest.approx(agent.state[RATE][0], abs=1e-6)
