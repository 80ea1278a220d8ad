"""Reliability: limits that are known, invariances, and calibrated intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.studies.icc import icc, spearman_brown, split_half

SEEDS = st.integers(0, 10**6)


def ratings(seed, n=20, k=3, noise=0.7):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + rng.normal(0, noise, (n, k))


@given(SEEDS)
@settings(max_examples=25)
def test_units_and_order_do_not_matter(seed):
    x = ratings(seed)
    one, other = icc(x).tidy(), icc(3.0 - 5.0 * x[::-1, ::-1]).tidy()
    numbers = [name for name in one if name != "type"]
    np.testing.assert_allclose(other[numbers], one[numbers], rtol=1e-7, atol=1e-9)


def test_a_shift_of_one_session_lowers_agreement_but_not_consistency():
    x = ratings(1)
    before, after = (icc(table).tidy().set_index("type")["estimate"] for table in (x, x + [0.0, 2.0, 0.0]))
    assert after["ICC3"] == pytest.approx(before["ICC3"], rel=1e-9)
    assert after["ICC2"] < before["ICC2"] - 0.1
    assert after["ICC1"] < after["ICC2"]


def test_averages_are_stepped_up_single_ratings():
    table = icc(ratings(2)).tidy().set_index("type")
    for form in ("ICC1", "ICC2", "ICC3"):
        for column in ("estimate", "conf_low", "conf_high"):
            assert table.loc[f"{form}k", column] == pytest.approx(spearman_brown(table.loc[form, column], 3), rel=1e-9)


def test_perfect_ratings_have_correlation_one():
    table = icc(np.repeat(np.arange(5.0)[:, None], 3, axis=1)).tidy()
    assert table[["estimate", "conf_low", "conf_high"]].eq(1.0).all(axis=None)
    assert (table["p_value"] == 0).all()


def test_rows_with_missing_ratings_are_left_out_and_counted():
    x = ratings(3)
    x[[2, 7], [0, 1]] = np.nan
    found = icc(x)
    assert found.glance()[["n_targets", "n_excluded"]].to_numpy().tolist() == [[18, 2]]
    assert found.tidy().equals(icc(np.delete(x, [2, 7], axis=0)).tidy())
    with pytest.raises(DataError, match="2 rows have a missing rating"):
        icc(x, missing="error")


@pytest.mark.parametrize(
    ("x", "kind"),
    [
        (np.ones((4, 1)), ShapeError),
        (np.ones(4), ShapeError),
        (np.ones((4, 2)), DataError),
        (np.full((2, 2), np.inf), DataError),
    ],
)
def test_unusable_ratings_are_refused(x, kind):
    with pytest.raises(kind):
        icc(x)


def test_intervals_of_intraclass_correlations_cover():
    """200 draws of n = 15, k = 3 with ICC .5: coverage below the 1e-4 quantile of a true 95 % fails."""
    low, high = np.array(
        [icc(ratings(seed, n=15, noise=1.0)).table.iloc[0][["conf_low", "conf_high"]] for seed in range(200)]
    ).T
    assert ((low <= 0.5) & (high >= 0.5)).sum() >= binom.ppf(1e-4, 200, 0.95)


def test_split_half_leaves_out_incomplete_pairs():
    rng = np.random.default_rng(4)
    a = rng.normal(size=12)
    b = a + rng.normal(0, 0.5, 12)
    with_hole = split_half(np.append(a, np.nan), np.append(b, 1.0))
    assert with_hole == split_half(a, b)
    r = np.corrcoef(a, b)[0, 1]
    assert with_hole.correlation == pytest.approx(r)
    assert with_hole.reliability == pytest.approx(2 * r / (1 + r))
    assert with_hole.conf_low < with_hole.reliability < with_hole.conf_high


def test_split_half_of_one_thing_twice_is_perfect():
    found = split_half(np.arange(6.0), np.arange(6.0))
    assert (found.reliability, found.conf_low, found.conf_high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(("a", "b"), [(np.ones(3), np.ones(3)), (np.ones(5), np.arange(5.0))])
def test_split_half_refuses_what_has_no_correlation(a, b):
    with pytest.raises(DataError):
        split_half(a, b)


def test_settings_are_checked():
    x = ratings(0)
    with pytest.raises(ConfigError, match="conf_level"):
        icc(x, conf_level=1.0)
    with pytest.raises(ConfigError, match="missing"):
        icc(x, missing="drop")
    with pytest.raises(ShapeError):
        split_half(x[:, 0], x[:5, 0])
