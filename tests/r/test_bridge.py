"""The bridge returns errors, warnings and interrupts as data."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ColumnError, ExclusionWarning
from spicestat.group.formula.design import Design
from spicestat.r import bridge
from spicestat.r.columns import decode_table, encode_table

TRIALS = pd.DataFrame({"who": ["a", "b"], "pick": [0, 1]})
COEFFICIENTS = pd.DataFrame(
    {"participant": ["a", "b"], "module": "m", "term": "1", "estimate": [0.1, 0.2], "std_error": 0.1}
)


def returning(value: Any) -> Any:
    return lambda: value


class FakeFit:
    """Stands in for SpiceFit: a real fit takes minutes, and this file is about what crosses."""

    coefficients = CoefficientTable.from_frame(COEFFICIENTS)
    people = pd.DataFrame({"participant": ["a", "b"]})
    scores = pd.DataFrame({"model": ["rnn"], "nll": [1.0], "n_trials": [2]})
    equations_frame = staticmethod(returning(COEFFICIENTS[["participant", "module", "term"]]))
    glance = staticmethod(returning(pd.DataFrame({"nll": [1.0]})))

    def save(self, folder: str) -> None:
        self.folder = folder


def engine(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> None:
    monkeypatch.setattr(bridge.importlib, "import_module", lambda name: SimpleNamespace(**functions))


def test_fit_passes_settings_and_returns_all_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    result = FakeFit()

    def spice_fit(trials: pd.DataFrame, *, participant: str, people: pd.DataFrame, progress: Any) -> FakeFit:
        seen.update(participant=participant, people=people, trials=trials)
        for done in range(1, 1001):
            progress("rnn", done, 1000, "loss")
        return result

    engine(monkeypatch, spice_fit=spice_fit)
    calls: list[tuple[str, int, int, str]] = []
    options = {"participant": "who", "people": encode_table(TRIALS), "folder": "there"}
    envelope = bridge.fit(encode_table(TRIALS), options, lambda *call: calls.append(call))
    assert envelope["ok"]
    assert envelope["warnings"] == []
    assert seen["participant"] == "who"
    assert seen["trials"].equals(seen["people"])
    assert str(result.folder) == "there"
    assert set(envelope["value"]) == {"coefficients", "covariance", "equations", "people", "scores", "glance"}
    assert decode_table(envelope["value"]["coefficients"])["estimate"].tolist() == [0.1, 0.2]
    assert calls[-1] == ("rnn", 1000, 1000, "loss")
    assert len(calls) < 100


def test_a_fit_by_sample_splitting_has_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spice_fit(trials: Any, *, model: str, progress: Any) -> FakeFit:
        raise AssertionError("this fit was to be split")

    engine(monkeypatch, spice_fit=spice_fit, spice_fit_split=lambda trials, **given: seen.update(given) or FakeFit())
    split = {"share": 0.25, "split_seed": 3, "halve_single": True}
    assert bridge.fit("trials.csv", {"folder": "there", "model": "choice", "split": split})["ok"]
    assert seen == {**split, "model": "choice", "progress": None}


def test_a_path_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    engine(monkeypatch, spice_fit=lambda trials, **_: seen.append(trials) or FakeFit())
    assert bridge.fit("trials.csv", {"folder": "there"})["ok"]
    assert seen == ["trials.csv"]


def test_group_restores_the_covariance(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    empty = pd.DataFrame({"module": [], "reason": []})

    def group_of_design(table: CoefficientTable, design: Design, **settings: Any) -> SimpleNamespace:
        seen.update(settings, table=table, design=design)
        return SimpleNamespace(
            coefficients=COEFFICIENTS,
            glance=returning(COEFFICIENTS[:1]),
            skipped=empty,
            covariance={},
            messages=("a note",),
            ran_vals=None,
            joint_covariance=None,
            augment=returning(TRIALS),
        )

    engine(monkeypatch, group_of_design=group_of_design)
    covariance = pd.DataFrame({"participant": ["a", "b"], "row": 0, "column": 0, "value": 0.01})
    envelope = bridge.group(
        encode_table(COEFFICIENTS),
        encode_table(covariance),
        {
            "formula": "~ 1",
            "names": ["(Intercept)"],
            "terms": ["(Intercept)"],
            "matrix": encode_table(pd.DataFrame({"V1": [1.0, 1.0]})),
            "factors": encode_table(pd.DataFrame({"participant": ["b", "a"]})),
            "random": [],
        },
        {"method": "ols"},
    )
    assert envelope["ok"]
    assert seen["design"].formula == "~ 1"
    assert seen["design"].rows.tolist() == [1, 0]
    assert seen["method"] == "ols"
    assert seen["table"].covariance.ravel().tolist() == [0.01, 0.01]
    assert set(envelope["value"]) == {"coefficients", "covariance", "glance", "skipped", "messages", "participants"}
    assert decode_table(envelope["value"]["messages"])["message"].tolist() == ["a note"]


def test_errors_and_warnings_are_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_fit(_: str) -> None:
        for _ in range(2):
            warnings.warn("2 rows left out.", ExclusionWarning, stacklevel=1)
        warnings.warn("numpy says", RuntimeWarning, stacklevel=1)
        warnings.warn("not for users", DeprecationWarning, stacklevel=1)
        raise ColumnError("no column 'rt'")

    engine(monkeypatch, load_fit=load_fit)
    envelope = bridge.load("folder")
    assert not envelope["ok"]
    assert (envelope["code"], envelope["message"]) == ("column", "no column 'rt'.")
    assert "load_fit" in envelope["traceback"]
    assert envelope["warnings"] == [
        {"code": "exclusion", "message": "2 rows left out."},
        {"code": "python", "message": "numpy says"},
    ]


@pytest.mark.parametrize(
    ("error", "code"), [(KeyError("x"), "internal"), (ModuleNotFoundError("no torch", name="torch"), "install")]
)
def test_unplanned_errors_have_a_code(monkeypatch: pytest.MonkeyPatch, error: Exception, code: str) -> None:
    def load_fit(_: str) -> None:
        raise error

    engine(monkeypatch, load_fit=load_fit)
    assert bridge.load("folder")["code"] == code


def test_interrupts_are_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_fit(_: str) -> None:
        raise KeyboardInterrupt

    engine(monkeypatch, load_fit=load_fit)
    assert bridge.load("folder")["code"] == "interrupt"


def test_an_interrupt_that_r_found_stops_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def spice_fit(trials: pd.DataFrame, *, progress: Any, **_: Any) -> None:
        progress("rnn", 1, 10, "loss")

    engine(monkeypatch, spice_fit=spice_fit)
    envelope = bridge.fit(encode_table(TRIALS), {"folder": "there"}, lambda *_: "interrupt")
    assert envelope["code"] == "interrupt"


def test_a_misspelt_setting_is_the_users_error_with_a_suggestion(tmp_path):
    envelope = bridge.fit({}, {"folder": str(tmp_path), "epoch": 40})
    assert envelope["code"] == "config"
    assert "did you mean 'epochs'?" in envelope["message"]


def test_a_checkpoint_of_another_fit_is_the_users_error(small_cohort, tmp_path):
    options = {"block": "block", "model": "rescorla_wagner", "epochs": 2, "folder": str(tmp_path / "fit")}
    options["checkpoint"] = str(tmp_path / "training")
    first, again = (bridge.fit(encode_table(small_cohort.trials), options) for _ in range(2))
    assert first["ok"], first["message"]
    assert again["value"]["coefficients"] == first["value"]["coefficients"]
    other = bridge.fit(encode_table(small_cohort.trials), options | {"seed": 1})
    assert other["code"] == "storage"
    assert "another training run" in other["message"]
