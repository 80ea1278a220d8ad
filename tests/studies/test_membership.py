"""Regression of memberships that only log evidences tell."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp

from spicestat.errors import DataError
from spicestat.group.formula.design import build_design
from spicestat.group.numerics.firth import firth_logistic, penalised_ratio_test, profile_intervals
from spicestat.studies import membership
from spicestat.studies.membership import regress_membership

SURE = 1e4


def design_of(**columns):
    n = len(next(iter(columns.values())))
    return build_design("~ " + " + ".join(columns), pd.DataFrame({"participant": range(n), **columns}))


def test_where_evidences_leave_no_doubt_it_is_firths_regression():
    rng = np.random.default_rng(3)
    x, group = rng.standard_normal(30), rng.permutation(np.repeat(["a", "b", "c"], 10))
    y = (rng.random(30) < 0.5 + 0.2 * np.sign(x)).astype(float)
    design = design_of(x=x, group=group)
    found = regress_membership(pd.DataFrame({"one": -SURE * y, "two": SURE * (y - 1.0)}), design)
    expected = firth_logistic(y, design.matrix)
    effects = found.effects
    np.testing.assert_allclose(effects["estimate"], expected.beta, atol=1e-7)
    np.testing.assert_allclose(effects["std_error"], np.sqrt(np.diag(expected.covariance)), rtol=1e-6)
    np.testing.assert_allclose(effects["p_value"], expected.p_value, rtol=1e-6)
    np.testing.assert_allclose(effects[["conf_low", "conf_high"]].T, profile_intervals(y, design.matrix), rtol=1e-6)
    joint = found.tests.set_index("term").loc["group"]
    assert joint[["statistic", "df"]].tolist() == pytest.approx(penalised_ratio_test(y, design.matrix, [2, 3])[:2])
    np.testing.assert_allclose(found.probability[:, 1], y)


def test_the_estimate_is_the_highest_point_of_the_penalised_likelihood():
    rng = np.random.default_rng(4)
    x, evidence = rng.standard_normal(40), rng.normal(0.0, 2.0, (40, 3))
    design = design_of(x=x)
    X = design.matrix

    def height(beta):
        eta = np.column_stack([np.zeros(40), X @ beta.reshape(2, 2).T])
        log_pi = eta - logsumexp(eta, axis=1, keepdims=True)
        pi = np.exp(log_pi)[:, 1:]
        information = sum(
            np.kron(np.diag(p) - np.outer(p, p), np.outer(row, row)) for p, row in zip(pi, X, strict=True)
        )
        return logsumexp(log_pi + evidence, axis=1).sum() + 0.5 * np.linalg.slogdet(information)[1]

    best = minimize(lambda beta: -height(beta), np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    found = regress_membership(pd.DataFrame(evidence, columns=list("abc")), design)
    np.testing.assert_allclose(found.effects["estimate"], best.x, atol=1e-5)
    assert found.effects[["model", "reference"]].to_numpy().tolist() == [["b", "a"]] * 2 + [["c", "a"]] * 2
    assert found.converged


def test_intervals_hold_the_truth_where_counting_best_models_does_not():
    # 40 people a study, evidence of 2 nats on average, an effect of .8: 95 % of 60 intervals, less three errors
    rng, held, counted = np.random.default_rng(16), [], []
    for _ in range(60):
        x = rng.standard_normal(40)
        uses = rng.random(40) < 1.0 / (1.0 + np.exp(-0.2 - 0.8 * x))
        advantage = rng.normal(np.where(uses, 2.0, -2.0), 2.0)
        evidence = pd.DataFrame({"one": 0.0, "two": advantage})
        row = regress_membership(evidence, design_of(x=x)).effects.iloc[1]
        held.append(row["conf_low"] <= 0.8 <= row["conf_high"])
        counted.append(firth_logistic((advantage > 0).astype(float), design_of(x=x).matrix).beta[1])
    assert np.mean(held) > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 60)
    assert np.mean(counted) < 0.65


def test_evidences_that_say_little_do_not_take_tens_of_thousands_of_evaluations(monkeypatch):
    """The likelihood is flat there, and the penalty's curvature decides: without it, 100,000 evaluations."""
    rng, evaluated = np.random.default_rng(1), []
    design = design_of(age=rng.normal(40.0, 9.0, 8), group=["a", "b"] * 4)
    evidence = pd.DataFrame({"one": 0.0, "two": rng.normal(1.0, 1.0, 8)})

    def counted(*arguments):
        evaluated.append(1)
        return evaluate(*arguments)

    evaluate = membership._evaluate
    monkeypatch.setattr(membership, "_evaluate", counted)
    found = regress_membership(evidence, design)
    assert found.converged
    assert found.effects.notna().all(axis=None)
    assert len(evaluated) < 10_000


def test_people_whom_evidences_do_not_tell_say_nothing():
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal(40), np.tile([0.0, 1.0], 20)
    told = pd.DataFrame({"one": -SURE * y, "two": SURE * (y - 1.0)})
    everybody = regress_membership(pd.concat([told, 0.0 * told]), design_of(x=np.tile(x, 2)))
    alone = regress_membership(told, design_of(x=x))
    np.testing.assert_allclose(everybody.effects["std_error"], alone.effects["std_error"], rtol=0.05)
    with pytest.raises(DataError, match="participants"):
        regress_membership(told[:2], build_design("~ 1", pd.DataFrame({"participant": [0, 1]})).of_some([0], ["0"]))


def test_limits_are_found_where_a_profile_has_several_peaks():
    """Four people of whom the choices say nothing: swapping the models changes signs, so that limits are symmetric."""
    people = pd.DataFrame({"participant": list("abcd"), "age": [25.0, 47.0, 25.0, 28.0]})
    advantage = np.array([1e-6, -1e-6, -2e-6, 0.0])
    evidence = pd.DataFrame({"one": -advantage, "two": advantage}, index=list("abcd"))
    found = regress_membership(evidence, build_design("~ age", people)).effects
    np.testing.assert_allclose(found["conf_low"], -found["conf_high"], rtol=1e-4)
    assert (found["conf_high"] > 0).all()
