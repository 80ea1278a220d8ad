from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spicestat.coefficients import CoefficientTable, read_coefficients
from spicestat.errors import ConfigError, DataError, ExclusionWarning
from spicestat.group import spice_group
from spicestat.group.after import derived
from spicestat.group.after.derived import derived_means, standard_quantities, with_derived

M = "x_value"
FIXED = derived.fixed_point(M)


def table_of(estimates, covariance, people=None, **columns):
    """Return a table of participants with a constant, an own state and an inverse temperature."""
    n = len(estimates)
    frame = pd.DataFrame(
        {
            "participant": np.repeat([f"s{row}" for row in range(n)], 3),
            "module": [M, M, "beta"] * n,
            "term": ["1", M, M] * n,
            "estimate": np.ravel(estimates),
            "std_error": np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).ravel(),
            "n_trials": 100.0,
            **columns,
        }
    )
    return CoefficientTable.from_frame(frame, np.asarray(covariance), people)


def cohort(n=30, seed=3, scale=0.02):
    rng = np.random.default_rng(seed)
    estimates = np.column_stack([rng.normal(0.1, 0.02, n), rng.uniform(0.5, 0.8, n), rng.normal(3, 0.3, n)])
    factors = rng.normal(0, scale, (n, 3, 5))
    return estimates, factors @ factors.transpose(0, 2, 1)


def row_of(table, name):
    return table.frame[(table.frame["module"] == derived.DERIVED) & (table.frame["term"] == name)]


def test_errors_are_the_spread_of_the_quantity_over_draws_of_the_estimates():
    estimates, covariance = cohort(4, scale=0.005)
    table = with_derived(table_of(estimates, covariance), {"level": FIXED})
    rng = np.random.default_rng(5)
    for person in range(4):
        draws = rng.multivariate_normal(estimates[person], covariance[person], 40_000)
        spread = np.std(draws[:, 0] / (1 - draws[:, 1]))
        row = row_of(table, "level").iloc[person]
        assert row["estimate"] == pytest.approx(estimates[person, 0] / (1 - estimates[person, 1]), rel=1e-14)
        # the sd of 40,000 draws has a standard error of 0.35 %, and the delta method here errs by less than 1 %
        assert row["std_error"] == pytest.approx(spread, rel=0.03)
        assert row["conf_high"] - row["estimate"] == pytest.approx(1.959964 * row["std_error"], rel=1e-6)
        assert row["n_trials"] == 100


def test_covariance_of_the_derived_is_that_of_the_linear_approximation():
    estimates, covariance = cohort()
    table = with_derived(table_of(estimates, covariance), {"level": FIXED, "forgetting": derived.forgetting_rate(M)})
    own = {pair: place for place, pair in enumerate(table.terms)}
    old = [own[pair] for pair in ((M, "1"), (M, M), ("beta", M))]
    new = [own[(derived.DERIVED, name)] for name in ("level", "forgetting")]
    np.testing.assert_allclose(table.covariance[:, old][:, :, old], covariance, rtol=1e-12)
    for person in range(len(estimates)):
        constant, kept, _ = estimates[person]
        jacobian = np.array([[1 / (1 - kept), constant / (1 - kept) ** 2, 0], [0, -1, 0]])
        expected = jacobian @ covariance[person] @ jacobian.T
        np.testing.assert_allclose(table.covariance[person][np.ix_(new, new)], expected, rtol=1e-10)
        np.testing.assert_allclose(
            table.covariance[person][np.ix_(new, old)], jacobian @ covariance[person], rtol=1e-10, atol=1e-18
        )
    errors = table.wide("std_error")[derived.DERIVED].to_numpy()
    np.testing.assert_allclose(errors**2, np.diagonal(table.covariance, axis1=1, axis2=2)[:, new], rtol=1e-12)
    # beta stays last, and what is derived can be derived from
    assert table.terms[-1] == ("beta", M)
    twice = with_derived(table, {"percent": '100 * derived["forgetting"]'})
    np.testing.assert_allclose(row_of(twice, "percent")["std_error"], 100 * errors[:, 1], rtol=1e-12)


def test_a_group_model_analyses_the_derived_like_any_coefficient(tmp_path):
    estimates, covariance = cohort()
    people = pd.DataFrame({"participant": [f"s{row}" for row in range(30)], "age": np.linspace(20, 60, 30)})
    table = with_derived(table_of(estimates, covariance, people), {"forgetting": derived.forgetting_rate(M)})
    result = spice_group(table, "~ age", modules=derived.DERIVED).tidy()
    kept = spice_group(table, "~ age", modules=M, terms=M).tidy()
    np.testing.assert_allclose(result["std_error"], kept["std_error"], rtol=1e-9)
    np.testing.assert_allclose(result["estimate"].iloc[1], -kept["estimate"].iloc[1], rtol=1e-9)
    np.testing.assert_allclose(result["estimate"].iloc[0], 1 - kept["estimate"].iloc[0], rtol=1e-9)
    # it survives a round trip through files
    table.save(tmp_path / "fit")
    again = read_coefficients(tmp_path / "fit")
    pd.testing.assert_frame_equal(again.frame, table.frame)
    np.testing.assert_array_equal(again.covariance, table.covariance)


def test_participants_without_a_term_or_a_value_are_left_out_and_flags_are_inherited():
    estimates, covariance = cohort(5)
    estimates[1, 1] = 1.0
    selected, at_bound, converged = np.ones((5, 3), bool), np.zeros((5, 3), bool), np.ones((5, 3), bool)
    selected[2, 0], at_bound[3, 1], converged[4, 1] = False, True, False
    table = table_of(
        estimates, covariance, selected=selected.ravel(), at_bound=at_bound.ravel(), converged=converged.ravel()
    )
    with pytest.warns(ExclusionWarning, match=r"'level' is not defined for 1 of 5 participants: 's1'\."):
        made = with_derived(table, {"level": FIXED, "forgetting": derived.forgetting_rate(M)})
    level, forgetting = row_of(made, "level"), row_of(made, "forgetting")
    assert level["selected"].tolist() == [True, False, False, True, True]
    assert level["std_error"].isna().tolist() == [False, True, True, False, False]
    assert level["estimate"].iloc[[1, 2]].tolist() == [0, 0]
    assert forgetting["selected"].all()
    assert forgetting["at_bound"].tolist() == [False, False, False, True, False]
    assert forgetting["converged"].tolist() == [True, True, True, True, False]


def test_a_term_that_the_structure_fixes_is_a_known_number():
    estimates, covariance = cohort(6)
    estimates[:, 1] = 0.5
    covariance[:, 1, :] = covariance[:, :, 1] = np.nan
    made = with_derived(table_of(estimates, covariance), {"level": FIXED})
    np.testing.assert_allclose(row_of(made, "level")["std_error"], 2 * np.sqrt(covariance[:, 0, 0]), rtol=1e-12)
    # but where others have an error, a missing one is not 0
    estimates, covariance = cohort(6)
    covariance[2, 1, :] = covariance[2, :, 1] = np.nan
    made = with_derived(table_of(estimates, covariance), {"level": FIXED})
    assert row_of(made, "level")["std_error"].isna().tolist() == [False, False, True, False, False, False]


def test_standard_errors_alone_do_for_one_term_only():
    estimates, covariance = cohort(4)
    frame = table_of(estimates, covariance).frame
    table = CoefficientTable.from_frame(frame)
    made = with_derived(table, {"half-life": derived.half_life(M)}, keep=False)
    kept = estimates[:, 1]
    errors = frame.loc[frame["term"].eq(M) & frame["module"].eq(M), "std_error"].to_numpy()
    np.testing.assert_allclose(made.frame["estimate"], np.log(0.5) / np.log(kept), rtol=1e-12)
    slope = np.log(2) / (kept * np.log(kept) ** 2)
    np.testing.assert_allclose(made.frame["std_error"], slope * errors, rtol=1e-12)
    with pytest.raises(DataError, match="needs the covariance"):
        with_derived(table, {"level": FIXED})


def test_unknown_terms_and_taken_names_are_errors():
    estimates, covariance = cohort(3)
    table = table_of(estimates, covariance)
    with pytest.raises(ConfigError, match=r'y\["1"\].*Allowed: x_value\["1"\]'):
        with_derived(table, {"new": '1 - y["1"]'})
    made = with_derived(table, {"new": '1 - x_value["1"]'})
    with pytest.raises(ConfigError, match="already"):
        with_derived(made, {"new": '1 - x_value["1"]'})
    with pytest.raises(ConfigError, match="no expression"):
        with_derived(table, {})


def test_the_usual_quantities_follow_from_the_terms():
    frame = pd.DataFrame(
        {
            "participant": "a",
            "module": ["x_value_reward_chosen"] * 3 + ["x_value_choice"] * 2 + ["x_kept", "my module"],
            "term": ["1", "x_value_reward_chosen", "c_reward", "c_action", "x_value_choice", "x_kept", "my module"],
            "estimate": [0.1, 0.7, 0.9, 0.5, 0.5, 1.0, 0.5],
            "std_error": [0.1, 0.1, 0.1, 0.1, 0.1, np.nan, 0.1],
        }
    )
    table = CoefficientTable.from_frame(frame, np.tile(0.01 * np.eye(7), (1, 1, 1)))
    quantities = standard_quantities(table)
    assert list(quantities) == [
        "learning_rate(x_value_reward_chosen)",
        "inverse_temperature(x_value_reward_chosen)",
        "half_life(x_value_reward_chosen)",
        "perseveration(x_value_choice)",
        "half_life(x_value_choice)",
        "forgetting_rate(my module)",
        "half_life(my module)",
    ]
    values = with_derived(table, quantities, keep=False).frame["estimate"]
    np.testing.assert_allclose(values, [0.3, 3.0, np.log(0.5) / np.log(0.7), 1.0, 1.0, 0.5, 1.0], rtol=1e-12)


def group(links=None, joint=True, seed=8):
    """Return a group model of two equations, made by hand."""
    estimates, covariance = cohort(seed=seed)
    people = pd.DataFrame({"participant": [f"s{row}" for row in range(30)], "sex": ["f", "m", "f"] * 10})
    result = spice_group(table_of(estimates, covariance, people), "~ sex", modules=M)
    labels = pd.MultiIndex.from_tuples([(M, term, name) for term in ("1", M) for name in ("(Intercept)", "sexm")])
    blocks = np.zeros((4, 4))
    for place, term in enumerate(("1", M)):
        here = slice(2 * place, 2 * place + 2)
        blocks[here, here] = result.covariance[(M, term)]
    blocks[:2, 2:] = 0.3 * np.sqrt(np.outer(np.diag(blocks)[:2], np.diag(blocks)[2:]))
    blocks[2:, :2] = blocks[:2, 2:].T
    whole = pd.DataFrame(blocks, index=labels, columns=labels)
    return replace(result, joint_covariance=whole if joint else None, links=links or {}), blocks


def test_derived_means_use_the_covariance_between_equations_and_the_links():
    model, covariance = group({(M, M): "logit"})
    frame = derived_means(model, {"level": FIXED}, "sex")
    assert frame["sex"].tolist() == ["f", "m"]
    beta = model.tidy()["estimate"].to_numpy()

    def quantity(effects, male):
        constant, eta = effects[0] + male * effects[1], effects[2] + male * effects[3]
        return constant * (1 + np.exp(eta))  # 1 - expit(eta) = 1 / (1 + exp(eta))

    for row, male in zip(frame.itertuples(), (0, 1), strict=True):
        gradient = np.array([(quantity(beta + h, male) - quantity(beta - h, male)) / 2e-6 for h in 1e-6 * np.eye(4)])
        assert row.estimate == pytest.approx(quantity(beta, male), rel=1e-12)
        assert row.std_error == pytest.approx(np.sqrt(gradient @ covariance @ gradient), rel=1e-7)
        assert row.df == 28


def test_derived_means_of_one_equation_need_no_joint_covariance_and_of_two_do():
    model, _ = group(joint=False)
    frame = derived_means(model, {"forgetting": derived.forgetting_rate(M)})
    tidy = model.tidy().query("sparse_term == @M")
    # the mean over the two sexes with equal weights
    assert frame["estimate"].item() == pytest.approx(1 - tidy["estimate"].iloc[0] - tidy["estimate"].iloc[1] / 2)
    with pytest.raises(ConfigError, match="no covariance between equations"):
        derived_means(model, {"level": FIXED})
    with pytest.raises(ConfigError, match="not in the model"):
        derived_means(model, {"other": 'y["1"] * 2'})
    with pytest.raises(ConfigError, match="no expression"):
        derived_means(model, {})
