"""From a fit to the inputs of a method that reads the choices."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import ConfigError, DataError
from spicestat.group import spice_group
from spicestat.group.formula.design import build_design
from spicestat.group.inputs.choices import with_choices
from spicestat.group.inputs.likelihood import HasLikelihood

sys.path.insert(0, str(Path(__file__).parents[1]))

from toy_choices import GaussianChoices, gaussian_study, toy_fit  # noqa: E402

SIGMA = np.array([[0.5, 0.2], [0.2, 0.3]])


def study(n=10, silent=(), formula="~ z"):
    likelihood, X = gaussian_study(n, SIGMA)
    precision = likelihood.precision.copy()
    precision[list(silent)] = 0.0
    likelihood = GaussianChoices(likelihood.y, likelihood.labels, precision)
    people = pd.DataFrame({"z": X[:, 1], "w": X[:, 1] ** 2})
    fit = toy_fit(likelihood, people)
    return fit, build_design(formula, people.assign(participant=likelihood.labels))


def test_everybody_with_choices_counts():
    fit, design = study(silent=(0, 7))
    inputs = with_choices(fit.coefficients, design, fit)
    assert inputs.design.rows.tolist() == [1, 2, 3, 4, 5, 6, 8, 9]
    np.testing.assert_array_equal(inputs.design.matrix, design.matrix[inputs.design.rows])
    assert inputs.likelihood.participants == tuple(fit.likelihood.labels[row] for row in inputs.design.rows)
    np.testing.assert_array_equal(inputs.likelihood.y, fit.likelihood.y[inputs.design.rows])
    for equation in inputs.equations:
        assert equation.n_excluded == 2
        assert equation.rows.tolist() == list(range(8))
        assert np.isnan(equation.estimate).all()
    assert fit.likelihood.participants[0] == "s000"


def test_covariates_go_with_those_who_have_choices():
    """As if the others were not there: the covariates' rows, the centres of scale(), the levels of factors."""
    likelihood, X = gaussian_study(12, SIGMA)
    people = pd.DataFrame({"z": X[:, 1], "kind": ["rare", *np.resize(["a", "b"], 11)]})
    precision = likelihood.precision.copy()
    precision[[0, 7]] = 0.0
    fit = toy_fit(GaussianChoices(likelihood.y, likelihood.labels, precision), people)
    group = spice_group(fit, "~ scale(z) + kind", max_unidentified=1.0)
    kept = [row for row in range(12) if row not in (0, 7)]
    frame = group.augment()
    first = frame[frame["module"] == "module0"]
    assert first["participant"].tolist() == [likelihood.labels[row] for row in kept]
    np.testing.assert_array_equal(first["z"], people["z"].iloc[kept])
    some = spice_group(toy_fit(likelihood.select(kept), people.iloc[kept]), "~ scale(z) + kind", max_unidentified=1.0)
    pd.testing.assert_frame_equal(group.tidy(), some.tidy(), rtol=1e-3)  # the search begins elsewhere
    assert group.design.names == ("(Intercept)", "scale(z)", "kindb")
    assert set(group.marginal_means("kind").frame["kind"]) == {"a", "b"}
    assert group.plot_covariate("z") is not None


def test_a_design_of_some_participants_gives_their_choices():
    fit, design = study()
    part = type(design)(design.formula, design.names, design.matrix[[5, 2, 9, 3]], np.array([5, 2, 9, 3]))
    inputs = with_choices(fit.coefficients, part, fit)
    assert inputs.likelihood.participants == ("s005", "s002", "s009", "s003")
    assert {equation.n_excluded for equation in inputs.equations} == {6}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["module0", "module1"]),
        ({"modules": "module1"}, ["module1"]),
        ({"modules": ["module1", "module0"], "terms": "1"}, ["module0", "module1"]),
        ({"terms": ["1"]}, ["module0", "module1"]),
    ],
)
def test_modules_and_terms_restrict_what_is_reported_not_what_is_estimated(options, expected):
    fit, design = study()
    inputs = with_choices(fit.coefficients, design, fit, **options)
    assert [equation.module for equation in inputs.equations] == expected
    assert inputs.likelihood.terms == fit.likelihood.terms


def test_what_is_not_estimated_from_the_choices_is_refused():
    fit, design = study()
    with pytest.raises(DataError, match="none of the coefficients asked for"):
        with_choices(fit.coefficients, design, fit, modules="elsewhere")


def test_a_coefficient_table_has_no_choices():
    fit, design = study()
    assert isinstance(fit, HasLikelihood)
    with pytest.raises(ConfigError, match=r"reads the choices themselves.*CoefficientTable.*pass the fit"):
        with_choices(fit.coefficients, design, fit.coefficients)


def test_too_few_participants_with_choices_are_refused():
    fit, design = study(n=6, silent=(0, 1, 2, 3))
    with pytest.raises(DataError, match="2 participants with choices are too few for 2 coefficients"):
        with_choices(fit.coefficients, design, fit)


def test_choices_and_coefficients_must_be_of_the_same_people():
    fit, design = study()
    other, _ = study(n=9)
    with pytest.raises(DataError, match="different participants"):
        with_choices(other.coefficients, design, fit)
