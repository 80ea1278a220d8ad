"""The workbench keeps its promises, and its scores are what they say."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.stats import t as student

from spicestat.equations.estimate.prior import CoefficientPrior, weak_prior
from spicestat.equations.estimate.refit import refit
from spicestat.equations.select import workbench
from spicestat.equations.select.criteria import Arbiter
from spicestat.equations.select.moves import Move, possible_moves
from spicestat.equations.select.workbench import Workbench
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.models.precoded import LearningRateRNN
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

RATE, NOT_CHOSEN, BETA = "x_learning_rate_reward", "x_value_reward_not_chosen", ("beta", "x_value_reward")
SIMPLE = {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: 3.0}
EVERYTHING = {
    (RATE, "1"): 0.4,
    (RATE, "c_reward"): 0.1,
    (RATE, "c_value_reward"): -0.1,
    (NOT_CHOSEN, "1"): 0.1,
    (NOT_CHOSEN, NOT_CHOSEN): 0.8,
    BETA: 3.0,
}


@pytest.fixture(scope="module")
def data():
    """Return three learners who forget, with 160 trials in eight blocks."""
    return SequenceDataset.from_trials(read_trials(simulate_cohort(3, 160, n_blocks=8, seed=3).trials, block="block"))


def bench_of(build, data, equations, arbiter, **options):
    return Workbench(build("learning_rate"), data, arbiter, equations, np.ones(7, dtype=bool), **options)


# --- promises -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [SIMPLE, EVERYTHING], ids=["small", "large"])
def test_what_a_move_promises_can_be_reached(first, build, equations_of, data):
    """For each participant: a fit that starts where the promise was made cannot end below."""
    start = equations_of("learning_rate", 3, first)
    bench = bench_of(build, data, start, Arbiter(1.5))
    present, score = bench.fit(start, [])
    moves = [move for move in possible_moves(start, bench.allowed) if move.possible(present.equations.status).all()]
    ends = bench.outlook(present.equations, moves)
    assert len(ends) == len(moves)
    for move, (moved, promise) in list(zip(moves, ends, strict=True))[::3]:
        np.testing.assert_array_equal(moved.status, move.apply(present.equations.status))
        assert (bench.fit(moved, [])[1] >= promise - 0.1).all(), move


def test_structures_climb_together_to_where_each_climbs_alone(build, equations_of, data, monkeypatch):
    """Also where not all fit into one batch, and where some may not move."""
    monkeypatch.setattr("spicestat.equations.select.workbench._ROWS_AT_ONCE", 2 * data.n_sequences)
    start = equations_of("learning_rate", 3, SIMPLE)
    bench = bench_of(build, data, start, Arbiter(1.5))
    present, _ = bench.fit(start, [])
    open_ = np.array([True, False, True])
    each = [open_, open_, open_ & [True, False, False], open_, open_]
    moved = [one for one, _ in bench.outlook(present.equations, possible_moves(start, bench.allowed), open_)][:5]
    together = bench.fit_all(moved, [], each)
    assert len({one.status[0].tobytes() for one in moved}) == 5
    for own, who, (result, score) in zip(moved, each, together, strict=True):
        alone, own_score = bench.fit(own, [], who)
        np.testing.assert_array_equal(result.equations.status, own.status)
        np.testing.assert_array_equal(result.equations.coefficients[~who], own.coefficients[~who])
        np.testing.assert_allclose(result.equations.coefficients, alone.equations.coefficients, atol=1e-6)
        np.testing.assert_allclose(score, own_score, atol=1e-6)


def test_dropping_one_of_several_terms_promises_what_it_leads_to(build, equations_of, data):
    """The others make up for it at once; a plain ascent from where the term is missing promised -10 million."""
    start = equations_of("learning_rate", 3, EVERYTHING)
    bench = bench_of(build, data, start, Arbiter(1.5))
    present, _ = bench.fit(start, [])
    drops = [Move(((place, FREE),), ((place, EXCLUDED),)) for place in (2, 3)]
    for moved, promise in bench.outlook(present.equations, drops):
        short = bench.fit(moved, [])[1] - promise
        assert np.median(short) < 4
        assert short.max() < 30


def test_who_cannot_make_a_move_stays(build, equations_of, data):
    start = equations_of("learning_rate", 3, SIMPLE)
    status = start.status.copy()
    own = start.terms.index((NOT_CHOSEN, NOT_CHOSEN))
    status[1, own] = FREE
    start = start.with_status(status)
    bench = bench_of(build, data, start, Arbiter(1.5))
    present, score = bench.fit(start, [])
    release = Move(((own, KEPT),), ((own, FREE),))
    ((moved, promise),) = bench.outlook(present.equations, [release])
    assert (moved.status[:, own] == FREE).all()
    np.testing.assert_array_equal(moved.coefficients[1], present.equations.coefficients[1])
    assert promise[1] == pytest.approx(score[1], abs=0.02)
    ((moved, promise),) = bench.outlook(present.equations, [release], np.array([True, True, False]))
    assert moved.status[:, own].tolist() == [FREE, FREE, KEPT]
    np.testing.assert_array_equal(moved.coefficients[1:], present.equations.coefficients[1:])
    np.testing.assert_allclose(promise[1:], score[1:], atol=0.02)
    assert bench.outlook(present.equations, [Move(((0, EXCLUDED),), ((0, FREE),))]) == []


class FromZeroRNN(LearningRateRNN):
    """Values start at 0, so that the unit of rewards is that of the values."""

    init_values: ClassVar = {"x_value_reward": 0.0, "x_learning_rate_reward": 0.0}


def test_promises_do_not_depend_on_the_unit_of_rewards(equations_of, data):
    """With rewards in thousands, a level to forget to is hundreds away, beyond limits made for rewards of 0 and 1."""
    promises = []
    for unit in (1.0, 1000.0):
        start = equations_of("learning_rate", 3, SIMPLE | {BETA: 3.0 / unit})
        bench = Workbench(
            FromZeroRNN(n_actions=2),
            replace(data, rewards=data.rewards * unit),
            Arbiter(1.5),
            start,
            np.ones(7, dtype=bool),
        )
        present, _ = bench.fit(start, [])
        constant, own = (start.terms.index((NOT_CHOSEN, term)) for term in ("1", NOT_CHOSEN))
        together = Move(((constant, EXCLUDED), (own, KEPT)), ((constant, FREE), (own, FREE)))
        promises.append(bench.outlook(present.equations, [together])[0][1])
    np.testing.assert_allclose(promises[1], promises[0], atol=1.5)


# --- scores ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def precise(monkeypatch):
    """Refits to the last digit; the search itself does with less."""
    monkeypatch.setattr(workbench, "_TOLERANCE", 1e-8)
    monkeypatch.setattr(workbench, "_MAX_ITER", 50)


@pytest.mark.usefixtures("precise")
def test_scores_are_the_arbiters_and_are_remembered(build, equations_of, data):
    start = equations_of("learning_rate", 3, SIMPLE)
    for arbiter in (Arbiter(1.5), Arbiter(0.0, prior=weak_prior(start, 1.0))):
        bench = bench_of(build, data, start, arbiter)
        result, score = bench.fit(start)
        np.testing.assert_array_equal(score, arbiter.score(result))
        np.testing.assert_array_equal(bench.visited.score(start.status), score)
        exact = arbiter.score(refit(build("learning_rate"), data, start, prior=arbiter.prior))
        np.testing.assert_allclose(score, exact, atol=1e-4)


def test_only_those_who_are_asked_are_fitted(build, equations_of, data):
    """Before and after an outlook, which changes how fits begin."""
    start = equations_of("learning_rate", 3, SIMPLE)
    bench = bench_of(build, data, start, Arbiter(1.5))
    everybody, score = bench.fit(start, [])
    who = np.array([True, False, True])
    for _ in range(2):
        some, own_score = bench.fit(start, [], who)
        assert own_score[1] == -np.inf
        np.testing.assert_allclose(own_score[who], score[who], atol=0.06)
        np.testing.assert_array_equal(some.equations.coefficients[1], start.coefficients[1])
        np.testing.assert_allclose(some.equations.coefficients[who], everybody.equations.coefficients[who], atol=0.2)
        bench.outlook(everybody.equations, [Move(((1, EXCLUDED),), ((1, FREE),))])
    assert np.isfinite(bench.visited.score(start.status)).all()


def test_participants_without_data_have_no_score(build, equations_of, data):
    start = equations_of("learning_rate", 4, SIMPLE)
    bench = bench_of(build, replace(data, n_participants=4), start, Arbiter(1.5))
    assert bench.present.tolist() == [True, True, True, False]
    result, score = bench.fit(start)
    assert score[3] == -np.inf
    assert np.isfinite(score[:3]).all()
    assert np.isnan(bench.visited.score(start.status)[3])
    moved, _ = bench.outlook(result.equations, [Move(((1, EXCLUDED),), ((1, FREE),))])[0]
    assert moved.status[:, 1].tolist() == [FREE, FREE, FREE, EXCLUDED]


def log_likelihoods(data, who, rate, beta):
    """Log-likelihood (S, T) of a participant's choices by the delta rule, 0 where there is none to predict."""
    own = data.participant.numpy() == who
    value, total = np.full((own.sum(), 2), 0.5), []
    for step in range(data.n_steps):
        action, reward = data.actions.numpy()[own, step], np.nan_to_num(data.rewards.numpy()[own, step])
        value = value + action * rate * (reward - value)
        target = np.take_along_axis(value, data.targets.numpy()[own, step][:, None], axis=1)[:, 0]
        total.append(beta * target - np.logaddexp(*(beta * value).T))
    return np.where(data.mask.numpy()[own], np.stack(total, axis=1), 0.0)


@pytest.mark.usefixtures("precise")
def test_cross_validation_is_the_likelihood_of_choices_that_were_left_out(build, equations_of, data):
    """By scipy and numpy: each quarter of every block at estimates from the other three, with the block's history."""
    start = equations_of("learning_rate", 3, SIMPLE)
    free = [start.terms.index((RATE, "1")), start.terms.index(BETA)]
    centers, scales = np.zeros(7), np.full(7, 0.5)
    scales[free[1]] = 4.0
    arbiter = Arbiter(0.0, prior=CoefficientPrior(centers, scales))
    result, score = bench_of(build, data, start, arbiter, n_folds=4).fit(start)
    expected = np.zeros(3)
    for who in range(3):
        n_targets = data.mask.sum(dim=1).numpy()[data.participant.numpy() == who]
        assert (n_targets == n_targets[0]).all()
        part = np.arange(n_targets[0]) * 4 // n_targets[0]
        for fold in range(4):

            def negative(values, who=who, train=part != fold):
                density = student(4, 0, [0.5, 4.0]).logpdf(values).sum()
                return -log_likelihoods(data, who, *values)[:, train].sum() - density

            best = minimize(negative, [0.4, 3.0], method="Nelder-Mead", options={"fatol": 1e-5, "xatol": 1e-4}).x
            expected[who] += log_likelihoods(data, who, *best)[:, part == fold].sum()
    np.testing.assert_allclose(score, expected, atol=0.02)
    assert (score < result.log_likelihood).all()


def test_cross_validated_scores_are_what_moves_are_measured_by(build, equations_of, data):
    """Who stays is promised the score it has, on the same scale as those of moves."""
    start = equations_of("learning_rate", 3, SIMPLE)
    own = start.terms.index((NOT_CHOSEN, NOT_CHOSEN))
    bench = bench_of(build, data, start, Arbiter(0.0, prior=weak_prior(start, 1.0)), n_folds=3)
    present, score = bench.fit(start, [])
    release = Move(((own, KEPT),), ((own, FREE),))
    ((moved, promise),) = bench.outlook(present.equations, [release], np.array([True, False, False]))
    np.testing.assert_allclose(promise[1:], score[1:])
    gain = bench.log_likelihood(moved.coefficients) - bench.log_likelihood(present.equations.coefficients)
    assert promise[0] - score[0] == pytest.approx(gain[0] - 1)


# --- own states without an effect -----------------------------------------------------------------------------------


def test_idle_states_are_dropped_and_others_stay(equations_of, data, build):
    """A choice trace that starts at 0 and is only kept stays 0; the value of the other action, kept, does not."""
    trace = "x_value_choice"
    idle = equations_of("choice", 3, SIMPLE | {(trace, trace): "keep"})
    busy = equations_of("choice", 3, SIMPLE | {(trace, trace): "keep", (trace, "c_action"): 0.3})
    for equations, dropped in ((idle, {(trace, trace)}), (busy, set())):
        everything = np.ones(len(equations.terms), dtype=bool)
        bench = Workbench(build("choice"), data, Arbiter(1.5), equations, everything)
        lean = bench.without_idle_states(equations)
        changed = (lean.status != equations.status).all(axis=0)
        assert {equations.terms[place] for place in np.flatnonzero(changed)} == dropped
        assert (lean.status[:, changed] == EXCLUDED).all()
        np.testing.assert_allclose(
            bench.log_likelihood(lean.coefficients), bench.log_likelihood(equations.coefficients)
        )


def test_a_state_that_only_one_participant_needs_stays(build, equations_of, data):
    """The learning rate of the first one grows from its own past; the others' stays 0."""
    equations = equations_of("learning_rate", 3, SIMPLE | {(RATE, "1"): [0.1, 0.0, 0.0], (RATE, RATE): "keep"})
    bench = bench_of(build, data, equations, Arbiter(1.5))
    np.testing.assert_array_equal(bench.without_idle_states(equations).status, equations.status)
    still = equations_of("learning_rate", 3, SIMPLE | {(RATE, "1"): 0.0, (RATE, RATE): "keep"})
    assert (bench.without_idle_states(still).status[:, still.terms.index((RATE, RATE))] == EXCLUDED).all()


def test_nothing_that_is_handed_over_is_changed(build, equations_of, data):
    """SPICE changed configs and settings in place (fit_sindy.py:54)."""
    start = equations_of("learning_rate", 3, SIMPLE)
    model = build("learning_rate")
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    tensors = {name: value.clone() for name, value in data.__dict__.items() if isinstance(value, torch.Tensor)}
    coefficients, status, allowed = start.coefficients.copy(), start.status.copy(), np.ones(7, dtype=bool)
    bench = Workbench(model, data, Arbiter(0.0, prior=weak_prior(start, 1.0)), start, allowed, n_folds=2)
    bench.fit(start, [start.coefficients], np.array([True, False, True]))
    bench.outlook(start, possible_moves(start, allowed)[:4])
    bench.without_idle_states(start)
    np.testing.assert_array_equal(start.coefficients, coefficients)
    np.testing.assert_array_equal(start.status, status)
    assert allowed.all()
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert all(
        torch.equal(torch.nan_to_num(getattr(data, name)), torch.nan_to_num(value)) for name, value in tensors.items()
    )
