"""Cohorts of the audit card's benchmark: the planted pairs are what they are said to be."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.card import cohorts  # noqa: E402
from spicestat.studies.card_checks import pairs_of_coefficients  # noqa: E402


def test_the_correlation_of_every_kind_is_on_its_side_of_the_threshold():
    assert cohorts.oracle("clean") < 0.9
    assert cohorts.oracle("apart") < 0.97
    assert cohorts.oracle("edge") > 0.97


@pytest.mark.parametrize("kind", ["clean", "sum", "near", "edge", "apart"])
def test_one_cohort_of_each_kind(kind):
    """All 200 cohorts are judged rightly; this is the first."""
    flagged = {check.subject for check in pairs_of_coefficients(cohorts.history(kind, 0)) if check.flag}
    assert flagged == set(cohorts.STRUCTURES[kind][1])
