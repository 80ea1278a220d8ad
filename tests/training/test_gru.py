"""A small recurrent network: it learns what there is, tells people apart, and stops."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from spicestat.pooled.packed import pack_sessions
from spicestat.training import gru as module
from spicestat.training.gru import train_gru, watch_last


def people(n_people=24, n_sessions=4, n_trials=50, seed=0):
    """Half of the people repeat what they chose two choices ago, the others do the opposite, 9 times in 10."""
    rng = np.random.default_rng(seed)
    choice = rng.integers(0, 2, (n_people * n_sessions, n_trials))
    who = np.arange(len(choice)) // n_sessions
    for t in range(2, n_trials):
        usual = choice[:, t - 2] ^ (who % 2)
        choice[:, t] = np.where(rng.random(len(choice)) < 0.9, usual, 1 - usual)
    return pack_sessions(choice, rng.random(choice.shape), who, n_actions=2)


def mean_loss(probabilities, data, at):
    made = np.take_along_axis(probabilities, np.maximum(data.choice, 0)[..., None], axis=2)[..., 0]
    return -np.log(made[at]).mean()


@pytest.fixture(scope="module")
def data():
    return people()


@pytest.fixture(scope="module")
def trained(data):
    return train_gru(data, watch_last(data), seed=1)


def test_it_learns_what_people_do_and_whom_it_is_about(data, trained):
    watched = watch_last(data)
    loss = mean_loss(trained.predict(data, data.person), data, watched & (np.arange(50) > 1)[:, None])
    # .325 is the entropy of 9 times in 10; choice shares are at .693
    assert loss < 0.45
    new = trained.predict(data, np.full(len(data.person), -1))
    assert 0.6 < mean_loss(new, data, watched & (np.arange(50) > 1)[:, None]) < 0.8
    assert trained.n_free == sum(p.numel() for p in trained.network.parameters())


def test_probabilities_of_every_choice_but_the_first(data, trained):
    found = trained.predict(data, data.person)
    assert np.isnan(found[0]).all()
    assert (found[1:] > 0).all()
    np.testing.assert_allclose(found[1:].sum(axis=2), 1.0)
    # what comes later says nothing, and neither do other sessions
    cut = data.select(np.arange(3))
    earlier = pack_sessions(cut.choice[:20].T, cut.reward[:20].transpose(1, 0, 2), cut.person, 2, 1.0)
    np.testing.assert_allclose(trained.predict(earlier, cut.person), found[:20, :3], rtol=1e-5)


def test_the_same_seed_gives_the_same_numbers_and_leaves_torch_as_it_was(data, trained):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    again, other = train_gru(data, watch_last(data), seed=1), train_gru(data, watch_last(data), seed=2)
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(again.predict(data, data.person), trained.predict(data, data.person))
    assert (other.predict(data, data.person)[1:] != trained.predict(data, data.person)[1:]).any()


def test_watched_choices_are_not_learned_from(data):
    watched = watch_last(data)
    strange = data.choice.copy()
    strange[:, watched.any(axis=0)] = 1 - strange[:, watched.any(axis=0)]
    other = pack_sessions(strange.T, data.reward.transpose(1, 0, 2), data.person, 2, 1.0)
    parts = [module._Parts.of(one, watched) for one in (data, other)]
    assert torch.equal(parts[0].learned, parts[1].learned)
    assert (parts[0].learned[:, watched.any(axis=0)] < 0).all()
    rows = torch.cat(parts[0].batches())
    assert not set(rows.tolist()) & set(np.flatnonzero(watched.any(axis=0)).tolist())


def test_it_stops_when_nothing_is_gained(data):
    rng = np.random.default_rng(0)
    noise = pack_sessions(rng.integers(0, 2, (40, 30)), rng.random((40, 30)), np.arange(40) // 4, n_actions=2)
    trained = train_gru(noise, watch_last(noise))
    assert trained.n_epochs < module._TRAINING.epochs / 2
    watched = watch_last(noise) & (np.arange(30) > 0)[:, None]
    assert mean_loss(trained.predict(noise, noise.person), noise, watched) < 0.71


def test_without_choices_to_watch_training_goes_on_to_its_end(monkeypatch):
    monkeypatch.setattr(module, "_TRAINING", replace(module._TRAINING, epochs=3))
    data = people(4, 1, 10)
    trained = train_gru(data, np.zeros(data.choice.shape, bool))
    assert trained.n_epochs == 3
    assert np.isfinite(trained.predict(data, data.person)[1:]).all()


def test_what_is_watched():
    choice = np.zeros((5, 11), int)
    choice[1, 1:] = choice[3, 4:] = -1
    data = pack_sessions(choice, np.zeros(choice.shape), [0, 0, 1, 1, 2], n_actions=2)
    # person 0 has one usable session of 11 choices; person 1 two, the last of 4; person 2 one
    assert watch_last(data).sum(axis=0).tolist() == [2, 0, 0, 4, 2]
