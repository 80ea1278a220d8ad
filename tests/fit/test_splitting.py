"""Sample splitting: the parts share no choice, and coefficients come from the estimation's blocks alone."""

import numpy as np
import pytest

from spicestat.equations.estimate.refit import refit
from spicestat.errors import ConfigError, ConvergenceWarning, DataError, SuspiciousDataWarning
from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.fit.splitting import spice_fit_split, split_blocks
from spicestat.group import spice_group
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ContradictionWarning")

SETTINGS = {"block": "block", "model": "rescorla_wagner", "epochs": 5}


@pytest.fixture(scope="module")
def cohort():
    return simulate_cohort(6, 160, n_blocks=4, seed=4)


@pytest.fixture(scope="module")
def trials(cohort):
    return read_trials(cohort.trials, block="block", people=cohort.people)


@pytest.fixture(scope="module")
def fit(cohort):
    return spice_fit_split(cohort.trials, people=cohort.people, split_seed=1, **SETTINGS)


@pytest.mark.parametrize(("share", "n_discovery"), [(0.5, 2), (0.25, 1), (0.01, 1), (0.99, 3)])
def test_blocks_are_dealt_out_within_participants(trials, share, n_discovery):
    split = split_blocks(trials, share, seed=3)
    counts = split.blocks.groupby(["participant", "part"]).size().unstack()
    assert counts["discovery"].eq(n_discovery).all()
    assert counts["estimation"].eq(4 - n_discovery).all()
    rows = np.concatenate([split.discovery.rows, split.estimation.rows])
    assert sorted(rows) == sorted(trials.rows)


def test_parts_hold_the_trials_of_their_blocks(trials):
    split = split_blocks(trials, seed=2)
    for part in (split.discovery, split.estimation):
        whole = trials.to_frame().set_index(["participant", "block", "trial"])
        own = part.to_frame().set_index(["participant", "block", "trial"])
        assert own.equals(whole.loc[own.index])
        assert part.participants == trials.participants
        assert part.record["n_rows"] == len(part.frame) == part.blocks["n_trials"].sum()
        SequenceDataset.from_trials(part)


def test_the_seed_decides(trials):
    one, same, other = (split_blocks(trials, seed=seed).blocks for seed in (1, 1, 2))
    assert one.equals(same)
    assert not one.equals(other)


def test_coefficients_are_those_of_the_estimation_blocks(fit, trials):
    split = split_blocks(trials, seed=1)
    result = refit(fit.model.network, SequenceDataset.from_trials(split.estimation), fit.model.equations)
    np.testing.assert_allclose(fit.coefficients.wide(), result.equations.coefficients, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(fit.trials.rows, split.estimation.rows)
    assert fit.coefficients.frame["n_trials"].eq(78).all()


def test_the_structure_is_that_of_the_discovery_blocks(fit, trials):
    split = split_blocks(trials, seed=1)
    alone = spice_fit(split.discovery, model="rescorla_wagner", epochs=5)
    np.testing.assert_array_equal(fit.model.equations.status, alone.model.equations.status)
    assert fit.coefficients.info["sample_splitting"] == {
        "share": 0.5,
        "seed": 1,
        "n_discovery": 468,
        "n_estimation": 468,
        "halved_blocks": 0,
    }


def test_a_split_fit_is_a_fit_like_any_other(fit, tmp_path):
    again = load_fit(fit.save(tmp_path / "fit"))
    assert again.tidy().equals(fit.tidy())
    assert again.coefficients.info["sample_splitting"]["share"] == 0.5
    assert len(spice_group(fit, "~ anxiety", max_unidentified=1.0).tidy())
    assert fit.choice_likelihood().n_trials.tolist() == [78] * 6


def test_a_warning_about_the_estimation_points_at_the_line_of_the_fit(cohort):
    stuck = (cohort.trials["participant"] == "p1") & (cohort.trials["trial"] > 1)
    trials = cohort.trials.assign(choice=cohort.trials["choice"].mask(stuck, 1))
    with pytest.warns(ConvergenceWarning, match="on their estimation blocks") as caught:
        spice_fit_split(trials, **SETTINGS)
    assert caught[0].filename == __file__


def test_single_blocks_are_refused_or_cut():
    single = read_trials(simulate_cohort(3, 41, n_blocks=1).trials)
    with pytest.raises(DataError, match="3 of 3 participants have a single block"):
        split_blocks(single)
    with pytest.warns(SuspiciousDataWarning, match="cut in two"):
        split = split_blocks(single, halve_single=True)
    assert split.discovery.frame.groupby("participant").size().tolist() == [20, 20, 20]
    assert split.estimation.frame["trial"].max() == 20
    with pytest.raises(DataError, match="fewer than 4"):
        split_blocks(
            read_trials(simulate_cohort(3, 3, n_blocks=1, seed=1).trials, unusable="exclude"), halve_single=True
        )


def test_settings_are_checked(trials):
    with pytest.raises(ConfigError, match="no such setting"):
        spice_fit_split(trials, epoch=3)
    with pytest.raises(ConfigError, match="read already"):
        spice_fit_split(trials, block="block")
    with pytest.raises(ConfigError, match="share"):
        split_blocks(trials, 1.0)
