"""Every state of the library, beside a slow loop over single trials that was written for this test alone."""

import math

import numpy as np
import pytest

from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.state_library import history_states
from spicestat.pooled.states import Signal, State, state_rows


class Memory:
    """One person in one block: what is remembered after each trial, as plain numbers."""

    def __init__(self, n_actions):
        self.n = n_actions
        self.choices, self.rewards = [], []

    def seen(self, choice, reward):
        self.choices.append(choice)
        self.rewards.append(reward)

    def trace(self, inputs, keep):
        """A trace from 0; None leaves it as it is."""
        total = 0.0
        for value in inputs:
            if value is not None:
                total = keep * total + (1 - keep) * value
        return total

    def switches(self):
        return [0.0 if t == 0 else float(self.choices[t] != self.choices[t - 1]) for t in range(len(self.choices))]

    def runs(self):
        """Lengths of the present run and of the one before."""
        lengths = []
        for t, choice in enumerate(self.choices):
            if t and choice == self.choices[t - 1]:
                lengths[-1] += 1
            else:
                lengths.append(1)
        return ([0, 0, *lengths])[-1], ([0, 0, *lengths])[-2]

    def learned(self, signal):
        """Values of the actions, and the sizes of the errors (None where no reward was shown)."""
        values, errors = [0.0] * self.n, []
        for choice, reward in zip(self.choices, self.rewards, strict=True):
            if reward is None:
                errors.append(None)
                continue
            error = reward - values[choice]
            values[choice] += (1 - signal.keep) * error
            errors.append(abs(error))
        return values, errors

    def signal(self, signal, action):
        kind, keep = signal.kind, signal.keep
        played = self.choices
        if kind == "constant":
            return float(action == signal.action)
        if kind == "last":
            return float(bool(played) and played[-1] == action)
        if kind == "previous":
            others = [c for c in played if c != played[-1]]
            before = next((c for c in reversed(played) if c != played[-1]), None) if others else None
            return float(before == action)
        if kind == "choices":
            return self.trace([float(c == action) for c in played], keep)
        if kind == "rewarded":
            return self.trace([r if c == action else 0.0 for c, r in zip(played, self.rewards, strict=True)], keep)
        if kind == "value":
            return self.learned(signal)[0][action]
        if kind == "untried":
            return float(action not in played)
        if kind == "since":
            waited = played[::-1].index(action) if action in played else len(played)
            return math.log1p(waited)
        return self.common(kind, keep, signal)

    def common(self, kind, keep, signal):
        """What is the same for all actions."""
        run, before = self.runs()
        played = self.choices
        if kind == "switching":
            return self.trace(self.switches(), keep)
        if kind == "returning":
            back = [
                float(t > 1 and played[t] == played[t - 2] and played[t] != played[t - 1]) for t in range(len(played))
            ]
            return self.trace(back, keep)
        if kind == "reward_rate":
            return self.trace(self.rewards, keep)
        if kind == "surprise":
            return self.trace(self.learned(signal)[1], keep)
        return {
            "run": math.log1p(run),
            "previous_run": math.log1p(before),
            "long_run": float(run >= before),
            "elapsed": math.log1p(len(played)),
        }[kind]


def slow(choice, reward, states, n_actions):
    """States before every choice but the first, (T - 1, A, K)."""
    memory, out = Memory(n_actions), []
    for t, (action, earned) in enumerate(zip(choice, reward, strict=True)):
        if t:
            out.append(
                [
                    [math.prod(memory.signal(s, a) for s in declared.signals) for declared in states]
                    for a in range(n_actions)
                ]
            )
        memory.seen(int(action), None if np.isnan(earned) else float(earned))
    return np.array(out)


@pytest.mark.parametrize("n_actions", [2, 3])
def test_every_state_of_the_library(n_actions):
    rng = np.random.default_rng(n_actions)
    choice = np.where(rng.random((4, 25)) < 0.5, rng.integers(0, n_actions, (4, 25)), 0)
    reward = np.where(rng.random((4, 25)) < 0.15, np.nan, rng.normal(size=(4, 25)))
    data = pack_sessions(choice, reward, [0, 0, 1, 1], n_actions, reward_size=1.0)
    states = history_states(n_actions)
    rows = state_rows(data, states)
    expected = np.concatenate([slow(c, r, states, n_actions) for c, r in zip(choice, reward, strict=True)])
    for k, declared in enumerate(states):
        assert np.allclose(rows.values[:, :, k], expected[:, :, k]), declared.name


def test_the_order_of_sessions_and_people_does_not_matter():
    rng = np.random.default_rng(5)
    choice, reward = rng.integers(0, 3, (6, 15)), rng.random((6, 15))
    choice[2, 9:] = -1
    person = np.array([0, 1, 2, 0, 1, 2])
    states = (*history_states(3), State((Signal(kind="value", keep=0.5, keep_negative=0.8, keep_unchosen=0.9),)))
    rows = state_rows(pack_sessions(choice, reward, person, 3), states)
    order = np.array([5, 2, 0, 4, 1, 3])
    names = np.array([2, 0, 1])
    moved = state_rows(pack_sessions(choice[order], reward[order], names[person[order]], 3), states)
    for old in range(6):
        new = int(np.flatnonzero(order == old)[0])
        mine, theirs = rows.session == old, moved.session == new
        assert np.array_equal(rows.values[mine], moved.values[theirs])
        assert (moved.person[theirs] == names[person[old]]).all()
