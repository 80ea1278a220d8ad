"""Signals of stimuli and items against plain loops with one dictionary per session; what is not on offer."""

import numpy as np
import pytest

from spicestat.errors import DataError
from spicestat.pooled.contrasts import make_design
from spicestat.pooled.fit import choose_states, fit_pooled
from spicestat.pooled.kernels import state_moves
from spicestat.pooled.logit import derivatives, log_likelihood
from spicestat.pooled.packed import Shown, pack_sessions
from spicestat.pooled.prediction import predict_at
from spicestat.pooled.role_library import library_for
from spicestat.pooled.states import Signal, State, state_rows

N_SESSIONS, N_TRIALS, N_ITEMS = 5, 24, 4


def sessions(n_actions=2, seed=0, closed=False):
    """Random trials with two stimuli and four items; session 1 is shorter, session 2 has missed trials."""
    rng = np.random.default_rng(seed)
    shape = (N_SESSIONS, N_TRIALS)
    item = np.array([[rng.permutation(N_ITEMS)[:n_actions] for _ in range(N_TRIALS)] for _ in range(N_SESSIONS)])
    if closed:
        item[rng.random(item.shape) < 0.15] = -1
        item[..., 0] = np.where((item < 0).all(axis=2), 3, item[..., 0])
    draw = rng.random(item.shape) + (item >= 0)
    choice = draw.argmax(axis=2)
    choice[1, 15:], choice[2, 4] = -1, -1
    reward = rng.choice([-1.0, 0.0, 0.5], (*shape, n_actions))
    reward[0, 3] = np.nan
    own = np.arange(n_actions) == choice[..., None]
    reward = np.where(own, reward, np.nan)
    shown = Shown(
        stimulus=rng.integers(0, 2, shape),
        item=item,
        attributes={"amount": rng.integers(1, 9, item.shape).astype(float)},
        context={"size": rng.integers(2, 6, shape).astype(float)},
        loss=np.minimum(reward, 0.0),
    )
    person = np.array([0, 0, 1, 2, 2])
    return pack_sessions(choice, reward, person, n_actions, 1.0, shown), choice, reward, shown


def values_of(data, **settings):
    return state_rows(data, [State((Signal(**settings),))], first=True).values[:, :, 0]


def looped(choice, reward, keys_of, update):
    """Per session: the value of every action's key before each choice; ``update(values, t, keys)`` then learns."""
    out = []
    for session in np.argsort([0, 0, 1, 2, 2], kind="stable"):
        values = {}
        for t in np.flatnonzero(choice[session] >= 0):
            keys = keys_of(session, t)
            out.append([values.get(key, 0.0) for key in keys])
            update(values, session, t, keys)
    return np.array(out)


def learn_from_own(choice, reward, rate):
    def update(values, session, t, keys):
        key, got = keys[choice[session, t]], reward[session, t, choice[session, t]]
        if not np.isnan(got):
            values[key] = values.get(key, 0.0) + rate * (got - values.get(key, 0.0))

    return update


def test_values_of_stimuli() -> None:
    data, choice, reward, shown = sessions()
    found = values_of(data, kind="value", keep=0.7, scope="stimulus")
    wanted = looped(
        choice,
        reward,
        lambda s, t: [(shown.stimulus[s, t], action) for action in range(2)],
        learn_from_own(choice, reward, 0.3),
    )
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize("scope", ["item", "offer"])
def test_values_of_items_wherever_they_appear(scope) -> None:
    """A value does not fade while its item is away, so that both scopes agree."""
    data, choice, reward, shown = sessions()
    found = values_of(data, kind="value", keep=0.5, scope=scope)
    wanted = looped(choice, reward, lambda s, t: shown.item[s, t].tolist(), learn_from_own(choice, reward, 0.5))
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_traces_fade_with_all_trials_or_with_offers() -> None:
    data, choice, reward, shown = sessions()

    def fade(on_offer_only):
        def update(values, session, t, keys):
            for key in keys if on_offer_only else range(N_ITEMS):
                values[key] = 0.8 * values.get(key, 0.0)
            values[keys[choice[session, t]]] += 0.2

        return update

    for scope, only in (("item", False), ("offer", True)):
        found = values_of(data, kind="choices", keep=0.8, scope=scope)
        wanted = looped(choice, reward, lambda s, t: shown.item[s, t].tolist(), fade(only))
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_losses_are_learned_apart() -> None:
    data, choice, reward, shown = sessions()
    for outcome, part in (("loss", np.minimum(reward, 0)), ("gain", np.maximum(reward, 0))):
        found = values_of(data, kind="value", keep=0.5, scope="item", outcome=outcome)
        wanted = looped(choice, part, lambda s, t: shown.item[s, t].tolist(), learn_from_own(choice, part, 0.5))
        np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_plans_are_the_best_second_choices_by_how_often_their_states_were_reached() -> None:
    rng = np.random.default_rng(5)
    choice, state, second = (rng.integers(0, n, (3, 30)) for n in (2, 3, 2))
    reward = rng.integers(0, 2, (3, 30)).astype(float)
    state[0, 4], second[1, 5], choice[2, 6] = -1, -1, -1
    data = pack_sessions(choice, reward, np.arange(3), 2, 1.0, Shown(state=state, second=second))
    found = values_of(data, kind="planned", keep=0.6)
    wanted = []
    for session in range(3):
        values, counts = np.zeros((3, 2)), np.full((2, 3), 1 / 3)
        for t in np.flatnonzero(choice[session] >= 0):
            wanted.append([(counts[a] / counts[a].sum()) @ values.max(axis=1) for a in range(2)])
            led_to, then = state[session, t], second[session, t]
            if led_to >= 0:
                counts[choice[session, t], led_to] += 1
                if then >= 0:
                    values[led_to, then] += 0.4 * (reward[session, t] - values[led_to, then])
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_what_was_learned_fades_with_the_trials_in_between() -> None:
    data, choice, reward, shown = sessions()
    found = values_of(data, kind="recent", keep=0.5, scope="offer")

    def update(values, session, t, keys):
        for key in list(values):
            values[key] *= 0.5
        for key in keys:
            values[key] = 1.0

    missed = choice.copy()
    wanted = looped(choice, reward, lambda s, t: shown.item[s, t].tolist(), update)
    # trials that were missed count as time
    whole = (missed >= 0).all(axis=1)[[0, 1, 2, 3, 4]] | np.array([False, True, False, False, False])
    rows = np.concatenate([np.full((choice[s] >= 0).sum(), whole[s]) for s in range(N_SESSIONS)])
    np.testing.assert_allclose(found[rows], wanted[rows], atol=1e-12)
    assert (found[~rows] <= wanted[~rows]).all() and (found[~rows] < wanted[~rows]).any()


def test_what_is_not_on_offer_has_no_probability_and_no_derivative() -> None:
    data, _, _, shown = sessions(n_actions=3, closed=True)
    states = [State((Signal(kind="value", keep=0.5, scope="item"),)), State((Signal(kind="constant", action=1),))]
    rows = state_rows(data, states)
    assert rows.offered is not None and not rows.offered.all()
    assert (rows.offered.sum(axis=1) > 1).all()
    weights = np.tile([2.0, -0.5], (3, 1))
    probabilities = predict_at(rows, weights)
    assert (probabilities[~rows.offered] == 0).all()
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    design = make_design(rows, 3, scale=np.ones(2))
    made = np.log(probabilities[np.arange(len(rows.choice)), rows.choice])
    np.testing.assert_allclose(log_likelihood(design, weights), np.bincount(rows.person, made))
    step = 1e-6
    for k in range(2):
        moved = weights + step * np.eye(2)[k]
        slope = (log_likelihood(design, moved) - log_likelihood(design, weights)) / step
        np.testing.assert_allclose(derivatives(design, weights).slope[:, k], slope, atol=1e-4)


def test_first_choices_are_predicted_where_something_is_known() -> None:
    data, choice, *_ = sessions()
    assert len(state_rows(data, []).choice) == (choice >= 0).sum()
    plain = pack_sessions(choice, np.zeros(choice.shape), np.array([0, 0, 1, 2, 2]), 2)
    assert len(state_rows(plain, []).choice) == (choice >= 0).sum() - N_SESSIONS


def test_forced_choices_teach_and_are_not_predicted() -> None:
    _, choice, reward, shown = sessions()
    free = np.random.default_rng(1).random(choice.shape) < 0.6
    forced = pack_sessions(choice, reward, np.array([0, 0, 1, 2, 2]), 2, 1.0, Shown(item=shown.item, free=free))
    whole = pack_sessions(choice, reward, np.array([0, 0, 1, 2, 2]), 2, 1.0, Shown(item=shown.item))
    states = [State((Signal(kind="value", keep=0.5, scope="item"),))]
    some, every = state_rows(forced, states), state_rows(whole, states)
    order = np.concatenate([free[s][choice[s] >= 0] for s in range(N_SESSIONS)])
    assert 0 < len(some.choice) < len(every.choice)
    np.testing.assert_array_equal(some.values, every.values[order])


def test_every_state_of_the_library_is_finite_and_of_the_past() -> None:
    data, choice, reward, shown = sessions()
    states = library_for(data).states
    names = [declared.name for declared in states]
    assert len(set(names)) == len(names)
    rows = state_rows(data, states)
    assert np.isfinite(rows.values).all()
    later_choice, later_reward = choice.copy(), reward.copy()
    later_choice[:, 12:] = np.where(choice[:, 12:] >= 0, 1 - choice[:, 12:], -1)
    later_reward[:, 12:] = 0.3
    other = pack_sessions(later_choice, later_reward, np.array([0, 0, 1, 2, 2]), 2, 1.0, shown)
    changed = state_rows(other, states)
    early = rows.trial <= 12
    np.testing.assert_array_equal(rows.values[early], changed.values[early])


def test_offers_that_say_the_same_are_offered_to_the_search_once() -> None:
    """With one delay that is always 0, its share is a constant preference."""
    rng = np.random.default_rng(3)
    delay = np.stack([np.zeros((4, 30)), rng.choice([7.0, 30.0, 90.0], (4, 30))], axis=2)
    amount = rng.integers(1, 60, (4, 30, 2)).astype(float)
    shown = Shown(attributes={"amount": amount, "delay": delay})
    choice = rng.integers(0, 2, (4, 30))
    data = pack_sessions(choice, np.full((4, 30), np.nan), np.arange(4), 2, shown=shown)
    library = library_for(data)
    names = {declared.name for declared in library.states}
    assert {"constant_2", "delay", "log(delay)", "share(amount)", "log(amount):delay"} <= names
    assert "share(delay)" not in names
    offers = [s for s in library.states if s.signals[0].kind in ("attribute", "constant")]
    values = state_rows(data, offers).values
    away = values[:, 1] - values[:, 0]
    assert np.linalg.matrix_rank(away / away.std(axis=0).clip(1e-9), tol=1e-4) == len(offers)


def test_contexts_are_numbers_about_their_mean_and_levels_but_the_first() -> None:
    rng = np.random.default_rng(4)
    choice, mood, size = rng.integers(0, 2, (3, 40)), rng.integers(0, 3, (3, 40)), rng.integers(2, 7, (3, 40))
    levels = {f"mood={name}": (mood == code).astype(float) for code, name in enumerate("abc")}
    shown = Shown(stimulus=mood, context={**levels, "size": size.astype(float), "same": np.ones((3, 40))})
    library = library_for(pack_sessions(choice, choice.astype(float), np.arange(3), 2, shown=shown))
    found = {signal for declared in library.states for signal in declared.signals if signal.kind == "context"}
    assert {signal.column for signal in found} == {"mood=b", "mood=c", "size"}
    centre = next(signal.centre for signal in found if signal.column == "size")
    assert abs(centre - size.mean()) < 0.01


def test_gains_and_losses_do_not_come_with_their_sum() -> None:
    """With it, weights could not be told apart."""
    choice, reward, _ = learners(1, n_people=4, n_trials=20)
    for shown in (Shown(loss=np.zeros((4, 20, 2))), Shown(loss=np.zeros((4, 20, 2)), stimulus=np.ones((4, 20), int))):
        library = library_for(pack_sessions(choice, reward, np.arange(4), 2, shown=shown))
        signals = [signal for declared in library.states for signal in declared.signals if signal.kind == "value"]
        assert {signal.outcome for signal in signals} == {"gain", "loss"}
        assert all(set(begin) <= set(library.states) for begin in library.begins)
        assert all(len(set(begin)) == len(begin) for begin in library.begins)


def test_a_scope_without_its_column_is_refused() -> None:
    data = pack_sessions([[0, 1]], [[1.0, 0.0]], [0], 2)
    for settings, column in (({"scope": "stimulus"}, "stimulus"), ({"scope": "item"}, "options")):
        with pytest.raises(DataError, match=f"name their columns with {column}=..."):
            values_of(data, kind="value", keep=0.5, **settings)
    with pytest.raises(DataError, match="gain=... and loss=..."):
        values_of(data, kind="value", keep=0.5, outcome="loss")
    with pytest.raises(DataError, match="with state2=..."):
        values_of(data, kind="planned", keep=0.5)
    with pytest.raises(DataError, match="needs 'delay'"):
        values_of(data, kind="attribute", column="delay")


def test_one_reward_bears_on_the_next_choices_of_its_stimulus_and_item() -> None:
    data, *_ = sessions()
    of_item = State((Signal(kind="value", keep=0.5, scope="item"),))
    moves = state_moves(data, [of_item], "reward", n_people=3, lags=1, events_per_person=1000)
    # a value of one item moves by half the range of rewards, whichever side the item is on
    np.testing.assert_allclose(moves.mean[:, 0, 0], 0.5 * 1.5)
    stimuli = pack_sessions([[0, 1, 0, 1]], [[1.0, 0, 0, 1]], [0], 2, 1.0, Shown(stimulus=np.array([[0, 1, 1, 0]])))
    of_stimulus = State((Signal(kind="rewarded", keep=0.0, scope="stimulus"),))
    found = state_moves(stimuli, [of_stimulus], "reward", n_people=1, lags=2, events_per_person=100)
    assert found.mean[0, 0, 0] == 1.0
    assert found.n_events.tolist() == [[2, 0]]


def learners(seed, n_people=24, n_trials=120, rate=0.3, beta=6.0):
    """People who learn which of two keys is right for each of four cues; cues alternate at random."""
    rng = np.random.default_rng(seed)
    cue = rng.integers(0, 4, (n_people, n_trials))
    choice, reward = np.zeros((2, n_people, n_trials))
    for person in range(n_people):
        values = np.zeros((4, 2))
        for t, c in enumerate(cue[person]):
            key = int(rng.random() < 1 / (1 + np.exp(-beta * (values[c, 1] - values[c, 0]))))
            won = float(rng.random() < (0.8 if key == c % 2 else 0.2))
            values[c, key] += rate * (won - values[c, key])
            choice[person, t], reward[person, t] = key, won
    return choice.astype(int), reward, cue


def test_the_search_finds_that_learning_is_of_each_stimulus() -> None:
    choice, reward, cue = learners(0)
    person = np.arange(len(choice))
    told = pack_sessions(choice, reward, person, 2, shown=Shown(stimulus=cue))
    blind = pack_sessions(choice, reward, person, 2)
    fits = []
    for data in (told, blind):
        chosen = choose_states(data)
        fits.append((chosen, fit_pooled(data, chosen.states, chosen.n_own).log_marginal.sum()))
    assert any(s.scope == "stimulus" for declared in fits[0][0].states for s in declared.signals)
    # nats per choice that the cue is worth
    assert (fits[0][1] - fits[1][1]) / choice.size > 0.1
