"""Agreement of pooled imputations with R's mice.

The values come from rubin.R, the versions they were made with are in rubin_versions.json.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.group.inference.rubin import pooled_estimates
from spicestat.group.inputs.contract import GroupEstimates

CASES = json.loads((Path(__file__).parent / "rubin.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{len(case['estimate'])} imputations")
def test_pooling_is_that_of_mice(case):
    effect = {"module": "m", "sparse_term": "t", "term": "age", "df": float(case["complete"])}
    glance = pd.DataFrame({"module": ["m"], "sparse_term": ["t"], "nobs": [10], "converged": [True]})
    found = [
        GroupEstimates(
            pd.DataFrame([effect | {"estimate": estimate, "std_error": np.sqrt(variance)}]),
            pd.DataFrame(),
            glance,
            {("m", "t"): np.array([[variance]])},
        )
        for estimate, variance in zip(case["estimate"], case["variance"], strict=True)
    ]
    pooled = pooled_estimates(found, "missing 'age'")
    row = pooled.fixed.iloc[0]
    np.testing.assert_allclose(
        [row["estimate"], row["std_error"] ** 2, row["df"]], [case["pooled"], case["total"], case["df"]], rtol=1e-10
    )
    assert pooled.covariance[("m", "t")].item() == pytest.approx(case["total"])
