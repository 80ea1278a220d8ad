"""What cannot be true is said, in print, in glance and as a warning, and what is true is not complained about."""

import numpy as np
import pandas as pd
import pytest

from spicestat import simulate_cohort, spice_fit
from spicestat.errors import ContradictionWarning
from spicestat.fit.plausibility import baseline_nll, contradictions
from spicestat.models.precoded import ModelDeclaration, ModuleDeclaration
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

FINE = {"rnn": 0.50, "equations": 0.51, "refit": 0.49, "shares": 0.69, "guessing": 0.70}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, []),
        ({"shares": np.nan, "guessing": np.nan, "rnn": 3.0, "equations": 3.0}, []),
        ({"equations": 0.48}, ["refitted equations predict worse"]),
        ({"rnn": 0.6972, "shares": 0.692}, ["network predicts worse"]),
        ({"equations": 5852.4}, ["read off the network predict worse"]),
        ({"equations": np.inf}, ["read off the network predict worse"]),
        ({"refit": 0.693, "rnn": 0.446, "shares": 0.69}, ["than the equations read off", "choice shares"]),
        ({"refit": np.nan}, ["refitted equations predict worse"]),
    ],
)
def test_what_is_said(change, said):
    found = contradictions(FINE | change)
    assert len(found) == len(said)
    assert all(part in text for part, text in zip(said, found, strict=True))


def test_baselines_are_those_of_counts():
    trials = pd.DataFrame(
        {"participant": ["a"] * 5 + ["b"] * 5, "choice": [1, 1, 1, 2, 1, 2, 2, 3, 2, None], "reward": 1.0}
    )
    found = baseline_nll(SequenceDataset.from_trials(read_trials(trials)))
    # the first choice of each is not predicted: a makes 1, 1, 2, 1 and b 2, 3, 2
    expected = -(3 * np.log(3 / 4) + np.log(1 / 4) + 2 * np.log(2 / 3) + np.log(1 / 3)) / 7
    assert found == {"guessing": pytest.approx(np.log(3)), "shares": pytest.approx(expected)}


@pytest.mark.filterwarnings(
    "ignore::spicestat.errors.ConvergenceWarning", "ignore:the equations read off the network predict worse"
)
def test_a_network_that_learned_nothing_is_said_everywhere():
    trials = simulate_cohort(4, 60, n_blocks=6, seed=2).trials
    guesses = trials.assign(choice=np.random.default_rng(0).integers(1, 3, len(trials)))
    with pytest.warns(ContradictionWarning, match="the network predicts worse .* choice shares") as caught:
        fit = spice_fit(guesses, block="block", model="learning_rate", epochs=1)
    assert all(warning.filename == __file__ for warning in caught)
    assert "the network predicts worse" in fit.glance()["contradictions"].item()
    assert "note: the network predicts worse" in repr(fit)


def complete_feedback(seed, n_participants=8, n_trials=80):
    """Learners who see all rewards of two actions, of which the better one changes now and then."""
    rng, rows = np.random.default_rng(seed), []
    for person in range(n_participants):
        rate, beta, value = rng.uniform(0.2, 0.6), rng.uniform(3, 6), np.full(2, 0.5)
        for trial in range(n_trials):
            choice = int(rng.random() > 1 / (1 + np.exp(beta * (value[1] - value[0]))))
            good = np.array([0.7, 0.3]) if trial // 40 % 2 == 0 else np.array([0.3, 0.7])
            reward = (rng.random(2) < good).astype(float)
            rows.append((f"p{person}", trial, choice, *reward))
            value += rate * (reward - value)
    return pd.DataFrame(rows, columns=["participant", "trial", "choice", "left", "right"])


@pytest.mark.filterwarnings("ignore:the refitted equations predict worse")
@pytest.mark.parametrize("structure", ["population", "participant"])
def test_a_search_that_starts_where_nothing_is_learned_goes_on_from_constants(structure):
    """The constant rate is best predicted by its own last value, and a kept rate never leaves 0."""
    rate = ModuleDeclaration("x_rate", "x_value", inputs=["c_reward"], kind="rate", cells="all")
    model = ModelDeclaration(modules=[rate], states={"x_value": 0.5}, counterfactual=True)
    fit = spice_fit(
        complete_feedback(0), trial="trial", reward=["left", "right"], model=model, epochs=60, structure=structure
    )
    assert fit.tidy().query("module == 'x_rate' and term == '1'")["selected"].all()
    # far from guessing, .693
    assert fit.glance()["nll_refit"].item() < 0.5
