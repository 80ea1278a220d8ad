"""People with given weights play: what they do is what their weights say."""

import numpy as np

from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.play import play_states
from spicestat.pooled.prediction import predict_at
from spicestat.pooled.state_library import ten_states
from spicestat.pooled.states import state_rows


class Coins:
    """Every action pays by a coin."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def step(self, choice):
        paid = self.rng.integers(0, 2, len(choice)).astype(float)
        return np.where(np.arange(3) == choice[:, None], paid[:, None], np.nan)


def test_probabilities_are_those_that_the_states_predict():
    rng = np.random.default_rng(0)
    states = ten_states(3)
    weights = rng.normal(size=(5, len(states)))
    played = play_states(states, weights, Coins(1), 3, 12, rng)
    data = pack_sessions(played.choice, played.rewards, np.arange(5), 3, reward_size=1.0)
    rows = state_rows(data, states, first=True)
    np.testing.assert_allclose(played.probabilities[rows.session, rows.trial], predict_at(rows, weights), atol=1e-12)


def test_choices_follow_the_probabilities():
    rng = np.random.default_rng(0)
    states = ten_states(3)
    played = play_states(states, np.full((2000, len(states)), 0.3), Coins(1), 3, 3, rng)
    for action in range(3):
        expected, found = played.probabilities[..., action], played.choice == action
        error = (found - expected).mean(axis=0)
        # five standard errors of a mean of 2000
        assert (np.abs(error) < 5 * np.sqrt(0.25 / 2000)).all()
