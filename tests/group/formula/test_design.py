import numpy as np
import pandas as pd
import pytest

from spicestat.errors import CovariateError, DataError, ExclusionWarning, FormulaError
from spicestat.group import spice_group
from spicestat.group.formula.design import _RESERVED, build_design

PEOPLE = pd.DataFrame(
    {
        "participant": list("abcdefgh"),
        "age": [20.0, 31, 42, 53, 64, 25, 36, 47],
        "diagnosis": ["healthy", "bipolar", "healthy", "bipolar", "depression", "depression", "healthy", "bipolar"],
        "smokes": [True, False, True, True, False, False, True, False],
        "visit": [1, 2, 1, 2, 1, 2, 1, 2],
        "years old": [20.0, 31, 42, 53, 64, 25, 36, 47],
    }
)


@pytest.mark.parametrize(
    ("formula", "names"),
    [
        ("~ 1", ["(Intercept)"]),
        ("age", ["(Intercept)", "age"]),
        ("~ diagnosis", ["(Intercept)", "diagnosisdepression", "diagnosishealthy"]),
        ("~ age:smokes", ["(Intercept)", "age:smokesFALSE", "age:smokesTRUE"]),
        ("~ C(visit)", ["(Intercept)", "C(visit)2"]),
        ("~ factor(visit)", ["(Intercept)", "factor(visit)2"]),
        ("~ age^2", ["(Intercept)", "age"]),
        ("~ I(age^2)", ["(Intercept)", "I(age^2)"]),
        ("~ np.log(age)", ["(Intercept)", "np.log(age)"]),
        ("~ `years old` + log(`years old`)", None),
        ("~ C(diagnosis, contr.treatment('healthy'))", None),
        ("~ scale(age) * smokes", ["(Intercept)", "scale(age)", "smokesTRUE", "scale(age):smokesTRUE"]),
    ],
)
def test_names_follow_r(formula, names):
    design = build_design(formula, PEOPLE)
    assert np.isfinite(design.matrix).all()
    if names is not None:
        assert list(design.names) == names


def test_powers_and_exponentials_mean_what_they_say():
    np.testing.assert_array_equal(build_design("~ I(age^2)", PEOPLE).matrix[:, 1], PEOPLE["age"] ** 2)
    small = PEOPLE.assign(age=PEOPLE["age"] / 10)
    np.testing.assert_allclose(build_design("~ exp10(age)", small).matrix[:, 1], 10 ** small["age"])


def test_categories_keep_their_order_and_lose_unused_levels():
    levels = ["healthy", "never", "depression", "bipolar"]
    people = PEOPLE.assign(diagnosis=pd.Categorical(PEOPLE["diagnosis"], levels))
    assert build_design("~ diagnosis", people).names == ("(Intercept)", "diagnosisdepression", "diagnosisbipolar")


@pytest.mark.parametrize("dtype", ["object", "string", "category", "str"])
def test_text_of_any_dtype_gives_the_same_design(dtype):
    people = PEOPLE.assign(diagnosis=PEOPLE["diagnosis"].astype(dtype))
    np.testing.assert_array_equal(
        build_design("~ diagnosis", people).matrix, build_design("~ diagnosis", PEOPLE).matrix
    )


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float32", "Float64", "object"])
def test_numbers_of_any_dtype_give_the_same_design(dtype):
    people = PEOPLE.assign(age=PEOPLE["age"].astype(dtype))
    np.testing.assert_array_equal(build_design("~ age", people).matrix[:, 1], PEOPLE["age"])


@pytest.mark.parametrize("values", [[True, False] * 4, pd.array([True, False] * 4, dtype="boolean")])
def test_booleans_are_named_as_in_r(values):
    assert build_design("~ flag", PEOPLE.assign(flag=values)).names == ("(Intercept)", "flagTRUE")


def test_missing_covariates_exclude_with_count_and_names():
    people = PEOPLE.assign(age=[np.nan, 31, 42, 53, 64, 25, 36, np.nan])
    with pytest.warns(ExclusionWarning, match=r"2 of 8 participants lack 'age' and are left out: 'a', 'h'\."):
        design = build_design("~ age", people)
    assert design.rows.tolist() == [1, 2, 3, 4, 5, 6]
    # a covariate that the formula does not use excludes nobody
    assert len(build_design("~ smokes", people).rows) == 8


def test_people_who_lack_a_covariate_on_some_occasions_are_counted_once():
    twice = pd.DataFrame({"participant": list("aabbccddee"), "mood": [1, 2, np.nan, np.nan, 3, 5, np.nan, 4, 6, 2.5]})
    wanted = r"2 of 5 participants lack 'mood' on 3 occasions, which are left out: 'b', 'd'\."
    with pytest.warns(ExclusionWarning, match=wanted):
        assert len(build_design("~ mood", twice).rows) == 7


@pytest.mark.parametrize(
    ("formula", "error", "words"),
    [
        ("y ~ age", FormulaError, ["left-hand side", "write nothing before '~'"]),
        ("~ ages", FormulaError, ["'ages'", "age, diagnosis, smokes, visit, years old"]),
        ("~ log(agee)", FormulaError, ["'agee'"]),
        ("~ age + (diagnosis", FormulaError, ["~ age + (diagnosis", "cannot be read"]),
        ("~ age ++", FormulaError, ["cannot be read"]),
        ("~ age | diagnosis", FormulaError, ["'age | diagnosis'", "in parentheses"]),
        ("~ age * (1 | diagnosis)", FormulaError, ["in parentheses"]),
        ("~ age - (1 | diagnosis)", FormulaError, ["in parentheses"]),
        ("~ (1 | smokes | visit)", FormulaError, ["several bars"]),
        ("~ (0 | smokes)", FormulaError, ["no effects left of the bar"]),
        ("~ (1 | log(age))", FormulaError, ["groups by something other than columns"]),
        ("~ ((1 | smokes) | visit)", FormulaError, ["no effects left of the bar"]),
        ("~ (1 | clinic)", FormulaError, ["unknown column 'clinic'", "smokes"]),
        ("~ (ages | smokes)", FormulaError, ["unknown variable 'ages'"]),
        ("~ (session | smokes)", CovariateError, ["'session' varies within participants"]),
        ("~ age + (smokes | smokes)", FormulaError, ["'smokesTRUE' does not vary within smokes"]),
        ("~ nothere(age)", FormulaError, ["nothere"]),
        ("~ .", FormulaError, ["name the covariates"]),
        ("~ 0", FormulaError, ["no coefficients"]),
        (3, FormulaError, ["must be text", "int"]),
        ("~ age + I(2*age)", FormulaError, ["linearly dependent", "I(2 * age)"]),
        ("~ session", CovariateError, ["'session' varies within participants", "aggregate"]),
        ("~ I(log(age - 20))", CovariateError, ["missing or infinite", "'a'"]),
        ("~ age * diagnosis * smokes", DataError, ["8 participants are too few for 12 coefficients"]),
        ("~ participant", CovariateError, ["cannot be called 'participant'", "rename"]),
    ],
)
def test_bad_formulas_are_named(formula, error, words):
    with pytest.raises(error) as caught:
        build_design(formula, PEOPLE, varying=["session"])
    for word in words:
        assert word in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values", "error", "words"),
    [
        ("age", [np.inf, 1, 2, 3, 4, 5, 6, -np.inf], CovariateError, ["'age' is infinite", "'a', 'h'"]),
        ("age", [np.nan] * 8, DataError, ["no participant has all the covariates"]),
        ("age", [3.0] * 8, FormulaError, ["linearly dependent", "age"]),
        ("age", pd.date_range("2020-01-01", periods=8), CovariateError, ["'age'", "datetime64"]),
        ("age", ["healthy"] * 8, CovariateError, ["'age' has a single level", "'healthy'"]),
    ],
)
def test_bad_covariates_are_named(column, values, error, words):
    with pytest.raises(error) as caught:
        build_design("~ age", PEOPLE.assign(**{column: values}))
    for word in words:
        assert word in str(caught.value)


def test_a_level_lost_to_missing_values_is_a_single_level():
    people = PEOPLE.assign(age=np.where(PEOPLE["smokes"], PEOPLE["age"], np.nan))
    with pytest.warns(ExclusionWarning), pytest.raises(CovariateError, match="'smokes' has a single level"):
        build_design("~ smokes + age", people)


@pytest.mark.parametrize("name", ["estimate", "component", "std_error", "coefficient"])
def test_covariates_are_not_called_like_columns_of_results(name):
    with pytest.raises(CovariateError, match=f"cannot be called '{name}'"):
        build_design(f"~ {name}", PEOPLE.rename(columns={"age": name}))


def test_participants_beside_the_model_have_no_columns_but_reserved_ones():
    people = PEOPLE.assign(participant=range(len(PEOPLE)))
    table = people[["participant"]].assign(
        module="x", term="r", std_error=0.1, estimate=np.random.default_rng(1).normal(size=len(people))
    )
    group = spice_group(table, "~ age", data=people)
    assert set(group.augment()) - {"age"} <= _RESERVED


def test_dates_are_refused_with_advice():
    dates = pd.Series(pd.date_range("2001-01-01", periods=len(PEOPLE)), index=PEOPLE.index)
    with pytest.raises(CovariateError, match="years for a date"):
        build_design("~ age", PEOPLE.assign(age=dates))


def test_random_parts_are_read_as_lme4_reads_them():
    people = PEOPLE.assign(person=list("aabbccdd"), site=["x"] * 4 + ["y"] * 4)
    formula = "~ age + (1 + age || site) + (0 + smokes | diagnosis) + (1 | site/subject)"
    design = build_design(formula, people, aliases={"participant": "person", "subject": "person"})
    assert design.names == ("(Intercept)", "age")
    found = [(part.group, part.names, part.correlated, int(part.codes.max()) + 1) for part in design.random]
    assert found == [
        ("site", ("(Intercept)", "age"), False, 2),
        ("diagnosis", ("smokesFALSE", "smokesTRUE"), True, 3),
        ("site", ("(Intercept)",), True, 2),
        ("site:subject", ("(Intercept)",), True, 4),
    ]
    # covariates and groupings of random parts are no covariates of the fixed effects
    assert list(design.frame.columns) == ["age"]
    assert len(build_design("~ age + (1 | person)", people, aliases={}).random) == 1


def test_missing_groups_exclude_as_missing_covariates_do():
    people = PEOPLE.assign(site=["x", None, "x", "x", "y", "y", "y", "y"])
    with pytest.warns(ExclusionWarning, match="1 of 8 participants lack 'site'"):
        design = build_design("~ age + (1 | site)", people)
    assert design.random[0].codes.tolist() == [0, 0, 0, 1, 1, 1, 1]
    with pytest.raises(FormulaError, match="needs groups, and site has the same value in all rows"):
        build_design("~ age + (1 | site)", PEOPLE.assign(site="x"))
