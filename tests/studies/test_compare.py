"""spice_compare: evidence is what the fits say, and fits of different data are refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ConfigError, DataError, ExclusionWarning, FormulaError
from spicestat.fit.api import spice_fit
from spicestat.fit.evidence import ModelEvidence, same_choices
from spicestat.group.formula.design import build_design
from spicestat.simulate import simulate_cohort
from spicestat.studies.compare import spice_compare
from spicestat.studies.membership import regress_membership
from spicestat.tasks import spice_task
from spicestat.trials.reading import read_trials

# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ContradictionWarning")


@pytest.fixture(scope="module")
def trials():
    return read_trials(simulate_cohort(6, 160, n_blocks=8, seed=4).trials, block="block")


@pytest.fixture(scope="module")
def fits(trials):
    return {name: spice_fit(trials, model=name, epochs=10) for name in ("rescorla_wagner", "learning_rate")}


def test_criteria_are_those_of_the_refit(fits):
    found = spice_compare(fits, "bic")
    for name, fit in fits.items():
        result = fit.model.refit
        k = (result.equations.status == 1).sum(axis=1)
        bic = -2 * result.log_likelihood + k * np.log(result.n_trials)
        row = found.tidy().set_index("model").loc[name]
        np.testing.assert_allclose(-2 * found.evidence[name], bic)
        assert row["bic"] == pytest.approx(bic.sum())
        assert row["aic"] == pytest.approx(fit.glance()["aic"].item())
        assert row["log_lik"] == pytest.approx(result.log_likelihood.sum())


def test_ibic_is_that_of_the_likelihood_over_the_population(fits):
    found = spice_compare(fits)
    assert found.criterion == "ibic"
    for name, fit in fits.items():
        kept = fit.coefficients.info["population"]
        free = (fit.model.equations.status == 1).any(axis=0).sum()
        size = free + free * (free + 1) / 2 + 1
        ibic = -2 * sum(kept["log_marginal"]) + size * np.log(fit.model.refit.n_trials.sum())
        row = found.tidy().set_index("model").loc[name]
        assert row["ibic"] == pytest.approx(ibic)
        assert -2 * found.evidence[name].sum() == pytest.approx(ibic)
        # a maximum is above any mean
        assert (np.array(kept["log_marginal"]) < fit.model.refit.log_likelihood + 1e-6).all()


def test_models_of_all_kinds_are_compared():
    task = spice_task("bandit")
    trials = read_trials(task.simulate(12, seed=3).trials, **task.columns)
    fits = {
        "published": spice_fit(trials, model="bandit"),
        "history": spice_fit(trials),
        "network": spice_fit(trials, model="rescorla_wagner", epochs=10),
    }
    found = spice_compare(fits).tidy().set_index("model")
    assert found["log_marginal"]["history"] == pytest.approx(fits["history"].glance()["log_marginal"].item())
    assert found["log_marginal"]["published"] == pytest.approx(
        fits["published"].glance()["log_marginal"].item(), abs=0.5
    )
    # the same equations, in other words
    assert found["log_lik"]["published"] == pytest.approx(found["log_lik"]["network"], abs=0.1)
    assert abs(found["log_marginal"]["published"] - found["log_marginal"]["network"]) < 5
    assert found["ibic"]["published"] < found["ibic"]["history"]
    with pytest.raises(ConfigError, match=r"'published', a TaskFit.*ibic"):
        spice_compare(fits, "evidence")


def test_choices_that_only_others_predict_count_as_guesses():
    few = ModelEvidence(
        n_choices=np.array([9, 5]),
        by_chance=-np.array([9, 5]) * np.log(2),
        log_lik=np.array([-4.0, -3.0]),
        n_own=np.array([1, 1]),
        log_marginal=np.array([-5.0, -3.5]),
        n_population=2,
    )
    many = replace(few, n_choices=np.array([10, 5]), by_chance=-np.array([10, 5]) * np.log(2))
    first, second = same_choices([few, many])
    np.testing.assert_allclose(first.log_lik, [-4.0 - np.log(2), -3.0])
    np.testing.assert_allclose(first.log_marginal, [-5.0 - np.log(2), -3.5])
    np.testing.assert_allclose(second.log_lik, many.log_lik, rtol=1e-12)
    np.testing.assert_array_equal(first.n_choices, second.n_choices)
    # -2 (sum of log likelihoods) + d log(choices), whoever's part it is
    assert -2 * first.ibic.sum() == pytest.approx(2 * (8.5 + np.log(2)) + 2 * np.log(15))


def test_the_table_is_sorted_and_adds_up(fits):
    found = spice_compare(fits, "aic")
    table = found.tidy()
    assert table["delta"].iloc[0] == 0
    assert table["log_evidence"].is_monotonic_decreasing
    for column in ("frequency", "exceedance_prob", "protected_exceedance_prob", "fixed_prob"):
        assert table[column].sum() == pytest.approx(1)
    by_name = table.set_index("model")
    best = found.evidence.idxmax(axis=1).value_counts()
    assert by_name["n_best"].to_dict() == {name: best.get(name, 0) for name in fits}
    for position, name in enumerate(fits):
        row, selection = by_name.loc[name], found.selection
        assert row["delta"] == pytest.approx(2 * (found.evidence.sum().max() - found.evidence[name].sum()))
        assert row["exceedance_prob"] == selection.exceedance[position]
        assert row["protected_exceedance_prob"] == selection.protected_exceedance[position]
    # protection moves probabilities towards one half
    assert (abs(by_name["protected_exceedance_prob"] - 0.5) < abs(by_name["exceedance_prob"] - 0.5)).all()
    np.testing.assert_allclose(found.attribution.sum(axis=1), 1)
    assert found.glance()[["n_participants", "n_models", "n_excluded"]].to_numpy().tolist() == [[6, 2, 0]]
    assert found.evidence.index.tolist() == list(fits["learning_rate"].trials.participants)


@pytest.mark.filterwarnings("ignore::spicestat.errors.ExclusionWarning")
def test_the_evidence_charges_more_than_the_likelihood(fits):
    found = spice_compare(fits, "evidence")
    result = fits["learning_rate"].model.refit
    people = [fits["learning_rate"].trials.participants.index(label) for label in found.evidence.index]
    assert (found.evidence["learning_rate"].to_numpy() < result.log_likelihood[people]).all()
    assert len(found.evidence) + len(found.excluded) == 6


def test_other_trials_are_refused(fits, trials):
    other = simulate_cohort(6, 160, n_blocks=8, seed=9).trials
    strange = spice_fit(other, block="block", model="rescorla_wagner", epochs=1)
    with pytest.raises(DataError, match="different choices"):
        spice_compare({"one": fits["learning_rate"], "other": strange})


def test_settings_are_checked(fits):
    with pytest.raises(ConfigError, match="two fits"):
        spice_compare({"one": fits["learning_rate"]})
    with pytest.raises(ConfigError, match="unknown criterion"):
        spice_compare(fits, "dic")


def people_of(trials):
    age = np.linspace(20.0, 60.0, trials.n_participants)
    return pd.DataFrame({"participant": list(trials.participants), "age": age})


def test_memberships_are_regressed_on_covariates(fits, trials):
    people = people_of(trials)
    found = spice_compare(fits, formula="~ age", data=people)
    direct = regress_membership(found.evidence, build_design("~ age", people))
    pd.testing.assert_frame_equal(found.tidy("membership"), direct.effects)
    pd.testing.assert_frame_equal(found.tidy("membership_tests"), direct.tests)
    assert found.tidy("membership")[["model", "reference", "term"]].to_numpy().tolist() == [
        ["learning_rate", "rescorla_wagner", "(Intercept)"],
        ["learning_rate", "rescorla_wagner", "age"],
    ]
    pd.testing.assert_frame_equal(found.tidy(), spice_compare(fits).tidy())
    people.loc[1, "age"] = np.nan
    with pytest.warns(ExclusionWarning, match="age"):
        fewer = spice_compare(fits, formula="~ age", data=people)
    assert len(fewer.membership.probability) == 5


def test_memberships_need_a_formula_without_random_parts(fits, trials):
    people = people_of(trials)
    with pytest.raises(ConfigError, match="pass `formula`"):
        spice_compare(fits).tidy("membership")
    with pytest.raises(ConfigError, match="pass `formula` too"):
        spice_compare(fits, data=people)
    with pytest.raises(ConfigError, match="unknown table"):
        spice_compare(fits).tidy("people")
    with pytest.raises(FormulaError, match="no random parts"):
        spice_compare(fits, formula="~ 1 + (1 | age)", data=people.assign(age=["a", "b"] * 3))
