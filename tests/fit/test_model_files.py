"""Networks and equations come back from single files as they were; nothing stored is ever executed."""

import dataclasses
import errno
import inspect
import json
import math
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from spicestat._files.atomic import write_file
from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.errors import StorageError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.loading import load_fit
from spicestat.fit.model_files import (
    json_bytes,
    load_equations,
    load_rnn,
    save_equations,
    save_rnn,
)
from spicestat.models.precoded import PRECODED, RescorlaWagnerRNN
from spicestat.training.result import TrainingResult

NAN = math.nan
TRAINING = TrainingResult((0.7, 1 / 3, math.inf), ((2, 0.65),), "epochs", 2)


def model(n_participants=3, seed=1, name="participant_embedding"):
    torch.manual_seed(seed)
    return PRECODED[name][0](n_actions=2, n_participants=n_participants).eval()


def weights(of):
    return {name: value.clone() for name, value in of.state_dict().items()}


def assert_same(one, other):
    """Compare dataclasses of arrays field by field."""
    assert type(one) is type(other)
    for field in dataclasses.fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, np.ndarray):
            assert mine.dtype == theirs.dtype, field.name
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
        elif isinstance(mine, EquationSet):
            assert_same(mine, theirs)
        else:
            assert mine == theirs, field.name


@pytest.fixture
def files(tiny_fit, tmp_path):
    """Single files of a fitted estimator: (rnn, spice), with SPICE's ending."""
    estimator = tiny_fit.estimator
    return (
        save_rnn(tmp_path / "rnn.pkl", estimator.rnn_model_, estimator.training_),
        save_equations(tmp_path / "spice.pkl", estimator.sparse_, estimator.refit_),
    )


# --- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PRECODED))
def test_a_network_comes_back(name, tmp_path):
    saved, other = model(name=name), model(name=name, seed=2)
    path = save_rnn(tmp_path / "any name.pkl", saved, TRAINING)
    assert path == tmp_path / "any name.pkl"
    training = load_rnn(path, other)
    for key, value in weights(saved).items():
        assert torch.equal(value, weights(other)[key]), key
    assert training.train_nll[:2] == TRAINING.train_nll[:2]
    assert math.isnan(training.train_nll[2])
    assert dataclasses.replace(training, train_nll=()) == dataclasses.replace(TRAINING, train_nll=())


def test_every_part_of_the_training_history_is_kept():
    """A new field of TrainingResult must be stored too."""
    assert [field.name for field in dataclasses.fields(TrainingResult)] == [
        "train_nll",
        "validation_nll",
        "stopped",
        "best_epoch",
    ]


def test_equations_come_back_to_the_last_bit(tiny_fit, files):
    sparse, refit = load_equations(files[1])
    assert_same(sparse, tiny_fit.model.sparse)
    assert_same(refit, tiny_fit.model.refit)
    assert np.isnan(refit.covariance).any()


def test_numbers_that_are_hard_to_write_come_back(tiny_fit, tmp_path):
    refit = tiny_fit.model.refit
    values = refit.equations.coefficients.copy()
    values.flat[:4] = [1 / 3, 5e-324, -0.0, 1.7976931348623157e308]
    odd = dataclasses.replace(refit, equations=dataclasses.replace(refit.equations, coefficients=values))
    _, again = load_equations(save_equations(tmp_path / "e.json", tiny_fit.model.sparse, odd))
    assert again.equations.coefficients.tobytes() == values.tobytes()
    assert isinstance(again, RefitResult)


def test_the_formats_are_open_ones(files):
    with safe_open(files[0], framework="pt") as file:
        assert file.metadata()["format"] == "spicestat rnn 2"
    assert json.loads(files[1].read_text())["format"] == "spicestat equations 2"


def test_folders_are_made_and_older_files_replaced(tiny_fit, tmp_path):
    target = tmp_path / "a" / "b" / "spice"
    for _ in range(2):
        save_equations(target, tiny_fit.model.sparse, tiny_fit.model.refit)
    assert [path.name for path in target.parent.iterdir()] == ["spice"]


def test_names_may_be_relative_strings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert save_rnn("rnn.pkl", model(), TRAINING) == tmp_path / "rnn.pkl"
    assert load_rnn("rnn.pkl", model()).stopped == "epochs"


# --- all or nothing -------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_older_file(files, monkeypatch):
    before = files[0].read_bytes()

    def full_disk(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("spicestat._files.atomic.write_synced", full_disk)
        with pytest.raises(StorageError, match="No space left"):
            save_rnn(files[0], model(), TRAINING)
    assert files[0].read_bytes() == before
    assert sorted(path.name for path in files[0].parent.iterdir()) == ["rnn.pkl", "spice.pkl"]


def test_an_interrupt_leaves_the_older_file(files, monkeypatch):
    before = files[1].read_bytes()

    def interrupted(path, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_file(files[1], b"half")
    assert files[1].read_bytes() == before
    assert sorted(path.name for path in files[1].parent.iterdir()) == ["rnn.pkl", "spice.pkl"]


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="cannot write"):
        save_rnn(tmp_path / "folder", model(), TRAINING)


# --- damage ---------------------------------------------------------------------------------------------------------


def load_either(files, which):
    """Load the network or the equations of a pair of files."""
    if which == 0:
        load_rnn(files[0], model())
    else:
        load_equations(files[1])


@pytest.mark.parametrize("which", [0, 1], ids=["rnn", "equations"])
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "noise", "folder", "deep", "other"])
def test_damaged_files_are_storage_errors(files, which, damage):
    content = files[which].read_bytes()
    files[which].unlink()
    if damage == "folder":
        files[which].mkdir()
    elif damage != "missing":
        files[which].write_bytes(
            {
                "empty": b"",
                "half": content[: len(content) // 2],
                "noise": os.urandom(500),
                "deep": b"[" * 100_000,
                "other": files[1 - which].read_bytes(),
            }[damage]
        )
    with pytest.raises(StorageError):
        load_either(files, which)


def test_weights_of_another_model_leave_this_one_alone(tmp_path):
    """PyTorch would have loaded the weights that fit before it raised."""
    path = save_rnn(tmp_path / "rnn", model(n_participants=5, seed=2), TRAINING)
    mine = model(n_participants=3)
    before = weights(mine)
    with pytest.raises(StorageError, match=r"another model.*embedding"):
        load_rnn(path, mine)
    assert all(torch.equal(value, before[key]) for key, value in weights(mine).items())
    with pytest.raises(StorageError, match="another model"):
        load_rnn(path, RescorlaWagnerRNN(n_actions=2, n_participants=0))


def test_bare_weights_are_no_network_file(tmp_path):
    save_file(weights(model()), tmp_path / "bare")
    with pytest.raises(StorageError, match="no network with its training history"):
        load_rnn(tmp_path / "bare", model())


@pytest.mark.parametrize("history", [None, "{", "[]", '{"train_nll": 3}', '{"train_nll": [], "validation_nll": [1]}'])
def test_a_damaged_history_leaves_the_model_alone(tmp_path, history):
    metadata = {"format": "spicestat rnn 2"} | ({} if history is None else {"training": history})
    save_file(weights(model(seed=2)), tmp_path / "rnn", metadata)
    mine = model()
    before = weights(mine)
    with pytest.raises(StorageError, match="damaged"):
        load_rnn(tmp_path / "rnn", mine)
    assert all(torch.equal(value, before[key]) for key, value in weights(mine).items())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "spicestat equations 99"),
        ("libraries", [{"module": "x", "variables": ["x"], "powers": [[0, 1]]}]),
        ("libraries", [{"module": "x", "variables": ["x"], "powers": [[10**9]]}]),
        ("libraries", [{"module": "x", "variables": ["x"], "powers": [[-1]]}]),
        ("libraries", ["x"]),
        ("libraries", None),
        ("states", 1),
        ("status", "deleted"),
        ("coefficients", [["a"]]),
        ("coefficients", [[10**400]]),
        ("covariance", []),
        ("n_trials", 3),
    ],
    ids=str,
)
def test_equations_that_contradict_themselves_are_refused(files, key, value):
    stored = json.loads(files[1].read_text()) | {key: value}
    files[1].write_text(json.dumps(stored))
    with pytest.raises(StorageError):
        load_equations(files[1])


def test_unknown_states_of_a_term_are_refused(files):
    stored = json.loads(files[1].read_text())
    stored["status"][0][0] = 7
    files[1].write_text(json.dumps(stored))
    with pytest.raises(StorageError, match="'status' holds other numbers"):
        load_equations(files[1])


@pytest.mark.parametrize("key", ["libraries", "states", "status", "sparse_coefficients", "converged", "at_bound"])
def test_equations_without_a_part_are_refused(files, key):
    stored = json.loads(files[1].read_text())
    del stored[key]
    files[1].write_text(json.dumps(stored))
    with pytest.raises(StorageError, match=f"damaged.*{key}"):
        load_equations(files[1])


def test_settings_of_any_kind_are_written_or_refused(tmp_path):
    values = {"number": np.float32(0.5), "missing": NAN, "path": tmp_path, "nested": [(np.int64(1), {"a": np.True_})]}
    written = json.loads(json_bytes(values))
    assert written == {"number": 0.5, "missing": None, "path": str(tmp_path), "nested": [[1, {"a": True}]]}
    with pytest.raises(StorageError, match="object"):
        json_bytes({"optimizer": object()})


@pytest.mark.parametrize("which", [0, 1], ids=["rnn", "equations"])
def test_every_flipped_bit_is_noticed(files, which):
    content = files[which].read_bytes()
    rng = np.random.default_rng(2)
    for position in rng.integers(len(content), size=100):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        files[which].write_bytes(flipped)
        with pytest.raises(StorageError):
            load_either(files, which)


# --- nothing is executed --------------------------------------------------------------------------------------------


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def plant(path, kind, witness):
    """Replace a file by one that leaves a witness when it is unpickled."""
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Bomb(witness)))
    elif kind == "old pickle":
        path.write_bytes(pickle.dumps(Bomb(witness), protocol=0))
    else:
        torch.save({"model": Bomb(witness)}, path, _use_new_zipfile_serialization=kind == "torch")


KINDS = ["pickle", "old pickle", "torch", "old torch"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 1], ids=["rnn", "equations"])
def test_hostile_files_are_not_executed(files, tmp_path, kind, which):
    """SPICE reads its equations with dill.load, which runs whatever a file says."""
    witness = tmp_path / "executed"
    plant(files[which], kind, witness)
    with pytest.raises(StorageError) as caught:
        load_either(files, which)
    assert not witness.exists()
    if kind != "old pickle":
        assert "never loaded" in str(caught.value)
    # the file is a bomb indeed
    if "torch" in kind:
        torch.load(files[which], weights_only=False)
    else:
        pickle.loads(files[which].read_bytes())
    assert witness.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_of_a_fit_folder_is_executed(tiny_fit, tmp_path, kind):
    witness = tmp_path / "executed"
    folder = tiny_fit.save(tmp_path / "fit")
    names = [path for path in folder.rglob("*") if path.is_file()]
    assert len(names) >= 8
    for path in names:
        content = path.read_bytes()
        plant(path, kind, witness)
        with pytest.raises(StorageError):
            load_fit(folder)
        assert not witness.exists(), path
        path.write_bytes(content)
    load_fit(folder)


def fresh(tiny_fit):
    """Return an estimator with the settings of a fitted one."""
    return SpiceEstimator(**tiny_fit.estimator.get_params())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("which", [0, 1], ids=["rnn", "spice"])
def test_load_spice_executes_nothing(tiny_fit, files, tmp_path, kind, which):
    witness = tmp_path / "executed"
    plant(files[which], kind, witness)
    with pytest.raises(StorageError):
        fresh(tiny_fit).load_spice(str(files[0]), str(files[1]), deterministic=True)
    assert not witness.exists()


def test_load_spice_reads_what_save_spice_writes(tiny_fit, small_data, tmp_path):
    tiny_fit.estimator.save_spice(path_rnn=str(tmp_path / "rnn.pkl"), path_spice=str(tmp_path / "spice.pkl"))
    estimator = fresh(tiny_fit)
    estimator.load_spice(str(tmp_path / "rnn.pkl"), str(tmp_path / "spice.pkl"))
    for mine, theirs in zip(tiny_fit.estimator.predict(small_data.xs), estimator.predict(small_data.xs), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert inspect.signature(estimator.load_spice).parameters["deterministic"].default is True
