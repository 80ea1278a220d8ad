"""The people of simulated studies: covariates, occasions, sites, and how much they differ."""

import numpy as np
import pytest

from spicestat.errors import ConfigError
from spicestat.studies.population import Population
from spicestat.studies.study_design import StudyDesign

TERMS = (("m", "a"), ("m", "b"))
WHOLE = np.array([[1.0, 0.3], [0.3, 2.0]])


def population(**changes):
    return Population(TERMS, np.zeros(2), WHOLE, ("identity", "identity"), **changes)


def test_groups_of_people_and_orders_of_occasions_are_of_equal_size():
    kinds = {"drug": "within", "group": "binary", "site": 3}
    shares = {"occasion": 0.2, "site": 0.1}
    design = StudyDesign.of("~ drug * group + (1 | participant) + (1 | site)", kinds, 2, shares)
    for seed in range(5):
        people = design.people(12, np.random.default_rng(seed))
        first, second = (people[people["occasion"] == occasion] for occasion in (1, 2))
        assert first["drug"].sum() == second["drug"].sum() == 6
        np.testing.assert_array_equal(first["drug"].to_numpy() + second["drug"].to_numpy(), 1.0)
        assert first["group"].tolist() == second["group"].tolist()
        assert first["group"].sum() == 6
        assert first["site"].value_counts().tolist() == [4, 4, 4]


def test_deviations_have_the_covariances_that_shares_say():
    """300 studies of 40 people: tolerances are about 5 standard errors of the covariances."""
    formula, kinds = "~ drug + (drug | participant) + (1 | site)", {"drug": "within", "site": 20}
    shares = {"occasion": 0.3, "site": 0.2, "drug": 0.5}
    design, rng = StudyDesign.of(formula, kinds, 2, shares), np.random.default_rng(1)
    sums = {"one": 0.0, "same": 0.0, "neighbours": 0.0}
    for _ in range(300):
        people = design.people(40, rng)
        drawn = design.deviations(people, population(), rng).reshape(40, 2, 2)
        drug = people["drug"].to_numpy().reshape(40, 2).astype(int)
        off = drawn[np.arange(40), 1 - drug[:, 1]]
        on = drawn[np.arange(40), drug[:, 1]]
        order = np.argsort(people["site"].to_numpy()[::2], kind="stable")
        sums["one"] += off.T @ off / 40
        sums["same"] += off.T @ on / 40
        sums["neighbours"] += off[order[::2]].T @ off[order[1::2]] / 20
    for name, share in (("one", 1.0), ("same", 0.7), ("neighbours", 0.2)):
        np.testing.assert_allclose(sums[name] / 300, share * WHOLE, atol=5 * 2.0 * np.sqrt(2 / 6000))


def test_occasions_of_the_fit_say_how_much_they_differ():
    design, rng = StudyDesign.of("~ 1 + x + (1 | participant)", "continuous", 2, {}), np.random.default_rng(2)
    with pytest.raises(ConfigError, match="nothing says how much a person differs"):
        design.check_population(population())
    known = population(within=0.4 * WHOLE)
    design.check_population(known)
    drawn = design.deviations(design.people(20_000, rng), known, rng).reshape(-1, 2, 2)
    # 20 000 people: 5 standard errors
    np.testing.assert_allclose(np.cov(drawn[:, 0].T), WHOLE, atol=5 * 2.0 * np.sqrt(2 / 20_000))
    np.testing.assert_allclose(drawn[:, 0].T @ drawn[:, 1] / 20_000, 0.6 * WHOLE, atol=5 * 2.0 * np.sqrt(2 / 20_000))
    # one occasion has all of it
    one = StudyDesign.of("~ x", "continuous", 1, {})
    drawn = one.deviations(one.people(20_000, rng), known, rng)
    np.testing.assert_allclose(np.cov(drawn.T), WHOLE, atol=5 * 2.0 * np.sqrt(2 / 20_000))


def test_effects_move_people_by_their_columns_about_the_mean():
    design = StudyDesign.of("~ drug * x + (1 | participant)", {"drug": "within"}, 2, {"occasion": 0.1})
    people = design.people(10, np.random.default_rng(3))
    names = ("(Intercept)", "drug", "x", "drug:x")
    moved = design.shift(people, {"drug": 0.5, "drug:x": -0.2}, names)
    by_hand = 0.5 * people["drug"] - 0.2 * people["drug"] * people["x"]
    np.testing.assert_allclose(moved, by_hand - by_hand.mean(), atol=1e-12)


def test_nested_groupings_have_a_share_each():
    design = StudyDesign.of("~ x + (1 | clinic/ward)", {"clinic": 2, "ward": 3}, 1, {"clinic": 0.5, "clinic:ward": 0.4})
    rng = np.random.default_rng(4)
    people = design.people(6, rng)
    drawn = design.deviations(people, population(), rng)
    assert drawn.shape == (6, 2)
    with pytest.raises(ConfigError, match="nothing of clinic:ward"):
        StudyDesign.of("~ x + (1 | clinic/ward)", {"clinic": 2, "ward": 3}, 1, {"clinic": 0.5})
    with pytest.raises(ConfigError, match="a sum below 1"):
        StudyDesign.of("~ x + (1 | clinic/ward)", {"clinic": 2, "ward": 3}, 1, {"clinic": 0.5, "clinic:ward": 0.5})
