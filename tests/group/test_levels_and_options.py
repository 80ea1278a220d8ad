"""Levels out of range and options that nobody has are refused, with what was meant."""

import numpy as np
import pandas as pd
import pytest

from spicestat._checks import check_level, real_number
from spicestat.errors import ConfigError
from spicestat.group import spice_group
from spicestat.group.after.standardised import partial_correlation
from spicestat.studies.choice_curves import choice_curve_check
from spicestat.studies.icc import icc, split_half

N = 24
RNG = np.random.default_rng(5)
PEOPLE = pd.DataFrame({"participant": range(N), "age": RNG.uniform(20, 60, N), "ill": ["no", "yes"] * (N // 2)})
TABLE = PEOPLE[["participant"]].assign(module="x", term="r", std_error=0.1, estimate=RNG.normal(size=N))
GROUP = spice_group(TABLE, "~ ill + age", data=PEOPLE)
Y = RNG.normal(size=(2, 30))

TAKE_A_LEVEL = {
    "spice_group": lambda level: spice_group(TABLE, "~ age", data=PEOPLE, conf_level=level),
    "tidy": lambda level: GROUP.tidy(conf_level=level),
    "marginal_means": lambda level: GROUP.marginal_means("ill", conf_level=level),
    "contrasts": lambda level: GROUP.contrasts("ill", conf_level=level),
    "standardised": lambda level: GROUP.standardised(conf_level=level),
    "total": lambda level: GROUP.standardised("total", conf_level=level),
    "average_effects": lambda level: GROUP.average_effects(conf_level=level),
    "derived_means": lambda level: GROUP.derived_means({"twice": 'x["r"] * 2'}, "ill", conf_level=level),
    "partial_correlation": lambda level: partial_correlation(np.ones(2), np.full(2, 9.0), level),
    "icc": lambda level: icc(Y.T, conf_level=level),
    "split_half": lambda level: split_half(*Y, conf_level=level),
    "choice_curve_check": lambda level: choice_curve_check(
        np.zeros((1, 4)), lambda draw, rng: np.zeros((1, 4)), np.zeros((2, 1, 1)), n_bins=1, conf_level=level
    ),
}  # fmt: skip


@pytest.mark.parametrize("taker", TAKE_A_LEVEL)
@pytest.mark.parametrize("level", [95, 0, 1, -0.5, 1.5, np.nan, np.inf, "0.95", True, np.True_, [0.9], 0.9j])
def test_a_level_that_is_none_is_refused(taker, level):
    if level is None and taker in (
        "tidy",
        "marginal_means",
        "contrasts",
        "standardised",
        "total",
        "average_effects",
        "derived_means",
    ):
        pytest.skip("None is the level of the fit")
    with pytest.raises(ConfigError, match="`conf_level` is out of range") as caught:
        TAKE_A_LEVEL[taker](level)
    assert level != 95 or "write 0.95" in str(caught.value)


@pytest.mark.parametrize("share", [40, -0.1, np.nan, "0.4", True])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match="`max_unidentified` is out of range"):
        spice_group(TABLE, "~ age", data=PEOPLE, max_unidentified=share)


def test_numbers_of_any_library_are_levels():
    assert check_level(np.float32(0.5)) == 0.5 and real_number("share", np.int64(1), 0, 1, high_included=True) == 1.0


def test_levels_change_the_intervals_of_every_table():
    for name in ("marginal_means", "contrasts", "standardised", "average_effects", "derived_means"):
        wide, narrow = (TAKE_A_LEVEL[name](level) for level in (0.99, 0.5))
        wide, narrow = (getattr(found, "frame", found) for found in (wide, narrow))
        assert ((wide["conf_high"] - wide["conf_low"]) > (narrow["conf_high"] - narrow["conf_low"])).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: GROUP.tidy(conf_int=True, conflevel=0.9), "did you mean 'conf_level'"),
        (lambda: GROUP.marginal_means("ill", wieghts="equal"), "did you mean 'weights'"),
        (lambda: GROUP.contrasts("ill", refrence="no"), "did you mean 'reference'"),
        (lambda: GROUP.standardised(smal_sample=True), "did you mean 'small_sample'"),
        (lambda: GROUP.average_effects(overs="participants"), "did you mean 'over'"),
        (lambda: GROUP.derived_means({}, byy="ill"), "did you mean 'by'"),
        (lambda: GROUP.linear_hypotheses({"a": {"age": 1}}, values=1), "did you mean 'value'"),
        (lambda: GROUP.term_tests(adjusted="BH"), "did you mean 'adjust'"),
        (lambda: GROUP.augment(newdata=PEOPLE), "newdata"),
        (lambda: GROUP.plot_covariate(covariates="age"), "did you mean 'covariate'"),
        (lambda: spice_group(TABLE, "~ age", data=PEOPLE, estimatr="ML"), "no such setting"),
    ],
)
def test_unknown_options_are_refused_with_the_one_that_was_meant(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_contrasts_take_their_reference_and_scale():
    found = GROUP.contrasts("ill", "trt.vs.ctrl", reference="yes", family="equation")
    assert found["contrast"].tolist() == ["no - yes"]


@pytest.mark.parametrize("name", ["contrast", "p_value", "quantity", "df"])
def test_covariates_with_names_of_the_tables_columns_are_refused_with_the_remedy(name):
    people = PEOPLE.rename(columns={"ill": name})
    group = spice_group(TABLE, f"~ {name} + age", data=people)
    for table in (group.marginal_means, group.contrasts):
        with pytest.raises(ConfigError, match="rename it"):
            table(name)
