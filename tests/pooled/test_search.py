import numpy as np
import pytest

from spicestat.pooled.contrasts import make_design
from spicestat.pooled.em import fit_population
from spicestat.pooled.laplace import Normal
from spicestat.pooled.left_out import left_out, make_folds
from spicestat.pooled.logit import log_likelihood
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.screen import screen_states
from spicestat.pooled.state_library import history_states, ten_states
from spicestat.pooled.state_search import SearchSettings, Structure, Trials, fit_structure, search_structures
from spicestat.pooled.states import state, state_rows

LIBRARY = (
    state("last"),
    state(("rewarded", 0.5)),
    state("last", "run"),
    state(("choices", 0.9)),
    state("last", ("switching", 0.9)),
    state("since"),
    history_states(2)[-1],
)


@pytest.fixture(scope="module")
def trials(cohort) -> Trials:
    return Trials.of(state_rows(cohort[0], LIBRARY))


def test_structures_say_what_is_whose() -> None:
    structure = Structure((0, 2), (1,))
    assert structure.n_parameters == 6
    assert structure.add(1, own=True) == Structure((0, 1, 2))
    assert structure.add(2, own=False) == Structure((0,), (1, 2))
    assert structure.drop(1) == Structure((0, 2))


def test_screen_promises_about_what_a_fit_brings(trials: Trials) -> None:
    few = fit_structure(trials, Structure((0, 6)), prior=None)
    screen = screen_states(trials.design, np.array([0, 6]), few.fit.population, few.fit.posterior.mode)
    for own, promised in ((True, screen.gain_own[1]), (False, screen.gain_shared[1])):
        more = fit_structure(trials, few.structure.add(1, own=own), prior=None)
        assert promised == pytest.approx(more.fit.log_marginal - few.fit.log_marginal, rel=0.25)
    assert screen.gain_own.argmax() in (0, 1)


def test_screen_knows_what_dropping_costs(trials: Trials) -> None:
    full = fit_structure(trials, Structure((0, 1, 6)), prior=None)
    screen = screen_states(trials.design, np.array([0, 1, 6]), full.fit.population, full.fit.posterior.mode)
    less = fit_structure(trials, Structure((0, 6)), prior=None)
    assert screen.gain_own[1] == pytest.approx(full.fit.log_marginal - less.fit.log_marginal, rel=0.25)


def test_folds_hold_every_choice_once(cohort) -> None:
    data = cohort[0]
    rows = state_rows(data, LIBRARY)
    design = make_design(rows)
    folds = make_folds(rows, design.scale)
    weights = np.random.default_rng(0).normal(size=(design.n_people, len(LIBRARY)))
    parts = np.bincount(folds.person, log_likelihood(folds.design, weights[folds.person]))
    assert np.allclose(parts, log_likelihood(design, weights))
    assert np.bincount(folds.person).tolist() == [2] * design.n_people
    single = make_folds(state_rows(data.select(np.arange(0, 120, 2)), LIBRARY), design.scale)
    assert np.bincount(single.person).tolist() == [5] * design.n_people


def test_left_out_blocks_are_nearly_those_of_a_refit(cohort) -> None:
    states = [LIBRARY[0], LIBRARY[1], LIBRARY[6]]
    rows = state_rows(cohort[0], states)
    design = make_design(rows)
    fit = fit_population(design, polish=True)
    folds = make_folds(rows, design.scale)
    fast = left_out(folds, fit)
    first = rows.session % 2 == 0
    without = make_design(rows.rows(~first), design.n_people, design.scale)
    from spicestat.pooled.laplace import posterior

    modes = posterior(without, fit.population).mode
    exact = log_likelihood(make_design(rows.rows(first), design.n_people, design.scale), modes)
    assert fast[::2].sum() == pytest.approx(exact.sum(), abs=4.0)
    assert np.corrcoef(fast[::2], exact)[0, 1] > 0.98


def test_the_true_states_are_found(trials: Trials) -> None:
    path = search_structures(trials, Structure((3,)))
    found = path[-1].structure
    assert {0, 1} <= set(found.own)
    assert len(found.columns) <= 5
    rising = [step.criterion for step in path]
    assert rising == sorted(rising)


def test_people_who_choose_at_random_need_no_states() -> None:
    rng = np.random.default_rng(3)
    data = pack_sessions(rng.integers(0, 2, (60, 40)), rng.integers(0, 2, (60, 40)), np.arange(60) // 2, n_actions=2)
    path = search_structures(Trials.of(state_rows(data, LIBRARY)), Structure((0,)))
    assert len(path[-1].structure.columns) <= 2


def test_weights_may_all_be_shared(trials: Trials) -> None:
    step = fit_structure(trials, Structure((), (0, 1)), prior=None)
    assert np.ptp(step.fit.posterior.mode, axis=0).max() == 0
    own = fit_structure(trials, Structure((0,), (1,)), prior=None)
    assert step.fit.log_marginal < own.fit.log_marginal


def test_limits_and_fixed_states_are_kept(trials: Trials) -> None:
    settings = SearchSettings(max_own=2, max_shared=1)
    found = search_structures(trials, Structure((3,)), settings, fixed=[3])[-1].structure
    assert 3 in found.own
    assert len(found.own) <= 2
    assert len(found.shared) <= 1


def test_the_library_holds_the_states_to_start_from() -> None:
    for n_actions in (2, 5):
        assert set(ten_states(n_actions)) <= set(history_states(n_actions))


def test_normal_is_a_population_with_a_precision() -> None:
    assert np.allclose(Normal(np.zeros(2), np.diag([4.0, 0.5]), np.arange(2)).precision, np.diag([0.25, 2.0]))
