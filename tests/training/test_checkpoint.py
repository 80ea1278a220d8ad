"""An interrupted run that goes on ends with the same bits; no other run's or damaged checkpoint is used."""

import errno
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spicestat.errors import ConfigError, NumericalError, StorageError, StorageWarning
from spicestat.models.base import BuildSettings, building
from spicestat.models.precoded import ForgettingRNN, LearningRateRNN, ModelDeclaration, ModuleDeclaration
from spicestat.simulate import simulate_cohort
from spicestat.training import checkpoint as checkpoint_module
from spicestat.training.config import TrainingConfig
from spicestat.training.loop import train
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

FILE = "training.safetensors"


@pytest.fixture(scope="module")
def data():
    """Three participants with two blocks each, and a few missing choices."""
    table = simulate_cohort(3, 24, n_blocks=2, seed=4).trials.astype({"choice": "float64"})
    table.loc[np.random.default_rng(4).random(len(table)) < 0.1, "choice"] = np.nan
    return SequenceDataset.from_trials(read_trials(table, block="block"))


def model(rnn_class=LearningRateRNN, **sizes):
    with torch.random.fork_rng(), building(BuildSettings(**({"dropout": 0.3} | sizes))):
        torch.manual_seed(0)
        return rnn_class(2, n_participants=3)


def run(data, checkpoint=None, progress=None, validation=None, network=None, **changes):
    """Train; return the network with its result."""
    config = TrainingConfig(**({"epochs": 20, "convergence_threshold": 0.0, "learning_rate": 0.02} | changes))
    network = model() if network is None else network
    return network, train(network, data, config, validation, progress, checkpoint)


def interrupted(data, checkpoint, progress=None, **options):
    """Train until Ctrl-C."""
    with pytest.raises(KeyboardInterrupt):
        run(data, checkpoint, progress, **options)


def raise_at(epoch, error=KeyboardInterrupt):
    def progress(_stage, done, _total, _message):
        if done == epoch:
            raise error

    return progress


def assert_same(one, other):
    """Compare networks and results to the last bit."""
    (network, result), (second, more) = one, other
    assert result == more
    weights, others = network.state_dict(), second.state_dict()
    assert all(torch.equal(weights[name], others[name]) for name in weights.keys() | others.keys())


def never(*_):
    pytest.fail("something was trained")


# --- going on -------------------------------------------------------------------------------------------------------

RUNS = {
    "dropout": ({}, {}),
    "validation": ({}, {"validated": True}),
    "scheduler": ({}, {"scheduler": True, "epochs": 70}),
    "bagged ensemble": ({"n_members": 3}, {"bagging": True}),
    "truncated batches": ({}, {"n_steps_per_call": 5, "batch_size": 2}),
    "everything": (
        {"n_members": 2},
        {"validated": True, "scheduler": True, "bagging": True, "n_steps_per_call": 5, "batch_size": 4},
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_was_interrupted_twice_ends_with_the_same_bits(name, data, tmp_path):
    sizes, changes = RUNS[name]
    changes = dict(changes)
    validation = data.select([1, 4]) if changes.pop("validated", False) else None

    def again(**options):
        return run(data, validation=validation, network=model(**sizes), **changes, **options)

    whole = again()
    last = changes.get("epochs", 20)
    for epoch in (5, last - 4):
        with pytest.raises(KeyboardInterrupt):
            again(checkpoint=tmp_path, progress=raise_at(epoch))
    torch.rand(7)  # nothing global counts
    assert_same(again(checkpoint=tmp_path), whole)
    # what is finished is not trained again
    assert_same(again(checkpoint=tmp_path, progress=never), whole)


@pytest.mark.parametrize("epoch", [1, 8, 16, 19, 20])
def test_any_epoch_will_do(epoch, data, tmp_path):
    interrupted(data, tmp_path, raise_at(epoch), validation=data)
    assert_same(run(data, tmp_path, validation=data), run(data, validation=data))


def test_ctrl_c_within_an_epoch_goes_on_from_the_last_whole_one(data, tmp_path, monkeypatch):
    network, calls = model(), []
    forward = network.forward

    def until_the_third_epoch(*args, **options):
        calls.append(1)
        if len(calls) == 8:  # three batches per epoch
            raise KeyboardInterrupt
        return forward(*args, **options)

    monkeypatch.setattr(network, "forward", until_the_third_epoch)
    interrupted(data, tmp_path, network=network, batch_size=2)
    seen = []
    resumed = run(data, tmp_path, lambda *call: seen.append(call[1]), batch_size=2)
    assert seen[0] == 3
    assert_same(resumed, run(data, batch_size=2))


def test_the_network_that_was_interrupted_can_be_passed_again(data, tmp_path):
    network = model()
    interrupted(data, tmp_path, raise_at(6), network=network)
    assert_same(run(data, tmp_path, network=network), run(data))


@pytest.mark.parametrize("stop", [{"convergence_threshold": 0.02, "epochs": 60}, {"patience": 4, "epochs": 200}])
def test_a_reason_to_stop_outlives_an_interrupt(stop, data, tmp_path):
    """Ctrl-C just when training had converged must not make it go on."""
    wrong = replace(data, targets=torch.where(data.mask, 1 - data.targets, data.targets))
    whole = run(data, validation=wrong, **stop)
    assert whole[1].stopped == ("patience" if "patience" in stop else "converged")
    interrupted(data, tmp_path, raise_at(len(whole[1].train_nll)), validation=wrong, **stop)
    assert_same(run(data, tmp_path, never, validation=wrong, **stop), whole)


def test_more_epochs_go_on_as_if_they_had_been_asked_for_at_first(data, tmp_path):
    run(data, tmp_path, validation=data, epochs=11, scheduler=True)
    more = run(data, tmp_path, validation=data, epochs=21, scheduler=True)
    assert_same(more, run(data, validation=data, epochs=21, scheduler=True))


def test_an_error_keeps_what_was_trained(data, tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(data, tmp_path, raise_at(6, ZeroDivisionError))
    assert_same(run(data, tmp_path), run(data))


def test_a_loss_that_is_no_number_is_not_kept(data, tmp_path, monkeypatch):
    interrupted(data, tmp_path, raise_at(6))
    before = (tmp_path / FILE).read_bytes()
    monkeypatch.setattr(
        LearningRateRNN, "log_likelihood", lambda *_args: torch.tensor(float("nan"), requires_grad=True)
    )
    with pytest.raises(NumericalError, match="epoch 7"):
        run(data, tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


def test_global_random_states_are_untouched(data, tmp_path):
    interrupted(data, tmp_path, raise_at(6))
    before = torch.get_rng_state()
    run(data, tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


# --- when it is written ---------------------------------------------------------------------------------------------


def written_epochs(folder, data, **changes):
    """Epochs that the file holds after each epoch, 0 where there is none."""
    found = []

    def look(*_):
        with_file = (folder / FILE).is_file()
        found.append(len(stored(folder)["train_nll"]) if with_file else 0)

    run(data, folder, look, **changes)
    return found


def stored(folder):
    with safe_open(folder / FILE, framework="pt") as file:
        return json.loads(file.metadata()["run"])


def test_it_is_written_every_ten_seconds_and_at_the_end(data, tmp_path, monkeypatch):
    clock = iter(range(0, 1000, 2))  # two seconds per look
    monkeypatch.setattr(checkpoint_module.time, "monotonic", lambda: next(clock))
    found = written_epochs(tmp_path, data, epochs=12)
    assert found == [0, 0, 0, 0, 5, 5, 5, 5, 5, 10, 10, 10]
    assert len(stored(tmp_path)["train_nll"]) == 12
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_nothing_is_written_unless_asked_for(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(data, epochs=2)
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_changes_no_result(data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "_SECONDS", 0.0)
    assert_same(run(data, tmp_path / "new" / "folder", validation=data), run(data, validation=data))


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["spicestat._files.atomic.write_synced", "pathlib.Path.replace"])
def test_a_full_disk_costs_a_warning_and_not_the_training(step, data, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_module, "_SECONDS", 0.0)
    run(data, tmp_path, epochs=4)
    before = (tmp_path / FILE).read_bytes()
    with monkeypatch.context() as disk, pytest.warns(StorageWarning, match="No space left") as caught:
        disk.setattr(step, full_disk)
        result = run(data, tmp_path)
    assert len(caught) == 1
    assert_same(result, run(data))
    # the old checkpoint is whole, and no half of a new one lies beside it
    assert (tmp_path / FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    assert_same(run(data, tmp_path), result)


def test_ctrl_c_while_writing_leaves_the_old_file_or_the_new_one(data, tmp_path, monkeypatch):
    run(data, tmp_path, epochs=4)
    before = (tmp_path / FILE).read_bytes()

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as keyboard, pytest.raises(KeyboardInterrupt):
        keyboard.setattr(Path, "replace", interrupt)
        run(data, tmp_path)
    assert (tmp_path / FILE).read_bytes() == before


# --- what is refused ------------------------------------------------------------------------------------------------


def declared(start):
    """A network of a declared model, whose value starts there."""
    rate = ModuleDeclaration("x_rate", "x_value", kind="rate", cells="chosen")
    return model(ModelDeclaration([rate], {"x_value": start}).build()[0])


def fewer(data):
    return data.select([0, 1, 2])


def rewarded(data):
    return replace(data, rewards=torch.where(data.rewards == 1, 0.9, data.rewards))


OTHERS = {
    "learning_rate=0.03": {"learning_rate": 0.03},
    "l2_weight_decay=1.0": {"l2_weight_decay": 1.0},
    "batch_size=2": {"batch_size": 2},
    "n_steps_per_call=5": {"n_steps_per_call": 5},
    "scheduler=True": {"scheduler": True},
    "bagging=True": {"bagging": True},
    "convergence_threshold=1.0": {"convergence_threshold": 1.0},
    "patience=8": {"patience": 8, "validation": lambda data: data},
    "seed=1": {"seed": 1},
    "data=3 sequences of 11 steps": {"data": fewer},
    "data=6 sequences of 11 steps": {"data": rewarded},
    "validation data=6 sequences": {"validation": lambda data: data},
    "model=ForgettingRNN": {"network": lambda: model(ForgettingRNN)},
    r"model=LearningRateRNN \(": {"network": lambda: model(hidden_size=5)},
    r"model=LearningRateRNN \([0-9a-f]+\)": {"network": lambda: model(dropout=0.1)},
}


@pytest.mark.parametrize("named", OTHERS)
def test_the_checkpoint_of_another_run_is_refused_by_name(named, data, tmp_path):
    run(data, tmp_path, epochs=2)
    before = (tmp_path / FILE).read_bytes()
    other = dict(OTHERS[named])
    for name in other.keys() & {"data", "validation"}:
        other[name] = other[name](data)
    network = other.pop("network", model)()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(StorageError, match=rf"another training run.*{named}.*delete it") as caught:
        run(other.pop("data", data), tmp_path, never, network=network, **other)
    assert str(tmp_path / FILE) in str(caught.value)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    assert (tmp_path / FILE).read_bytes() == before


def test_a_declared_model_is_more_than_the_shapes_of_its_networks(data, tmp_path):
    run(data, tmp_path, network=declared(0.5), epochs=2)
    assert_same(run(data, tmp_path, never, network=declared(0.5), epochs=2), run(data, network=declared(0.5), epochs=2))
    with pytest.raises(StorageError, match="model=Declared"):
        run(data, tmp_path, never, network=declared(0.4), epochs=2)


def test_fewer_epochs_than_were_trained_are_refused(data, tmp_path):
    run(data, tmp_path, epochs=6)
    with pytest.raises(StorageError, match=r"longer.*epochs=4.*6 or more"):
        run(data, tmp_path, never, epochs=4)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def emptied(path):
    path.write_bytes(b"")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def pickled(path):
    path.write_bytes(pickle.dumps({"model": 1}))


def of_something_else(path):
    save_file({"x": torch.zeros(2)}, path)


def history_changed(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'\\"best_epoch\\": 0', b'\\"best_epoch\\": 7'))


def a_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [cut, emptied, flipped, pickled, of_something_else, history_changed, a_folder])
def test_damage_is_noticed_before_anything_is_trained(damage, data, tmp_path):
    run(data, tmp_path, epochs=2)
    damage(tmp_path / FILE)
    network = model()
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(StorageError, match=r"is damaged.*delete it to start afresh"):
        run(data, tmp_path, never, network=network)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_a_state_that_torch_refuses_is_damage(data, tmp_path, monkeypatch):
    run(data, tmp_path, epochs=2)

    def refuse(*_):
        raise RuntimeError("RNG state is wrong size")

    monkeypatch.setattr("spicestat.training.loop.set_random_states", refuse)
    with pytest.raises(StorageError, match="wrong size"):
        run(data, tmp_path, never)


def test_a_checkpoint_is_the_path_of_a_folder(data, tmp_path):
    for bad in (5, True, ""):
        with pytest.raises(ConfigError, match="path of a folder"):
            run(data, bad, never)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="name another folder"):
        run(data, tmp_path / "file", never)
