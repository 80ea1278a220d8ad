"""Agreement with R to 1e-6 relative: residuals, leverage, standardised effects, effects on the natural scale.

The values come from group_results.R, the versions they were made with are in group_results_versions.json.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.group import spice_group
from spicestat.group.after.augment import augment
from spicestat.group.after.average_effects import average_effects
from spicestat.group.after.standardised import hedges_correction, standardised_effects

REFERENCE = json.loads((Path(__file__).parent / "group_results.json").read_text(encoding="utf-8"))
PEOPLE = pd.DataFrame(REFERENCE["people"])
(MODEL,) = REFERENCE["models"]
KEY = ("x_value", "c_reward")


def group(method="meta"):
    people = PEOPLE.assign(participant=[f"s{row}" for row in range(len(PEOPLE))])
    table = people[["participant", "estimate"]].assign(
        module=KEY[0], term=KEY[1], std_error=np.sqrt(people["variance"].to_numpy())
    )
    return spice_group(table, MODEL["formula"], data=people, method=method)


def close(ours, theirs, rtol=1e-6):
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=rtol)


def test_residuals_and_leverage_equal_metafor():
    frame = augment(group())
    for ours, theirs in {
        "fitted": "fitted",
        "fitted_std_error": "se_fit",
        "hat": "hat",
        "std_residual": "std_residual",
    }.items():
        close(frame[ours], MODEL["meta"][theirs])


def test_residuals_leverage_and_cooks_distance_equal_lm():
    frame = augment(group("ols"))
    for name in ("hat", "std_residual", "cooks_distance"):
        close(frame[name], MODEL["ols"][name])


@pytest.mark.parametrize(
    ("kind", "small_sample", "block"),
    [("residual", False, "residual"), ("residual", True, "hedges"), ("total", False, "total")],
)
def test_standardised_effects_equal_the_formulas_in_r(kind, small_sample, block):
    frame = standardised_effects(group(), kind, small_sample=small_sample)
    assert frame["term"].tolist() == MODEL["terms"][1:]
    close(frame["estimate"], MODEL[block]["estimate"][1:])
    close(frame["std_error"], MODEL[block]["error"][1:])


def test_partial_correlations_equal_the_formulas_in_r():
    frame = standardised_effects(group(), "partial_r")
    for ours, theirs in {"estimate": "estimate", "std_error": "error", "conf_low": "low", "conf_high": "high"}.items():
        close(frame[ours], MODEL["partial_r"][theirs][1:])


def test_hedges_correction_equals_the_gamma_functions_of_r():
    close(hedges_correction(np.array([MODEL["df"]])), [MODEL["hedges"]["factor"]], rtol=1e-12)


def test_average_effects_with_a_logit_link_equal_integrals_in_r():
    frame = average_effects(replace(group(), links={KEY: "logit"})).set_index("contrast")
    for contrast, block in {"slope": "slope_age", "healthy - bipolar": "healthy_minus_bipolar"}.items():
        close(frame.loc[contrast, ["estimate", "std_error"]].astype(float), MODEL[block])
