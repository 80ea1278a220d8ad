"""SpiceEstimator keeps scikit-learn's contract: clone, get_params, repr, cross-validation, grid search.

In SPICE 0.2.0 clone, get_params and repr raise AttributeError, and fit returns None.
"""

import copy
import inspect
import pickle
import warnings

import numpy as np
import pysindy
import pytest
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score
from sklearn.utils.validation import check_is_fitted

from spicestat.errors import NotFittedError, ShapeError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.models.precoded import RESCORLA_WAGNER_CONFIG, RescorlaWagnerRNN

# a handful of choices does not identify everybody
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")

ONE_OF_EACH = [0, 3, 6, 1, 4, 7, 2, 5, 8]
"""Order of the sequences in which each third has one of every participant."""


def make(**changes):
    defaults = {"epochs": 2, "n_participants": 3}
    return SpiceEstimator(RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG, **(defaults | changes))


@pytest.fixture(scope="module")
def fitted(small_data):
    return make().fit(small_data.xs, small_data.ys)


@pytest.fixture(scope="module")
def arrays(small_data):
    """Features, targets and participants, the participants' sequences in turn."""
    return tuple(part.numpy()[ONE_OF_EACH] for part in (small_data.xs, small_data.ys, small_data.participant))


def log_likelihoods(estimator, xs, ys):
    """Mean log-likelihood per choice, from the predicted probabilities of the equations."""
    chosen = np.nansum(estimator.predict(xs)[1] * np.nan_to_num(ys), axis=-1)[np.nansum(ys, axis=-1) > 0]
    return np.log(chosen).mean()


# --- parameters -----------------------------------------------------------------------------------------------------


def test_clone_and_parameters():
    estimator = make(learning_rate=0.02, spice_criterion="bic")
    twin = clone(estimator)
    assert twin is not estimator
    assert twin.get_params() == estimator.get_params()
    assert twin.rnn_class is RescorlaWagnerRNN
    assert twin.set_params(epochs=7) is twin
    assert (twin.epochs, estimator.epochs) == (7, 2)


def test_parameters_are_the_constructors_arguments_untouched():
    """Out-of-range settings are refused by fit, not by __init__, as scikit-learn asks."""
    signature = inspect.signature(SpiceEstimator).parameters
    given = {name: object() for name in signature}
    estimator = SpiceEstimator(**given)
    assert set(vars(estimator)) == set(signature) == set(estimator.get_params(deep=False))
    assert all(getattr(estimator, name) is value for name, value in given.items())
    assert estimator.set_params(epochs=0).epochs == 0


def test_clone_of_a_fitted_estimator_is_not_fitted(fitted, small_data):
    check_is_fitted(fitted)
    twin = clone(fitted)
    with pytest.raises(SklearnNotFittedError):
        check_is_fitted(twin)
    with pytest.raises(NotFittedError):
        twin.predict(small_data.xs)
    fitted.predict(small_data.xs)


def test_repr_names_the_class_and_what_was_changed(fitted):
    text = repr(make(learning_rate=0.02))
    assert text.startswith("SpiceEstimator(")
    assert "learning_rate=0.02" in text
    assert "hidden_size" not in text
    assert "SpiceEstimator" in fitted._repr_html_()


def test_unknown_parameters_are_refused():
    with pytest.raises(TypeError):
        make(l2_wieght_decay=1.0)
    with pytest.raises(ValueError, match="l2_wieght_decay"):
        make().set_params(l2_wieght_decay=1.0)


def test_an_optimizer_objects_settings_are_parameters():
    estimator = make(spice_optimizer_type=pysindy.STLSQ(threshold=0.3))
    assert estimator.get_params()["spice_optimizer_type__threshold"] == 0.3
    twin = clone(estimator).set_params(spice_optimizer_type__threshold=0.1)
    assert (twin.spice_optimizer_type.threshold, estimator.spice_optimizer_type.threshold) == (0.1, 0.3)


def test_fit_returns_the_estimator_and_leaves_parameters_alone(small_data):
    estimator = make(spice_optimizer_type=pysindy.STLSQ(threshold=0.3), use_optuna=False)
    before, values = estimator.get_params(), copy.deepcopy(vars(estimator))
    assert estimator.fit(small_data.xs, small_data.ys) is estimator
    assert estimator.get_params() == before
    assert vars(estimator.spice_optimizer_type) == vars(values["spice_optimizer_type"])
    assert estimator.spice_config == values["spice_config"]


def test_fit_does_not_change_its_input(small_data):
    xs, ys = small_data.xs.numpy().copy(), small_data.ys.numpy().copy()
    make(epochs=1, train_test_ratio=0.5, spice_participant_id=1).fit(xs, ys)
    np.testing.assert_array_equal(xs, small_data.xs.numpy())
    np.testing.assert_array_equal(ys, small_data.ys.numpy())


def test_fitting_again_forgets_the_earlier_fit(fitted, small_data):
    again = make(spice_participant_id=1, epochs=1).fit(small_data.xs, small_data.ys)
    again.set_params(spice_participant_id=None, epochs=2).fit(small_data.xs, small_data.ys)
    assert again.training_ == fitted.training_
    np.testing.assert_array_equal(again.equations_.coefficients, fitted.equations_.coefficients)


def test_a_fit_that_fails_leaves_the_earlier_one_whole(small_data):
    estimator = make().fit(small_data.xs, small_data.ys)
    before = estimator.predict(small_data.xs)
    with pytest.raises(ShapeError):
        estimator.fit(small_data.xs, small_data.ys[:, :5])
    estimator.set_params(progress=fail_in_the_search)
    with pytest.raises(InterruptedError):
        estimator.fit(small_data.xs[:6], small_data.ys[:6])
    for mine, theirs in zip(estimator.predict(small_data.xs), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def fail_in_the_search(stage, *_rest):
    if stage == "equations":
        raise InterruptedError


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda estimator: pickle.loads(pickle.dumps(estimator))])
def test_copies_predict_alike(duplicate, fitted, small_data):
    for mine, theirs in zip(duplicate(fitted).predict(small_data.xs), fitted.predict(small_data.xs), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_it_is_neither_a_classifier_nor_a_regressor():
    """As a classifier, its targets would be stratified."""
    assert not is_classifier(make())
    assert not is_regressor(make())


def test_warning_filters_are_left_alone(small_data):
    """0.2.0 ignores all warnings of the process from its import on."""
    before = list(warnings.filters)
    make(epochs=1, spice_optimizer_type="SR3_L1").fit(small_data.xs, small_data.ys).score(small_data.xs, small_data.ys)
    assert warnings.filters == before


# --- scores and cross-validation ------------------------------------------------------------------------------------


def test_the_score_is_the_mean_log_likelihood_of_the_choices(fitted, small_data):
    xs, ys = small_data.xs, small_data.ys
    assert fitted.score(xs, ys) == pytest.approx(log_likelihoods(fitted, xs.numpy(), ys.numpy()), abs=1e-9)
    assert fitted.score(xs, ys) == pytest.approx(-fitted.refit_.nll, abs=1e-9)
    part = fitted.score(xs[:2], ys[:2])
    assert part == pytest.approx(log_likelihoods(fitted, xs[:2].numpy(), ys[:2].numpy()), abs=1e-9)


def test_padding_and_missing_choices_do_not_count(fitted, small_data):
    xs, ys = small_data.xs.numpy(), small_data.ys.numpy()
    padded = np.concatenate([xs, np.full_like(xs[:, :4], np.nan)], axis=1)
    longer = np.concatenate([ys, np.full_like(ys[:, :4], -1.0)], axis=1)
    assert fitted.score(padded, longer) == pytest.approx(fitted.score(xs, ys), abs=1e-9)
    fewer = ys.copy()
    fewer[:, 5] = np.nan
    assert fitted.score(xs, fewer) == pytest.approx(log_likelihoods(fitted, xs, fewer), abs=1e-9)


def test_cross_validation_over_sessions(arrays):
    xs, ys, _ = arrays
    scores = cross_val_score(make(), xs, ys, cv=KFold(3), error_score="raise")
    expected = []
    for train, test in KFold(3).split(xs):
        estimator = make().fit(xs[train], ys[train])
        expected.append(log_likelihoods(estimator, xs[test], ys[test]))
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    assert np.ptp(scores) > 0
    tensors = torch.tensor(xs), torch.tensor(ys)
    first_fold = [next(iter(KFold(3).split(xs)))]
    np.testing.assert_array_equal(cross_val_score(make(), *tensors, cv=first_fold), scores[:1])


def test_cross_validation_over_participants(arrays):
    xs, ys, participant = arrays
    options = {"groups": participant, "cv": GroupKFold(3), "error_score": "raise"}
    scores = cross_val_score(make(unseen_participants="typical"), xs, ys, **options)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()
    with pytest.raises(ShapeError, match="not fitted"):
        cross_val_score(make(), xs, ys, **options)


def test_cross_validation_over_participants_of_a_pooled_model(arrays):
    """Without participants everybody has the same equation, so nobody is unseen."""
    xs, ys, participant = arrays
    scores = cross_val_score(make(n_participants=0), xs, ys, groups=participant, cv=GroupKFold(3), error_score="raise")
    assert np.isfinite(scores).all()


def test_grid_search_over_sessions(arrays):
    xs, ys, _ = arrays
    grid = {"spice_structure": ["participant", "population"]}
    search = GridSearchCV(make(epochs=1), grid, cv=KFold(3), error_score="raise").fit(xs, ys)
    means = search.cv_results_["mean_test_score"]
    assert means.shape == (2,)
    assert search.best_score_ == means.max()
    best = search.best_estimator_
    assert {name: getattr(best, name) for name in grid} == search.best_params_
    assert search.score(xs, ys) == best.score(xs, ys)
    p_rnn, p_spice = search.predict(xs)
    assert p_rnn.shape == p_spice.shape == ys.shape


def test_grid_search_over_participants(arrays):
    xs, ys, participant = arrays
    estimator = make(epochs=1, unseen_participants="typical")
    search = GridSearchCV(estimator, {"n_participants": [0, 3]}, cv=GroupKFold(2), error_score="raise")
    search.fit(xs, ys, groups=participant)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.best_estimator_.refit_.n_trials.sum() == 171


def test_validation_data_go_through_cross_validation(arrays):
    xs, ys, _ = arrays
    validation = (xs[:4], ys[:4])
    options = {"params": {"conditions_val": xs[:4], "targets_val": ys[:4]}, "cv": KFold(3), "error_score": "raise"}
    scores = cross_val_score(make(epochs=8), xs, ys, **options)
    train, test = next(iter(KFold(3).split(xs)))
    first = make(epochs=8).fit(xs[train], ys[train], *validation)
    assert first.training_.validation_nll
    assert scores[0] == pytest.approx(first.score(xs[test], ys[test]), abs=1e-9)
