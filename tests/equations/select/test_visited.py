"""Inclusion probabilities: shares of the weight of the structures that were compared."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.select.visited import Visited
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT


def visited_of(*comparisons):
    """Structures (P, K) with scores (P,), as the search adds them."""
    visited = Visited(len(comparisons[0][1]))
    for status, score in comparisons:
        visited.add(np.array(status, dtype="int8"), np.array(score, dtype=float))
    return visited


def test_shares_by_hand():
    """Weights 1, 2 and 4; a kept own state is not estimated."""
    visited = visited_of(
        ([[FREE, EXCLUDED, FREE]], [10.0]),
        ([[FREE, KEPT, FREE]], [10.0 + np.log(2)]),
        ([[EXCLUDED, FREE, FREE]], [10.0 + np.log(4)]),
    )
    np.testing.assert_allclose(visited.inclusion(np.ones((1, 3), dtype="int8")), [[3 / 7, 4 / 7, 1.0]])


def test_participants_have_their_own_scores():
    visited = visited_of(
        ([[FREE, EXCLUDED], [FREE, EXCLUDED]], [0.0, 0.0]), ([[FREE, FREE], [EXCLUDED, FREE]], [np.log(3), -np.log(4)])
    )
    found = visited.inclusion(np.ones((2, 2), dtype="int8"))
    np.testing.assert_allclose(found, [[1.0, 3 / 4], [4 / 5, 1 / 5]])


def test_a_structure_for_everybody_is_weighed_by_the_sum():
    visited = visited_of(
        ([[FREE, EXCLUDED]] * 3, [0.0, 0.0, 0.0]), ([[FREE, FREE]] * 3, [np.log(2), np.log(2), -np.log(8)])
    )
    found = visited.inclusion(np.ones((3, 2), dtype="int8"), shared=True)
    np.testing.assert_allclose(found, [[1.0, 1 / 3]] * 3)


def test_who_was_never_compared_does_not_count_among_everybody():
    """A participant without data has a score of -inf."""
    visited = visited_of(([[FREE, EXCLUDED]] * 2, [0.0, -np.inf]), ([[FREE, FREE]] * 2, [np.log(3), -np.inf]))
    final = np.array([[FREE, FREE], [FREE, EXCLUDED]], dtype="int8")
    np.testing.assert_allclose(visited.inclusion(final, shared=True), [[1.0, 3 / 4]] * 2)
    np.testing.assert_allclose(visited.inclusion(final), [[1.0, 3 / 4], [1.0, 0.0]])


def test_only_structures_that_all_were_compared_on_count_for_everybody():
    visited = visited_of(
        ([[FREE, EXCLUDED]] * 2, [0.0, 0.0]),
        ([[FREE, FREE]] * 2, [0.0, 0.0]),
        ([[EXCLUDED, FREE]] * 2, [90.0, -np.inf]),
    )
    np.testing.assert_allclose(visited.inclusion(np.ones((2, 2), dtype="int8"), shared=True), [[1.0, 0.5]] * 2)


def test_a_structure_counts_once_with_its_best_score():
    """Fits from other starts are no further structures."""
    one, other = [[FREE, EXCLUDED]], [[FREE, FREE]]
    visited = visited_of((one, [-5.0]), (one, [0.0]), (one, [-2.0]), (other, [0.0]))
    np.testing.assert_allclose(visited.inclusion(np.ones((1, 2), dtype="int8")), [[1.0, 0.5]])


@pytest.mark.parametrize("shared", [True, False])
def test_without_a_comparison_the_final_structure_stands_for_itself(shared):
    final = np.array([[FREE, KEPT, EXCLUDED]], dtype="int8")
    np.testing.assert_array_equal(visited_of((final, [-np.inf])).inclusion(final, shared=shared), [[1.0, 0.0, 0.0]])


def test_the_answer_may_be_changed_without_harm():
    visited = visited_of(([[FREE, EXCLUDED]] * 2, [0.0, 0.0]))
    final = np.array([[FREE, EXCLUDED]] * 2, dtype="int8")
    for shared in (True, False):
        visited.inclusion(final, shared=shared)[:] = 7.0
        np.testing.assert_array_equal(visited.inclusion(final, shared=shared), [[1.0, 0.0]] * 2)


@given(seed=st.integers(0, 2**20), shared=st.booleans(), size=st.floats(0.1, 1e4))
@settings(max_examples=40)
def test_shares_are_probabilities_and_levels_of_scores_do_not_matter(seed, shared, size):
    """Also with scores like -100000 (a log-likelihood of many trials), where exponentials underflow."""
    rng = np.random.default_rng(seed)
    structures = rng.integers(0, 3, size=(5, 1, 4)).repeat(2, axis=1)
    structures[..., -1] = FREE
    scores = rng.normal(size=(5, 2)) * size
    final = structures[0].astype("int8")
    found = visited_of(*zip(structures, scores, strict=True)).inclusion(final, shared=shared)
    moved = visited_of(*zip(structures, scores - 1e5, strict=True)).inclusion(final, shared=shared)
    assert ((found >= 0) & (found <= 1 + 1e-12)).all()
    np.testing.assert_allclose(found[:, -1], 1.0)
    np.testing.assert_allclose(found, moved, atol=1e-6)
