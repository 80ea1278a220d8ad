"""Saved fits come back as they were, damage is reported, and nothing stored is ever executed."""

import errno
import json
import os
import pickle
import runpy
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import spicestat.model_files as model_files
import spicestat.storage as storage
from spicestat.dataset import SequenceDataset
from spicestat.equations.forward import equation_logits
from spicestat.errors import ConfigError, SpicestatError, StorageError
from spicestat.estimator import SpiceEstimator
from spicestat.fit import load_fit, spice_fit
from spicestat.precoded import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.simulate import simulate_cohort
from spicestat.storage import load_estimator, write_folder
from spicestat.training.loop import rnn_logits
from spicestat.training.loss import mean_nll

# a handful of choices does not identify everybody; the tests that are about this catch the warning
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")

TUTORIAL = runpy.run_path(str(Path(__file__).parent / "models" / "tutorial_4_model.py"))
CUSTOM = TUTORIAL["CustomRNN"], TUTORIAL["CUSTOM_RNN_CONFIG"]


@pytest.fixture
def saved(tiny_fit, tmp_path):
    return tiny_fit.save(tmp_path / "fit")


def assert_same_fit(one, other, data):
    pd.testing.assert_frame_equal(one.tidy(), other.tidy())
    pd.testing.assert_frame_equal(one.glance(), other.glance())
    pd.testing.assert_frame_equal(one.scores, other.scores)
    pd.testing.assert_frame_equal(one.people, other.people)
    pd.testing.assert_frame_equal(one.equations_frame(), other.equations_frame())
    pd.testing.assert_frame_equal(one.trials.frame, other.trials.frame)
    np.testing.assert_array_equal(one.coefficients.covariance, other.coefficients.covariance)
    for mine, theirs in zip(one.estimator.predict(data.xs), other.estimator.predict(data.xs), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert repr(one) == repr(other)


# --- round trips ----------------------------------------------------------------------------------------------------


def test_round_trip(tiny_fit, saved, small_data):
    again = load_fit(saved)
    assert_same_fit(tiny_fit, again, small_data)
    assert again.estimator.training_ == tiny_fit.estimator.training_
    assert again.coefficients.info == tiny_fit.coefficients.info


def test_a_loaded_fit_can_be_saved_again(tiny_fit, saved, tmp_path, small_data):
    again = load_fit(load_fit(saved).save(tmp_path / "second"))
    assert_same_fit(tiny_fit, again, small_data)


def test_saving_over_a_fit_replaces_it(tiny_fit, saved):
    (saved / "coefficients.json").write_text("{")
    tiny_fit.save(saved)
    assert load_fit(saved).tidy().equals(tiny_fit.tidy())


def test_no_partial_folder_is_left(saved):
    assert [path.name for path in saved.parent.iterdir()] == ["fit"]


def test_an_empty_folder_may_be_used(tiny_fit, tmp_path):
    (tmp_path / "empty").mkdir()
    assert (tiny_fit.save(tmp_path / "empty") / "fit.json").is_file()


def test_folders_above_are_made(tiny_fit, tmp_path):
    assert load_fit(tiny_fit.save(tmp_path / "a" / "b" / "c")).tidy().equals(tiny_fit.tidy())


def test_the_working_folder_may_be_the_fit_folder(tiny_fit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_fit.save("fit")
    assert load_fit("fit").tidy().equals(tiny_fit.tidy())
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    try:
        tiny_fit.save(".")
    except SpicestatError:
        return  # refusing is fine, as long as the message is ours
    assert load_fit(tmp_path / "here").tidy().equals(tiny_fit.tidy())


def test_settings_may_be_numpy_numbers(small_cohort, tmp_path):
    fit = spice_fit(
        small_cohort.trials, block="block", epochs=np.int64(2), dropout=np.float32(0.1), hidden_size=np.int64(4)
    )
    assert load_fit(fit.save(tmp_path / "fit")).tidy().equals(fit.tidy())


def test_custom_models_need_their_class(small_cohort, small_data, tmp_path):
    fit = spice_fit(small_cohort.trials, block="block", model=CUSTOM, epochs=2)
    assert fit.glance()["model"].item() == "CustomRNN"
    folder = fit.save(tmp_path / "fit")
    with pytest.raises(ConfigError, match="custom:CustomRNN.*rnn_class"):
        load_fit(folder)
    assert_same_fit(fit, load_fit(folder, *CUSTOM), small_data)


def test_an_ensemble_round_trip(small_cohort, small_data, tmp_path):
    fit = spice_fit(small_cohort.trials, block="block", epochs=2, n_members=2)
    assert_same_fit(fit, load_fit(fit.save(tmp_path / "fit")), small_data)


def test_folders_of_the_first_version_still_load():
    """The folder was written by spicestat 0.1.0 at commit 12173aa; its numbers must come out of today's code."""
    fit = load_fit(Path(__file__).parent / "reference" / "fit_format_1")
    equations = fit.estimator.equations_
    np.testing.assert_array_equal(fit.tidy()["estimate"], equations.coefficients.ravel())
    data = SequenceDataset.from_trials(fit.trials)
    nll = fit.scores.set_index("model")["nll"]
    model = fit.estimator.rnn_model_
    assert mean_nll(rnn_logits(model, data), data) == pytest.approx(nll["rnn"], abs=1e-6)
    assert mean_nll(equation_logits(model, data, equations), data) == pytest.approx(nll["refit"], abs=1e-6)
    assert len(fit.estimator.training_.train_nll) == 40


def test_the_files_of_a_folder_are_model_files(tiny_fit, saved):
    model = tiny_fit.estimator.build_model()
    assert model_files.load_rnn(saved / "rnn.safetensors", model) == tiny_fit.estimator.training_
    _, refit = model_files.load_equations(saved / "equations.json")
    np.testing.assert_array_equal(refit.covariance, tiny_fit.estimator.refit_.covariance)


@pytest.mark.parametrize("labels", [[3, 1, 2], ["x", "y", "z"], [1.5, 2.0, 3.0], [1, "b", 2]], ids=str)
def test_labels_of_participants_keep_their_type(labels, tmp_path):
    table = simulate_cohort(3, 40, n_blocks=1, seed=2).trials
    column = table["participant"].map(dict(zip(["p1", "p2", "p3"], labels, strict=True)))
    fit = spice_fit(table.assign(participant=column), block="block", epochs=1, model="rescorla_wagner")
    again = load_fit(fit.save(tmp_path / "fit"))
    assert again.trials.participants == fit.trials.participants
    assert set(again.trials.participants) == set(labels)
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())


# --- damage ---------------------------------------------------------------------------------------------------------

FILES = ["fit.json", "equations.json", "rnn.safetensors", "trials/trials.json", "trials/trials.parquet"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "half", "noise"])
def test_damaged_files_are_storage_errors(saved, name, damage):
    path = saved / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "noise": os.urandom(200)}[damage])
    with pytest.raises(StorageError):
        load_fit(saved)


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fit.json", "format"),
        ("fit.json", "params"),
        ("fit.json", "training"),
        ("fit.json", "extra"),
        ("equations.json", "libraries"),
        ("equations.json", "coefficients"),
        ("equations.json", "covariance"),
        ("equations.json", "at_bound"),
        ("trials/trials.json", "participants"),
        ("trials/trials.json", "record"),
        ("trials/trials.json", "blocks"),
    ],
)
def test_manifests_without_a_key_are_storage_errors(saved, name, key):
    manifest = json.loads((saved / name).read_text())
    del manifest[key]
    (saved / name).write_text(json.dumps(manifest))
    with pytest.raises(StorageError):
        load_fit(saved)


@pytest.mark.parametrize("key", ["coefficients", "status", "covariance", "converged", "n_trials", "states"])
def test_equations_whose_sizes_disagree_are_storage_errors(saved, key):
    path = saved / "equations.json"
    manifest = json.loads(path.read_text())
    manifest[key] = manifest[key][:-1]
    path.write_text(json.dumps(manifest))
    with pytest.raises(StorageError):
        load_fit(saved)


def test_an_unknown_format_is_named(saved):
    manifest = json.loads((saved / "fit.json").read_text()) | {"format": 99}
    (saved / "fit.json").write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="99"):
        load_fit(saved)


def test_weights_of_another_model_are_refused(saved):
    save_file({"weight": torch.zeros(1)}, saved / "rnn.safetensors")
    with pytest.raises(StorageError, match="damaged"):
        load_fit(saved)


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_what_is_no_fit_is_refused(make, tmp_path):
    make(tmp_path / "thing")
    with pytest.raises(StorageError):
        load_fit(tmp_path / "thing")


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("kind", ["pickle", "torch"])
@pytest.mark.parametrize("name", FILES)
def test_nothing_stored_is_executed(saved, tmp_path, kind, name):
    witness = tmp_path / "executed"
    if kind == "pickle":
        (saved / name).write_bytes(pickle.dumps(Bomb(witness)))
    else:
        torch.save({"weight": Bomb(witness)}, saved / name)
    with pytest.raises(StorageError):
        load_fit(saved)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Bomb(witness)))
    assert witness.exists()


def test_the_class_named_in_the_manifest_is_not_imported(saved):
    manifest = json.loads((saved / "fit.json").read_text()) | {"model": "custom:os.system"}
    (saved / "fit.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="os.system"):
        load_fit(saved)


# --- all or nothing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["folder", "file"])
def test_something_else_is_never_replaced(tiny_fit, tmp_path, what):
    target = tmp_path / "thesis"
    if what == "file":
        target.write_text("chapter 1")
        kept = target
    else:
        target.mkdir()
        kept = target / "chapter.txt"
        kept.write_text("chapter 1")
    with pytest.raises(StorageError, match="no fit folder"):
        tiny_fit.save(target)
    assert kept.read_text() == "chapter 1"


def full_disk(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk_in_rust(*_args, **_options):
    raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def interrupted(*_args, **_options):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (Path, "write_text", full_disk),
        (Path, "write_bytes", full_disk),
        (Path, "mkdir", full_disk),
        (pd.DataFrame, "to_parquet", full_disk),
        (model_files, "save", full_disk_in_rust),
    ],
    ids=["write_text", "write_bytes", "mkdir", "to_parquet", "safetensors"],
)
def test_a_full_disk_leaves_the_older_fit(tiny_fit, saved, monkeypatch, owner, name, fault):
    before = {path.relative_to(saved): path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fault)
        with pytest.raises(StorageError):
            tiny_fit.save(saved)
    after = {path.relative_to(saved): path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    assert after == before
    assert load_fit(saved).tidy().equals(tiny_fit.tidy())
    assert [path.name for path in saved.parent.iterdir()] == ["fit"]


@pytest.mark.parametrize("fault", [full_disk, interrupted])
def test_a_failure_of_the_last_step_leaves_the_older_fit(tiny_fit, saved, monkeypatch, fault):
    real, calls = Path.rename, []

    def rename(self, target):
        """Fail where the new folder takes its place."""
        if self.name == "new" and not calls:
            calls.append(target)
            return fault()
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        patch.setattr(Path, "replace", rename)
        with pytest.raises((StorageError, KeyboardInterrupt)):
            tiny_fit.save(saved)
    assert calls
    assert load_fit(saved).tidy().equals(tiny_fit.tidy())


def test_an_interrupt_while_writing_leaves_the_older_fit(tiny_fit, saved, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(model_files, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            tiny_fit.save(saved)
    assert load_fit(saved).tidy().equals(tiny_fit.tidy())
    assert [path.name for path in saved.parent.iterdir()] == ["fit"]


def test_errors_of_the_writer_clean_up(tmp_path):
    def write(_folder):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_folder(tmp_path / "x", write)
    assert list(tmp_path.iterdir()) == []


def test_estimators_are_stored_on_their_own(small_data, tmp_path):
    estimator = SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, epochs=2, n_participants=3)
    estimator.fit(small_data.xs, small_data.ys)
    write_folder(tmp_path / "e", lambda folder: storage.save_estimator(estimator, folder, {"note": "ü"}))
    again, extra = load_estimator(tmp_path / "e")
    assert extra == {"note": "ü"}
    assert again.get_params()["epochs"] == 2
    for mine, theirs in zip(estimator.predict(small_data.xs), again.predict(small_data.xs), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    shutil.rmtree(tmp_path / "e")
