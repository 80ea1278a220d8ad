"""Links: inverse functions of each other, with derivatives that hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spicestat.errors import ConfigError
from spicestat.group.inputs.links import LINKS, choose_links, find_link

TERMS = [("rate", "1"), ("rate", "reward"), ("beta", "x_value")]


@pytest.mark.parametrize("name", LINKS)
@given(st.floats(-20, 20))
def test_links_undo_themselves_and_increase(name, x):
    link = find_link(name)
    natural = link.to_natural(np.array([x, x + 0.1]))
    np.testing.assert_allclose(link.to_unconstrained(natural), [x, x + 0.1], rtol=1e-6, atol=1e-6)
    assert natural[1] > natural[0]
    assert link.derivative(np.array(x)) > 0


@pytest.mark.parametrize("name", LINKS)
def test_derivatives_are_those_of_to_natural(name):
    link, x, h = find_link(name), np.linspace(-6, 6, 41), 1e-5
    slope = (link.to_natural(x + h) - link.to_natural(x - h)) / (2 * h)
    bend = (link.derivative(x + h) - link.derivative(x - h)) / (2 * h)
    np.testing.assert_allclose(link.derivative(x), slope, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(link.second_derivative(x), bend, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("name", "values"), [("logit", [-0.5, 0.0, 1.0, 3.0]), ("log", [-2.0, 0.0])])
def test_values_outside_the_range_stay_finite(name, values):
    assert np.isfinite(find_link(name).to_unconstrained(np.array(values))).all()


def test_extreme_unconstrained_values_do_not_overflow():
    with np.errstate(all="raise", under="ignore"):
        link = find_link("logit")
        far = np.array([-700.0, 700.0])
        assert link.to_natural(far).tolist() == [pytest.approx(0.0), 1.0]
        np.testing.assert_allclose(link.derivative(far), 0.0, atol=1e-300)


def test_a_term_counts_before_its_module_and_the_rest_is_identity():
    links = choose_links(TERMS, {"rate": "logit", "rate:reward": "log"})
    assert [link.name for link in links] == ["logit", "log", "identity"]
    assert [link.name for link in choose_links(TERMS, None)] == ["identity"] * 3


@pytest.mark.parametrize(
    ("links", "words"),
    [
        ({"beta": "probit"}, ["unknown link", "probit", "identity, logit, log"]),
        ({"gamma": "log"}, ["names what is not estimated", "'gamma'", "'beta:x_value'"]),
        ({"x_value": "log"}, ["'x_value'"]),
    ],
)
def test_unknown_links_and_coefficients_are_named(links, words):
    with pytest.raises(ConfigError) as caught:
        choose_links(TERMS, links)
    assert all(word in str(caught.value) for word in words)
