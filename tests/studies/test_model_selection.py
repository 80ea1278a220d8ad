"""Group model comparison: known limits, symmetries and simulated frequencies."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.studies.model_selection import compare_models, exceedance_probabilities


def evidence_for(counts, strength):
    """People whose log evidence favours their own model by ``strength``."""
    who = np.repeat(np.arange(len(counts)), counts)
    return strength * np.eye(len(counts))[who]


@pytest.mark.parametrize("k", [2, 3, 5])
def test_without_any_evidence_all_models_are_alike(k):
    found = compare_models(np.full((10, k), -3.0))
    for values in (found.frequency, found.exceedance, found.protected_exceedance, found.fixed_probability):
        np.testing.assert_allclose(values, 1 / k, rtol=1e-9)
    np.testing.assert_allclose(found.attribution, 1 / k)
    assert found.omnibus_risk > 0.5


def test_overwhelming_evidence_counts_people():
    found = compare_models(evidence_for([7, 2, 1], 200.0))
    np.testing.assert_allclose(found.alpha, [8, 3, 2], rtol=1e-12)
    np.testing.assert_allclose(found.frequency, np.array([8, 3, 2]) / 13)
    # all labels are known, so that the bound is the Dirichlet-multinomial evidence itself: 2! 7! 2! 1! / 12!
    exact = np.log(2.0 * 5040 * 2 / 479001600) + 10 * 200
    assert found.free_energy == pytest.approx(exact, rel=1e-12)


def test_one_outlier_decides_sums_but_not_frequencies():
    evidence = evidence_for([9, 0], 2.0)
    evidence = np.vstack([evidence, [0.0, 100.0]])
    found = compare_models(evidence)
    assert found.fixed_probability[1] > 0.999
    assert found.frequency[0] > 0.7
    assert found.exceedance[0] > 0.95


def test_protection_depends_on_the_strength_of_evidence():
    weak, strong = (compare_models(evidence_for([9, 3], size)) for size in (0.2, 5.0))
    assert weak.omnibus_risk > 0.5 > strong.omnibus_risk
    for found in (weak, strong):
        expected = found.exceedance * (1 - found.omnibus_risk) + found.omnibus_risk / 2
        np.testing.assert_allclose(found.protected_exceedance, expected)


@given(st.integers(0, 10**6), st.integers(2, 4))
@settings(max_examples=15)
def test_order_of_models_and_each_persons_level_do_not_matter(seed, k):
    rng = np.random.default_rng(seed)
    evidence = rng.normal(0, 3, (12, k))
    order = rng.permutation(k)
    one, other = compare_models(evidence), compare_models(evidence[:, order] + rng.normal(0, 50, (12, 1)))
    np.testing.assert_allclose(other.alpha, one.alpha[order], rtol=1e-6)
    np.testing.assert_allclose(other.protected_exceedance, one.protected_exceedance[order], rtol=1e-5, atol=1e-9)
    assert other.omnibus_risk == pytest.approx(one.omnibus_risk, rel=1e-5)


@given(st.floats(0.2, 300), st.floats(0.2, 300))
@example(0.2, 0.20000000000000004)  # counts that rounding alone tells apart
@settings(max_examples=30)
def test_two_models_exceed_as_the_beta_distribution_says(a, b):
    found = exceedance_probabilities(np.array([a, b]))
    np.testing.assert_allclose(found[0], beta.sf(0.5, a, b), rtol=1e-9, atol=1e-12)
    # a third model that nobody uses changes nothing
    three = exceedance_probabilities(np.array([a, b, 1e-3]))
    np.testing.assert_allclose(three[:2], found, atol=2e-3)


def test_exceedance_probabilities_agree_with_draws():
    """200 000 draws: a difference of 5 standard errors fails, of any of 4 probabilities (chance 2e-6)."""
    alpha = np.array([12.0, 10.5, 3.0, 0.7])
    draws = np.random.default_rng(1).dirichlet(alpha, 200_000).argmax(axis=1)
    expected = exceedance_probabilities(alpha)
    error = np.sqrt(expected * (1 - expected) / 200_000)
    assert (np.abs(np.bincount(draws, minlength=4) / 200_000 - expected) < 5 * error).all()


@pytest.mark.parametrize(
    ("evidence", "kind"),
    [(np.zeros((3, 1)), ShapeError), (np.zeros(3), ShapeError), (np.array([[0, np.nan]]), DataError)],
)
def test_unusable_evidence_is_refused(evidence, kind):
    with pytest.raises(kind):
        compare_models(evidence)


def test_settings_are_checked():
    with pytest.raises(ConfigError, match="prior"):
        compare_models(np.zeros((3, 2)), prior=0.0)
    with pytest.raises(DataError, match="positive"):
        exceedance_probabilities(np.array([1.0, 0.0]))
    assert not compare_models(evidence_for([5, 3], 1.0), max_iter=1).converged
