"""The parts of benchmarks/tutorial4 that judge: extraction of the code, the oracle, the scoring."""

import copy
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.tutorial4 import blocks as extraction  # noqa: E402
from benchmarks.tutorial4.equations import NOT_CHOSEN, RATE, Equations, run  # noqa: E402
from benchmarks.tutorial4.oracle import NAMES, fit_oracle, likelihood, truth_nll  # noqa: E402
from benchmarks.tutorial4.results import fingerprint  # noqa: E402
from benchmarks.tutorial4.score import (  # noqa: E402
    FREE,
    KEPT,
    RIGHT,
    found_by_autospice,
    found_by_spicestat,
    score_participant,
    structure_is_right,
    wrong_terms,
)
from benchmarks.tutorial4.simulate import TRUTH, Choices, features, from_features, simulate  # noqa: E402
from benchmarks.tutorial4.table import criteria, missed  # noqa: E402

OWN = {RATE: RATE, NOT_CHOSEN: NOT_CHOSEN}


def data_of(participant: int, n_sessions: int = 40) -> Choices:
    return simulate(TRUTH[participant], n_sessions, 100, np.random.default_rng([7, participant]))


def person(participant: int, **changes: tuple[int, float]) -> dict:
    """What the spicestat side writes for a participant whose equations are the true ones, but for ``changes``."""
    truth = TRUTH[participant]
    terms = {
        (RATE, "1"): (FREE, truth.alpha),
        (RATE, RATE): (0, 0.0),
        (RATE, "c_reward"): (0, 0.0),
        (NOT_CHOSEN, "1"): (FREE if truth.constant else 0, truth.constant),
        (NOT_CHOSEN, NOT_CHOSEN): (RIGHT[participant][NOT_CHOSEN][NOT_CHOSEN], truth.slope),
        ("beta", "x_value_reward"): (FREE, truth.beta),
    }
    for key, change in changes.items():
        module, _, term = key.partition("__")
        terms[{"rate": RATE, "kept": NOT_CHOSEN}[module], OWN[NOT_CHOSEN] if term == "V" else term.strip("_")] = change
    return {
        "terms": [
            {
                "module": module,
                "term": term,
                "status": status,
                "estimate": value,
                "std_error": 0.02 if status == FREE else None,
            }
            for (module, term), (status, value) in terms.items()
        ]
    }


def test_blocks_are_the_document_to_the_letter_but_for_the_two_seeds():
    if not extraction.TUTORIAL.exists():
        pytest.skip("the seed documents are not here")
    document = extraction.TUTORIAL.read_text()
    blocks = extraction.code_blocks(document)
    assert len(blocks) == document.count("```python\n") == 12
    assert all(f"```python\n{block}```" in document for block in blocks)
    seeded = extraction.code_blocks(document, seed=1234)
    changed = [
        (old, new)
        for block, other in zip(blocks, seeded, strict=True)
        for old, new in zip(block.splitlines(), other.splitlines(), strict=True)
        if old != new
    ]
    assert changed == [
        ("np.random.seed(42)", "np.random.seed(1234)"),
        ("torch.manual_seed(42)", "torch.manual_seed(1234)"),
    ]
    assert extraction.DATA_READY in extraction.data_blocks(blocks)[-1]
    assert len(extraction.data_blocks(blocks)) == 3
    assert "CUSTOM_RNN_CONFIG = SpiceConfig(" in extraction.custom_model_block(blocks)


def test_a_document_without_the_two_seeds_is_refused():
    with pytest.raises(ValueError, match="seed"):
        extraction.code_blocks("```python\nnp.random.seed(42)\n```\n", seed=1)


@pytest.mark.parametrize("participant", [0, 1])
def test_oracle_recovers_the_truth(participant):
    fitted = fit_oracle(data_of(participant, 100), participant)
    for name in NAMES[participant]:
        # six parameters over both participants at 3.9 standard errors: wrong once in 1,700 seeds
        assert abs(fitted.estimate[name] - getattr(TRUTH[participant], name)) < 3.9 * fitted.std_error[name]
    assert fitted.nll < truth_nll(data_of(participant, 100), TRUTH[participant])


def test_oracle_errors_match_the_scatter_of_its_estimates():
    # 40 replicates: the ratio of variances lies within [0.4, 1.9] for 99.9 % of seeds
    fits = [fit_oracle(simulate(TRUTH[1], 25, 100, np.random.default_rng([3, seed])), 1) for seed in range(40)]
    for name in NAMES[1]:
        scatter = np.std([fitted.estimate[name] for fitted in fits], ddof=1)
        claimed = np.mean([fitted.std_error[name] for fitted in fits])
        assert 0.4 < (scatter / claimed) ** 2 < 1.9


@pytest.mark.parametrize("participant", [0, 1])
def test_oracle_gradient_equals_differences(participant):
    names, data = NAMES[participant], data_of(participant, 5)
    theta = np.array([{"alpha": 0.6, "constant": 0.1, "slope": 0.7, "beta": 2.0}[name] for name in names])
    steps = np.eye(len(names)) * 1e-6
    numeric = [likelihood(theta + step, names, data)[0] - likelihood(theta - step, names, data)[0] for step in steps]
    np.testing.assert_allclose(likelihood(theta, names, data)[1], np.array(numeric) / 2e-6, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("participant", [0, 1])
def test_equations_and_oracle_step_alike(participant):
    truth, data = TRUTH[participant], data_of(participant, 5)
    terms = {RATE: {"1": truth.alpha}, NOT_CHOSEN: {"1": truth.constant, NOT_CHOSEN: truth.slope}}
    ran = run(Equations(terms, truth.beta), data)
    assert ran.nll == pytest.approx(truth_nll(data, truth), abs=1e-12)
    assert ran.mean_rate == pytest.approx(truth.alpha)


def test_own_state_of_the_learning_rate_is_kept_only_on_repeats():
    data = Choices(np.array([[0, 0, 1, 0]]), np.ones((1, 4)), np.zeros((1, 4), dtype=int))
    ran = run(Equations({RATE: {"1": 0.4, RATE: 0.5}}, 1.0), data)
    assert ran.mean_rate == pytest.approx((0.4 + 0.6 + 0.4 + 0.4) / 4)


def test_features_and_back():
    xs = np.concatenate([features(data_of(code, 3), code) for code in range(2)])
    ys = np.concatenate([np.eye(2)[data_of(code, 3).target] for code in range(2)])
    for code, back in enumerate(from_features(xs, ys)):
        for name in ("choice", "reward", "target"):
            np.testing.assert_array_equal(getattr(back, name), getattr(data_of(code, 3), name))
    other = xs.copy()
    other[0, 0, :2] = other[0, 0, 1::-1]
    assert fingerprint(np.nan_to_num(xs, nan=-1.0), ys) == fingerprint(xs, ys) != fingerprint(other, ys)


@pytest.mark.parametrize("participant", [0, 1])
def test_the_true_structure_is_right(participant):
    found = found_by_spicestat(person(participant))
    assert structure_is_right(found, participant)
    assert wrong_terms(found, participant) == []


@pytest.mark.parametrize(
    ("participant", "change", "said"),
    [
        (0, {"rate__c_reward": (FREE, -0.1)}, "also c_reward"),
        (0, {"rate__1": (0, 0.0)}, "no 1"),
        (0, {"kept__1": (0, 0.0)}, "no 1"),
        (0, {"kept__V": (KEPT, 1.0)}, "x_value_reward_not_chosen kept"),
        (1, {"kept__V": (FREE, 1.001)}, "x_value_reward_not_chosen estimated"),
        (1, {"kept__1": (FREE, 0.01)}, "also 1"),
        (1, {"kept__V": (0, 0.0)}, "no x_value_reward_not_chosen"),
    ],
)
def test_a_wrong_structure_is_flagged(participant, change, said):
    found = found_by_spicestat(person(participant, **change))
    assert not structure_is_right(found, participant)
    assert len(wrong_terms(found, participant)) == 1
    assert said in wrong_terms(found, participant)[0]


def test_snapped_coefficients_of_autospice_count_as_kept():
    right = {"modules": {RATE: {"1": 0.2}, NOT_CHOSEN: {NOT_CHOSEN: 1.0}}, "beta": 3.0}
    assert structure_is_right(found_by_autospice(right), 1)
    assert not structure_is_right(found_by_autospice(right), 0)


def scored_seed(people: list[dict], seed: int = 1) -> dict:
    scores = []
    for code, who in enumerate(people):
        data = data_of(code)
        found = found_by_spicestat(who)
        scored = score_participant(found, code, seed, run(found.equations, data), fit_oracle(data, code))
        scores.append({**scored, "rnn_nll_excess": 0.0})
    return {
        "model": {
            "structure": all(score["structure"] for score in scores),
            "participants": scores,
            "seconds": 1.0,
            "cpu_seconds": 1.0,
        }
    }


def at_oracle() -> list[dict]:
    """Both participants as an ideal fit would report them."""
    people = [person(0), person(1)]
    for code, who in enumerate(people):
        fitted = fit_oracle(data_of(code), code)
        names = {(RATE, "1"): "alpha", (NOT_CHOSEN, "1"): "constant", (NOT_CHOSEN, NOT_CHOSEN): "slope"}
        names["beta", "x_value_reward"] = "beta"
        for term in who["terms"]:
            name = names.get((term["module"], term["term"]))
            if name in fitted.estimate:
                term["estimate"], term["std_error"] = fitted.estimate[name], fitted.std_error[name]
    return people


def test_criteria_accept_the_oracles_own_fit_and_see_what_is_off():
    good = scored_seed(at_oracle())
    figures = criteria({1: good}, "model")
    assert (figures["structure"], figures["near"], figures["quantities"]) == (1, 6, 6)
    assert figures["largest_nll_excess"] < 0.003
    assert missed(figures) == ([] if figures["covers"] == 6 else ["coverage"])

    people = at_oracle()
    beta = people[1]["terms"][-1]
    beta["estimate"] += beta["std_error"]
    off = criteria({1: scored_seed(people)}, "model")
    assert off["near"] == 5
    assert off["largest_distance"] == pytest.approx(1.0)

    bare = at_oracle()
    for term in bare[0]["terms"]:
        term["std_error"] = None
    assert criteria({1: scored_seed(bare)}, "model")["covers"] == figures["covers"] - sum(
        quantity["covers"] for quantity in good["model"]["participants"][0]["quantities"].values()
    )


def test_one_wrong_participant_spoils_the_seed():
    people = at_oracle()
    wrong = copy.deepcopy(people)
    wrong[0]["terms"][2].update(status=FREE, estimate=0.3, std_error=0.02)
    figures = criteria({1: scored_seed(people), 2: scored_seed(wrong)}, "model")
    assert figures["structure"] == 1
    assert figures["structure_by_participant"] == [1, 2]
    assert figures["largest_nll_excess"] > 0.003
    assert {"structure", "fresh NLL"} <= set(missed(figures))
