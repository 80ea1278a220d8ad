"""People make their choices again: by their weights, before their screens, with outcomes that were got there."""

from dataclasses import replace

import numpy as np

from spicestat.pooled.packed import Sessions, Shown, pack_sessions
from spicestat.pooled.prediction import predict_at
from spicestat.pooled.replay import alternatives, replay_states
from spicestat.pooled.states import Signal, State, state_rows

STATES = [
    State((Signal(kind="value", keep=0.5, scope="stimulus"),)),
    State((Signal(kind="choices", keep=0.8, scope="item"),)),
    State((Signal(kind="constant", action=1),)),
    State((Signal(kind="rewarded", keep=0.0, outcome="loss"),)),
]


def screens(seed: int = 0) -> Sessions:
    """Twelve sessions of four people, ragged: two of four items, one of three stimuli, losses, and forced choices."""
    rng = np.random.default_rng(seed)
    items = np.stack([rng.permutation(4)[:2] for _ in range(12 * 30)]).reshape(12, 30, 2)
    choice = rng.integers(0, 2, (12, 30))
    choice[::2, 20:] = -1
    reward = rng.integers(-2, 3, (12, 30)).astype(float)
    loss = np.where(np.arange(2) == choice[..., None], np.minimum(reward, 0.0)[..., None], np.nan)
    shown = Shown(stimulus=rng.integers(0, 3, (12, 30)), item=items, free=rng.random((12, 30)) < 0.8, loss=loss)
    return pack_sessions(choice, reward, np.repeat(np.arange(4), 3), 2, shown=shown)


def played(data: Sessions, choice: np.ndarray, source: tuple[np.ndarray, np.ndarray]) -> Sessions:
    """Data with other choices, and with the outcomes of other trials, put at the places of what was taken."""
    reward, loss = np.full_like(data.reward, np.nan), np.full_like(data.reward, np.nan)
    for t, s in zip(*np.nonzero(choice >= 0), strict=True):
        at = source[0][t, s], source[1][t, s]
        taken = data.choice[at]
        reward[t, s, choice[t, s]] = data.reward[(*at, taken)]
        loss[t, s, choice[t, s]] = data.shown.loss[(*at, taken)]
    return replace(data, choice=choice, reward=reward, shown=replace(data.shown, loss=loss))


def test_choices_follow_the_states_of_what_was_chosen_and_got_before():
    data = screens()
    # weights so large that choices are certain
    weights = 1e5 * np.random.default_rng(1).normal(size=(12, len(STATES)))
    choice, *source = replay_states(STATES, weights, data, np.arange(12), np.random.default_rng(2))
    again = played(data, choice, (source[0], source[1]))
    rows = state_rows(again, STATES, first=True)
    probabilities = predict_at(replace(rows, person=rows.session), weights)
    free = again.shown.free[rows.trial, rows.session]
    made = probabilities[np.arange(len(rows.choice)), rows.choice]
    assert made[free].min() > 0.4
    assert np.isclose(made[free], 1.0).mean() > 0.8


def test_outcomes_are_of_the_same_thing_of_the_same_stimulus_and_forced_choices_stay():
    data = screens()
    choice, *source = replay_states(STATES, np.zeros((12, 4)), data, np.arange(12), np.random.default_rng(3))
    there, source = choice >= 0, (source[0], source[1])
    np.testing.assert_array_equal(there, data.choice >= 0)
    forced = there & ~data.shown.free
    np.testing.assert_array_equal(choice[forced], data.choice[forced])
    own = np.stack(np.meshgrid(np.arange(30), np.arange(12), indexing="ij"))
    np.testing.assert_array_equal(np.stack(source)[:, forced], own[:, forced])
    things = alternatives(data)
    taken = np.take_along_axis(things, np.maximum(choice, 0)[..., None], axis=2)[..., 0]
    given = things[(*source, np.maximum(data.choice[source], 0))]
    np.testing.assert_array_equal(taken[there], given[there])
    assert (data.choice[source] >= 0)[there].all()
    stimulus = data.shown.stimulus
    same = (stimulus == stimulus[source]) & (source[1] == own[1])
    # of 4 items and 3 stimuli in at most 30 trials, most have been taken in the session
    assert same[there].mean() > 0.6
    assert 0.3 < (choice == data.choice)[there & data.shown.free].mean() < 0.7


def test_a_task_that_changes_is_followed():
    """Action 0 pays in the first half of 100 trials, and action 1 in the second."""
    rng = np.random.default_rng(0)
    choice = rng.integers(0, 2, (40, 100))
    reward = (choice == (np.arange(100) >= 50)).astype(float)
    data = pack_sessions(choice, reward, np.arange(40), 2)
    found = replay_states(STATES[2:3], np.zeros((40, 1)), data, np.arange(40), rng)
    got = data.received[found.source_trial, found.source_session]
    pays = (found.choice == (np.arange(100) >= 50)[:, None]).astype(float)
    away = np.abs(np.arange(100) - 50) > 25
    np.testing.assert_array_equal(got[away], pays[away])


def test_some_sessions_several_times_and_not_to_their_end():
    data = screens()
    sessions = np.array([3, 3, 8])
    found = replay_states(STATES, np.zeros((3, 4)), data, sessions, np.random.default_rng(0), n_trials=7)
    assert found.choice.shape == (7, 3)
    assert (found.choice >= 0).all()
    assert (found.choice[:, 0] != found.choice[:, 1]).any()
