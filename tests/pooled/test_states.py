import json

import numpy as np
import pytest

from spicestat.pooled.packed import Sessions, pack_sessions
from spicestat.pooled.state_library import history_states, ten_states
from spicestat.pooled.state_signals import KINDS
from spicestat.pooled.states import Signal, State, state, state_rows


def one(choice: list[int], reward: list[float], n_actions: int = 2) -> Sessions:
    return pack_sessions([choice], [reward], [0], n_actions=n_actions)


def values(data: Sessions, *signals: str | tuple[str, float]) -> np.ndarray:
    return state_rows(data, [state(*signals)], first=True).values[:, :, 0]


def random_sessions(seed: int, n_actions: int = 3, gaps: bool = True) -> Sessions:
    rng = np.random.default_rng(seed)
    choice = rng.integers(0, n_actions, (6, 20))
    reward = rng.normal(size=(6, 20, n_actions))
    if gaps:
        choice[rng.random(choice.shape) < 0.1] = -1
        reward[rng.random(reward.shape) < 0.2] = np.nan
    choice[3, 12:] = -1
    return pack_sessions(choice, reward, [0, 0, 1, 1, 2, 2], n_actions)


def test_runs_and_switches_by_hand() -> None:
    data = one([0, 0, 1, 1, 1, 0], [1, 0, 1, 1, 0, 0])
    assert np.allclose(np.expm1(values(data, "last", "run")).sum(axis=1), [0, 1, 2, 1, 2, 3])
    assert np.allclose(np.expm1(values(data, "last", "previous_run")).sum(axis=1), [0, 0, 0, 2, 2, 2])
    assert np.allclose(values(data, "last", "long_run").sum(axis=1), [0, 1, 1, 0, 1, 1])
    assert np.allclose(values(data, "last", ("switching", 0.5)).sum(axis=1), [0, 0, 0, 0.5, 0.25, 0.125])
    assert np.allclose(values(data, "previous"), [[0, 0], [0, 0], [0, 0], [1, 0], [1, 0], [1, 0]])
    assert np.allclose(values(data, "untried"), [[1, 1], [0, 1], [0, 1], [0, 0], [0, 0], [0, 0]])
    assert np.allclose(np.expm1(values(data, "since")), [[0, 0], [0, 1], [0, 2], [1, 0], [2, 0], [3, 0]])


def test_traces_and_values_by_hand() -> None:
    data = one([0, 1, 0], [2, 1, 0])
    assert data.reward_size == 2
    assert np.allclose(values(data, ("choices", 0.5)), [[0, 0], [0.5, 0], [0.25, 0.5]])
    assert np.allclose(values(data, ("rewarded", 0.5)), [[0, 0], [0.5, 0], [0.25, 0.25]])
    assert np.allclose(values(data, ("value", 0.5)), [[0, 0], [0.5, 0], [0.5, 0.25]])
    assert np.allclose(values(data, "last", ("reward_rate", 0.5)).sum(axis=1), [0, 0.5, 0.5])
    assert np.allclose(values(data, "last", ("surprise", 0.5)).sum(axis=1), [0, 0.5, 0.5])


def test_two_rates_and_forgetting() -> None:
    data = one([0, 0, 1, 0], [1, 0, 1, 1])
    slow_down = State((Signal(kind="value", keep=0.5, keep_negative=0.9, keep_unchosen=0.8),))
    got = state_rows(data, [slow_down], first=True).values[:, :, 0]
    assert np.allclose(got, [[0, 0], [0.5, 0], [0.45, 0], [0.36, 0.5]])


def test_missing_choices_are_stepped_over() -> None:
    whole, gap = one([0, 1, 1, 0], [1, 0, 1, 1]), one([0, -1, 1, -1, 1, 0], [1, 5, 0, np.nan, 1, 1])
    states = history_states(2)
    a, b = state_rows(whole, states), state_rows(gap, states)
    assert np.array_equal(a.values, b.values)
    assert b.trial.tolist() == [2, 4, 5]


def test_a_missing_reward_leaves_what_it_would_have_changed() -> None:
    data = one([0, 0, 1], [1, np.nan, 1])
    for kind in ("value", "rewarded"):
        got = values(data, (kind, 0.5))
        assert got[2, 0] == got[1, 0] == 0.5
    assert values(data, "last", ("reward_rate", 0.5)).sum(axis=1)[2] == 0.5


def test_counterfactual_rewards_are_only_in_foregone() -> None:
    shown = pack_sessions([[0, 0]], [[[1.0, 0.5], [1.0, np.nan]]], [0], n_actions=2)
    assert np.allclose(values(shown, ("foregone", 0.0))[1], [0, 0.5])
    own = pack_sessions([[0, 0]], [[1.0, 1.0]], [0], n_actions=2)
    assert np.array_equal(values(own, ("value", 0.3)), values(shown, ("value", 0.3)))


@pytest.mark.parametrize("n_actions", [2, 3, 4])
def test_states_are_finite_bounded_and_of_the_past(n_actions: int) -> None:
    data = random_sessions(n_actions, n_actions)
    states = history_states(n_actions)
    rows = state_rows(data, states)
    assert np.isfinite(rows.values).all()
    assert np.abs(rows.values).max() < 10
    later = Sessions(data.choice.copy(), data.reward.copy(), data.trial, data.person, data.reward_size)
    later.choice[8:] = np.where(later.choice[8:] >= 0, (later.choice[8:] + 1) % n_actions, -1)
    later.reward[8:] = 0.3
    changed = state_rows(later, states)
    time = np.concatenate([np.arange(1, (data.choice[:, s] >= 0).sum()) for s in range(6)])
    assert np.array_equal(rows.values[time <= 8], changed.values[time <= 8])


def test_states_do_not_depend_on_the_names_of_actions() -> None:
    data, other = random_sessions(1), random_sessions(1)
    swap = np.array([2, 0, 1])
    renamed = Sessions(
        np.where(other.choice >= 0, swap[other.choice], -1), np.empty_like(other.reward), other.trial, other.person, 1.0
    )
    renamed.reward[:, :, swap] = other.reward
    states = [s for s in history_states(3) if s.signals[0].kind != "constant"]
    assert np.allclose(state_rows(data, states).values, state_rows(renamed, states).values[:, swap])


def test_units_of_rewards_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    choice, reward = rng.integers(0, 2, (3, 15)), rng.normal(size=(3, 15))
    a, b = (pack_sessions(choice, reward * unit, [0, 1, 2], n_actions=2) for unit in (1.0, 250.0))
    states = history_states(2)
    assert np.allclose(state_rows(a, states).values, state_rows(b, states).values)


def test_json_round_trip_of_every_kind() -> None:
    for kind, about in KINDS.items():
        other = {"action": 2, "back": 2, "scope": "stimulus", "outcome": "loss", "column": "delay", "form": "log"}
        plain = {"kind": kind} | {name: other.get(name, 0.25) for name in about.takes}
        declared = State((Signal(**plain), Signal(kind="last")))
        assert State.from_dict(json.loads(json.dumps(declared.as_dict()))) == declared
    names = [s.name for s in history_states(3)]
    assert len(set(names)) == len(names)
    assert {s.name for s in ten_states(3)} <= set(names)


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"kind": "memory"}, "no signal of kind 'memory'. Allowed: last,"),
        ({"kind": "last", "keep": 0.5}, "does not take 'keep'"),
        ({"kind": "choices", "keep": 1.0}, "Allowed: from 0 to below 1"),
        ({"kind": "choices", "keep": -0.1}, "keep of signal 'choices' is -0.1"),
        ({"kind": "choices", "scope": "cue"}, "scope of signal 'choices' is 'cue'. Allowed: 'all', 'stimulus'"),
        ({"kind": "choices", "outcome": "loss"}, "does not take 'outcome'"),
        ({"kind": "constant", "scope": "item"}, "does not take 'scope'"),
    ],
)
def test_bad_signals_are_refused(plain: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Signal(**plain)


def test_a_state_must_tell_actions_apart() -> None:
    with pytest.raises(ValueError, match="the same for all actions"):
        state("run")


def test_bad_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="have shapes"):
        pack_sessions([[0, 1]], [[1.0]], [0], n_actions=2)
    with pytest.raises(ValueError, match="largest action index 2"):
        pack_sessions([[0, 2]], [[1.0, 0.0]], [0], n_actions=2)


def test_rows_are_sorted_by_person_and_session() -> None:
    data = pack_sessions(np.zeros((3, 4), int), np.zeros((3, 4)), [1, 0, 1], n_actions=2)
    rows = state_rows(data, [state("last")])
    assert rows.person.tolist() == [0] * 3 + [1] * 6
    assert rows.session.tolist() == [1] * 3 + [0] * 3 + [2] * 3
