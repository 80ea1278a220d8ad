"""Shared fixtures: a small cohort, a tiny fit, equations written by hand, and independent numpy learners."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from spicestat.equations.propose.sparse import polynomial_library
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.fit.api import spice_fit
from spicestat.models.precoded import PRECODED
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

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
    return spice_fit(small_cohort.trials, block="block", people=small_cohort.people, epochs=5)


@pytest.fixture(scope="session")
def equations_of():
    """Give the function that writes an EquationSet for a model by hand."""
    return _equations_of


@pytest.fixture(scope="session")
def numpy_logits():
    """Give the independent numpy implementation of the precoded learners."""
    return _numpy_logits


@pytest.fixture(scope="session")
def numpy_log_likelihood():
    """Give the log-likelihood per participant under `numpy_logits`."""
    return _numpy_log_likelihood


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


def _numpy_logits(name, data, coefficients, terms):
    """Run a learning-rate model trial by trial in plain numpy: (S, T, A); structure in ``terms``, values (P, K).

    The other models have theirs in tests/models/precoded/conftest.py.
    """
    assert name in ("learning_rate", "choice", "participant_embedding")
    actions, rewards = data.actions.numpy().astype(float), data.rewards.numpy().astype(float)
    logits = np.zeros(actions.shape)
    perseverates = any(module == "x_value_choice" for module, _ in terms)
    for sequence in range(data.n_sequences):
        row = coefficients[int(data.participant[sequence])]
        equations = {}
        for (module, term), number in zip(terms, row, strict=True):
            equations.setdefault(module, {})[term] = number
        value, rate, trace = np.full(data.n_actions, 0.5), np.zeros(data.n_actions), np.zeros(data.n_actions)
        for step in range(data.n_steps):
            value, rate = _one_trial(equations, value, rate, actions[sequence, step], rewards[sequence, step])
            if perseverates:
                trace = _polynomial(equations["x_value_choice"], x_value_choice=trace, c_action=actions[sequence, step])
            logits[sequence, step] = equations["beta"]["x_value_reward"] * value + trace
    return logits


def _one_trial(equations, value, rate, action, reward):
    next_value, next_rate = value.copy(), np.zeros_like(rate)
    for cell in range(len(value)):
        if not action[cell]:
            next_value[cell] = _polynomial(
                equations["x_value_reward_not_chosen"], x_value_reward_not_chosen=value[cell]
            )
        elif np.isnan(reward[cell]):
            next_rate[cell] = rate[cell]
        else:
            next_rate[cell] = _polynomial(
                equations["x_learning_rate_reward"],
                x_learning_rate_reward=rate[cell],
                c_reward=reward[cell],
                c_value_reward=value[cell],
            )
            next_value[cell] = value[cell] + next_rate[cell] * (reward[cell] - value[cell])
    return next_value, next_rate


def _polynomial(equation, **variables):
    total = 0.0
    for term, coefficient in equation.items():
        product = coefficient
        for factor in term.split() if term != "1" else []:
            name, _, power = factor.partition("^")
            product *= variables[name] ** int(power or 1)
        total += product
    return total


def _numpy_log_likelihood(name, data, coefficients, terms):
    logits = _numpy_logits(name, data, coefficients, terms)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    log_probability = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    chosen = np.take_along_axis(log_probability, data.targets.numpy()[..., None], axis=-1)[..., 0]
    per_sequence = np.where(data.mask.numpy(), chosen, 0.0).sum(axis=1)
    return np.bincount(data.participant.numpy(), per_sequence, minlength=data.n_participants)


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
