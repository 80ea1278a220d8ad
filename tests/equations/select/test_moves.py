"""Moves: every legal change of one or two terms of a module, once."""

from collections import Counter
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.select.moves import Move, possible_moves
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT


@pytest.fixture(scope="module")
def equations(equations_of):
    return equations_of("learning_rate", 1, {})


def every_status(equations):
    """All structures of the terms but the inverse temperature (which is free), (N, K)."""
    choices = [(EXCLUDED, FREE, KEPT) if own else (EXCLUDED, FREE) for own in equations.own_state[:-1]]
    return np.array([(*status, FREE) for status in product(*choices)], dtype="int8")


def legal(equations, allowed, before, after):
    """Say from the description of `possible_moves` whether two structures are one move apart."""
    changed = np.flatnonzero(before != after).tolist()
    if not changed or not allowed[changed].all():
        return False
    if len(changed) == 1:
        return True
    modules = {equations.terms[position][0] for position in changed}
    if len(changed) > 2 or len(modules) > 1:
        return False
    entering = [position for position in changed if after[position] == FREE]
    leaving = [position for position in changed if after[position] != FREE and before[position] != EXCLUDED]
    return len(entering) == 2 or (len(entering) == 1 and len(leaving) == 1)


@pytest.mark.parametrize("left_out", [None, 0, 5])
def test_each_legal_move_is_there_once_and_no_other(equations, left_out):
    allowed = np.ones(len(equations.terms), dtype=bool)
    if left_out is not None:
        allowed[left_out] = False
    structures = every_status(equations)
    moves = possible_moves(equations, allowed)
    reached = Counter()
    for move in moves:
        can = np.flatnonzero(move.possible(structures))
        for number, after in zip(can, move.apply(structures[can]), strict=True):
            reached[structures[number].tobytes(), after.tobytes()] += 1
    assert set(reached.values()) == {1}
    expected = {
        (before.tobytes(), after.tobytes())
        for before, after in product(structures, structures)
        if legal(equations, allowed, before, after)
    }
    assert set(reached) == expected


def test_no_move_is_listed_twice(equations):
    moves = possible_moves(equations, np.ones(len(equations.terms), dtype=bool))
    assert len(set(moves)) == len(moves)


def test_single_moves_can_be_undone(equations):
    moves = possible_moves(equations, np.ones(len(equations.terms), dtype=bool))
    singles = [move for move in moves if len(move.before) == 1]
    assert singles
    assert {Move(move.after, move.before) for move in singles} == set(singles)


def test_inverse_temperatures_never_move(equations):
    moves = possible_moves(equations, np.ones(len(equations.terms), dtype=bool))
    touched = {position for move in moves for position, _ in (*move.before, *move.after)}
    assert touched == set(range(len(equations.terms) - 1))


@given(seed=st.integers(0, 2**20))
@settings(max_examples=20)
def test_a_move_changes_its_terms_and_nothing_else(seed, equations):
    rng = np.random.default_rng(seed)
    structures = every_status(equations)
    status = structures[rng.integers(len(structures), size=6)]
    original = status.copy()
    for move in possible_moves(equations, np.ones(len(equations.terms), dtype=bool)):
        expected = np.array([all(row[position] == needed for position, needed in move.before) for row in status])
        np.testing.assert_array_equal(move.possible(status), expected)
        after = move.apply(status)
        touched = [position for position, _ in move.after]
        assert [position for position, _ in move.before] == touched
        assert (after[:, touched] == [new for _, new in move.after]).all()
        others = np.setdiff1d(np.arange(status.shape[1]), touched)
        np.testing.assert_array_equal(after[:, others], status[:, others])
    np.testing.assert_array_equal(status, original)


def test_any_structure_can_be_reached_by_single_moves(equations):
    """From nothing to everything: the statuses of a term are connected."""
    moves = possible_moves(equations, np.ones(len(equations.terms), dtype=bool))
    for position, own in enumerate(equations.own_state[:-1]):
        pairs = {(m.before[0][1], m.after[0][1]) for m in moves if len(m.before) == 1 and m.before[0][0] == position}
        statuses = (EXCLUDED, FREE, KEPT) if own else (EXCLUDED, FREE)
        assert {frozenset(pair) for pair in pairs} == {frozenset(pair) for pair in combinations(statuses, 2)}
