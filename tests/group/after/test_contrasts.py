"""What tests/reference/test_emmeans.py does not compare with R."""

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ConfigError, ExclusionWarning, IdentifiabilityWarning
from spicestat.group import spice_group
from spicestat.group.after.contrasts import (
    contrast_weights,
    contrasts,
    joint_contrasts,
)
from spicestat.group.after.hypotheses import linear_hypotheses, term_tests
from spicestat.group.after.marginal_means import marginal_means
from spicestat.group.inference.multiplicity import adjust_p_values

KEY = ("x_value", "reward")


@pytest.fixture
def group(cohort):
    table, people = cohort(terms=("reward", "1"))
    return spice_group(table, "~ diagnosis * smokes + age", data=people)


def test_weights_can_be_given_as_a_mapping_or_a_table(group):
    means = marginal_means(group, "diagnosis")
    own = contrasts(means, {"ill - healthy": [0.5, 0.5, -1], "sum": [1, 1, 1]})
    estimates = means.frame["estimate"].to_numpy().reshape(2, 3)
    expected = np.column_stack([estimates[:, :2].mean(axis=1) - estimates[:, 2], estimates.sum(axis=1)])
    np.testing.assert_allclose(own["estimate"], expected.ravel(), rtol=1e-12)
    table = pd.DataFrame([[0.5, 0.5, -1], [1, 1, 1]], index=["ill - healthy", "sum"])
    pd.testing.assert_frame_equal(contrasts(means, table), own)


def test_families_are_all_tests_or_those_of_an_equation(group):
    means = marginal_means(group, "diagnosis", by="smokes")
    everything = contrasts(means, adjust="holm")
    p_values = everything["p_value"].to_numpy()
    np.testing.assert_allclose(everything["p_adjusted"], adjust_p_values(p_values, "holm"))
    apart = contrasts(means, adjust="holm", family="equation")["p_adjusted"].to_numpy()
    expected = [adjust_p_values(p_values[start : start + 3], "holm") for start in range(0, 12, 3)]
    np.testing.assert_allclose(apart, np.concatenate(expected))
    assert (apart <= everything["p_adjusted"]).all()
    assert (apart < everything["p_adjusted"]).any()


def test_a_control_is_named_by_label_or_position(group):
    means = marginal_means(group, ["diagnosis", "smokes"])
    by_name = contrasts(means, "trt.vs.ctrl", reference="(healthy, TRUE)")
    assert by_name["contrast"].iloc[0] == "(bipolar, FALSE) - (healthy, TRUE)"
    pd.testing.assert_frame_equal(contrasts(means, "trt.vs.ctrl", reference=5), by_name)
    pd.testing.assert_frame_equal(contrasts(means, "trt.vs.ctrl", reference=-1), by_name)


def test_withheld_inference_gives_no_p_values(cohort):
    table, people = cohort()
    table["at_bound"] = np.arange(24) < 8
    with pytest.warns(IdentifiabilityWarning), pytest.warns(ExclusionWarning):
        group = spice_group(table, "~ diagnosis", data=people)
    means = marginal_means(group, "diagnosis")
    for frame in (
        contrasts(means),
        contrasts(means, adjust="tukey"),
        joint_contrasts(means),
        term_tests(group),
        linear_hypotheses(group, {"a": {"diagnosishealthy": 1}}),
    ):
        assert frame[["p_value", "p_adjusted"]].isna().all(axis=None)
        assert np.isfinite(frame["statistic"]).all()


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"method": "poly"}, "unknown contrasts"),
        ({"method": {"a": [1, -1]}}, "one weight per mean.*bipolar, depression, healthy"),
        ({"method": {}}, "one weight per mean"),
        ({"method": "trt.vs.ctrl", "reference": "mania"}, "not among the levels"),
        ({"method": "trt.vs.ctrl", "reference": 3}, "not among the levels"),
        ({"method": "consec", "adjust": "tukey"}, "for all pairs"),
        ({"scale": "natural"}, "`scale` is unknown"),
        ({"scale": "ratio"}, "knows no ratios"),
        ({"family": "both"}, "`family` is unknown"),
        ({"adjust": "fdr"}, "unknown adjustment"),
    ],
)
def test_unknown_settings_are_errors(group, settings, match):
    with pytest.raises(ConfigError, match=match):
        contrasts(marginal_means(group, "diagnosis"), **settings)


def test_one_mean_has_no_contrasts(group):
    with pytest.raises(ConfigError, match="at least two means"):
        contrasts(marginal_means(group))


def test_pairs_are_in_the_order_of_r():
    assert contrast_weights(["a", "b", "c"], "revpairwise")[1] == ["b - a", "c - a", "c - b"]
    assert contrast_weights(["a", "b", "c"], "consec")[1] == ["b - a", "c - b"]
