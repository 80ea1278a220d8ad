"""progress_bars: bars in a terminal, HTML in a notebook, lines elsewhere."""

import io
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from spicestat import progress_bars


def test_a_terminal_has_bars_that_end_with_the_work():
    screen = io.StringIO()
    with progress_bars(Console(file=screen, force_terminal=True, width=100)) as report:
        report("rnn", 0, 4, "")
        report("rnn", 4, 4, "NLL .4")
        report("own", 1, 2, "")
    shown = screen.getvalue()
    assert "Training the RNN" in shown and "NLL .4" in shown and "own" in shown


def test_a_pipe_has_no_bars(capsys):
    with progress_bars() as report:
        report("rnn", 1, 4, "")
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def cell(monkeypatch):
    """What the cell of a notebook shows in the end."""
    shown = []

    def display(value, display_id):
        assert display_id
        shown.append(value)
        return SimpleNamespace(update=lambda value: shown.__setitem__(0, value))

    notebook = SimpleNamespace(
        get_ipython=lambda: SimpleNamespace(kernel=object()), display=SimpleNamespace(display=display)
    )
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    return shown


def test_a_notebook_has_one_piece_of_html(cell):
    with progress_bars() as report:
        report("rnn", 1, 4, "<b>")
        report("rnn", 3, 4, "<script>")
        report("refit", 0, 0, "")
    (bars,) = cell
    html = bars._repr_html_()
    assert html.count("<progress") == 2
    assert "Training the RNN <progress value='3' max='4'></progress> &lt;script&gt;" in html
    assert repr(bars).splitlines()[0] == "Training the RNN: 3/4 <script>"


def test_ipython_in_a_terminal_is_no_notebook(cell, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: SimpleNamespace())
    with progress_bars() as report:
        report("rnn", 1, 4, "")
    assert cell == []
