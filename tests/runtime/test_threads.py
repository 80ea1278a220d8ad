"""Fits in several threads of one process give the numbers of single ones."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from spicestat._runtime.blas import on_one_blas_thread, one_blas_thread
from spicestat._runtime.threads import one_thread
from spicestat.fit.api import spice_fit
from spicestat.group import api, spice_group
from spicestat.simulate import simulate_cohort

pytestmark = pytest.mark.filterwarnings("ignore::spicestat.errors.ConvergenceWarning")


def fitted(seed):
    cohort = simulate_cohort(3, 40, n_blocks=2, seed=seed)
    fit = spice_fit(cohort.trials, block="block", model="learning_rate", epochs=10, seed=seed)
    return fit.tidy()["estimate"].to_numpy()


def test_fits_in_threads_are_those_of_single_runs():
    """Of six in the review, six differed, one by 29.7."""
    seeds, state, threads = [1, 2, 3], torch.get_rng_state(), torch.get_num_threads()
    single = [fitted(seed) for seed in seeds]
    with ThreadPoolExecutor(len(seeds)) as pool:
        together = list(pool.map(fitted, seeds))
    for alone, other in zip(single, together, strict=True):
        np.testing.assert_array_equal(alone, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_blocks_that_overlap_leave_the_number_of_threads_as_it_was():
    inner, outer = threading.Event(), threading.Event()
    before = torch.get_num_threads()
    torch.set_num_threads(2)

    def other():
        with one_thread():
            inner.set()
            outer.wait(10)
            assert torch.get_num_threads() == 1

    thread = threading.Thread(target=other)
    with one_thread():
        thread.start()
        assert inner.wait(10)
        with one_thread():
            pass
        assert torch.get_num_threads() == 1
    outer.set()
    thread.join()
    with one_thread():
        pass
    torch.set_num_threads(before)


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


def test_linear_algebra_has_one_thread_inside_and_those_it_had_afterwards():
    @on_one_blas_thread
    def nested():
        with one_thread():
            return blas_threads()

    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            assert nested() == {1}
            assert blas_threads() == {1}
        assert blas_threads() == {2}
        with pytest.raises(RuntimeError), one_blas_thread():
            raise RuntimeError
        assert blas_threads() == {2}
        assert nested() == {1}
        assert blas_threads() == {2}


def test_a_group_model_runs_with_one_thread_of_linear_algebra(monkeypatch):
    """With two, groups of occasions took nine times the processor time."""
    seen = []
    table = pd.DataFrame({"participant": range(9), "estimate": np.arange(9.0) ** 1.1, "std_error": 1.0})
    table = table.assign(module="beta", term="value")
    own = api._estimate

    def watched(*arguments):
        seen.append(blas_threads())
        return own(*arguments)

    monkeypatch.setattr(api, "_estimate", watched)
    with threadpool_limits(2, user_api="blas"):
        spice_group(table, "~ 1", method="meta")
    assert seen == [{1}]
