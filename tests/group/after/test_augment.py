"""What tests/reference/test_group_results.py does not compare with R."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from spicestat.errors import ExclusionWarning
from spicestat.group import spice_group
from spicestat.group.after.augment import augment

KEY = ("x_value", "reward")


def test_one_row_per_participant_and_equation_with_the_covariates(cohort):
    table, people = cohort(terms=("reward", "1"))
    group = spice_group(table, "~ diagnosis + age", data=people.sample(frac=1, random_state=1))
    frame = augment(group)
    assert len(frame) == 48
    assert frame.columns[:5].tolist() == ["participant", "diagnosis", "age", "module", "sparse_term"]
    merged = frame.merge(people, on="participant", suffixes=("", "_given"))
    assert (merged["age"] == merged["age_given"]).all()
    own = frame.merge(
        table, left_on=["participant", "module", "sparse_term"], right_on=["participant", "module", "term"]
    )
    np.testing.assert_array_equal(own["observed"], own["estimate"])
    np.testing.assert_allclose(frame["residual"], frame["observed"] - frame["fitted"])
    assert frame["hat"].groupby(frame["sparse_term"]).sum().to_numpy() == pytest.approx([4, 4])


def test_coefficients_that_did_not_enter_have_no_leverage(cohort):
    table, people = cohort()
    table["at_bound"] = np.arange(24) == 3
    table["selected"] = np.arange(24) != 5
    with pytest.warns(ExclusionWarning):
        group = spice_group(table, "~ age", data=people)
    frame = augment(group)
    out = [3, 5]
    assert np.flatnonzero(~frame["used"]).tolist() == out
    assert frame["used"].sum() == group.glance()["nobs"].item()
    assert frame.loc[out, ["residual", "hat", "std_residual", "cooks_distance"]].isna().all(axis=None)
    assert np.isfinite(frame.loc[out, "fitted"]).all()
    assert frame["observed"].isna().tolist() == [row == 5 for row in range(24)]
    assert frame["hat"].sum() == pytest.approx(2)


def test_posterior_means_are_fitted_values_plus_deviations_matched_by_label(cohort):
    table, people = cohort()
    ids = list(range(24))
    table["participant"], people["participant"] = ids, ids
    group = spice_group(table, "~ age", data=people)
    deviations = pd.DataFrame({"level": [str(label) for label in reversed(ids)], "estimate": np.linspace(1, 24, 24)})
    deviations = deviations.assign(std_error=0.2, module=KEY[0], sparse_term=KEY[1], term="(Intercept)")
    frame = augment(replace(group, ran_vals=deviations.iloc[1:]))
    np.testing.assert_allclose(frame["posterior_mean"][:23] - frame["fitted"][:23], np.arange(24, 1, -1))
    assert frame["posterior_mean"].isna().tolist() == [False] * 23 + [True]
    assert frame["used"].tolist() == [True] * 23 + [False]
    assert (frame["posterior_std_error"][:23] == 0.2).all()
    assert augment(group)["posterior_mean"].isna().all()


def test_with_a_link_estimates_are_moved_to_its_scale(cohort):
    table, people = cohort()
    table["estimate"] = expit(table["estimate"])
    table["std_error"] *= 0.1
    table.loc[2, "estimate"] = 1.0
    group = replace(spice_group(table, "~ age", data=people), links={KEY: "logit"})
    frame = augment(group)
    inside = np.arange(24) != 2
    alpha = table["estimate"].to_numpy()[inside]
    np.testing.assert_allclose(frame["observed"][inside], logit(alpha), rtol=1e-9)
    np.testing.assert_allclose(
        frame["std_error"][inside], table["std_error"].to_numpy()[inside] / (alpha * (1 - alpha)), rtol=1e-9
    )
    np.testing.assert_allclose(frame["fitted_natural"], expit(frame["fitted"]))
    assert frame.loc[2, ["observed", "std_error", "residual", "hat"]].isna().all()


def test_a_model_of_two_parts_shows_its_magnitudes(cohort):
    """A term whose size is known for nobody shows who has it."""
    table, people = cohort(terms=("reward", "1"))
    table["selected"] = np.arange(len(table)) % 3 > 0
    table.loc[table["term"] == "1", "std_error"] = np.nan
    frames = {}
    for method in ("meta", "presence", "hurdle"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExclusionWarning)
            group = spice_group(table, "~ age", data=people, method=method, max_unidentified=1.0)
        frames[method] = {key: own.reset_index(drop=True) for key, own in augment(group).groupby("sparse_term")}
    assert set(frames["meta"]) == {"reward"}
    pd.testing.assert_frame_equal(frames["hurdle"]["reward"], frames["meta"]["reward"])
    pd.testing.assert_frame_equal(frames["hurdle"]["1"], frames["presence"]["1"])
    assert set(frames["hurdle"]["1"]["observed"]) == {0.0, 1.0}
