"""The batched ascent reaches maxima, never goes down, and keeps participants apart."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.select.ascent import ascend


def bowls(seed, n_participants, n_coefficients):
    """Concave quadratics with their maximisers (P, K), informations (P, K, K) and values at the top (P,)."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(n_participants, n_coefficients, n_coefficients))
    information = torch.tensor(roots @ roots.transpose(0, 2, 1) + 0.2 * np.eye(n_coefficients))
    top = torch.tensor(rng.normal(size=(n_participants, n_coefficients)))
    return top, information, torch.tensor(rng.normal(size=n_participants))


def objective_of(top, information, height):
    def objective(values, active):
        del active
        off = values - top
        pull = torch.einsum("pkl,pl->pk", information, off)
        return height - (off * pull).sum(dim=1) / 2, -pull

    return objective


def run(objective, start, free=None, active=None, inverse=None, **options):
    everybody = torch.ones(len(start), dtype=torch.bool)
    free = torch.ones_like(start, dtype=torch.bool) if free is None else free
    inverse = torch.eye(start.shape[1], dtype=start.dtype).expand(*start.shape, -1) if inverse is None else inverse
    settings = {"tolerance": 1e-10, "max_iter": 300} | options
    return ascend(objective, start, free, inverse, everybody if active is None else active, **settings)


@given(seed=st.integers(0, 2**20), n_participants=st.integers(1, 5), n_coefficients=st.integers(1, 4))
@settings(max_examples=30)
def test_maxima_of_concave_functions_are_reached(seed, n_participants, n_coefficients):
    top, information, height = bowls(seed, n_participants, n_coefficients)
    found = run(objective_of(top, information, height), torch.zeros_like(top))
    np.testing.assert_allclose(found.coefficients, top, atol=1e-3)
    np.testing.assert_allclose(found.value, height, atol=1e-6)


@given(seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_the_maximum_among_the_free_coefficients_is_the_constrained_one(seed):
    """Fixed coefficients stay, and the others make the best of it: x_f = top_f - A_ff^-1 A_fc (x_c - top_c)."""
    top, information, height = bowls(seed, 3, 4)
    free = torch.tensor(np.random.default_rng(seed).random((3, 4)) < 0.6)
    start = torch.full_like(top, 0.5)
    found = run(objective_of(top, information, height), start, free=free)
    assert torch.equal(found.coefficients[~free], start[~free])
    for who in range(3):
        own, fixed = free[who], ~free[who]
        pull = information[who][own][:, fixed] @ (0.5 - top[who][fixed])
        expected = top[who][own] - torch.linalg.solve(information[who][own][:, own], pull)
        np.testing.assert_allclose(found.coefficients[who][own], expected, atol=1e-3)


def test_with_the_right_information_one_step_is_enough():
    top, information, height = bowls(0, 4, 3)
    inverse = torch.linalg.inv(information)
    found = run(
        objective_of(top, information, height), torch.zeros_like(top), inverse=inverse, max_iter=1, step_limit=9
    )
    np.testing.assert_allclose(found.coefficients, top, atol=1e-10)


def rugged(values, active):
    """Many hills, cliffs to minus infinity, and a region without a value."""
    del active
    value = (torch.sin(5 * values) - 0.1 * values**2).sum(dim=1)
    gradient = 5 * torch.cos(5 * values) - 0.2 * values
    value = torch.where(values[:, 0] > 1.5, -torch.inf, value)
    value = torch.where(values[:, 1] < -1.5, torch.nan, value)
    return value, torch.where(value.isfinite()[:, None], gradient, torch.nan)


@given(seed=st.integers(0, 2**20), max_iter=st.integers(0, 25))
@settings(max_examples=40)
def test_no_value_ever_goes_down(seed, max_iter):
    start = torch.tensor(np.random.default_rng(seed).uniform(-1.4, 1.4, size=(6, 2)))
    found = run(rugged, start, max_iter=max_iter)
    before = rugged(start, None)[0]
    assert (found.value >= before).all()
    np.testing.assert_array_equal(rugged(found.coefficients, None)[0], found.value)


def test_cliffs_are_survived():
    """The first steps lead to -inf, NaN and +inf; what counts is the hill before them."""

    def objective(values, active):
        del active
        x = values[:, 0]
        value = -((x - 1) ** 2) * 4
        for who, beyond in enumerate((-torch.inf, torch.nan, torch.inf)):
            value[who] = torch.where(x[who] > 1.4, beyond, value[who])
        return value, torch.where(value.isfinite()[:, None], -8 * (values - 1), torch.nan)

    start = torch.zeros(3, 1, dtype=torch.float64)
    found = run(objective, start, inverse=torch.full((3, 1, 1), 0.3, dtype=torch.float64), step_limit=5.0)
    np.testing.assert_allclose(found.coefficients, 1.0, atol=1e-3)
    np.testing.assert_allclose(found.value, 0.0, atol=1e-5)


def test_who_starts_without_a_value_stays_and_does_not_disturb_the_others():
    top, information, height = bowls(3, 3, 2)
    bowl = objective_of(top, information, height)

    def objective(values, active):
        value, gradient = bowl(values, active)
        value[1], gradient[1] = torch.nan, torch.nan
        return value, gradient

    found = run(objective, torch.zeros_like(top))
    assert found.value[1].isnan()
    assert (found.coefficients[1] == 0).all()
    alone = run(objective_of(top[[0, 2]], information[[0, 2]], height[[0, 2]]), torch.zeros(2, 2, dtype=torch.float64))
    np.testing.assert_array_equal(found.coefficients[[0, 2]], alone.coefficients)


def test_who_gets_a_value_by_a_step_goes_on():
    """No value at the start, but a gradient: any step to a value is taken."""

    def objective(values, active):
        del active
        x = values[:, 0]
        return torch.where(x < 0.5, torch.nan, -((x - 2) ** 2)), -2 * (values - 2)

    found = run(objective, torch.zeros(1, 1, dtype=torch.float64))
    np.testing.assert_allclose(found.coefficients, 2.0, atol=1e-3)


def test_participants_who_are_not_active_stay_and_are_not_asked_for():
    top, information, height = bowls(1, 4, 2)
    bowl, asked = objective_of(top, information, height), []

    def objective(values, active):
        asked.append(active.clone())
        value, gradient = bowl(values, active)
        return torch.where(active, value, torch.nan), torch.where(active[:, None], gradient, torch.nan)

    active = torch.tensor([True, False, True, False])
    found = run(objective, torch.zeros_like(top), active=active)
    assert (found.coefficients[~active] == 0).all()
    np.testing.assert_allclose(found.coefficients[active], top[active], atol=1e-3)
    assert not torch.stack(asked)[:, ~active].any()
    assert active.tolist() == [True, False, True, False]


def test_who_is_at_the_top_is_not_evaluated_any_more():
    top, information, height = bowls(2, 2, 2)
    bowl, asked = objective_of(top, information, height), []

    def objective(values, active):
        asked.append(active.clone())
        return bowl(values, active)

    start = torch.stack([top[0], top[1] + 3])
    run(objective, start)
    assert len(asked) > 2
    assert not torch.stack(asked)[1:, 0].any()


@pytest.mark.parametrize("limit", [0.1, torch.tensor([0.1, 0.02], dtype=torch.float64)])
def test_steps_are_limited(limit):
    """In each coefficient by its own limit, where they are given one by one."""
    seen = []

    def objective(values, active):
        del active
        seen.append(values.clone())
        return -((values - 5) ** 2).sum(dim=1), -2 * (values - 5)

    run(objective, torch.zeros(1, 2, dtype=torch.float64), max_iter=6, step_limit=limit)
    steps = torch.stack(seen).diff(dim=0).abs().amax(dim=(0, 1))
    np.testing.assert_allclose(steps, np.broadcast_to(limit, 2), rtol=1e-9)


def test_the_tolerance_is_a_gain_in_the_objective():
    """Who can gain less than it is left alone; a smaller tolerance comes closer."""
    top, information, height = bowls(5, 1, 2)
    bowl = objective_of(top, information, height)
    off = torch.linalg.inv(torch.linalg.cholesky(information)).transpose(1, 2) @ torch.tensor([[0.1], [0.0]]).double()
    start = top + off.squeeze(2)
    assert float(height - bowl(start, None)[0]) == pytest.approx(0.005)
    inverse = torch.linalg.inv(information)
    assert torch.equal(run(bowl, start, inverse=inverse, tolerance=0.006).coefficients, start)
    assert float(run(bowl, start, inverse=inverse, tolerance=0.004).value) == pytest.approx(float(height))


def test_arguments_are_left_as_they_were():
    top, information, height = bowls(4, 2, 2)
    start, free = torch.zeros_like(top), torch.tensor([[True, False], [True, True]])
    inverse = torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)
    run(objective_of(top, information, height), start, free=free, inverse=inverse)
    assert (start == 0).all()
    assert torch.equal(inverse, torch.eye(2, dtype=torch.float64).repeat(2, 1, 1))
    assert free.tolist() == [[True, False], [True, True]]
