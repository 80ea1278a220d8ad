import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicestat.errors import ConfigError, ShapeError
from spicestat.group.inference.multiplicity import ADJUSTMENTS, adjust_families, adjust_p_values

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(np.array)


@given(P_VALUES, st.sampled_from(ADJUSTMENTS), st.randoms())
def test_adjustment_does_not_depend_on_order(values, method, random):
    order = list(range(len(values)))
    random.shuffle(order)
    np.testing.assert_allclose(adjust_p_values(values[order], method), adjust_p_values(values, method)[order])


@given(P_VALUES, st.sampled_from(ADJUSTMENTS))
def test_adjusted_values_are_probabilities_not_below_the_raw_ones(values, method):
    adjusted = adjust_p_values(values, method)
    assert ((adjusted >= values * (1 - 1e-12)) & (adjusted <= 1)).all()


@given(P_VALUES)
def test_stricter_methods_give_larger_values(values):
    bh, by, holm, bonferroni = (adjust_p_values(values, name) for name in ("BH", "BY", "holm", "bonferroni"))
    slack = 1e-12
    assert (bh <= by + slack).all() and (bh <= holm + slack).all() and (holm <= bonferroni + slack).all()


def test_missing_tests_do_not_count():
    values = np.array([0.01, np.nan, 0.03])
    np.testing.assert_allclose(adjust_p_values(values, "bonferroni"), [0.02, np.nan, 0.06])


def test_families_are_adjusted_apart():
    values, families = np.array([0.01, 0.02, 0.03, 0.04]), ["age", "(Intercept)", "age", "(Intercept)"]
    np.testing.assert_allclose(adjust_families(values, families, "BH"), [0.02, 0.04, 0.03, 0.04])


def test_bad_input_is_named():
    with pytest.raises(ConfigError, match=r"Got: fdr.*Allowed: BH, BY"):
        adjust_p_values(np.array([0.1]), "fdr")
    with pytest.raises(ShapeError):
        adjust_p_values(np.ones((2, 2)))
