"""Agreement with R to 1e-6 relative: psych::ICC and model selection.

The values come from icc.R, the versions they were made with are in icc_versions.json.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from spicestat.studies.icc import icc
from spicestat.studies.model_selection import compare_models

REFERENCE = json.loads((Path(__file__).parent / "icc.json").read_text(encoding="utf-8"))


def array(values):
    return np.array([[np.nan if value is None else value for value in row] for row in values], dtype=float)


def names(cases):
    return [case["name"] for case in cases]


@pytest.mark.parametrize("case", REFERENCE["icc"], ids=names(REFERENCE["icc"]))
def test_intraclass_correlations_equal_psych(case):
    found = icc(array(case["ratings"]), conf_level=case["level"])
    assert found.n_targets == case["n"]
    assert found.n_excluded == len(case["ratings"]) - case["n"]
    table = found.tidy()
    assert table["type"].tolist() == case["type"]
    for column in ("estimate", "statistic", "num_df", "den_df", "conf_low", "conf_high"):
        np.testing.assert_allclose(table[column], case[column], rtol=1e-6, atol=1e-12, err_msg=column)
    # psych computes 1 - P(F), which loses the last digits of a small p
    np.testing.assert_allclose(table["p_value"], case["p_value"], rtol=1e-6, atol=1e-13)


@pytest.mark.parametrize("case", REFERENCE["selection"], ids=range(len(REFERENCE["selection"])))
def test_model_selection_equals_the_formulas_in_r(case):
    found = compare_models(array(case["evidence"]), prior=case["prior"])
    assert found.converged
    for ours, theirs in {
        "alpha": "alpha",
        "frequency": "frequency",
        "exceedance": "exceedance",
        "protected_exceedance": "protected",
        "omnibus_risk": "bor",
        "free_energy": "free_energy",
        "null_free_energy": "null_free_energy",
    }.items():
        np.testing.assert_allclose(getattr(found, ours), case[theirs], rtol=1e-6, atol=1e-9, err_msg=ours)
    np.testing.assert_allclose(found.attribution, array(case["attribution"]), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("case", [case for case in REFERENCE["selection"] if case["exact"] is not None])
def test_free_energy_is_a_close_lower_bound_of_the_exact_evidence(case):
    found = compare_models(array(case["evidence"]))
    assert case["exact"] - 1.0 < found.free_energy <= case["exact"]
