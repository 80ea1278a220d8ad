"""Stand-ins for participants without data."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.estimate.stand_ins import use_typical_embedding, with_typical_equations
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT
from spicestat.models.base import BuildSettings, building
from spicestat.models.precoded import LearningRateRNN

RATE, NOT_CHOSEN, BETA = "x_learning_rate_reward", "x_value_reward_not_chosen", ("beta", "x_value_reward")


@pytest.fixture
def five(equations_of):
    """Three who keep the value, one who forgets, and one (the second) without data."""
    equations = equations_of(
        "learning_rate",
        5,
        {(RATE, "1"): [0.2, 9, 0.8, 0.4, 0.9], (NOT_CHOSEN, NOT_CHOSEN): "keep", BETA: [3, 9, 8, 4, 1]},
    )
    status = equations.status.copy()
    own = equations.terms.index((NOT_CHOSEN, NOT_CHOSEN))
    status[4, own] = FREE
    status[1] = FREE
    equations = equations.with_status(status)
    covariance = np.full((5, 7, 7), np.nan)
    n_trials = np.array([50, 0, 50, 50, 50])
    return RefitResult(equations, covariance, -n_trials / 2.0, n_trials, n_trials > 0, np.zeros((5, 7), dtype=bool))


def test_who_has_no_data_gets_the_medians_of_the_most_frequent_structure(five):
    found = with_typical_equations(five).equations
    np.testing.assert_array_equal(found.status[1], five.equations.status[0])
    expected = dict.fromkeys(found.terms, 0.0) | {(RATE, "1"): 0.4, (NOT_CHOSEN, NOT_CHOSEN): 1.0, BETA: 4.0}
    assert dict(zip(found.terms, found.coefficients[1], strict=True)) == pytest.approx(expected)


def test_everything_else_stays(five):
    status, coefficients = five.equations.status.copy(), five.equations.coefficients.copy()
    found, others = with_typical_equations(five), [0, 2, 3, 4]
    np.testing.assert_array_equal(found.equations.status[others], status[others])
    np.testing.assert_array_equal(found.equations.coefficients[others], coefficients[others])
    assert found.n_trials[1] == 0
    assert not found.converged[1]
    np.testing.assert_array_equal(five.equations.status, status)
    np.testing.assert_array_equal(five.equations.coefficients, coefficients)


def test_with_data_of_everybody_nothing_is_done(five):
    everybody = replace(five, n_trials=np.full(5, 50))
    assert with_typical_equations(everybody) is everybody


def test_fixed_coefficients_of_a_stand_in_are_consistent(five):
    found = with_typical_equations(five).equations
    assert (found.coefficients[found.status == KEPT] == 1).all()
    assert (found.coefficients[found.status == EXCLUDED] == 0).all()


@pytest.mark.parametrize("n_members", [1, 3])
def test_the_mean_embedding_stands_in_member_by_member(n_members, small_data):
    with building(BuildSettings(n_members=n_members)):
        model = LearningRateRNN(2, n_participants=3)
    before = model.participant_embedding.weight.detach().clone()
    rows = torch.nonzero(small_data.participant != 1).squeeze(1)
    use_typical_embedding(model, small_data.select(rows))
    after = model.participant_embedding.weight.detach()
    assert torch.equal(after[:, [0, 2]], before[:, [0, 2]])
    torch.testing.assert_close(after[:, 1], (before[:, 0] + before[:, 2]) / 2)
    assert model.participant_embedding.weight.requires_grad


def test_embeddings_of_those_with_data_and_models_without_one_stay(small_data):
    model = LearningRateRNN(2, n_participants=3)
    before = model.participant_embedding.weight.detach().clone()
    use_typical_embedding(model, small_data)
    assert torch.equal(model.participant_embedding.weight, before)
    use_typical_embedding(LearningRateRNN(2), small_data)
