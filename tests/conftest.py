"""Shared fixtures: a small cohort, a tiny fit, simulated coefficients, and equations written by hand."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from spicestat.equations.sparse import polynomial_library
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.fit.api import spice_fit
from spicestat.models.precoded import PRECODED
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

# its assertions explain themselves as those of test files do
pytest.register_assert_rewrite("model_contract")

# how long an example takes says what else the machine does, not whether the code is right
settings.register_profile("spicestat", deadline=None)
settings.load_profile("spicestat")

KEEP = "keep"
"""Stands for a term of status KEPT in `equations_of`."""


@pytest.fixture(scope="session")
def small_cohort():
    """Three participants with three blocks of 20 trials."""
    return simulate_cohort(3, 60, n_blocks=3, seed=1)


@pytest.fixture(scope="session")
def small_trials(small_cohort):
    return read_trials(small_cohort.trials, block="block", people=small_cohort.people)


@pytest.fixture(scope="session")
def small_data(small_trials):
    return SequenceDataset.from_trials(small_trials)


@pytest.fixture(scope="session")
def tiny_fit(small_cohort):
    """A fit that took one second; read it, do not change it."""
    return spice_fit(small_cohort.trials, block="block", people=small_cohort.people, model="choice", epochs=5)


@pytest.fixture(scope="session")
def equations_of():
    """Give the function that writes an EquationSet for a model by hand."""
    return _equations_of


@pytest.fixture(scope="session")
def build():
    """Give the function that makes a precoded model from its name."""
    return lambda name, n_actions=2, n_participants=0: PRECODED[name][0](
        n_actions=n_actions, n_participants=n_participants
    )


def _equations_of(name, n_participants, values, degree=1):
    """Equations with the terms of ``values``: {(module, term): number, P numbers, or "keep"}; others excluded."""
    rnn_class, config = PRECODED[name]
    libraries = tuple(polynomial_library(module, config.signals(module), degree) for module in config.rnn_modules)
    states = tuple(rnn_class(n_actions=2, n_participants=1).betas)
    terms = [(library.module, term) for library in libraries for term in library.terms]
    terms += [("beta", state) for state in states]
    coefficients = np.zeros((n_participants, len(terms)))
    status = np.full(coefficients.shape, EXCLUDED, dtype="int8")
    for key, value in values.items():
        position = terms.index(key)
        kept = isinstance(value, str)
        coefficients[:, position] = 1.0 if kept else value
        status[:, position] = KEPT if kept else FREE
    return EquationSet(libraries, states, coefficients, status)


def _make_cohort(n=24, seed=0, slope=0.0, tau=0.3, terms=("reward",), module="x_value"):
    """Return a coefficient frame and a participant table of n participants."""
    rng = np.random.default_rng(seed)
    ids = [f"s{row:02d}" for row in range(n)]
    people = pd.DataFrame(
        {
            "participant": ids,
            "age": rng.integers(18, 70, n).astype(float),
            "diagnosis": [("healthy", "bipolar", "depression")[row % 3] for row in range(n)],
            "smokes": [row % 2 == 0 for row in range(n)],
        }
    )
    frames = []
    for term in terms:
        error = rng.uniform(0.05, 0.4, n)
        estimate = 0.4 + slope * people["age"] / 10 + rng.normal(0, tau, n) + rng.normal(0, error)
        frames.append(
            pd.DataFrame({"participant": ids, "module": module, "term": term, "estimate": estimate, "std_error": error})
        )
    return pd.concat(frames, ignore_index=True), people


@pytest.fixture(scope="session")
def cohort():
    """Give the function that simulates a coefficient frame and a participant table."""
    return _make_cohort
