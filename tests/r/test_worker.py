"""The engine as a process of its own: the files that R and Python exchange."""

from __future__ import annotations

import math
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicestat.errors import StorageError
from spicestat.r.columns import encode_table
from spicestat.r.wire_format import pack, unpack
from spicestat.r.worker import answer, main

PLAIN = st.none() | st.booleans() | st.integers(-(2**31) + 1, 2**31 - 1) | st.floats(allow_nan=False) | st.text()
TREES = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(TREES)
def test_trees_come_back(tree: Any) -> None:
    assert unpack(pack(tree)) == tree


def test_whole_numbers_beyond_int32_become_doubles() -> None:
    assert unpack(pack([2**31, -(2**31), 2**53])) == [2.0**31, -(2.0**31), 2.0**53]
    assert isinstance(unpack(pack(2**31)), float)
    assert math.isnan(unpack(pack(math.nan)))


@pytest.mark.parametrize("content", [b"", b"x", b"s\xff\x00\x00\x00", b"I" + struct.pack("<i", -1), pack(1) + b"N"])
def test_damage_is_an_error(content: bytes) -> None:
    with pytest.raises(StorageError, match="damaged"):
        unpack(content)


def test_other_values_are_refused() -> None:
    with pytest.raises(StorageError, match="cannot be sent"):
        pack({"x": object()})


def ask(folder: Path, function: str, arguments: list[Any], progress: bool = False) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / "request").write_bytes(pack({"function": function, "arguments": arguments, "progress": progress}))
    answer(folder)
    return unpack((folder / "answer").read_bytes())


def test_answers_are_those_of_the_bridge(tmp_path: Path) -> None:
    assert ask(tmp_path, "version", [])["value"]["protocol"] == 1
    bad = ask(tmp_path, "load", [str(tmp_path / "nowhere")])
    assert (bad["ok"], bad["code"]) == (False, "storage")


@pytest.mark.parametrize("function", ["importlib", "no_such", "__import__"])
def test_only_what_the_bridge_offers_can_be_called(tmp_path: Path, function: str) -> None:
    assert "no function" in ask(tmp_path, function, ["os"])["message"]


def test_progress_is_a_file_of_lines(tmp_path: Path) -> None:
    table = pd.DataFrame({"participant": "a", "choice": [0, 1] * 6, "reward": [0, 1, 1] * 4})
    options = {"folder": str(tmp_path / "fit"), "model": "rescorla_wagner", "epochs": 2}
    assert ask(tmp_path / "request", "fit", [encode_table(table), options], progress=True)["ok"]
    lines = (tmp_path / "request" / "progress").read_text().splitlines()
    assert lines[0].startswith("rnn\t")
    assert all(len(line.split("\t")) == 4 for line in lines)


def test_the_process_answers_until_its_input_ends(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        request = pack({"function": "version", "arguments": [], "progress": False})
        (tmp_path / name / "request").write_bytes(request)
    main([f"{tmp_path / 'one'}\n"])
    subprocess.run(
        [sys.executable, "-m", "spicestat.r.worker"], input=f"{tmp_path / 'two'}\n", text=True, check=True, timeout=60
    )
    for name in ("one", "two"):
        assert unpack((tmp_path / name / "answer").read_bytes())["ok"]
