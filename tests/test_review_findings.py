"""Regression tests of what a review of the seed API found."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spicestat.equations.discover import SparseSettings, member_stability
from spicestat.errors import ConfigError, ConvergenceWarning
from spicestat.fit.estimator import SpiceEstimator
from spicestat.models.base import BuildSettings, building
from spicestat.models.precoded import (
    COUNTERFACTUAL_RNN_CONFIG,
    LEARNING_RATE_RNN_CONFIG,
    CounterfactualRNN,
    LearningRateRNN,
)
from spicestat.simulate import AgentQ, BanditsDrift
from spicestat.spice import create_dataset, get_update_dynamics
from spicestat.spice.dataset_splits import split_data_along_sessiondim
from spicestat.training.config import TrainingConfig
from spicestat.training.loop import train
from spicestat.trials.sequences import SequenceDataset

pytestmark = pytest.mark.filterwarnings(f"ignore::{ConvergenceWarning.__module__}.{ConvergenceWarning.__name__}")


@pytest.fixture(scope="module")
def dataset():
    """Two participants with two sessions of 30 trials each."""
    made, _, _ = create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), n_trials=30, n_sessions=4)
    made.xs[..., -1] = (torch.arange(4) % 2)[:, None]
    return made


def estimator(**options):
    return SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, **{"epochs": 2, "n_participants": 2, **options})


def test_ensemble_members_find_population_structures_of_their_own(dataset):
    """One structure over all members made every share 0 or 1, so that spice_stability had no effect."""
    data = SequenceDataset.from_arrays(dataset.xs, dataset.ys)
    settings = SparseSettings(structure="population", threshold=0.1)
    with building(BuildSettings(n_members=6)), torch.random.fork_rng():
        torch.manual_seed(0)
        ensemble = LearningRateRNN(n_actions=2, n_participants=2).eval()
    share = member_stability(ensemble, data, LEARNING_RATE_RNN_CONFIG, settings)
    np.testing.assert_array_equal(share[0], share[1])
    assert ((share > 0) & (share < 1)).any()


def test_stability_of_inverse_temperatures_is_one_also_without_data(dataset):
    data = replace(SequenceDataset.from_arrays(dataset.xs, dataset.ys), n_participants=3)
    share = member_stability(LearningRateRNN(2, 3).eval(), data, LEARNING_RATE_RNN_CONFIG, SparseSettings())
    assert share[:, -1].tolist() == [1, 1, 1]
    assert np.isnan(share[2, :-1]).all()


def test_data_on_another_device_are_brought_to_the_cpu(dataset, monkeypatch):
    """create_dataset(device="cuda") gives tensors that fit, predict and score take (shown without a GPU)."""
    asked = []
    original = torch.Tensor.cpu

    def cpu(tensor):
        asked.append(id(tensor))
        return original(tensor)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    arrays = {id(dataset.xs), id(dataset.ys)}
    fitted = estimator().fit(dataset.xs, dataset.ys, dataset.xs, dataset.ys)
    assert arrays <= set(asked)
    asked.clear()
    fitted.score(dataset.xs, dataset.ys)
    assert arrays <= set(asked)
    asked.clear()
    fitted.predict(dataset.xs)
    assert id(dataset.xs) in asked


def test_a_fit_of_fewer_participants_than_the_model_knows_can_be_loaded(dataset, tmp_path):
    fitted = estimator(n_participants=3).fit_dataset(SequenceDataset.from_arrays(dataset.xs, dataset.ys))
    assert fitted.refit_.n_trials.tolist() == [60, 60, 0]
    fitted.save_spice(tmp_path / "rnn", tmp_path / "equations")
    loaded = estimator(n_participants=3).load_spice(tmp_path / "rnn", tmp_path / "equations")
    assert loaded.get_spice_features() == fitted.get_spice_features()


def test_model_agents_take_minus_one_for_a_reward_as_predict_does(dataset):
    """Losses of -1 that were shown of an action not chosen were dropped by agents, but not by predict."""
    xs = torch.nan_to_num(dataset.xs, nan=-1.0)
    fitted = SpiceEstimator(CounterfactualRNN, COUNTERFACTUAL_RNN_CONFIG, epochs=2, n_participants=2)
    fitted.fit(xs, dataset.ys)
    for agent, predicted in zip((fitted.rnn_agent, fitted.spice_agent), fitted.predict(xs), strict=True):
        _, played, _ = get_update_dynamics(xs[0], agent)
        np.testing.assert_allclose(played[1:], predicted[0, :-1], atol=1e-5)


def test_weights_are_chosen_by_validation_also_where_training_converges_early(dataset):
    data = SequenceDataset.from_arrays(dataset.xs, dataset.ys)
    result = train(LearningRateRNN(2, 2), data, TrainingConfig(epochs=30, convergence_threshold=1.0), validation=data)
    assert result.stopped == "converged"
    assert [epoch for epoch, _ in result.validation_nll] == [len(result.train_nll)]


def test_sessions_that_are_not_split_go_to_the_device_too(dataset):
    whole, same = split_data_along_sessiondim(dataset, device="meta")
    assert {part.xs.device.type for part in (whole, same)} == {"meta"}


def test_variance_of_an_inverse_temperature_that_is_switched_off_is_refused():
    """Draws lie between 0 and twice the value, so they all were 0."""
    with pytest.raises(ConfigError, match="beta_choice"):
        AgentQ(parameter_variance={"beta_choice": 1.0})
    assert AgentQ(parameter_variance={"beta_choice": 0.0, "forget_rate": 0.1}).parameters["beta_choice"] == 0
