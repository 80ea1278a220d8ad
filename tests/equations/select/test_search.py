"""Selection finds the structure that made the choices."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from spicestat.equations.estimate.refit import refit
from spicestat.equations.select.search import select_structure as select_with_inclusion
from spicestat.equations.select.workbench import Workbench
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.simulate import DEFAULT_PARAMETERS, Parameter, simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

RATE, NOT_CHOSEN = "x_learning_rate_reward", "x_value_reward_not_chosen"
BETA = ("beta", "x_value_reward")
SIMPLE = {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
EVERYTHING = {
    (RATE, "1"): 0.4,
    (RATE, RATE): 0.0,
    (RATE, "c_reward"): 0.0,
    (RATE, "c_value_reward"): 0.0,
    (NOT_CHOSEN, "1"): 0.1,
    (NOT_CHOSEN, NOT_CHOSEN): 0.8,
    BETA: 3.0,
}


def select_structure(*arguments, **settings):
    return select_with_inclusion(*arguments, **settings).result


def cohort_data(forget, n_participants=10, n_trials=200, seed=3):
    parameters = dict(DEFAULT_PARAMETERS) | {"forget": forget}
    cohort = simulate_cohort(n_participants, n_trials, n_blocks=n_trials // 20, parameters=parameters, seed=seed)
    return SequenceDataset.from_trials(read_trials(cohort.trials, block="block"))


def structure(result, who=0):
    return {
        term: {FREE: "free", KEPT: "kept"}[int(status)]
        for term, status in zip(result.equations.terms, result.equations.status[who], strict=True)
        if status != EXCLUDED
    }


WITHOUT_FORGETTING = {(RATE, "1"): "free", (NOT_CHOSEN, NOT_CHOSEN): "kept", BETA: "free"}
WITH_FORGETTING = {(RATE, "1"): "free", (NOT_CHOSEN, "1"): "free", (NOT_CHOSEN, NOT_CHOSEN): "free", BETA: "free"}


@pytest.mark.parametrize(
    ("forget", "truth"),
    [(Parameter(0.0, 0.0), WITHOUT_FORGETTING), (Parameter(0.3, 0.05), WITH_FORGETTING)],
    ids=["rescorla-wagner", "forgetting"],
)
def test_true_structure_is_found(forget, truth, build, equations_of):
    """Seed fixed; the likelihood-ratio test behind each decision errs in 1 of 1000 decisions."""
    data = cohort_data(forget)
    start = equations_of("learning_rate", 10, SIMPLE)
    result = select_structure(build("learning_rate"), data, start, np.ones(len(start.terms), dtype=bool))
    assert structure(result) == truth
    assert (result.equations.status == result.equations.status[0]).all()
    kept = result.equations.coefficients[result.equations.status == KEPT]
    assert (kept == 1).all()


def test_a_structure_that_is_too_large_is_pruned(build, equations_of):
    """Down to what the search finds from below, through terms that correlate."""
    data = cohort_data(Parameter(0.0, 0.0), n_participants=2)
    results = [
        select_structure(build("learning_rate"), data, equations_of("learning_rate", 2, first), np.ones(7, dtype=bool))
        for first in (SIMPLE, EVERYTHING)
    ]
    assert structure(results[1]) == structure(results[0])
    assert len(structure(results[1])) == len(SIMPLE)


def test_only_allowed_terms_come_in(build, equations_of):
    data = cohort_data(Parameter(0.3, 0.05), n_participants=4)
    start = equations_of("learning_rate", 4, SIMPLE)
    allowed = np.array([term != (NOT_CHOSEN, "1") for term in start.terms])
    result = select_structure(build("learning_rate"), data, start, allowed)
    assert (NOT_CHOSEN, "1") not in structure(result)


def test_each_participant_may_have_a_structure_of_its_own(build, equations_of):
    """As in tutorial 4: one forgets, the other does not."""
    tables = []
    for who, forget in enumerate([0.4, 0.0]):
        parameters = {"alpha": Parameter(0.5), "forget": Parameter(forget), "beta": Parameter(5.0, high=20)}
        trials = simulate_cohort(2, 600, n_blocks=20, parameters=parameters, seed=who).trials
        tables.append(trials[trials["participant"] == "p1"].assign(participant=who))
    data = SequenceDataset.from_trials(read_trials(pd.concat(tables), block="block"))
    start = equations_of("learning_rate", 2, SIMPLE)
    allowed = np.ones(len(start.terms), dtype=bool)
    result = select_structure(build("learning_rate"), data, start, allowed, shared=False)
    assert structure(result, 0) == WITH_FORGETTING
    assert structure(result, 1) == WITHOUT_FORGETTING


def test_participants_without_choices_do_not_disturb_the_others(build, equations_of):
    """They have the structure that everybody has; tests of `individual_structures` do the same for those."""
    data = cohort_data(Parameter(0.6, 0.05), n_participants=3, n_trials=120)
    everything = np.ones(7, dtype=bool)
    alone = select_structure(build("learning_rate"), data, equations_of("learning_rate", 3, SIMPLE), everything)
    more = select_structure(
        build("learning_rate"), replace(data, n_participants=4), equations_of("learning_rate", 4, SIMPLE), everything
    )
    assert structure(alone) != WITHOUT_FORGETTING
    assert [structure(more, who) for who in range(4)] == 4 * [structure(alone)]
    assert not more.converged[3]


def test_a_larger_price_gives_no_larger_equations(build, equations_of):
    data = cohort_data(Parameter(0.6, 0.05), n_participants=2, n_trials=80)
    start = equations_of("learning_rate", 2, SIMPLE)
    allowed = np.ones(len(start.terms), dtype=bool)
    sizes = [
        len(structure(select_structure(build("learning_rate"), data, start, allowed, significance=level)))
        for level in (0.3, 1e-200)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


@pytest.mark.parametrize(("shared", "criterion"), [(True, "aic"), (False, "evidence")])
def test_inclusion_is_what_the_compared_structures_say(shared, criterion, build, equations_of, monkeypatch):
    """Shares of exp(score), by hand, over all structures that the search has fitted."""
    data = cohort_data(Parameter(0.6), n_participants=2, n_trials=300)
    seen, fit_all = {}, Workbench.fit_all

    def recorded(bench, *arguments, **options):
        fitted = fit_all(bench, *arguments, **options)
        for result, scores in fitted:
            for who, (status, score) in enumerate(zip(result.equations.status, scores, strict=True)):
                best = seen.setdefault(who, {})
                best[tuple(status)] = max(score, best.get(tuple(status), -np.inf))
        return fitted

    monkeypatch.setattr(Workbench, "fit_all", recorded)
    start = equations_of("learning_rate", 2, SIMPLE)
    found = select_with_inclusion(
        build("learning_rate"), data, start, np.ones(7, dtype=bool), shared=shared, criterion=criterion
    )
    for who in range(2):
        scores = {key: value + seen[1 - who][key] if shared else value for key, value in seen[who].items()}
        weights = {key: np.exp(value - max(scores.values())) for key, value in scores.items()}
        assert len(weights) > 1
        by_hand = [
            sum(weight for key, weight in weights.items() if key[place] == FREE) / sum(weights.values())
            for place in range(7)
        ]
        np.testing.assert_allclose(found.inclusion[who], by_hand, atol=1e-9)


def test_estimates_are_maximum_likelihood_whatever_decided(build, equations_of):
    """On all choices: neither the prior nor the smaller sample that the search saw has a say in them."""
    data = cohort_data(Parameter(0.0, 0.0), n_participants=2, n_trials=100)
    start = equations_of("learning_rate", 2, SIMPLE)
    allowed = start.status[0] != EXCLUDED
    result = select_structure(
        build("learning_rate"), data, start, allowed, criterion="evidence", search_trials=60, significance=0.5
    )
    exact = refit(build("learning_rate"), data, result.equations)
    assert result.n_trials.tolist() == data.trials_per_participant.tolist()
    np.testing.assert_allclose(result.equations.coefficients, exact.equations.coefficients, atol=1e-4)
    np.testing.assert_allclose(result.log_likelihood, exact.log_likelihood, atol=1e-6)


def test_nothing_that_is_handed_over_is_changed(build, equations_of):
    """SPICE changed its configuration in place (fit_sindy.py:54)."""
    data = cohort_data(Parameter(0.3, 0.1), n_participants=2, n_trials=60)
    start, allowed = equations_of("learning_rate", 2, SIMPLE), np.ones(7, dtype=bool)
    tensors = {name: value.clone() for name, value in data.__dict__.items() if isinstance(value, torch.Tensor)}
    coefficients, status = start.coefficients.copy(), start.status.copy()
    for shared in (True, False):
        select_structure(build("learning_rate"), data, start, allowed, shared=shared, criterion="evidence")
    np.testing.assert_array_equal(start.coefficients, coefficients)
    np.testing.assert_array_equal(start.status, status)
    assert allowed.all()
    for name, value in tensors.items():
        assert torch.equal(torch.nan_to_num(getattr(data, name)), torch.nan_to_num(value)), name


def test_progress_counts_moves(build, equations_of):
    data = cohort_data(Parameter(0.3, 0.05), n_participants=2, n_trials=60)
    start = equations_of("learning_rate", 2, SIMPLE)
    seen = []
    select_structure(
        build("learning_rate"), data, start, np.ones(7, dtype=bool), progress=lambda *call: seen.append(call)
    )
    assert list(dict.fromkeys(call[0] for call in seen)) == ["equations", "refit"]
    for stage in ("equations", "refit"):
        calls = [call for call in seen if call[0] == stage]
        assert all(earlier[1] <= later[1] for earlier, later in pairwise(calls))
        assert calls[-1][1] == calls[-1][2]
