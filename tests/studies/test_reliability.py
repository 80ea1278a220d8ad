"""spice_reliability: halves are halves, and a coefficient's table has the values of the plain functions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from spicestat.equations.estimate.refit import RefitResult, refit
from spicestat.errors import ConfigError, DataError
from spicestat.fit.api import spice_fit
from spicestat.simulate import simulate_cohort
from spicestat.studies import partial_estimates
from spicestat.studies.icc import split_half
from spicestat.studies.partial_estimates import Targets, identified, partial_estimator
from spicestat.studies.reliability import METHODS, _ranks, _shuffled, spice_reliability
from spicestat.trials.sequences import SequenceDataset

# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ContradictionWarning")


@pytest.fixture(scope="module")
def fit():
    cohort = simulate_cohort(10, 240, n_blocks=4, seed=5)
    return spice_fit(cohort.trials, model="rescorla_wagner", block="block", people=cohort.people, epochs=20)


def first_term(fit):
    return fit.choice_likelihood().terms[0]


def row_of(table, fit, method):
    module, term = first_term(fit)
    found = table[(table["module"] == module) & (table["term"] == term) & (table["method"] == method)]
    assert len(found) == 1
    return found.iloc[0]


def test_odd_and_even_blocks_are_estimated_apart(fit):
    table = spice_reliability(fit, "odd_even")
    equations = fit.model.equations
    position = equations.terms.index(first_term(fit))
    data = SequenceDataset.from_trials(fit.trials)
    order = fit.trials.blocks.groupby("participant").cumcount().to_numpy()[data.block.numpy()]
    halves = []
    known = np.ones(10, dtype=bool)
    for parity in (0, 1):
        result = refit(fit.model.network, data.select(np.flatnonzero(order % 2 == parity)), equations)
        known &= result.converged & np.isfinite(result.covariance[:, position, position])
        halves.append(result.equations.coefficients[:, position])
    expected = split_half(*(half[known] for half in halves))
    row = row_of(table, fit, "odd_even")
    assert (row["n"], row["n_excluded"]) == (known.sum(), 10 - known.sum())
    assert row["reliability"] == pytest.approx(expected.reliability, rel=1e-6)
    assert set(table["method"]) == {"odd_even"}


def test_the_withdrawn_method_says_why_and_what_to_use(fit):
    with pytest.raises(ConfigError, match=r"withdrawn: standard errors depend on .* methods='random'"):
        spice_reliability(fit, ["odd_even", "model"])
    assert METHODS == ("odd_even", "first_second", "random")


def test_sessions_and_random_halves(fit):
    table = spice_reliability(fit, "random", n_splits=2, sessions={1: "a", 2: "a", 3: "b", 4: "b"})
    assert set(table["method"]) == {"random", "test_retest_icc2", "test_retest_icc3"}
    assert len(table) == 3 * len(fit.choice_likelihood().terms)
    again = spice_reliability(fit, "random", n_splits=2)
    pd.testing.assert_frame_equal(again, table[table["method"] == "random"].reset_index(drop=True))


@pytest.mark.parametrize("unit", ["block", "trial"])
@pytest.mark.parametrize("method", METHODS)
def test_the_halves_that_are_estimated_are_halves(fit, monkeypatch, method, unit):
    parts = []

    data = SequenceDataset.from_trials(fit.trials)

    def seen(_, counted):
        parts.append(counted & data.mask.numpy())
        return identified(fit.model.refit)

    monkeypatch.setattr(partial_estimates._Coefficients, "estimate", seen)
    spice_reliability(fit, method, unit=unit, n_splits=3)
    mask, who = data.mask.numpy(), data.participant.numpy()
    assert len(parts) == (6 if method == "random" else 2)
    for first, second in zip(parts[::2], parts[1::2], strict=True):
        assert not (first & second).any()
        np.testing.assert_array_equal(first | second, mask)
        for code in range(10):
            sizes = [half[who == code].sum() for half in (first, second)]
            # four blocks of the same length, or an odd number of choices
            assert abs(sizes[0] - sizes[1]) <= (0 if unit == "block" else 1)


def test_random_halves_are_averaged_as_z_and_stepped_up(fit, monkeypatch):
    """Four drawn estimates of everybody stand for two splits: the mean z of the halves, by Spearman-Brown to all."""
    result, rng = fit.model.refit, np.random.default_rng(8)
    position = result.equations.terms.index(first_term(fit))
    common = rng.normal(size=10)
    drawn = [common + noise * rng.normal(size=10) for noise in (0.4, 0.4, 1.5, 1.5)]
    results = []
    for estimates in drawn:
        coefficients = result.equations.coefficients.copy()
        coefficients[:, position] = estimates
        results.append(replace(result, equations=replace(result.equations, coefficients=coefficients)))
    monkeypatch.setattr(partial_estimates._Coefficients, "estimate", lambda *_: identified(results.pop(0)))
    row = row_of(spice_reliability(fit, "random", n_splits=2), fit, "random")
    known = result.converged & np.isfinite(result.covariance[:, position, position])
    assert row["n"] == known.sum() >= 8
    z = [np.arctanh(np.corrcoef(a[known], b[known])[0, 1]) for a, b in (drawn[:2], drawn[2:])]
    width = 1.959964 / np.sqrt(known.sum() - 3)
    for name, shift in {"reliability": 0.0, "conf_low": -width, "conf_high": width}.items():
        r = np.tanh(np.mean(z) + shift)
        assert row[name] == pytest.approx(2 * r / (1 + r), rel=1e-6)


@pytest.mark.parametrize("unit", ["block", "trial"])
def test_halves_share_no_choice_and_lose_none(fit, unit):
    data = SequenceDataset.from_trials(fit.trials)
    targets = Targets.of(data)
    rank, size = _ranks(targets, unit)
    mask, who = targets.mask, targets.participant
    shuffled = _shuffled(rank, targets, np.random.default_rng(1))
    for code in range(10):
        own = mask & (who == code)[:, None]
        units = 4 if unit == "block" else own.sum()
        assert set(size[own]) == {units}
        assert sorted(set(rank[own])) == sorted(set(shuffled[own])) == list(range(units))
        assert abs(2 * (2 * shuffled[own] >= size[own]).sum() - own.sum()) <= 1


def test_who_is_identified_has_converged_with_a_standard_error_everywhere(equations_of):
    equations = equations_of("learning_rate", 4, {("beta", "x_value_reward"): 3.0})
    at = equations.terms.index(("beta", "x_value_reward"))
    n, k = equations.coefficients.shape
    trials, nowhere = np.full(n, 50), np.zeros((n, k), dtype=bool)
    one = RefitResult(
        equations, np.ones((n, k, k)), -trials / 2.0, trials, np.array([True, False, True, True]), nowhere
    )
    lost = np.ones((n, k, k))
    lost[2, at, at] = np.nan
    other = replace(one, covariance=lost, converged=np.ones(n, dtype=bool))
    assert identified(one).known[:, at].tolist() == [True, False, True, True]
    assert identified(other).known[:, at].tolist() == [True, True, False, True]
    assert not identified(one).known[:, at - 1].any()


@pytest.fixture(scope="module")
def history():
    cohort = simulate_cohort(24, 240, n_blocks=4, seed=5)
    trials = cohort.trials.sample(frac=1.0, random_state=3).assign(choice=lambda d: d["choice"].where(d["trial"] != 7))
    return spice_fit(trials, block="block", trial="trial")


def test_all_choices_give_the_pooled_weights_of_the_history(history):
    found = partial_estimator(history)
    estimates = found.estimate(found.targets.mask)
    own = history.coefficients.wide("pooled").to_numpy()[:, : history.pooled.n_own]
    np.testing.assert_allclose(estimates.estimate[:, : own.shape[1]], own, rtol=1e-2, atol=1e-3)
    totals = history.kernels(structure="given").influence.query("scope == 'participant' and quantity == 'total'")
    for position, (module, event) in enumerate(found.terms):
        if module == "kernel":
            shown = totals[totals["event"] == event]["estimate"].to_numpy()
            np.testing.assert_allclose(estimates.estimate[:, position], shown, rtol=2e-2, atol=1e-2)


def test_a_part_of_the_history_gives_what_the_trials_of_that_part_give(history):
    """What the odd blocks say does not depend on what was chosen in the even ones."""
    rank, _ = _ranks(partial_estimator(history).targets, "block")
    frame = history.trials.frame
    second = frame["block"].map(history.trials.blocks.groupby("participant").cumcount()) % 2 == 1
    other = replace(
        history, trials=replace(history.trials, frame=frame.assign(choice=frame["choice"].where(~second, 0)))
    )
    half = rank % 2 == 0
    ours, theirs = (partial_estimator(fit).estimate(half).estimate for fit in (history, other))
    own = history.pooled.n_own
    np.testing.assert_allclose(ours[:, :own], theirs[:, :own], rtol=1e-5, atol=1e-6)


def test_reliability_of_a_task_with_stimuli_counts_the_first_choice_of_a_block(history):
    rng, frame = np.random.default_rng(2), history.trials.frame
    trials = pd.DataFrame(
        {"participant": frame["participant"], "choice": frame["choice"].clip(0), "block": frame["block"]}
    )
    trials = trials.assign(cue=rng.integers(0, 2, len(frame)), reward=rng.integers(0, 2, len(frame)))
    fit = spice_fit(trials, block="block", stimulus="cue")
    targets = partial_estimator(fit).targets
    assert targets.mask.sum() == len(frame)
    table = spice_reliability(fit, "odd_even", unit="trial")
    assert (table["n"] == 24).all()


def test_reliability_of_a_history_has_its_weights_and_kernels(history):
    table = spice_reliability(history, sessions={1: "a", 2: "a", 3: "b", 4: "b"})
    assert set(table["module"]) == {"beta", "kernel"}
    assert set(table.loc[table["module"] == "beta", "term"]) == set(history.pooled.names[: history.pooled.n_own])
    assert set(table["method"]) == {*METHODS, "test_retest_icc2", "test_retest_icc3"}
    # people of this cohort differ a lot in how they stick to their choices, and all are known
    assert (table["n"] == 24).all()
    assert table.query("module == 'kernel' and term == 'choice' and method == 'random'")["reliability"].item() > 0.6


def test_single_blocks_are_split_by_choices():
    cohort = simulate_cohort(6, 120, n_blocks=1, seed=5)
    single = spice_fit(cohort.trials, model="rescorla_wagner", block="block", epochs=1)
    with pytest.raises(DataError, match="unit='trial'"):
        spice_reliability(single, "odd_even")
    table = spice_reliability(single, "first_second", unit="trial")
    assert table["n"].max() >= 4


def test_the_trial_split_adds_up_to_the_whole_likelihood(fit):
    data = SequenceDataset.from_trials(fit.trials)
    rank, _ = _ranks(Targets.of(data), "trial")
    model, equations = fit.model.network, fit.model.equations
    parts = []
    for parity in (0, 1):
        half = data.with_mask(torch.from_numpy(rank % 2 == parity))
        parts.append(refit(model, half, equations, [], max_iter=0).log_likelihood)
    whole = refit(model, data, equations, [], max_iter=0).log_likelihood
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-9)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"methods": "halves"}, ConfigError),
        ({"methods": ()}, ConfigError),
        ({"unit": "session"}, ConfigError),
        ({"sessions": "days", "methods": ()}, ConfigError),
        ({"sessions": {9: "a"}, "methods": ()}, ConfigError),
        ({"sessions": "experiment", "methods": ()}, DataError),
        ({"n_splits": 0}, ConfigError),
    ],
)
def test_settings_are_checked(fit, settings, kind):
    with pytest.raises(kind):
        spice_reliability(fit, **settings)
