"""Custom models run with networks or equations, mask their cells and survive missing rewards."""

import runpy
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pytest
import torch

from spicestat.equations.estimate.forward import equation_logits
from spicestat.equations.structure.equation_set import FREE, EquationSet
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.errors import ConfigError, ShapeError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.models.base import BaseRNN, BuildSettings, LogitSequence, building
from spicestat.models.config import SpiceConfig
from spicestat.models.module_equation import ModuleEquation
from spicestat.models.pieces import EnsembleEmbedding, ResidualModule, ScalingConstant
from spicestat.models.precoded import PRECODED, LearningRateRNN
from spicestat.training.config import TrainingConfig
from spicestat.training.loop import train
from spicestat.trials.sequences import SequenceDataset

# a handful of choices does not identify everybody; the tests that are about this catch the warning
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")

NAN = float("nan")

CUSTOM = runpy.run_path(str(Path(__file__).with_name("custom_model.py")))
HAND_WRITTEN_CONFIG, HandWritten = CUSTOM["HAND_WRITTEN_CONFIG"], CUSTOM["HandWritten"]

# --- helpers --------------------------------------------------------------------------------------------------------


class Toy(BaseRNN):
    """One module without participants; subclasses change one thing."""

    init_values: ClassVar = MappingProxyType({"x_value": 0.25})

    def __init__(self, n_actions, **_ignored):
        super().__init__(n_actions=n_actions)
        self.submodules_rnn["x_value"] = self.setup_module(input_size=1)
        self.betas["x_value"] = self.setup_constant()

    def inputs(self, reward, additional):
        return (reward,)

    def forward(self, inputs, prev_state=None, batch_first=False):
        signals, _, logits, timesteps = self.init_forward_pass(inputs, prev_state, batch_first)
        for timestep, action, reward, additional in zip(timesteps, signals[0], signals[1], signals[3], strict=True):
            self.record_signal("c_action", action)
            chosen = self.call_module("x_value", "x_value", action, self.inputs(reward, additional))
            self.state["x_value"] = chosen + (1 - action) * self.state["x_value"]
            logits[timestep] = self.state["x_value"] * self.betas["x_value"]()
        return self.post_forward_pass(logits, batch_first), self.get_state()


TOY_CONFIG = SpiceConfig(["x_value"], ["c_action", "c_reward"], {"x_value": ["c_reward"]})


def features(*steps, n_actions=2):
    """One sequence of (choice, reward), choice None for a missed trial; reward column of the chosen action."""
    xs = torch.full((1, len(steps), 2 * n_actions + 1), NAN)
    xs[..., :n_actions], xs[..., -1] = 0.0, 0.0
    for step, (choice, reward) in enumerate(steps):
        if choice is not None:
            xs[0, step, choice] = 1.0
            xs[0, step, n_actions + choice] = reward
    return xs


def run(model, xs, **options):
    with torch.no_grad():
        return model.eval()(xs, batch_first=True, **options)


# --- custom models --------------------------------------------------------------------------------------------------


def test_hand_written_model_trains_and_gives_equations(small_data):
    estimator = SpiceEstimator(HandWritten, HAND_WRITTEN_CONFIG, n_participants=3, epochs=12, learning_rate=1e-2)
    estimator.fit(small_data.xs, small_data.ys)
    logits, state = run(estimator.rnn_model_, small_data.xs)
    like = LearningRateRNN(n_actions=2, n_participants=3)
    expected, expected_state = run(like, small_data.xs)
    assert logits.shape == expected.shape == (9, 19, 2)
    assert {name: value.shape for name, value in state.items()} == {
        name: value.shape for name, value in expected_state.items()
    }
    assert estimator.training_.train_nll[-1] < estimator.training_.train_nll[0]
    assert list(estimator.equations_.text(0)) == [*HAND_WRITTEN_CONFIG.rnn_modules, "beta(x_value_reward)"]
    assert set(estimator.get_spice_features()) == {0, 1, 2}


def test_hand_written_model_is_the_precoded_model(small_data):
    """With the same weights both give the same logits."""
    with building(BuildSettings(embedding_size=4)):
        custom, precoded = HandWritten(2, 3), PRECODED["participant_embedding"][0](2, 3)
    precoded.load_state_dict(custom.state_dict())
    torch.testing.assert_close(run(custom, small_data.xs)[0], run(precoded, small_data.xs)[0])


def test_time_first_equals_batch_first(small_data):
    model = LearningRateRNN(2, 3).eval()
    with torch.no_grad():
        by_batch, _ = model(small_data.xs, batch_first=True)
        by_time, _ = model(small_data.xs.transpose(0, 1))
    assert torch.equal(by_batch, by_time.transpose(0, 1))


def test_states_carry_over_from_one_piece_to_the_next(small_data):
    model = LearningRateRNN(2, 3)
    whole, _ = run(model, small_data.xs)
    first, state = run(model, small_data.xs[:, :11])
    second, _ = run(model, small_data.xs[:, 11:], prev_state=state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_an_unfinished_forward_is_an_error(small_data):
    class Lazy(Toy):
        def forward(self, inputs, prev_state=None, batch_first=False):
            _, _, logits, _ = self.init_forward_pass(inputs, prev_state, batch_first)
            logits[0] = self.state["x_value"]
            return self.post_forward_pass(logits, batch_first), self.get_state()

    with pytest.raises(ConfigError, match="without logits"):
        Lazy(2)(small_data.xs, batch_first=True)


def test_logits_of_a_sequence_are_collected_by_assignment():
    logits = LogitSequence(2)
    assert len(logits) == 2
    logits[1] = torch.ones(3, 2)
    with pytest.raises(ConfigError, match=r"Got: \[0\]"):
        logits.stack()
    logits[0] = torch.zeros(3, 2)
    assert logits[1].sum() == 6
    assert logits.stack().shape == (2, 3, 2)


def test_the_base_class_has_no_forward():
    with pytest.raises(NotImplementedError, match="BaseRNN"):
        BaseRNN(2)(torch.zeros(1, 1, 5))


def test_unknown_modules_and_states_are_named():
    model = Toy(2)
    model.init_forward_pass(features((0, 1.0)), None, True)
    with pytest.raises(ConfigError, match="no module 'x_vlaue'"):
        model.call_module("x_vlaue", "x_value", inputs=torch.zeros(1, 2))
    with pytest.raises(ConfigError, match="no state 'x_vlaue'"):
        model.call_module("x_value", "x_vlaue", inputs=torch.zeros(1, 2))
    with pytest.raises(ConfigError, match="number of inputs"):
        model.call_module("x_value", "x_value")


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 6)])
def test_features_of_the_wrong_width_are_refused(shape):
    with pytest.raises(ShapeError):
        Toy(2)(torch.zeros(shape), batch_first=True)


def test_a_model_needs_two_actions():
    with pytest.raises(ConfigError, match="two actions"):
        Toy(1)


# --- masks, missing rewards, clamps ---------------------------------------------------------------------------------


def test_a_module_gives_zero_outside_its_cells():
    model = Toy(3)
    model.init_forward_pass(features((0, 1.0), n_actions=3), None, True)
    action = torch.tensor([[1.0, 0, 0]])
    value = model.call_module("x_value", "x_value", action, torch.ones(1, 3))
    assert value[0, 0] != 0
    assert value[0, 1:].tolist() == [0.0, 0.0]
    every = model.call_module("x_value", "x_value", None, torch.ones(1, 3))
    assert (every != 0).all()
    assert every[0, 0] == value[0, 0]


@pytest.mark.parametrize("name", list(PRECODED))
def test_a_missing_reward_keeps_the_chosen_value(name, build):
    model = build(name, 2, 1)
    _, before = run(model, features((0, 1.0), (1, 0.0)))
    _, after = run(model, features((0, 1.0), (1, 0.0), (0, NAN)))
    assert after["x_value_reward"][0, 0] == before["x_value_reward"][0, 0]
    assert torch.isfinite(after["x_value_reward"]).all()


@pytest.mark.parametrize("name", ["rescorla_wagner", "learning_rate"])
def test_a_missing_reward_in_one_sequence_leaves_the_others_alone(name, build):
    model = build(name)
    complete, gap = features((0, 1.0), (1, 0.0)), features((0, NAN), (1, 0.0))
    alone, _ = run(model, complete)
    together, _ = run(model, torch.cat([complete, gap]))
    torch.testing.assert_close(together[0], alone[0])


def test_gradients_stay_finite_with_missing_rewards():
    model = LearningRateRNN(2)
    logits, _ = model(features((0, 1.0), (1, NAN), (0, 0.0)), batch_first=True)
    logits.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_states_of_unstable_equations_are_clamped():
    library = ModuleLibrary("x_value", ("x_value", "c_reward"), ((1, 0),))
    explode = EquationSet((library,), ("x_value",), np.array([[9.0, 1.0]]), np.full((1, 2), FREE, dtype="int8"))
    xs = features(*[(0, 1.0)] * 40)
    data = SequenceDataset.from_arrays(xs, torch.tensor([[[1.0, 0.0]] * 40]))
    logits = equation_logits(Toy(2), data, explode)
    assert torch.isfinite(logits).all()
    assert float(logits.max()) == 1e6


def test_equations_leave_the_model_as_it_was(small_data):
    model = Toy(2)
    before, _ = run(model, small_data.xs)
    half = ModuleEquation([(0,)], [torch.tensor(0.5)])
    rows = torch.full((small_data.n_sequences, 1), 2.0)
    with model.equations({"x_value": half}, {"x_value": rows}):
        inside, _ = run(model, small_data.xs)
    assert not torch.equal(inside, before)
    assert torch.equal(run(model, small_data.xs)[0], before)


def test_equations_end_with_an_error_inside(small_data):
    model = Toy(2)
    before, _ = run(model, small_data.xs)
    with pytest.raises(RuntimeError), model.equations({"x_value": ModuleEquation([], [])}, {}):
        raise RuntimeError
    assert torch.equal(run(model, small_data.xs)[0], before)


def test_an_empty_equation_is_zero():
    assert ModuleEquation([], [])(torch.ones(2, 3), []).tolist() == [[0.0] * 3] * 2


def test_equation_mode_equals_a_simulation_step_by_step():
    """x' = .1 + .6 x + .3 r - .2 x r + .05 r^2 for the chosen action."""
    rng = np.random.default_rng(8)
    steps = [
        (int(choice), float(reward)) for choice, reward in zip(rng.integers(0, 2, 50), rng.normal(size=50), strict=True)
    ]
    powers = ((0, 0), (1, 0), (0, 1), (1, 1), (0, 2))
    weights = [0.1, 0.6, 0.3, -0.2, 0.05]
    library = ModuleLibrary("x_value", ("x_value", "c_reward"), powers)
    equations = EquationSet((library,), ("x_value",), np.array([[*weights, 2.5]]), np.ones((1, 6), dtype="int8"))
    data = SequenceDataset.from_arrays(features(*steps), torch.tensor([[[1.0, 0.0]] * 50]))
    value, expected = np.full(2, 0.25), []
    for choice, reward in steps:
        r, x = np.float64(np.float32(reward)), value[choice]
        value[choice] = 0.1 + 0.6 * x + 0.3 * r - 0.2 * x * r + 0.05 * r**2
        expected.append(2.5 * value)
    np.testing.assert_allclose(equation_logits(Toy(2), data, equations)[0].numpy(), expected, rtol=0, atol=1e-12)


# --- ensembles and settings -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(PRECODED))
def test_members_of_an_ensemble_are_independent(name, small_data):
    rnn_class = PRECODED[name][0]
    with building(BuildSettings(n_members=2)):
        pair = rnn_class(2, n_participants=3)
    together, _ = run(pair, small_data.xs.repeat(2, 1, 1))
    for member in range(2):
        single = rnn_class(2, n_participants=3)
        weights = {key: value[member : member + 1] for key, value in pair.state_dict().items()}
        single.load_state_dict(weights)
        alone, _ = run(single, small_data.xs)
        torch.testing.assert_close(together.reshape(2, *alone.shape)[member], alone)


def test_members_without_an_embedding_have_constants_of_their_own():
    constant = ScalingConstant(0, n_members=2)
    constant.value.data[:] = torch.tensor([0.0, 3.0]).reshape(2, 1, 1)
    constant.n_rows = 6
    values = constant().squeeze(1)
    assert values.shape == (6,)
    assert values[:3].unique().shape == values[3:].unique().shape == (1,)
    assert values[0] != values[3]


def test_settings_reach_classes_that_ignore_them():
    settings = BuildSettings(hidden_size=3, embedding_size=6, dropout=0.4, n_members=2)
    with building(settings):
        model = HandWritten(2, 5)
    assert model.embedding_size == 6
    assert model.participant_embedding.weight.shape == (2, 5, 6)
    assert model.participant_embedding.dropout.p == 0.0  # what the class itself asks for wins
    module = model.submodules_rnn["x_learning_rate_reward"]
    assert module.hidden.weight.shape == (2, 2 + 6 + 1, 3)
    assert module.dropout.p == 0.4
    assert HandWritten(2, 5).n_members == 1


def test_settings_end_with_an_error_inside():
    with pytest.raises(RuntimeError), building(BuildSettings(hidden_size=3)):
        raise RuntimeError
    assert Toy(2).hidden_size == 8


def test_embeddings_refuse_codes_that_they_do_not_have():
    embedding = EnsembleEmbedding(2, 3)
    with pytest.raises(ConfigError, match="outside the embedding"):
        embedding(torch.tensor([0, 2]))
    with pytest.raises(ConfigError, match="outside the embedding"):
        embedding(torch.tensor([0, -1]))
    with pytest.raises(ConfigError, match="at least one code"):
        EnsembleEmbedding(0, 3)


def test_scaling_constants_ask_for_their_embedding():
    constant = ScalingConstant(3)
    assert constant(torch.randn(5, 3)).shape == (5, 1)
    with pytest.raises(ConfigError, match="embedding"):
        constant()


def test_modules_are_residual_unless_they_have_an_activation():
    module = ResidualModule(input_size=0, hidden_size=2, dropout=0.0)
    for weight in module.parameters():
        weight.data.zero_()
    assert module(torch.ones(2, 3), torch.ones(2, 3, 0)).abs().max() == 0
    model = Toy(2)
    for weight in model.submodules_rnn.parameters():
        weight.data.zero_()
    model.init_forward_pass(features((0, 1.0)), None, True)
    kept = model.call_module("x_value", "x_value", None, torch.ones(1, 2))
    squashed = model.call_module("x_value", "x_value", None, torch.ones(1, 2), activation_rnn=torch.sigmoid)
    assert kept.tolist() == [[0.25, 0.25]]
    assert squashed.tolist() == [[0.5, 0.5]]


def test_a_model_without_participants_trains(small_data):
    result = train(Toy(2), small_data, TrainingConfig(epochs=3))
    assert len(result.train_nll) == 3


# --- configs --------------------------------------------------------------------------------------------------------


def config(**changes):
    base = {
        "rnn_modules": ["x_value"],
        "control_parameters": ["c_action", "c_reward"],
        "library_setup": {"x_value": ["c_reward"]},
        "filter_setup": {"x_value": ["c_action", 1, True]},
    }
    return SpiceConfig(**(base | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"rnn_modules": []},
        {"rnn_modules": ["x_value", "x_value"]},
        {"library_setup": {"x_other": ["c_reward"]}},
        {"library_setup": {"x_value": ["c_rewrad"]}},
        {"filter_setup": {"x_other": ["c_action", 1, True]}},
        {"filter_setup": {"x_value": ["c_acton", 1, True]}},
        {"filter_setup": {"x_value": ["c_action", 1]}},
        {"filter_setup": {"x_value": [["c_action", 1, True], ["c_reward"]]}},
    ],
)
def test_configs_whose_names_do_not_fit_are_refused(changes):
    with pytest.raises(ConfigError):
        config(**changes)


def test_one_filter_or_several():
    assert config().filters("x_value") == (("c_action", 1.0, True),)
    several = config(filter_setup={"x_value": [["c_action", 1, True], ["c_reward", 0, False]]})
    assert several.filters("x_value") == (("c_action", 1.0, True), ("c_reward", 0.0, False))
    assert config(filter_setup={}).filters("x_value") == ()
    assert config(library_setup={}).signals("x_value") == ()


def test_inputs_that_the_config_does_not_name_are_refused_with_the_names(small_data):
    wrong = SpiceConfig(["x_value"], ["c_action"], {"x_value": []})
    estimator = SpiceEstimator(Toy, wrong, epochs=1)
    with pytest.raises(ConfigError, match="library_setup of 'x_value'"):
        estimator.fit(small_data.xs, small_data.ys)


def test_a_filter_on_a_signal_that_is_never_recorded_is_refused(small_data):
    wrong = SpiceConfig(["x_value"], ["c_reward"], {"x_value": ["c_reward"]}, {"x_value": ["c_reward", 1, True]})
    with pytest.raises(ConfigError, match="never records"):
        SpiceEstimator(Toy, wrong, epochs=1).fit(small_data.xs, small_data.ys)


def test_a_module_that_is_never_called_is_refused(small_data):
    wrong = SpiceConfig(["x_value", "x_ghost"], ["c_reward"], {"x_value": ["c_reward"]})
    with pytest.raises(ConfigError, match="never calls"):
        SpiceEstimator(Toy, wrong, epochs=1).fit(small_data.xs, small_data.ys)


def test_toy_config_works_without_filters(small_data):
    found = SpiceEstimator(Toy, TOY_CONFIG, epochs=3).fit(small_data.xs, small_data.ys)
    assert list(found.equations_.text(0)) == ["x_value", "beta(x_value)"]
