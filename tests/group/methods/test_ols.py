import numpy as np
import pytest

from spicestat.errors import DataError, ShapeError
from spicestat.group import spice_group
from spicestat.group.methods.ols import least_squares_hc3


def test_ols_is_labelled_naive_and_needs_no_standard_error(cohort):
    frame, people = cohort()
    result = spice_group(frame.assign(std_error=np.nan), "~ age", data=people, method="ols")
    assert result.glance()["method"].tolist() == ["ols (naive)"]
    assert "naive baseline" in result.messages[0]
    assert "naive baseline" in result.summary()
    assert result.tidy("ran_pars")["term"].tolist() == ["sd__Observation"]
    assert np.isfinite(result.tidy()["p_value"]).all()


def test_leverage_one_is_named():
    X = np.column_stack([np.ones(5), [1.0, 0, 0, 0, 0]])
    with pytest.raises(DataError, match="alone determines a coefficient"):
        least_squares_hc3(np.arange(5.0), X)


def test_leverage_one_in_a_group_call_names_the_reason(cohort):
    frame, people = cohort(9)
    people["diagnosis"] = ["bipolar"] + ["healthy"] * 8
    with pytest.raises(DataError, match="alone determines a coefficient"):
        spice_group(frame, "~ diagnosis", data=people, method="ols")


def test_shapes_are_checked():
    with pytest.raises(ShapeError):
        least_squares_hc3(np.ones(3), np.ones((3, 3)))
