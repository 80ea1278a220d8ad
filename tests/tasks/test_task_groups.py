"""Group models of task parameters: on the scale of their links, unless another one is asked for."""

import numpy as np
import pytest

from spicestat import spice_fit, spice_group, spice_task
from spicestat.group.inputs.likelihood import HasSkewness, own_links
from spicestat.group.inputs.links import choose_links, on_links


@pytest.fixture(scope="module")
def fit():
    task = spice_task("bandit")
    return spice_fit(task.simulate(12, 40, seed=2).trials, model="bandit", **task.columns)


def test_links_are_the_parameters_own_unless_others_are_given(fit):
    likelihood = fit.choice_likelihood()
    own = own_links(likelihood)
    assert own == {"bandit:alpha": "logit", "bandit:beta": "log"}
    assert [link.name for link in choose_links(likelihood.terms, None, own)] == ["logit", "log"]
    given = choose_links(likelihood.terms, {"bandit:beta": "identity"}, own)
    assert [link.name for link in given] == ["logit", "identity"]


def test_a_likelihood_works_on_the_scale_of_its_own_links(fit):
    likelihood = fit.choice_likelihood()
    links = choose_links(likelihood.terms, None, own_links(likelihood))
    free, identities = on_links(likelihood, links)
    assert isinstance(free, HasSkewness)
    assert [link.name for link in identities] == ["identity", "identity"]
    place = np.tile([-0.5, 1.2], (12, 1))
    natural = np.stack([link.to_natural(place[:, k]) for k, link in enumerate(links)], axis=-1)
    assert np.allclose(free.log_likelihood(place[None]), likelihood.log_likelihood(natural[None]))
    others = choose_links(likelihood.terms, {"bandit": "identity"}, own_links(likelihood))
    assert on_links(likelihood, others)[0] is likelihood


def test_third_derivatives_are_those_of_the_information(fit):
    free = fit.choice_likelihood().unconstrained()
    place = np.tile([-0.5, 1.2], (12, 1))
    spread = np.tile([[0.02, 0.005], [0.005, 0.01]], (12, 1, 1))
    found = free.skewness(place, spread)
    for k, step in enumerate(1e-2 * np.eye(2)):
        change = (free.derivatives(place + step)[2] - free.derivatives(place - step)[2]) / 2e-2
        # steps along the covariance are as wide as it, so that terms of higher order stay
        assert np.allclose(found[:, k], np.einsum("pij,pij->p", spread, change), rtol=0.1, atol=0.05)


def test_what_is_kept_of_the_last_derivatives_is_right(fit):
    fresh, kept = fit.choice_likelihood().unconstrained(), fit.choice_likelihood().unconstrained()
    place = np.tile([-0.5, 1.2], (12, 1))
    kept.derivatives(place)
    for moved in ([3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]):
        place = place.copy()
        place[moved] += 0.1
        for found, expected in zip(kept.derivatives(place), fresh._differences(place), strict=True):
            assert np.allclose(found, expected, rtol=0, atol=1e-7)


def test_effects_are_on_the_scale_of_the_links(fit):
    group = spice_group(fit, "~ 1", guessing=False)
    assert group.links == {("bandit", "alpha"): "logit", ("bandit", "beta"): "log"}
    means = group.tidy().set_index("sparse_term")["estimate"]
    assert np.allclose(means, fit.population().set_index("term")["mean"][means.index], atol=0.05)


def test_slow_people_are_not_taken_for_guessers():
    """Where times are predicted, likelihoods are densities, which a guess at the choice alone is no match for."""
    task = spice_task("ddm")
    cohort = task.simulate(16, 60, seed=2, parameters={"boundary": np.linspace(1.2, 3.0, 16)})
    fit = spice_fit(cohort.trials, model="ddm", **task.columns)
    assert fit.choice_likelihood().by_chance is None
    # densities below one half, as those of slow choices are
    slow = fit.estimates.own_log_likelihood < 60 * np.log(0.5)
    assert slow.sum() >= 5
    group = spice_group(fit, "~ 1", max_unidentified=1.0)
    assert (group.augment()["weight"] == 1.0).all()
    mean = group.tidy().set_index("sparse_term")["estimate"]["boundary"]
    # the error of a mean of 16 is .1 between people; guessers that are none moved it by .2
    assert mean == pytest.approx(np.log(cohort.truth["boundary"]).mean(), abs=0.08)
    assert np.isfinite(fit.model_evidence().by_chance).all()


@pytest.mark.filterwarnings("ignore::spicestat.errors.SpicestatWarning")
def test_a_population_does_not_run_away_where_likelihoods_are_flat():
    """That of p is nearly flat towards 0: expansions about modes end at a mean of -20 on the log scale."""
    task = spice_task("effort_sigmoid")
    cohort = task.simulate(10, 60, seed=3)
    fit = spice_fit(cohort.trials, model=task.name, **task.columns)
    true = np.log(cohort.truth["p"]).mean()
    assert abs(fit.estimates.mean[1] - true) < 0.5
