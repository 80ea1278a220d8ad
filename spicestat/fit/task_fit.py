"""TaskFit: the published model of a task, estimated for a population and for everybody in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from spicestat._display import html_block, screen, shortlist
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress
from spicestat.coefficients import CoefficientTable
from spicestat.errors import (
    ConfigError,
    ContradictionWarning,
    ConvergenceWarning,
    DataError,
    NumericalError,
    warn_user,
)
from spicestat.fit.any_fit import ModuleFreeFit
from spicestat.fit.discoveries import Discoveries, terms_frame
from spicestat.fit.evidence import ModelEvidence, population_size
from spicestat.fit.history import HistoryFit, HistoryPrediction
from spicestat.fit.packing import frame_rows, in_actions, pack_table, pack_task
from spicestat.fit.plausibility import choice_shares_nll, no_better
from spicestat.fit.table import fit_info, lay_out
from spicestat.fit.task_files import pack_estimates
from spicestat.group.marginal.quadrature import normal_points
from spicestat.pooled.discovery import discover_beside
from spicestat.pooled.packed import Sessions
from spicestat.pooled.prediction import covariance_root
from spicestat.tasks.task import Task
from spicestat.tasks.task_estimates import (
    TaskEstimates,
    estimate_people,
    estimate_task,
    log_marginals,
    natural_moments,
)
from spicestat.tasks.task_likelihood import TaskLikelihood, natural
from spicestat.tasks.task_trials import TaskTrials
from spicestat.trials.table import TrialTable

if TYPE_CHECKING:  # these make fits of this kind
    from spicestat.fit.network_fit import SpiceFit

__all__ = ["TaskFit", "fit_task", "refuse_task", "task_on"]

_LEAST_PEOPLE = 3
_DRAWS_KNOWN, _DRAWS_NEW = 32, 256
_LEAST_SHARE = 1e-9


@dataclass(frozen=True, eq=False)
class TaskFit(ModuleFreeFit):
    """A fitted model of the task library: the parameters of everybody, and of the population that they are from.

    Attributes
    ----------
    trials : TrialTable
        The checked trials.
    task : Task
        Whose model it is.
    estimates : TaskEstimates
        The population, on the scale of the parameters' links, and everybody's place in it.
    coefficients : CoefficientTable
        One row per participant and parameter (module: the task's name), on the natural scale. ``estimate`` and
        ``std_error`` are a person's own maximum-likelihood estimates, missing (with ``at_bound``) where the choices do
        not bound them; ``pooled`` and ``pooled_sd`` are posterior means and standard deviations under the population.
    scores : DataFrame
        ``model`` (the task's name, shares, guessing), ``nll`` (mean negative log-likelihood per choice, nats) and
        ``n_trials``: predictions by the pooled parameters, everybody's choice shares, and guessing. With response times
        the first is that of choice and time, and there are no others.
    """

    trials: TrialTable
    task: Task
    estimates: TaskEstimates
    coefficients: CoefficientTable
    scores: pd.DataFrame

    def population(self) -> pd.DataFrame:
        """Return the population on the scale of the links.

        Columns ``term``, ``link``, ``mean`` and ``sd`` (of people). For tests and intervals, see `spice_group`, whose
        ``~ 1`` is this model.
        """
        estimates, parameters = self.estimates, self.task.parameters
        return pd.DataFrame(
            {
                "term": [one.name for one in parameters],
                "link": [one.link for one in parameters],
                "mean": estimates.mean,
                "sd": np.sqrt(np.diag(estimates.covariance)),
            }
        )

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole fit; ``log_lik``, ``aic`` and ``bic`` are those of people's own estimates."""
        estimates, n_trials = self.estimates, self.choice_likelihood().n_trials
        n_free, log_lik = estimates.own.size, float(estimates.own_log_likelihood.sum())
        nll = self.scores.set_index("model")["nll"].to_dict()
        row = {
            "model": self.task.name,
            "n_participants": self.trials.n_participants,
            "n_excluded": len(self.trials.record["excluded"]),
            "n_actions": self.trials.n_actions,
            "nobs": int(n_trials.sum()),
            "n_coefficients": n_free,
            "log_lik": log_lik,
            "log_marginal": estimates.log_marginal,
            "aic": 2 * n_free - 2 * log_lik,
            "bic": float(estimates.own.shape[1] * np.log(np.maximum(n_trials, 1)).sum()) - 2 * log_lik,
            "nll_model": nll[self.task.name],
            **{f"nll_{name}": nll.get(name, math.nan) for name in ("shares", "guessing")},
            "contradictions": "; ".join(self.contradictions),
            "rewards": self.trials.record["reward_note"],
            "share_unidentified": self.coefficients.share_unidentified,
            "converged": estimates.converged,
        }
        return pd.DataFrame([row])

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What in the scores is no better than guessing, in words; usually nothing."""
        nll = dict(zip(self.scores["model"], self.scores["nll"], strict=True))
        if "shares" not in nll:
            return ()
        n_choices = int(self.scores["n_trials"].iloc[0])
        return no_better("the model predicts", nll[self.task.name], nll, n_choices, self.n_shares)

    def equations_frame(self) -> pd.DataFrame:
        """Return the model's equations with everybody's pooled parameters: ``participant, module, equation``."""
        wide = self.coefficients.wide("pooled").to_numpy()
        names = [one.name for one in self.task.parameters]
        texts = [
            f"{self.task.equations}; "
            + ", ".join(f"{name} = {value:.3g}" for name, value in zip(names, row, strict=True))
            for row in wide
        ]
        labels = pd.Series(self.trials.participants).to_numpy()
        return pd.DataFrame({"participant": labels, "module": self.task.name, "equation": texts})

    @property
    def has_times(self) -> bool:
        """Whether response times are part of the likelihood."""
        return self.choice_likelihood().trials.rt is not None

    def model_evidence(self) -> ModelEvidence:
        """Return what the choices say of the model; the population has means and covariances."""
        likelihood, estimates = self.choice_likelihood(), self.estimates
        return ModelEvidence(
            n_choices=likelihood.n_trials,
            by_chance=likelihood.choices_by_chance,
            log_lik=estimates.own_log_likelihood,
            n_own=np.full(len(estimates.own), estimates.own.shape[1]),
            log_marginal=log_marginals(likelihood, estimates),
            n_population=population_size(len(estimates.mean)),
        )

    def choice_likelihood(self) -> TaskLikelihood:
        """Return the likelihood of the choices in everybody's parameters."""
        return TaskLikelihood(self.task, pack_task(self.trials, self.task)[1], self.trials.participants)

    @on_one_blas_thread
    def discover(self) -> Discoveries:
        r"""Search for what the published model lacks: states of the past that predict choices beside it.

        The model's logits, at everybody's pooled parameters, are one state; the library of ``model="history"`` for the
        same roles has the candidates. One is taken where it raises the log-likelihood of left-out blocks (of people
        with one block, left-out fifths) by more than :math:`1 + \log C` nats for the choice among C candidates, and by
        more than its parameters. `Discoveries.fit` is this fit: the model is not changed.

        Returns
        -------
        Discoveries

        Raises
        ------
        ConfigError
            The model is one of choices and response times.

        Examples
        --------
        >>> from spicestat import spice_fit, spice_task
        >>> task = spice_task("bandit")
        >>> fit = spice_fit(task.simulate(12, seed=1).trials, model="bandit", **task.columns)
        >>> fit.discover().tidy()["term"].tolist()
        []
        """
        likelihood = self.choice_likelihood()
        if likelihood.trials.rt is not None:
            raise ConfigError(
                "a model of choices and response times has no logits of choices alone", do="pass model='history'"
            )
        pooled = self.coefficients.wide("pooled").to_numpy()
        shares = likelihood.probabilities(pooled[None])[:, 0]
        data = pack_table(self.trials)
        found = discover_beside(data, np.log(np.maximum(shares, _LEAST_SHARE)))
        return Discoveries(terms_frame(found), self, found.n_candidates)

    def predict(
        self, table: TrialTable, codes: np.ndarray, by: Literal["equations", "rnn"] = "equations"
    ) -> HistoryPrediction:
        """Predict the choices of a table, averaged over what is not known of people's parameters.

        Parameters
        ----------
        table : TrialTable
            Trials with the same actions (unless these are items) and roles as the fit's own.
        codes : int ndarray
            The fit's code of each participant of the table, below 0 for those that it does not know: they are
            predicted by the whole population.
        by : {"equations"}
            There is no network.

        Raises
        ------
        ConfigError
            ``by`` is "rnn".
        """
        if by != "equations":
            raise ConfigError("a TaskFit has no network", got=by, allowed="'equations'")
        data, trials = pack_task(table, self.task)
        found = np.zeros((*data.choice.shape, data.n_actions))
        for known, n_draws in ((codes >= 0, _DRAWS_KNOWN), (codes < 0, _DRAWS_NEW)):
            sessions = np.flatnonzero(known[data.person])
            if len(sessions):
                person, place = np.unique(data.person[sessions], return_inverse=True)
                found[:, sessions] = self._averaged(trials.select(sessions, place), codes[person], n_draws)
        trial, session = np.nonzero(trials.predicted)
        row = frame_rows(table, session, data.trial[trial, session])
        return HistoryPrediction(in_actions(table, row, found[trial, session]), row)

    def _averaged(self, trials: TaskTrials, codes: np.ndarray, n_draws: int) -> np.ndarray:
        """Probabilities (T, S, A) averaged over the parameters that people may have."""
        estimates = self.estimates
        points = normal_points(len(estimates.mean), n_draws)
        if (codes >= 0).all():
            root = np.stack([covariance_root(estimates.person_covariance[code]) for code in codes])
            place = estimates.person_mean[codes] + np.einsum("qk,plk->qpl", points, root)
        else:
            people = estimates.mean + points @ covariance_root(estimates.covariance).T
            place = np.repeat(people[:, None], len(codes), axis=1)
        likelihood = TaskLikelihood(self.task, trials, tuple(range(len(codes))))
        return np.asarray(likelihood.probabilities(natural(self.task, place)).mean(axis=1))

    def _own_files(self) -> dict[str, bytes]:
        scores = {str(name): values.tolist() for name, values in self.scores.items()}
        return pack_estimates(self.task.name, self.estimates, scores)

    def __repr__(self) -> str:
        return screen("\n".join(self._described()), "glance(), population() and tidy()")

    def _repr_html_(self) -> str:
        title, *notes = self._described()
        columns = ["participant", "term", "estimate", "std_error", "pooled", "pooled_sd"]
        return html_block(title, notes, self.coefficients.frame[columns])

    def _described(self) -> list[str]:
        """Return sizes, equations, population and scores, a line each."""
        glance = self.glance().iloc[0]
        people = [
            f"{one.name} {one.found_link.to_natural(np.array(mean)):.3g}"
            for one, mean in zip(self.task.parameters, self.estimates.mean, strict=True)
        ]
        scores = f"NLL per choice: model {glance['nll_model']:.4f}"
        if not math.isnan(glance["nll_shares"]):
            scores += f"; choice shares {glance['nll_shares']:.4f}, guessing {glance['nll_guessing']:.4f}"
        return [
            f"TaskFit: {self.task.name}, {self.coefficients.counted}, {glance['nobs']} choices among "
            f"{shortlist(self.trials.actions)}",
            f"{self.task.title}: {self.task.equations}",
            f"source: {self.task.source}",
            f"median person: {', '.join(people)}",
            scores,
            *([] if self.estimates.converged else ["note: the estimation of the population did not converge"]),
            *(f"note: {text}" for text in self.contradictions),
        ]


def fit_task(table: TrialTable, task: Task, seed: int = 0, progress: Progress | None = None) -> TaskFit:
    """Estimate the model of a task.

    Parameters
    ----------
    table : TrialTable
        Rewards are used as they stand in its frame.
    task : Task
    seed : int, default 0
        Recorded only: nothing in this fit is random.
    progress : callable, optional
        Called with (stage, done, total, message); the stage is refit.

    Raises
    ------
    ConfigError, DataError
        The trials are not what the model is for, or there are too few people.
    NumericalError
        The population cannot be estimated.

    Warns
    -----
    ConvergenceWarning
        The estimation of the population did not converge.
    ContradictionWarning
        The model predicts worse than nothing.
    """
    data, trials = pack_task(table, task)
    likelihood = TaskLikelihood(task, trials, table.participants)
    able = int((likelihood.n_trials > 0).sum())
    if able < _LEAST_PEOPLE:
        raise DataError(
            f"too few people to learn what a population does: the model '{task.name}' pools them",
            got=f"{able} with choices that are predicted",
            allowed=f"{_LEAST_PEOPLE} or more",
            do='fit more people together, or pass model="choice", which estimates everybody alone',
        )
    report = None if progress is None else lambda done, total, text: progress("refit", done, total, text)
    try:
        estimates = estimate_task(likelihood, report)
    except np.linalg.LinAlgError as error:
        raise NumericalError(
            f"the population of the model '{task.name}' cannot be estimated: {error}",
            do="look for people whose choices say nothing, or pass model='history'",
        ) from error
    fit = _assemble(table, task, data, likelihood, estimates, seed)
    if not estimates.converged:
        warn_user("the estimation of the population did not converge.", ConvergenceWarning)
    for text in fit.contradictions:
        warn_user(text + ".", ContradictionWarning)
    return fit


def refuse_task(fit: SpiceFit | HistoryFit | TaskFit, what: str) -> SpiceFit | HistoryFit:
    """Return a fit of another kind, or say that a question is not asked of this one.

    Raises
    ------
    ConfigError
        The fit is a `TaskFit`.
    """
    if isinstance(fit, TaskFit):
        raise ConfigError(
            f"{what} needs states or modules, and a TaskFit has none",
            got=fit.task.name,
            do=f"ask a fit with model='history', or simulate_fit() and fit again with model='{fit.task.name}'",
        )
    return fit


def task_on(fit: TaskFit, table: TrialTable, n_new: int) -> TaskFit:
    """Estimate people's parameters from other trials, under the population of a fit."""
    data, trials = pack_task(table, fit.task)
    likelihood = TaskLikelihood(fit.task, trials, table.participants)
    estimates = estimate_people(likelihood, fit.estimates)
    found = _assemble(table, fit.task, data, likelihood, estimates, fit.coefficients.info["seed"])
    info = {**found.coefficients.info, "updated": {"n_new": n_new, "n_known": table.n_participants - n_new}}
    return replace(found, coefficients=replace(found.coefficients, info=info))


def _assemble(
    table: TrialTable, task: Task, data: Sessions, likelihood: TaskLikelihood, estimates: TaskEstimates, seed: int
) -> TaskFit:
    pooled, pooled_sd = natural_moments(estimates, task)
    columns = {
        "pooled": pooled,
        "pooled_sd": pooled_sd,
        "selected": np.full(pooled.shape, True),
        "shared": np.full(pooled.shape, False),
        "converged": np.full(pooled.shape, True),
        "at_bound": np.isnan(estimates.own),
    }
    std_error = np.sqrt(np.einsum("pkk->pk", estimates.own_covariance))
    info = fit_info(table, task.name, seed, "population")
    coefficients = lay_out(
        table, likelihood.terms, estimates.own, std_error, estimates.own_covariance, likelihood.n_trials, info, columns
    )
    n_choices = int(likelihood.n_trials.sum())
    empty = pd.DataFrame({"model": [], "nll": [], "n_trials": []})
    fit = TaskFit(table, task, estimates, coefficients, empty)
    nll = _scores(fit, likelihood, data, pooled)
    scores = pd.DataFrame({"model": list(nll), "nll": list(nll.values()), "n_trials": n_choices})
    return replace(fit, scores=scores)


def _scores(fit: TaskFit, likelihood: TaskLikelihood, data: Sessions, pooled: np.ndarray) -> Mapping[str, float]:
    """Negative log-likelihoods per choice, of first stages where there are two."""
    name, trials = fit.task.name, likelihood.trials
    if trials.rt is not None:
        return {name: float(-likelihood.log_likelihood(pooled[None]).sum() / likelihood.n_trials.sum())}
    found = fit.predict(fit.trials, np.arange(fit.trials.n_participants))
    chosen = fit.trials.frame["choice"].to_numpy()[found.row]
    made = found.probabilities[np.arange(len(chosen)), chosen]
    at = np.nonzero(trials.predicted)
    who, offered = data.person[at[1]], None if trials.offered is None else trials.offered[at]
    shares = choice_shares_nll(who, trials.choice[at], fit.trials.n_participants, data.n_actions, offered)
    return {name: float(-np.log(made).mean()), **shares}
