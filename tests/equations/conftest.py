"""A workbench whose scores are made up, so that what a search should find is known."""

import numpy as np
import pytest

from spicestat.equations.estimate.refit import RefitResult
from spicestat.equations.select.visited import Visited
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, EquationSet


class PretendBench:
    """Scores structures by a function of the status (P, K) and predicts them without error."""

    def __init__(self, start, score, present=None, pessimism=0.0, identified=None):
        n_participants = start.n_participants
        self.allowed = np.ones(len(start.terms), dtype=bool)
        self.present = np.ones(n_participants, dtype=bool) if present is None else present
        self.visited = Visited(n_participants)
        self.score, self.pessimism, self.identified = score, pessimism, identified

    def fit(self, equations, starts=None, open_=None):
        del starts
        open_ = self.present if open_ is None else open_ & self.present
        assert open_.any(), "nobody to fit"
        equations = equations.with_coefficients(np.where(equations.status == FREE, 0.3, 0.0))
        n, k = equations.status.shape
        known = np.ones(n, dtype=bool) if self.identified is None else self.identified(equations.status)
        covariance = np.where(known[:, None, None], np.zeros((n, k, k)), np.nan)
        result = RefitResult(equations, covariance, np.zeros(n), np.full(n, 9), known, np.zeros((n, k)) > 0)
        return result, np.where(open_, self.score(equations.status), -np.inf)

    def fit_all(self, candidates, starts=None, open_=None):
        each = [None] * len(candidates) if open_ is None else open_
        return [self.fit(equations, starts, own) for equations, own in zip(candidates, each, strict=True)]

    def outlook(self, equations, moves, open_=None, tell=lambda _: None):
        found = []
        for number, move in enumerate(moves):
            tell(number)
            possible = move.possible(equations.status) & (self.present if open_ is None else open_)
            if possible.any():
                status = np.where(possible[:, None], move.apply(equations.status), equations.status)
                moved = EquationSet(equations.libraries, equations.states, equations.coefficients, status)
                promise = self.score(status) - self.pessimism * possible
                found.append((moved.with_coefficients(equations.coefficients), promise))
        return found

    def without_idle_states(self, equations):
        return equations


@pytest.fixture(scope="session")
def pretend_bench():
    return PretendBench


@pytest.fixture(scope="session")
def empty_equations(equations_of):
    """Give the function that makes P participants' equations of 6 terms, none of them there."""
    return lambda n_participants: equations_of("learning_rate", n_participants, {("beta", "x_value_reward"): 1.0})


@pytest.fixture(scope="session")
def status_of():
    """Give the function that turns wanted terms (P, 6) into a status with a free inverse temperature."""
    return lambda wanted: np.where(np.c_[wanted, np.ones(len(wanted))] > 0, FREE, EXCLUDED)
