"""What a group result offers after the fit, and how spice_group hands settings and adjustments to its methods."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError
from spicestat.group import spice_group
from spicestat.group.inference.max_t import max_t_adjust
from tests.group.toy_choices import GaussianChoices, labels


@dataclass(frozen=True)
class ToyFit:
    """Two coefficients whose likelihoods are normal, with age and a diagnosis of everybody."""

    coefficients: CoefficientTable
    likelihood: GaussianChoices

    def choice_likelihood(self):
        return self.likelihood


@pytest.fixture(scope="module")
def fit():
    rng = np.random.default_rng(4)
    n = 30
    people = pd.DataFrame({"age": rng.normal(40, 10, n), "diagnosis": np.where(np.arange(n) % 2, "patient", "control")})
    y = np.column_stack([0.02 * people["age"], rng.normal(0, 0.3, n)]) + rng.normal(0, 0.3, (n, 2))
    toy = GaussianChoices(y, labels(n), np.tile(np.diag([40.0, 60.0]), (n, 1, 1)))
    people.insert(0, "participant", toy.participants)
    frame = pd.DataFrame(
        {
            "participant": np.repeat(toy.participants, 2),
            "module": np.tile(["module0", "module1"], n),
            "term": "1",
            "estimate": y.ravel(),
            "std_error": np.tile([40.0**-0.5, 60.0**-0.5], n),
        }
    )
    return ToyFit(CoefficientTable.from_frame(frame, people=people), toy)


@pytest.fixture(scope="module")
def group(fit):
    return spice_group(fit, "~ age + diagnosis")


def test_a_fit_is_analysed_by_its_choices_and_a_table_by_its_estimates(fit, group):
    assert group.method == "hierarchical"
    assert spice_group(fit.coefficients, "~ age").method == "meta"
    with pytest.raises(ConfigError, match="reads the choices"):
        spice_group(fit.coefficients, "~ age", method="hierarchical")


@pytest.mark.parametrize("method", ["hierarchical", "meta", "ols"])
def test_a_setting_that_the_method_does_not_have_is_an_error(fit, method):
    with pytest.raises(ConfigError, match="no such setting") as caught:
        spice_group(fit, "~ age", method=method, n_cores=3)
    assert "n_cores" in str(caught.value)


def test_everything_after_the_fit_is_there(group):
    means = group.marginal_means("diagnosis").tidy()
    assert means["diagnosis"].tolist() == ["control", "patient"] * 2
    difference = group.contrasts("diagnosis")["estimate"].to_numpy()
    low, high = (means["estimate"].to_numpy()[start::2] for start in (0, 1))
    np.testing.assert_allclose(difference, low - high, rtol=1e-12)
    # treatment contrasts are the coefficients, with the other sign
    fixed = group.tidy().set_index(["module", "term"])["estimate"]
    np.testing.assert_allclose(-difference, fixed.xs("diagnosispatient", level="term"), rtol=1e-9)
    assert set(group.term_tests()["term"]) == {"(Intercept)", "age", "diagnosis"}
    # without a link the average effect is the coefficient
    effects = group.average_effects("age")["estimate"].to_numpy()
    np.testing.assert_allclose(effects, fixed.xs("age", level="term"), rtol=1e-6)
    hypotheses = group.linear_hypotheses({"ten years": {"age": 10.0}})["estimate"].to_numpy()
    np.testing.assert_allclose(hypotheses, 10 * fixed.xs("age", level="term"), rtol=1e-9)
    assert len(group.augment()) == 60
    assert group.standardised()["estimate"].notna().all()
    derived = group.derived_means({"sum": 'module0["1"] + module1["1"]'})
    assert np.isfinite(derived["estimate"]).all()


@pytest.mark.parametrize("kind", ["forest", "caterpillar", "covariate"])
def test_plots_are_figures(group, kind):
    assert group.plot(kind).axes


def test_plots_have_options(group):
    assert group.plot_forest("raw").axes
    assert len(group.plot_caterpillar("observed", equations=[("module0", "1")]).axes) == 1
    assert len(group.plot_covariate("age", "module0", "1").axes) == 1


def test_an_unknown_plot_is_an_error(group):
    with pytest.raises(ConfigError, match="unknown plot"):
        group.plot("pie")


def test_a_covariate_kept_off_a_coefficient_has_no_effect_on_it(fit):
    kept = spice_group(fit, "~ age + diagnosis", covariates_on="module0")
    assert kept.tidy().query("module == 'module1'")["term"].tolist() == ["(Intercept)"]
    means = kept.marginal_means("diagnosis").tidy().query("module == 'module1'")
    assert np.ptp(means["estimate"]) == 0.0
    assert (means["std_error"] > 0).all()
    contrast = kept.contrasts("diagnosis").query("module == 'module1'").iloc[0]
    assert contrast["estimate"] == 0.0 and np.isnan(contrast["p_value"])
    # all coefficients that may depend on it are one, whose test is its own
    together = kept.term_tests(across=True).set_index("term")["p_value"]
    assert together["age"] == pytest.approx(kept.tidy().query("term == 'age'")["p_value"].item())
    assert kept.term_tests(across=True, equations=[("module1", "1")])["p_value"].isna().tolist() == [False, True, True]
    assert "all coefficients / together:" in repr(kept)
    derived = kept.derived_means({"sum": 'module0["1"] + module1["1"]'}, "diagnosis")["estimate"]
    alone = kept.marginal_means("diagnosis", equations=[("module0", "1")]).tidy()["estimate"]
    np.testing.assert_allclose(np.diff(derived), np.diff(alone))


def test_a_posterior_prints_no_tests(fit):
    group = spice_group(fit, "~ age")
    hidden = group.coefficients.assign(p_value=np.nan, p_adjusted=np.nan)
    assert "together" in repr(group)
    assert "together" not in repr(replace(group, coefficients=hidden))


def test_max_t_uses_the_joint_covariance(fit):
    adjusted = spice_group(fit, "~ age", adjust="maxT")
    rows = adjusted.tidy().query("term == 'age'")
    keys = list(rows[["module", "sparse_term", "term"]].itertuples(index=False, name=None))
    block = adjusted.joint_covariance.loc[keys, keys].to_numpy()
    error = np.sqrt(np.diag(block))
    expected = max_t_adjust(rows["statistic"].to_numpy(), block / np.outer(error, error), rows["df"].to_numpy())
    np.testing.assert_allclose(rows["p_adjusted"], expected, rtol=1e-12)
    assert (rows["p_adjusted"] >= rows["p_value"] - 1e-9).all()
    assert (rows["p_adjusted"] <= 2 * rows["p_value"] + 1e-6).all()


def test_max_t_without_joint_covariance_is_an_error(fit):
    with pytest.raises(ConfigError, match="covariance of all effects"):
        spice_group(fit.coefficients, "~ age", adjust="maxT")


def test_permutations_bring_their_own_max_t(fit):
    found = spice_group(fit.coefficients, "~ age", method="permutation", n_permutations=199, adjust="maxT")
    rows = found.tidy().query("term == 'age'")
    assert (rows["p_adjusted"] >= rows["p_value"] - 1e-12).all()


def test_presence_keeps_its_profile_intervals_at_other_levels():
    rng = np.random.default_rng(7)
    ids = [f"s{row:02d}" for row in range(40)]
    age = rng.normal(0, 1, 40)
    has = rng.random(40) < 1 / (1 + np.exp(-age))
    frame = pd.DataFrame({"participant": ids, "module": "x", "term": "1", "estimate": 0.5, "std_error": 0.1})
    extra = frame[has].assign(term="c_reward")
    people = pd.DataFrame({"participant": ids, "age": age})
    found = spice_group(pd.concat([frame, extra]), "~ age", data=people, method="presence")
    wide, narrow = found.tidy(conf_level=0.95), found.tidy(conf_level=0.5)
    row = wide.query("sparse_term == 'c_reward' and term == 'age'").iloc[0]
    # profile intervals of a logistic regression are not symmetric
    assert abs((row["conf_high"] + row["conf_low"]) / 2 - row["estimate"]) > 1e-6
    assert (narrow["conf_low"] > wide["conf_low"]).all() and (narrow["conf_high"] < wide["conf_high"]).all()
