"""Let the whole pipeline find the equations of a study: network, structure, refit."""

import pandas as pd

from benchmarks.calibration.model import EquationFit
from benchmarks.calibration.simulate import Study
from spicestat.fit.api import spice_fit

_EPOCHS = 40


def discover_equations(study: Study, seed: int) -> EquationFit:
    """Fit the default model to a study's trials."""
    n, n_trials = study.choices.shape
    trials = pd.DataFrame(
        {
            "participant": [who for who in range(n) for _ in range(n_trials)],
            "choice": study.choices.ravel(),
            "reward": study.rewards.ravel(),
        }
    )
    people = pd.DataFrame({"participant": range(n), "z": study.covariate})
    fit = spice_fit(trials, people=people, model="choice", epochs=_EPOCHS, seed=seed)
    return EquationFit(fit.coefficients, fit.choice_likelihood())
