"""Work that takes long says so, and how much is left."""

import time

import pytest

from spicestat._runtime.progress import _Stage, heartbeat


def test_lines_come_until_the_work_ends():
    lines = []
    with heartbeat(lines.append, "Fitting", seconds=0.02) as report:
        time.sleep(0.1)
        report("rnn", 1, 10, "")
        time.sleep(0.1)
    count = len(lines)
    assert lines[0].startswith("Fitting: ")
    assert lines[-1].startswith("rnn: 1 of 10, ") and lines[-1].endswith(" left")
    time.sleep(0.06)
    assert len(lines) == count


def test_short_work_says_nothing():
    lines = []
    with heartbeat(lines.append, "Fitting"):
        pass
    assert lines == []


def test_an_error_ends_it():
    lines = []
    with pytest.raises(ZeroDivisionError), heartbeat(lines.append, "Fitting", seconds=0.02):
        raise ZeroDivisionError
    time.sleep(0.06)
    assert lines == []


def test_the_estimate_is_in_proportion():
    stage = _Stage("x")
    stage.report("rnn", 30, 300, "")
    assert stage.line(stage.began + 60) == "rnn: 30 of 300, 1 min so far, about 9 min left"
    stage.report("rnn", 0, 300, "")
    assert stage.line(stage.began + 60) == "rnn: 0 of 300, 1 min so far"
