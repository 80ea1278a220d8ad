"""The engine's side of a study: the true equations, their refit, and an object that spice_group takes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.calibration.simulate import Study
from spicestat.coefficients import CoefficientTable
from spicestat.equations.estimate.group_likelihood import EquationLikelihood
from spicestat.equations.estimate.refit import RefitResult, refit
from spicestat.equations.structure.equation_set import FREE, EquationSet
from spicestat.equations.structure.library import ModuleLibrary
from spicestat.models.precoded.learning_rate import LearningRateRNN
from spicestat.trials.sequences import SequenceDataset

RATE, KEPT, BETA = "x_learning_rate_reward", "x_value_reward_not_chosen", "beta"
_START = (0.35, 0.7, 3.0)


class _FromZero(LearningRateRNN):
    """Values start at 0, for rewards of -.5 and .5."""

    init_values = {"x_value_reward": 0.0, "x_learning_rate_reward": 0.0}


@dataclass(frozen=True)
class EquationFit:
    """What `spice_group` needs of a fit."""

    coefficients: CoefficientTable
    likelihood: EquationLikelihood

    def choice_likelihood(self) -> EquationLikelihood:
        """Return the likelihood of the choices."""
        return self.likelihood


def true_equations(n: int) -> EquationSet:
    """Learning rate ~ 1; value not chosen ~ own value; beta."""
    libraries = (ModuleLibrary(RATE, (RATE,), ((0,),)), ModuleLibrary(KEPT, (KEPT,), ((1,),)))
    start = np.tile(_START, (n, 1))
    return EquationSet(libraries, ("x_value_reward",), start, np.full((n, 3), FREE, dtype="int8"))


def fit_equations(study: Study, forget_to_start: bool) -> EquationFit:
    """Estimate the true equations from the choices."""
    n = len(study.covariate)
    model = (_FromZero if forget_to_start else LearningRateRNN)(n_actions=2, n_participants=n)
    data = study.dataset()
    # everybody starts at the same values, so the default second start, their median, would add nothing
    found = refit(model, data, true_equations(n), starts=[])
    people = pd.DataFrame({"participant": np.arange(n), "z": study.covariate})
    return EquationFit(_table(found, people), _likelihood(model, data, found, n))


def _likelihood(model: LearningRateRNN, data: SequenceDataset, found: RefitResult, n: int) -> EquationLikelihood:
    return EquationLikelihood(model, data, found.equations, range(n))


def _table(found: RefitResult, people: pd.DataFrame) -> CoefficientTable:
    n, n_terms = found.equations.coefficients.shape
    frame = pd.DataFrame(
        {
            "participant": np.repeat(np.arange(n), n_terms),
            "module": [module for module, _ in found.equations.terms] * n,
            "term": [term for _, term in found.equations.terms] * n,
            "estimate": found.equations.coefficients.ravel(),
            "std_error": np.sqrt(np.diagonal(found.covariance, axis1=1, axis2=2)).ravel(),
            "converged": np.repeat(found.converged, n_terms),
            "at_bound": found.at_bound.ravel(),
        }
    )
    return CoefficientTable.from_frame(frame, found.covariance, people)
