"""Every parameter of SpiceEstimator does what it says; 0.2.0 ignores weight decay, dropout and the train share."""

import copy
import inspect

import numpy as np
import pysindy
import pytest
import torch

import spicestat.fit.estimator as estimator_module
from spicestat.equations.discover import SparseSettings, sparse_equations
from spicestat.equations.sparse_tuning import tune_sparse
from spicestat.equations.structure.equation_set import EXCLUDED, FREE
from spicestat.equations.trajectories import record_trajectories
from spicestat.errors import ConfigError, DataError, ShapeError, SpicestatError, StorageError
from spicestat.fit.estimator import SpiceEstimator
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import (
    LEARNING_RATE_RNN_CONFIG,
    RESCORLA_WAGNER_CONFIG,
    LearningRateRNN,
    RescorlaWagnerRNN,
)
from spicestat.simulate import simulate_cohort
from spicestat.trials.reading import read_trials

pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")

MODULE = RESCORLA_WAGNER_CONFIG.rnn_modules[0]
SHOWN: set[str] = set()


def shows(*parameters):
    """Note that a test shows what these parameters do."""
    SHOWN.update(parameters)
    return lambda test: test


def make(**changes):
    defaults = {"epochs": 3, "n_participants": 3, "dropout": 0.0}
    return SpiceEstimator(RescorlaWagnerRNN, RESCORLA_WAGNER_CONFIG, **(defaults | changes))


@pytest.fixture(scope="module")
def fitted(small_data):
    """Fit with the default settings, which tests compare others with."""
    return make().fit(small_data.xs, small_data.ys)


@pytest.fixture
def fit(small_data):
    """Give the function that fits an estimator with other settings."""
    return lambda **changes: make(**changes).fit(small_data.xs, small_data.ys)


@pytest.fixture
def untrained(monkeypatch):
    """Make it a failure to train a network."""
    monkeypatch.setattr(estimator_module, "train", lambda *_args, **_options: pytest.fail("a network was trained"))


def test_every_parameter_is_shown_to_have_an_effect():
    assert set(inspect.signature(SpiceEstimator).parameters) == SHOWN


# --- the model ------------------------------------------------------------------------------------------------------


@shows("rnn_class", "spice_config")
def test_the_model_and_its_signals(small_data):
    other = SpiceEstimator(LearningRateRNN, LEARNING_RATE_RNN_CONFIG, epochs=1).fit(small_data.xs, small_data.ys)
    assert isinstance(other.rnn_model_, LearningRateRNN)
    assert [library.module for library in other.equations_.libraries] == list(LEARNING_RATE_RNN_CONFIG.rnn_modules)
    renamed = SpiceConfig([MODULE], ["c_action", "points"], {MODULE: ["points"]})
    named = SpiceEstimator(RescorlaWagnerRNN, renamed, epochs=1).fit(small_data.xs, small_data.ys)
    assert named.equations_.libraries[0].terms == ("1", MODULE, "points")


def hidden_width(model):
    return model.submodules_rnn[MODULE].hidden.weight.shape[-1]


def dropout_rates(model):
    return {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}


SIZES = [
    ({"hidden_size": 5}, hidden_width, 5),
    ({"dropout": 0.5}, dropout_rates, {0.5}),
    ({"embedding_size": 3}, lambda model: model.participant_embedding.weight.shape, (1, 3, 3)),
    ({"n_members": 2}, lambda model: model.participant_embedding.weight.shape, (2, 3, 4)),
    ({"n_participants": 6}, lambda model: model.participant_embedding.weight.shape, (1, 6, 4)),
]


@shows(*(name for change, _, _ in SIZES for name in change))
@pytest.mark.parametrize(("change", "look", "expected"), SIZES, ids=lambda value: str(value)[:20])
def test_sizes_reach_the_network_and_its_training(change, look, expected, fit, fitted):
    other = fit(**change)
    assert look(other.rnn_model_) == expected
    assert look(fitted.rnn_model_) != expected
    assert other.training_ != fitted.training_


def test_the_prediction_of_an_ensemble_is_the_mean_of_its_members(fit, small_data):
    ensemble = fit(n_members=2)
    members = []
    for member in range(2):
        alone = make().architecture().build().eval()
        weights = ensemble.rnn_model_.state_dict()
        alone.load_state_dict({name: weights[name][member : member + 1] for name in weights})
        with torch.no_grad():
            members.append(torch.softmax(alone(small_data.xs, batch_first=True)[0], dim=-1).numpy())
    assert not np.allclose(*members)
    np.testing.assert_allclose(ensemble.predict(small_data.xs)[0], np.mean(members, axis=0), atol=1e-6)


@shows("reward_unit", "reward_middle")
def test_the_unit_of_reward(small_data):
    """Values start in its middle, and coefficients of values are reported in it, those of rates as they are."""
    scaled = SpiceEstimator(
        LearningRateRNN, LEARNING_RATE_RNN_CONFIG, n_participants=3, epochs=1, reward_unit=10.0, reward_middle=0.25
    ).fit(small_data.xs, small_data.ys)
    assert scaled.rnn_model_.start_values["x_value_reward"] == 0.25
    own, shown = scaled.equations_, scaled.get_spice_features()[0]
    position = own.terms.index(("beta", "x_value_reward"))
    assert shown["beta"]["x_value_reward"] == pytest.approx(own.coefficients[0, position] / 10)
    rate = shown["x_learning_rate_reward"]["1"]
    assert rate == own.coefficients[0, own.terms.index(("x_learning_rate_reward", "1"))]
    for wrong in ({"reward_unit": 0.0}, {"reward_unit": -1.0}, {"reward_middle": float("nan")}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            make(**wrong).architecture()


@shows("n_actions")
def test_the_number_of_actions(small_data):
    cohort = simulate_cohort(3, 20, n_blocks=2, n_actions=3, seed=1)
    data = type(small_data).from_trials(read_trials(cohort.trials, block="block"))
    for probability in make(n_actions=3, epochs=1).fit(data.xs, data.ys).predict(data.xs):
        assert probability.shape == (6, 9, 3)
    with pytest.raises(ShapeError, match="number of actions"):
        make().fit(data.xs, data.ys)
    with pytest.raises(ShapeError, match="number of actions"):
        make(n_actions=3).fit(small_data.xs, small_data.ys)


class ByExperiment(RescorlaWagnerRNN):
    """Its first logits depend on the experiment."""

    def __init__(self, n_actions, n_participants=0, n_experiments=0, **options):
        super().__init__(n_actions, n_participants, **options)
        self.experiments = self.setup_embedding(n_experiments, n_actions) if n_experiments else None

    def forward(self, inputs, prev_state=None, batch_first=False):
        if prev_state is None and self.experiments is not None:
            prev_state = {"x_value_reward": self.experiments(inputs[:, 0, -2])}
        return super().forward(inputs, prev_state, batch_first)


@shows("n_experiments")
def test_experiments_reach_the_model(small_data):
    xs = small_data.xs.clone()
    xs[::3, :, -2] = 1
    settings = {"epochs": 1, "n_participants": 3}
    two = SpiceEstimator(ByExperiment, RESCORLA_WAGNER_CONFIG, n_experiments=2, **settings).fit(xs, small_data.ys)
    assert two.rnn_model_.experiments.weight.shape == (1, 2, 2)
    assert not np.allclose(two.predict(xs)[0], two.predict(small_data.xs)[0])
    without = SpiceEstimator(ByExperiment, RESCORLA_WAGNER_CONFIG, **settings).fit(xs, small_data.ys)
    np.testing.assert_array_equal(without.predict(xs)[0], without.predict(small_data.xs)[0])
    with pytest.raises(ConfigError, match="outside the embedding"):
        SpiceEstimator(ByExperiment, RESCORLA_WAGNER_CONFIG, n_experiments=1, **settings).fit(xs, small_data.ys)


# --- without participants -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pooled(small_data):
    return make(n_participants=0).fit(small_data.xs, small_data.ys)


@shows("n_participants")
def test_without_participants_there_is_one_equation_for_everybody(pooled, small_data):
    assert pooled.equations_.n_participants == 1
    assert pooled.refit_.n_trials.tolist() == [int(small_data.mask.sum())]
    assert list(pooled.get_spice_features()) == [0]
    xs = small_data.xs.clone()
    xs[..., -1] = 41
    for first, second in zip(pooled.predict(small_data.xs), pooled.predict(xs), strict=True):
        np.testing.assert_array_equal(first, second)
    assert pooled.score(xs, small_data.ys) == pooled.score(small_data.xs, small_data.ys)
    assert pooled.score(xs, small_data.ys) == pytest.approx(-pooled.refit_.nll, abs=1e-9)


def test_without_participants_everybodys_equations_are_printed(pooled, capsys):
    texts = []
    for code in (0, 1, 41):
        pooled.print_spice_model(code)
        texts.append(capsys.readouterr().out)
    assert texts[0].startswith(f"{MODULE}[k+1] = ")
    assert texts[0] == texts[1] == texts[2]


def test_without_participants_agents_play_for_everybody(pooled):
    for agent in (pooled.rnn_agent, pooled.spice_agent):
        agent.new_sess(participant_id=0)
        agent.update(0, [1.0, np.nan])
        first = agent.get_choice_probs()
        agent.new_sess(participant_id=41)
        agent.update(0, [1.0, np.nan])
        np.testing.assert_array_equal(agent.get_choice_probs(), first)
        assert first[0] != 0.5
    with pytest.raises(ConfigError, match="no participant embedding"):
        pooled.get_participant_embeddings()


# --- training -------------------------------------------------------------------------------------------------------


@shows("epochs")
def test_epochs_are_counted(fit, fitted):
    longer = fit(epochs=5)
    assert len(longer.training_.train_nll) == longer.training_.best_epoch == 5
    assert longer.training_.train_nll[:3] == fitted.training_.train_nll
    assert longer.training_.stopped == "epochs"


@shows("learning_rate")
def test_without_a_learning_rate_nothing_is_learned(fit, fitted):
    still = fit(learning_rate=1e-12).training_.train_nll
    assert np.ptp(still) < 1e-6 < np.ptp(fitted.training_.train_nll)
    assert still[0] == fitted.training_.train_nll[0]


@shows("l2_weight_decay")
def test_weight_decay_shrinks_the_weights(fit, fitted):
    """0.2.0 ignores it. With a decay of 1 / learning rate, only the last step is left of a weight."""
    largest = [
        max(float(weights.detach().abs().max()) for weights in estimator.rnn_model_.parameters())
        for estimator in (fit(l2_weight_decay=200.0), fitted)
    ]
    assert largest[0] < 0.02 < 0.5 < largest[1]


@shows("scheduler")
def test_the_schedule_begins_with_the_learning_rate(fit, fitted):
    scheduled, plain = fit(scheduler=True).training_.train_nll, fitted.training_.train_nll
    assert scheduled[:2] == plain[:2]
    assert scheduled[2] != plain[2]


PARTS = [("batch_size", (None, -1, 9, 100), (2, 8)), ("n_steps_per_call", (None, -1, 19, 100), (7, 18))]


@shows(*(name for name, _, _ in PARTS))
@pytest.mark.parametrize(("name", "everything", "parts"), PARTS)
def test_parts_of_the_data_are_trained_one_after_the_other(name, everything, parts, fit, fitted):
    assert all(fit(**{name: size}).training_ == fitted.training_ for size in everything[1:])
    assert make().get_params()[name] is None
    assert all(fit(**{name: size}).training_ != fitted.training_ for size in parts)


@shows("n_members", "bagging")
def test_members_see_other_sequences_with_bagging(fit, fitted):
    bagged, plain = fit(n_members=2, bagging=True), fit(n_members=2)
    assert bagged.training_.train_nll[0] != plain.training_.train_nll[0]
    assert plain.rnn_model_.n_members == 2
    assert fit(bagging=True).training_ != fitted.training_


@shows("convergence_threshold")
def test_training_stops_when_it_has_converged(fit, fitted):
    assert fitted.training_.stopped == "epochs"
    converged = fit(convergence_threshold=1e9).training_
    assert (converged.stopped, len(converged.train_nll)) == ("converged", 2)


@shows("patience")
def test_training_stops_when_patience_is_over(small_data):
    """The others' choices get worse while one learns the own ones."""
    opposite = torch.flip(small_data.ys, dims=[-1])
    stops = {}
    for patience in (1, 9, None):
        estimator = make(epochs=32, patience=patience, learning_rate=0.02)
        training = estimator.fit(small_data.xs, small_data.ys, small_data.xs, opposite).training_
        stops[patience] = (training.stopped, len(training.train_nll), training.best_epoch)
    assert stops == {1: ("patience", 16, 8), 9: ("patience", 24, 8), None: ("epochs", 32, 8)}


def test_patience_without_validation_is_an_error(fit):
    """It could never act; 0.2.0 ignores settings silently."""
    with pytest.raises(ConfigError, match="patience"):
        fit(epochs=1, patience=5)
    assert fit(epochs=1, patience=5, train_test_ratio=0.8).training_.validation_nll


@shows("train_test_ratio")
def test_the_network_trains_on_its_share_of_each_sequence(small_data, fitted):
    """In 0.2.0 the share reaches the sparse regression only, and the network trains on everything."""
    half, n_first = make(train_test_ratio=0.5), 10
    half.fit(small_data.xs, small_data.ys)
    ys = small_data.ys.clone()
    ys[:, n_first:] = torch.flip(ys[:, n_first:], dims=[-1])
    other = make(train_test_ratio=0.5).fit(small_data.xs, ys)
    assert half.training_.train_nll == other.training_.train_nll
    assert half.training_.validation_nll != other.training_.validation_nll
    ys[:, n_first - 1] = torch.flip(ys[:, n_first - 1], dims=[-1])
    assert make(train_test_ratio=0.5).fit(small_data.xs, ys).training_.train_nll != half.training_.train_nll
    assert half.training_.train_nll != fitted.training_.train_nll
    assert [epoch for epoch, _ in half.training_.validation_nll] == [3]
    # equations are estimated on all choices
    np.testing.assert_array_equal(half.refit_.n_trials, fitted.refit_.n_trials)


def test_the_share_has_no_effect_where_validation_data_are_given(small_data):
    given = (small_data.xs, small_data.ys, small_data.xs, small_data.ys)
    assert make(train_test_ratio=0.5).fit(*given).training_ == make().fit(*given).training_


def test_a_share_that_leaves_no_choice_to_test_is_everything(fit, fitted):
    """An empty test part must not make the first weights that are looked at the best ones."""
    assert fit(train_test_ratio=0.99).training_ == fitted.training_


@shows("random_state")
def test_the_seed_decides(fit, fitted):
    same, other = fit(random_state=np.int64(0)), fit(random_state=1)
    assert same.training_ == fitted.training_
    np.testing.assert_array_equal(same.equations_.coefficients, fitted.equations_.coefficients)
    assert other.training_.train_nll[0] != fitted.training_.train_nll[0]


@shows("device")
@pytest.mark.parametrize("device", ["meta", "nonsense", "cuda:99", "hpu", None, 3.5])
def test_devices_that_cannot_compute_are_refused(device, fit, untrained):
    with pytest.raises(ConfigError, match="device"):
        fit(device=device)


@pytest.mark.parametrize("device", ["cpu:0", torch.device("cpu")], ids=str)
def test_a_device_may_be_an_object(device, fit, fitted):
    assert fit(device=device).training_ == fitted.training_


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu(fit, fitted):
    other = fit(device="cuda")
    np.testing.assert_allclose(other.training_.train_nll, fitted.training_.train_nll, atol=1e-3)
    assert not next(other.rnn_model_.parameters()).is_cuda


# --- equations ------------------------------------------------------------------------------------------------------


def selected(estimator):
    """Say which terms of the modules the sparse regression has, (P, K)."""
    sparse = estimator.sparse_
    return sparse.status[:, : len(sparse.terms) - len(sparse.states)] != EXCLUDED


@shows("spice_library_polynomial_degree")
def test_the_degree_of_candidate_terms(fit, fitted):
    linear = ("1", MODULE, "c_reward")
    assert fitted.equations_.libraries[0].terms == linear
    square = fit(spice_library_polynomial_degree=2).equations_.libraries[0].terms
    assert square == (*linear, f"{MODULE}^2", f"{MODULE} c_reward", "c_reward^2")


@shows("spice_optim_threshold", "spice_optim_regularization")
@pytest.mark.parametrize("change", [{"spice_optim_threshold": 10.0}, {"spice_optim_regularization": 1e9}], ids=str)
def test_threshold_and_penalty_of_the_sparse_regression(change, fit, fitted):
    assert selected(fitted).any()
    assert not selected(fit(**change)).any()


@shows("spice_optimizer_type")
@pytest.mark.parametrize("optimizer", ["STLSQ", "SR3_L1", "SR3_weighted_l1", pysindy.STLSQ(threshold=0.3)], ids=str)
@pytest.mark.parametrize("structure", ["participant", "population"])
def test_the_optimizer_of_the_sparse_regression(optimizer, structure, small_data):
    given = copy.deepcopy(optimizer)
    options = {"spice_optimizer_type": given, "spice_structure": structure, "spice_optim_threshold": 0.1}
    found = make(epochs=1, **options).fit(small_data.xs, small_data.ys)
    settings = SparseSettings(optimizer=copy.deepcopy(optimizer), structure=structure, threshold=0.1)
    trajectories = record_trajectories(found.rnn_model_, small_data, RESCORLA_WAGNER_CONFIG)
    expected = sparse_equations(found.rnn_model_, small_data, RESCORLA_WAGNER_CONFIG, settings, trajectories)
    np.testing.assert_array_equal(found.sparse_.status, expected.status)
    np.testing.assert_allclose(found.sparse_.coefficients, expected.coefficients, rtol=1e-9)
    # scikit-learn asks that fit leaves parameters alone
    assert isinstance(given, str) or not hasattr(given, "coef_")


def test_an_optimizer_object_has_its_own_threshold(fit):
    assert not selected(fit(spice_optimizer_type=pysindy.STLSQ(threshold=10.0))).any()


@shows("use_optuna", "optuna_n_trials")
@pytest.mark.parametrize("structure", ["participant", "population"])
def test_optuna_searches_threshold_and_penalty(structure, small_data):
    calls = []
    start = {"epochs": 100, "learning_rate": 0.02, "spice_structure": structure, "spice_optim_threshold": 10.0}
    search = {"use_optuna": True, "optuna_n_trials": 4, "progress": lambda *call: calls.append(call)}
    tuned = make(**start, **search).fit(small_data.xs, small_data.ys)
    n_studies = 3 if structure == "participant" else 1
    assert [call[1:3] for call in calls if call[0] == "tuning"][-1] == (4 * n_studies, 4 * n_studies)
    settings = SparseSettings(structure=structure, threshold=10.0)
    expected = tune_sparse(tuned.rnn_model_, small_data, RESCORLA_WAGNER_CONFIG, settings, 4)
    np.testing.assert_array_equal(tuned.sparse_.status, expected.equations.status)
    plain = make(**start).fit(small_data.xs, small_data.ys)
    assert plain.training_ == tuned.training_
    assert selected(tuned).any()
    assert not selected(plain).any()


@shows("spice_structure")
def test_one_structure_for_everybody_or_one_per_participant(fit, fitted):
    shared = fit(spice_structure="population")
    for rows in (shared.equations_.status, shared.inclusion_, shared.sparse_.status):
        assert (rows == rows[0]).all()
    assert not (fitted.inclusion_ == fitted.inclusion_[0]).all()


@shows("spice_criterion")
@pytest.mark.parametrize("structure", ["participant", "population"])
def test_the_criterion_decides_between_structures(structure, fit):
    options = {"spice_structure": structure, "spice_significance": 0.5, "epochs": 1}
    inclusion = {
        name: fit(spice_criterion=name, **options).inclusion_ for name in ("aic", "bic", "evidence", "cv", None)
    }
    default = "evidence" if structure == "participant" else "aic"
    np.testing.assert_array_equal(inclusion.pop(None), inclusion[default])
    assert len({np.round(share, 9).tobytes() for share in inclusion.values()}) == len(inclusion)


@shows("spice_significance")
@pytest.mark.parametrize("criterion", ["aic", "bic"])
def test_the_level_of_the_likelihood_ratio_test(criterion, fit):
    options = {"spice_criterion": criterion, "epochs": 1}
    counts = [(fit(spice_significance=level, **options).equations_.status == FREE).sum() for level in (0.5, 1e-250)]
    assert counts[0] > counts[1]


@shows("spice_stability")
def test_candidates_are_terms_that_enough_members_select(fit):
    options = {"n_members": 3, "epochs": 1, "spice_optim_threshold": 0.1}
    found = {share: fit(spice_stability=share, **options) for share in (0.0, 0.5, 1.0)}
    stability = found[0.0].stability_
    assert set(np.round(3 * stability).ravel()) <= {0, 1, 2, 3}
    assert ((stability > 0) & (stability < 1)).any()
    for share, estimator in found.items():
        np.testing.assert_array_equal(estimator.stability_, stability)
        np.testing.assert_array_equal(selected(estimator), selected(found[0.0]) & (stability >= share))
    assert selected(found[1.0]).sum() < selected(found[0.0]).sum()


# --- participants ---------------------------------------------------------------------------------------------------


@shows("spice_participant_id")
def test_one_participant_only(fit, small_data):
    estimator = fit(spice_participant_id=1)
    assert list(estimator.get_spice_features()) == [1]
    assert estimator.refit_.n_trials.tolist() == [0, 57, 0]
    assert estimator.spice_agent.get_participant_ids() == (1,)
    with pytest.raises(ConfigError, match=r"spice_participant_id.*\[0, 1, 2\]"):
        fit(spice_participant_id=9)
    with pytest.raises(ConfigError, match="no such participant"):
        estimator.print_spice_model(0)
    with pytest.raises(ShapeError, match="not fitted"):
        estimator.predict(small_data.xs)


@shows("unseen_participants")
def test_unseen_participants_are_refused_or_typical(fit, small_data):
    with pytest.raises(ShapeError, match="unseen_participants='typical'"):
        fit(spice_participant_id=1).predict(small_data.xs)
    typical = fit(spice_participant_id=1, unseen_participants="typical")
    assert all(np.isfinite(probability).all() for probability in typical.predict(small_data.xs))
    assert np.isfinite(typical.score(small_data.xs, small_data.ys))


# --- files and progress ---------------------------------------------------------------------------------------------


@shows("save_path_rnn", "save_path_spice")
@pytest.mark.parametrize("names", [("save_path_rnn",), ("save_path_spice",), ("save_path_rnn", "save_path_spice")])
def test_a_fit_is_saved(names, fit, small_data, tmp_path):
    paths = {name: tmp_path / f"{name}.pkl" for name in names}
    saved = fit(**paths)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in paths.values()}
    loaded = fit(random_state=1) if "save_path_rnn" not in paths else make()
    loaded.load_spice(paths.get("save_path_rnn"), paths.get("save_path_spice"))
    if "save_path_spice" in paths:
        np.testing.assert_array_equal(loaded.equations_.coefficients, saved.equations_.coefficients)
    if "save_path_rnn" in paths:
        assert loaded.training_ == saved.training_


def test_a_fit_that_cannot_be_saved_is_not_lost(small_data, tmp_path):
    path = tmp_path / "rnn"
    in_the_way = make(epochs=1, save_path_rnn=path, progress=lambda *_: path.mkdir(exist_ok=True))
    with pytest.raises(StorageError):
        in_the_way.fit(small_data.xs, small_data.ys)
    assert in_the_way.predict(small_data.xs)[1].shape == (9, 19, 2)


@pytest.mark.parametrize("name", ["save_path_rnn", "save_path_spice"])
def test_files_that_cannot_be_written_are_refused_before_training(name, small_data, tmp_path):
    (tmp_path / "file").touch()
    calls = []
    for path in (tmp_path, tmp_path / "file" / "below"):
        estimator = make(**{name: path}, progress=lambda *call: calls.append(call))
        with pytest.raises(StorageError):
            estimator.fit(small_data.xs, small_data.ys)
    assert calls == []


@shows("checkpoint")
def test_an_interrupted_fit_goes_on_from_its_checkpoint(small_data, tmp_path):
    def interrupt(stage, done, *_):
        if stage == "rnn" and done == 2:
            raise KeyboardInterrupt

    settings = {"epochs": 5, "dropout": 0.3, "train_test_ratio": 0.8}
    first = make(**settings, checkpoint=tmp_path, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        first.fit(small_data.xs, small_data.ys)
    assert not hasattr(first, "rnn_model_")
    calls = []
    resumed = make(**settings, checkpoint=tmp_path, progress=lambda *call: calls.append(call[:2]))
    resumed.fit(small_data.xs, small_data.ys)
    assert [done for stage, done in calls if stage == "rnn"] == [3, 4, 5]
    whole = make(**settings).fit(small_data.xs, small_data.ys)
    assert resumed.training_ == whole.training_
    np.testing.assert_array_equal(resumed.equations_.coefficients, whole.equations_.coefficients)


def test_other_settings_of_the_equations_need_no_new_training(small_data, tmp_path, monkeypatch):
    make(checkpoint=tmp_path).fit(small_data.xs, small_data.ys)
    monkeypatch.setattr("spicestat.training.loop._Run.epoch", lambda _run: pytest.fail("a network was trained"))
    make(checkpoint=tmp_path, spice_structure="population").fit(small_data.xs, small_data.ys)
    with pytest.raises(StorageError, match="another training run.*data="):
        make(checkpoint=tmp_path, spice_participant_id=1).fit(small_data.xs, small_data.ys)


@shows("verbose")
def test_progress_is_printed_on_request_only(small_data, capsys):
    """0.2.0 prints every epoch, whatever verbose says."""
    make(epochs=40).fit(small_data.xs, small_data.ys)
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "")
    make(epochs=40, verbose=True).fit(small_data.xs, small_data.ys)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("rnn ") for line in lines) == 20
    assert any(line.startswith("rnn 40/40: ") for line in lines)
    assert any(line.startswith("equations ") for line in lines)


@shows("progress")
def test_progress_wins_over_verbose(small_data, capsys):
    calls = []
    make(epochs=2, verbose=True, progress=lambda *call: calls.append(call)).fit(small_data.xs, small_data.ys)
    assert capsys.readouterr().out == ""
    assert {stage for stage, *_ in calls} >= {"rnn", "equations"}
    assert all(0 <= done <= total for _, done, total, _ in calls)


# --- settings that cannot be ----------------------------------------------------------------------------------------

BAD = [
    {"rnn_class": "rescorla_wagner"},
    {"rnn_class": RescorlaWagnerRNN(2)},
    {"spice_config": {"rnn_modules": [MODULE]}},
    # tutorial 4 in 0.2.0: a KeyError, after the whole training
    {"spice_config": LEARNING_RATE_RNN_CONFIG},
    {"hidden_size": 0},
    {"dropout": 1.0},
    {"embedding_size": 0},
    {"n_actions": 2.0},
    {"n_participants": "3"},
    {"n_participants": None},
    {"n_experiments": -1},
    {"epochs": 0},
    {"learning_rate": 0.0},
    {"batch_size": 0},
    {"n_steps_per_call": -2},
    {"train_test_ratio": 0.0},
    {"train_test_ratio": 1.1},
    {"l2_weight_decay": -1.0},
    {"n_members": 0},
    {"convergence_threshold": -1.0},
    {"patience": 0},
    {"spice_library_polynomial_degree": 0},
    {"spice_optimizer_type": "x"},
    {"spice_optimizer_type": pysindy.STLSQ},
    {"spice_optim_threshold": -1.0},
    {"spice_optim_regularization": -1.0},
    {"spice_optim_regularization": 0, "spice_optimizer_type": "SR3_L1"},
    {"use_optuna": True, "spice_optimizer_type": pysindy.STLSQ()},
    {"optuna_n_trials": 0},
    {"spice_structure": "x"},
    {"spice_criterion": "x"},
    {"spice_criterion": ""},
    {"spice_significance": 0.0},
    {"spice_stability": 1.5},
    {"spice_participant_id": "1"},
    {"spice_participant_id": -1},
    {"unseen_participants": "x"},
    {"random_state": -1},
    {"random_state": None},
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: "-".join(f"{name}={value}"[:40] for name, value in bad.items()))
def test_impossible_settings_are_refused_before_the_network_is_trained(bad, small_data, untrained):
    defaults = {"rnn_class": RescorlaWagnerRNN, "spice_config": RESCORLA_WAGNER_CONFIG, "n_participants": 3}
    estimator = SpiceEstimator(**(defaults | bad))  # the constructor only stores
    with pytest.raises(ConfigError):
        estimator.fit(small_data.xs, small_data.ys)


def test_more_participants_than_announced_are_refused(small_data, untrained):
    with pytest.raises(SpicestatError):
        make(n_participants=2).fit(small_data.xs, small_data.ys)


def test_data_without_a_choice_are_refused(small_data, untrained):
    with pytest.raises(DataError, match="no choice"):
        make().fit_dataset(small_data.with_mask(torch.zeros_like(small_data.mask)))
    nothing_of_one = small_data.with_mask((small_data.participant != 1)[:, None])
    with pytest.raises(DataError, match="no choice"):
        make(spice_participant_id=1).fit_dataset(nothing_of_one)
