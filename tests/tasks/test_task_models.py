"""The models of the task library: their equations, by an independent implementation, and what must not matter."""

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from task_likelihoods import LIKELIHOODS, log_likelihoods

from spicestat.errors import ConfigError, DataError
from spicestat.fit.packing import pack_task
from spicestat.models.precoded import PRECODED
from spicestat.tasks import TASKS, TaskName, spice_task
from spicestat.tasks.task_likelihood import TaskLikelihood
from spicestat.trials import read_trials

NAMES = sorted(TASKS)


def likelihood_of(task, trials, **columns):
    table = read_trials(trials, **{**task.columns, **columns}, unusable="error")
    return TaskLikelihood(task, pack_task(table, task)[1], table.participants)


def short(task, seed=3):
    """Few people, in blocks that are long enough for everybody to make different choices."""
    return task.simulate(5, 36, seed=seed)


def drawn(task, cohort, seed):
    """Other parameters than the true ones, far apart: (P, K), and as a table."""
    rng = np.random.default_rng(seed)
    typical = cohort.truth.iloc[:, 1:].median()
    values = np.stack(
        [
            one.found_link.to_natural(
                one.found_link.to_unconstrained(typical[one.name]) + 2.0 * one.spread * rng.standard_normal(5)
            )
            for one in task.parameters
        ],
        axis=1,
    )
    table = pd.DataFrame(values, columns=[one.name for one in task.parameters])
    return values, table.assign(participant=cohort.truth["participant"])


def test_names_are_complete_and_nobody_elses():
    assert sorted(get_args(TaskName)) == NAMES == sorted(LIKELIHOODS)
    assert not {*PRECODED, "history"} & set(TASKS)
    assert len({task.title for task in TASKS.values()}) == len(TASKS)


@pytest.mark.parametrize("name", NAMES)
def test_likelihoods_are_those_of_an_independent_implementation(name):
    task = spice_task(name)
    cohort = short(task)
    likelihood = likelihood_of(task, cohort.trials)
    for seed in range(3):
        values, table = drawn(task, cohort, seed)
        expected = log_likelihoods(task, cohort.trials, table)
        found = likelihood.log_likelihood(values[None])[0]
        assert np.allclose(found, [expected[who] for who in likelihood.participants], rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_order_of_rows_and_names_of_people_change_nothing(name):
    task = spice_task(name)
    cohort = short(task)
    values, _ = drawn(task, cohort, 1)
    before = likelihood_of(task, cohort.trials).log_likelihood(values[None])[0]
    names = dict(zip(cohort.truth["participant"], ["e", "d", "c", "b", "a"], strict=True))
    mixed = cohort.trials.assign(participant=cohort.trials["participant"].map(names)).sample(frac=1, random_state=1)
    after = likelihood_of(task, mixed).log_likelihood(values[None, ::-1])[0]
    assert np.allclose(after, before[::-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_what_others_did_longer_changes_nothing(name):
    task = spice_task(name)
    cohort = short(task)
    values, _ = drawn(task, cohort, 2)
    before = likelihood_of(task, cohort.trials).log_likelihood(values[None])[0]
    cut = cohort.trials[(cohort.trials["participant"] != "p2") | (cohort.trials["trial"] <= 30)]
    after = likelihood_of(task, cut).log_likelihood(values[None])[0]
    assert np.allclose(np.delete(after, 1), np.delete(before, 1), rtol=0, atol=1e-9)
    assert after[1] != before[1]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("two_step", "ddm")])
def test_probabilities_are_those_of_the_likelihood(name):
    task = spice_task(name)
    cohort = short(task)
    likelihood, values = likelihood_of(task, cohort.trials), cohort.truth.iloc[:, 1:].to_numpy()
    trials, p = likelihood.trials, likelihood.probabilities(values[None])[:, 0]
    assert np.allclose(p[trials.predicted].sum(axis=-1), 1.0)
    made = np.log(np.take_along_axis(p, trials.choice[..., None], axis=2)[..., 0])
    total = np.zeros(5)
    np.add.at(total, trials.person, np.where(trials.predicted, made, 0.0).sum(axis=0))
    assert np.allclose(total, likelihood.log_likelihood(values[None])[0])


@pytest.mark.parametrize("name", ["pst", "go_nogo", "two_step", "ddm"])
def test_derivatives_are_those_of_small_steps(name):
    task = spice_task(name)
    cohort = short(task)
    likelihood = likelihood_of(task, cohort.trials)
    values = cohort.truth.iloc[:, 1:].to_numpy()
    value, gradient, information = likelihood.derivatives(values)
    assert np.allclose(value, likelihood.log_likelihood(values[None])[0])
    assert np.allclose(information, information.transpose(0, 2, 1))
    for k in range(values.shape[1]):
        step = 1e-4 * values[:, k]
        move = np.zeros_like(values)
        move[:, k] = step
        up, down = likelihood.log_likelihood(np.stack([values + move, values - move]))
        assert np.allclose(gradient[:, k], (up - down) / (2 * step), rtol=1e-3, atol=1e-3)
        slopes = [likelihood.derivatives(values + sign * move)[1] for sign in (1, -1)]
        assert np.allclose(-information[:, k], (slopes[0] - slopes[1]) / (2 * step)[:, None], rtol=1e-2, atol=1e-2)


def test_out_of_range_is_no_number():
    task = spice_task("bandit")
    likelihood = likelihood_of(task, short(task).trials)
    assert np.isneginf(likelihood.log_likelihood(np.full((1, 5, 2), [1.2, 3.0]))).all()


def test_people_can_be_selected_more_than_once():
    task = spice_task("rlwm")
    cohort = short(task)
    likelihood, (values, _) = likelihood_of(task, cohort.trials), drawn(task, cohort, 4)
    some = likelihood.select([4, 0, 4])
    assert some.participants == ("p5", "p1", "p5")
    expected = likelihood.log_likelihood(values[None])[0]
    assert np.allclose(some.log_likelihood(values[None, [4, 0, 4]])[0], expected[[4, 0, 4]])
    with pytest.raises(ConfigError, match="positions"):
        likelihood.select([7])


def test_a_reward_that_was_not_seen_teaches_nothing():
    task = spice_task("pst")
    cohort = short(task)
    hidden = cohort.trials.copy()
    hidden.loc[hidden["trial"] == 36, "feedback"] = np.nan
    values, _ = drawn(task, cohort, 5)
    both = [likelihood_of(task, table).log_likelihood(values[None])[0] for table in (cohort.trials, hidden)]
    assert np.allclose(*both)


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("pst", {"options": None}, "needs the role options or stimulus.*options="),
        ("rlwm", {"context": None}, "needs the role context.*context="),
        ("discounting", {"attributes": None}, "needs the role attributes.*attributes="),
        ("two_step", {"state2": None, "choice2": None}, "needs the role state2"),
        ("ddm", {"rt": None}, "needs the role rt"),
        ("counterfactual_feedback", {"foregone": None}, "foregone="),
        ("bandit", {"reward": None}, "learns from rewards"),
        ("risky_choice", {"context": ["gain", "loss"]}, "three contexts"),
    ],
)
@pytest.mark.filterwarnings("ignore::spicestat.errors.SuspiciousDataWarning")
def test_what_is_missing_is_named(name, columns, message):
    task = spice_task(name)
    with pytest.raises(ConfigError, match=message):
        likelihood_of(task, short(task).trials, **columns)


def test_what_has_no_use_is_refused():
    task = spice_task("bandit")
    trials = short(task).trials.assign(size=1.0)
    with pytest.raises(ConfigError, match="no use for.*context"):
        likelihood_of(task, trials, context="size")


@pytest.mark.filterwarnings("ignore::spicestat.errors.SuspiciousDataWarning")
def test_trials_that_a_model_is_not_for_are_refused():
    reversal, go_nogo, discounting = (spice_task(name) for name in ("reversal", "go_nogo", "discounting"))
    trials = short(reversal).trials
    with pytest.raises(DataError, match="recode 0 and 1"):
        likelihood_of(reversal, trials.assign(outcome=(trials["outcome"] > 0).astype(float)))
    restless, rlwm, two_step = (spice_task(name) for name in ("restless", "rlwm", "two_step"))
    trials = short(restless).trials
    with pytest.raises(DataError, match="1 to 100"):
        likelihood_of(restless, trials.assign(points=trials["points"] / 100))
    trials = short(rlwm).trials
    with pytest.raises(DataError, match="right and wrong"):
        likelihood_of(rlwm, trials.assign(correct=2 * trials["correct"] - 1))
    trials = short(two_step).trials
    mirrored = trials["trial"] % 2 == 1
    exchanged = trials["choice1"].map({"left": "right", "right": "left"})
    with pytest.raises(DataError, match="state"):
        likelihood_of(two_step, trials.assign(choice1=trials["choice1"].where(~mirrored, exchanged)))
    trials = short(go_nogo).trials
    with pytest.raises(DataError, match="which of two choices is to go"):
        likelihood_of(go_nogo, trials.assign(action=trials["action"].map({"go": "x", "nogo": "y"})))
    trials = short(discounting).trials
    with pytest.raises(DataError, match="below 0"):
        likelihood_of(discounting, trials.assign(delay_sooner=-1.0))
    with pytest.raises(ConfigError, match="'amount' and 'delay'"):
        likelihood_of(discounting, trials, attributes={"money": ["amount_later", "amount_sooner"]})


@pytest.mark.parametrize("name", NAMES)
def test_simulation_is_of_its_seed_and_takes_parameters(name):
    task = spice_task(name)
    first, again, other = task.simulate(3, 8, seed=1), task.simulate(3, 8, seed=1), task.simulate(3, 8, seed=2)
    pd.testing.assert_frame_equal(first.trials, again.trials)
    assert not first.trials.equals(other.trials)
    given = task.parameters[0].name
    value = float(first.truth[given].iloc[0])
    assert (task.simulate(3, 8, parameters={given: value}).truth[given] == value).all()


@pytest.mark.parametrize(
    "parameters", [{"beat": 1.0}, {"alpha": 2.0}, {"alpha": [0.1, 0.2]}, {"alpha": "fast"}, {"alpha": np.nan}]
)
def test_parameters_that_cannot_be_are_refused(parameters):
    with pytest.raises(ConfigError):
        spice_task("bandit").simulate(3, 8, parameters=parameters)


def test_an_unknown_task_is_refused():
    with pytest.raises(ConfigError, match="pst"):
        spice_task("stroop")
