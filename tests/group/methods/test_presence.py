import warnings

import numpy as np
import pandas as pd
import pytest

from spicestat.coefficients import CoefficientTable
from spicestat.errors import DataError, ExclusionWarning
from spicestat.group import spice_group
from spicestat.group.formula.design import build_design
from spicestat.group.inference.rows import coefficient_table, glance_table
from spicestat.group.inputs.contract import GroupInputs
from spicestat.group.inputs.usable import select_equations
from spicestat.group.methods import hurdle, meta, presence
from spicestat.group.methods.meta import meta_regression
from spicestat.group.numerics.firth import firth_logistic, penalised_ratio_test, profile_intervals


def structures(n=40, seed=3):
    """A cohort in which "reward" is in the equation of older people, "1" in everybody's, "choice" in nobody's."""
    rng = np.random.default_rng(seed)
    ids = [f"s{row:02d}" for row in range(n)]
    age = rng.integers(18, 70, n).astype(float)
    people = pd.DataFrame({"participant": ids, "age": age, "group": [("a", "b", "c")[row % 3] for row in range(n)]})
    has = rng.random(n) < 1 / (1 + np.exp(-(age - 40) / 8))
    frames = []
    for term, selected in {"1": np.ones(n, bool), "reward": has, "choice": np.zeros(n, bool)}.items():
        frames.append(
            pd.DataFrame(
                {
                    "participant": ids,
                    "module": "x_value",
                    "term": term,
                    "estimate": np.where(selected, 0.4 + 0.1 * rng.normal(size=n), 0.0),
                    "std_error": np.where(selected, rng.uniform(0.05, 0.2, n), np.nan),
                    "selected": selected,
                }
            )
        )
    return pd.concat(frames, ignore_index=True), people, has


def inputs_of(frame, people, formula, conf_level=0.95):
    table, design = CoefficientTable.from_frame(frame), build_design(formula, people)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExclusionWarning)
        equations = select_equations(table, design)[0]
    return GroupInputs(table, design, equations, conf_level=conf_level)


def test_presence_is_firths_regression_of_who_has_the_term():
    frame, people, has = structures()
    inputs = inputs_of(frame, people, "~ age + group", conf_level=0.9)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = presence.estimate(inputs)
    X = inputs.design.matrix
    fit, limits = firth_logistic(has, X), profile_intervals(has, X, 0.9)
    assert found.fixed["sparse_term"].unique().tolist() == ["reward"]
    np.testing.assert_array_equal(found.fixed["estimate"], fit.beta)
    np.testing.assert_array_equal(found.fixed["p_value"], fit.p_value)
    np.testing.assert_array_equal(found.fixed[["conf_low", "conf_high"]].to_numpy().T, limits)
    assert found.glance.loc[0, ["nobs", "converged"]].tolist() == [40, True]
    assert found.links == {("x_value", "reward"): "logit"}
    assert found.presence.n_present == {("x_value", "reward"): has.sum()}
    assert {(entry.sparse_term, entry.reason.split(",")[0]) for entry in found.skipped} == {
        ("1", "in every participant's equation"),
        ("choice", "in no participant's equation"),
    }


def test_all_levels_of_a_factor_are_tested_together():
    frame, people, has = structures()
    inputs = inputs_of(frame, people, "~ age + group")
    tests = presence.estimate(inputs).presence.ratio_tests.set_index("term")
    assert tests["df"].to_dict() == {"(Intercept)": 1, "age": 1, "group": 2}
    expected = penalised_ratio_test(has, inputs.design.matrix, inputs.design.terms["group"])
    assert tests.loc["group", "p_value"] == expected.p_value


def test_complete_separation_gives_finite_numbers():
    frame, people, _ = structures()
    older = (people["age"] > 45).to_numpy()
    frame.loc[frame["term"] == "reward", "selected"] = older
    found = presence.estimate(inputs_of(frame, people, "~ age"))
    assert np.isfinite(found.fixed.drop(columns=["module", "sparse_term", "term", "df"])).all(axis=None)
    age = found.fixed.set_index("term").loc["age"]
    assert age["conf_low"] > 0 and age["p_value"] < 1e-6


def test_a_common_structure_leaves_nothing_to_explain():
    frame, people, _ = structures()
    found = presence.estimate(inputs_of(frame[frame["term"] == "1"], people, "~ age"))
    assert found.fixed.empty
    assert "nothing to explain" in found.skipped[0].reason


def test_the_order_of_participants_does_not_matter():
    frame, people, _ = structures()
    here = presence.estimate(inputs_of(frame, people, "~ age")).fixed
    order = np.random.default_rng(2).permutation(len(people))
    shuffled = frame.set_index("participant").loc[people["participant"].iloc[order]].reset_index()
    there = presence.estimate(inputs_of(shuffled, people.iloc[order].reset_index(drop=True), "~ age")).fixed
    np.testing.assert_allclose(there["estimate"], here["estimate"], rtol=1e-8)
    np.testing.assert_allclose(there["p_value"], here["p_value"], rtol=1e-7)


def test_a_participant_without_covariates_is_left_out():
    frame, people, _ = structures()
    people.loc[3, "age"] = np.nan
    with pytest.warns(ExclusionWarning, match="1 of 40"):
        inputs = inputs_of(frame, people, "~ age")
    found = presence.estimate(inputs)
    assert found.glance.loc[0, ["nobs", "n_excluded"]].tolist() == [39, 1]


def test_presence_of_one_participant_in_forty():
    frame, people, _ = structures()
    frame.loc[frame["term"] == "reward", "selected"] = people["participant"].eq("s07").to_numpy()
    fixed = presence.estimate(inputs_of(frame, people, "~ age")).fixed
    assert np.isfinite(fixed[["estimate", "p_value", "conf_low", "conf_high"]]).all(axis=None)


def test_hurdle_has_both_parts():
    frame, people, has = structures()
    inputs = inputs_of(frame, people, "~ age")
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = hurdle.estimate(inputs)
    assert found.fixed[["sparse_term", "group"]].drop_duplicates().to_numpy().tolist() == [
        ["1", "magnitude"],
        ["reward", "presence"],
        ["reward", "magnitude"],
    ]
    rows = found.fixed.set_index(["sparse_term", "group", "term"]).sort_index()
    np.testing.assert_array_equal(
        rows.loc[("reward", "presence"), "estimate"], firth_logistic(has, inputs.design.matrix).beta
    )
    own = next(equation for equation in inputs.equations if equation.sparse_term == "reward")
    fit = meta_regression(own.estimate, own.variance, inputs.design.matrix[own.rows])
    np.testing.assert_array_equal(rows.loc[("reward", "magnitude"), "estimate"], fit.beta)
    assert found.glance[["sparse_term", "nobs"]].to_numpy().tolist() == [["1", 40], ["reward", int(has.sum())]]
    assert found.glance["converged"].tolist() == [True, True]
    assert f"x_value / reward: {has.sum()} of 40" in found.messages[-1]
    assert "selected group" in found.messages[-1]
    assert [entry.sparse_term for entry in found.skipped] == ["choice"]


def test_hurdle_magnitudes_are_tested_by_t_and_presence_by_the_profile():
    frame, people, has = structures()
    inputs = inputs_of(frame, people, "~ age")
    found = hurdle.estimate(inputs)
    alone = meta.estimate(inputs)
    result = coefficient_table(
        alone,
        {("x_value", "1"): False, ("x_value", "reward"): False},
        inputs.design.term_of,
        adjust="BH",
        conf_level=0.95,
    )
    size = found.fixed[found.fixed["group"] == "magnitude"]
    fixed = result[result["effect"] == "fixed"]
    for name in ("p_value", "conf_low", "conf_high"):
        np.testing.assert_allclose(size[name], fixed[name], rtol=1e-12)
    profiled = found.fixed.loc[found.fixed["group"] == "presence", ["conf_low", "conf_high"]].to_numpy(dtype=float).T
    np.testing.assert_array_equal(profiled, profile_intervals(has, inputs.design.matrix, 0.95))


@pytest.mark.filterwarnings("ignore::spicestat.errors.ExclusionWarning")
@pytest.mark.parametrize("method", ["presence", "hurdle"])
def test_intervals_of_presence_are_profiled_at_every_level(method):
    frame, people, has = structures()
    result = spice_group(frame, "~ age", data=people, method=method)
    limits = profile_intervals(has, result.design.matrix, 0.8)
    found = result.tidy(conf_level=0.8)
    rows = found[found["sparse_term"] == "reward"]
    profiled = rows if method == "presence" else rows[rows["group"] == "presence"]
    np.testing.assert_array_equal(profiled[["conf_low", "conf_high"]].to_numpy().T, limits)


def test_hurdle_keeps_the_presence_of_a_term_that_few_have():
    frame, people, _ = structures()
    frame.loc[frame["term"] == "reward", "selected"] = people["participant"].isin(["s01", "s07"]).to_numpy()
    found = hurdle.estimate(inputs_of(frame, people, "~ age"))
    rows = found.fixed[found.fixed["sparse_term"] == "reward"]
    assert rows["group"].unique().tolist() == ["presence"]
    assert found.links == {("x_value", "reward"): "logit"}
    assert found.glance["sparse_term"].tolist() == ["1", "reward"]
    assert len(found.messages) == 1


@pytest.mark.parametrize("method", [presence, hurdle])
def test_results_become_a_table(method):
    frame, people, _ = structures()
    inputs = inputs_of(frame, people, "~ age")
    found = method.estimate(inputs)
    glance = glance_table(found, max_unidentified=0.2, method="x", formula="~ age")
    withheld = dict.fromkeys(zip(found.fixed["module"], found.fixed["sparse_term"], strict=True), False)
    table = coefficient_table(found, withheld, inputs.design.term_of, adjust="BH", conf_level=0.95)
    fixed = table[table["effect"] == "fixed"]
    np.testing.assert_array_equal(fixed["p_value"], found.fixed["p_value"].to_numpy(dtype=float))
    np.testing.assert_array_equal(fixed["conf_high"], found.fixed["conf_high"].to_numpy(dtype=float))
    assert len(glance) == len(withheld)


def test_terms_that_everybody_has_are_named_once_per_reason():
    people = pd.DataFrame({"participant": range(8), "age": np.arange(8.0)})
    cells = [people[["participant"]].assign(module="x", term=term, estimate=0.3, std_error=0.1) for term in ("1", "r")]
    with pytest.raises(DataError, match="x / 1, x / r: in every participant's equation") as caught:
        spice_group(pd.concat(cells), "~ age", data=people, method="presence")
    assert str(caught.value).count("in every") == 1
