"""The ladder: rungs predict the same choices, and simulated people choose by the probabilities that are kept."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.ladder.measure import COLUMNS, ladder, table  # noqa: E402
from benchmarks.ladder.mechanisms import MECHANISMS, simulate  # noqa: E402


@pytest.fixture(scope="module")
def trials():
    return simulate(seed=1, per_mechanism=8)


def test_true_probabilities_are_calibrated(trials):
    """The mean loss of the choices is the entropy that their probabilities promise, within 4 standard errors."""
    assert set(trials["mechanism"]) == set(MECHANISMS)
    p = trials["probability"].to_numpy()
    first = trials["trial"] == 0
    assert np.allclose(p[first], 1 / 3)
    # the expected value of 1 / p over the choices that could be made is their number
    weight = 1 / p[~first]
    assert abs(weight.mean() - 3) < 4 * weight.std() / np.sqrt(len(weight))


def test_a_table_of_ones_own(trials, tmp_path):
    path = tmp_path / "trials.csv"
    trials[COLUMNS].to_csv(path, index=False)
    found = ladder(f"{path}:3,6")
    assert found["n_choices"] == 40 * 2 * 14
    assert found["n_people"] == 40
    assert found["history"] < found["ten_states"] + 0.05 < found["shares"]
    assert 0.5 < found["accuracy"] < 1
    assert "true_parameters" not in found
    assert f"| {found['history']:.4f} |" in table({"own": found})
