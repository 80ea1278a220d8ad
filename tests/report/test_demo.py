"""The demonstration: the whole job on a small cohort, its files, figures and report."""

import re

import matplotlib as mpl
import pandas as pd
import pytest

from spicestat.coefficients import read_coefficients
from spicestat.errors import StorageError
from spicestat.fit.loading import load_fit
from spicestat.report.demo import run_demo
from spicestat.report.report import spice_report


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    settings = dict(mpl.rcParams)
    done = run_demo(tmp_path_factory.mktemp("demo") / "new" / "folder", n_participants=40, n_trials=200, seed=1)
    assert dict(mpl.rcParams) == settings
    return done


def test_files_are_readable(demo):
    folder = demo.report.parent
    assert len(pd.read_csv(folder / "trials.csv")) == 8000
    assert list(pd.read_csv(folder / "people.csv")) == ["participant", "anxiety", "age", "diagnosis"]
    assert read_coefficients(folder / "fit").participants == demo.fit.coefficients.participants
    assert len(read_coefficients(folder / "coefficients.csv").frame) == len(demo.fit.tidy())
    assert len(pd.read_csv(folder / "group.csv")) == len(demo.group.coefficients)


def test_the_known_effect_is_covered_with_the_right_sign(demo):
    # one fixed seed; over seeds the 95 % interval misses the truth in about 1 of 20
    anxiety = demo.recovery.set_index("covariate").loc["anxiety"]
    assert anxiety["truth"] == 0.10
    assert anxiety["conf_low"] <= 0.10 <= anxiety["conf_high"]
    assert anxiety["estimate"] > 0


def test_likelihoods_stand_beside_the_oracle(demo):
    nll = demo.scores.set_index("model")["nll"]
    assert list(nll.index) == ["rnn", "equations", "refit", "shares", "guessing", "oracle"]
    # fitted to the same choices, so a little below the truth; a wrong model is above .55, chance at .693
    assert nll["oracle"] - 0.03 < nll["refit"] < nll["oracle"]
    assert nll["rnn"] < nll["oracle"] + 0.03
    assert nll["equations"] < nll["oracle"] + 0.03


def test_the_structure_is_the_simulated_one(demo):
    used = demo.fit.coefficients.wide("selected").all(axis=0)
    assert {pair for pair in used.index if used[pair]} == {
        ("x_learning_rate_reward", "1"),
        ("x_value_reward_not_chosen", "1"),
        ("x_value_reward_not_chosen", "x_value_reward_not_chosen"),
        ("beta", "x_value_reward"),
    }


def test_the_report_is_one_safe_file(demo, tmp_path):
    html = demo.report.read_text(encoding="utf-8")
    assert html.count("data:image/png;base64,") == 6
    assert html.count("<h2 ") == 9
    assert "<script" not in html and not re.search(r'(src|href)="http', html)
    evil = spice_report(demo.fit, demo.group, tmp_path / "r.html", title="<script>x</script>").read_text()
    assert "<script>" not in evil


def test_the_report_names_a_path_it_cannot_write(demo, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        spice_report(demo.fit, demo.group, tmp_path / "file" / "report.html")


def test_the_saved_fit_loads_alike(demo):
    loaded = load_fit(demo.report.parent / "fit")
    pd.testing.assert_frame_equal(loaded.tidy(), demo.fit.tidy())
    pd.testing.assert_frame_equal(loaded.glance(), demo.fit.glance())
