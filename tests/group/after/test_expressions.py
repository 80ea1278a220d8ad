import numpy as np
import pytest

from spicestat.errors import ConfigError, ShapeError
from spicestat.group.after.expressions import parse_expression

A, B = ("x", "1"), ("beta", "x y^2")


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('1 - x["1"]', "1 - a"),
        ('x["1"] / (1 - beta["x y^2"])', "a / (1 - b)"),
        ('log(0.5) / log(x["1"])', "np.log(0.5) / np.log(a)"),
        ('-x["1"] ** 2 * +beta["x y^2"] ** -1.5', "-a ** 2 * +b ** -1.5"),
        ('x["1"] ** beta["x y^2"]', "a ** b"),
        ('2 ** x["1"] + x["1"] ** 0', "2 ** a + a ** 0"),
        ('sqrt(x["1"] * beta["x y^2"]) - exp(-x["1"])', "np.sqrt(a * b) - np.exp(-a)"),
        ('abs(x["1"] - beta["x y^2"]) * 1e3', "abs(a - b) * 1e3"),
        ("exp(term('x', '1')) / (1 + exp(term('x', '1')))", "np.exp(a) / (1 + np.exp(a))"),
        ('x[1] * 3 * beta["x y^2"]', "a * 3 * b"),
    ],
)
def test_value_and_gradient_are_those_of_the_formula(text, plain):
    expression = parse_expression(text)
    points = np.random.default_rng(1).uniform(0.1, 0.9, (20, 2))

    def formula(at):
        return eval(plain, {"np": np, "a": at[:, 0], "b": at[:, 1]})  # the test's own text

    columns = [[A, B].index(pair) for pair in expression.terms]
    value, gradient = expression.evaluate(points[:, columns])
    np.testing.assert_allclose(value, formula(points) + np.zeros(20), rtol=1e-14)
    for place, column in enumerate(columns):
        step = np.zeros(2)
        step[column] = 1e-6
        numeric = (formula(points + step) - formula(points - step)) / 2e-6
        np.testing.assert_allclose(gradient[:, place], numeric, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        'x["1"].__class__',
        '(lambda: x["1"])()',
        '[x["1"] for _ in (1,)]',
        'x["1"] if 1 else 2',
        'x["1"] and 3',
        'x["1"] == 3',
        'x["1"] // 2',
        'x["1"] % 2',
        'x["1"] @ 2',
        '~x["1"]',
        'sin(x["1"])',
        'exp(x["1"], 2)',
        'exp(x=x["1"])',
        'log.__call__(x["1"])',
        'x["1"] + y',
        'x["1"] + "2"',
        'x["1"] + True',
        'x["1"] + 1j',
        'x[y["1"]]',
        'x["1"]["2"]',
        'x["1":"2"]',
        'f"{x}"',
        'term("x")',
        'term(x, "1")',
        'y := x["1"]',
        "1 + 2",
        "",
        "x[",
        "x['1']\x00",
        "(" * 300 + 'x["1"]' + ")" * 300,
        'x["1"]' + "+1" * 300,
        'x["1"]' + "+1" * 2000,
        'x["1"] + 1' + "0" * 400,
        'x["1"] + 1e999',
        None,
        3,
    ],
)
def test_anything_but_arithmetic_is_refused(text):
    with pytest.raises(ConfigError, match="expression"):
        parse_expression(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ('1 / x["1"]', 0.0),
        ('log(x["1"])', -1.0),
        ('log(x["1"])', 0.0),
        ('sqrt(x["1"])', -1.0),
        ('x["1"] ** 0.5', -0.1),
        ('exp(x["1"])', 1e4),
        ('abs(x["1"])', 0.0),
        ('x["1"] + 0 * log(x["1"])', -1.0),
    ],
)
def test_an_undefined_point_is_nan_and_leaves_the_others_alone(text, at):
    value, gradient = parse_expression(text).evaluate(np.array([[0.5], [at], [0.25]]))
    assert np.isfinite(value).tolist() == [True, False, True]
    assert np.isfinite(gradient[:, 0]).tolist() == [True, False, True]


def test_powers_of_zero_and_of_negative_numbers_have_derivatives():
    for text, at, slope in (('x["1"] ** 2', 0.0, 0.0), ('x["1"] ** 1', 0.0, 1.0), ('x["1"] ** 3', -2.0, 12.0)):
        value, gradient = parse_expression(text).evaluate(np.array([[at]]))
        assert np.isfinite(value).all()
        assert gradient[0, 0] == slope


def test_values_have_to_match_the_terms():
    with pytest.raises(ShapeError):
        parse_expression('x["1"] + x["y"]').evaluate(np.zeros((3, 1)))
