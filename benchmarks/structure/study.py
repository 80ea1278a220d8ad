"""One fit of the study: ``python -m benchmarks.structure.study SEED TRIALS CRITERION OUT.json [PARTICIPANTS]``.

Simulates a cohort, fits the choice model with a structure per participant, and saves the structures found. With the
criterion "evidence", the default, also those of the sparse regression alone, and of a comparison of the four true
equations by BIC: what a modeller could do who knows all four candidates beforehand.
"""

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np

from benchmarks.structure.score import CHOICE, NOT_CHOSEN, RATE, true_status
from benchmarks.structure.simulate import BLOCK, MECHANISMS, Cohort, arrays, make_cohort
from benchmarks.tutorial4.results import fingerprint, write_json
from spicestat.equations.estimate.refit import refit
from spicestat.equations.select.criteria import Criterion
from spicestat.equations.structure.equation_set import BETA, FREE, EquationSet
from spicestat.errors import ConvergenceWarning
from spicestat.fit.estimator import SpiceEstimator
from spicestat.models.precoded import CHOICE_RNN_CONFIG, ChoiceRNN
from spicestat.trials.sequences import SequenceDataset

SETTINGS: dict[str, Any] = {"epochs": 128, "learning_rate": 1e-2, "dropout": 0.1}
N_BLOCKS = 4

_STARTS = {
    (RATE, "1"): 0.4,
    (RATE, "c_reward"): 0.1,
    (NOT_CHOSEN, "1"): 0.2,
    (NOT_CHOSEN, NOT_CHOSEN): 0.6,
    (CHOICE, CHOICE): 0.4,
    (CHOICE, "c_action"): 1.0,
    (BETA, "x_value_reward"): 4.0,
}


def fit_cohort(cohort: Cohort, n_blocks: int, seed: int, criterion: Criterion = "evidence") -> SpiceEstimator:
    """Fit everybody's first ``n_blocks`` blocks."""
    estimator = SpiceEstimator(
        ChoiceRNN,
        CHOICE_RNN_CONFIG,
        n_participants=len(cohort.mechanism),
        spice_structure="participant",
        spice_criterion=criterion,
        random_state=seed,
        **SETTINGS,
    )
    with warnings.catch_warnings():
        # a coefficient at its bound is one of the outcomes that are counted
        warnings.simplefilter("ignore", ConvergenceWarning)
        return estimator.fit(*arrays(cohort, n_blocks))


def known_four(estimator: SpiceEstimator, cohort: Cohort, n_blocks: int) -> np.ndarray:
    """Position in `MECHANISMS` (P,) of the true equations, among the four, that have the best BIC."""
    data = SequenceDataset.from_arrays(*arrays(cohort, n_blocks), len(cohort.mechanism))
    found = estimator.equations_
    n_choices = data.trials_per_participant.numpy()
    values = np.broadcast_to([_STARTS.get(term, 0.0) for term in found.terms], found.status.shape)
    scores = []
    for kind in range(len(MECHANISMS)):
        status = true_status(np.full(len(found.status), kind), list(found.terms))
        candidate = EquationSet(found.libraries, found.states, values, status).with_coefficients(values)
        fitted = refit(estimator.rnn_model_, data, candidate)
        price = 0.5 * np.log(n_choices) * (status == FREE).sum(axis=1)
        scores.append(np.nan_to_num(fitted.log_likelihood, nan=-np.inf) - price)
    best: np.ndarray = np.argmax(scores, axis=0)
    return best


def describe(estimator: SpiceEstimator, cohort: Cohort) -> dict[str, Any]:
    """What was found, beside the truth, as lists over participants."""
    equations, refitted = estimator.equations_, estimator.refit_
    return {
        "mechanism": cohort.mechanism.tolist(),
        "parameters": {name: values.tolist() for name, values in cohort.parameters.items()},
        "terms": [list(term) for term in equations.terms],
        "status": equations.status.tolist(),
        "coefficients": equations.coefficients.tolist(),
        "inclusion": estimator.inclusion_.tolist(),
        "sparse": estimator.sparse_.coefficients.tolist(),
        "sparse_threshold": estimator.spice_optim_threshold,
        "identified": (refitted.converged & ~refitted.unidentified).tolist(),
    }


def main(seed: int, trials: int, criterion: Criterion, out: Path, n_participants: int = 64) -> None:
    """Fit and save."""
    import torch

    cohort, n_blocks = make_cohort(seed, n_participants, N_BLOCKS), trials // BLOCK
    started, cpu = time.perf_counter(), time.process_time()
    estimator = fit_cohort(cohort, n_blocks, seed, criterion)
    content = {
        "seed": seed,
        "trials": trials,
        "criterion": criterion,
        "settings": SETTINGS,
        "data": fingerprint(*arrays(cohort, n_blocks)),
        "seconds": time.perf_counter() - started,
        "cpu_seconds": time.process_time() - cpu,
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        **describe(estimator, cohort),
    }
    if criterion == "evidence":
        content["known_four"] = known_four(estimator, cohort, n_blocks).tolist()
    write_json(out, content)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), cast(Criterion, sys.argv[3]), Path(sys.argv[4]), *map(int, sys.argv[5:]))
