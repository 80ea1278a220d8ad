"""Kernels against a loop over trials that changes one event at a time and runs the states again."""

import numpy as np
import pytest

from spicestat.pooled.kernels import state_moves
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.state_library import history_states
from spicestat.pooled.states import state, state_rows


def sessions(n_actions=3, n_sessions=4, n_trials=15, seed=0):
    rng = np.random.default_rng(seed)
    choice = rng.integers(0, n_actions, (n_sessions, n_trials))
    choice[1, 10:] = -1
    choice[2, 3] = -1
    reward = rng.choice([-1.0, 0.0, 2.0], (n_sessions, n_trials))
    reward[0, 4] = np.nan
    return choice, reward, np.array([0, 0, 1, 2])


def contrasts(choice, reward, states, action, n_actions):
    """States of one action less the mean of the others', (trials, states), for one session."""
    data = pack_sessions(choice[None], reward[None], [0], n_actions, reward_size=2.0)
    values = state_rows(data, states, first=True).values
    others = [a for a in range(n_actions) if a != action]
    return values[:, action] - values[:, others].mean(axis=1)


def looped(choice, reward, person, states, event, n_people, lags, n_actions):
    found = [[[] for _ in range(lags)] for _ in range(n_people)]
    for s, who in enumerate(person):
        there = choice[s] >= 0
        played, got = choice[s][there], reward[s][there]
        for t in range(len(played) - 1):
            if event == "reward" and np.isnan(got[t]):
                continue
            pairs = []
            if event == "reward":
                high, low = got.copy(), got.copy()
                high[t], low[t] = np.nanmax(reward[choice >= 0]), np.nanmin(reward[choice >= 0])
                pairs.append(((played, high), (played, low)))
            else:
                for other in set(range(n_actions)) - {played[t]}:
                    changed = played.copy()
                    changed[t] = other
                    pairs.append(((played, got), (changed, got)))
            moved = np.mean(
                [
                    contrasts(*after, states, played[t], n_actions) - contrasts(*before, states, played[t], n_actions)
                    for after, before in pairs
                ],
                axis=0,
            )
            for lag in range(1, min(lags, len(played) - 1 - t) + 1):
                found[who][lag - 1].append(moved[t + lag])
    empty = np.full(len(states), np.nan)
    return np.array([[np.mean(cell, axis=0) if cell else empty for cell in row] for row in found])


@pytest.mark.parametrize("event", ["reward", "choice"])
@pytest.mark.parametrize("n_actions", [2, 3])
def test_all_states_of_the_library_move_as_in_a_loop(event, n_actions):
    choice, reward, person = sessions(n_actions)
    states = history_states(n_actions)
    data = pack_sessions(choice, reward, person, n_actions)
    moves = state_moves(data, states, event, n_people=3, lags=16, events_per_person=1000)
    slow = looped(choice, reward, person, states, event, 3, 16, n_actions)
    np.testing.assert_allclose(moves.mean, slow, atol=1e-12)
    assert np.isnan(moves.mean[:, 14:]).all()


def test_few_events_say_what_many_say():
    rng = np.random.default_rng(1)
    choice, reward = rng.integers(0, 2, (30, 100)), rng.integers(0, 2, (30, 100))
    data = pack_sessions(choice, reward, np.repeat(np.arange(10), 3), 2)
    states = [state("last", "run"), state(("value", 0.7))]
    few, all_of_them = (state_moves(data, states, "choice", 10, 5, n) for n in (30, 1000))
    assert few.n_events[0, 0] == 30
    assert all_of_them.n_events[0, 0] == 297
    np.testing.assert_allclose(few.mean.mean(axis=0), all_of_them.mean.mean(axis=0), atol=0.06)


def test_a_person_without_trials_has_no_kernel():
    data = pack_sessions([[0, 1, 0]], [[1.0, 0.0, 1.0]], [1], n_actions=2)
    moves = state_moves(data, [state("last")], "choice", n_people=2, lags=2)
    assert np.isnan(moves.mean[0]).all()
    assert np.isfinite(moves.mean[1]).all()
