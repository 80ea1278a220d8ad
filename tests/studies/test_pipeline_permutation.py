import math
from itertools import permutations

import joblib
import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from scipy.stats import t as student

from spicestat.errors import ColumnError, ConfigError, ConvergenceWarning, CovariateError, DataError, NumericalError
from spicestat.group import spice_group
from spicestat.studies.pipeline_permutation import pipeline_permutation


class Correlate:
    """A stand-in for a pipeline: correlates a fixed outcome of each participant with the covariates."""

    def __init__(self, outcomes):
        self.outcomes = outcomes

    def __call__(self, people, seed):
        rows = []
        for sparse_term, outcome in self.outcomes.items():
            y = people["participant"].map(outcome).to_numpy(dtype=float)
            rows += [
                ("x_value", sparse_term, "(Intercept)", 3.0),
                ("x_value", sparse_term, "age", np.corrcoef(people["age"], y)[0, 1]),
            ]
        return pd.DataFrame(rows, columns=["module", "sparse_term", "term", "statistic"])


def study(n, seed, slope=0.0, m=2):
    rng = np.random.default_rng(seed)
    people = pd.DataFrame({"participant": [f"s{row}" for row in range(n)], "age": rng.normal(size=n)})
    outcomes = {
        f"t{term}": dict(zip(people["participant"], slope * people["age"] + rng.normal(size=n), strict=True))
        for term in range(m)
    }
    return people, Correlate(outcomes)


def test_all_permutations_give_the_exact_p_value():
    people, refit = study(5, 1, m=1)
    result = pipeline_permutation(refit, people, n_permutations=200)
    assert result.exact and result.n_permutations == math.factorial(5) - 1
    y = people["participant"].map(refit.outcomes["t0"]).to_numpy()
    every = [abs(np.corrcoef(people["age"].to_numpy()[list(row)], y)[0, 1]) for row in permutations(range(5))]
    p = np.mean(np.array(every) >= every[0] - 1e-12)
    assert result.tidy()["p_value"].tolist() == [pytest.approx(p)]
    assert result.tidy()["term"].tolist() == ["age"]


def test_workers_seeds_and_order_of_participants_do_not_change_the_result():
    people, refit = study(12, 2, slope=0.8)
    one = pipeline_permutation(refit, people, n_permutations=39, seed=7)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        configured = pipeline_permutation(refit, people, n_permutations=39, seed=7)
    pd.testing.assert_frame_equal(one.table, configured.table)
    np.testing.assert_array_equal(one.statistics, configured.statistics)
    assert one.n_permutations == 39 and not one.exact
    other = pipeline_permutation(refit, people, n_permutations=39, seed=8)
    assert (one.statistics[1:] != other.statistics[1:]).any()
    np.testing.assert_array_equal(one.statistics[0], other.statistics[0])


def test_each_analysis_has_its_own_seed_and_whole_rows_move():
    people = pd.DataFrame(
        {"participant": list("abcdef"), "age": range(6), "score": range(10, 16), "site": list("xxyyxx")}
    )
    seen = []

    def refit(people, seed):
        seen.append((seed, people))
        return pd.DataFrame({"module": ["m"], "sparse_term": ["1"], "term": ["age"], "statistic": [1.0]})

    pipeline_permutation(refit, people, strata="site", n_permutations=25)
    assert len({seed for seed, _ in seen}) == 26
    pd.testing.assert_frame_equal(seen[0][1], people)
    for _, table in seen:
        assert table["participant"].tolist() == list("abcdef") and table["site"].tolist() == list("xxyyxx")
        assert (table["score"] - table["age"] == 10).all()
        assert {2, 3} == set(table["age"].iloc[[2, 3]])
    assert people["age"].tolist() == list(range(6))


def test_type_one_error_where_a_term_is_picked_by_the_covariate():
    """Error rate: at 5 %, 100 cohorts; the count of rejections is below the 99.95 % binomial quantile.

    The analysis reports the best of ten terms, as a search that saw the covariate would. Its own p-value, which ignores
    the search, rejects in about 40 %.
    """
    rejected = naive = 0
    for seed in range(100):
        y = np.random.default_rng(seed).normal(size=(16, 10))
        people = pd.DataFrame({"participant": range(16), "age": np.random.default_rng(seed + 1000).normal(size=16)})

        def refit(people, seed, y=y):
            best = np.abs(np.corrcoef(people["age"], y, rowvar=False)[0, 1:]).max()
            return pd.DataFrame({"module": ["m"], "sparse_term": ["best"], "term": ["age"], "statistic": [best]})

        result = pipeline_permutation(refit, people, n_permutations=19, seed=seed)
        rejected += bool(result.table["p_value"].iloc[0] <= 0.05)
        r = result.statistics[0, 0]
        naive += 2 * student.sf(r * np.sqrt(14 / (1 - r**2)), 14) <= 0.05
    assert rejected <= binom.ppf(0.9995, 100, 0.05)
    assert naive > 25


def test_what_a_permuted_analysis_does_not_report_counts_as_zero():
    people = pd.DataFrame({"participant": list("abcdefgh"), "age": range(8)})

    def refit(people, seed):
        found = people["age"].tolist() == list(range(8))
        terms = ["age"] if found else ["other"]
        return pd.DataFrame({"module": ["m"], "sparse_term": ["1"], "term": terms, "statistic": [0.5]})

    result = pipeline_permutation(refit, people, n_permutations=19)
    assert result.table["p_value"].tolist() == [1 / 20]
    assert (result.statistics[1:] == 0).all()


def test_failed_analyses_count_against_the_hypothesis():
    people = pd.DataFrame({"participant": list("abcdefgh"), "age": range(8)})

    def refit(people, seed):
        if people["age"].iloc[0] == 3:
            raise NumericalError("no convergence")
        return pd.DataFrame(
            {
                "module": ["m"],
                "sparse_term": ["1"],
                "term": ["age"],
                "statistic": [abs(4.0 if people["age"].tolist() == list(range(8)) else 1.0)],
            }
        )

    with pytest.warns(ConvergenceWarning, match="failed and count"):
        result = pipeline_permutation(refit, people, n_permutations=99)
    assert result.n_failed > 0
    assert result.table["p_value"].iloc[0] == pytest.approx((1 + result.n_failed) / 100)


def test_an_error_that_is_not_ours_ends_the_run():
    people = pd.DataFrame({"participant": list("abcdefgh"), "age": range(8)})
    count = []

    def refit(people, seed):
        count.append(seed)
        if len(count) == 5:
            raise ZeroDivisionError("a bug")
        return pd.DataFrame({"module": ["m"], "sparse_term": ["1"], "term": ["age"], "statistic": [1.0]})

    with pytest.raises(ZeroDivisionError, match="a bug"):
        pipeline_permutation(refit, people, n_permutations=19)


@pytest.mark.parametrize("n_permutations", [99, 50_000], ids=["sample", "enumeration"])
def test_an_interruption_keeps_what_is_finished(n_permutations):
    people, inner = study(8, 5, slope=1.0, m=1)
    count = []

    def refit(people, seed):
        count.append(seed)
        if len(count) == 31:
            raise KeyboardInterrupt
        return inner(people, seed)

    with pytest.warns(ConvergenceWarning, match="interrupted after"):
        result = pipeline_permutation(refit, people, n_permutations=n_permutations)
    assert not result.exact
    assert 1 <= result.n_permutations <= 29
    assert len(result.statistics) == result.n_permutations + 1
    assert result.table["p_value"].iloc[0] >= 1 / (result.n_permutations + 1)


def test_an_interruption_at_once_goes_on():
    people, _ = study(8, 5)

    def refit(people, seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline_permutation(refit, people)


def test_max_t_covers_the_equations_of_a_covariate():
    people, refit = study(14, 9, slope=0.6, m=4)
    result = pipeline_permutation(refit, people, n_permutations=99)
    assert (result.table["p_adjusted"] >= result.table["p_value"]).all()
    largest = result.table["statistic"].abs().argmax()
    exceed = result.statistics.max(axis=1) >= result.statistics[0, largest] - 1e-12
    assert result.table["p_adjusted"].iloc[largest] == pytest.approx(exceed.mean())


def test_a_group_model_can_be_the_analysis(cohort):
    frame, people = cohort(12, seed=4, slope=0.3)

    def refit(people, seed):
        return spice_group(frame, "~ age", data=people, method="ols")

    result = pipeline_permutation(refit, people[["participant", "age"]], n_permutations=19)
    observed = refit(people, 0).tidy().set_index("term").loc["age"]
    assert result.table.loc[0, ["module", "sparse_term", "term"]].tolist() == ["x_value", "reward", "age"]
    assert result.table.loc[0, "statistic"] == observed["statistic"]
    assert result.table.loc[0, "p_value"] <= 0.1


def test_what_cannot_be_permuted_is_named():
    people, refit = study(8, 1)
    with pytest.raises(DataError, match="nothing to permute"):
        pipeline_permutation(refit, people.iloc[:1])
    with pytest.raises(DataError, match="more than one row"):
        pipeline_permutation(refit, pd.concat([people, people]))
    with pytest.raises(CovariateError, match="no covariate"):
        pipeline_permutation(refit, people[["participant"]])
    with pytest.raises(CovariateError, match="not both"):
        pipeline_permutation(refit, people, covariates="age", strata="age")
    with pytest.raises(ColumnError):
        pipeline_permutation(refit, people, covariates="height")
    with pytest.raises(ConfigError, match="n_permutations"):
        pipeline_permutation(refit, people, n_permutations=3)
    with pytest.raises(DataError, match="no statistic to test"):
        pipeline_permutation(refit, people, terms="height", n_permutations=19)
    with pytest.raises(ConfigError, match="gave no table"):
        pipeline_permutation(lambda people, seed: 3.0, people, n_permutations=19)
    constant = people.assign(age=1.0)
    silent = Correlate(refit.outcomes)
    with np.errstate(invalid="ignore", divide="ignore"), pytest.raises(DataError, match="no statistic to test"):
        pipeline_permutation(silent, constant, n_permutations=19)
