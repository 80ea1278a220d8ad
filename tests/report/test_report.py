"""spice_report: what is on the page, for every kind of fit; nothing of it is executed."""

import re
from dataclasses import replace
from html import unescape

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from spicestat import simulate_cohort, spice_card, spice_fit, spice_group, spice_report
from spicestat.cli import app
from spicestat.equations.structure.equation_set import FREE
from spicestat.errors import ConfigError
from spicestat.pooled.state_library import further_states, history_states
from spicestat.pooled.states import Signal, State
from spicestat.report.figures import embedding_figure, embeddings_of
from spicestat.report.in_short import in_short
from spicestat.report.levels import comparisons, people_levels
from spicestat.report.typeset import equation_math
from spicestat.report.wording import state_in_words
from spicestat.studies.redrawn import redrawn
from spicestat.studies.redrawn_curves import redrawn_curves


def sections(path):
    return re.findall("<h2 .*?>(.*?)</h2>", path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def fit():
    cohort = simulate_cohort(12, 80, n_blocks=2, seed=4)
    trials = cohort.trials.assign(note="x")
    return spice_fit(trials, block="block", trial="trial", people=cohort.people)


@pytest.fixture(scope="module")
def page(fit, tmp_path_factory):
    group = spice_group(fit, "~ anxiety")
    ladder = fit.ladder(["shares", "equations"], folds=2)
    return spice_report(fit, group, tmp_path_factory.mktemp("report") / "fit.html", ladder=ladder)


def test_the_page_has_what_a_reader_asks_for(fit, page):
    assert sections(page) == [
        "In short",
        "Data",
        "How well choices are predicted",
        "The equation",
        "What one event does to the next choices",
        "People",
        "Does the fit choose as people do?",
        "Effects of covariates",
        "What one event does, by anxiety",
        "Methods, to paste",
    ]
    html = page.read_text(encoding="utf-8")
    assert all(name in html for name in fit.pooled.names)
    total = fit.kernels().influence.query("scope == 'population' and quantity == 'total'")["estimate"]
    assert all(f"{value:.4g}" in html for value in total)
    assert "note" in html
    assert "of the predictable" in html


def test_the_page_is_accessible_and_loads_nothing(page):
    html = page.read_text(encoding="utf-8")
    images = re.findall("<img[^>]*>", html)
    assert len(images) == 7
    assert all(re.search('alt="[^"]{20,}"', image) for image in images)
    assert html.count("<th ") == html.count('<th scope="col"') > 0
    assert not re.search(r'(src|href)="(?!data:|#)', html)
    places = re.findall(r'href="#(\w+)"', html)
    assert len(places) == len(sections(page)) and all(f'id="{place}"' in html for place in places)
    assert "<script" not in html


def test_what_the_data_say_is_shown_as_text(tmp_path):
    rng = np.random.default_rng(1)
    trials = pd.DataFrame(
        {
            "participant": np.repeat([f"<b>{i}</b>" for i in range(6)], 40),
            "choice": rng.choice(["<script>alert(1)</script>", "right"], 240),
            "reward": rng.integers(0, 2, 240),
        }
    )
    html = spice_report(spice_fit(trials), path=tmp_path / "evil.html", title="<i>t</i>").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    assert "<i>" not in html
    # the formula of the choice rule is the only markup that no template has
    assert html.count("<math ") == 1
    assert "&lt;script&gt;" in html


def test_a_fit_without_outcomes_has_a_page(tmp_path):
    rng = np.random.default_rng(1)
    trials = pd.DataFrame({"participant": np.repeat(range(6), 40), "choice": rng.integers(0, 2, 240)})
    trials = trials.assign(now=rng.uniform(1, 5, 240), later=rng.uniform(5, 9, 240))
    fit = spice_fit(trials, reward=None, attributes={"amount": ["now", "later"]})
    page = spice_report(fit, path=tmp_path / "offers.html")
    assert "What one event does to the next choices" in sections(page)
    assert "column: attributes" in page.read_text(encoding="utf-8")


def test_only_pages_are_written(fit, tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        spice_report(fit, path=tmp_path / "report.pdf")


def test_the_command_line_writes_the_same_page(fit, tmp_path):
    fit.save(tmp_path / "fit")
    out = tmp_path / "out.html"
    run = CliRunner().invoke(app, ["report", str(tmp_path / "fit"), "--formula", "~ age", "--out", str(out), "--quiet"])
    assert run.exit_code == 0, run.output
    group = spice_group(fit, "~ age")
    assert out.read_bytes() == spice_report(fit, group, tmp_path / "same.html").read_bytes()


def test_every_state_of_the_libraries_has_words():
    for declared in (*history_states(3), *further_states(3)):
        assert len(state_in_words(declared)) > 5
    ago = State((Signal(kind="ago", back=3),))
    assert state_in_words(ago) == "choice some choices ago (3 choices ago)"


@pytest.mark.filterwarnings("ignore::spicestat.errors.ExclusionWarning")
def test_other_methods_stand_beside_the_chosen_one(fit, tmp_path):
    group = spice_group(fit, "~ anxiety", method="meta")
    html = spice_report(fit, group, tmp_path / "fit.html").read_text(encoding="utf-8")
    rows = re.findall(r"<tr><td>beta</td><td>[^<]+</td><td>anxiety</td>(.*?)</tr>", html)
    ols = spice_group(fit, "~ anxiety", method="ols").tidy().query("term == 'anxiety'")
    told = [f"{row.estimate:.3g} [{row.conf_low:.3g}, {row.conf_high:.3g}]" for row in ols.itertuples()]
    assert all(any(text in row for row in rows) for text in told)
    assert "by other methods, with 95 % intervals" in html


@pytest.mark.filterwarnings("ignore::spicestat.errors.ExclusionWarning")
def test_other_methods_know_covariates_that_came_with_the_group_model(fit, tmp_path):
    people = pd.DataFrame({"participant": fit.people["participant"], "later": np.arange(len(fit.people)) % 5})
    # a setting of one method is none of the others'
    group = spice_group(fit, "~ later", data=people, integration="laplace")
    html = spice_report(fit, group, tmp_path / "fit.html").read_text(encoding="utf-8")
    ols = spice_group(fit, "~ later", data=people, method="ols").tidy().query("term == 'later'")
    assert "not fitted" not in html
    assert all(f"{row.estimate:.3g} [{row.conf_low:.3g}, {row.conf_high:.3g}]" in html for row in ols.itertuples())


def test_a_first_choice_that_goes_against_the_sum_is_told(fit):
    kernels = fit.kernels()
    reward = kernels.lags["event"] == "reward"
    numbers = ["estimate", "conf_low", "conf_high"]
    turned = kernels.lags.copy()
    turned.loc[reward & (turned["lag"] == 1), numbers] = [-1.1, -1.5, -0.7]
    against = in_short(fit.scores, replace(kernels, lags=turned), None, []).texts[1]
    assert against.endswith("At the very next choice it is the other way round: -1.1 [-1.5, -0.7].")
    assert "other way round" not in in_short(fit.scores, kernels, None, []).texts[1]


def test_a_card_and_its_references_are_on_the_page(fit, tmp_path):
    card = spice_card(fit, n_simulations=1)
    html = unescape(spice_report(fit, path=tmp_path / "fit.html", card=card).read_text(encoding="utf-8"))
    assert f"{len(card.flagged)} of {len(card.table)} checks are flagged" in html
    assert all(meaning in html for meaning in card.table["meaning"])
    assert "10.7554/eLife.49547" in html and f"numpy {np.__version__}" in html


def test_terms_of_equations_are_said_in_words(tiny_fit, tmp_path):
    html = spice_report(tiny_fit, path=tmp_path / "fit.html").read_text(encoding="utf-8")
    equations = tiny_fit.model.equations
    for module, term in (equations.terms[k] for k in np.flatnonzero((equations.status == FREE).any(axis=0))):
        median = np.median(tiny_fit.tidy().query("module == @module and term == @term and selected")["estimate"])
        row = re.search(rf"<td>{module}</td><td>{re.escape(term)}</td><td[^>]*>[^<]+</td>(.*?)</tr>", html)
        assert f">{median:.4g}<" in row.group(1)
    assert "how strongly choices follow x_value" in html
    assert sections(tmp_path / "fit.html")[3:5] == ["Equations", "Training"]


def test_results_come_first_in_sentences(fit, tmp_path):
    group = spice_group(fit, "~ diagnosis")
    html = unescape(spice_report(fit, group, tmp_path / "fit.html").read_text(encoding="utf-8"))
    short = html[html.index(">In short</h2>") : html.index(">Data</h2>")]
    left_out = fit.scores.set_index("model").loc["left_out", "nll"]
    assert f"a typical probability of {100 * np.exp(-left_out):.0f} %; guessing gives 50 %" in short
    total = fit.kernels().influence.query("scope == 'population' and quantity == 'total' and event == 'reward'").iloc[0]
    assert total["conf_low"] > 0
    assert (
        "Summed over the next 20 choices, one reward raises the log odds that its action is chosen again by "
        f"{total['estimate']:.3g}" in short
    )
    kernels = group.kernels("diagnosis").frame.query("quantity == 'total' and contrast == contrast")
    sure = kernels[(kernels["conf_low"] > 0) | (kernels["conf_high"] < 0)]
    assert short.count("differs by diagnosis (patient - control)") == len(sure)
    assert "diagnosispatient is the difference of patient (n = 6) from control (n = 6)" in html
    together = group.term_tests(across=True).query("term == 'diagnosis'").iloc[0]
    assert (
        "All coefficients together " in short
        and f"= {together['statistic']:.3g}, p = {together['p_value']:.3f}." in short
    )
    assert "F tests" in html and "diagnosispatient on" not in short


def test_effects_are_said_as_differences_between_levels(fit):
    """A group model in which an effect is beyond doubt."""
    group = spice_group(fit, "~ diagnosis")
    there = group.coefficients["term"] == "diagnosispatient"
    sure = group.coefficients.assign(p_adjusted=group.coefficients["p_adjusted"].where(~there, 0.001))
    told = " ".join(in_short(fit.scores, None, replace(group, coefficients=sure), []).texts)
    assert "have an adjusted p-value below .05: diagnosis (patient - control) on " in told


def test_progress_is_told_and_methods_name_states_and_structures(fit, tmp_path):
    told = []
    page = spice_report(fit, path=tmp_path / "fit.html", progress=lambda *news: told.append(news))
    assert [news[:3] for news in told] == [("report", step, 4) for step in range(5)]
    text = unescape(page.read_text(encoding="utf-8"))
    assert f"States with weights of people's own: {', '.join(fit.pooled.names[: fit.pooled.n_own])};" in text
    assert fit.n_structures == 1 + 6 and "was averaged over 7 structures" in text


def test_levels_of_people(fit):
    group = spice_group(fit, "~ diagnosis")
    assert comparisons(spice_group(fit, "~ anxiety")) == []
    name, levels = people_levels(fit, group)
    own = group.table.people.set_index("participant")["diagnosis"]
    assert name == "diagnosis" and list(levels) == own.reindex(fit.trials.participants).tolist()
    _, halves = people_levels(fit, spice_group(fit, "~ anxiety"))
    assert sorted(pd.Series(halves).value_counts()) == [6, 6]
    assert people_levels(fit, None) is None


def test_curves_of_levels_are_those_of_their_people(fit):
    """Observed shares by level, counted from the table of the trials."""
    _, levels = people_levels(fit, spice_group(fit, "~ diagnosis"))
    table = redrawn_curves(redrawn(fit), np.random.default_rng(1), n_bins=1, n_replicates=3, levels=levels)
    rows = table.query("curve == 'repeated'").set_index("group")["observed"]
    assert rows.index.isna().sum() == 1
    level_of = dict(enumerate(levels))
    trials = fit.trials.frame
    trials = trials.assign(level=trials["participant"].map(level_of))
    before = trials.groupby(["participant", "block"])["choice"].shift()
    repeated = (trials["choice"] == before)[before.notna()].groupby(trials["level"]).mean()
    for level in set(levels):
        assert rows[level] == pytest.approx(repeated[level], abs=1e-12)


def test_equations_are_typeset_and_names_stay_text():
    math = equation_math("x<b>[k+1] = -0.500 1 + 0.250 c_reward[k]^2 x<b>[k]")
    assert "<b>" not in math
    assert math.count("<mi>x&lt;b&gt;</mi>") == 2
    assert "<mn>−0.500</mn><mo>+</mo><mn>0.250</mn><msup><msub><mi>c_reward</mi>" in math
    assert math.count("<mo>=</mo>") == 1


def test_the_map_of_people_keeps_distances_of_embeddings(tiny_fit):
    """Three people lie in a plane, so that two directions lose nothing."""
    embeddings = embeddings_of(tiny_fit)
    assert embeddings.shape == (3, 4)
    (axis,) = embedding_figure(tiny_fit, ("arm", ["a", "b", "a"])).axes
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["arm: a", "arm: b"]
    first, second = (np.column_stack(line.get_data()) for line in axis.lines)
    drawn = np.stack([first[0], second[0], first[1]])
    for i, j in ((0, 1), (0, 2), (1, 2)):
        distance = np.linalg.norm(embeddings[i] - embeddings[j])
        assert np.linalg.norm(drawn[i] - drawn[j]) == pytest.approx(distance, rel=1e-6)
