"""SpiceEstimator keeps scikit-learn's contract; upstream's clone, get_params, repr and fit did not."""

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

import spicestat.estimator as estimator_module
from spicestat.errors import ConfigError, ConvergenceWarning, NotFittedError, ShapeError, SpicestatError
from spicestat.estimator import SpiceEstimator
from spicestat.precoded import LEARNING_RATE_RNN_CONFIG, RESCORLA_WAGNER_CONFIG, LearningRateRNN, RescorlaWagnerRNN

# a handful of choices does not identify everybody; the tests that are about this catch the warning
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")


def make(**changes):
    return SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, **({"epochs": 3, "n_participants": 3} | changes))


@pytest.fixture(scope="module")
def fitted(small_data):
    return make().fit(small_data.xs, small_data.ys)


# --- scikit-learn ---------------------------------------------------------------------------------------------------


def test_clone_and_parameters():
    estimator = make(learning_rate=0.02)
    copy = clone(estimator)
    assert copy is not estimator
    assert copy.get_params() == estimator.get_params()
    assert copy.rnn_class is LearningRateRNN
    assert copy.set_params(epochs=7) is copy
    assert (copy.epochs, estimator.epochs) == (7, 3)


def test_clone_of_a_fitted_estimator_is_not_fitted(fitted):
    with pytest.raises(NotFittedError):
        clone(fitted).predict(np.zeros((1, 1, 7)))


def test_repr_names_the_class_and_what_was_changed():
    text = repr(make(learning_rate=0.02))
    assert text.startswith("SpiceEstimator(")
    assert "learning_rate=0.02" in text
    assert "hidden_size" not in text


def test_unknown_parameters_are_refused():
    with pytest.raises(TypeError):
        make(l2_wieght_decay=1.0)
    with pytest.raises(ValueError, match="l2_wieght_decay"):
        make().set_params(l2_wieght_decay=1.0)


def test_the_constructor_only_stores():
    """Out-of-range settings are refused by fit, not by __init__, as scikit-learn asks."""
    assert make(epochs=0).epochs == 0


def test_fit_returns_the_estimator_and_leaves_parameters_alone(small_data):
    estimator = make()
    before = estimator.get_params()
    assert estimator.fit(small_data.xs, small_data.ys) is estimator
    assert estimator.get_params() == before


def test_fit_does_not_change_its_input(small_data):
    xs, ys = small_data.xs.numpy().copy(), small_data.ys.numpy().copy()
    make(epochs=1).fit(xs, ys)
    np.testing.assert_array_equal(xs, small_data.xs.numpy())
    np.testing.assert_array_equal(ys, small_data.ys.numpy())


@pytest.mark.parametrize(
    "ask",
    [lambda e: e.predict(np.zeros((1, 1, 7))), lambda e: e.get_spice_features(), lambda e: e.print_spice_model()],
)
def test_results_before_fit_are_an_error(ask):
    with pytest.raises(NotFittedError, match="call fit") as caught:
        ask(make())
    assert isinstance(caught.value, SklearnNotFittedError | ValueError | AttributeError)


# --- fit ------------------------------------------------------------------------------------------------------------


def test_numpy_and_torch_give_the_same_numbers(fitted, small_data):
    other = make().fit(small_data.xs.numpy(), small_data.ys.numpy())
    np.testing.assert_array_equal(other.equations_.coefficients, fitted.equations_.coefficients)
    assert other.training_ == fitted.training_


def test_the_same_seed_gives_the_same_fit_and_another_another_network(fitted, small_data):
    same = clone(fitted).fit(small_data.xs, small_data.ys)
    other = clone(fitted).set_params(random_state=1).fit(small_data.xs, small_data.ys)
    for name, weight in fitted.rnn_model_.state_dict().items():
        assert torch.equal(same.rnn_model_.state_dict()[name], weight)
    assert other.training_.train_nll != fitted.training_.train_nll


def test_the_global_random_state_is_left_alone(small_data):
    before = torch.get_rng_state()
    make(epochs=1, bagging=True, batch_size=2).fit(small_data.xs, small_data.ys)
    assert torch.equal(torch.get_rng_state(), before)


def test_data_with_another_number_of_actions_are_refused(small_data):
    with pytest.raises(ShapeError, match="number of actions"):
        make(n_actions=3).fit(small_data.xs, small_data.ys)


def test_more_participants_than_announced_are_refused(small_data):
    with pytest.raises(SpicestatError):
        make(n_participants=2).fit(small_data.xs, small_data.ys)


def test_one_participant_only(small_data):
    estimator = make(spice_participant_id=1).fit(small_data.xs, small_data.ys)
    assert list(estimator.get_spice_features()) == [1]
    assert estimator.refit_.n_trials.tolist() == [0, 57, 0]
    with pytest.raises(ConfigError, match="spice_participant_id"):
        make(spice_participant_id=9).fit(small_data.xs, small_data.ys)


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


def test_patience_without_validation_is_an_error(small_data):
    """It could never act; upstream ignored settings silently."""
    with pytest.raises(ConfigError, match="patience"):
        make(epochs=1, patience=5).fit(small_data.xs, small_data.ys)


BAD = [
    {"spice_structure": "x"},
    {"spice_criterion": "x"},
    {"spice_library_polynomial_degree": 0},
    {"spice_optim_threshold": -1.0},
    {"spice_optim_regularization": -1.0},
    {"spice_significance": 0.0},
    {"epochs": 0},
    {"hidden_size": 0},
    {"dropout": 1.0},
    {"n_members": 0},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: next(iter(bad)))
def test_settings_are_checked_before_the_network_is_trained(bad, small_data, monkeypatch):
    def trained(*_args, **_options):
        pytest.fail("the network was trained before the settings were checked")

    monkeypatch.setattr(estimator_module, "train", trained)
    with pytest.raises(ConfigError):
        make(**bad).fit(small_data.xs, small_data.ys)


@pytest.mark.parametrize(
    ("change", "same_network"),
    [
        ({"hidden_size": 4}, False),
        ({"dropout": 0.9}, False),
        ({"embedding_size": 2}, False),
        ({"l2_weight_decay": 1.0}, False),
        ({"scheduler": True}, False),
        ({"batch_size": 2}, False),
        ({"n_steps_per_call": 7}, False),
        ({"n_members": 2}, False),
        ({"bagging": True}, False),
        ({"learning_rate": 0.1}, False),
        ({"spice_optim_threshold": 10.0}, True),
        ({"spice_optim_regularization": 1e3}, True),
        ({"spice_library_polynomial_degree": 2}, True),
        ({"spice_structure": "population"}, True),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_no_setting_is_ignored(change, same_network, fitted, small_data):
    other = make(**change).fit(small_data.xs, small_data.ys)
    assert (other.training_ == fitted.training_) == same_network
    if same_network:
        same_terms = other.sparse_.terms == fitted.sparse_.terms
        assert (
            not same_terms
            or not np.array_equal(other.sparse_.status, fitted.sparse_.status)
            or not np.allclose(other.sparse_.coefficients, fitted.sparse_.coefficients, atol=1e-9)
        )


def test_participants_without_an_estimate_are_warned_about(small_data):
    few = small_data.with_mask(
        (small_data.participant[:, None] != 2)
        | ((small_data.block[:, None] == small_data.block.max()) & (torch.arange(small_data.n_steps) < 1))
    )
    with pytest.warns(ConvergenceWarning, match=r"\d of 3 participants"):
        make(epochs=1).fit_dataset(few)


# --- output ---------------------------------------------------------------------------------------------------------


def test_nothing_is_printed_by_default(small_data, capsys):
    make(epochs=1).fit(small_data.xs, small_data.ys).predict(small_data.xs)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")


def test_verbose_prints_all_stages(small_data, capsys):
    make(epochs=2, verbose=True).fit(small_data.xs, small_data.ys)
    printed = capsys.readouterr().out
    assert "rnn 2/2" in printed
    assert "equations" in printed


def test_progress_wins_over_verbose(small_data, capsys):
    stages = []
    make(epochs=2, verbose=True, progress=lambda *call: stages.append(call)).fit(small_data.xs, small_data.ys)
    assert capsys.readouterr().out == ""
    assert {stage for stage, *_ in stages} >= {"rnn", "equations"}
    assert all(0 <= done <= total for _, done, total, _ in stages)


def test_printed_equations(fitted, capsys):
    fitted.print_spice_model(1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("x_learning_rate_reward[k+1] = ")
    assert lines[-1].startswith("beta(x_value_reward) = ")
    with pytest.raises(ConfigError, match="no such participant"):
        fitted.print_spice_model(3)
    with pytest.raises(ConfigError, match="no such participant"):
        fitted.print_spice_model(-1)


def test_features_are_the_equations(fitted):
    features = fitted.get_spice_features()
    assert list(features) == [0, 1, 2]
    for participant, modules in features.items():
        for position, (module, term) in enumerate(fitted.equations_.terms):
            if fitted.equations_.status[participant, position]:
                assert modules[module][term] == fitted.equations_.coefficients[participant, position]
            else:
                assert term not in modules.get(module, {})


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


def test_prediction_of_part_of_the_data_is_part_of_the_prediction(fitted, small_data):
    for whole, part in zip(fitted.predict(small_data.xs), fitted.predict(small_data.xs[4:, :9]), strict=True):
        np.testing.assert_allclose(part, whole[4:, :9], atol=1e-6)


def test_equations_predict_with_the_fitted_likelihood(fitted, small_data):
    _, probability = fitted.predict(small_data.xs)
    chosen = np.take_along_axis(probability, small_data.targets.numpy()[..., None], axis=-1)[..., 0]
    log_likelihood = np.log(chosen)[small_data.mask.numpy()].sum()
    assert log_likelihood == pytest.approx(fitted.refit_.log_likelihood.sum(), abs=1e-6)


def test_unknown_participants_and_shapes_are_refused(fitted, small_data):
    xs = small_data.xs.clone()
    xs[..., -1] = 3
    with pytest.raises(ShapeError, match="not fitted"):
        fitted.predict(xs)
    with pytest.raises(ShapeError, match="3-D"):
        fitted.predict(small_data.xs[0])
    with pytest.raises(ShapeError):
        fitted.predict(small_data.xs[..., 1:3])


def test_participants_left_out_of_the_fit_are_not_predicted(small_data):
    """With spice_participant_id only that participant has equations; zeros are no prediction."""
    estimator = make(epochs=1, spice_participant_id=1).fit(small_data.xs, small_data.ys)
    with pytest.raises(SpicestatError):
        estimator.predict(small_data.xs)


def test_a_model_without_participants_fits_everybody_with_one_network(small_data):
    estimator = SpiceEstimator(RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG, epochs=2)
    estimator.fit(small_data.xs, small_data.ys)
    assert estimator.equations_.n_participants == 3
    p_rnn, p_spice = estimator.predict(small_data.xs)
    assert p_rnn.shape == p_spice.shape
