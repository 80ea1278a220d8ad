"""The likelihood that group models are given: right values at any coefficients, for any choice of people."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy_learners import learning_rate, log_likelihood_of

from spicestat.equations.estimate.group_likelihood import EquationLikelihood
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.errors import ConfigError, DataError, ShapeError

RATE, NOT_CHOSEN = "x_learning_rate_reward", "x_value_reward_not_chosen"
BETA = ("beta", "x_value_reward")
LEARNING = {(RATE, "1"): 0.3, (NOT_CHOSEN, NOT_CHOSEN): 0.8, BETA: 2.0}
BENT = LEARNING | {(RATE, "c_value_reward"): 0.1}
STRUCTURES = {"affine": LEARNING, "not affine": BENT}


@pytest.fixture(params=STRUCTURES)
def equations(request, equations_of):
    return equations_of("learning_rate", 3, STRUCTURES[request.param])


@pytest.fixture
def likelihood(build, small_data, equations):
    return EquationLikelihood(build("learning_rate"), small_data, equations, ["a", "b", "c"])


def draws(likelihood, n_sets, seed=0):
    """Coefficients (Q, P, K) from 0 to 1."""
    return np.random.default_rng(seed).random((n_sets, len(likelihood.participants), len(likelihood.terms)))


def full(equations, free):
    """All coefficients (P, all terms)."""
    every = equations.coefficients.copy()
    every[:, (equations.status == FREE).any(axis=0)] = free
    return every


# --- values ---------------------------------------------------------------------------------------------------------


def test_values_are_those_of_an_independent_likelihood(likelihood, equations, small_data):
    sets = draws(likelihood, 3)
    found = likelihood.log_likelihood(sets)
    assert found.shape == (3, 3)
    for own, expected in zip(sets, found, strict=True):
        there = log_likelihood_of(learning_rate, small_data, full(equations, own), equations.terms)
        np.testing.assert_allclose(there, expected, rtol=1e-9)


def test_derivatives_are_those_of_the_values(likelihood):
    at, step = draws(likelihood, 1)[0], 1e-5
    value, gradient, information = likelihood.derivatives(at)
    np.testing.assert_allclose(value, likelihood.log_likelihood(at[None])[0], rtol=1e-12)
    for term in range(len(likelihood.terms)):
        high, low = (likelihood.derivatives(at + sign * step * np.eye(len(likelihood.terms))[term]) for sign in (1, -1))
        np.testing.assert_allclose(gradient[:, term], (high[0] - low[0]) / (2 * step), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(information[:, term], (low[1] - high[1]) / (2 * step), rtol=1e-5, atol=1e-5)


def test_many_sets_come_in_pieces_without_a_difference(likelihood, monkeypatch):
    sets = draws(likelihood, 7)
    whole = likelihood.log_likelihood(sets)
    monkeypatch.setattr("spicestat.equations.estimate.affine._CELLS_AT_ONCE", 10)
    monkeypatch.setattr("spicestat.equations.estimate.refit._ROWS_AT_ONCE", 4)
    np.testing.assert_allclose(likelihood.log_likelihood(sets), whole, rtol=1e-12)


def test_no_set_at_all(likelihood):
    assert likelihood.log_likelihood(draws(likelihood, 0)).shape == (0, 3)


# --- structure ------------------------------------------------------------------------------------------------------


def test_what_is_free_for_anybody_is_free_for_everybody(build, small_data, equations_of):
    equations = equations_of("learning_rate", 3, LEARNING)
    own = equations.terms.index((NOT_CHOSEN, NOT_CHOSEN))
    status = equations.status.copy()
    status[:2, own] = [KEPT, EXCLUDED]
    mixed = EquationLikelihood(build("learning_rate"), small_data, equations.with_status(status))
    all_free = EquationLikelihood(build("learning_rate"), small_data, equations)
    assert mixed.terms == all_free.terms == tuple(LEARNING)
    assert mixed.participants == (0, 1, 2)
    sets = draws(mixed, 2)
    np.testing.assert_allclose(mixed.log_likelihood(sets), all_free.log_likelihood(sets), rtol=1e-12)


def test_what_is_kept_by_everybody_stays(build, small_data, equations_of):
    kept = equations_of("learning_rate", 3, LEARNING | {(NOT_CHOSEN, NOT_CHOSEN): "keep"})
    likelihood = EquationLikelihood(build("learning_rate"), small_data, kept)
    everything = EquationLikelihood(build("learning_rate"), small_data, equations_of("learning_rate", 3, LEARNING))
    assert likelihood.terms == ((RATE, "1"), BETA)
    some = draws(likelihood, 2)
    same = np.insert(some, 1, 1.0, axis=2)
    np.testing.assert_allclose(likelihood.log_likelihood(some), everything.log_likelihood(same), rtol=1e-12)


def test_bounds_are_those_of_the_refit(likelihood):
    where = [likelihood.terms.index(term) for term in ((RATE, "1"), BETA)]
    np.testing.assert_array_equal(likelihood.low[where], [-10, -50])
    np.testing.assert_array_equal(likelihood.high[where], [10, 50])


def test_a_fit_offers_its_likelihood(tiny_fit):
    likelihood = tiny_fit.choice_likelihood()
    refit = tiny_fit.model.refit
    free = (refit.equations.status != EXCLUDED).any(axis=0) & (refit.equations.status == FREE).any(axis=0)
    own = refit.equations.coefficients[:, free]
    assert likelihood.participants == tiny_fit.trials.participants
    np.testing.assert_allclose(likelihood.log_likelihood(own[None])[0], refit.log_likelihood, rtol=1e-9)
    np.testing.assert_array_equal(likelihood.n_trials, refit.n_trials)


# --- people ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("people", [[1], [2, 0], [1, 1, 0, 2, 1]], ids=str)
def test_selected_people_have_their_own_likelihood(people, likelihood):
    chosen, sets = likelihood.select(np.array(people)), draws(likelihood, 2)
    assert chosen.participants == tuple("abc"[position] for position in people)
    np.testing.assert_array_equal(chosen.n_trials, likelihood.n_trials[people])
    np.testing.assert_array_equal([chosen.low, chosen.high], [likelihood.low, likelihood.high])
    expected = likelihood.log_likelihood(sets)[:, people]
    np.testing.assert_allclose(chosen.log_likelihood(sets[:, people]), expected, rtol=1e-12)
    for found, there in zip(chosen.derivatives(sets[0, people]), likelihood.derivatives(sets[0]), strict=True):
        np.testing.assert_allclose(found, there[people], rtol=1e-9, atol=1e-12)


def test_people_can_be_selected_again(likelihood):
    twice, sets = likelihood.select([2, 1, 1]).select([2, 0]), draws(likelihood, 1)
    assert twice.participants == ("b", "c")
    expected = likelihood.log_likelihood(sets)[:, [1, 2]]
    np.testing.assert_allclose(twice.log_likelihood(sets[:, [1, 2]]), expected, rtol=1e-12)


def test_people_of_a_model_with_embeddings_may_come_more_often_than_it_knows(build, small_data, equations_of):
    """Copies of a participant must not need embeddings of their own."""
    equations = equations_of("participant_embedding", 3, LEARNING)
    model = build("participant_embedding", n_participants=3)
    likelihood = EquationLikelihood(model, small_data, equations)
    sets = draws(likelihood, 1)
    chosen = likelihood.select([2] * 5)
    expected = likelihood.log_likelihood(sets)[:, [2] * 5]
    np.testing.assert_allclose(chosen.log_likelihood(sets[:, [2] * 5]), expected, rtol=1e-12)


def test_bounds_of_selected_people_stay(build, small_data, equations_of):
    more = replace(small_data, rewards=torch.where(small_data.participant[:, None, None] == 1, 5.0, small_data.rewards))
    equations = equations_of("learning_rate", 3, LEARNING)
    likelihood = EquationLikelihood(build("learning_rate"), more, equations)
    np.testing.assert_array_equal(likelihood.select([0]).high, likelihood.high)
    assert likelihood.high[-1] == 10.0


def test_who_made_no_choice_has_likelihood_0(build, small_data, equations_of):
    equations = equations_of("learning_rate", 4, LEARNING)
    likelihood = EquationLikelihood(build("learning_rate"), replace(small_data, n_participants=4), equations)
    sets = draws(likelihood, 2)
    assert likelihood.n_trials[3] == 0
    assert (likelihood.log_likelihood(sets)[:, 3] == 0).all()
    assert (likelihood.derivatives(sets[0])[1][3] == 0).all()
    with pytest.raises(DataError, match="none of the selected people"):
        likelihood.select([3, 3])
    both = likelihood.select([3, 1])
    np.testing.assert_allclose(both.log_likelihood(sets[:, [3, 1]]), likelihood.log_likelihood(sets)[:, [3, 1]])


# --- errors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3, 3), (1, 2, 3), (1, 3, 9)])
def test_sets_of_the_wrong_shape_are_refused(shape, likelihood):
    with pytest.raises(ShapeError, match="shape"):
        likelihood.log_likelihood(np.zeros(shape))
    with pytest.raises(ShapeError, match="shape"):
        likelihood.derivatives(np.zeros((*shape, 1)))


@pytest.mark.parametrize("people", [[3], [-1], [], [0.5], [True, False, True]], ids=str)
def test_people_that_do_not_exist_are_refused(people, likelihood):
    with pytest.raises(ConfigError, match="positions"):
        likelihood.select(people)


def test_labels_must_fit(build, small_data, equations):
    with pytest.raises(ShapeError, match="same participants"):
        EquationLikelihood(build("learning_rate"), small_data, equations, ["a"])
