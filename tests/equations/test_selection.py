"""Selection finds the structure that made the choices."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from spicestat.dataset import SequenceDataset
from spicestat.equations.equation_set import EXCLUDED, FREE, KEPT
from spicestat.equations.criteria import required_gain
from spicestat.equations.selection import select_structure as select_with_inclusion
from spicestat.errors import ConfigError
from spicestat.simulate import DEFAULT_PARAMETERS, Parameter, simulate_cohort
from spicestat.trials import read_trials

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


def cohort_data(forget, n_participants=10, seed=3):
    parameters = dict(DEFAULT_PARAMETERS) | {"forget": forget}
    cohort = simulate_cohort(n_participants, 200, n_blocks=10, parameters=parameters, seed=seed)
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
    """What the search ends with must not be worse by its own criterion than a structure it could have reached."""
    data = cohort_data(Parameter(0.0, 0.0), n_participants=6)
    allowed = np.ones(7, dtype=bool)
    results = [
        select_structure(build("learning_rate"), data, equations_of("learning_rate", 6, first), allowed)
        for first in (SIMPLE, EVERYTHING)
    ]
    price = required_gain(6, 195, "aic", 0.001)
    margins = [result.log_likelihood.sum() - price * (result.equations.status[0] == FREE).sum() for result in results]
    assert margins[1] > margins[0] - price


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
        trials = simulate_cohort(2, 1000, n_blocks=20, parameters=parameters, seed=who).trials
        tables.append(trials[trials["participant"] == "p1"].assign(participant=who))
    data = SequenceDataset.from_trials(read_trials(pd.concat(tables), block="block"))
    start = equations_of("learning_rate", 2, SIMPLE)
    allowed = np.ones(len(start.terms), dtype=bool)
    result = select_structure(build("learning_rate"), data, start, allowed, shared=False)
    assert structure(result, 0) == WITH_FORGETTING
    assert structure(result, 1) == WITHOUT_FORGETTING


def test_participants_without_choices_do_not_disturb_the_others(build, equations_of):
    data = cohort_data(Parameter(0.3, 0.05), n_participants=3)
    allowed = np.ones(7, dtype=bool)
    for shared in (True, False):
        alone = select_structure(
            build("learning_rate"), data, equations_of("learning_rate", 3, SIMPLE), allowed, shared=shared
        )
        more = select_structure(
            build("learning_rate"),
            replace(data, n_participants=4),
            equations_of("learning_rate", 4, SIMPLE),
            allowed,
            shared=shared,
        )
        assert [structure(more, who) for who in range(3)] == [structure(alone, who) for who in range(3)]
        assert not more.converged[3]


def test_a_larger_price_gives_no_larger_equations(build, equations_of):
    data = cohort_data(Parameter(0.3, 0.05), n_participants=4)
    start = equations_of("learning_rate", 4, SIMPLE)
    allowed = np.ones(len(start.terms), dtype=bool)
    sizes = [
        len(structure(select_structure(build("learning_rate"), data, start, allowed, significance=level)))
        for level in (0.5, 1e-3, 1e-200)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0]


def test_progress_counts_rounds(build, equations_of):
    data = cohort_data(Parameter(0.3, 0.05), n_participants=3)
    start = equations_of("learning_rate", 3, SIMPLE)
    seen = []
    select_structure(
        build("learning_rate"), data, start, np.ones(7, dtype=bool), progress=lambda *call: seen.append(call)
    )
    assert list(dict.fromkeys(call[0] for call in seen)) == ["equations", "refit"]
    for stage in ("equations", "refit"):
        calls = [call for call in seen if call[0] == stage]
        assert all(earlier[1] <= later[1] for earlier, later in pairwise(calls))
        assert calls[-1][1] == calls[-1][2]
