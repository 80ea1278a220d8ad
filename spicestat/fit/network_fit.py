"""SpiceFit: a network, the equations read off it, and everybody's coefficients."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from spicestat._display import html_block, screen, shortlist
from spicestat.coefficients import CoefficientTable
from spicestat.equations.estimate.forward import equation_nll
from spicestat.equations.estimate.group_likelihood import EquationLikelihood
from spicestat.equations.estimate.population import pool_people
from spicestat.equations.estimate.prior import NormalPrior
from spicestat.equations.structure.equation_set import BETA, EXCLUDED, FREE
from spicestat.equations.structure.units import in_unit_of_data
from spicestat.errors import (
    ContradictionWarning,
    ConvergenceWarning,
    warn_user,
)
from spicestat.fit.any_fit import AnyFit
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.evidence import ModelEvidence, population_size
from spicestat.fit.fitted_model import FittedModel
from spicestat.fit.plausibility import baseline_nll, contradictions
from spicestat.fit.storage import pack_model
from spicestat.fit.table import By, column_by, fit_info, lay_out_refit
from spicestat.training.evaluate import rnn_nll
from spicestat.trials.reading import TrialTable
from spicestat.trials.sequences import SequenceDataset

__all__ = ["SpiceFit", "assemble_fit", "pooled_coefficients"]


@dataclass(frozen=True, eq=False)
class SpiceFit(AnyFit):
    """A fitted model: equations, coefficients with uncertainty, and what they came from.

    Attributes
    ----------
    trials : TrialTable
        The checked trials.
    model : FittedModel
        Network, equations and their estimates.
    coefficients : CoefficientTable
        One row per participant, module and term. ``estimate`` and ``std_error`` are maximum likelihood of each
        participant alone; ``pooled`` and ``pooled_sd`` are most probable values and standard deviations under the
        population of all participants, see `pool_people`. Predictions and simulations use the latter.
    scores : DataFrame
        ``model`` (rnn, equations, refit), ``nll`` (mean negative log-likelihood per choice, nats; with
        response times that of choice and time) and ``n_trials``: the RNN, the sparse equations read off
        it, and the refitted equations.
    """

    trials: TrialTable
    model: FittedModel
    coefficients: CoefficientTable
    scores: pd.DataFrame

    @property
    def estimator(self) -> SpiceEstimator:
        """The same model with the methods of SPICE: `predict` on arrays, agents, files, and fitting anew."""
        return SpiceEstimator.from_model(self.model)

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole fit.

        ``nll_shares`` and ``nll_guessing`` score predictions that use no history, by choice shares and by guessing (NaN
        with response times). ``contradictions`` names scores that cannot all be true ("" where nothing is wrong), and
        ``rewards`` says what rewards were divided by and where values start. ``converged`` is said of the population
        under which people are pooled, ``share_guessing`` of its people: so many choose as if by chance.
        """
        refit, population = self.model.refit, self.coefficients.info["population"]
        n_free = (self.model.equations.status == FREE).sum(axis=1)
        log_lik = float(refit.log_likelihood.sum())
        nll = self.scores.set_index("model")["nll"].to_dict()
        row = {
            "model": self.coefficients.info["model"],
            "n_participants": self.trials.n_participants,
            "n_excluded": len(self.trials.record["excluded"]),
            "n_actions": self.trials.n_actions,
            "nobs": int(refit.n_trials.sum()),
            "n_coefficients": int(n_free.sum()),
            "log_lik": log_lik,
            "aic": 2 * int(n_free.sum()) - 2 * log_lik,
            # every coefficient is estimated from its participant's choices, as in spice_compare()
            "bic": float(n_free @ np.log(np.maximum(refit.n_trials, 1))) - 2 * log_lik,
            **{f"nll_{name}": nll.get(name, math.nan) for name in ("rnn", "equations", "refit", "shares", "guessing")},
            "contradictions": "; ".join(self.contradictions),
            "rewards": self.trials.record["reward_note"],
            "share_unidentified": self.coefficients.share_unidentified,
            "converged": population["converged"],
            "share_guessing": population["share_guessing"],
            "epochs": len(self.model.training.train_nll),
            "stopped": self.model.training.stopped,
        }
        return pd.DataFrame([row])

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What in the scores cannot be true, or is no better than guessing, in words; usually nothing."""
        return contradictions(dict(zip(self.scores["model"], self.scores["nll"], strict=True)))

    def model_by(self, by: By) -> FittedModel:
        """Return the model with everybody's pooled coefficients, or with their own estimates.

        Raises
        ------
        ConfigError
            ``by`` is neither "pooled" nor "ml".
        """
        values = self.coefficients.wide(column_by(by)).to_numpy() / self.model.unit_factors
        equations = self.model.equations.with_coefficients(values)
        return self.model.with_refit(replace(self.model.refit, equations=equations))

    @property
    def population(self) -> NormalPrior:
        """Mean and covariance of everybody's coefficients, in the model's own unit of reward."""
        kept = self.coefficients.info["population"]
        return NormalPrior(np.array(kept["mean"]), np.array(kept["covariance"]))

    def equations_frame(self, by: By = "pooled") -> pd.DataFrame:
        """Return the equations as text, with rewards in the unit of the data: ``participant, module, equation``.

        Parameters
        ----------
        by : {"pooled", "ml"}, default "pooled"
            Whether coefficients are pooled, or each participant's own estimates.

        Raises
        ------
        ConfigError
            ``by`` is neither.
        """
        model = self.model_by(by)
        equations = in_unit_of_data(model.equations, model.unit_factors)
        rows = [
            {"participant": label, "module": module, "equation": text}
            for code, label in enumerate(self.trials.participants)
            for module, text in equations.text(code).items()
        ]
        return pd.DataFrame(rows)

    @property
    def has_times(self) -> bool:
        """Whether response times are part of the likelihood."""
        return self.model.network.needs_times

    def model_evidence(self) -> ModelEvidence:
        """Return what the choices say of the model; the population has means, covariances and a share who guess."""
        refit, free = self.model.refit, self.model.equations.status == FREE
        return ModelEvidence(
            n_choices=refit.n_trials,
            by_chance=-refit.n_trials * math.log(self.trials.n_actions),
            log_lik=refit.log_likelihood,
            n_own=free.sum(axis=1),
            log_marginal=np.array(self.coefficients.info["population"]["log_marginal"]),
            n_population=population_size(int(free.any(axis=0).sum())) + (not self.has_times),
        )

    def choice_likelihood(self) -> EquationLikelihood:
        """Return the likelihood of the choices as a function of everybody's coefficients, in the unit of the data."""
        model, data = self.model, SequenceDataset.from_trials(self.trials)
        return EquationLikelihood(
            model.network, data, model.equations, self.trials.participants, factors=model.unit_factors
        )

    def _own_files(self) -> dict[str, bytes]:
        return pack_model(self.model, {"scores": self.scores.to_dict("list")})

    def __repr__(self) -> str:
        return screen("\n".join(self._described()), "glance(), equations_frame() and tidy()")

    def _repr_html_(self) -> str:
        title, *notes = self._described()
        columns = ["participant", "module", "term", "estimate", "std_error", "selected"]
        return html_block(title, notes, self.coefficients.frame[columns])

    def _described(self) -> list[str]:
        """Return model, equations and scores, a line each."""
        glance = self.glance().iloc[0]
        status = self.model.equations.status
        terms: dict[str, list[str]] = {}
        for (module, term), column in zip(self.coefficients.terms, status.T, strict=True):
            if module != BETA:
                name = f"{term} (kept)" if (column != FREE).all() else term
                terms.setdefault(module, []).extend([name] if (column != EXCLUDED).any() else [])
        structure = "; ".join(f"{module} ~ {' + '.join(names) or '0'}" for module, names in terms.items())
        scores = (
            f"NLL per choice: RNN {glance['nll_rnn']:.4f}, equations {glance['nll_equations']:.4f}, "
            f"refit {glance['nll_refit']:.4f}"
        )
        if not math.isnan(glance["nll_shares"]):
            scores += f"; choice shares {glance['nll_shares']:.4f}, guessing {glance['nll_guessing']:.4f}"
        return [
            f"SpiceFit: {glance['model']}, {self.coefficients.counted}, {glance['nobs']} choices "
            f"among {shortlist(self.trials.actions)}",
            str(self.trials.record["reward_note"]),
            f"equations: {structure}",
            scores,
            *(f"note: {text}" for text in self.contradictions),
            *([] if glance["converged"] else ["note: the estimation of the population did not converge"]),
        ]


def assemble_fit(
    table: TrialTable, data: SequenceDataset, model: FittedModel, name: str, population: NormalPrior | None = None
) -> SpiceFit:
    """Put a fit together from its trials and a fitted model; ``name`` is the model's, to show.

    With a ``population`` people are pooled under that one, else under their own.
    """
    nll = {
        "rnn": rnn_nll(model.network, data),
        "equations": equation_nll(model.network, data, model.sparse),
        "refit": model.refit.nll,
    }
    if not model.network.needs_times:
        # a density of response times cannot be compared with probabilities of choices
        nll |= baseline_nll(data)
    scores = pd.DataFrame({"model": list(nll), "nll": list(nll.values()), "n_trials": int(data.mask.sum())})
    info = fit_info(table, name, model.architecture.random_state, model.settings["spice_structure"])
    coefficients = pooled_coefficients(table, data, model, info, population)
    fit = SpiceFit(table, model, coefficients, scores)
    for text in fit.contradictions:
        warn_user(text + ".", ContradictionWarning)
    return fit


def pooled_coefficients(
    table: TrialTable,
    data: SequenceDataset,
    model: FittedModel,
    info: Mapping[str, Any],
    population: NormalPrior | None = None,
) -> CoefficientTable:
    """Lay a model's estimates out, own and pooled, and keep the population in ``info``."""
    pooled = pool_people(model.network, data, model.refit, population)
    if not pooled.converged:
        warn_user("the estimation of the population did not converge.", ConvergenceWarning)
    found = {
        **{name: values.tolist() for name, values in vars(pooled.population).items()},
        "converged": pooled.converged,
        "log_marginal": pooled.log_marginal.tolist(),
        "share_guessing": float(pooled.guesses.sum() / max((model.refit.n_trials > 0).sum(), 1)),
    }
    kept = {**info, "population": found}
    return lay_out_refit(table, model.refit, model.inclusion, kept, model.unit_factors, pooled)
