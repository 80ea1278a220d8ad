"""The search of the sparse regression's settings: judged by choices, repeatable, resumable and quiet."""

import math
from dataclasses import replace

import joblib
import numpy as np
import optuna
import pysindy
import pytest
import torch

from spicestat.agents.agents import AgentNetwork, simulate_model
from spicestat.equations import sparse_tuning as tuned_module
from spicestat.equations.discover import SparseSettings, sparse_equations
from spicestat.equations.estimate.forward import equation_nll
from spicestat.equations.sparse import polynomial_library
from spicestat.equations.sparse_tuning import description_length, tune_sparse
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, EquationSet
from spicestat.equations.trajectories import record_trajectories
from spicestat.errors import ConfigError, NumericalError, StorageError
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.simulate.environments import BanditsDrift
from spicestat.spice.fitting import fit_spice
from spicestat.spice.tuning import optimize_for_participant

CONFIG = SpiceConfig(["x_value"], ["c_reward"], {"x_value": ["c_reward"]})
SETTINGS = SparseSettings(degree=1, threshold=0.05, alpha=0.001, structure="participant")


class _Networks(BaseRNN):
    """Fixed 'networks' for three participants: V <- slope V + gain r + constant, the constant being an artefact."""

    init_values = {"x_value": 0.0}
    slopes = (0.5, 0.7, 0.6)
    gains = (0.5, 0.3, 0.4)
    artefact = 0.02

    class _Update(torch.nn.Module):
        def __init__(self, artefact):
            super().__init__()
            self.artefact = artefact

        def forward(self, value, features):
            reward, slope, gain = features.unbind(dim=-1)
            return (slope - 1) * value + gain * reward + self.artefact

    def __init__(self, n_actions, **_unused):
        super().__init__(n_actions)
        self.participant_embedding = self.setup_embedding(3, 2)
        self.submodules_rnn["x_value"] = self._Update(self.artefact)
        self.betas["x_value"] = self.setup_constant()
        with torch.no_grad():
            self.betas["x_value"].value.fill_(4.0)
            self.participant_embedding.weight.copy_(torch.tensor([self.slopes, self.gains]).T.unsqueeze(0))

    def forward(self, inputs, prev_state=None, batch_first=False):
        (actions, rewards, _, _), (who, _), logits, timesteps = self.init_forward_pass(inputs, prev_state, batch_first)
        own = self.participant_embedding(who[:, 0])
        for timestep, action, reward in zip(timesteps, actions, rewards, strict=True):
            self.record_signal("c_reward", reward)
            chosen = self.call_module("x_value", "x_value", action, (reward,), participant_embedding=own)
            self.state["x_value"] = chosen + (1 - action) * self.state["x_value"]
            logits[timestep] = self.state["x_value"] * self.betas["x_value"]()
        return self.post_forward_pass(logits, batch_first), self.get_state()


def _truth(model):
    """What the participants do: the networks without their artefact."""
    library = polynomial_library("x_value", ["c_reward"])
    coefficients = np.stack([np.zeros(3), model.slopes, model.gains, np.full(3, 4.0)], axis=1)
    return EquationSet((library,), ("x_value",), coefficients, np.where(coefficients != 0, FREE, EXCLUDED))


@pytest.fixture(scope="module")
def model():
    return _Networks(2)


@pytest.fixture(scope="module")
def data(model):
    return simulate_model(model, _truth(model), BanditsDrift(0.2, seed=1), 50, n_blocks=4, seed=1).data


def _optimize(model, data, participant_id=1, metric_rnn=None, **options):
    given = {"polynomial_degree": 1, "n_sessions_off_policy": 0, "n_trials_optuna": 16, "seed": 1} | options
    agent = AgentNetwork(model)
    return optimize_for_participant(
        participant_id, agent, data, metric_rnn, CONFIG.rnn_modules, CONFIG.control_parameters, None, None, **given
    )


# --- what is found --------------------------------------------------------------------------------------------------


def test_an_artefact_of_the_network_is_cut_off(model, data):
    """The constant of .02 is in the trajectories and not in the choices."""
    start = replace(SETTINGS, threshold=0.005)
    trajectories = record_trajectories(model, data, CONFIG)
    before = sparse_equations(model, data, CONFIG, start, trajectories)
    assert before.coefficients[:, 0] == pytest.approx(0.02, abs=1e-6)
    found = tune_sparse(model, data, CONFIG, start, 16)
    assert (found.equations.status[:, 0] == EXCLUDED).all()
    assert (found.equations.status[:, 1:] == FREE).all()
    assert all(settings.threshold > 0.01 for settings in found.settings.values())


def test_values_are_the_description_lengths_of_the_equations(model, data):
    found = tune_sparse(model, data, CONFIG, SETTINGS, 10)
    assert list(found.settings) == [0, 1, 2]
    for code, settings in found.settings.items():
        own = data.select(torch.nonzero(data.participant == code).squeeze(1))
        expected = sparse_equations(model, data, CONFIG, settings, record_trajectories(model, data, CONFIG))
        np.testing.assert_allclose(found.equations.coefficients[code], expected.coefficients[code], atol=1e-6)
        assert found.values[code] == pytest.approx(description_length(model, own, found.equations), abs=1e-9)
        default = sparse_equations(model, data, CONFIG, SETTINGS, record_trajectories(model, data, CONFIG))
        assert found.values[code] <= description_length(model, own, default) + 1e-9


def test_description_length_by_hand(model, data):
    """Three free numbers each, and one that is 0 and does not count."""
    truth = _truth(model)
    per_participant = data.trials_per_participant.numpy()
    price = 0.5 * 3 * np.log(per_participant).sum() / per_participant.sum()
    assert description_length(model, data, truth) == pytest.approx(equation_nll(model, data, truth) + price)
    with_zero = truth.with_status(np.full(4, FREE, dtype="int8"))
    assert description_length(model, data, with_zero) == pytest.approx(description_length(model, data, truth))


def test_networks_constants_stay_with_their_participants(data):
    """Inside a task a participant has code 0; the constants must still be its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = LearningRateRNN(2, n_participants=3)
    found = tune_sparse(network, data, LEARNING_RATE_RNN_CONFIG, SETTINGS, 2)
    with torch.no_grad():
        betas = network.eval().betas["x_value_reward"](network.embed(torch.arange(3)[:, None])).squeeze(1)
    np.testing.assert_allclose(found.equations.coefficients[:, -1], betas, rtol=1e-6)
    for code in range(3):
        own = data.select(torch.nonzero(data.participant == code).squeeze(1))
        assert found.values[code] == pytest.approx(description_length(network, own, found.equations), abs=1e-9)


def test_modules_that_stay_networks_keep_their_participants(data):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = LearningRateRNN(2, n_participants=3)
    one = SpiceConfig(["x_value_reward_not_chosen"])
    found = tune_sparse(network, data, one, SETTINGS, 2)
    for code in range(3):
        own = data.select(torch.nonzero(data.participant == code).squeeze(1))
        assert found.values[code] == pytest.approx(description_length(network, own, found.equations), abs=1e-9)


def test_a_population_has_one_study(model, data):
    found = tune_sparse(model, data, CONFIG, replace(SETTINGS, structure="population", threshold=0.005), 16)
    assert len(set(found.values.values())) == 1
    assert len({id(settings) for settings in found.settings.values()}) >= 1
    assert len(set(found.settings.values())) == 1
    assert (found.equations.status == found.equations.status[0]).all()
    assert found.values[0] == pytest.approx(description_length(model, data, found.equations), abs=1e-9)


def test_participants_without_choices_have_no_study(model, data):
    some = data.with_mask((data.participant != 1)[:, None].expand_as(data.mask))
    found = tune_sparse(model, some, CONFIG, SETTINGS, 2)
    assert list(found.settings) == [0, 2]


# --- optimize_for_participant ---------------------------------------------------------------------------------------


def test_the_result_are_settings_of_fit_spice(model, data):
    found = _optimize(model, data, participant_id=2)
    settings = {name: found[name] for name in ("optimizer_type", "optimizer_alpha", "optimizer_threshold")}
    agent, _ = fit_spice(["x_value"], ["c_reward"], AgentNetwork(model), data, 1, participant_id=2, **settings)
    own = data.select(torch.nonzero(data.participant == 2).squeeze(1))
    assert found["value"] == pytest.approx(description_length(model, own, agent.equations), abs=1e-9)
    assert found["n_trials"] == 16


def test_the_search_ends_when_the_network_is_reached(model, data):
    """0.2.0 overwrites the threshold that it is given."""
    full = _optimize(model, data)
    assert full["n_trials"] == 16
    early = _optimize(model, data, metric_rnn=float(full["value"]) + 0.1)
    assert early["n_trials"] == 8
    assert _optimize(model, data, metric_rnn=0.01)["n_trials"] == 16


def test_off_policy_sessions_are_watched_too(model, data):
    plain = _optimize(model, data)
    more = _optimize(model, data, n_sessions_off_policy=2, n_trials_off_policy=100)
    assert more["value"] == pytest.approx(plain["value"], abs=0.05)


def test_one_participant_does_not_depend_on_the_others(model, data):
    """0.2.0 indexes the masked targets by the participant's id."""
    own = data.select(torch.nonzero(data.participant == 2).squeeze(1))
    assert _optimize(model, own, participant_id=2) == _optimize(model, data, participant_id=2)
    with pytest.raises(ConfigError, match="participant_id"):
        _optimize(model, own, participant_id=1)


# --- numbers that are none ------------------------------------------------------------------------------------------


def test_a_likelihood_that_is_no_number_is_the_worst(model, data, monkeypatch):
    """0.2.0 tests ``loss == np.nan``, which is never true."""
    real = tuned_module.equation_nll

    def spoiled(a_model, a_data, equations):
        return math.nan if equations.status[0, 0] == FREE else real(a_model, a_data, equations)

    monkeypatch.setattr(tuned_module, "equation_nll", spoiled)
    found = tune_sparse(model, data, CONFIG, replace(SETTINGS, threshold=0.005), 16)
    assert all(math.isfinite(value) for value in found.values.values())
    assert (found.equations.status[:, 0] == EXCLUDED).all()
    monkeypatch.setattr(tuned_module, "equation_nll", lambda *_: math.nan)
    with pytest.raises(NumericalError):
        tune_sparse(model, data, CONFIG, SETTINGS, 2)


# --- repeatable, resumable, parallel --------------------------------------------------------------------------------


def _same(first, second):
    assert first.settings == second.settings
    assert first.values == second.values
    np.testing.assert_array_equal(first.equations.coefficients, second.equations.coefficients)


def test_the_seed_decides(model, data):
    _same(
        tune_sparse(model, data, CONFIG, SETTINGS, 12, seed=1), tune_sparse(model, data, CONFIG, SETTINGS, 12, seed=1)
    )


def test_the_global_random_state_is_left_alone(model, data):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    tune_sparse(model, data, CONFIG, SETTINGS, 12)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.parametrize("structure", ["participant", "population"])
def test_results_do_not_depend_on_the_number_of_jobs(model, data, structure):
    settings = replace(SETTINGS, structure=structure)
    threads = torch.get_num_threads()
    with joblib.parallel_config(backend="threading"):
        together = tune_sparse(model, data, CONFIG, settings, 12, n_jobs=2)
    assert torch.get_num_threads() == threads
    _same(together, tune_sparse(model, data, CONFIG, settings, 12))


@pytest.mark.parametrize(
    ("address", "structure"), [("{}/journal.log", "participant"), ("sqlite:///{}/tuning.db", "population")]
)
def test_a_search_goes_on_where_it_stopped(model, data, tmp_path, address, structure, monkeypatch):
    settings, storage = replace(SETTINGS, structure=structure), address.format(tmp_path)
    tune_sparse(model, data, CONFIG, settings, 8, storage=storage)
    resumed = tune_sparse(model, data, CONFIG, settings, 14, storage=storage)
    assert resumed.n_trials == {0: 14, 1: 14, 2: 14}
    _same(resumed, tune_sparse(model, data, CONFIG, settings, 14))
    monkeypatch.setattr(tuned_module, "description_length", lambda *_: pytest.fail("nothing is left to evaluate"))
    _same(tune_sparse(model, data, CONFIG, settings, 14, storage=storage), resumed)


def test_studies_of_other_data_are_not_mixed(model, data, tmp_path):
    storage = tmp_path / "journal.log"
    _optimize(model, data, storage=storage, n_trials_optuna=2)
    with pytest.raises(ConfigError, match="other data or settings"):
        _optimize(model, data, storage=storage, polynomial_degree=2)
    with pytest.raises(ConfigError, match="other data or settings"):
        _optimize(model, data.select(range(6)), storage=storage)
    assert _optimize(model, data, storage=storage, polynomial_degree=2, study_name="second", n_trials_optuna=2)


def test_no_round_starts_after_the_time_is_up(model, data):
    assert set(tune_sparse(model, data, CONFIG, SETTINGS, 50, timeout=0).n_trials.values()) == {8}


@pytest.mark.parametrize("given", [(0.0, 0.0), (2.0, 5.0), (0.0001, 0.0001)])
def test_given_settings_outside_the_usual_ranges_are_fine(model, data, given):
    settings = replace(SETTINGS, threshold=given[0], alpha=given[1])
    found = tune_sparse(model, data, CONFIG, settings, 9)
    assert set(found.n_trials.values()) == {9}


# --- quiet ----------------------------------------------------------------------------------------------------------


def test_nothing_is_printed_and_optuna_stays_as_it_was(model, data, tmp_path, capfd):
    optuna.logging.set_verbosity(optuna.logging.INFO)
    _optimize(model, data, storage=tmp_path / "journal.log", n_trials_optuna=9)
    assert optuna.logging.get_verbosity() == optuna.logging.INFO
    assert capfd.readouterr() == ("", "")
    with pytest.raises(StorageError):
        _optimize(model, data, storage=tmp_path / "no" / "journal.log")
    assert optuna.logging.get_verbosity() == optuna.logging.INFO


def test_verbose_says_how_far_it_is(model, data, capsys):
    _optimize(model, data, n_trials_optuna=9, verbose=True)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["tuning 8/9", "tuning 9/9"]


@pytest.mark.parametrize("options", [{"n_trials": 0}, {"n_jobs": 0}, {"timeout": -1.0}, {"seed": -1}])
def test_impossible_settings_are_refused(model, data, options):
    with pytest.raises(ConfigError):
        tune_sparse(model, data, CONFIG, SETTINGS, **options)


def test_optimizers_by_name_can_be_tuned_and_objects_not(model, data):
    found = _optimize(model, data, optimizer_type="SR3_L1", n_trials_optuna=3)
    assert found["optimizer_type"] == "SR3_L1"
    assert math.isfinite(found["value"])
    with pytest.raises(ConfigError, match="settings of its own"):
        _optimize(model, data, optimizer_type=pysindy.STLSQ())


@pytest.mark.parametrize("storage", ["sqlite:////no/such/folder/x.db", "oracle9://x"])
def test_a_storage_that_cannot_be_used_is_an_error(model, data, storage):
    with pytest.raises(StorageError):
        tune_sparse(model, data, CONFIG, SETTINGS, 2, storage=storage)
