"""Choice curves of replicated data: what is counted, and whether the check tells good from bad predictions."""

import numpy as np
import pytest

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.studies.choice_curves import choice_curve_check, choice_events, reference_actions

CHOICE = np.array([[0, 1, -1, 1, 0], [1, 1, 0, 0, 1]])
REWARD = np.array([[1.0, 0.0, np.nan, 1.0, 0.0], [0.0, np.nan, 0.0, 1.0, 0.0]])


def test_repeated_choices_need_the_one_before():
    events = choice_events(CHOICE, reference_actions("repeated", CHOICE, REWARD))
    np.testing.assert_array_equal(events, [[np.nan, 0, np.nan, np.nan, 0], [np.nan, 1, 0, 1, 0]])


def test_most_rewarded_is_by_mean_reward_so_far():
    reference = reference_actions("most_rewarded", CHOICE, REWARD)
    # second row: both are at 0 until the fourth trial's reward
    assert reference.tolist() == [[-1, -1, 0, 0, 0], [-1, -1, -1, -1, 0]]


def test_the_better_action_must_be_known():
    better = np.zeros_like(CHOICE)
    assert reference_actions("better", CHOICE, REWARD, better).tolist() == better.tolist()
    for wrong in (None, better[:1]):
        with pytest.raises(ConfigError, match="best on every trial"):
            reference_actions("better", CHOICE, REWARD, wrong)
    with pytest.raises(ConfigError, match="unknown reference"):
        reference_actions("worse", CHOICE, REWARD)


def rising(rng, rate):
    """Events of 60 sequences whose probability rises over 40 trials."""
    return (rng.random((60, 40)) < 0.5 + rate * np.arange(40) / 100).astype(float)


def check(observed, rate, **settings):
    draws = np.full((100, 60, 1), rate)
    return choice_curve_check(observed, lambda c, rng: rising(rng, c[0, 0]), draws, n_bins=4, seed=1, **settings)


def test_the_true_process_is_within_the_intervals_and_another_is_not():
    # four 95 % intervals all hold with probability .81; the seed is one where they do
    observed = rising(np.random.default_rng(2), 1.0)
    good, bad = check(observed, 1.0), check(observed, 0.0)
    assert good["observed"].between(good["conf_low"], good["conf_high"]).all()
    assert (good["p_value"] > 0.05).all()
    assert not bad["observed"].between(bad["conf_low"], bad["conf_high"]).iloc[2:].any()
    assert (bad["p_value"].iloc[2:] < 0.05).all()


def test_shares_and_counts_are_those_of_the_bins():
    observed = rising(np.random.default_rng(3), 1.0)
    observed[:30, 35:] = np.nan
    table = check(observed, 1.0)
    assert table["trial_low"].tolist() == [1, 11, 21, 31]
    assert table["trial_high"].tolist() == [10, 20, 30, 40]
    assert table["n_choices"].tolist() == [600, 600, 600, 450]
    np.testing.assert_allclose(table["observed"], [np.nanmean(observed[:, a : a + 10]) for a in (0, 10, 20, 30)])


def test_groups_have_curves_of_their_own():
    observed = rising(np.random.default_rng(4), 1.0)
    observed[30:] = 0.0
    table = check(observed, 1.0, groups=["a"] * 30 + ["b"] * 30)
    assert list(dict.fromkeys(table["group"])) == [None, "a", "b"]
    assert (table[table["group"] == "b"]["observed"] == 0).all()
    assert (table[table["group"] == "b"]["p_value"] == 0).all()


def test_predictions_for_a_group_are_of_its_own_replicates():
    observed = np.array([[1.0] * 8, [1.0] * 8, [0.0] * 8])
    draws = np.zeros((10, 3, 1))
    table = choice_curve_check(observed, lambda c, rng: observed, draws, groups=["a", "a", "b"], n_bins=2)
    assert table["group"].tolist() == [None, None, "a", "a", "b", "b"]
    for column in ("predicted", "conf_low", "conf_high"):
        np.testing.assert_allclose(table[column], [2 / 3, 2 / 3, 1, 1, 0, 0])


def test_intervals_and_p_values_of_known_replicates():
    """Draws give shares of 0, .01, ..., .99; 5 of 100 are at most .04."""
    draws = np.arange(100.0).reshape(100, 1, 1)

    def replicate(coefficients, rng):
        return (np.arange(100) < coefficients[0, 0]).astype(float)[None, :]

    observed = (np.arange(100) < 4).astype(float)[None, :]
    row = choice_curve_check(observed, replicate, draws, n_bins=1, n_replicates=100, conf_level=0.9).iloc[0]
    assert row["p_value"] == pytest.approx(2 * 0.05)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((0.0495, 0.9405))
    assert row["predicted"] == pytest.approx(0.495)


def test_replicates_use_different_draws_and_the_seed_decides():
    seen = []

    def replicate(coefficients, rng):
        seen.append(float(coefficients[0, 0]))
        return rising(rng, 1.0)

    draws = np.arange(50.0).reshape(50, 1, 1)
    observed = rising(np.random.default_rng(5), 1.0)
    one = choice_curve_check(observed, replicate, draws, n_replicates=5, seed=3)
    assert seen == [0, 12, 24, 36, 49]
    assert one.equals(choice_curve_check(observed, replicate, draws, n_replicates=5, seed=3))


def test_what_does_not_fit_together_is_refused():
    observed = np.ones((3, 4))
    draws = np.ones((5, 3, 1))
    with pytest.raises(ShapeError, match="wrong shape"):
        choice_curve_check(observed, lambda c, rng: observed, draws[0])
    with pytest.raises(ShapeError, match="groups"):
        choice_curve_check(observed, lambda c, rng: observed, draws, groups=["a"])
    with pytest.raises(ShapeError, match="same sequences"):
        choice_curve_check(observed, lambda c, rng: observed[:2], draws, groups=["a", "b", "b"])
    with pytest.raises(DataError, match="no trial"):
        choice_curve_check(observed * np.nan, lambda c, rng: observed, draws)
