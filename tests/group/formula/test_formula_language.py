"""Formulas are a closed language: nothing in them runs, and columns are looked up by name, whatever it is."""

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from formulaic import Formula

from spicestat.errors import CovariateError, DataError, FormulaError
from spicestat.group import spice_group
from spicestat.group.formula.design import build_design
from spicestat.group.formula.terms import read_formula, term_text

N = 60
RNG = np.random.default_rng(1)
PEOPLE = pd.DataFrame(
    {
        "participant": range(N),
        "age": RNG.uniform(20, 60, N),
        "bmi": RNG.uniform(20, 30, N),
        "diagnosis": RNG.choice(["bipolar", "healthy", "x"], N),
        "sex": RNG.choice(["f", "m"], N),
        "visit": RNG.choice([1.0, 2.0, 4.0], N),
        "BDI total": RNG.normal(size=N),
    }
)
ODD_NAMES = [
    "BDI total",
    "100%",
    "cost $US$",
    "$a$",
    "$",
    "Intercept",
    "1",
    "0",
    "I",
    "C",
    "log",
    "np",
    "anxiety-trait",
    "a:b",
    "a+b",
    "a^b",
    "a`b",
    "a\\b",
    "a\nb",
    "it's",
    'say "x"',
    "[T.x]",
    "{x}",
    "größe",
    "年齢",
    "😀",
    ".",
    "~",
    "TRUE",
    "lambda",
    "__import__('os')",
    "a.b",
    "_row",
    "x_1",
    "\\frac{a}{b}",
    "<b>x</b>",
    " age ",
    "contr.sum",
    "variable",
    "term",
]


def in_backticks(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`").replace("\n", "\\n")
    return f"`{escaped}`"


@pytest.mark.parametrize(
    "formula",
    [
        "1",
        "diagnosis*age",
        "diagnosis*sex",
        "diagnosis:sex",
        "0+diagnosis+age",
        "diagnosis*sex-1",
        "age:sex",
        "sex/diagnosis",
        "(diagnosis+sex+age)^2",
        "(diagnosis+sex)/age",
        "age+I(age**2)",
        "poly(age,3)*sex",
        "bs(age,df=5)",
        "scale(age)*diagnosis",
        "bs(age,df=4,degree=2):sex",
        "0+cr(age,df=4)",
        "cr(age,df=3,constraints='center')+sex",
        "center(age)+standardize(bmi)",
        "C(diagnosis,contr.sum)",
        "C(diagnosis,contr.helmert)*age",
        "C(visit,contr.poly)",
        "C(diagnosis,contr.diff)",
        "C(diagnosis,contr.SAS)",
        "C(diagnosis,Treatment('healthy'))",
        "C(diagnosis,levels=['x','healthy','bipolar'])",
        "`BDI total`+log(age)",
        "log(age)*Q('BDI total')",
        "np.log(age)+np.sqrt(bmi)",
        "exp2(bmi/20)",
        "I(age>40)+sex",
        "I(diagnosis=='healthy')",
        "I(age/10-bmi*2)",
        "age*bmi*sex",
        "diagnosis*sex*age-diagnosis:sex:age",
        "poly(age,2,raw=True)",
        "scale(age,center=False)",
        "0+diagnosis:sex",
        "I(scale(age)**2)",
        "scale(log(age))",
        "C(visit,contr.treatment(2))",
        "diagnosis+age:diagnosis",
        "0+diagnosis:age",
    ],
)
def test_matrices_are_those_of_formulaic(formula):
    prepared = PEOPLE.assign(**{name: pd.Categorical(PEOPLE[name]) for name in ("diagnosis", "sex")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.asarray(Formula(formula).get_model_matrix(prepared), dtype="float64")
    design = build_design(f"~ {formula}", PEOPLE)
    np.testing.assert_allclose(design.matrix, expected, atol=1e-12)
    np.testing.assert_allclose(design.design_for(PEOPLE.iloc[3:9]), design.matrix[3:9], atol=1e-12)


def test_r_names_of_expressions():
    names = build_design('~ I(age**2/10) + C(visit, contr.treatment(base="2")) + log( `BDI total`+10 )', PEOPLE).names
    assert names[1:] == (
        "I(age^2/10)",
        'C(visit, contr.treatment(base = "2"))1',
        'C(visit, contr.treatment(base = "2"))4',
        "log(`BDI total` + 10)",
    )


@pytest.mark.parametrize(
    ("formula", "piece"),
    [
        ("age + I(age*0 + __import__('os').system('touch MARK'))", ".system"),
        ("age + I(age*0 + __import__('os'))", "__import__"),
        ("eval('open(\"MARK\", \"w\")')", "eval"),
        ("I(exec('1'))", "exec"),
        ("C(diagnosis, levels=__import__('os').listdir())", ".listdir"),
        ("C(diagnosis, eval('1'))", "eval"),
        ("poly(age, __import__('os'))", "__import__"),
        ("scale(age, center=open('MARK', 'w'))", "open"),
        ("np.load('MARK')", "np.load"),
        ("np.save('MARK', age)", "np.save"),
        ("age.to_csv('MARK')", "age.to_csv"),
        ("I(age - age.mean())", "age.mean"),
        ("I((lambda: age)())", "("),
        ("[x for x in age]", "for"),
        ("{open('MARK', 'w')}", "{open"),
        ("Q(open('MARK', 'w'))", "open"),
        ("Q('age', 'bmi')", "too many"),
        ("f'{age}'", "'{age}'"),
        ("I(age if age else bmi)", "if"),
        ("I(age := 3)", ":"),
        ("I(age; import os)", ";"),
        ("age @ bmi", "@"),
        ("I(not age)", "age"),
        ("I(age[0])", "["),
        ("as.numeric(diagnosis)", "as.numeric"),
        ("I(age - mean(age))", "center(age)"),
        ("lgo(age)", "did you mean 'log'?"),
        ("2*age", "I(2 * age)"),
        ("age %in% diagnosis", "diagnosis/age"),
        ("log(diagnosis)", "'diagnosis' has categories"),
        ("I(diagnosis == 'mania')", "mania"),
        ("C(diagnosis, contr.treatment('mania'))", "mania"),
        ("factor(diagnosis, levels=c('healthy','x'))", "bipolar"),
        ("C(poly(age, 2))", "poly(age, 2)"),
        ("poly(age, 10**9)", "10^9"),
        ("poly(age, 1000000)", "1000000"),
        ("poly(age, 2.5)", "2.5"),
        ("poly(age, degree=2, degree=3)", "twice"),
        ("log(age, base=2)", "base"),
        ("bs(age, df=2)", "bs(age, df = 2)"),
        ("I(3)", "I(3)"),
        ("I(age**9**9**9)", "I(age^9^9^9)"),
        ("I(9**9**9**9*age)", "I(9^9^9^9 * age)"),
        ("(age + bmi)^40", "(age + bmi)^40"),
        ("*".join(f"x{k}" for k in range(40)), "too many interactions"),
        (":".join(f"x{k}" for k in range(40)), "too many interactions"),
        ("(" * 3000 + "age" + ")" * 3000, "nested too deeply"),
        ("I(" + "-" * 3000 + "age)", "nested too deeply"),
        ("age + " * 40000 + "age", "too long"),
    ],
)  # fmt: skip
def test_what_is_not_of_the_language_is_refused_at_once_and_never_run(formula, piece, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = time.perf_counter()
    with pytest.raises((FormulaError, CovariateError)) as caught:
        build_design(f"~ {formula}", PEOPLE)
    assert time.perf_counter() - started < 2.0
    assert piece in str(caught.value)
    assert not list(Path(tmp_path).iterdir())


def test_a_factor_with_a_level_for_everybody_is_refused_before_its_matrix_is_made():
    many = pd.DataFrame(
        {"participant": range(3000), "a": [f"a{k}" for k in range(3000)], "b": [f"b{k}" for k in range(3000)]}
    )
    with pytest.raises(DataError, match="3000 participants are too few for 9000000 coefficients"):
        build_design("~ a * b", many)


def test_terms_are_those_of_r():
    for formula, expected in {
        "a * b * c - a:b:c": ["(Intercept)", "a", "b", "c", "a:b", "a:c", "b:c"],
        "(a + b) / c": ["(Intercept)", "a", "b", "a:b:c"],
        "a / (b + c)": ["(Intercept)", "a", "a:b", "a:c"],
        "a:b + a - 1": ["a", "a:b"],
        "0 + (a + b)^2": ["a", "b", "a:b"],
        "a + 0 + 1": ["(Intercept)", "a"],
        "(0 + a)": ["a"],
        "-1 + a + a": ["a"],
        "b:a + a:b": ["(Intercept)", "b:a"],
    }.items():
        assert [term_text(term) for term in read_formula(f"~ {formula}")] == expected


@pytest.fixture(scope="module")
def cohort():
    rng = np.random.default_rng(7)
    n = 40
    x, other = rng.normal(size=n), rng.normal(size=n)
    table = pd.DataFrame({"participant": range(n), "module": "x", "term": "r", "std_error": 0.2})
    table["estimate"] = 0.4 * x + 0.1 * other + 0.3 * rng.normal(size=n)
    return table, pd.DataFrame(
        {"participant": range(n), "plain": x, "other": other, "ill": rng.choice(["no", "yes"], n)}
    )


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_column_of_any_name_gives_the_tables_and_plots_of_a_plain_one(cohort, name):
    table, people = cohort
    plain = spice_group(table, "~ plain * ill + other", data=people)
    odd = spice_group(table, f"~ {in_backticks(name)} * ill + other", data=people.rename(columns={"plain": name}))
    numbers = ["estimate", "std_error", "conf_low", "conf_high"]
    tables = {
        "tidy": lambda group, x: group.tidy(),
        "term_tests": lambda group, x: group.term_tests().rename(columns={"statistic": "estimate"}),
        "marginal_means": lambda group, x: group.marginal_means("ill", at={x: [-1.0, 1.0]}).frame,
        "means over": lambda group, x: group.marginal_means(x, by="ill", at={x: [-1.0, 1.0]}).frame,
        "contrasts": lambda group, x: group.contrasts("ill", at={x: 0.5}),
        "residual": lambda group, x: group.standardised(),
        "total": lambda group, x: group.standardised("total"),
        "partial_r": lambda group, x: group.standardised("partial_r"),
        "average_effects": lambda group, x: group.average_effects(x),
        "hypotheses": lambda group, x: group.linear_hypotheses({"one": {x: 1.0}}),
        "derived_means": lambda group, x: group.derived_means({"twice": 'x["r"] * 2'}, at={x: 1.0}),
    }
    for what, make in tables.items():
        expected, found = make(plain, "plain"), make(odd, name)
        shown = [column for column in numbers if column in expected]
        pd.testing.assert_frame_equal(found[shown], expected[shown], obj=what)
    assert name in set(odd.tidy()["term"]) and name in odd.augment() and name in set(odd.standardised("total")["term"])
    for kind in ("forest", "caterpillar", "covariate"):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from font")
            odd.plot(kind).canvas.draw()


def test_an_interaction_and_a_column_with_its_name_stay_apart(cohort):
    table, people = cohort
    people = people.assign(
        **{"plain:other": np.random.default_rng(3).normal(size=len(people)), "illyes": people["other"]}
    )
    group = spice_group(table, "~ plain * other + `plain:other` + ill + illyes - other", data=people)
    assert len(set(group.tidy()["term"])) == 6
    assert {"`plain:other`", "plain:other", "ill[yes]", "illyes"} <= set(group.tidy()["term"])


def test_the_total_effect_of_one_of_two_similar_names_is_its_own(cohort):
    table, people = cohort
    plain = spice_group(table, "~ plain + other", data=people).standardised("total")
    renamed = people.rename(columns={"plain": "anxiety", "other": "anxiety-trait"})
    odd = spice_group(table, "~ anxiety + `anxiety-trait`", data=renamed).standardised("total")
    np.testing.assert_allclose(odd["estimate"], plain["estimate"], rtol=1e-12)


def test_columns_without_names_are_named_by_their_number_and_double_ones_refused():
    people = PEOPLE[["participant", "age"]].rename(columns={"age": 3})
    assert build_design("~ `3`", people).names == ("(Intercept)", "3")
    twice = pd.concat([PEOPLE, PEOPLE[["age"]]], axis=1)
    with pytest.raises(CovariateError, match="several columns are called 'age'"):
        build_design("~ age", twice)


def test_an_intercept_cannot_be_a_covariate():
    with pytest.raises(CovariateError, match="rename"):
        build_design("~ `(Intercept)`", PEOPLE.rename(columns={"age": "(Intercept)"}))


def test_plots_draw_dollars_as_they_are(cohort):
    table, people = cohort
    renamed = people.rename(columns={"plain": "cost $US$"}).replace({"ill": {"yes": "$x^2$"}})
    group = spice_group(table, "~ `cost $US$` + ill", data=renamed)
    assert group.plot_covariate("cost $US$").axes[0].get_xlabel() == r"cost \$US\$"
    levels = group.plot_covariate("ill").axes[0].get_xticklabels()
    assert r"\$x^2\$" in [level.get_text() for level in levels]
    assert any(axis.get_title(loc="left") == r"cost \$US\$" for axis in group.plot("forest").axes)
