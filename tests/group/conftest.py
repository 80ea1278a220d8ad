"""Simulated coefficient tables for the group tests."""

import numpy as np
import pandas as pd
import pytest


def make_cohort(n=24, seed=0, slope=0.0, tau=0.3, terms=("reward",), module="x_value"):
    """Return a coefficient frame and a participant table of n participants."""
    rng = np.random.default_rng(seed)
    ids = [f"s{row:02d}" for row in range(n)]
    people = pd.DataFrame(
        {
            "participant": ids,
            "age": rng.integers(18, 70, n).astype(float),
            "diagnosis": [("healthy", "bipolar", "depression")[row % 3] for row in range(n)],
            "smokes": [row % 2 == 0 for row in range(n)],
        }
    )
    frames = []
    for term in terms:
        error = rng.uniform(0.05, 0.4, n)
        estimate = 0.4 + slope * people["age"] / 10 + rng.normal(0, tau, n) + rng.normal(0, error)
        frames.append(
            pd.DataFrame({"participant": ids, "module": module, "term": term, "estimate": estimate, "std_error": error})
        )
    return pd.concat(frames, ignore_index=True), people


@pytest.fixture(scope="session")
def cohort():
    """Give the function that simulates a cohort."""
    return make_cohort
