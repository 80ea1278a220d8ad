"""Recursions against automatic differentiation of the model's own forward pass: value, gradient and Hessian."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spicestat.equations.estimate import affine
from spicestat.equations.estimate.affine_form import find_affine
from spicestat.equations.estimate.forward import EquationModel
from spicestat.equations.estimate.refit import CoefficientLikelihood, refit
from spicestat.equations.sparse import polynomial_library
from spicestat.equations.structure.equation_set import EXCLUDED, FREE, KEPT, EquationSet
from spicestat.models.base import BaseRNN
from spicestat.models.precoded import PRECODED
from spicestat.trials.sequences import SequenceDataset

RATE, NOT_CHOSEN, VALUE = "x_learning_rate_reward", "x_value_reward_not_chosen", "x_value_reward"
TRACE, MEMORY, CHOSEN = "x_value_choice", "x_value_memory", "x_value_reward_chosen"
BETA = ("beta", VALUE)
LEARNING = {(RATE, "1"): 0.3, (NOT_CHOSEN, NOT_CHOSEN): 0.8, BETA: 2.0}
POSITIVE, NEGATIVE = "x_learning_rate_positive", "x_learning_rate_negative"

AFFINE = {
    "constant rate": ("learning_rate", LEARNING),
    "rate by reward": ("learning_rate", LEARNING | {(RATE, "c_reward"): 0.2, (NOT_CHOSEN, "1"): 0.1}),
    "kept": ("learning_rate", LEARNING | {(NOT_CHOSEN, NOT_CHOSEN): "keep"}),
    "no learning": ("learning_rate", {BETA: 2.0}),
    "trace": ("choice", LEARNING | {(TRACE, "c_action"): 0.5, (TRACE, TRACE): 0.4}),
    "trace alone": ("choice", {(TRACE, "c_action"): 0.5, (TRACE, TRACE): 0.4}),
    "memory": ("working_memory", LEARNING | {(MEMORY, "c_choice_lag1"): 0.5, (MEMORY, "c_reward_lag3"): -0.4}),
    "log odds": ("forgetting", {(CHOSEN, "c_reward"): 1.0, (CHOSEN, CHOSEN): 0.7, (CHOSEN, "1"): -0.2}),
    "unchosen stays": ("rescorla_wagner", {(CHOSEN, "c_reward"): 1.0, (CHOSEN, CHOSEN): 0.7}),
    "counterfactual": ("counterfactual", {(RATE, "1"): 0.3, ("x_learning_rate_counterfactual", "1"): 0.1, BETA: 2.0}),
}
BENT = {
    "rate by value": ("learning_rate", LEARNING | {(RATE, "c_value_reward"): 0.2}),
    "rate by rate": ("learning_rate", LEARNING | {(RATE, RATE): 0.2}),
    "rate by sign": ("asymmetric", {(POSITIVE, "1"): 0.3, (NEGATIVE, "1"): 0.1, BETA: 2.0}),
    "memory and value": (
        "working_memory",
        LEARNING | {(MEMORY, "c_choice_lag1"): 0.5, (RATE, "c_value_reward"): 0.2},
    ),
}


def random_data(n_actions=2, seed=0, lengths=(30, 7, 1, 22, 30, 15, 12), who=(2, 0, 0, 1, 2, 3, 0), reward=1.0):
    """Ragged sequences of four participants in no order; a tenth of choices, rewards and targets is missing."""
    rng = np.random.default_rng(seed)
    shape = (len(lengths), max(lengths))
    choice = np.where(rng.random(shape) < 0.1, -1, rng.integers(n_actions, size=shape))
    rewards = np.where(rng.random((*shape, n_actions)) < 0.1, np.nan, reward * rng.random((*shape, n_actions)))
    valid = np.arange(shape[1]) < np.array(lengths)[:, None]
    return SequenceDataset(
        actions=torch.tensor((choice[..., None] == np.arange(n_actions)) * valid[..., None], dtype=torch.float32),
        rewards=torch.tensor(rewards, dtype=torch.float32),
        inputs=torch.tensor(rng.random((*shape, 1)), dtype=torch.float32),
        targets=torch.tensor(rng.integers(n_actions, size=shape)),
        mask=torch.tensor(valid & (rng.random(shape) < 0.9)),
        times=torch.full(shape, torch.nan),
        valid=torch.tensor(valid),
        block=torch.arange(len(lengths)),
        experiment=torch.tensor(rng.integers(2, size=len(lengths))),
        participant=torch.tensor(who),
        n_participants=4,
        n_experiments=2,
    )


def random_coefficients(equations, n_copies, seed=3, size=0.5):
    """Coefficients (C, P, K) around 0 where free."""
    draws = size * np.random.default_rng(seed).standard_normal((n_copies, *equations.status.shape))
    return torch.from_numpy(np.where(equations.status == FREE, draws, equations.coefficients))


def assert_both_agree(model, data, equations, coefficients, rtol=1e-9, huge=False):
    """Compare the recursions with automatic differentiation; coefficients (C, P, K).

    With huge values v, the second derivative by the inverse temperature, a sum of p (1 - p) v^2, is lost to
    automatic differentiation, which takes p (1 - p) from a difference of numbers near 1.
    """
    fast, slow = (CoefficientLikelihood(model, data, equations) for _ in range(2))
    slow.__dict__["affine"] = None
    assert fast.affine is not None
    everybody = torch.ones(data.n_participants, dtype=torch.bool)
    torch.testing.assert_close(fast.values(coefficients), slow.values(coefficients), rtol=rtol, atol=rtol)
    for one in coefficients:
        found, expected = fast.evaluate(one, everybody), slow.evaluate(one, everybody)
        if huge:
            hidden = torch.tensor([equations.terms[position][0] == "beta" for position in fast.free_anywhere])
            for point in (found, expected):
                point.information[:, hidden[:, None] & hidden] = 0.0
        for part in ("log_likelihood", "gradient", "information"):
            there = getattr(expected, part)
            scale = float(there.abs().max().clamp(min=1.0))
            torch.testing.assert_close(getattr(found, part), there, rtol=rtol, atol=rtol * scale, msg=part)


# --- agreement ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_actions", [2, 3])
@pytest.mark.parametrize("case", AFFINE)
def test_recursions_agree_with_automatic_differentiation(case, n_actions, build, equations_of):
    name, values = AFFINE[case]
    equations = equations_of(name, 4, values)
    data = random_data(n_actions)
    assert_both_agree(build(name, n_actions), data, equations, random_coefficients(equations, 2))


def test_some_participants_may_have_a_term_that_others_keep(build, equations_of):
    equations = equations_of("learning_rate", 4, LEARNING)
    position = equations.terms.index((NOT_CHOSEN, NOT_CHOSEN))
    status = equations.status.copy()
    status[:2, position] = [KEPT, EXCLUDED]
    equations = equations.with_status(status)
    assert_both_agree(build("learning_rate"), random_data(), equations, random_coefficients(equations, 2))


def test_a_model_with_embeddings_agrees(build, equations_of):
    equations = equations_of("participant_embedding", 4, LEARNING)
    model = build("participant_embedding", n_participants=4)
    assert_both_agree(model, random_data(), equations, random_coefficients(equations, 1))


@pytest.mark.parametrize("cells", [1, 50, 1000])
def test_pieces_that_fit_into_memory_change_nothing(cells, build, equations_of, monkeypatch):
    monkeypatch.setattr(affine, "_CELLS_AT_ONCE", cells)
    equations = equations_of("choice", 4, AFFINE["trace"][1])
    assert_both_agree(build("choice"), random_data(), equations, random_coefficients(equations, 3))


@pytest.mark.parametrize("reward", [1e-4, 1e4])
def test_units_of_reward_do_not_matter(reward, build, equations_of):
    equations = equations_of("learning_rate", 4, LEARNING)
    coefficients = random_coefficients(equations, 2)
    coefficients[..., -1] /= reward
    assert_both_agree(build("learning_rate"), random_data(reward=reward), equations, coefficients)


@pytest.mark.parametrize("n_actions", [2, 3])
def test_long_sequences_do_not_overflow(n_actions, build, equations_of):
    """3000 factors of 2 would be too much for one product."""
    data = random_data(n_actions, lengths=(3000, 2), who=(1, 0))
    equations = equations_of("learning_rate", 4, LEARNING)
    problem = CoefficientLikelihood(build("learning_rate", n_actions), data, equations)
    nothing = torch.zeros(4, len(equations.terms), dtype=torch.float64)
    chance = -data.trials_per_participant * np.log(n_actions)
    point = problem.evaluate(nothing, torch.ones(4, dtype=torch.bool))
    assert problem.affine is not None
    torch.testing.assert_close(point.log_likelihood, chance.double())
    torch.testing.assert_close(problem.values(nothing[None])[0], chance.double())


@settings(max_examples=15)
@given(st.data())
def test_any_structure_agrees(drawn):
    """Structures of the choice model without products of states, with coefficients up to their bounds."""
    name = "choice"
    rnn_class, config = PRECODED[name]
    libraries = tuple(polynomial_library(module, config.signals(module), 1) for module in config.rnn_modules)
    terms = [(library.module, term) for library in libraries for term in library.terms] + [BETA]
    wanted = [
        EXCLUDED if term in ("c_value_reward", RATE) else drawn.draw(st.sampled_from([EXCLUDED, FREE]))
        for _, term in terms[:-1]
    ] + [FREE]
    status = np.tile(np.array(wanted, dtype="int8"), (4, 1))
    equations = EquationSet(libraries, (VALUE,), np.zeros(status.shape), status)
    size = drawn.draw(st.sampled_from([0.1, 0.5, 1.0]))
    coefficients = random_coefficients(equations, 1, seed=drawn.draw(st.integers(0, 99)), size=size)
    data = random_data(
        drawn.draw(st.integers(2, 3)), seed=drawn.draw(st.integers(0, 99)), lengths=(12, 3, 8, 1, 5, 9, 2)
    )
    # beyond 1 in size states swing ever wider, and leave differences of large numbers, where all that counts cancels
    coefficients[..., equations.own_state] = coefficients[..., equations.own_state].clamp(-1.0, 1.0)
    assert_both_agree(rnn_class(n_actions=data.n_actions), data, equations, coefficients, rtol=1e-8)


# --- large values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["constant rate", "trace", "unchosen stays", "memory", "counterfactual"])
def test_states_that_grow_are_clamped_as_in_the_model(case, build, equations_of):
    """From about the 20th step on, values stand at the limit, where derivatives are 0."""
    name, values = AFFINE[case]
    equations = equations_of(name, 4, values)
    coefficients = random_coefficients(equations, 3, size=6.0)
    problem = CoefficientLikelihood(build(name), random_data(), equations)
    unlimited = [replace(state, limit=None) for state in problem.affine.states]
    plain = affine.AffineLikelihood(unlimited, problem.data, problem.affine.free)
    left = ~plain.log_likelihood(coefficients, torch.arange(7))[1]
    assert left.any(), "the test tests nothing"
    held = problem.affine.log_likelihood(coefficients, torch.arange(7))[1]
    assert held.all(), "the model had to run"
    assert_both_agree(build(name), random_data(), equations, coefficients, rtol=1e-7, huge=True)


def test_states_of_which_no_limit_is_known_are_left_to_the_model(build, equations_of):
    equations = equations_of("learning_rate", 4, LEARNING)
    coefficients = random_coefficients(equations, 2, size=3.0)
    fast, slow = (CoefficientLikelihood(build("learning_rate"), random_data(), equations) for _ in range(2))
    states = [replace(state, limit=None) for state in fast.affine.states]
    fast.__dict__["affine"] = affine.AffineLikelihood(states, fast.data, fast.affine.free)
    slow.__dict__["affine"] = None
    assert not fast.affine.log_likelihood(coefficients, torch.arange(7))[1].all()
    torch.testing.assert_close(fast.values(coefficients), slow.values(coefficients), rtol=1e-9, atol=1e-9)
    everybody = torch.ones(4, dtype=torch.bool)
    for one in coefficients:
        found, expected = fast.evaluate(one, everybody), slow.evaluate(one, everybody)
        torch.testing.assert_close(found.gradient, expected.gradient, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(found.information, expected.information, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("n_actions", [2, 3])
@pytest.mark.parametrize("end", ["low", "high"])
def test_no_bound_gives_nan(end, n_actions, build, equations_of):
    equations = equations_of("choice", 4, AFFINE["trace"][1])
    problem = CoefficientLikelihood(build("choice", n_actions), random_data(n_actions), equations)
    coefficients = torch.zeros(4, len(equations.terms), dtype=torch.float64)
    coefficients[:, problem.free_anywhere] = getattr(problem, end)
    point = problem.evaluate(coefficients, torch.ones(4, dtype=torch.bool))
    assert torch.isfinite(point.log_likelihood).all()
    assert torch.isfinite(point.gradient).all()
    assert torch.isfinite(problem.values(coefficients[None])).all()


# --- where the form does not hold -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", BENT)
def test_products_of_states_are_refused(case, build, equations_of):
    name, values = BENT[case]
    assert find_affine(EquationModel(build(name), random_data(), equations_of(name, 4, values))) is None


def test_a_likelihood_of_its_own_is_refused(build, equations_of):
    equations = equations_of("drift_diffusion", 4, LEARNING | {("beta", "boundary"): 1.5})
    assert find_affine(EquationModel(build("drift_diffusion"), random_data(), equations)) is None


class Plain(BaseRNN):
    """One state per action, an additional input, and a place for oddities."""

    init_values = {"x_value": 0.0}

    def __init__(self, n_actions=2, **options):
        super().__init__(n_actions=n_actions, **options)
        self.submodules_rnn["x_value"] = self.setup_module(input_size=2)
        self.betas["x_value"] = self.setup_constant()

    def forward(self, inputs, prev_state=None, batch_first=False):
        signals, ids, logits, timesteps = self.init_forward_pass(inputs, prev_state, batch_first)
        beta = self.betas["x_value"]()
        for step, action, reward, extra in zip(timesteps, signals[0], signals[1], signals[3], strict=True):
            given = reward + extra * (1 + ids[1])
            following = self.call_module("x_value", "x_value", inputs=(action, torch.nan_to_num(given)))
            self.state["x_value"] = self.odd(following, step, action)
            logits[step] = self.shown(beta * self.state["x_value"])
        return self.post_forward_pass(logits, batch_first), self.get_state()

    def odd(self, value, step, action):
        return value

    def shown(self, logits):
        return logits


class Capped(Plain):
    def odd(self, value, step, action):
        return value.clamp(max=0.8)


class Late(Plain):
    def odd(self, value, step, action):
        return value * 0.9 if step > 8 else value


class Remembers(Plain):
    def odd(self, value, step, action):
        before = torch.zeros_like(value) if step == 0 else self.last
        self.last = value
        return value + 0.1 * before


class Mixes(Plain):
    def odd(self, value, step, action):
        return value - value.mean(dim=1, keepdim=True)


class Lapses(Plain):
    def shown(self, logits):
        return torch.log(0.9 * torch.softmax(logits, dim=-1) + 0.05)


class Sticky(Plain):
    def odd(self, value, step, action):
        self.stick = 0.3 * action
        return value

    def shown(self, logits):
        return logits + self.stick


class Decays(Plain):
    """Clamps nothing outside its module, and its module runs only for the chosen action."""

    def odd(self, value, step, action):
        return 1.5 * value


def plain_equations(values):
    library = polynomial_library("x_value", ("c_action", "c_given"), 1)
    terms = [*((library.module, term) for term in library.terms), ("beta", "x_value")]
    status = np.array([[FREE if term in values else EXCLUDED for term in terms]] * 4, dtype="int8")
    coefficients = np.array([[values.get(term, 0.0) for term in terms]] * 4)
    return EquationSet((library,), ("x_value",), coefficients, status)


ALL_TERMS = {("x_value", "x_value"): 0.6, ("x_value", "c_given"): 0.3, ("beta", "x_value"): 2.0}


@pytest.mark.parametrize("model_class", [Plain, Decays])
def test_a_custom_model_with_inputs_and_experiments_agrees(model_class):
    equations = plain_equations(ALL_TERMS)
    assert_both_agree(model_class(), random_data(), equations, random_coefficients(equations, 2))
    large = random_coefficients(equations, 2, size=4.0)
    assert_both_agree(model_class(), random_data(), equations, large, rtol=1e-7, huge=True)


@pytest.mark.parametrize("model_class", [Capped, Late, Remembers, Mixes, Lapses, Sticky])
def test_oddities_are_found_and_refused(model_class):
    equations = plain_equations(ALL_TERMS)
    assert find_affine(EquationModel(model_class(), random_data(), equations)) is None
    assert find_affine(EquationModel(Plain(), random_data(), equations)) is not None


def test_a_model_that_cannot_be_stepped_is_run_as_a_whole():
    class Whole(Plain):
        def forward(self, inputs, prev_state=None, batch_first=False):
            if prev_state is not None:
                raise NotImplementedError("only from the start")
            return super().forward(inputs, prev_state, batch_first)

    equations, data = plain_equations(ALL_TERMS), random_data()
    assert find_affine(EquationModel(Whole(), data, equations)) is None
    np.testing.assert_allclose(
        refit(Whole(), data, equations, [], max_iter=3).log_likelihood,
        refit(Plain(), data, equations, [], max_iter=3).log_likelihood,
        rtol=1e-9,
    )


# --- use ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["constant rate", "trace"])
def test_estimates_are_those_of_automatic_differentiation(case, build, equations_of, monkeypatch):
    name, values = AFFINE[case]
    data = random_data(lengths=(20, 12, 12, 15, 16, 20, 15), seed=4)
    equations = equations_of(name, 4, values)
    fast = refit(build(name), data, equations, [])
    monkeypatch.setattr("spicestat.equations.estimate.refit.find_affine", lambda run: None)
    slow = refit(build(name), data, equations, [])
    np.testing.assert_allclose(fast.log_likelihood, slow.log_likelihood, atol=1e-8)
    np.testing.assert_array_equal(fast.converged, slow.converged)
    np.testing.assert_array_equal(fast.at_bound, slow.at_bound)
    sure = fast.converged & ~fast.at_bound.any(axis=1)
    np.testing.assert_allclose(fast.equations.coefficients[sure], slow.equations.coefficients[sure], atol=1e-5)


def test_the_search_for_the_form_leaves_random_numbers_alone(build, equations_of):
    run = EquationModel(build("learning_rate"), random_data(), equations_of("learning_rate", 4, LEARNING))
    before = torch.get_rng_state()
    find_affine(run)
    assert torch.equal(torch.get_rng_state(), before)


def test_sequences_of_padding_alone_count_nothing(build, equations_of):
    data = random_data()
    nobody = data.participant == 3
    empty = replace(data, valid=data.valid & ~nobody[:, None], mask=data.mask & ~nobody[:, None])
    equations = equations_of("learning_rate", 4, LEARNING)
    coefficients = random_coefficients(equations, 2)
    fast = CoefficientLikelihood(build("learning_rate"), empty, equations)
    all_data = CoefficientLikelihood(build("learning_rate"), data, equations)
    assert fast.affine is not None
    value = fast.values(coefficients)
    assert (value[:, 3] == 0).all()
    torch.testing.assert_close(value[:, :3], all_data.values(coefficients)[:, :3])
    point = fast.evaluate(coefficients[0], torch.ones(4, dtype=torch.bool))
    assert (point.gradient[3] == 0).all()
