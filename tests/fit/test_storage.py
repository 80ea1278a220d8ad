"""Saved fits come back as they were, damage is reported, and nothing stored is ever executed."""

import errno
import io
import json
import os
import pickle
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save

import spicestat._files.sealed as sealed
import spicestat.fit.model_files as model_files
from spicestat._files.sealed import read_sealed, write_sealed
from spicestat.coefficients import pack_coefficients
from spicestat.errors import ConfigError, SpicestatError, StorageError
from spicestat.fit.api import spice_fit
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.loading import load_fit
from spicestat.fit.storage import pack_model, unpack_model
from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
from spicestat.simulate import simulate_cohort

# a handful of choices does not identify everybody; the tests that are about this catch the warning
# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings(
    "ignore::spicestat.errors.ConvergenceWarning", "ignore::spicestat.errors.ContradictionWarning"
)

MODEL = runpy.run_path(str(Path(__file__).parents[1] / "models" / "custom_model.py"))
CUSTOM = MODEL["HandWritten"], MODEL["HAND_WRITTEN_CONFIG"]


@pytest.fixture
def saved(tiny_fit, tmp_path):
    return tiny_fit.save(tmp_path / "fit")


def reseal(folder, name, content):
    """Change a file as somebody would who knows how folders are sealed."""
    write_sealed(folder, "fit", read_sealed(folder, "fit") | {name: content})


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
    assert again.model.training == tiny_fit.model.training
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
        small_cohort.trials,
        block="block",
        model="choice",
        epochs=np.int64(2),
        dropout=np.float32(0.1),
        hidden_size=np.int64(4),
    )
    assert load_fit(fit.save(tmp_path / "fit")).tidy().equals(fit.tidy())


def test_custom_models_need_their_class(small_cohort, small_data, tmp_path):
    fit = spice_fit(small_cohort.trials, block="block", model=CUSTOM, epochs=2)
    assert fit.glance()["model"].item() == "HandWritten"
    folder = fit.save(tmp_path / "fit")
    with pytest.raises(ConfigError, match="custom:HandWritten.*rnn_class"):
        load_fit(folder)
    assert_same_fit(fit, load_fit(folder, *CUSTOM), small_data)


def test_an_ensemble_round_trip(small_cohort, small_data, tmp_path):
    fit = spice_fit(small_cohort.trials, block="block", model="choice", epochs=2, n_members=2)
    assert_same_fit(fit, load_fit(fit.save(tmp_path / "fit")), small_data)


def test_folders_of_the_first_version_are_refused(saved):
    """They had no seal; nothing of that version was published."""
    (saved / "seal.json").unlink()
    with pytest.raises(StorageError, match=r"no seal\.json.*before 0\.2"):
        load_fit(saved)


def test_the_files_of_a_folder_are_model_files(tiny_fit, saved):
    model = tiny_fit.model.architecture.build()
    assert model_files.load_rnn(saved / "rnn.safetensors", model) == tiny_fit.model.training
    _, refit = model_files.load_equations(saved / "equations.json")
    np.testing.assert_array_equal(refit.covariance, tiny_fit.model.refit.covariance)


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

FILES = [
    "seal.json", "fit.json", "equations.json", "rnn.safetensors", "coefficients.json", "coefficients.parquet",
    "covariance.parquet", "people.parquet", "trials/trials.json", "trials/trials.parquet", "trials/people.parquet",
]  # fmt: skip


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


def test_no_flipped_bit_gives_other_numbers(tiny_fit, saved):
    """In the review, 15 % of two thousand flips gave other numbers without a word."""
    rng = np.random.default_rng(1)
    for name in FILES:
        content = (saved / name).read_bytes()
        for position in rng.integers(len(content), size=5):
            flipped = bytearray(content)
            flipped[position] ^= 1 << int(rng.integers(8))
            (saved / name).write_bytes(flipped)
            try:
                again = load_fit(saved)
            except StorageError:
                continue
            pd.testing.assert_frame_equal(again.tidy(), tiny_fit.tidy())
        (saved / name).write_bytes(content)


@pytest.mark.parametrize("name", FILES[1:])
def test_files_of_two_fits_do_not_go_together(tiny_fit, saved, tmp_path, name):
    other = tiny_fit.save(tmp_path / "other")
    content = (other / name).read_bytes()
    (saved / name).write_bytes(content + b" ")
    with pytest.raises(StorageError, match=f"{Path(name).name}' has changed"):
        load_fit(saved)
    (saved / name).unlink()
    with pytest.raises(StorageError, match=f"{Path(name).name}' is missing"):
        load_fit(saved)


def test_saved_paths_are_not_written_to_when_a_colleague_s_fit_is_fitted_again(saved, tmp_path, small_data):
    manifest = json.loads((saved / "fit.json").read_text())
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    for name in ("save_path_rnn", "save_path_spice", "checkpoint"):
        assert name not in manifest["settings"]
        manifest["settings"][name] = str(mine)
    reseal(saved, "fit.json", json.dumps(manifest).encode())
    load_fit(saved).estimator.set_params(epochs=1).fit_dataset(small_data)
    assert mine.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fit.json", "settings"),
        ("fit.json", "architecture"),
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
    reseal(saved, name, json.dumps(manifest).encode())
    with pytest.raises(StorageError):
        load_fit(saved)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json") and name != "seal.json"])
def test_json_that_is_nested_too_deeply_is_a_storage_error(saved, name):
    reseal(saved, name, b'{"a":' * 100_000 + b"1" + b"}" * 100_000)
    with pytest.raises(StorageError, match="damaged|cannot read"):
        load_fit(saved)


@pytest.mark.parametrize("key", ["coefficients", "status", "covariance", "converged", "n_trials", "states"])
def test_equations_whose_sizes_disagree_are_storage_errors(saved, key):
    manifest = json.loads((saved / "equations.json").read_text())
    manifest[key] = manifest[key][:-1]
    reseal(saved, "equations.json", json.dumps(manifest).encode())
    with pytest.raises(StorageError):
        load_fit(saved)


def test_coefficients_of_other_people_are_refused(tiny_fit, saved):
    fewer = type(tiny_fit.coefficients).from_frame(tiny_fit.tidy().query("participant != 'p1'"))
    for name, content in pack_coefficients(fewer).items():
        reseal(saved, name, content)
    with pytest.raises(StorageError, match="unknown participants"):
        load_fit(saved)
    files = read_sealed(saved, "fit")
    del files["covariance.parquet"]
    write_sealed(saved, "fit", files)
    with pytest.raises(StorageError, match="different participants or terms"):
        load_fit(saved)


def test_weights_of_another_model_are_refused(saved):
    reseal(saved, "rnn.safetensors", save({"weight": torch.zeros(1)}))
    with pytest.raises(StorageError, match="no network"):
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
    buffer = io.BytesIO()
    if kind == "pickle":
        pickle.dump(Bomb(witness), buffer)
    else:
        torch.save({"weight": Bomb(witness)}, buffer)
    if name == "seal.json":
        (saved / name).write_bytes(buffer.getvalue())
    else:
        reseal(saved, name, buffer.getvalue())
    with pytest.raises(StorageError):
        load_fit(saved)
    assert not witness.exists()
    pickle.loads(pickle.dumps(Bomb(witness)))
    assert witness.exists()


def test_the_class_named_in_the_manifest_is_not_imported(saved):
    manifest = json.loads((saved / "fit.json").read_text()) | {"model": "custom:os.system"}
    reseal(saved, "fit.json", json.dumps(manifest).encode())
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
    with pytest.raises(StorageError, match="not a fit folder"):
        tiny_fit.save(target)
    assert kept.read_text() == "chapter 1"


def full_disk(*_args, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_leaves_the_older_fit(tiny_fit, saved, monkeypatch):
    before = {path.relative_to(saved): path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    with monkeypatch.context() as patch:
        patch.setattr(sealed, "write_synced", full_disk)
        with pytest.raises(StorageError, match="No space left"):
            tiny_fit.save(saved)
    after = {path.relative_to(saved): path.read_bytes() for path in saved.rglob("*") if path.is_file()}
    assert after == before
    assert load_fit(saved).tidy().equals(tiny_fit.tidy())
    assert [path.name for path in saved.parent.iterdir()] == ["fit"]


def test_models_are_packed_on_their_own(small_data):
    estimator = SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, epochs=2, n_participants=3)
    estimator.fit(small_data.xs, small_data.ys)
    model, extra = unpack_model(pack_model(estimator.fitted_model_, {"note": "ü"}))
    assert extra == {"note": "ü"}
    again = SpiceEstimator.from_model(model)
    assert again.get_params()["epochs"] == 2
    for mine, theirs in zip(estimator.predict(small_data.xs), again.predict(small_data.xs), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_fits_of_earlier_versions_are_pooled_when_they_are_loaded(tiny_fit, tmp_path):
    """They have no pooled coefficients and no population in their files."""
    frame, info = tiny_fit.coefficients.frame, dict(tiny_fit.coefficients.info)
    info.pop("population")
    earlier = replace(tiny_fit.coefficients, frame=frame.drop(columns=["pooled", "pooled_sd", "shared"]), info=info)
    loaded = load_fit(replace(tiny_fit, coefficients=earlier).save(tmp_path / "earlier"))
    pd.testing.assert_frame_equal(loaded.tidy(), tiny_fit.tidy())
    np.testing.assert_array_equal(loaded.population.mean, tiny_fit.population.mean)
