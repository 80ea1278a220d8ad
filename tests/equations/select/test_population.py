"""One structure for everybody: what the choices demand, and nothing that a simpler equation does as well."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.estimate.refit import refit
from spicestat.equations.select.moves import possible_moves
from spicestat.equations.select.population import population_structure
from spicestat.equations.select.search import select_structure
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.models.base import BaseRNN
from spicestat.simulate import Parameter, simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

CHOSEN, NOT_CHOSEN = "x_value_reward_chosen", "x_value_reward_not_chosen"


# --- the search, with scores that are made up -----------------------------------------------------------------------


@given(seed=st.integers(0, 2**20), n_participants=st.integers(1, 6), pessimism=st.floats(0.0, 0.9))
@settings(max_examples=30)
def test_terms_come_in_if_they_pay_for_everybody_together(
    seed, n_participants, pessimism, pretend_bench, empty_equations, status_of
):
    """Also if predictions are too low by a little, and against the will of some."""
    gains = np.random.default_rng(seed).normal(size=(n_participants, 6)) * 9
    start = empty_equations(n_participants)

    def score(status):
        return ((status[:, :-1] == FREE) * gains).sum(axis=1) - 0.01 * (status == KEPT).sum(axis=1)

    found = population_structure(pretend_bench(start, score, pessimism=pessimism), start)
    together = np.tile(gains.sum(axis=0) > 0, (n_participants, 1))
    np.testing.assert_array_equal(found.status, status_of(together))


@given(seed=st.integers(0, 2**20))
@settings(max_examples=30)
def test_no_move_leads_higher_from_where_it_ends(seed, pretend_bench, empty_equations):
    """With terms that depend on each other in any way; participants without data have no say."""
    rng = np.random.default_rng(seed)
    table, rows = rng.normal(size=(3, 3**6)) * 5, np.arange(3)
    table[1] *= 100
    present = np.array([True, False, True])

    def score(status):
        return table[rows, (status[:, :6] * 3 ** np.arange(6)).sum(axis=1)]

    start = empty_equations(3)
    bench = pretend_bench(start, score, present)
    found = population_structure(bench, start)
    reached = score(found.status)[present].sum()
    assert reached >= score(start.status)[present].sum()
    assert (found.status == found.status[0]).all()
    for move in possible_moves(start, bench.allowed):
        if move.possible(found.status).all():
            assert score(move.apply(found.status))[present].sum() <= reached


@pytest.mark.parametrize(("n_unknown", "chosen"), [(0, [1, 1]), (2, [1, 1]), (4, [1, 0]), (10, [1, 0])])
def test_a_term_that_many_have_no_estimate_of_is_not_chosen(
    n_unknown, chosen, pretend_bench, empty_equations, status_of
):
    """However much it gains: beyond a fifth of the participants, nothing could be compared over people."""
    start, gains = empty_equations(10), np.array([3.0, 2.0, -9.0, -9.0, -9.0, -9.0])

    def identified(status):
        return (np.arange(10) >= n_unknown) | (status[:, 1] != FREE)

    bench = pretend_bench(start, lambda status: (status[:, :6] == FREE) @ gains, identified=identified)
    found = population_structure(bench, start)
    np.testing.assert_array_equal(found.status, status_of(np.tile([*chosen, 0, 0, 0, 0], (10, 1))))


def test_if_nobody_is_ever_identified_the_best_structure_counts(pretend_bench, empty_equations, status_of):
    start, gains = empty_equations(2), np.array([3.0, 2.0, -9.0, -9.0, -9.0, -9.0])
    bench = pretend_bench(
        start, lambda status: (status[:, :6] == FREE) @ gains, identified=lambda status: np.zeros(len(status)) > 0
    )
    found = population_structure(bench, start)
    np.testing.assert_array_equal(found.status, status_of(np.tile([1, 1, 0, 0, 0, 0], (2, 1))))


def test_progress_counts_moves(pretend_bench, empty_equations):
    seen = []
    start = empty_equations(2)
    bench = pretend_bench(start, lambda status: (status == FREE).sum(axis=1) * 3.0)
    population_structure(bench, start, lambda *call: seen.append(call))
    done = [call[1] for call in seen]
    assert {call[0] for call in seen} == {"equations"}
    assert done == sorted(done)
    assert seen[-1][1] == seen[-1][2]


# --- terms that say nearly the same ---------------------------------------------------------------------------------


class TwinSignalsRNN(BaseRNN):
    """Learns from the reward and from a noisy copy of its opposite (1 - reward), which correlate with -.98."""

    init_values: ClassVar = {"x_value": 0.0}

    def __init__(self, n_actions, **options):
        super().__init__(n_actions=n_actions, **options)
        self.submodules_rnn["x_value"] = self.setup_module(input_size=2)

    def forward(self, inputs, prev_state=None, batch_first=False):
        (actions, rewards, _, noise), _, logits, steps = self.init_forward_pass(inputs, prev_state, batch_first)
        for step in steps:
            signals = (rewards[step], 1 - rewards[step] + noise[step])
            learned = self.call_module("x_value", "x_value", actions[step], signals)
            self.state["x_value"] = learned + (1 - actions[step]) * self.state["x_value"]
            logits[step] = self.state["x_value"]
        return self.post_forward_pass(logits, batch_first), self.get_state()


TWINS = ModuleLibrary("x_value", ("x_value", "c_reward", "c_no_reward"), ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)))


def twin_data(n_participants=3, n_blocks=10, n_trials=26, seed=0, noise=0.1):
    """Choices of learners with Q <- .7 Q + 1.5 r, in blocks of two equally good actions."""
    rng = np.random.default_rng(seed)
    n = n_participants * n_blocks
    actions, rewards = np.zeros((n, n_trials, 2)), np.full((n, n_trials, 2), np.nan)
    value, rows = np.zeros((n, 2)), np.arange(n)
    for trial in range(n_trials):
        chosen = (rng.random(n) < 1 / (1 + np.exp(value[:, 0] - value[:, 1]))).astype(int)
        reward = rng.integers(0, 2, n)
        actions[rows, trial, chosen], rewards[rows, trial, chosen] = 1.0, reward
        value[rows, chosen] = 0.7 * value[rows, chosen] + 1.5 * reward
    extra = noise * rng.normal(size=(n, n_trials, 1))
    ids = np.stack([rows, np.zeros(n), rows % n_participants], axis=1)[:, None, :].repeat(n_trials, axis=1)
    features = np.concatenate([actions, rewards, extra, ids], axis=2)
    return SequenceDataset.from_arrays(features[:, :-1], actions[:, 1:])


def twin_equations(n_participants, status, values=(0.0, 0.6, 0.5, 0.0)):
    full = np.tile(np.array(status, dtype="int8"), (n_participants, 1))
    return EquationSet((TWINS,), (), np.tile(np.array(values), (n_participants, 1)), full).with_coefficients(
        np.tile(np.array(values), (n_participants, 1))
    )


def found_in(data, start, **settings):
    model = TwinSignalsRNN(n_actions=2)
    return select_structure(model, data, start, np.ones(4, dtype=bool), **settings)


BELOW, ABOVE = [EXCLUDED, KEPT, EXCLUDED, EXCLUDED], [FREE, FREE, FREE, FREE]


@pytest.fixture(scope="module")
def twins():
    return found_in(twin_data(), twin_equations(3, BELOW))


def test_of_terms_that_say_nearly_the_same_the_simplest_equation_wins(twins):
    """The reward alone does what its opposite and the constant do together."""
    assert twins.result.equations.status.tolist() == 3 * [[EXCLUDED, FREE, FREE, EXCLUDED]]


@pytest.mark.parametrize(("criterion", "first"), [("aic", ABOVE), ("evidence", ABOVE), ("cv", ABOVE)])
def test_neither_the_criterion_nor_the_start_decides_between_them(criterion, first):
    """Dropping one of several terms that correlate needs the others to make up for it at once."""
    result = found_in(twin_data(), twin_equations(3, first), criterion=criterion).result
    assert result.equations.status[0].tolist() == [EXCLUDED, FREE, FREE, EXCLUDED]
    assert result.converged.all()
    error = np.sqrt(np.diagonal(result.covariance, axis1=1, axis2=2))[:, 1:3]
    assert (np.abs(result.equations.coefficients[:, 1:3] - [0.7, 1.5]) < 4 * error).all()


def test_inclusion_is_high_for_true_terms_and_low_for_others(twins):
    """Probabilities over the structures that were compared, the same for everybody."""
    inclusion = twins.inclusion
    assert ((inclusion >= 0) & (inclusion <= 1)).all()
    assert (inclusion == inclusion[0]).all()
    assert (inclusion[0, [1, 2]] > 0.95).all()
    assert (inclusion[0, [0, 3]] < 0.2).all()


def test_neither_the_order_of_participants_nor_of_blocks_changes_anything(twins):
    data, place = twin_data(), torch.tensor([1, 2, 0])
    moved = replace(data, participant=place[data.participant])
    moved = moved.select(torch.randperm(moved.n_sequences, generator=torch.Generator().manual_seed(0)))
    other = found_in(moved, twin_equations(3, BELOW))
    np.testing.assert_array_equal(other.result.equations.status, twins.result.equations.status)
    np.testing.assert_allclose(
        other.result.equations.coefficients[place], twins.result.equations.coefficients, atol=1e-5
    )
    np.testing.assert_allclose(other.inclusion, twins.inclusion, atol=0.01)


# --- nothing is rounded ---------------------------------------------------------------------------------------------

OWN_STATES = (
    ModuleLibrary(CHOSEN, (CHOSEN, "c_reward"), ((1, 0), (0, 1))),
    ModuleLibrary(NOT_CHOSEN, (NOT_CHOSEN,), ((1,),)),
)


def forgetting_data(forget):
    """Two learners with 1200 trials; rewards of -.5 and .5, so that no constant is needed."""
    parameters = {"alpha": Parameter(0.3), "forget": Parameter(forget), "beta": Parameter(4.0, high=20)}
    trials = simulate_cohort(2, 1200, n_blocks=24, parameters=parameters, seed=1).trials
    data = SequenceDataset.from_trials(read_trials(trials, block="block"))
    return replace(data, rewards=data.rewards - 0.5)


def forgetting_equations(status):
    values = np.tile([0.7, 1.0, 1.0], (2, 1))
    return EquationSet(OWN_STATES, (), values, np.tile(np.array(status, dtype="int8"), (2, 1)))


def test_a_small_forgetting_rate_is_estimated_and_no_forgetting_is_kept(build):
    """SPICE rounded coefficients within a threshold of 1 to 1 (fit_sindy.py:121-125); here structures are compared.

    With a rate of .05, the coefficient .95 stays free and has a standard error; without forgetting, the value
    is kept, which is no estimate and has none.
    """
    everything, start = np.ones(3, dtype=bool), forgetting_equations([FREE, FREE, KEPT])
    slow = select_structure(build("forgetting"), forgetting_data(0.05), start, everything).result
    none = select_structure(build("forgetting"), forgetting_data(0.0), start, everything).result
    assert slow.equations.status.tolist() == 2 * [[FREE, FREE, FREE]]
    assert none.equations.status.tolist() == 2 * [[FREE, FREE, KEPT]]
    error = np.sqrt(slow.covariance[:, 2, 2])
    assert (np.abs(slow.equations.coefficients[:, 2] - 0.95) < 4 * error).all()
    assert (slow.equations.coefficients[:, 2] != 1).all()
    assert (none.equations.coefficients[:, 2] == 1).all()
    assert np.isnan(none.covariance[:, 2, 2]).all()
    assert np.isfinite(none.covariance[:, :2, :2]).all()


@pytest.mark.parametrize(("forget", "coefficient"), [(0.02, 0.98), (0.97, 0.03)])
def test_estimates_near_1_and_near_0_stay_as_they_are(forget, coefficient, build):
    """SPICE set those within a threshold of 1 to 1 and those below it to 0 (fit_sindy.py:121-125)."""
    start = forgetting_equations([FREE, FREE, FREE])
    result = refit(build("forgetting"), forgetting_data(forget), start, tolerance=1e-10)
    found, error = result.equations.coefficients[:, 2], np.sqrt(result.covariance[:, 2, 2])
    assert (np.abs(found - coefficient) < 4 * error).all()
    assert not np.isin(found, [0.0, 1.0]).any()
    assert (np.abs(found - np.round(found, 4)) > 0).all()
