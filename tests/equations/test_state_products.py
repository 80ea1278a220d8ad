"""What a network on top of equations knows more is proposed as products of states."""

from dataclasses import replace

import numpy as np
import pytest

from spicestat.equations.state_products import propose_states
from spicestat.pooled.fit import fit_pooled
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.states import state
from spicestat.training.state_network import train_state_network

HIDDEN = state(("choices", 0.8), ("switching", 0.8))
SEEN = (state("last"), state(("choices", 0.8)), state("last", ("switching", 0.8)), state(("rewarded", 0.0)))


class Coins:
    """Both actions pay half of the time."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def step(self, choice):
        paid = self.rng.integers(0, 2, len(choice)).astype(float)
        return np.where(np.arange(2) == choice[:, None], paid[:, None], np.nan)


@pytest.fixture(scope="module")
def people():
    """Sixty people who also repeat what they chose lately, but only when they have switched lately."""
    rng = np.random.default_rng(1)
    owner = np.repeat(np.arange(60), 3)
    weights = (np.array([0.5, 8.0]) + 0.3 * rng.standard_normal((60, 2)))[owner]
    played = play_states((state("last"), HIDDEN), weights, Coins(), 2, 80, rng)
    data = pack_sessions(played.choice, played.rewards, owner, 2)
    return data, fit_pooled(data, [state("last"), state(("choices", 0.8)), state("last", ("switching", 0.8))])


@pytest.fixture(scope="module")
def network(people):
    return train_state_network(*people, SEEN)


def test_what_the_equations_lack_is_proposed_first(people, network):
    data, fit = people
    assert network.nll < network.nll_equations
    first, *none = propose_states(data, fit, network, n_terms=1)
    assert {signal.name for signal in HIDDEN.signals} <= {signal.name for signal in first.signals}
    assert not none
    more = propose_states(data, fit, network, n_terms=4)
    assert len(more) == 4
    assert not set(more) & set(fit.states)
    assert len({frozenset(declared.signals) for declared in more}) == 4


def test_a_network_that_is_the_equations_proposes_nothing(people, network):
    data, fit = people
    assert propose_states(data, fit, replace(network, members=())) == ()
