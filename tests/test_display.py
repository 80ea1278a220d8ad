"""How results are displayed: within a screen, whatever the size of the data, and as HTML in which nothing runs."""

from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from spicestat import CoefficientTable, read_trials, simulate_cohort, spice_group
from spicestat._display import html_block, screen
from spicestat._drawing import Drawing
from spicestat.agents import simulate_model
from spicestat.models.precoded import LearningRateRNN
from spicestat.report.figures import fit_figure
from spicestat.simulate import BanditsDrift, simulate_learners
from spicestat.studies import PipelinePermutation, PowerResult, compare_models
from spicestat.trials import SequenceDataset

BAD = "<script>alert('x')</script><img src=x onerror=alert(1)>&"
SHOWN = {"div", "strong", "br", "table", "thead", "tbody", "tr", "th", "td", "em"}


class Tags(HTMLParser):
    """The tags of a piece of HTML, its attributes, and how many rows its tables have."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs


def check_html(text, *expected):
    found = Tags(text)
    assert set(found.tags) <= SHOWN and not found.attributes
    assert found.tags.count("tr") <= 12 and found.tags.count("th") <= 12 and found.tags.count("br") <= 10
    assert len(text) < 20_000
    for words in expected:
        assert words in text


def check_screen(text, *expected):
    lines = text.splitlines()
    assert 1 <= len(lines) <= 25 and max(map(len, lines)) <= 100
    for words in expected:
        assert words in " ".join(text.split())


def coefficients(n=4, k=3, word=""):
    rng = np.random.default_rng(0)
    names = [f"s{row}{word}" for row in range(n)]
    frame = pd.DataFrame(
        [(who, f"x_{word}", f"t{term}{word}") for who in names for term in range(k)],
        columns=["participant", "module", "term"],
    ).assign(estimate=rng.normal(size=n * k), std_error=0.1)
    people = pd.DataFrame({"participant": names, f"age{word}": rng.normal(size=n), "kind": np.resize(["a", word], n)})
    return CoefficientTable.from_frame(frame, people=people)


@pytest.fixture(scope="module")
def small():
    return coefficients(8, 2)


def test_a_coefficient_table(small):
    check_screen(repr(small), "8 participants, 2 terms", "x_: t0, t1", "covariates: age, kind")
    check_html(small._repr_html_(), "8 participants", "6 more rows", "<td>s0</td>")


def test_a_group_result(small):
    group = spice_group(small, "~ age", adjust="holm")
    check_screen(repr(group), "Group model ~ age, method meta", "8 participants", "x_ / t1:")
    check_html(group._repr_html_(), "Group model ~ age, method meta", "<td>t1</td>", "adjusted by holm")


def test_a_cohort():
    cohort = simulate_cohort(4, 40)
    check_screen(repr(cohort), "4 participants, 160 trials", "anxiety, age, diagnosis", "alpha, forget, beta")
    check_html(cohort._repr_html_(), "4 participants, 160 trials", "150 more rows")


def test_a_fit(tiny_fit):
    check_screen(repr(tiny_fit), "SpiceFit: choice, 3 participants", "NLL per choice", "equations: ")
    check_html(tiny_fit._repr_html_(), "SpiceFit: choice, 3 participants", "NLL per choice")
    table = tiny_fit.coefficients
    check_html(
        replace(tiny_fit, coefficients=replace(table, frame=table.frame.assign(term=BAD)))._repr_html_(), "&lt;script"
    )


def test_trials():
    cohort = simulate_cohort(4, 40)
    trials = read_trials(cohort.trials, block="block", people=cohort.people)
    check_screen(repr(trials), "4 participants, 16 blocks, 160 trials", "anxiety, age, diagnosis")
    check_html(trials._repr_html_(), "4 participants", "150 more rows")


@pytest.mark.filterwarnings("ignore")
def test_large_data_stay_within_a_screen():
    table = coefficients(150, 120, "_long" * 30)
    group = spice_group(table, "~ kind", method="ols")
    for shown in (table, group):
        check_screen(repr(shown))
        check_html(shown._repr_html_())
    assert repr(group).splitlines()[-1].endswith("see tidy(), or summary())")
    check_screen(repr(group.marginal_means("kind")), "Marginal means of kind", "see tidy()")
    frame = pd.DataFrame(
        {"participant": np.repeat(np.arange(30), 60), "choice": np.tile(np.arange(60), 30), "reward": 0.5}
    )
    people = pd.DataFrame({"participant": np.arange(30), **{f"covariate{k}" * 9: np.arange(30.0) for k in range(70)}})
    trials = read_trials(frame, people=people)
    check_screen(repr(trials), "62 more")
    check_html(trials._repr_html_())


def test_results_of_simulations_and_studies():
    designs = pd.DataFrame({"design": range(40), "n_participants": range(20, 60), "n_trials": 100, "term": BAD}).assign(
        effect=0.5, power=0.8, conf_low=0.7, conf_high=0.9
    )
    power = PowerResult(designs, pd.DataFrame({"p_value": np.zeros(4000)}), {"n_simulations": 100})
    check_screen(
        repr(power),
        "4000 simulated studies",
        f"20 participants, 100 trials, effect 0.5 of {BAD}: power 0.80 [0.70, 0.90]",
    )
    check_html(power._repr_html_(), "4000 simulated studies", "30 more rows")
    check_screen(repr(compare_models(np.eye(40))), "40 participants; frequencies", "32 more")
    table = pd.DataFrame({"module": "x", "sparse_term": "1", "term": [f"t{row}" for row in range(60)], "p_value": 0.5})
    check_screen(repr(PipelinePermutation(table, np.zeros((9, 60)), 8, 0, False)), "8 permutations", "see tidy()")
    permuted = PipelinePermutation(table.assign(term=BAD), np.zeros((9, 60)), 8, 0, False)
    check_html(permuted._repr_html_(), "8 permutations", "&lt;script&gt;")
    run = simulate_learners({"alpha": np.full(90, 0.5), "beta": 3.0}, BanditsDrift(0.2), 50)
    check_screen(repr(run), "90 sequences of 50 trials, 2 actions")
    trials = read_trials(simulate_cohort(40, 40).trials, block="block")
    check_screen(
        repr(SequenceDataset.from_trials(trials)), "160 sequences of up to 9 steps, 2 actions, 40 participants"
    )
    played = simulate_model(LearningRateRNN(n_actions=2), None, BanditsDrift(0.2), 20, participants=[0] * 50)
    check_screen(repr(played), "50 sequences of 20 trials")


@pytest.mark.filterwarnings("ignore")
def test_nothing_in_labels_is_a_tag():
    table = coefficients(8, 2, BAD)
    group = spice_group(table, "~ kind", method="ols")
    frame = pd.DataFrame({"participant": np.repeat([BAD, "b"], 20), "choice": ["a", BAD] * 20, "reward": 0.5})
    for shown in (table, group, read_trials(frame)):
        check_html(shown._repr_html_(), "&lt;script&gt;")


def test_lines_are_wrapped_and_cut():
    text = screen("word " * 40 + "\n" + "x" * 250 + "\nshort", "there")
    check_screen(text, "short", "x" * 98)
    assert "(8 more lines: see there)" in screen("a\n" * 32, "there")
    assert html_block(BAD, [BAD], pd.DataFrame({BAD: [BAD, 1.23456]})).count("&lt;script") == 4


def test_figures_are_shown_without_pyplot(tiny_fit):
    """What a notebook asks for where no backend is active."""
    group = spice_group(coefficients(8, 2), "~ age")
    power = PowerResult(
        pd.DataFrame({"design": 1, "n_participants": [20], "n_trials": 100, "term": "x", "effect": 0.5}).assign(
            power=0.8, conf_low=0.7, conf_high=0.9
        ),
        pd.DataFrame(),
        {"alpha": 0.05},
    )
    for drawing in (group.plot(), power.plot(), fit_figure(tiny_fit, "people"), fit_figure(tiny_fit, "training")):
        assert isinstance(drawing, Drawing)
        assert drawing._repr_png_().startswith(b"\x89PNG")
