"""The Wiener density is the published one, twice differentiable and finite everywhere."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from spicestat.models.base import BaseRNN
from spicestat.models.wiener import PositiveConstant, log_with_lapses, wiener_log_density

REFERENCE = Path("tests/reference/diffusion.json")
SWITCH = 0.4


def density(time, drift, boundary, start=0.5):
    """Density of the upper boundary in double precision."""
    numbers = (torch.as_tensor(number, dtype=torch.float64) for number in (time, drift, boundary))
    return wiener_log_density(*numbers, start).exp().numpy()


def upper_probability(drift, boundary, start):
    if drift == 0:
        return start
    return (1 - np.exp(-2 * drift * boundary * start)) / (1 - np.exp(-2 * drift * boundary))


# --- against R and closed forms -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def reference():
    return {name: np.array(column) for name, column in json.loads(REFERENCE.read_text()).items()}


@pytest.mark.parametrize("side", ["upper", "lower"])
def test_density_equals_r(side, reference):
    """RWiener to 1e-12; rtdists, whose tails are absolute, to 1e-7. See tests/reference/diffusion.R."""
    ours = np.empty(len(reference["v"]))
    for share in np.unique(reference["w"]):
        rows = reference["w"] == share
        time, drift, boundary = (reference[name][rows] for name in ("decision", "v", "a"))
        ours[rows] = density(time, *((drift, boundary, share) if side == "upper" else (-drift, boundary, 1 - share)))
    np.testing.assert_allclose(ours, reference[f"rwiener_{side}"], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ours, reference[f"rtdists_{side}"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("drift", [-2.0, 0.0, 0.5, 4.0])
@pytest.mark.parametrize(("boundary", "start"), [(0.5, 0.5), (1.5, 0.5), (3.0, 0.5), (1.5, 0.2)])
def test_integrals_are_choice_probability_and_mean_time(drift, boundary, start):
    edges = [0.0, *(SWITCH * boundary**2 * np.array([0.1, 0.5, 1.0, 2.0, 10.0, 100.0]))]

    def integral(power):
        """Integral of density times time to a power, for the upper and the lower boundary."""

        def over(sign, share):
            pieces = zip(edges, edges[1:], strict=False)
            return sum(
                quad(lambda t: density(t, sign * drift, boundary, share) * t**power, *part)[0] for part in pieces
            )

        return over(1, start), over(-1, 1 - start)

    upper, lower = integral(0)
    assert upper == pytest.approx(upper_probability(drift, boundary, start), abs=1e-9)
    assert upper + lower == pytest.approx(1.0, abs=1e-9)
    if start == 0.5:
        mean = boundary / (2 * drift) * np.tanh(drift * boundary / 2) if drift else boundary**2 / 4
        assert sum(integral(1)) == pytest.approx(mean, rel=1e-8)


def test_from_the_middle_times_do_not_depend_on_the_boundary_reached():
    time = np.linspace(0.01, 4.0, 200)
    ratio = density(time, 1.3, 2.0) / density(time, -1.3, 2.0)
    np.testing.assert_allclose(ratio, np.exp(1.3 * 2.0), rtol=1e-12)


def test_the_two_series_meet():
    at = torch.tensor([SWITCH - 1e-9, SWITCH + 1e-9], dtype=torch.float64, requires_grad=True)
    one = torch.tensor(1.0, dtype=torch.float64)
    value = wiener_log_density(at, one, one)
    (first,) = torch.autograd.grad(value.sum(), at, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), at)
    for pair in (value, first, second):
        assert float(pair[0].detach()) == pytest.approx(float(pair[1].detach()), rel=1e-7)


# --- derivatives and extremes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [0.5, 0.3])
def test_derivatives_are_right(start):
    time = torch.tensor([0.05, 0.3, SWITCH * 1.2**2 * 0.99, SWITCH * 1.2**2 * 1.01, 2.0, 5.0], dtype=torch.float64)
    drift, boundary = torch.full_like(time, 0.7), torch.full_like(time, 1.2)
    inputs = tuple(part.clone().requires_grad_() for part in (time, drift, boundary))
    assert torch.autograd.gradcheck(lambda t, v, a: wiener_log_density(t, v, a, start), inputs)
    assert torch.autograd.gradgradcheck(lambda t, v, a: wiener_log_density(t, v, a, start), inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_values_have_finite_derivatives(dtype):
    """With lapses, as the model uses it: also before the process starts, and where the density underflows."""
    seconds = [float("nan"), -1.0, 0.0, 1e-30, 1e-9, 1e-4, 0.01, 1.0, 1e3, 1e8]
    grid = torch.cartesian_prod(
        torch.tensor(seconds, dtype=dtype),
        torch.tensor([-50.0, 0.0, 50.0], dtype=dtype),
        torch.tensor([0.05, 1.0, 20.0], dtype=dtype),
    ).requires_grad_()
    plain = wiener_log_density(*grid.unbind(dim=1))
    assert not plain.isnan().any()
    value = log_with_lapses(plain, torch.full_like(plain, -2.0), 0.01)
    assert value.isfinite().all()
    (first,) = torch.autograd.grad(value.sum(), grid, create_graph=True)
    assert first.isfinite().all()
    (second,) = torch.autograd.grad(first.sum(), grid)
    assert second.isfinite().all()


def test_before_the_start_the_density_is_zero():
    one = torch.tensor(1.0)
    assert wiener_log_density(torch.tensor([-0.5, 0.0, float("nan")]), one, one).tolist() == [-np.inf] * 3


# --- lapses ---------------------------------------------------------------------------------------------------------


def test_lapses_are_a_mixture():
    log_likelihood = torch.tensor([-np.inf, -300.0, -3.0, 0.5, 12.0], dtype=torch.float64)
    log_lapse = torch.tensor([-2.0, -2.0, -1.0, -5.0, -2.0], dtype=torch.float64)
    expected = np.log(0.95 * np.exp(log_likelihood.numpy()) + 0.05 * np.exp(log_lapse.numpy()))
    np.testing.assert_allclose(log_with_lapses(log_likelihood, log_lapse, 0.05).numpy(), expected, rtol=1e-14)


def test_derivatives_of_the_mixture_are_right():
    inputs = (
        torch.tensor([-30.0, -3.0, -1.0, 4.0], dtype=torch.float64, requires_grad=True),
        torch.tensor([-2.0, -3.0, -1.0, -2.0], dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(lambda one, other: log_with_lapses(one, other, 0.1), inputs)
    assert torch.autograd.gradgradcheck(lambda one, other: log_with_lapses(one, other, 0.1), inputs)


# --- constants ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("embedding_size", [0, 3])
def test_constants_start_where_they_are_told_and_stay_positive(embedding_size):
    constant = PositiveConstant(0.2, embedding_size)
    constant.n_rows = 4
    embedding = torch.randn(4, 3) if embedding_size else None
    torch.testing.assert_close(constant(embedding), torch.full((4, 1), 0.2))
    for weights in constant.parameters():
        weights.data.fill_(-1000.0)
    assert (constant(embedding) > 0).all()
    assert constant(embedding).isfinite().all()


def test_equations_give_constants_as_they_are():
    constant = PositiveConstant(0.2)
    constant.row_values = torch.tensor([[0.0], [-1.0]])
    assert constant() is constant.row_values


def test_models_have_the_softmax_likelihood_unless_they_say_otherwise():
    class Plain(BaseRNN):
        pass

    logits, targets = torch.tensor([[[0.0, 1.0], [2.0, 0.0]]]), torch.tensor([[1, 1]])
    mask, times = torch.tensor([[True, False]]), torch.full((1, 2), float("nan"))
    value = Plain(2).log_likelihood(logits, {}, targets, times, mask)
    torch.testing.assert_close(value, torch.log_softmax(logits[:, 0], dim=-1)[:, 1])
