"""SpiceEstimator fits, predicts, prints, saves and plays; its parameters and scikit-learn have files of their own."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from spicestat.errors import ConfigError, ConvergenceWarning, NotFittedError, ShapeError, SpicestatError, StorageError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.loading import load_fit
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import (
    LEARNING_RATE_RNN_CONFIG,
    RESCORLA_WAGNER_CONFIG,
    LearningRateRNN,
    RescorlaWagnerRNN,
)
from spicestat.simulate import simulate_cohort
from spicestat.training.config import TrainingConfig
from spicestat.training.loop import train
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

# a handful of choices does not identify everybody; the tests that are about this catch the warning
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")

BEFORE_FIT = {
    "predict": lambda e: e.predict(np.zeros((1, 1, 7))),
    "score": lambda e: e.score(np.zeros((1, 1, 7)), np.ones((1, 1, 2))),
    "get_spice_features": lambda e: e.get_spice_features(),
    "print_spice_model": lambda e: e.print_spice_model(),
    "get_participant_embeddings": lambda e: e.get_participant_embeddings(),
    "rnn_agent": lambda e: e.rnn_agent,
    "spice_agent": lambda e: e.spice_agent,
    "save_spice": lambda e: e.save_spice("never-written.pkl"),
    "load_spice": lambda e: e.load_spice(path_spice="never-read.pkl"),
}


def make(**changes):
    return SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, **({"epochs": 3, "n_participants": 3} | changes))


def simple(**changes):
    """Return an estimator with the smallest model."""
    defaults = {"epochs": 2, "n_participants": 3}
    return SpiceEstimator(RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG, **(defaults | changes))


@pytest.fixture(scope="module")
def fitted(small_data):
    return make().fit(small_data.xs, small_data.ys)


def assert_same_predictions(first, second, xs):
    for mine, theirs in zip(first.predict(xs), second.predict(xs), strict=True):
        np.testing.assert_array_equal(mine, theirs)


# --- fit ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ask", BEFORE_FIT.values(), ids=BEFORE_FIT)
def test_results_before_fit_are_an_error(ask):
    with pytest.raises(NotFittedError, match=r"call (fit|load_spice)|fit\(\)|pass path_rnn") as caught:
        ask(make())
    assert all(isinstance(caught.value, base) for base in SklearnNotFittedError.__bases__)


@pytest.mark.parametrize("convert", [lambda x: x.numpy(), lambda x: x.double(), lambda x: x.tolist()])
def test_numpy_torch_and_lists_give_the_same_numbers(convert, fitted, small_data):
    other = make().fit(convert(small_data.xs), convert(small_data.ys))
    np.testing.assert_array_equal(other.equations_.coefficients, fitted.equations_.coefficients)
    assert other.training_ == fitted.training_


def test_both_feature_layouts_give_the_same_numbers(fitted, small_data):
    short = torch.cat([small_data.xs[..., :4], small_data.xs[..., -1:]], dim=-1)
    other = make().fit(short, small_data.ys)
    np.testing.assert_array_equal(other.equations_.coefficients, fitted.equations_.coefficients)
    assert_same_predictions(other, fitted, short)


def test_the_global_random_states_are_left_alone(small_data):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    make(epochs=1, bagging=True, batch_size=2, use_optuna=True, optuna_n_trials=1).fit(small_data.xs, small_data.ys)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_one_participant_only_also_for_validation(small_data):
    """The validation loss must be of the participant who is fitted."""
    chosen = torch.nonzero(small_data.participant == 1).squeeze(1)
    options = {"spice_participant_id": 1, "epochs": 8}
    everybody = make(**options).fit(small_data.xs, small_data.ys, small_data.xs, small_data.ys)
    alone = make(**options).fit(small_data.xs, small_data.ys, small_data.xs[chosen], small_data.ys[chosen])
    assert everybody.training_.validation_nll == alone.training_.validation_nll


def test_validation_is_used(small_data):
    estimator = make(epochs=16).fit(small_data.xs, small_data.ys, small_data.xs, small_data.ys)
    assert [epoch for epoch, _ in estimator.training_.validation_nll] == [8, 16]


@pytest.mark.parametrize("given", ["conditions_val", "targets_val"])
def test_half_a_validation_set_is_an_error(given, small_data):
    half = {"conditions_val": small_data.xs, "targets_val": small_data.ys}[given]
    with pytest.raises(SpicestatError):
        make(epochs=1).fit(small_data.xs, small_data.ys, **{given: half})


def test_participants_without_an_estimate_are_warned_about(small_data):
    few = small_data.with_mask(
        (small_data.participant[:, None] != 2)
        | ((small_data.block[:, None] == small_data.block.max()) & (torch.arange(small_data.n_steps) < 1))
    )
    with pytest.warns(ConvergenceWarning, match=r"\d of 3 participants"):
        make(epochs=1).fit_dataset(few)


# --- equations ------------------------------------------------------------------------------------------------------


def test_printed_equations(fitted, capsys):
    fitted.print_spice_model(1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("x_learning_rate_reward[k+1] = ")
    assert lines[-1].startswith("beta(x_value_reward) = ")
    fitted.print_spice_model()
    fitted.print_spice_model(participant_id=np.int64(0))
    printed = capsys.readouterr().out.splitlines()
    assert printed[: len(lines)] == printed[len(lines) :]
    for nobody in (3, -1, "p1"):
        with pytest.raises(ConfigError, match="no such participant"):
            fitted.print_spice_model(nobody)


def test_features_are_the_equations(fitted):
    features = fitted.get_spice_features()
    assert list(features) == [0, 1, 2]
    for participant, modules in features.items():
        for position, (module, term) in enumerate(fitted.equations_.terms):
            if fitted.equations_.status[participant, position]:
                assert modules[module][term] == fitted.equations_.coefficients[participant, position]
            else:
                assert term not in modules.get(module, {})
    assert features == fitted.spice_agent.get_spice_features()


def test_inclusion_and_stability_are_shares_of_every_term(fitted):
    for share in (fitted.inclusion_, fitted.stability_):
        assert share.shape == fitted.equations_.status.shape
        assert ((share >= 0) & (share <= 1)).all()


# --- embeddings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_members", [1, 3])
def test_embeddings_are_the_networks(n_members, small_data):
    estimator = simple(n_members=n_members, epochs=1).fit(small_data.xs, small_data.ys)
    embeddings = estimator.get_participant_embeddings()
    assert list(embeddings) == [0, 1, 2]
    weights = estimator.rnn_model_.participant_embedding.weight
    for code, vector in embeddings.items():
        assert vector.shape == ((4,) if n_members == 1 else (3, 4))
        assert torch.equal(vector.reshape(n_members, 4), weights[:, code])
        vector.zero_()  # a copy without gradients, so that the model stays as it is
    assert bool((weights != 0).any())


# --- predict --------------------------------------------------------------------------------------------------------


def test_predictions_are_probabilities_with_nan_on_padding(fitted, small_data):
    xs = small_data.xs.clone()
    xs[0, 12:, :4] = float("nan")
    for probability in fitted.predict(xs):
        assert probability.shape == (9, 19, 2)
        assert np.isnan(probability[0, 12:]).all()
        rest = np.delete(probability, 0, axis=0)
        np.testing.assert_allclose(rest.sum(axis=-1), 1.0, atol=1e-9)
        assert ((rest >= 0) & (rest <= 1)).all()
        np.testing.assert_allclose(probability[0, :12].sum(axis=-1), 1.0, atol=1e-9)


def test_padding_does_not_change_predictions(fitted, small_data):
    xs = small_data.xs.clone()
    xs[0, 12:, :4] = -1.0
    for full, cut in zip(fitted.predict(small_data.xs), fitted.predict(xs), strict=True):
        np.testing.assert_allclose(cut[0, :12], full[0, :12], atol=1e-7)
        np.testing.assert_allclose(cut[1:], full[1:], atol=1e-7)


@pytest.mark.parametrize("n_actions", [3, 4])
@pytest.mark.parametrize("pad", [float("nan"), -1.0])
def test_padding_is_recognised_with_any_number_of_actions(n_actions, pad):
    """0.2.0 compares the sum of the actions with -2, which is padding with two actions only."""
    cohort = simulate_cohort(2, 20, n_blocks=2, n_actions=n_actions, seed=1)
    data = SequenceDataset.from_trials(read_trials(cohort.trials, block="block"))
    estimator = simple(n_actions=n_actions, n_participants=2, epochs=1).fit(data.xs, data.ys)
    xs = data.xs.clone()
    xs[1, 5:, : 2 * n_actions] = pad
    for full, cut in zip(estimator.predict(data.xs), estimator.predict(xs), strict=True):
        assert np.isnan(cut[1, 5:]).all()
        assert np.isfinite(np.delete(cut, 1, axis=0)).all()
        np.testing.assert_allclose(cut[1, :5], full[1, :5], atol=1e-7)
        np.testing.assert_allclose(full.sum(axis=-1), 1.0, atol=1e-9)


def test_prediction_of_part_of_the_data_is_part_of_the_prediction(fitted, small_data):
    for whole, part in zip(fitted.predict(small_data.xs), fitted.predict(small_data.xs[4:, :9]), strict=True):
        np.testing.assert_allclose(part, whole[4:, :9], atol=1e-6)


def test_equations_predict_with_the_fitted_likelihood(fitted, small_data):
    _, probability = fitted.predict(small_data.xs)
    chosen = np.take_along_axis(probability, small_data.targets.numpy()[..., None], axis=-1)[..., 0]
    log_likelihood = np.log(chosen)[small_data.mask.numpy()].sum()
    assert log_likelihood == pytest.approx(fitted.refit_.log_likelihood.sum(), abs=1e-6)
    assert fitted.score(small_data.xs, small_data.ys) == pytest.approx(log_likelihood / 171, abs=1e-8)


def test_unknown_participants_and_shapes_are_refused(fitted, small_data):
    xs, ys = small_data.xs.clone(), small_data.ys
    xs[..., -1] = 3
    with pytest.raises(ShapeError, match="not fitted"):
        fitted.predict(xs)
    with pytest.raises(ShapeError, match="not fitted"):
        fitted.score(xs, ys)
    with pytest.raises(ShapeError, match="3-D"):
        fitted.predict(small_data.xs[0])
    with pytest.raises(ShapeError):
        fitted.predict(small_data.xs[..., 1:3])


def test_targets_with_another_number_of_actions_are_refused(fitted):
    """Features of 9 columns may be of three actions, or of two with inputs; the targets tell."""
    three = np.zeros((3, 5, 9)), np.ones((3, 5, 3))
    with pytest.raises(ShapeError, match="number of actions"):
        fitted.score(*three)
    with pytest.raises(ShapeError, match="number of actions"):
        make().fit(np.zeros((3, 5, 9)), np.ones((3, 5, 2)), *three)


# --- unseen participants --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def held_out(small_data):
    """Fit the first two of three participants; the third may be predicted."""
    estimator = make(unseen_participants="typical", n_members=2)
    return estimator.fit(small_data.xs[:6], small_data.ys[:6])


def test_participants_left_out_of_the_fit_are_not_predicted_by_default(small_data):
    estimator = simple().fit(small_data.xs[:6], small_data.ys[:6])
    estimator.predict(small_data.xs[:6])
    with pytest.raises(ShapeError, match=r"\[2\].*\[0, 1\].*unseen_participants='typical'"):
        estimator.predict(small_data.xs)
    with pytest.raises(ConfigError, match="no such participant"):
        estimator.print_spice_model(2)
    with pytest.raises(ConfigError, match="no equations"):
        estimator.spice_agent.new_sess(2)


def test_participants_without_data_are_predicted_as_typical_ones(held_out, small_data, capsys):
    for probability in held_out.predict(small_data.xs):
        assert np.isfinite(probability).all()
        np.testing.assert_allclose(probability.sum(axis=-1), 1.0, atol=1e-9)
    assert np.isfinite(held_out.score(small_data.xs[6:], small_data.ys[6:]))
    assert list(held_out.get_spice_features()) == [0, 1]
    held_out.print_spice_model(2)
    assert "beta(x_value_reward)" in capsys.readouterr().out


def test_a_typical_participant_has_the_mean_embedding(held_out):
    embeddings = held_out.get_participant_embeddings()
    torch.testing.assert_close(embeddings[2], (embeddings[0] + embeddings[1]) / 2)
    assert not torch.allclose(embeddings[0], embeddings[1])


def test_a_typical_participant_has_the_median_coefficients_of_a_frequent_structure(held_out):
    status, coefficients = held_out.equations_.status, held_out.equations_.coefficients
    alike = [code for code in (0, 1) if (status[code] == status[2]).all()]
    assert alike
    np.testing.assert_allclose(coefficients[2], np.median(coefficients[alike], axis=0))
    assert held_out.refit_.n_trials.tolist() == [57, 57, 0]


def test_typical_participants_are_saved_too(held_out, small_data, tmp_path):
    held_out.save_spice(tmp_path / "rnn", tmp_path / "spice")
    loaded = clone(held_out).load_spice(tmp_path / "rnn", tmp_path / "spice")
    assert_same_predictions(loaded, held_out, small_data.xs)


def test_nobody_beyond_the_announced_number_is_typical(held_out, small_data):
    xs = small_data.xs.clone()
    xs[..., -1] = 3
    with pytest.raises(ShapeError, match="n_participants"):
        held_out.predict(xs)


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(fitted, tmp_path_factory):
    """Networks and equations of a fit."""
    folder = tmp_path_factory.mktemp("saved")
    paths = folder / "rnn.pkl", folder / "spice.pkl"
    fitted.save_spice(*paths)
    return paths


def test_what_is_loaded_predicts_as_what_was_saved(fitted, files, small_data, capsys):
    loaded = make()
    assert loaded.load_spice(*map(str, files)) is loaded
    assert_same_predictions(loaded, fitted, small_data.xs)
    assert loaded.training_ == fitted.training_
    assert loaded.get_spice_features() == fitted.get_spice_features()
    assert loaded.score(small_data.xs, small_data.ys) == fitted.score(small_data.xs, small_data.ys)
    np.testing.assert_array_equal(loaded.refit_.covariance, fitted.refit_.covariance)
    np.testing.assert_array_equal(loaded.sparse_.coefficients, fitted.sparse_.coefficients)
    for code, vector in fitted.get_participant_embeddings().items():
        assert torch.equal(loaded.get_participant_embeddings()[code], vector)
    for estimator in (fitted, loaded):
        estimator.print_spice_model(2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]


def test_networks_alone(fitted, files, small_data):
    loaded = make().load_spice(path_rnn=files[0])
    assert torch.equal(loaded.get_participant_embeddings()[1], fitted.get_participant_embeddings()[1])
    played = [replayed(estimator.rnn_agent, small_data.xs[8]) for estimator in (loaded, fitted)]
    np.testing.assert_array_equal(*played)
    for ask in (lambda: loaded.predict(small_data.xs), lambda: loaded.spice_agent, loaded.get_spice_features):
        with pytest.raises(NotFittedError):
            ask()


def test_equations_alone(fitted, files, small_data):
    other = make(random_state=1).fit(small_data.xs, small_data.ys)
    networks, _ = other.predict(small_data.xs)
    other.load_spice(path_spice=files[1])
    np.testing.assert_array_equal(other.predict(small_data.xs)[0], networks)
    np.testing.assert_array_equal(other.predict(small_data.xs)[1], fitted.predict(small_data.xs)[1])


def test_what_is_known_of_other_equations_is_forgotten(files, small_data):
    """Files do not hold inclusion_ and stability_; those of an earlier fit are not these equations'."""
    estimator = make(random_state=1, epochs=1).fit(small_data.xs, small_data.ys)
    estimator.load_spice(path_rnn=files[0])
    assert estimator.inclusion_.shape == estimator.equations_.status.shape
    estimator.load_spice(*files)
    assert not hasattr(estimator, "inclusion_")
    assert not hasattr(estimator, "stability_")


def test_only_what_is_asked_for_is_written(fitted, tmp_path):
    fitted.save_spice(path_spice=tmp_path / "only")
    assert [path.name for path in tmp_path.iterdir()] == ["only"]
    for method in (fitted.save_spice, fitted.load_spice):
        with pytest.raises(ConfigError, match="needs a path"):
            method()


OTHER_SIGNALS = SpiceConfig(
    LEARNING_RATE_RNN_CONFIG.rnn_modules,
    (*LEARNING_RATE_RNN_CONFIG.control_parameters, "c_points"),
    {
        module: ["c_points" if name == "c_reward" else name for name in signals]
        for module, signals in LEARNING_RATE_RNN_CONFIG.library_setup.items()
    },
)
OTHERS = {
    "hidden_size": {"hidden_size": 4},
    "n_participants": {"n_participants": 2},
    "more participants": {"n_participants": 4},
    "pooled": {"n_participants": 0},
    "n_members": {"n_members": 2},
    "model": {"rnn_class": RescorlaWagnerRNN, "spice_config": RESCORLA_WAGNER_CONFIG},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_networks_of_another_model_are_refused(change, files):
    estimator = make().set_params(**change)
    with pytest.raises(StorageError, match="another model"):
        estimator.load_spice(*files)
    assert not hasattr(estimator, "rnn_model_")


UNFIT = ["more participants", "pooled", "model"]


@pytest.mark.parametrize("change", [*(OTHERS[name] for name in UNFIT), {"spice_config": OTHER_SIGNALS}], ids=str)
def test_equations_of_another_model_are_refused(change, files, small_data):
    """A pooled model would use the first participant's equations for everybody."""
    estimator = make(epochs=1).set_params(**change).fit(small_data.xs, small_data.ys)
    before = estimator.equations_
    with pytest.raises(ConfigError, match=r"the equations are (those of another model|for a different number)"):
        estimator.load_spice(path_spice=files[1])
    assert estimator.equations_ is before


@pytest.mark.parametrize("which", [(1, None), (None, 0), (1, 0)])
def test_exchanged_files_are_refused(which, files, small_data):
    estimator = make(epochs=1).fit(small_data.xs, small_data.ys)
    before = estimator.predict(small_data.xs)
    with pytest.raises(StorageError):
        estimator.load_spice(*(None if number is None else files[number] for number in which))
    for mine, theirs in zip(estimator.predict(small_data.xs), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_loaded_network_can_be_trained(fitted, files, small_data):
    """In 0.2.0's successor no parameter is in the optimizer after loading, and nothing trains."""
    loaded = make().load_spice(*files)
    before = {name: weights.detach().clone() for name, weights in loaded.rnn_model_.named_parameters()}
    train(loaded.rnn_model_, small_data, TrainingConfig(epochs=2))
    after = dict(loaded.rnn_model_.named_parameters())
    assert before.keys() == after.keys()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert not unchanged
    assert loaded.fit(small_data.xs, small_data.ys).training_ == fitted.training_


# --- agents ---------------------------------------------------------------------------------------------------------


def replayed(agent, xs):
    """Probabilities after each trial of a sequence (T, F) that the agent is told about."""
    agent.new_sess(participant_id=int(xs[0, -1]))
    probabilities = []
    for features in xs.numpy():
        agent.update(int(np.argmax(features[:2])), features[2:4])
        probabilities.append(agent.get_choice_probs())
    return np.array(probabilities)


@pytest.mark.parametrize("sequence", [0, 8])
def test_agents_play_as_predicted(sequence, fitted, small_data):
    expected = fitted.predict(small_data.xs)
    for agent, probability in zip((fitted.rnn_agent, fitted.spice_agent), expected, strict=True):
        np.testing.assert_allclose(replayed(agent, small_data.xs[sequence]), probability[sequence], atol=1e-6)


def test_agents_stay_until_the_fit_changes(files):
    loaded = make().load_spice(*files)
    before = loaded.spice_agent
    before.update(0, [1.0, np.nan])
    assert loaded.spice_agent is before
    assert loaded.rnn_agent is loaded.rnn_agent
    loaded.load_spice(*files)
    assert loaded.spice_agent is not before


@pytest.mark.parametrize("deterministic", [None, True, False])
def test_loaded_agents_choose_or_draw(deterministic, files, fitted):
    loaded = make().load_spice(*files, **({} if deterministic is None else {"deterministic": deterministic}))
    for agent in (loaded.rnn_agent, loaded.spice_agent):
        assert agent.deterministic is (deterministic is not False)
        agent.update(0, [1.0, np.nan])
        assert agent.get_choice_probs().min() > 0.05
        choices = {agent.get_choice() for _ in range(200)}  # both come with a probability above 1 - 1e-4
        assert choices == ({0, 1} if deterministic is False else {int(np.argmax(agent.q))})
    assert fitted.rnn_agent.deterministic
    assert fitted.spice_agent.deterministic


def test_agents_of_a_stored_fit_play(tiny_fit, tmp_path):
    """Estimators that load_fit() reads have agents, too."""
    tiny_fit.save(tmp_path / "fit")
    estimator = load_fit(tmp_path / "fit").estimator
    for mine, theirs in (
        (estimator.rnn_agent, tiny_fit.estimator.rnn_agent),
        (estimator.spice_agent, tiny_fit.estimator.spice_agent),
    ):
        for agent in (mine, theirs):
            agent.new_sess(1)
            agent.update(1, [np.nan, 1.0])
        np.testing.assert_array_equal(mine.q, theirs.q)
