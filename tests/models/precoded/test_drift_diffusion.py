"""Learning with response times: the likelihood is the diffusion's, and estimates recover what was simulated."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from spicestat.equations.estimate.forward import equation_logits, equation_nll
from spicestat.equations.estimate.refit import local_curvature, refit
from spicestat.equations.structure.equation_set import FREE, KEPT
from spicestat.errors import ConfigError, DataError
from spicestat.fit.api import spice_fit
from spicestat.fit.loading import load_fit
from spicestat.models.base import BuildSettings, building
from spicestat.models.precoded import DriftDiffusionRNN
from spicestat.simulate import Parameter
from spicestat.simulate.diffusion import DIFFUSION_PARAMETERS, simulate_diffusion_cohort
from spicestat.training.config import TrainingConfig
from spicestat.training.evaluate import rnn_logits, rnn_nll
from spicestat.training.loop import train
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

NAME = "drift_diffusion"
RATE, NOT_CHOSEN = "x_learning_rate_reward", "x_value_reward_not_chosen"
SCALE, BOUNDARY, NON_DECISION = ("beta", "x_value_reward"), ("beta", "boundary"), ("beta", "non_decision_time")
TRUTH = {(RATE, "1"): "alpha", SCALE: "drift_scale", BOUNDARY: "boundary", NON_DECISION: "non_decision_time"}
START = {(RATE, "1"): 0.3, (NOT_CHOSEN, NOT_CHOSEN): "keep", SCALE: 2.0, BOUNDARY: 1.2, NON_DECISION: 0.2}


def data_of(table):
    return SequenceDataset.from_trials(read_trials(table, block="block", trial="trial", rt="rt"))


@pytest.fixture(scope="module")
def table():
    """Four participants, with missing choices, rewards and times."""
    table = simulate_diffusion_cohort(4, 80, n_blocks=4, seed=1).trials.astype({"choice": float, "reward": float})
    rng = np.random.default_rng(2)
    for columns in (["rt"], ["reward"], ["choice", "reward", "rt"]):
        table.loc[rng.random(len(table)) < 0.1, columns] = np.nan
    return table


@pytest.fixture(scope="module")
def data(table):
    return data_of(table)


@pytest.fixture
def model(build):
    return build(NAME, 2, 4)


def numpy_likelihood(data, coefficients, terms, lapse_rate):
    """Log-likelihood per participant, trial by trial, with 100 terms of the large-time or small-time series."""
    total = np.zeros(data.n_participants)
    actions, rewards = data.actions.double().numpy(), data.rewards.double().numpy()
    times = data.times.double().numpy()
    for sequence in range(data.n_sequences):
        who = int(data.participant[sequence])
        own = dict(zip(terms, coefficients[who], strict=True))
        value = np.full(2, 0.5)
        for step in range(data.n_steps):
            if not data.valid[sequence, step]:
                continue
            chosen = np.flatnonzero(actions[sequence, step])
            for action in range(2):
                reward = rewards[sequence, step, action]
                if action not in chosen:
                    value[action] = own[NOT_CHOSEN, "1"] + own[NOT_CHOSEN, NOT_CHOSEN] * value[action]
                elif not np.isnan(reward):
                    value[action] += own[RATE, "1"] * (reward - value[action])
            if data.mask[sequence, step]:
                sign = 1 if data.targets[sequence, step] == 1 else -1
                drift = sign * own[SCALE] * (value[1] - value[0])
                total[who] += one_trial(times[sequence, step], drift, own[BOUNDARY], own[NON_DECISION], lapse_rate)
    return total


def one_trial(seconds, drift, boundary, non_decision_time, lapse_rate):
    if np.isnan(seconds):
        return np.log((1 - lapse_rate) * expit(drift * boundary) + lapse_rate / 2)
    lapse, time = 1 / (np.pi * (1 + seconds**2)), seconds - non_decision_time
    if time <= 0:
        return np.log(lapse_rate * lapse)
    scaled, k = time / boundary**2, np.arange(1, 101)
    late = np.pi * np.sum(k * np.sin(k * np.pi / 2) * np.exp(-(k**2) * np.pi**2 * scaled / 2))
    k = 0.5 + 2 * np.arange(-50, 51)
    early = np.sum(k * np.exp(-(k**2) / (2 * scaled))) / np.sqrt(2 * np.pi * scaled**3)
    density = (early if scaled < 0.7 else late) * np.exp(drift * boundary / 2 - drift**2 * time / 2) / boundary**2
    return np.log((1 - lapse_rate) * density + lapse_rate * lapse)


# --- the likelihood -------------------------------------------------------------------------------------------------


def test_refit_reports_the_likelihood_of_an_independent_learner(data, model, equations_of):
    start = equations_of(NAME, 4, START | {(NOT_CHOSEN, "1"): 0.02, (NOT_CHOSEN, NOT_CHOSEN): 0.95})
    result = refit(model, data, start)
    expected = numpy_likelihood(data, result.equations.coefficients, start.terms, model.lapse_rate)
    np.testing.assert_allclose(result.log_likelihood, expected, rtol=0, atol=1e-9)
    assert result.n_trials.tolist() == data.trials_per_participant.tolist()
    assert equation_nll(model, data, result.equations) == pytest.approx(result.nll, abs=1e-12)


def test_curvature_is_the_derivative_of_the_likelihood(data, model, equations_of):
    """Also of participants with times shorter than the non-decision time."""
    equations = equations_of(NAME, 4, START | {(NOT_CHOSEN, NOT_CHOSEN): 0.95, NON_DECISION: [0.1, 0.25, 0.35, 0.5]})
    found = local_curvature(model, data, equations)
    free = np.flatnonzero((equations.status == FREE).any(axis=0))
    for position in free:
        moved = []
        for sign in (1, -1):
            coefficients = equations.coefficients.copy()
            coefficients[:, position] += sign * 1e-5
            moved.append(numpy_likelihood(data, coefficients, equations.terms, model.lapse_rate))
        np.testing.assert_allclose(found.gradient[:, position], (moved[0] - moved[1]) / 2e-5, rtol=1e-4, atol=1e-4)
    assert np.isfinite(found.information).all()


def test_logits_are_those_of_the_choice(data, model, build, equations_of):
    """They are those of a softmax with drift scale times boundary as inverse temperature."""
    softmax = {key: value for key, value in START.items() if key not in (BOUNDARY, NON_DECISION)}
    expected = equation_logits(
        build("learning_rate", 2, 4), data, equations_of("learning_rate", 4, softmax | {SCALE: 2.0 * 1.2})
    )
    found = equation_logits(model, data, equations_of(NAME, 4, START))
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-12)


def test_actions_may_be_swapped(data, model, equations_of):
    start = equations_of(NAME, 4, START)
    swapped = replace(
        data,
        actions=data.actions.flip(-1),
        rewards=data.rewards.flip(-1),
        targets=torch.where(data.mask, 1 - data.targets, data.targets),
    )
    one, other = refit(model, data, start), refit(model, swapped, start)
    np.testing.assert_allclose(one.equations.coefficients, other.equations.coefficients, atol=1e-6)


def test_a_choice_without_a_time_counts_with_its_probability(table, build, equations_of):
    """And is learned from."""
    some = table[table["participant"] == "p1"].assign(rt=lambda rows: rows["rt"].where(rows["block"] == 1))
    data = data_of(some)
    result = refit(build(NAME, 2, 1), data, equations_of(NAME, 1, START))
    assert result.n_trials[0] == int(data.mask.sum()) > int(data.times.isfinite().sum())
    expected = numpy_likelihood(data, result.equations.coefficients, result.equations.terms, 0.01)
    np.testing.assert_allclose(result.log_likelihood, expected, atol=1e-9)


# --- what it refuses ------------------------------------------------------------------------------------------------


def test_two_actions_only():
    with pytest.raises(ConfigError, match="two actions"):
        DriftDiffusionRNN(n_actions=3)


@pytest.mark.parametrize("use", ["train", "refit", "equation_nll", "rnn_nll"])
def test_times_are_needed(use, data, model, equations_of):
    without = replace(data, times=torch.full_like(data.times, torch.nan))
    calls = {
        "train": lambda: train(model, without, TrainingConfig(epochs=1)),
        "refit": lambda: refit(model, without, equations_of(NAME, 4, START)),
        "equation_nll": lambda: equation_nll(model, without, equations_of(NAME, 4, START)),
        "rnn_nll": lambda: rnn_nll(model, without),
    }
    with pytest.raises(ConfigError, match=r"DriftDiffusionRNN needs response times.*rt="):
        calls[use]()


def test_milliseconds_are_refused(data, model):
    with pytest.raises(DataError, match="in seconds"):
        train(model, replace(data, times=data.times * 1000), TrainingConfig(epochs=1))


# --- bounds and robustness ------------------------------------------------------------------------------------------


def test_constants_keep_to_their_bounds(build, equations_of):
    """With a non-decision time of 0 many estimates end at 0; they are flagged and lose their standard errors."""
    parameters = DIFFUSION_PARAMETERS | {"non_decision_time": Parameter(0.0)}
    cohort = simulate_diffusion_cohort(20, 60, parameters=parameters, seed=3)
    start = equations_of(NAME, 20, START)
    result = refit(build(NAME, 2, 20), data_of(cohort.trials), start)
    position = start.terms.index(NON_DECISION)
    estimate, flagged = result.equations.coefficients[:, position], result.at_bound[:, position]
    assert (estimate >= 0).all()
    assert (estimate[flagged] < 1e-4).all()
    assert 3 <= flagged.sum() <= 17
    assert np.isnan(result.covariance[flagged]).all()
    assert (result.equations.coefficients[:, start.terms.index(BOUNDARY)] > 0.05).all()


def test_the_start_does_not_matter(data, model, equations_of):
    """Not even one with a non-decision time longer than most response times, as the model knows a better one."""
    near = refit(model, data, equations_of(NAME, 4, START))
    far = refit(model, data, equations_of(NAME, 4, START | {NON_DECISION: 0.8, BOUNDARY: 4.0, SCALE: 0.1}))
    np.testing.assert_allclose(near.equations.coefficients, far.equations.coefficients, atol=1e-4)


def test_a_fast_guess_does_not_decide_the_non_decision_time(build, equations_of):
    cohort = simulate_diffusion_cohort(6, 200, seed=5)
    guesses = cohort.trials.copy()
    guesses.loc[guesses["trial"] == 20, "rt"] = 0.05  # four per participant
    start, position = equations_of(NAME, 6, START), equations_of(NAME, 6, START).terms.index(NON_DECISION)
    clean, spoilt = (refit(build(NAME, 2, 6), data_of(table), start) for table in (cohort.trials, guesses))
    error = np.sqrt(clean.covariance[:, position, position])
    shift = spoilt.equations.coefficients[:, position] - clean.equations.coefficients[:, position]
    assert (np.abs(shift) < error).all()
    assert (spoilt.equations.coefficients[:, position] > 0.15).all()


# --- recovery -------------------------------------------------------------------------------------------------------


def test_estimates_recover_the_truth(build, equations_of):
    """Thirty participants, 240 trials each.

    The seed is fixed, so this cannot flicker. Of 120 intervals 114 are expected to cover; a right refit
    gives fewer than 105 in 1 of 5000 seeds (binomial), fewer for the small bias of maximum likelihood.
    z-scores per coefficient have a mean with standard error .18, here bounded by .8 as the bias at 240
    trials is up to .4.
    """
    cohort = simulate_diffusion_cohort(30, 240, seed=7)
    start = equations_of(NAME, 30, START)
    result = refit(build(NAME, 2, 30), data_of(cohort.trials), start)
    assert result.converged.all()
    covered = 0
    for term, name in TRUTH.items():
        position = start.terms.index(term)
        error = np.sqrt(result.covariance[:, position, position])
        z = (result.equations.coefficients[:, position] - cohort.truth[name]) / error
        assert abs(z.mean()) < 0.8, name
        assert 0.6 < z.std() < 1.5, name
        covered += int((np.abs(z) < 1.96).sum())
        correlation = np.corrcoef(result.equations.coefficients[:, position], cohort.truth[name])[0, 1]
        assert correlation > (0.5 if name in ("alpha", "drift_scale") else 0.9), name
    assert covered >= 105


# --- networks and the whole way -------------------------------------------------------------------------------------


def test_training_lowers_the_loss_whole_or_in_chunks(data):
    for chunk in (None, 7):
        torch.manual_seed(0)
        network = DriftDiffusionRNN(2, n_participants=4)
        before = rnn_nll(network, data)
        result = train(network, data, TrainingConfig(epochs=15, learning_rate=0.05, n_steps_per_call=chunk))
        if chunk is None:
            assert result.train_nll[0] == pytest.approx(before, abs=1e-5)
        assert rnn_nll(network, data) < before - 0.1


def test_an_ensemble_averages_likelihoods(data):
    with building(BuildSettings(n_members=2)):
        torch.manual_seed(0)
        pair = DriftDiffusionRNN(2, n_participants=4)
    train(pair, data, TrainingConfig(epochs=5, learning_rate=0.05))
    per_trial = []
    for member in range(2):
        single = DriftDiffusionRNN(2, n_participants=4)
        single.load_state_dict({key: value[member : member + 1] for key, value in pair.state_dict().items()})
        with torch.no_grad():
            logits, state = single.eval()(data.xs, batch_first=True)
            steps = [
                single.log_likelihood(
                    logits[:, [k]], state, data.targets[:, [k]], data.times[:, [k]], data.mask[:, [k]]
                )
                for k in range(data.n_steps)
            ]
        per_trial.append(torch.stack(steps, dim=1))
    averaged = torch.logaddexp(*per_trial) - np.log(2)
    assert rnn_nll(pair, data) == pytest.approx(-float(averaged[data.mask].mean()), abs=1e-5)
    assert rnn_logits(pair, data).shape == (16, 19, 2)


def test_validation_is_on_choices_and_times(data):
    network, part = DriftDiffusionRNN(2, n_participants=4), data.select([0, 5])
    result = train(network, data, TrainingConfig(epochs=16), validation=part)
    assert [epoch for epoch, _ in result.validation_nll] == [8, 16]
    assert rnn_nll(network, part) == pytest.approx(min(loss for _, loss in result.validation_nll), abs=1e-6)
    without = replace(part, times=torch.full_like(part.times, torch.nan))
    with pytest.raises(ConfigError, match="needs response times"):
        train(network, data, TrainingConfig(epochs=1), validation=without)


@pytest.fixture(scope="module")
def cohort():
    return simulate_diffusion_cohort(20, 200, n_blocks=8, seed=1)


@pytest.fixture(scope="module")
def fit(cohort):
    return spice_fit(cohort.trials, block="block", trial="trial", rt="rt", model=NAME, epochs=80)


def test_the_whole_way_finds_the_true_structure(fit, cohort):
    """Learning rate constant, values of the other action kept, three constants.

    The seed is fixed; over seeds the structure is missed in a few in 100 (see tests/recovery).
    """
    equations = fit.model.equations
    assert len(np.unique(equations.status, axis=0)) == 1
    used = {term: equations.status[0, position] for position, term in enumerate(equations.terms)
            if equations.status[0, position]}  # fmt: skip
    assert used == dict.fromkeys(TRUTH, FREE) | {(NOT_CHOSEN, NOT_CHOSEN): KEPT}
    wide = fit.coefficients.wide()
    for term, name in TRUTH.items():
        assert wide[term].mean() == pytest.approx(cohort.truth[name].mean(), rel=0.1), name
    assert fit.coefficients.share_unidentified <= 0.05
    # a density of choice and time is no match for the probability of a guess
    assert fit.choice_likelihood().by_chance is None


def test_scores_beside_the_oracle(fit, cohort):
    nll = fit.scores.set_index("model")["nll"]
    data = SequenceDataset.from_trials(fit.trials)
    equations = fit.model.equations
    values = equations.coefficients.copy()
    for term, name in TRUTH.items():
        values[:, equations.terms.index(term)] = cohort.truth[name]
    oracle = equation_nll(fit.model.network, data, equations.with_coefficients(values))
    assert oracle - 0.03 < nll["refit"] < oracle
    assert nll["refit"] < nll["rnn"] < oracle + 0.15


@pytest.mark.filterwarnings("ignore::spicestat.errors.SpicestatWarning")
def test_rewards_in_points_leave_the_constants_alone(cohort):
    """Starts of inverse temperatures shrink with the scale of rewards; boundaries and times must not."""
    table = cohort.trials[cohort.trials["participant"] < "p05"]
    points = spice_fit(
        table.assign(reward=100 * table["reward"]), block="block", trial="trial", rt="rt", model=NAME, epochs=2
    )
    sparse = points.model.sparse
    assert (sparse.coefficients[:, sparse.terms.index(BOUNDARY)] > 1.0).all()
    wide = points.coefficients.wide()
    np.testing.assert_allclose(wide[BOUNDARY], cohort.truth["boundary"][:4], rtol=0.25)
    np.testing.assert_allclose(wide[NON_DECISION], cohort.truth["non_decision_time"][:4], atol=0.06)


def test_a_saved_fit_comes_back(fit, tmp_path):
    again = load_fit(fit.save(tmp_path / "fit"))
    pd.testing.assert_frame_equal(again.tidy(), fit.tidy())
    pd.testing.assert_frame_equal(again.trials.frame, fit.trials.frame)
    data = SequenceDataset.from_trials(again.trials)
    assert rnn_nll(again.model.network, data) == pytest.approx(fit.scores["nll"][0], abs=1e-6)
    _, probabilities = again.estimator.predict(data.xs)
    chosen = np.take_along_axis(probabilities, data.targets.numpy()[..., None], axis=-1)[..., 0][data.mask.numpy()]
    assert (chosen > 0.5).mean() > 0.6


def test_the_arrays_of_a_dataset_hold_the_times(fit, cohort):
    data = SequenceDataset.from_trials(fit.trials)
    again = SequenceDataset.from_arrays(data.xs, data.ys)
    equations = fit.model.equations
    assert equation_nll(fit.model.network, again, equations) == pytest.approx(fit.scores["nll"][2], abs=1e-9)
