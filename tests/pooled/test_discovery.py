"""States beyond the library are found where they are, and nothing is found where they are not."""

import numpy as np
import pytest

from spicestat.errors import ConfigError
from spicestat.pooled.discovery import discover_states
from spicestat.pooled.fit import Chosen, choose_states
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.state_library import further_states, history_states
from spicestat.pooled.states import Signal, State, state, state_rows

AGO = State((Signal(kind="ago", back=3),))


class Coins:
    """Action 0 pays with probability .7, action 1 with .3."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def step(self, choice):
        paid = (self.rng.random(len(choice)) < np.where(choice == 0, 0.7, 0.3)).astype(float)
        return np.where(np.arange(2) == choice[:, None], paid[:, None], np.nan)


def cohort(states, means, seed, n_people=24, n_trials=120):
    rng = np.random.default_rng(seed)
    weights = np.array(means) + 0.3 * rng.standard_normal((n_people, len(states)))
    played = play_states(states, weights, Coins(seed), 2, n_trials, rng)
    return pack_sessions(played.choice, played.rewards, np.arange(n_people), 2)


def test_a_choice_of_three_trials_ago_is_found_and_what_stood_for_it_is_dropped():
    data = cohort([state("last"), state(("value", 0.5)), AGO], [0.3, 1.5, 1.0], seed=1)
    chosen = choose_states(data)
    found = discover_states(data, chosen)
    assert "ago_3" in found.proposals[0].state.name
    assert found.proposals[0].gain > 20
    assert found.proposals[0].state in found.chosen.states
    kept = set(found.chosen.states) - {p.state for p in found.proposals}
    assert kept < set(chosen.states)
    assert not set(found.proposals[0].instead_of) & set(found.chosen.states)


def test_nothing_is_found_where_the_library_says_it_all():
    # false discoveries are about 1 in 160 times the candidates that resemble nothing else; the seed is fixed
    data = cohort([state("last"), state(("value", 0.5))], [0.3, 1.5], seed=2)
    chosen = choose_states(data)
    found = discover_states(data, chosen)
    assert found.proposals == ()
    assert found.n_candidates == len(further_states(2))


def test_a_candidate_that_is_there_already_is_none():
    data = cohort([state("last")], [0.5], seed=3, n_people=8, n_trials=40)
    found = discover_states(data, Chosen((state("last"),), 1, ()), candidates=[state("last")])
    assert (found.n_candidates, found.proposals) == (0, ())


@pytest.mark.parametrize("n_actions", [2, 4])
def test_further_states_are_not_in_the_library(n_actions):
    library = {frozenset(s.signals) for s in history_states(n_actions)}
    further = [frozenset(s.signals) for s in further_states(n_actions)]
    assert not library & set(further)
    assert len(set(further)) == len(further)


def values(declared, choice, reward):
    data = pack_sessions([choice], [reward], [0], 2)
    return state_rows(data, [declared], first=True).values[:, :, 0]


def test_signals_of_discovery_by_hand():
    choice, reward = [0, 1, 1, 0, 0], [1.0, 0.0, np.nan, 1.0, 1.0]
    back = State((Signal(kind="ago", back=2),))
    assert values(back, choice, reward)[:, 0].tolist() == [0, 0, 1, 0, 0]
    paid = State((Signal(kind="rewarded_ago", back=2),))
    assert values(paid, choice, reward).tolist() == [[0, 0], [0, 0], [1, 0], [0, 0], [0, 0]]
    streaks = {"losing": [0, 0, 1, 1, 0], "winning": [0, 1, 0, 0, 1]}
    for kind, length in streaks.items():
        product = values(State((Signal(kind="constant", action=0), Signal(kind=kind))), choice, reward)[:, 0]
        np.testing.assert_allclose(product, np.log1p(length))
    fading = State((Signal(kind="constant", action=0), Signal(kind="fading", keep=0.5)))
    np.testing.assert_allclose(values(fading, choice, reward)[:, 0], [1, 1, 0.5, 0.5, 1])


def test_how_many_choices_ago_is_one_or_more():
    with pytest.raises(ConfigError, match="back"):
        Signal(kind="ago", back=0)
