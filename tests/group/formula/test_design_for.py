import pickle

import numpy as np
import pandas as pd
import pytest

from spicestat.errors import CovariateError, DataError
from spicestat.group.formula.design import Design, build_design

PEOPLE = pd.DataFrame(
    {
        "participant": list("abcdefghij"),
        "age": [20.0, 31, 42, 53, 64, 25, 36, 47, 29, 60],
        "diagnosis": ["healthy", "bipolar", "healthy", "bipolar", "depression"] * 2,
        "smokes": [True, False, True, True, False, False, True, False, False, True],
        "visit": [1, 2, 1, 2, 1, 2, 1, 4, 4, 4],
    }
)
FORMULAS = [
    "~ 1",
    "~ 0 + diagnosis + age",
    "~ diagnosis * scale(age)",
    "~ factor(visit) + log(age) + I(age^2)",
    "~ smokes * age",
    "~ C(diagnosis, contr.treatment('healthy'))",
]


@pytest.mark.parametrize("formula", FORMULAS)
def test_the_own_participants_get_the_own_matrix(formula):
    design = build_design(formula, PEOPLE)
    np.testing.assert_array_equal(design.design_for(PEOPLE), design.matrix)
    # a part of them too: centres and levels are those of the design
    np.testing.assert_array_equal(design.design_for(PEOPLE.iloc[[8, 1]]), design.matrix[[8, 1]])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(design)).design_for(PEOPLE), design.matrix)


@pytest.mark.parametrize(
    ("new", "match"),
    [
        ({"diagnosis": "mania", "age": 3.0}, "level that was not in the data.*'mania'.*'bipolar', 'depression'"),
        ({"diagnosis": "bipolar"}, "lack the covariate 'age'"),
        ({"diagnosis": None, "age": 3.0}, "'diagnosis' is missing"),
        ({"diagnosis": "bipolar", "age": np.inf}, "finite number"),
        ({"diagnosis": "bipolar", "age": "old"}, "finite number"),
        ({"diagnosis": "bipolar", "age": -1.0}, r"'log\(age\)' is not finite"),
    ],
)
def test_new_data_that_the_design_cannot_place_are_errors(new, match):
    design = build_design("~ diagnosis + log(age)", PEOPLE)
    with pytest.raises(CovariateError, match=match):
        design.design_for(pd.DataFrame([new]))


def test_a_number_made_a_factor_has_its_values_as_levels():
    design = build_design("~ factor(visit) + smokes", PEOPLE)
    assert design.levels == {"visit": (1.0, 2.0, 4.0), "smokes": ("FALSE", "TRUE")}
    matrix = design.design_for(pd.DataFrame({"visit": [4, 1], "smokes": [True, "FALSE"]}))
    assert matrix.tolist() == [[1, 0, 1, 1], [1, 0, 0, 0]]
    with pytest.raises(CovariateError, match=r"Got: 3.0. Allowed: 1.0, 2.0, 4.0"):
        design.design_for(pd.DataFrame({"visit": [3], "smokes": [True]}))


def test_terms_and_scales_of_columns():
    design = build_design("~ diagnosis * age + I(age^2) + smokes", PEOPLE)
    assert design.terms == {
        "(Intercept)": (0,),
        "diagnosis": (1, 2),
        "age": (3,),
        "I(age^2)": (4,),
        "smokes": (5,),
        "diagnosis:age": (6, 7),
    }
    age = PEOPLE["age"].std()
    expected = [1, 1, 1, age, (PEOPLE["age"] ** 2).std(), 1, age, age]
    np.testing.assert_allclose(design.column_scales, expected, rtol=1e-12)


def test_a_design_made_by_hand_cannot_place_new_data():
    design = Design("~ 1", ("(Intercept)",), np.ones((3, 1)), np.arange(3))
    with pytest.raises(DataError, match="build_design"):
        design.design_for(PEOPLE)
