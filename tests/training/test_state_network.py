"""A network on top of equations: what weighted states cannot say, and nothing where there is nothing."""

import numpy as np
import pytest
import torch

from spicestat.pooled.cross_prediction import deal_blocks, predict_across
from spicestat.pooled.fit import fit_pooled, for_people
from spicestat.pooled.packed import pack_sessions
from spicestat.pooled.states import state
from spicestat.training.state_network import restore_members, train_state_network

SEEN = (state("last"), state(("choices", 0.5)), state("last", "run"))


def people(strength, n_people=30, n_sessions=4, n_trials=60, seed=0):
    """Repeat the last choice with log odds 1, and `strength` more in odd runs and less in even ones."""
    rng = np.random.default_rng(seed)
    n = n_people * n_sessions
    choice, run = rng.integers(0, 2, (n, n_trials)), np.ones(n, int)
    for t in range(1, n_trials):
        logit = 1.0 + strength * np.where(run % 2 == 1, 1.0, -1.0)
        stays = rng.random(n) < 1.0 / (1.0 + np.exp(-logit))
        choice[:, t] = np.where(stays, choice[:, t - 1], 1 - choice[:, t - 1])
        run = np.where(stays, run + 1, 1)
    return pack_sessions(choice, rng.integers(0, 2, choice.shape), np.arange(n) // n_sessions, n_actions=2)


def loss(probabilities, rows):
    return -np.log(probabilities[np.arange(len(rows.choice)), rows.choice]).mean()


@pytest.fixture(scope="module")
def odd_runs():
    data = people(2.0)
    return data, fit_pooled(data, [state("last"), state(("choices", 0.5))])


@pytest.fixture(scope="module")
def trained(odd_runs):
    return train_state_network(*odd_runs, SEEN, seed=1)


def test_it_learns_what_weighted_states_cannot_say(odd_runs, trained):
    fit = odd_runs[1]
    other = people(2.0, seed=5)
    rows = fit.rows(other)
    equations = fit.predict(rows)
    assert loss(trained.predict(other, equations, rows.person), rows) < loss(equations, rows) - 0.05
    assert trained.nll < trained.nll_equations - 0.03
    assert repr(trained).startswith("StateNetwork: 3 members on 3 states")
    assert len(trained.members) == 3
    assert trained.n_free == 3 * (31 * 2 + 9 * 64 + 64 + 65)


def test_where_there_is_nothing_more_it_is_the_equations():
    """False alarms are rare: none of six cohorts (seeds fixed)."""
    for seed in range(6):
        data = people(0.0, n_people=20, n_sessions=3, n_trials=40, seed=10 + seed)
        fit = fit_pooled(data, [state("last")])
        network = train_state_network(data, fit, SEEN, seed=seed)
        rows = fit.rows(data)
        equations = fit.predict(rows)
        assert network.members == ()
        assert network.nll == network.nll_equations
        assert (network.predict(data, equations, rows.person) == equations).all()


def test_probabilities_depend_on_the_past_and_the_person_only(odd_runs, trained):
    data, fit = odd_runs
    rows = fit.rows(data)
    found = trained.predict(data, fit.predict(rows), rows.person)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    few = data.select(np.arange(3))
    part = fit.rows(few)
    np.testing.assert_allclose(
        trained.predict(few, fit.predict(part), part.person), found[: len(part.choice)], rtol=1e-5
    )
    new = trained.predict(few, fit.predict(part), np.full(len(part.person), -1))
    assert np.abs(new - found[: len(part.choice)]).max() > 0
    assert (new > 0).all()


def test_the_same_seed_gives_the_same_numbers_and_leaves_torch_as_it_was(odd_runs, trained):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    again = train_state_network(*odd_runs, SEEN, seed=1)
    assert torch.rand(1) == expected
    assert again.arrays().keys() == trained.arrays().keys()
    assert all((array == trained.arrays()[name]).all() for name, array in again.arrays().items())
    assert train_state_network(*odd_runs, SEEN, seed=2).nll != trained.nll


def test_members_are_restored_from_arrays(odd_runs, trained):
    there = restore_members(trained.arrays(), len(SEEN), 30)
    for member, before in zip(there, trained.members, strict=True):
        assert not member.training
        assert all(torch.equal(a, b) for a, b in zip(member.parameters(), before.parameters(), strict=True))
    assert restore_members({}, len(SEEN), 30) == ()
    with pytest.raises(RuntimeError):
        restore_members(trained.arrays(), len(SEEN), 29)


def test_across_blocks_everybody_is_predicted_from_the_other_blocks(odd_runs):
    data, fit = odd_runs
    rows = fit.rows(data)
    fold = deal_blocks(rows, 3)
    # four sessions each: the first and the last are in the first fold
    assert [fold[rows.session == session][0] for session in range(5)] == [0, 1, 2, 0, 0]
    found = predict_across(fit, rows, fold)
    others = for_people(fit, data.select(np.arange(len(data.person)) % 4 != 1))
    left = rows.rows(fold == 1)
    np.testing.assert_allclose(found[fold == 1], others.predict(left), rtol=1e-6)
    assert loss(found, rows) > loss(fit.predict(rows), rows)


def test_stretches_of_the_only_session_are_dealt_out():
    data = people(0.0, n_people=4, n_sessions=1, n_trials=21)
    fold = deal_blocks(fit_pooled(data, [state("last")]).rows(data), 3)
    assert fold[:20].tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [0] * 4 + [1] * 4


def test_people_without_choices_are_the_populations(odd_runs):
    data, fit = odd_runs
    rows = fit.rows(data)
    nobody = np.where(rows.person == 0, 0, 1)
    found = predict_across(fit, rows, nobody)[rows.person == 0]
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, fit.predict_new(rows.rows(rows.person == 0)), atol=0.02)
