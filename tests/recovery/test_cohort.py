"""The whole way, from a cohort's trials to a group effect, against what was simulated.

The seed of every stage is fixed, so the outcome does not flicker. Over seeds, a correct engine
fails the structure test in a few in 100 (one likelihood-ratio test at .001 per candidate term, and
power below 1 for forgetting rates of .25 in 200 trials), the coverage test in 5 in 100 (it is a 95 %
interval), and the sign test in fewer than 1 in 1000 (the slope of .10 is about 4 standard errors).
"""

import pytest

from spicestat.fit.api import spice_fit
from spicestat.group import spice_group
from spicestat.simulate import simulate_cohort

RATE, NOT_CHOSEN = "x_learning_rate_reward", "x_value_reward_not_chosen"


@pytest.fixture(scope="module")
def cohort():
    return simulate_cohort(40, 200, seed=0)


@pytest.fixture(scope="module")
def fit(cohort):
    return spice_fit(cohort.trials, block="block", trial="trial", people=cohort.people, model="choice", epochs=120)


def test_structure_is_the_truth(fit):
    """All participants have these free coefficients, and no others; there is no perseveration."""
    free = fit.coefficients.wide("std_error").notna().all()
    assert set(free[free].index) == {
        (RATE, "1"),
        (NOT_CHOSEN, "1"),
        (NOT_CHOSEN, NOT_CHOSEN),
        ("beta", "x_value_reward"),
    }


def test_terms_without_an_effect_are_not_called_selected(fit):
    """A choice trace that starts at 0 and is only kept stays 0: it is no part of the equations."""
    used = fit.coefficients.wide("selected").any()
    assert not [term for term in used[used].index if term[0] == "x_value_choice"]


def test_group_effect_is_recovered(fit):
    row = spice_group(fit, "~ anxiety", modules=RATE).tidy().set_index("term").loc["anxiety"]
    assert row["estimate"] > 0
    assert row["p_value"] < 0.01
    assert row["conf_low"] < 0.10 < row["conf_high"]
    assert row["sparse_term"] == "1"


def test_a_covariate_without_an_effect_is_not_significant(fit):
    row = spice_group(fit, "~ anxiety + age", modules=RATE).tidy().set_index("term").loc["age"]
    assert row["p_value"] > 0.001
    assert row["conf_low"] < 0 < row["conf_high"]


def test_individual_learning_rates_are_recovered(fit, cohort):
    wide = fit.coefficients.wide()
    estimate, error = wide[(RATE, "1")], fit.coefficients.wide("std_error")[(RATE, "1")]
    truth = cohort.truth.set_index("participant")["alpha"]
    assert estimate.corr(truth) > 0.6
    covered = ((estimate - truth).abs() < 1.96 * error).mean()
    assert covered > 0.85
    beta = wide[("beta", "x_value_reward")]
    assert beta.median() == pytest.approx(5.0, rel=0.15)


def test_likelihoods_beside_the_oracle(fit, cohort, capsys):
    nll = fit.scores.set_index("model")["nll"]
    with capsys.disabled():
        shown = ", ".join(f"{model} {value:.4f}" for model, value in nll.items())
        print(f"\nNLL per choice: oracle {cohort.oracle_nll:.4f}, {shown}")
    assert abs(nll["rnn"] - cohort.oracle_nll) < 0.03
    assert abs(nll["equations"] - nll["rnn"]) < 0.03
    assert nll["refit"] < cohort.oracle_nll  # four coefficients per person fitted on the same choices
    assert nll["refit"] > cohort.oracle_nll - 0.03


def test_nobody_is_unidentified(fit):
    assert fit.coefficients.share_unidentified <= 0.05
