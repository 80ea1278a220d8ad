"""Padding never counts, the same seed gives the same numbers, and nothing global is left changed."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat._runtime.threads import one_thread
from spicestat.errors import ConfigError
from spicestat.models.base import BuildSettings, building
from spicestat.models.precoded import LearningRateRNN
from spicestat.simulate import simulate_cohort
from spicestat.training.config import TrainingConfig
from spicestat.training.evaluate import rnn_logits
from spicestat.training.loop import train
from spicestat.training.loss import choice_log_likelihood, mean_nll
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset


def model(n_members=1, n_participants=3, seed=0, dropout=0.0):
    with torch.random.fork_rng(), building(BuildSettings(n_members=n_members, dropout=dropout)):
        torch.manual_seed(seed)
        return LearningRateRNN(2, n_participants=n_participants)


def trained(data, validation=None, progress=None, n_members=1, dropout=0.0, **changes):
    """Train a fresh model; return it with its result."""
    config = TrainingConfig(**({"epochs": 6, "convergence_threshold": 0.0} | changes))
    network = model(n_members, data.n_participants, dropout=dropout)
    return network, train(network, data, config, validation, progress)


def weights_of(network):
    return torch.cat([weight.detach().flatten() for weight in network.parameters()])


def padded(data, extra, fill=0.0):
    """The same trials with more padding, whose features are ``fill``."""

    def longer(tensor, value):
        more = torch.full((tensor.shape[0], extra, *tensor.shape[2:]), value).to(tensor.dtype)
        return torch.cat([tensor, more], dim=1)

    return replace(
        data,
        actions=longer(data.actions, fill),
        rewards=longer(data.rewards, fill),
        inputs=longer(data.inputs, fill),
        targets=longer(data.targets, 0),
        mask=longer(data.mask, False),
        valid=longer(data.valid, False),
    )


@pytest.fixture(scope="module")
def ragged():
    """Return three participants whose second block is shorter, with missing rewards and choices."""
    rng = np.random.default_rng(4)
    table = simulate_cohort(3, 40, n_blocks=2, seed=4).trials.astype({"choice": "float64", "reward": "float64"})
    table = table.drop(table.index[table["trial"].gt(11) & table["block"].eq(2)])
    table.loc[rng.random(len(table)) < 0.1, "reward"] = np.nan
    table.loc[rng.random(len(table)) < 0.1, "choice"] = np.nan
    return SequenceDataset.from_trials(read_trials(table, block="block"))


# --- loss -----------------------------------------------------------------------------------------------------------


def test_loss_by_hand():
    logits = torch.tensor([[[math.log(3.0), 0.0], [0.0, 0.0], [9.0, 0.0]]])
    targets, mask = torch.tensor([[0, 1, 1]]), torch.tensor([[True, True, False]])
    expected = math.log(0.75) + math.log(0.5)
    assert choice_log_likelihood(logits, targets, mask).item() == pytest.approx(expected, rel=1e-6)


def test_masked_logits_may_be_anything():
    logits = torch.tensor([[[0.0, 0.0], [float("nan"), float("inf")]]])
    value = choice_log_likelihood(logits, torch.tensor([[0, 0]]), torch.tensor([[True, False]]))
    assert value.item() == pytest.approx(math.log(0.5))


def test_mean_nll_of_ignorance_is_log_of_the_number_of_actions(ragged):
    logits = torch.zeros(*ragged.mask.shape, 2)
    assert mean_nll(logits, ragged) == pytest.approx(math.log(2), abs=1e-6)


# --- padding --------------------------------------------------------------------------------------------------------


@given(extra=st.integers(1, 15), fill=st.sampled_from([0.0, 1.0, -1.0, float("nan")]))
@settings(max_examples=15)
def test_padding_never_counts(extra, fill):
    table = simulate_cohort(2, 30, n_blocks=1, seed=2).trials
    data = SequenceDataset.from_trials(read_trials(table, block="block"))
    longer = padded(data, extra, fill)
    network = model(n_participants=2)
    plain, more = (mean_nll(rnn_logits(network, part), part) for part in (data, longer))
    assert more == pytest.approx(plain, rel=1e-6)


@pytest.mark.parametrize("fill", [1.0, float("nan")])
def test_training_is_the_same_with_more_padding(ragged, fill):
    network, result = trained(ragged)
    other, more = trained(padded(ragged, 9, fill))
    np.testing.assert_allclose(more.train_nll, result.train_nll, rtol=1e-5)
    torch.testing.assert_close(weights_of(other), weights_of(network), rtol=1e-4, atol=1e-5)


def test_reported_loss_is_the_mean_over_real_choices(ragged):
    network = model()
    expected = mean_nll(rnn_logits(network, ragged), ragged)
    result = train(network, ragged, TrainingConfig(epochs=1))
    assert result.train_nll[0] == pytest.approx(expected, rel=1e-5)


def test_missing_rewards_and_choices_give_no_nan(ragged):
    network, result = trained(ragged, epochs=20, learning_rate=0.05)
    assert np.isfinite(result.train_nll).all()
    assert torch.isfinite(weights_of(network)).all()
    assert torch.isfinite(rnn_logits(network, ragged)).all()


# --- determinism and global state -----------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"batch_size": 2}, {"bagging": True, "n_members": 2}])
def test_the_same_seed_gives_the_same_numbers(ragged, options):
    one, first = trained(ragged, dropout=0.3, **options)
    torch.rand(17)
    two, second = trained(ragged, dropout=0.3, **options)
    assert first == second
    assert torch.equal(weights_of(one), weights_of(two))


def test_the_seed_matters(ragged):
    one, _ = trained(ragged, dropout=0.3, seed=0)
    two, _ = trained(ragged, dropout=0.3, seed=1)
    assert not torch.equal(weights_of(one), weights_of(two))


def test_global_random_states_are_untouched(ragged):
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    trained(ragged, dropout=0.3, batch_size=2, bagging=True)
    assert torch.equal(torch.get_rng_state(), before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_threads_are_restored(ragged):
    before = torch.get_num_threads()
    seen = []
    try:
        torch.set_num_threads(2)
        trained(ragged, progress=lambda *_: seen.append(torch.get_num_threads()))
        assert torch.get_num_threads() == 2
        with pytest.raises(RuntimeError), one_thread():
            raise RuntimeError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}


def test_grad_mode_and_training_mode_are_restored(ragged):
    network = model().train()
    rnn_logits(network, ragged)
    assert network.training
    assert torch.is_grad_enabled()
    trained_network, _ = trained(ragged)
    assert not trained_network.training


# --- stopping -------------------------------------------------------------------------------------------------------


def interrupt_at(epoch):
    def progress(_stage, done, _total, _message):
        if done == epoch:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("epoch", [1, 4])
def test_ctrl_c_is_raised_and_nothing_global_changes(ragged, epoch):
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        trained(ragged, progress=interrupt_at(epoch), epochs=50)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_other_errors_of_a_callback_are_not_swallowed(ragged):
    def broken(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(ragged, progress=broken)


def test_progress_says_where_training_is(ragged):
    seen = []
    trained(ragged, progress=lambda *call: seen.append(call), epochs=3)
    assert [call[:3] for call in seen] == [("rnn", 1, 3), ("rnn", 2, 3), ("rnn", 3, 3)]
    assert seen[0][3].startswith("training NLL 0.")


def contradicting(data):
    """Validation data that get worse as training gets better: every choice is the other one."""
    return replace(data, targets=torch.where(data.mask, 1 - data.targets, data.targets))


def test_patience_stops_and_keeps_the_best_weights(ragged):
    network, result = trained(ragged, contradicting(ragged), epochs=300, patience=20, learning_rate=0.05)
    assert result.stopped == "patience"
    assert len(result.train_nll) < 300
    evaluated = dict(result.validation_nll)
    assert result.best_epoch == min(evaluated, key=evaluated.get)
    held_out = contradicting(ragged)
    assert mean_nll(rnn_logits(network, held_out), held_out) == pytest.approx(evaluated[result.best_epoch], rel=1e-6)


@pytest.mark.parametrize("patience", [1, 4, 12])
def test_patience_stops_only_after_an_evaluation_that_is_no_better(ragged, patience):
    """Validation is evaluated every few epochs; a shorter patience must wait for the next evaluation."""
    _, result = trained(ragged, ragged, epochs=40, patience=patience, learning_rate=5e-3)
    last_epoch, last_loss = result.validation_nll[-1]
    if result.stopped == "patience":
        assert last_epoch > result.best_epoch
        assert last_loss >= dict(result.validation_nll)[result.best_epoch]
    else:
        assert len(result.train_nll) == 40


def test_without_validation_the_last_weights_count(ragged):
    _, result = trained(ragged, epochs=5)
    assert (result.stopped, result.best_epoch, result.validation_nll) == ("epochs", 5, ())


def test_convergence_threshold_stops(ragged):
    _, result = trained(ragged, epochs=50, convergence_threshold=1.0)
    assert result.stopped == "converged"
    assert len(result.train_nll) == 2
    _, never = trained(ragged, epochs=50, convergence_threshold=0.0)
    assert (never.stopped, len(never.train_nll)) == ("epochs", 50)


# --- every setting has an effect ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 7},
        {"learning_rate": 0.05},
        {"l2_weight_decay": 1.0},
        {"batch_size": 2},
        {"n_steps_per_call": 5},
        {"scheduler": True},
        {"bagging": True},
        {"convergence_threshold": 1.0},
        {"seed": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_setting_has_an_effect(ragged, change):
    base, _ = trained(ragged, dropout=0.2)
    changed, _ = trained(ragged, dropout=0.2, **change)
    assert not torch.allclose(weights_of(base), weights_of(changed), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "bad",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"l2_weight_decay": -1e-9},
        {"batch_size": 0},
        {"n_steps_per_call": 0},
        {"convergence_threshold": -1.0},
        {"patience": 0},
    ],
    ids=lambda bad: str(bad),
)
def test_settings_out_of_range_are_named(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        TrainingConfig(**bad)


def test_batches_and_pieces_that_cover_everything_change_nothing(ragged):
    base, _ = trained(ragged)
    same, _ = trained(ragged, batch_size=ragged.n_sequences, n_steps_per_call=ragged.n_steps)
    assert torch.equal(weights_of(base), weights_of(same))


def test_truncated_training_still_learns_and_counts_every_choice(ragged):
    # with a step that moves nothing, the loss of the pieces is the loss of the whole
    _, still = trained(ragged, n_steps_per_call=4, learning_rate=1e-12, epochs=1)
    _, whole = trained(ragged, learning_rate=1e-12, epochs=1)
    assert still.train_nll[0] == pytest.approx(whole.train_nll[0], rel=1e-5)
    _, result = trained(ragged, n_steps_per_call=4, epochs=15)
    assert result.train_nll[-1] < result.train_nll[0]


def test_batches_count_every_choice(ragged):
    _, still = trained(ragged, batch_size=1, learning_rate=1e-12, epochs=1)
    _, whole = trained(ragged, learning_rate=1e-12, epochs=1)
    assert still.train_nll[0] == pytest.approx(whole.train_nll[0], rel=1e-5)


def test_scheduler_restarts_after_64_epochs(ragged):
    """At the end of a period the step is tiny, and after the restart large again."""
    path = []
    network = model()

    def follow(*_):
        path.append(weights_of(network).clone())

    train(network, ragged, TrainingConfig(epochs=68, scheduler=True, convergence_threshold=0), progress=follow)
    steps = [float((after - before).norm()) for before, after in zip(path, path[1:], strict=False)]
    assert steps[62] < 0.05 * steps[5]
    assert steps[64] > 5 * steps[62]


def test_early_stopping_with_bagging_and_members_runs(ragged):
    network, result = trained(ragged, ragged, n_members=3, bagging=True, epochs=10, patience=50)
    assert len(result.validation_nll) == 2
    assert rnn_logits(network, ragged).shape == (*ragged.mask.shape, 2)


# --- ensembles ------------------------------------------------------------------------------------------------------


def test_bagging_keeps_every_participant_in_every_member():
    """Upstream resampled sequences over participants, so that a third of them had no data in a member."""
    table = simulate_cohort(12, 12, n_blocks=3, seed=0).trials
    data = SequenceDataset.from_trials(read_trials(table, block="block"))
    network = model(n_members=4, n_participants=12)
    start = network.participant_embedding.weight.detach().clone()
    config = TrainingConfig(epochs=1, bagging=True, l2_weight_decay=0.0)
    train(network, data, config)
    moved = (network.participant_embedding.weight.detach() - start).abs().amax(dim=2)
    assert moved.shape == (4, 12)
    assert (moved > 0).all()


def test_bagged_members_see_different_samples():
    table = simulate_cohort(2, 40, n_blocks=4, seed=0).trials
    data = SequenceDataset.from_trials(read_trials(table, block="block"))
    network = model(n_members=2, n_participants=2)
    for weight in network.parameters():
        weight.data[1] = weight.data[0]
    train(network, data, TrainingConfig(epochs=3, bagging=True))
    embedding = network.participant_embedding.weight
    assert not torch.allclose(embedding[0], embedding[1])


def test_equal_members_stay_equal_without_bagging_and_dropout(ragged):
    network = model(n_members=2)
    for weight in network.parameters():
        weight.data[1] = weight.data[0]
    train(network, ragged, TrainingConfig(epochs=5))
    for weight in network.parameters():
        torch.testing.assert_close(weight[0], weight[1])


def test_a_member_trains_as_it_would_alone(ragged):
    """Riding in a batch with another network changes nothing but rounding."""
    pair = model(n_members=2, seed=3)
    single = model(n_members=1)
    single.load_state_dict({name: value[:1] for name, value in pair.state_dict().items()})
    config = TrainingConfig(epochs=10, learning_rate=0.02)
    train(pair, ragged, config)
    train(single, ragged, config)
    for name, weight in single.named_parameters():
        torch.testing.assert_close(pair.get_parameter(name)[:1], weight, rtol=1e-3, atol=1e-4, msg=name)


def test_prediction_averages_probabilities_over_members(ragged):
    network = model(n_members=3)
    together = torch.softmax(rnn_logits(network, ragged), dim=-1)
    alone = []
    for member in range(3):
        single = model()
        single.load_state_dict({name: value[member : member + 1] for name, value in network.state_dict().items()})
        alone.append(torch.softmax(rnn_logits(single, ragged), dim=-1))
    torch.testing.assert_close(together, torch.stack(alone).mean(dim=0))
