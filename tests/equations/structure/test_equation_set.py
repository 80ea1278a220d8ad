"""Equations read as text, and excluded and kept terms have their fixed values."""

import numpy as np
import pytest

from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT

RATE, NOT_CHOSEN = "x_learning_rate_reward", "x_value_reward_not_chosen"
BETA = ("beta", "x_value_reward")


@pytest.fixture
def two(equations_of):
    """Participant 0 forgets; participant 1 keeps the value."""
    equations = equations_of(
        "learning_rate", 2, {(RATE, "1"): [0.8, 0.2], (NOT_CHOSEN, "1"): 0.1, (NOT_CHOSEN, NOT_CHOSEN): 0.8, BETA: 3.0}
    )
    status = equations.status.copy()
    status[1, equations.terms.index((NOT_CHOSEN, "1"))] = EXCLUDED
    status[1, equations.terms.index((NOT_CHOSEN, NOT_CHOSEN))] = KEPT
    return equations.with_status(status)


def test_text(two):
    assert two.text(0) == {
        RATE: f"{RATE}[k+1] = 0.800 1",
        NOT_CHOSEN: f"{NOT_CHOSEN}[k+1] = 0.100 1 + 0.800 {NOT_CHOSEN}[k]",
        "beta(x_value_reward)": "beta(x_value_reward) = 3.000",
    }
    assert two.text(1)[NOT_CHOSEN] == f"{NOT_CHOSEN}[k+1] = {NOT_CHOSEN}[k]"


def test_text_of_powers_and_of_nothing(equations_of):
    equations = equations_of(
        "rescorla_wagner",
        1,
        {("x_value_reward_chosen", "c_reward^2"): -0.5, ("x_value_reward_chosen", "x_value_reward_chosen c_reward"): 1},
        degree=2,
    )
    assert equations.text(0)["x_value_reward_chosen"] == (
        "x_value_reward_chosen[k+1] = 1.000 x_value_reward_chosen[k] c_reward[k] + -0.500 c_reward[k]^2"
    )
    empty = equations.with_status(np.zeros(len(equations.terms), dtype="int8"))
    assert empty.text(0)["x_value_reward_chosen"] == "x_value_reward_chosen[k+1] = 0"


def test_fixed_terms_keep_their_values(two):
    changed = two.with_coefficients(np.full_like(two.coefficients, 9.0))
    assert (changed.coefficients[changed.status == FREE] == 9).all()
    assert (changed.coefficients[changed.status == KEPT] == 1).all()
    assert (changed.coefficients[changed.status == EXCLUDED] == 0).all()


def test_own_states_are_marked(two):
    marked = [two.terms[position] for position in np.flatnonzero(two.own_state)]
    assert marked == [(RATE, RATE), (NOT_CHOSEN, NOT_CHOSEN)]


def test_positions_are_those_of_the_terms(two):
    for library in two.libraries:
        assert [term for _, term in two.terms[two.positions(library)]] == list(library.terms)
    assert two.n_participants == 2


def test_a_status_for_the_population_is_everybodys(two):
    status = np.where(np.arange(len(two.terms)) == 0, FREE, EXCLUDED)
    assert (two.with_status(status).status == status).all()
    assert two.status[1].tolist().count(KEPT) == 1
