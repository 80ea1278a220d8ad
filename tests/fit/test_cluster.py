"""Independent fits run on a cluster through joblib: a local Dask cluster of two processes gives the same numbers."""

import joblib
import numpy as np
import pandas as pd
import pytest
from distributed import LocalCluster

from spicestat.equations.discover import SparseSettings
from spicestat.equations.sparse_tuning import tune_sparse
from spicestat.fit.api import spice_fit
from spicestat.simulate import BanditsDrift, simulate_cohort
from spicestat.studies.pipeline_permutation import pipeline_permutation
from spicestat.studies.power import spice_power
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset

# networks of these tests are trained for a few epochs only
pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ContradictionWarning")


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local, local.get_client():
        yield local


def on_the_cluster(cluster, function):
    before = cluster.scheduler.transition_counter
    with joblib.parallel_config(backend="dask"):
        found = function()
    # else the tasks ran here
    assert cluster.scheduler.transition_counter > before
    return found


@pytest.fixture(scope="module")
def fit():
    cohort = simulate_cohort(8, 120, n_blocks=2, seed=2)
    return spice_fit(read_trials(cohort.trials, block="block"), model="rescorla_wagner", epochs=1)


def test_studies_for_a_power_analysis(cluster, fit):
    coefficient = ("x_value_reward_chosen", "c_reward")

    def study():
        return spice_power(
            fit, coefficient, effect=0.3, n_participants=8, n_trials=60, environment=BanditsDrift(0.2), n_simulations=4
        ).studies

    pd.testing.assert_frame_equal(on_the_cluster(cluster, study), study())


def test_tuning_of_the_sparse_regression(cluster, fit):
    data = SequenceDataset.from_trials(fit.trials)
    settings = SparseSettings(degree=1, threshold=0.05, alpha=0.001, structure="participant")

    def tune():
        model, config = fit.model.network, fit.estimator.spice_config
        return tune_sparse(model, data, config, settings, 4, seed=1).values

    assert on_the_cluster(cluster, tune) == pytest.approx(tune(), rel=1e-12)


def correlation(people, seed):
    """As statistic, how a fixed outcome goes with age."""
    outcome = np.sin(np.arange(len(people)))
    r = np.corrcoef(people["age"], outcome)[0, 1]
    return pd.DataFrame({"module": ["x"], "sparse_term": ["1"], "term": ["age"], "statistic": [r]})


def test_permutations_of_the_pipeline(cluster):
    people = pd.DataFrame({"participant": list("abcdefgh"), "age": [20, 31, 40, 52, 60, 25, 33, 47]})

    def permute():
        return pipeline_permutation(correlation, people, n_permutations=19, seed=1).tidy()

    pd.testing.assert_frame_equal(on_the_cluster(cluster, permute), permute())
