"""spice_group(method="hierarchical"), from a fit to its tables."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from spicestat.errors import (
    ConfigError,
    ContradictionWarning,
    ConvergenceWarning,
    DataError,
    ExclusionWarning,
    IdentifiabilityWarning,
)
from spicestat.fit.api import spice_fit
from spicestat.group import spice_group
from spicestat.group.inference.rows import COLUMNS, GLANCE
from spicestat.group.inputs.links import find_link
from spicestat.group.marginal.hierarchical_fit import fit_hierarchical
from spicestat.group.methods import hierarchical
from spicestat.group.methods.hierarchical import Settings, starting_prior
from spicestat.group.methods.multivariate_meta import multivariate_meta_regression
from spicestat.pooled.state_library import ten_states
from spicestat.simulate import simulate_cohort

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[3]))

from toy_choices import GaussianChoices, gaussian_study, toy_fit  # noqa: E402

from benchmarks.calibration.cells import LINKS, Cell  # noqa: E402
from benchmarks.calibration.model import BETA, KEPT, RATE, fit_equations  # noqa: E402
from benchmarks.calibration.simulate import draw  # noqa: E402
from benchmarks.multilevel.cohorts import Cell as HistoryCell  # noqa: E402
from benchmarks.multilevel.cohorts import cohort  # noqa: E402

SIGMA = np.array([[0.5, 0.2], [0.2, 0.3]])
KEYS = [(RATE, "1"), (KEPT, KEPT), (BETA, "x_value_reward")]


@pytest.fixture(scope="module")
def equation_fit():
    """The three true equations of 24 simulated participants: a likelihood of real choices, without any training."""
    torch.set_num_threads(1)
    return fit_equations(draw(Cell(24, 80, 0.8), 3), forget_to_start=False)


@pytest.fixture(scope="module")
def group(equation_fit):
    return spice_group(equation_fit, "~ z", links=LINKS, max_unidentified=1.0)


@pytest.fixture
def fits(monkeypatch):
    """What `fit_hierarchical` returns, call by call: results keep the tables only."""
    found = []

    def kept(*arguments, **options):
        found.append(fit_hierarchical(*arguments, **options))
        return found[-1]

    monkeypatch.setattr(hierarchical, "fit_hierarchical", kept)
    return found


def toy(n=30, d=2, seed=0, at_bound=0, links=None):
    likelihood, X = gaussian_study(n, SIGMA[:d, :d], seed, links=links)
    return toy_fit(likelihood, pd.DataFrame({"z": X[:, 1], "w": X[:, 1] ** 2}), at_bound), X


# Equations and choices -------------------------------------------------------------------------------------------


def test_it_is_the_default_of_a_fit_and_has_the_contract_columns(group):
    assert group.method == "hierarchical"
    assert tuple(group.coefficients.columns) == COLUMNS
    assert tuple(group.glance().columns) == GLANCE
    fixed = group.tidy()
    assert list(zip(fixed["module"], fixed["sparse_term"], fixed["term"], strict=True)) == [
        (*key, name) for key in KEYS for name in ("(Intercept)", "z")
    ]
    assert fixed[["estimate", "std_error", "statistic", "p_value", "p_adjusted", "conf_low"]].notna().all(axis=None)
    assert (fixed["df"] == 22).all()
    glance = group.glance().iloc[0]
    assert (glance["nobs"], glance["n_excluded"], glance["df_residual"]) == (24, 0, 22)
    assert glance["converged"]
    assert glance["aic"] == pytest.approx(2 * 13 - 2 * glance["log_lik"])
    assert glance["bic"] == pytest.approx(13 * np.log(24) - 2 * glance["log_lik"])


def test_the_joint_covariance_and_its_blocks_are_labelled(group):
    joint, fixed = group.joint_covariance, group.tidy()
    assert joint.index.names == ["module", "sparse_term", "term"]
    assert joint.index.tolist() == joint.columns.tolist()
    np.testing.assert_allclose(np.sqrt(np.diag(joint)), fixed["std_error"])
    for key in KEYS:
        block = group.covariance[key]
        assert block.columns.tolist() == ["(Intercept)", "z"]
        rows = [(*key, name) for name in ("(Intercept)", "z")]
        np.testing.assert_allclose(block, joint.loc[rows, rows])


def test_random_effects_are_described(equation_fit, fits):
    group = spice_group(equation_fit, "~ z", links=LINKS, max_unidentified=1.0)
    spread = group.tidy("ran_pars").set_index(["module", "term"])["estimate"]
    (fit,) = fits
    sd = np.sqrt(np.diag(fit.sigma))
    for k, (module, _) in enumerate(KEYS):
        assert spread[module, "sd__(Intercept)"] == pytest.approx(sd[k])
    assert spread[RATE, f"cor__(Intercept).{KEPT}:{KEPT}"] == pytest.approx(fit.sigma[0, 1] / (sd[0] * sd[1]))
    assert len(spread) == 3 + 3
    values = group.ran_vals
    assert list(values.columns) == [
        "module",
        "sparse_term",
        "group",
        "level",
        "term",
        "estimate",
        "std_error",
        "weight",
    ]
    assert len(values) == 3 * 24
    rate = values[values["module"] == RATE]
    assert rate["level"].tolist() == list(range(24))
    z = group.design.matrix[:, 1]
    mean = fit.gamma[0] + fit.gamma[1] * z + rate["estimate"].to_numpy()
    np.testing.assert_allclose(mean, fit.mean[:, 0])
    # shrunken: they vary less than the group does; where choices say little, that of the means is added to it
    assert rate["estimate"].std() < sd[0]
    assert (rate["std_error"] > 0).all()
    assert (rate["std_error"] < 1.2 * sd[0]).all()


def test_participants_are_on_the_natural_scale_and_near_their_own_estimates(group, equation_fit):
    shrunken = group.shrunken
    assert shrunken.columns.tolist() == KEYS
    assert shrunken.index.tolist() == list(range(24))
    rates = shrunken[KEYS[0]]
    assert rates.between(0, 1).all()
    own = equation_fit.coefficients.wide()[KEYS[0]]
    assert np.corrcoef(rates, own)[0, 1] > 0.5


def test_links_are_told_and_scale_the_effects(group, equation_fit):
    assert dict(group.links) == {KEYS[0]: "logit", KEYS[1]: "logit", KEYS[2]: "log"}
    natural = spice_group(equation_fit, "~ z", max_unidentified=1.0)
    assert dict(natural.links) == {}
    intercept = natural.tidy().iloc[0]["estimate"]
    assert 0 < intercept < 1
    assert group.tidy().iloc[0]["estimate"] == pytest.approx(np.log(intercept / (1 - intercept)), abs=0.6)


def test_modules_and_terms_restrict_only_the_report(group, equation_fit):
    one = spice_group(equation_fit, "~ z", links=LINKS, max_unidentified=1.0, modules=RATE)
    fixed = one.tidy()
    assert set(fixed["module"]) == {RATE}
    expected = group.tidy().iloc[:2]
    for name in ("estimate", "std_error", "p_value"):
        np.testing.assert_allclose(fixed[name], expected[name])
    assert set(one.ran_vals["module"]) == {RATE}
    assert one.tidy("ran_pars")["term"].tolist() == ["sd__(Intercept)"]
    assert len(one.joint_covariance) == 6
    assert one.glance()["log_lik"].tolist() == group.glance()["log_lik"].tolist()
    two = spice_group(equation_fit, "~ z", links=LINKS, max_unidentified=1.0, terms=["1", "x_value_reward"])
    assert set(two.tidy()["sparse_term"]) == {"1", "x_value_reward"}


@pytest.mark.parametrize("wanted", [RATE, [f"{RATE}:1"]])
def test_covariates_on_some_coefficients(equation_fit, wanted, fits):
    part = spice_group(equation_fit, "~ z", links=LINKS, max_unidentified=1.0, covariates_on=wanted)
    fixed = part.tidy()
    assert fixed[["module", "term"]].to_numpy().tolist() == [
        [RATE, "(Intercept)"],
        [RATE, "z"],
        [KEPT, "(Intercept)"],
        [BETA, "(Intercept)"],
    ]
    assert fixed["df"].tolist() == [22, 22, 23, 23]
    assert part.covariance[KEYS[2]].shape == (1, 1)
    assert len(part.joint_covariance) == 4
    kept = part.ran_vals.set_index("module").loc[KEPT, "estimate"]
    (fit,) = fits
    np.testing.assert_allclose(kept, fit.mean[:, 1] - fit.gamma[2])


def test_laplace_is_near_moments(group, equation_fit):
    fast = spice_group(equation_fit, "~ z", links=LINKS, max_unidentified=1.0, integration="laplace").tidy()
    full = group.tidy()
    assert (np.abs(fast["estimate"] - full["estimate"]) < 0.75 * full["std_error"]).all()


# Toys: everything but the likelihood is real ---------------------------------------------------------------------


def test_tables_of_a_normal_toy_are_those_of_the_multivariate_meta_regression():
    fit, X = toy()
    result = spice_group(fit, "~ z", avoid_boundary=False)
    meta = multivariate_meta_regression(fit.likelihood.y, fit.likelihood.V, X)
    np.testing.assert_allclose(result.tidy()["estimate"], meta.beta.ravel(), atol=1e-3)
    deviations = result.ran_vals["estimate"].to_numpy().reshape(2, -1).T
    np.testing.assert_allclose(deviations, meta.deviations, atol=2e-3)


def test_restricted_and_full_likelihood_differ_in_sigma(fits):
    fit, _ = toy()
    restricted, full = [spice_group(fit, "~ z", estimator=name, avoid_boundary=False) for name in ("REML", "ML")]
    more, less = (np.diag(found.sigma) for found in fits)
    assert (more > less).all()
    assert full.glance()["log_lik"].item() > restricted.glance()["log_lik"].item()


def test_p_values_are_withheld_beyond_the_limit():
    fit, _ = toy(at_bound=13)
    with pytest.warns(IdentifiabilityWarning, match=r"43 %.*limit 40 %"):
        hidden = spice_group(fit, "~ z").tidy()
    assert hidden[["p_value", "p_adjusted", "conf_low", "conf_high"]].isna().all(axis=None)
    assert hidden[["estimate", "std_error"]].notna().all(axis=None)
    shown = spice_group(fit, "~ z", max_unidentified=0.5)
    assert shown.tidy()["p_value"].notna().all()
    assert shown.glance()["share_unidentified"].tolist() == [pytest.approx(13 / 30)]
    assert not shown.glance()["withheld"].any()


def test_a_concave_likelihood_has_no_limit_of_unidentified_people():
    """What people's own estimates are worth is nothing that a model of choices needs to know, but two stages do."""
    fit, _ = cohort(HistoryCell(24, 60, "~ anxiety"), 1)
    frame = fit.coefficients.frame.assign(at_bound=fit.coefficients.frame["participant"].isin(range(12)))
    half = replace(fit, coefficients=replace(fit.coefficients, frame=frame))
    result = spice_group(half, "~ anxiety")
    assert result.glance()["share_unidentified"].item() >= 0.5
    assert result.tidy()["p_value"].notna().all()
    np.testing.assert_allclose(result.coef(), spice_group(fit, "~ anxiety").coef(), rtol=1e-5)
    with pytest.warns(IdentifiabilityWarning, match="limit 30 %"):
        assert spice_group(half, "~ anxiety", max_unidentified=0.3).tidy()["p_value"].isna().all()


def test_unidentified_participants_count_like_all_others():
    plain, bounded = toy()[0], toy(at_bound=5)[0]
    one, other = (spice_group(fit, "~ z", max_unidentified=1.0) for fit in (plain, bounded))
    pd.testing.assert_frame_equal(one.coefficients, other.coefficients)
    assert other.glance()["nobs"].tolist() == [30]


def test_a_coefficient_table_needs_another_method():
    fit, _ = toy()
    with pytest.raises(ConfigError, match=r"reads the choices themselves.*pass the fit"):
        spice_group(fit.coefficients, "~ z", method="hierarchical")
    assert spice_group(fit.coefficients, "~ z").method == "meta"
    assert spice_group(fit, "~ z").method == "hierarchical"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"link": {}}, ["no such setting", "link", "links, covariates_on, estimator"]),
        ({"estimator": "reml"}, ["unknown estimator", "REML, ML"]),
        ({"integration": "mcmc"}, ["unknown integration", "moments, laplace"]),
        ({"max_rounds": 0}, ["max_rounds", "1, 2, 3"]),
        ({"nodes_per_dimension": 2.5}, ["nodes_per_dimension"]),
        ({"links": {"elsewhere": "log"}}, ["names what is not estimated", "'module0:1'"]),
        ({"links": {"module0": "probit"}}, ["unknown link"]),
        ({"covariates_on": "elsewhere"}, ["covariates_on", "'elsewhere'", "'module1:1'"]),
        ({"covariates_on": []}, ["covariates_on", "(nothing)"]),
    ],
)
def test_bad_settings_are_named(settings, words):
    fit, _ = toy()
    with pytest.raises(ConfigError) as caught:
        spice_group(fit, "~ z", method="hierarchical", **settings)
    assert all(word in str(caught.value) for word in words)


def test_participants_without_covariates_are_left_out_with_a_warning():
    fit, _ = toy()
    people = fit.coefficients.people.copy()
    people.loc[[3, 8], "z"] = np.nan
    with pytest.warns(ExclusionWarning, match=r"2 of 30 participants lack 'z'.*'s003', 's008'"):
        result = spice_group(fit, "~ z", data=people)
    assert result.glance()[["nobs", "n_excluded"]].to_numpy().tolist() == [[28, 2]]
    assert "s003" not in set(result.ran_vals["level"])
    kept = np.setdiff1d(np.arange(30), [3, 8])
    part = toy_fit(fit.likelihood.select(kept), people.iloc[kept].reset_index(drop=True))
    expected = spice_group(part, "~ z").tidy()
    # the prior that places the first nodes is from everybody's estimates: another start, the same end
    np.testing.assert_allclose(result.tidy()["estimate"], expected["estimate"], atol=0.02 * expected["std_error"].min())


def test_participants_without_choices_are_left_out():
    fit, _ = toy()
    precision = fit.likelihood.precision.copy()
    precision[[0, 4]] = 0.0
    silent = GaussianChoices(fit.likelihood.y, fit.likelihood.labels, precision)
    result = spice_group(toy_fit(silent, fit.coefficients.people), "~ z")
    assert result.glance()[["nobs", "n_excluded"]].to_numpy().tolist() == [[28, 2]]
    assert not {"s000", "s004"} & set(result.ran_vals["level"])
    assert (result.tidy()["df"] == 26).all()


@pytest.mark.parametrize(("n", "formula"), [(1, "~ 1"), (2, "~ z"), (1, "~ z")])
def test_too_few_participants_are_refused(n, formula):
    likelihood, X = gaussian_study(10, SIGMA)
    fit = toy_fit(likelihood.select(range(n)), pd.DataFrame({"z": X[:n, 1]}))
    with pytest.raises(DataError):
        spice_group(fit, formula)


def test_a_fit_that_has_not_converged_says_so(monkeypatch):
    def stopped(*arguments, **options):
        return replace(fit_hierarchical(*arguments, **options), converged=False)

    monkeypatch.setattr(hierarchical, "fit_hierarchical", stopped)
    with pytest.warns(ConvergenceWarning, match="did not converge for all terms"):
        result = spice_group(toy()[0], "~ z")
    assert not result.glance()["converged"].any() and result.glance()["withheld"].all()
    assert result.tidy()[["p_value", "conf_low"]].isna().all(axis=None)
    assert result.messages[0].startswith("p-values and intervals are withheld: the group model did not converge")
    assert "A simpler formula" in result.summary() and "withheld" in repr(result)


@pytest.mark.filterwarnings("ignore:.*no identified estimate:spicestat.errors.ConvergenceWarning")
def test_where_nodes_end_nowhere_expansions_take_their_place():
    """Four coefficients of learning from 100 trials, of a cohort in which moments at nodes run away."""
    trials = simulate_cohort(40, 100, seed=1)
    fit = spice_fit(trials.trials, block="block", people=trials.people, model="learning_rate", epochs=20)
    result = spice_group(fit, "~ anxiety")
    assert result.glance()["converged"].all() and result.tidy()["p_value"].notna().all()
    assert any("came to no end" in message for message in result.messages)
    expanded = spice_group(fit, "~ anxiety", integration="laplace")
    np.testing.assert_allclose(result.coef(), expanded.coef(), rtol=1e-10)


def test_two_answers_that_the_choices_do_not_decide_between_are_withheld(monkeypatch):
    fit, _ = toy()
    plain = spice_group(fit, "~ z")
    assert not plain.glance()["withheld"].any()

    def undecided(*arguments, **options):
        found = fit_hierarchical(*arguments, **options)
        assert found.apart < 0.1
        return replace(found, apart=1.3)

    monkeypatch.setattr(hierarchical, "fit_hierarchical", undecided)
    with pytest.warns(IdentifiabilityWarning, match=r"differ by up to 1.3 standard errors.*simpler formula"):
        hidden = spice_group(fit, "~ z")
    assert hidden.glance()["withheld"].all() and hidden.tidy()["p_value"].isna().all()
    np.testing.assert_array_equal(hidden.coef(), plain.coef())


def test_max_t_adjusts_between_the_p_value_and_bonferroni():
    fit, _ = toy()
    plain = spice_group(fit, "~ z").tidy()
    adjusted = spice_group(fit, "~ z", adjust="maxT").tidy()
    np.testing.assert_allclose(adjusted["p_value"], plain["p_value"])
    assert (adjusted["p_adjusted"] >= adjusted["p_value"] - 1e-12).all()
    assert (adjusted["p_adjusted"] <= np.minimum(1, 2 * adjusted["p_value"]) * 1.01).all()
    assert (adjusted["p_adjusted"] > adjusted["p_value"]).any()


def test_labels_of_participants_do_not_matter():
    fit, X = toy()
    names = tuple(f"person {row}" for row in np.random.default_rng(0).permutation(30))
    other = GaussianChoices(fit.likelihood.y, names, fit.likelihood.precision)
    renamed = spice_group(toy_fit(other, pd.DataFrame({"z": X[:, 1]})), "~ z")
    pd.testing.assert_frame_equal(renamed.coefficients, spice_group(fit, "~ z").coefficients)
    assert renamed.ran_vals["level"].tolist() == 2 * list(names)


def test_a_formula_without_an_intercept():
    fit, X = toy()
    result = spice_group(fit, "~ 0 + z", avoid_boundary=False)
    assert result.tidy()["term"].tolist() == ["z", "z"]
    meta = multivariate_meta_regression(fit.likelihood.y, fit.likelihood.V, X[:, 1:])
    np.testing.assert_allclose(result.tidy()["estimate"], meta.beta.ravel(), atol=1e-3)


def test_deviations_are_from_what_was_predicted_also_without_an_intercept(fits):
    fit, X = toy()
    result = spice_group(fit, "~ 0 + z", covariates_on="module0")
    (at,) = fits
    assert result.tidy()["term"].tolist() == ["z", "(Intercept)"]
    found = result.ran_vals["estimate"].to_numpy().reshape(2, -1)
    np.testing.assert_allclose(found[0], at.mean[:, 0] - at.gamma[0] * X[:, 1])
    np.testing.assert_allclose(found[1], at.mean[:, 1] - at.gamma[1])


# Where the first nodes go ----------------------------------------------------------------------------------------


def prior_of(estimates, link, pooled=None):
    """Starting prior of one coefficient with these estimates."""
    columns = {"estimate": estimates} if pooled is None else {"estimate": estimates, "pooled": pooled}

    class Table:
        frame = pd.DataFrame(columns)

        def wide(self, column="estimate"):
            return pd.DataFrame({("m", "1"): columns[column]})

    class Inputs:
        table = Table()

        def needed_likelihood(self):
            return type("Likelihood", (), {"terms": (("m", "1"),)})()

    center, scale = starting_prior(Inputs(), [find_link(link)])
    return float(center[0]), float(scale[0])


def test_the_starting_prior_is_robust_and_wide():
    values = np.random.default_rng(0).normal(2.0, 0.5, 400)
    center, scale = prior_of(values, "identity")
    assert center == pytest.approx(2.0, abs=0.1)
    assert scale == pytest.approx(0.75, abs=0.1)
    values[:80] = 1e6
    assert prior_of(values, "identity")[0] == pytest.approx(2.2, abs=0.1)
    assert prior_of(values, "identity")[1] < 1.5
    # most of the own ones at an end: the middle is that of the pooled, the width that of the own
    own, pooled = np.repeat([-5.0, 1.0], [300, 100]) + np.linspace(-1.0, 1.0, 400), np.full(400, 0.4)
    center, scale = prior_of(own, "identity", pooled)
    assert center == pytest.approx(0.4)
    assert scale == prior_of(own, "identity", own)[1]
    assert prior_of(own, "identity", np.full(400, np.nan))[0] == np.median(own)


@pytest.mark.parametrize("link", ["identity", "logit", "log"])
@pytest.mark.parametrize("values", [[np.nan] * 4, [0.0] * 4, [0.3] * 4, [0.0, 1.0, 0.0, 1.0], [-5.0, 0.2, 0.3, 40.0]])
def test_the_starting_prior_is_usable_whatever_the_estimates(link, values):
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        center, scale = prior_of(np.array(values), link)
    assert np.isfinite(center)
    assert 0 < scale < np.inf
    if link == "logit":
        assert 0.5 <= scale <= 1.5
        assert abs(center) <= 4


def test_where_nobody_has_estimates_the_search_begins_at_pooled_ones():
    values = np.random.default_rng(0).normal(2.0, 0.5, 400)
    nobody = np.full(400, np.nan)
    assert prior_of(nobody, "identity", pooled=values) == prior_of(values, "identity")
    nobody[0] = 0.3
    assert prior_of(nobody, "identity", pooled=values)[0] == np.median(values)


def test_settings_have_the_documented_defaults():
    assert Settings() == Settings(None, None, "REML", None, None, True, True, 40)


# Contradictions --------------------------------------------------------------------------------------------------


def test_estimates_that_are_no_maxima_are_a_contradiction_that_print_glance_and_summary_tell():
    likelihood, X = gaussian_study(30, SIGMA, 0)
    people = pd.DataFrame({"z": X[:, 1], "w": X[:, 1] ** 2})
    elsewhere = replace(likelihood, y=likelihood.y + 3.0)  # where the choices say that the estimates should be
    fit = replace(toy_fit(likelihood, people, 0), likelihood=elsewhere)
    with pytest.warns(ContradictionWarning, match="30 of 30 participants' own estimates are no maxima"):
        group = spice_group(fit, "~ z")
    assert group.glance()["contradictions"].str.startswith("30 of 30").all()
    assert "estimates are no maxima" in repr(group)
    assert group.summary().count("Contradiction: 30 of 30") == 1


def test_estimates_that_are_maxima_are_no_contradiction():
    fit, _ = toy()
    group = spice_group(fit, "~ z")
    assert (group.glance()["contradictions"] == "").all()
    assert "Contradiction" not in group.summary()


# What a reader should know ---------------------------------------------------------------------------------------


def test_a_covariate_that_one_person_carries_and_few_people_are_told():
    likelihood, X = gaussian_study(20, SIGMA)
    z = X[:, 1].copy()
    assert not any(
        "comes from" in text for text in spice_group(toy_fit(likelihood, pd.DataFrame({"z": z})), "~ z").messages
    )
    z[3] = 40.0
    carried = spice_group(toy_fit(likelihood, pd.DataFrame({"z": z})), "~ z").messages
    assert any("of what is known of 'z' comes from participant 's003'" in text for text in carried)
    assert not any("more participants than effects" in text for text in carried)
    few = toy_fit(likelihood.select(range(6)), pd.DataFrame({"z": X[:6, 1]}))
    assert any("only 4 more participants than effects" in text for text in spice_group(few, "~ z").messages)
    assert any(
        "only 4 more" in text
        for text in spice_group(toy_fit(likelihood.select(range(5)), pd.DataFrame({"z": z[:5]})), "~ 1").messages
    )


# Weights of choice history, and people who guess -----------------------------------------------------------------


def test_people_who_guess_count_little():
    """A fifth of 40; guessing pulls the means to 0 where it is not allowed for."""
    fit, _ = cohort(HistoryCell(40, 100, "~ anxiety", anxiety=0.4, guessing=0.2), 5)
    found, plain = (spice_group(fit, "~ anxiety", guessing=allowed) for allowed in (True, False))
    weights = found.augment().drop_duplicates("participant")["weight"]
    assert weights.between(0, 1).all()
    assert 3 <= (weights < 0.5).sum() <= 14
    assert any("probably guessed" in text for text in found.messages)
    assert (plain.augment()["weight"] == 1).all()
    means, pulled = (
        group.tidy().query("term == '(Intercept)'").set_index("sparse_term")["estimate"] for group in (found, plain)
    )
    assert (means > pulled).all()


def test_many_weights_are_expanded_about_modes_and_few_summed_over_nodes():
    fit, _ = cohort(HistoryCell(24, 80, "~ anxiety", anxiety=0.4), 1, ten_states(2))
    many = spice_group(fit, "~ anxiety")
    assert len(many.coefficients.query("term == 'anxiety'")) == 11
    assert many.glance()["converged"].all()
    pd.testing.assert_frame_equal(many.tidy(), spice_group(fit, "~ anxiety", integration="laplace").tidy())
    few, _ = cohort(HistoryCell(24, 80, "~ anxiety", anxiety=0.4), 1)
    nodes, modes = (spice_group(few, "~ anxiety", integration=name).tidy() for name in ("moments", "laplace"))
    pd.testing.assert_frame_equal(spice_group(few, "~ anxiety").tidy(), nodes)
    assert (np.abs(modes["estimate"] - nodes["estimate"]) < 0.25 * nodes["std_error"]).all()
