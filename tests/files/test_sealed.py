"""Sealed folders: the old content or the new one, never a mixture, and nobody else's files are touched."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import spicestat._files.sealed as sealed
from spicestat._files.sealed import check_target, kind_of, read_sealed, write_sealed
from spicestat.errors import StorageError

OLD = {"a.txt": b"old a", "in/b.txt": b"old b", "only-old.txt": b"x"}
NEW = {"a.txt": b"new a", "in/b.txt": b"new b", "in/deep/c.txt": b"new c"}


def names(folder):
    """Every file and folder below, hidden ones, too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def target(tmp_path):
    return write_sealed(tmp_path / "fit", "test", OLD)


def test_files_come_back(target):
    assert read_sealed(target, "other", "test") == OLD
    assert (target / "in" / "b.txt").read_bytes() == b"old b"
    assert kind_of(target) == "test"


def test_a_newer_content_takes_the_place_of_the_older(target):
    write_sealed(target, "test", NEW)
    assert read_sealed(target, "test") == NEW
    assert names(target) == ["a.txt", "in", "in/b.txt", "in/deep", "in/deep/c.txt", "seal.json"]
    write_sealed(target, "test", {"a.txt": b"alone"})
    assert names(target) == ["a.txt", "seal.json"]


# --- nobody else's files --------------------------------------------------------------------------------------------


def test_other_files_in_the_folder_survive(target):
    others = {"group.csv": "1", "data/raw.csv": "2", "in/notes.txt": "3", ".hidden": "4", "fit.partial/x": "5"}
    for name, text in others.items():
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text(text)
    write_sealed(target, "test", NEW)
    write_sealed(target, "test", OLD)
    assert {name: (target / name).read_text() for name in others} == others
    assert read_sealed(target, "test") == OLD


@pytest.mark.parametrize("content", ["{}", '{"format": 1}', "notes", ""])
@pytest.mark.parametrize("name", ["fit.json", "seal.json"])
def test_a_folder_with_any_file_of_such_a_name_is_not_ours(tmp_path, name, content):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / name).write_text(content)
    (folder / "thesis.txt").write_text("chapter 1")
    with pytest.raises(StorageError):
        write_sealed(folder, "fit", NEW)
    with pytest.raises(StorageError):
        read_sealed(folder, "fit")
    assert names(folder) == sorted([name, "thesis.txt"])


def test_a_file_that_was_not_saved_is_not_written_over(target):
    (target / "in" / "deep").mkdir()
    (target / "in" / "deep" / "c.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"c\.txt' exists and was not saved"):
        write_sealed(target, "test", NEW)
    assert read_sealed(target, "test") == OLD


def test_another_kind_is_not_replaced(target):
    with pytest.raises(StorageError, match="not a fit folder"):
        write_sealed(target, "fit", NEW)
    with pytest.raises(StorageError, match="something else.*Got: test.*Allowed: fit"):
        read_sealed(target, "fit")


def test_links_lead_to_no_other_folder(target, tmp_path):
    (target / "in" / "b.txt").unlink()
    (target / "in").rmdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("mine")
    (target / "in").symlink_to(outside)
    with pytest.raises(StorageError, match="link to another folder"):
        write_sealed(target, "test", NEW)
    assert (outside / "b.txt").read_text() == "mine"


ESCAPES = ["../x", "/tmp/x", "a/../../x", "a//b", ".hidden", "a/.b", "seal.json", "a\\b", "C:x", "x*", ".", ""]


@pytest.mark.parametrize("name", ESCAPES)
def test_names_that_lead_elsewhere_are_refused(target, name):
    with pytest.raises(StorageError, match="impossible name"):
        write_sealed(target, "test", {name: b""})
    stored = json.loads((target / "seal.json").read_text())
    stored["files"][name] = "0"
    (target / "seal.json").write_text(json.dumps(stored))
    for use in (lambda: read_sealed(target, "test"), lambda: write_sealed(target, "test", NEW)):
        with pytest.raises(StorageError, match="impossible name"):
            use()


# --- damage ---------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_is_noticed_or_changes_nothing(target):
    for path in [target / "seal.json", target / "a.txt"]:
        content = path.read_bytes()
        for position in range(len(content) * 8):
            flipped = bytearray(content)
            flipped[position // 8] ^= 1 << position % 8
            path.write_bytes(flipped)
            try:
                assert sealed._read_once(target, ("test",)) == OLD
            except StorageError:
                continue
            assert path.name == "seal.json" and flipped.split() != content  # blanks of JSON mean nothing
        path.write_bytes(content)


def test_files_of_two_folders_cannot_be_mixed(target, tmp_path):
    other = write_sealed(tmp_path / "other", "test", NEW)
    (target / "a.txt").write_bytes((other / "a.txt").read_bytes())
    with pytest.raises(StorageError, match=r"a\.txt' has changed since it was saved"):
        read_sealed(target, "test")


def test_a_missing_file_is_named(target):
    (target / "in" / "b.txt").unlink()
    with pytest.raises(StorageError, match=r"b\.txt' is missing"):
        read_sealed(target, "test")


def test_an_unknown_format_is_named(target):
    stored = json.loads((target / "seal.json").read_text()) | {"format": "spicestat folder 99"}
    (target / "seal.json").write_text(json.dumps(stored))
    with pytest.raises(StorageError, match="Got: spicestat folder 99"):
        read_sealed(target, "test")


# --- all or nothing -------------------------------------------------------------------------------------------------

STEP = """
import os, signal, sys
from pathlib import Path
import spicestat._files.sealed as sealed

count = 0

def killing(real):
    def call(*args, **options):
        global count
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1
        return real(*args, **options)
    return call

for owner, name in [(Path, "mkdir"), (Path, "replace"), (Path, "unlink"), (Path, "rmdir"), (sealed, "write_synced")]:
    setattr(owner, name, killing(getattr(owner, name)))
sealed.write_sealed(sys.argv[1], "test", {NEW})
print(count)
"""


def test_a_kill_at_any_step_leaves_the_old_or_the_new_content(tmp_path):
    """And the next save leaves nothing of it behind."""
    script = tmp_path / "step.py"
    script.write_text(STEP.replace("{NEW}", repr(NEW)))
    seen = set()
    for step in range(60):
        target = write_sealed(tmp_path / f"fit-{step}", "test", OLD)
        done = subprocess.run([sys.executable, script, target, str(step)], capture_output=True, text=True)
        content = read_sealed(target, "test")
        assert content in (OLD, NEW)
        seen.add((done.returncode, content == NEW))
        write_sealed(target, "test", OLD)
        assert read_sealed(target, "test") == OLD
        assert names(target) == ["a.txt", "in", "in/b.txt", "only-old.txt", "seal.json"], step
        if done.returncode == 0:
            break
    assert seen == {(-signal.SIGKILL, False), (-signal.SIGKILL, True), (0, True)}


@pytest.mark.parametrize("fault", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()], ids=str)
@pytest.mark.parametrize("there", [True, False])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, fault, there):
    target = tmp_path / "fit"
    if there:
        write_sealed(target, "test", OLD)
    real = sealed.write_synced

    def failing(path, content):
        if path.name == "c.txt":
            raise fault
        real(path, content)

    before = names(tmp_path)
    monkeypatch.setattr(sealed, "write_synced", failing)
    with pytest.raises((StorageError, KeyboardInterrupt)):
        write_sealed(target, "test", NEW)
    assert names(tmp_path) == before
    assert not there or read_sealed(target, "test") == OLD


def test_two_writers_and_a_reader_never_see_a_mixture(target):
    contents = [{"a.txt": text * 1000, "in/b.txt": text * 10} for text in (b"1", b"2")]
    failures = []

    def work(use):
        try:
            for _ in range(40):
                use()
        except BaseException as error:
            failures.append(error)

    def read():
        assert read_sealed(target, "test") in [OLD, *contents]

    tasks = [read, *(lambda content=content: write_sealed(target, "test", content) for content in contents)]
    threads = [threading.Thread(target=work, args=[task]) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(target) == ["a.txt", "in", "in/b.txt", "seal.json"]


# --- before a long computation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 300, f"{'x' * 300}/fit", "file/fit", "nul\0"])
def test_an_impossible_target_is_found_at_once(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="nothing can be written") as caught:
        check_target(tmp_path / name, "fit")
    assert len(str(caught.value)) < 400


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc/self").exists(), reason="root may write everywhere")
def test_a_folder_without_rights_is_found_at_once():
    with pytest.raises(StorageError, match="nothing can be written"):
        check_target("/proc/self/fit", "fit")


def test_checking_leaves_nothing(tmp_path):
    assert check_target(tmp_path / "a" / "b", "fit") == tmp_path / "a" / "b"
    assert names(tmp_path) == []
