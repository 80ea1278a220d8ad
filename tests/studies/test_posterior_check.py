"""posterior_check: the wiring of a fit, a group model's draws and the choice curves."""

from types import SimpleNamespace

import numpy as np
import pytest

from spicestat.errors import ConfigError
from spicestat.group.posterior.engine import load_arviz
from spicestat.simulate.environments import BanditsDrift
from spicestat.studies.posterior_check import _draws, posterior_check


def group_of(fit, change=0.0, people=None, **links):
    """What a Bayesian group model would give if everybody's coefficients were known (plus a change)."""
    equations = fit.model.equations
    participants = list(fit.trials.participants)
    kept = list(range(len(participants))) if people is None else people
    values = equations.coefficients[kept] + change
    draws = np.broadcast_to(values, (2, 20, *values.shape)).copy()
    pytest.importorskip("numpyro")
    data = load_arviz().from_dict(
        posterior={"coefficient": draws},
        coords={
            "participant": [participants[k] for k in kept],
            "equation_term": [f"{module}:{term}" for module, term in equations.terms],
        },
        dims={"coefficient": ["participant", "equation_term"]},
    )
    return SimpleNamespace(links=links, posterior=SimpleNamespace(inference_data=data))


def test_observed_shares_are_those_of_the_trials(tiny_fit, small_cohort):
    table = posterior_check(tiny_fit, group_of(tiny_fit), n_bins=2, n_replicates=10)
    choice = small_cohort.trials["choice"].to_numpy().reshape(9, 20)
    same = choice[:, 1:] == choice[:, :-1]
    assert table["n_choices"].tolist() == [81, 90]
    np.testing.assert_allclose(table["observed"], [same[:, :9].mean(), same[:, 9:].mean()])
    assert table["predicted"].between(0, 1).all()


def test_choices_by_chance_repeat_half_of_the_time(tiny_fit):
    # 40 replicates of 171 choices between two: their mean has a standard error of .006
    chance = group_of(tiny_fit)
    values = chance.posterior.inference_data.posterior["coefficient"]
    values[:] = 0.0
    table = posterior_check(tiny_fit, chance, n_bins=1, n_replicates=40)
    assert table["predicted"].iloc[0] == pytest.approx(0.5, abs=0.025)


def test_some_participants_only(tiny_fit):
    table = posterior_check(tiny_fit, group_of(tiny_fit, people=[2, 0]), n_bins=1, n_replicates=4)
    assert table["n_choices"].tolist() == [6 * 19]


def test_curves_by_covariate(tiny_fit):
    table = posterior_check(tiny_fit, group_of(tiny_fit), by="diagnosis", n_bins=1, n_replicates=4)
    groups = tiny_fit.people["diagnosis"].unique()
    assert set(table["group"].dropna()) == set(groups)
    assert table["n_choices"].iloc[1:].sum() == table["n_choices"].iloc[0]


def test_draws_are_taken_back_to_the_natural_scale(tiny_fit):
    term = tiny_fit.model.equations.terms[1]
    group = group_of(tiny_fit)
    values = group.posterior.inference_data.posterior["coefficient"]
    values[:] = np.log(0.25)
    group.links = {term: "logit", tiny_fit.model.equations.terms[2]: "log"}
    _, draws = _draws(tiny_fit, group)
    np.testing.assert_allclose(draws[:, :, :3], np.broadcast_to([np.log(0.25), 0.2, 0.25], (40, 3, 3)))


def test_curves_by_covariate_are_of_those_who_have_it(tiny_fit, small_cohort):
    """The observed shares, participants in another order than that of the fit."""
    table = posterior_check(tiny_fit, group_of(tiny_fit, people=[2, 1]), by="diagnosis", n_bins=1, n_replicates=2)
    choice = small_cohort.trials["choice"].to_numpy().reshape(3, 3, 20)
    same = (choice[..., 1:] == choice[..., :-1]).mean(axis=(1, 2))
    label = tiny_fit.people.set_index("participant")["diagnosis"]
    group = np.array([label[name] for name in tiny_fit.trials.participants])
    for row in table.dropna(subset="group").itertuples():
        assert row.observed == pytest.approx(same[1:][group[1:] == row.group].mean())


def test_playing_anew(tiny_fit):
    table = posterior_check(
        tiny_fit,
        group_of(tiny_fit),
        event="most_rewarded",
        environment=BanditsDrift(sigma=0.1),
        n_bins=3,
        n_replicates=5,
    )
    assert len(table) == 3
    assert (table["conf_low"] <= table["conf_high"]).all()


def test_what_cannot_be_checked_is_refused(tiny_fit):
    with pytest.raises(ConfigError, match="no posterior draws"):
        posterior_check(tiny_fit, SimpleNamespace(links={}, posterior=None))
    with pytest.raises(ConfigError, match="together"):
        posterior_check(tiny_fit, group_of(tiny_fit), by="diagnosis", environment=BanditsDrift(sigma=0.1))
