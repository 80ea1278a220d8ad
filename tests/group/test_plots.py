import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError, DataError
from spicestat.group import spice_group
from spicestat.group.after.marginal_means import marginal_means
from spicestat.group.after.standardised import standardised_effects
from spicestat.group.plots import caterpillar_plot, covariate_plot, forest_plot, presence_plot

KEY = ("x_value", "reward")


@pytest.fixture
def group(cohort):
    table, people = cohort(terms=("reward", "1"), slope=0.3)
    return spice_group(table, "~ diagnosis + age", data=people)


def lengths(axis):
    """Return the ends of all horizontal or vertical interval lines of an axis."""
    return np.array([segment for lines in axis.collections for segment in getattr(lines, "get_segments", list)()])


def test_forest_shows_every_effect_with_its_interval(group):
    effects = standardised_effects(group, "total")
    figure = forest_plot(group)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["diagnosisdepression", "diagnosishealthy", "age"]
    assert "standard deviations" in figure.get_supxlabel()
    for axis, (_, rows) in zip(figure.axes, effects.groupby("term", sort=False), strict=True):
        drawn = lengths(axis)[:, :, 0]
        assert sorted(drawn[:, 0]) == pytest.approx(sorted(rows["conf_low"]))
        assert sorted(drawn[:, 1]) == pytest.approx(sorted(rows["conf_high"]))
    raw = forest_plot(group, "raw")
    assert [axis.get_title(loc="left") for axis in raw.axes] == ["x_value: reward", "x_value: constant"]
    assert [label.get_text() for label in raw.axes[0].get_yticklabels()] == list(group.design.names[1:])


def test_forest_marks_effects_without_an_interval(group):
    table = group.coefficients.copy()
    withheld = table["sparse_term"] == "1"
    table.loc[withheld, ["p_value", "conf_low", "conf_high"]] = np.nan
    figure = forest_plot(replace(group, coefficients=table), "raw")
    crosses = [line for axis in figure.axes for line in axis.lines if line.get_marker() == "x"]
    assert [len(line.get_xdata()) for line in crosses] == [0, 3]


def test_caterpillar_sorts_participants_and_takes_posterior_means_where_there_are(group):
    figure = caterpillar_plot(group, equations=[KEY])
    (axis,) = figure.axes
    drawn = axis.lines[0].get_xdata()
    assert (np.diff(drawn) >= 0).all()
    np.testing.assert_allclose(drawn, np.sort(group.table.wide()[KEY]))
    assert axis.get_ylabel() == "24 participants"
    rows = [
        {"module": KEY[0], "sparse_term": KEY[1], "level": label, "estimate": 0.0, "std_error": 0.1}
        for label in group.table.participants
    ]
    model = replace(group, ran_vals=pd.DataFrame(rows).assign(term="(Intercept)"), links={KEY: "logit"})
    (axis,) = caterpillar_plot(model, equations=[KEY]).axes
    assert axis.get_xlabel() == "posterior mean (logit scale)"
    np.testing.assert_allclose(
        axis.lines[0].get_xdata(), np.sort(group.design.matrix @ group.tidy()["estimate"].to_numpy()[:4])
    )
    with pytest.raises(ConfigError, match="no posterior means"):
        caterpillar_plot(group, "posterior")


def test_an_extreme_participant_does_not_hide_the_others(cohort):
    table, people = cohort()
    table.loc[0, ["estimate", "std_error"]] = 900.0, 500.0
    group = spice_group(table, "~ age", data=people)
    low, high = caterpillar_plot(group).axes[0].get_xlim()
    usual = table["estimate"].iloc[1:]
    assert low < usual.min()
    assert usual.max() < high < 20
    low, high = covariate_plot(group, "age", *KEY).axes[0].get_ylim()
    assert low < usual.min()
    assert usual.max() < high < 20


def test_covariate_plot_draws_the_marginal_means(group):
    (axis,) = covariate_plot(group, "age", *KEY).axes
    line = axis.lines[-1]
    ends = marginal_means(group, "age", at={"age": line.get_xdata()[[0, -1]].tolist()}, equations=[KEY]).frame
    np.testing.assert_allclose(line.get_ydata()[[0, -1]], ends["estimate"])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("age", "x_value: reward")
    (axis,) = covariate_plot(group, "diagnosis", *KEY, at={"age": 30}).axes
    means = marginal_means(group, "diagnosis", at={"age": 30}, equations=[KEY]).frame
    np.testing.assert_allclose(axis.lines[-1].get_ydata(), means["estimate"])
    assert [label.get_text() for label in axis.get_xticklabels()] == means["diagnosis"].tolist()
    with pytest.raises(ConfigError, match="not a covariate"):
        covariate_plot(group, "sex", *KEY)


def test_covariate_plot_draws_everything_against_the_first_covariate_by_default(cohort):
    table, people = cohort(terms=("reward", "1"))
    group = spice_group(table, "~ diagnosis + age", data=people)
    figure = group.plot("covariate")
    assert [axis.get_ylabel() for axis in figure.axes] == ["x_value: reward", "x_value: constant"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"diagnosis"}
    (axis,) = group.plot_covariate("age", sparse_term="1").axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("age", "x_value: constant")
    (alone,) = covariate_plot(group, "age", "x_value", "1").axes
    np.testing.assert_array_equal(axis.lines[-1].get_ydata(), alone.lines[-1].get_ydata())
    with pytest.raises(ConfigError, match="no such equation"):
        group.plot_covariate(module="x_other")
    with pytest.raises(ConfigError, match="no covariate"):
        spice_group(table, "~ 1", data=people).plot("covariate")


def test_presence_bars_are_the_shares_of_participants(cohort):
    table, people = cohort(terms=("reward", "1", "x_value"))
    table["selected"] = np.concatenate([np.arange(24) < 6, np.ones(24, bool), np.arange(24) % 2 == 0])
    made = CoefficientTable.from_frame(table, None, people)
    (axis,) = presence_plot(made).axes
    assert [bar.get_width() for bar in axis.patches] == [0.25, 0.5]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["x_value: reward", "x_value: own state"]
    ends = lengths(axis)[0, :, 0]
    # Wilson's interval for 6 of 24, by R's prop.test(6, 24, correct = FALSE)
    np.testing.assert_allclose(ends, [0.11999366, 0.44899444], atol=1e-8)
    figure = presence_plot(made, "smokes")
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert widths == [0.25, 0.0, 0.25, 1.0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "smokes False (n = 12)",
        "smokes True (n = 12)",
    ]
    with pytest.raises(ConfigError, match="24 levels|levels"):
        presence_plot(made, "age")
    with pytest.raises(ConfigError, match="not a covariate"):
        presence_plot(made, "sex")


def test_kept_values_are_present_whatever_the_probability_that_they_are_estimated(cohort):
    """Own states kept by everybody say nothing about who has which term, so they are not drawn."""
    table, people = cohort(terms=("reward", "x_value"))
    kept = table["term"] == "x_value"
    table["selected"] = kept | (np.arange(len(table)) % 2 == 0)
    table["inclusion_prob"] = np.where(kept, 0.15, 0.5)
    table.loc[kept, ["estimate", "std_error"]] = 1.0, np.nan
    (axis,) = presence_plot(CoefficientTable.from_frame(table, None, people)).axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["x_value: reward"]


def test_figures_can_be_drawn_and_leave_the_styles_alone(group, tmp_path):
    before = dict(mpl.rcParams)
    figures = [
        forest_plot(group),
        forest_plot(group, "raw"),
        caterpillar_plot(group),
        covariate_plot(group, "age", *KEY),
        presence_plot(group.table),
    ]
    for place, figure in enumerate(figures):
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{place}.png", dpi=50)
    assert dict(mpl.rcParams) == before


def test_the_module_imports_without_matplotlib():
    code = "import sys, spicestat.group.plots; assert not any(n.startswith('matplotlib') for n in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_cannot_be_drawn_is_an_error(cohort, group):
    table, people = cohort()
    with pytest.raises(DataError, match="no covariate effect"):
        forest_plot(spice_group(table, "~ 1", data=people))
    with pytest.raises(ConfigError, match="unknown kind"):
        forest_plot(group, "z")
    with pytest.raises(ConfigError, match="`values` is unknown"):
        caterpillar_plot(group, "raw")
