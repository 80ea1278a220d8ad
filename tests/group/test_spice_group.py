import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.coefficients import CoefficientTable
from spicestat.errors import (
    ConfigError,
    CovariateError,
    DataError,
    ExclusionWarning,
    FormulaError,
    IdentifiabilityWarning,
    NumericalError,
    StorageError,
)
from spicestat.group import GroupResult, spice_group
from spicestat.group.inference.multiplicity import adjust_p_values
from spicestat.group.inference.rows import COLUMNS, GLANCE
from spicestat.group.methods.registry import find_method
from tests.group.toy_choices import gaussian_study, toy_fit

METHODS = ["meta", "mixed", "ols"]
TERMS = ("1", "reward", "x_value")


@pytest.mark.parametrize("method", METHODS)
def test_tables_have_the_contract_columns_and_types(cohort, method):
    frame, people = cohort(terms=TERMS)
    result = spice_group(frame, "~ diagnosis * age", data=people, method=method)
    assert isinstance(result, GroupResult)
    assert tuple(result.coefficients.columns) == COLUMNS
    assert tuple(result.glance().columns) == GLANCE
    fixed = result.tidy()
    assert len(fixed) == 3 * 6 and (fixed["effect"] == "fixed").all()
    assert fixed[["statistic", "df", "p_value", "p_adjusted", "conf_low", "conf_high"]].notna().all(axis=None)
    assert (fixed["p_adjusted"] >= fixed["p_value"] - 1e-15).all()
    assert result.coefficients["estimate"].dtype == "float64"
    for key, block in result.covariance.items():
        rows = fixed[(fixed["module"] == key[0]) & (fixed["sparse_term"] == key[1])]
        assert block.columns.tolist() == rows["term"].tolist()
        np.testing.assert_allclose(np.sqrt(np.diag(block)), rows["std_error"])


def test_p_adjusted_families_are_covariates_over_equations(cohort):
    frame, people = cohort(terms=TERMS)
    fixed = spice_group(frame, "~ age", data=people, adjust="bonferroni").tidy()
    np.testing.assert_allclose(fixed["p_adjusted"], np.minimum(1, 3 * fixed["p_value"]))


def test_all_levels_of_a_factor_are_one_family(cohort):
    frame, people = cohort(terms=TERMS)
    people["dose"] = np.array(["none", "low", "high"])[np.arange(len(people)) % 3]
    for method, own in (("meta", {}), ("permutation", {"n_permutations": 99})):
        for adjust in ("BH", "holm"):
            fixed = spice_group(frame, "~ dose * age", data=people, method=method, adjust=adjust, **own).tidy()
            factor = fixed["term"].str.removesuffix(":age").map({"doselow": "dose", "dosenone": "dose"})
            family = factor.fillna(fixed["term"]) + fixed["term"].str.endswith(":age").map({True: ":age", False: ""})
            assert family.value_counts().to_dict() == {"dose": 6, "dose:age": 6, "(Intercept)": 3, "age": 3}
            for _, rows in fixed.groupby(family):
                np.testing.assert_allclose(rows["p_adjusted"], adjust_p_values(rows["p_value"].to_numpy(), adjust))


def test_tidy_options(cohort):
    frame, people = cohort(terms=TERMS)
    result = spice_group(frame, "~ age", data=people)
    both = result.tidy(("fixed", "ran_pars"))
    assert both["effect"].value_counts().to_dict() == {"fixed": 6, "ran_pars": 3}
    assert set(result.tidy("ran_pars")["term"]) == {"sd__(Intercept)"}
    assert (result.tidy("ran_pars")["group"] == "participant").all()
    np.testing.assert_allclose(result.tidy("ran_pars")["estimate"] ** 2, result.glance()["tau_squared"])
    assert not [name for name in result.tidy(conf_int=False).columns if name.startswith("conf_")]
    wide, usual = result.tidy(conf_level=0.99), result.tidy()
    assert (wide["conf_low"] < usual["conf_low"]).all() and (wide["conf_level"] == 0.99).all()
    again = spice_group(frame, "~ age", data=people, conf_level=0.99).tidy()
    pd.testing.assert_frame_equal(wide, again)
    pd.testing.assert_frame_equal(result.to_frame(), result.coefficients)
    for bad in (0, 1, 95, True, "0.9"):
        with pytest.raises(ConfigError, match="conf_level"):
            result.tidy(conf_level=bad)
    with pytest.raises(ConfigError, match="ran_vals"):
        result.tidy("ran_vals")


def test_summary_and_repr(cohort):
    frame, people = cohort(terms=TERMS)
    frame.loc[frame["term"] == "1", ["estimate", "std_error"]] = [1.0, np.nan]
    result = spice_group(frame, "~ age", data=people)
    frame = result.tidy()
    assert repr(result).split("\n")[:6] == [
        "Group model ~ age, method meta",
        "24 participants, 95 % intervals, p-values adjusted by BH",
        "Left out: 1 equation terms, see .skipped",
        "",
        "x_value / reward:",
        "  term         estimate  conf_low  conf_high  p_value  p_adjusted",
    ]
    last = repr(result).split("\n")[-1].split()
    assert last[0] == "age"
    np.testing.assert_allclose(
        np.array(last[1:4], dtype=float),
        frame.loc[frame["term"] == "age", ["estimate", "conf_low", "conf_high"]].iloc[-1],
        rtol=0.01,
    )
    for words in ("Group model ~ age", "24 observations", "reward", "age", "sd__(Intercept)", "Left out: x_value / 1"):
        assert words in result.summary()


def test_what_is_printed_fits_a_terminal(cohort):
    frame, people = cohort(terms=TERMS)
    frame["module"] = "x_learning_rate_of_rewards_that_were_not_chosen"
    result = spice_group(frame, "~ age * diagnosis + np.log(age)", data=people)
    for shown in (result, result.marginal_means("diagnosis", by="age", at={"age": [20, 30.5]})):
        assert max(map(len, repr(shown).split("\n"))) <= 80
    means = result.marginal_means(equations=[("x_learning_rate_of_rewards_that_were_not_chosen", "reward")])
    assert repr(means).split("\n")[-1].split()[0] == f"{means.frame['estimate'][0]:#.3g}"


@pytest.mark.parametrize("name", ["group.csv", "group.tsv.gz", "group.parquet"])
def test_save_and_read_back(cohort, tmp_path, name):
    frame, people = cohort(terms=TERMS)
    result = spice_group(frame, "~ age", data=people)
    path = result.save(tmp_path / name)
    read = pd.read_parquet(path) if name.endswith("parquet") else pd.read_csv(path, sep="\t" if "tsv" in name else ",")
    np.testing.assert_allclose(read["estimate"], result.coefficients["estimate"])
    with pytest.raises(StorageError):
        result.save(tmp_path / "group.xlsx")


def test_a_plain_csv_is_enough(cohort, tmp_path):
    frame, people = cohort()
    frame = frame.assign(participant=range(24))
    people = people.assign(participant=[f"{row}" for row in range(24)])
    frame.to_csv(tmp_path / "coefs.csv", index=False)
    people.rename(columns={"participant": "id"}).to_csv(tmp_path / "people.csv", index=False)
    from_files = spice_group(tmp_path / "coefs.csv", "~ age", data=str(tmp_path / "people.csv"), participant="id")
    np.testing.assert_allclose(from_files.tidy()["p_value"], spice_group(frame, "~ age", data=people).tidy()["p_value"])


def test_tables_fits_and_their_own_covariates_are_accepted(cohort):
    frame, people = cohort()
    table = CoefficientTable.from_frame(frame, people=people)
    expected = spice_group(frame, "~ age", data=people).coefficients
    pd.testing.assert_frame_equal(spice_group(table, "~ age").coefficients, expected)
    pd.testing.assert_frame_equal(spice_group(SimpleNamespace(coefficients=table), "~ age").coefficients, expected)
    assert len(spice_group(frame, "~ 1").tidy()) == 1
    with pytest.raises(FormulaError, match=r"unknown variable 'age'.*no covariates were given"):
        spice_group(frame, "~ age")
    for bad in (3, SimpleNamespace(coefficients=3)):
        with pytest.raises(ConfigError, match="not a coefficient table"):
            spice_group(bad, "~ age")


@pytest.mark.parametrize("where", ["info", "attrs"])
def test_a_covariate_that_varies_within_participants_is_refused(cohort, where):
    frame, people = cohort()
    info = {"varying": ["session"]} if where == "info" else {}
    if where == "attrs":
        people.attrs["varying"] = ["session"]
    with pytest.raises(CovariateError, match="'session' varies within participants"):
        spice_group(CoefficientTable.from_frame(frame, people=people, info=info), "~ session")


@given(st.integers(0, 1000), st.sampled_from(METHODS))
@settings(max_examples=20)
def test_order_and_labels_of_participants_do_not_matter(cohort, seed, method):
    frame, people = cohort(seed=seed, terms=("1", "reward"))
    rng = np.random.default_rng(seed)
    labels = dict(zip(people["participant"], rng.permutation(1000)[:24].tolist(), strict=True))
    shuffled, others = (
        table.assign(participant=table["participant"].map(labels)).sample(frac=1, random_state=seed + place)
        for place, table in enumerate((frame, people))
    )
    by = ["sparse_term", "term", "effect"]
    one = spice_group(frame, "~ diagnosis + age", data=people, method=method).coefficients.sort_values(by)
    other = spice_group(shuffled, "~ diagnosis + age", data=others, method=method).coefficients.sort_values(by)
    np.testing.assert_allclose(
        other[["estimate", "std_error", "df"]], one[["estimate", "std_error", "df"]], rtol=1e-5, atol=1e-9
    )


def test_modules_and_terms_restrict(cohort):
    frame, people = cohort(terms=TERMS)
    frame = pd.concat([frame, cohort(terms=("x",), module="beta", seed=1)[0]])
    both = spice_group(frame, "~ age", data=people, modules="x_value", terms=["reward", "1"]).tidy()
    assert both[["module", "sparse_term"]].drop_duplicates().to_numpy().tolist() == [
        ["x_value", "1"],
        ["x_value", "reward"],
    ]
    with pytest.raises(ConfigError, match=r"`modules`.*'nothing'.*'beta', 'x_value'"):
        spice_group(frame, "~ age", data=people, modules=["nothing"])
    with pytest.raises(ConfigError, match="`terms`"):
        spice_group(frame, "~ age", data=people, terms=[])
    with pytest.raises(ConfigError, match="no equation has both"):
        spice_group(frame, "~ age", data=people, modules="beta", terms="reward")


@pytest.mark.parametrize(
    ("settings_", "words"),
    [
        ({"method": "lme"}, ["unknown group method", "meta, mixed, multivariate_meta"]),
        ({"adjust": "fdr"}, ["adjustment", "BH"]),
        ({"conf_level": 95}, ["conf_level"]),
        ({"max_unidentified": 20}, ["max_unidentified"]),
        ({"max_unidentified": "a"}, ["max_unidentified"]),
        ({"adjust": None}, ["adjustment", "None", "BH"]),
        ({"method": 3}, ["unknown group method"]),
    ],
)
def test_bad_settings_are_named(cohort, settings_, words):
    frame, people = cohort()
    with pytest.raises(ConfigError) as caught:
        spice_group(frame, "~ age", data=people, **settings_)
    assert all(word in str(caught.value) for word in words)


def spoiled(cohort):
    """Six of 40 participants with each their own defect of the term 'reward'."""
    frame, people = cohort(40, terms=("1", "reward"))
    frame["selected"], frame["at_bound"], frame["converged"] = True, False, True
    rows = frame.index[frame["term"] == "reward"]
    frame.loc[rows[0], "std_error"] = np.nan
    frame.loc[rows[1], "std_error"] = 0.0
    frame.loc[rows[2], "at_bound"] = True
    frame.loc[rows[3], "converged"] = False
    frame.loc[rows[4], "std_error"] = np.nan
    frame.loc[rows[5], ["selected", "estimate", "std_error"]] = [False, 0.0, np.nan]
    return frame, people


def test_unusable_coefficients_are_excluded_and_counted_once(cohort):
    frame, people = spoiled(cohort)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = spice_group(frame, "~ age", data=people)
    assert [entry.category for entry in caught] == [ExclusionWarning]
    assert caught[0].filename == __file__
    message = str(caught[0].message)
    for words in (
        "6 coefficients",
        "2 no standard error",
        "1 standard error 0",
        "1 at a bound",
        "1 not converged",
        "1 not in the participant's equation",
        "population structure",
    ):
        assert words in message
    glance = result.glance().set_index("sparse_term")
    assert glance["nobs"].to_dict() == {"1": 40, "reward": 34}
    assert glance["n_excluded"].to_dict() == {"1": 0, "reward": 6}
    clean = frame.drop(index=frame.index[frame["term"] == "1"]).iloc[6:]
    np.testing.assert_allclose(
        result.tidy().query("sparse_term == 'reward'")["estimate"],
        spice_group(clean, "~ age", data=people).tidy()["estimate"],
    )


def test_exclusions_of_participants_and_coefficients_add_up(cohort):
    frame, people = spoiled(cohort)
    people.loc[10, "age"] = np.nan
    with pytest.warns(ExclusionWarning) as caught:
        result = spice_group(frame, "~ age", data=people.drop(index=[20, 21]))
    assert len(caught) == 3 and {entry.filename for entry in caught} == {__file__}
    assert result.glance()["n_excluded"].tolist() == [3, 9]


@pytest.mark.parametrize("column", ["at_bound", "converged"])
@pytest.mark.parametrize("method", METHODS)
def test_inference_is_withheld_above_the_limit(cohort, column, method):
    frame, people = cohort(terms=("1", "reward"))
    flags = frame["participant"].isin([f"s{row:02d}" for row in range(6)]) & (frame["term"] == "1")
    frame[column] = flags if column == "at_bound" else ~flags
    with pytest.warns(ExclusionWarning), pytest.warns(IdentifiabilityWarning, match=r"25 %.*limit 20 %.*More trials"):
        result = spice_group(frame, "~ age", data=people, method=method)
    hidden = result.tidy(conf_level=0.9)
    assert hidden[["p_value", "p_adjusted", "conf_low", "conf_high"]].isna().all(axis=None)
    assert hidden[["estimate", "std_error", "statistic"]].notna().all(axis=None)
    glance = result.glance()
    assert glance["withheld"].all() and (glance["share_unidentified"] == 0.25).all()
    assert glance[["p_value_cochran_qe", "p_value_cochran_qm"]].isna().all(axis=None)
    assert "withheld" in repr(result) and "Withheld" in result.summary()
    with pytest.warns(ExclusionWarning):
        shown = spice_group(frame, "~ age", data=people, method=method, max_unidentified=0.25)
    assert shown.tidy()["p_value"].notna().all()


def test_missing_standard_errors_of_one_term_withhold_that_term_only(cohort):
    frame, people = cohort(terms=("1", "reward"))
    frame.loc[frame.index[:6], "std_error"] = np.nan
    with pytest.warns(ExclusionWarning), pytest.warns(IdentifiabilityWarning):
        result = spice_group(frame, "~ age", data=people)
    assert result.glance()["withheld"].tolist() == [True, False]
    shown = result.tidy().query("sparse_term == 'reward'")
    np.testing.assert_allclose(shown["p_adjusted"], shown["p_value"])


def test_terms_without_estimates_are_skipped_with_the_reason(cohort):
    frame, people = cohort(terms=("fixed", "absent", "constant", "rare", "narrow", "reward"))
    frame["selected"] = True
    at = {term: frame.index[frame["term"] == term] for term in frame["term"].unique()}
    frame.loc[at["fixed"], ["estimate", "std_error"]] = [1.0, np.nan]
    frame.loc[at["absent"], "selected"] = False
    frame.loc[at["constant"], "estimate"] = 0.5
    frame.loc[at["rare"][3:], "selected"] = False
    frame.loc[at["narrow"][np.arange(24) % 3 == 2], "selected"] = False
    with pytest.warns(ExclusionWarning):
        result = spice_group(frame, "~ diagnosis", data=people)
    assert result.tidy()["sparse_term"].unique().tolist() == ["reward"]
    reasons = result.skipped.set_index("sparse_term")["reason"]
    assert "fixed at 1 by the structure" in reasons["fixed"]
    assert "in no participant's equation" in reasons["absent"]
    assert "the same estimate, 0.5" in reasons["constant"]
    assert "3 usable participants are too few for 3" in reasons["rare"]
    assert "do not cover all levels" in reasons["narrow"]


@pytest.mark.parametrize("method", METHODS)
def test_an_overflow_is_an_error_not_a_nan(cohort, method):
    frame, people = cohort(terms=("1", "reward"))
    with pytest.raises((DataError, NumericalError), match="extreme"):
        spice_group(frame.assign(estimate=frame["estimate"] * 1e200), "~ age", data=people, method=method)


def test_one_extreme_standard_error_skips_that_term_only(cohort):
    frame, people = cohort(terms=("1", "reward"))
    frame.loc[0, "std_error"] = 1e-150
    result = spice_group(frame, "~ age", data=people)
    assert result.tidy()["sparse_term"].unique().tolist() == ["reward"]
    assert "extreme" in result.skipped["reason"].item()


@pytest.mark.parametrize("method", METHODS)
def test_estimates_that_the_covariates_reproduce_are_skipped(cohort, method):
    frame, people = cohort(terms=("1", "reward", "x_value"))
    exact = frame["term"] == "1"
    frame.loc[exact, "estimate"] = 1.0 + 2.0 * people["age"].to_numpy()
    result = spice_group(frame, "~ age", data=people, method=method)
    assert "reproduce the estimates exactly" in result.skipped["reason"].item()


def test_nothing_left_is_an_error_with_the_reasons(cohort):
    frame, people = cohort()
    with pytest.warns(ExclusionWarning), pytest.raises(DataError, match=r"no coefficient.*0 usable participants"):
        spice_group(frame.assign(std_error=0.0), "~ age", data=people)


def test_importing_and_running_needs_neither_torch_nor_pysindy():
    code = (
        "import sys, pandas as pd\n"
        "from spicestat.group import spice_group\n"
        "frame = pd.DataFrame({'participant': range(6), 'module': 'm', 'term': 't',\n"
        "                      'estimate': [1.0, 2, 4, 3, 5, 2], 'std_error': 0.5})\n"
        "spice_group(frame, '~ 1', method='meta'); spice_group(frame, '~ 1', method='ols')\n"
        "print(sorted({'torch', 'pysindy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


LONG = {
    "permutation": ({"n_permutations": 99}, "covariate 2 of 2"),
    "bayes_meta": ({"draws": 30, "tune": 50, "chains": 1}, "1 chains"),
    "hierarchical": ({}, "is enough"),
    "bayes": ({"draws": 30, "tune": 50, "chains": 1, "n_nodes": 64}, "1 chains"),
}


@pytest.mark.filterwarnings("ignore")  # so few draws
@pytest.mark.parametrize("method", list(LONG))
def test_methods_that_take_long_say_how_far_they_are(method, cohort):
    if method.startswith("bayes"):
        pytest.importorskip("numpyro")
    own_settings, message = LONG[method]
    frame, people = cohort(terms=TERMS)
    if find_method(method).reads_choices:
        likelihood, X = gaussian_study(20, np.array([[0.5, 0.2], [0.2, 0.3]]))
        frame = toy_fit(likelihood, pd.DataFrame({"participant": likelihood.labels, "age": X[:, 1]}))
        people = None
    calls = []
    spice_group(frame, "~ age", data=people, method=method, progress=lambda *call: calls.append(call), **own_settings)
    stages, done, totals, messages = zip(*calls, strict=True)
    assert set(stages) == {"group"} and len(set(totals)) == 1
    assert list(done) == sorted(set(done)) and done[0] > 0 and done[-1] <= totals[0]
    assert message in messages[-1]
