"""spice_fit: from a table of trials to every participant's coefficients, in one call."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import pandas as pd

from spicestat._checks import seed_number
from spicestat._display import html_block, screen, shortlist
from spicestat._files.sealed import read_sealed
from spicestat._files.tables import TableSource
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress
from spicestat.coefficients import CoefficientTable
from spicestat.equations.discover import Structure
from spicestat.equations.estimate.forward import equation_nll
from spicestat.equations.estimate.group_likelihood import EquationLikelihood
from spicestat.equations.estimate.population import pool_people
from spicestat.equations.estimate.prior import NormalPrior
from spicestat.equations.select.criteria import Criterion
from spicestat.equations.structure.equation_set import BETA, EXCLUDED, FREE
from spicestat.equations.structure.units import in_unit_of_data
from spicestat.errors import (
    ConfigError,
    ContradictionWarning,
    ConvergenceWarning,
    ScaleWarning,
    StorageError,
    warn_user,
)
from spicestat.fit.any_fit import AnyFit
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.evidence import ModelEvidence, population_size
from spicestat.fit.fitted_model import FittedModel
from spicestat.fit.history import HistoryFit, check_plain, fit_history
from spicestat.fit.history_files import MANIFEST as HISTORY_MANIFEST
from spicestat.fit.history_files import unpack_network, unpack_pooled
from spicestat.fit.plausibility import baseline_nll, contradictions
from spicestat.fit.storage import is_programmed, pack_model, unpack_model, unpack_tables
from spicestat.fit.table import By, column_by, fit_info, lay_out_refit
from spicestat.fit.task_files import MANIFEST as TASK_MANIFEST
from spicestat.fit.task_files import unpack_estimates
from spicestat.fit.task_fit import TaskFit, fit_task
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import PRECODED, DeclaredModel, ModelDeclaration
from spicestat.tasks import TASKS, TaskName
from spicestat.training.evaluate import rnn_nll
from spicestat.trials.joining import Tables
from spicestat.trials.reading import TrialColumns, TrialTable, read_trials
from spicestat.trials.roles import Attributes, Columns, Options
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.unusable import refuse_constant

__all__ = ["FitSettings", "HistoryFit", "SpiceFit", "TaskFit", "assemble_fit", "load_fit", "spice_fit"]

Model = str | ModelDeclaration | tuple[type[BaseRNN], SpiceConfig]
"""What `spice_fit` takes as a model."""

_LARGE_REWARD = 2.0
"""Rewards beyond this are worth a warning where they cannot be divided."""


class FitSettings(TrialColumns, total=False):
    """Settings of `spice_fit`, for functions that pass them on."""

    model: Model
    structure: Structure
    criterion: Criterion | None
    degree: int
    threshold: float
    epochs: int
    learning_rate: float
    hidden_size: int
    embedding_size: int | None
    dropout: float
    n_members: int
    seed: int
    device: str
    checkpoint: str | Path | None
    progress: Progress | None


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


@overload
def spice_fit(  # type: ignore[overload-overlap]  # a type checker takes the first that fits
    trials: TableSource | TrialTable,
    *,
    participant: str = "participant",
    choice: str = "choice",
    reward: Columns | None = "reward",
    rt: str | None = None,
    block: str | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    occasion: Columns | None = None,
    stimulus: Columns | None = None,
    options: Options | None = None,
    attributes: Attributes | None = None,
    context: Columns | None = None,
    forced: str | None = None,
    gain: str | None = None,
    loss: str | None = None,
    foregone: str | None = None,
    state2: str | None = None,
    choice2: str | None = None,
    inputs: Sequence[str] = (),
    covariates: Sequence[str] | None = None,
    people: Tables | None = None,
    actions: Sequence[Hashable] | None = None,
    missing: Any = None,
    reward_scaling: Literal["minmax"] | None = None,
    model: Literal["history"] = "history",
    seed: int = 0,
    progress: Progress | None = None,
) -> HistoryFit: ...


@overload
def spice_fit(  # type: ignore[overload-overlap]
    trials: TableSource | TrialTable,
    *,
    participant: str = "participant",
    choice: str = "choice",
    reward: Columns | None = "reward",
    rt: str | None = None,
    block: str | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    occasion: Columns | None = None,
    stimulus: Columns | None = None,
    options: Options | None = None,
    attributes: Attributes | None = None,
    context: Columns | None = None,
    forced: str | None = None,
    gain: str | None = None,
    loss: str | None = None,
    foregone: str | None = None,
    state2: str | None = None,
    choice2: str | None = None,
    inputs: Sequence[str] = (),
    covariates: Sequence[str] | None = None,
    people: Tables | None = None,
    actions: Sequence[Hashable] | None = None,
    missing: Any = None,
    reward_scaling: Literal["minmax"] | None = None,
    model: TaskName,
    seed: int = 0,
    progress: Progress | None = None,
) -> TaskFit: ...


@overload
def spice_fit(
    trials: TableSource | TrialTable,
    *,
    participant: str = "participant",
    choice: str = "choice",
    reward: Columns | None = "reward",
    rt: str | None = None,
    block: str | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    occasion: Columns | None = None,
    stimulus: Columns | None = None,
    options: Options | None = None,
    attributes: Attributes | None = None,
    context: Columns | None = None,
    forced: str | None = None,
    gain: str | None = None,
    loss: str | None = None,
    foregone: str | None = None,
    state2: str | None = None,
    choice2: str | None = None,
    inputs: Sequence[str] = (),
    covariates: Sequence[str] | None = None,
    people: Tables | None = None,
    actions: Sequence[Hashable] | None = None,
    missing: Any = None,
    reward_scaling: Literal["minmax"] | None = None,
    model: Model,
    structure: Structure = "population",
    criterion: Criterion | None = None,
    degree: int = 1,
    threshold: float = 0.03,
    epochs: int = 300,
    learning_rate: float = 1e-2,
    hidden_size: int = 8,
    embedding_size: int | None = None,
    dropout: float = 0.1,
    n_members: int = 1,
    seed: int = 0,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> SpiceFit: ...


@on_one_blas_thread
def spice_fit(
    trials: TableSource | TrialTable,
    *,
    participant: str = "participant",
    choice: str = "choice",
    reward: Columns | None = "reward",
    rt: str | None = None,
    block: str | None = None,
    trial: str | None = None,
    experiment: str | None = None,
    occasion: Columns | None = None,
    stimulus: Columns | None = None,
    options: Options | None = None,
    attributes: Attributes | None = None,
    context: Columns | None = None,
    forced: str | None = None,
    gain: str | None = None,
    loss: str | None = None,
    foregone: str | None = None,
    state2: str | None = None,
    choice2: str | None = None,
    inputs: Sequence[str] = (),
    covariates: Sequence[str] | None = None,
    people: Tables | None = None,
    actions: Sequence[Hashable] | None = None,
    missing: Any = None,
    reward_scaling: Literal["minmax"] | None = None,
    model: Model = "history",
    structure: Structure = "population",
    criterion: Criterion | None = None,
    degree: int = 1,
    threshold: float = 0.03,
    epochs: int = 300,
    learning_rate: float = 1e-2,
    hidden_size: int = 8,
    embedding_size: int | None = None,
    dropout: float = 0.1,
    n_members: int = 1,
    seed: int = 0,
    device: str = "cpu",
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> SpiceFit | HistoryFit | TaskFit:
    """Find the equations behind people's choices, and estimate everybody's coefficients.

    Parameters
    ----------
    trials : DataFrame, path or TrialTable
        One row per trial; see `read_trials`, which also explains ``participant`` to ``reward_scaling``.
    model : str, ModelDeclaration or (rnn class, config), default "history"
        ``"history"`` chooses states of the past that predict choices, and pools their weights over people. It takes
        seconds, predicts people best of all models here, and has no learning rate; see `HistoryFit`, which it
        returns. A name in `spicestat.tasks.TASKS`, such as ``"pst"``, is the published model of a task, whose
        parameters are estimated together with their population; see `TaskFit`.
        All other models are networks, from which equations of a learning process are read: a name in
        `spicestat.models.precoded.PRECODED`, such as ``"choice"``, or a custom model, which is either declared by
        naming its states and modules (`spicestat.models.precoded.ModelDeclaration`, whose ``inputs`` need not be
        repeated here) or programmed. Precoded models learn only from the reward of the chosen action, except that
        ``"counterfactual"`` learns from all rewards that are shown (``reward`` then names one column per action);
        additional ``inputs`` need a custom model. ``"drift_diffusion"`` needs response times (``rt``).
    structure : {"population", "participant"}, default "population"
        One equation structure for everybody, so that coefficients can be compared over people, or
        one per participant. This and all that follows, but ``seed`` and ``progress``, is for models with a network.
    criterion : {"aic", "bic", "evidence", "cv"}, optional
        What decides between structures; see `select_structure`. Default: "aic" for the population's
        structure, "evidence" for one per participant.
    degree : int, default 1
        Polynomial degree of the candidate terms.
    threshold : float, default 0.03
        Threshold of the sparse regression that proposes candidate terms.
    epochs, learning_rate, hidden_size, embedding_size, dropout, n_members, device
        RNN training, as in `SpiceEstimator`, with defaults for cohorts: 300 epochs, learning rate .01,
        hidden size 8, the model's embedding size, dropout .1, 1 member, "cpu".
    seed : int, default 0
        The same seed, data and machine give the same numbers.
    checkpoint : str or Path, optional
        Folder for the state of the network's training, written every ten seconds. The same call, made again
        after an interrupt or a crash, continues from there and gives the same numbers; a finished network is not
        trained again. Each fit needs a folder of its own.
    progress : callable, optional
        Called with (stage, done, total, message); stages are rnn, equations, refit.

    Returns
    -------
    HistoryFit; TaskFit of a task's model; or SpiceFit of a model with a network

    Raises
    ------
    ConfigError
        A setting is out of range, or the model has no use for it.
    InputError
        The trials cannot be used; the message names column and rows.
    StorageError
        The checkpoint is damaged, or belongs to another fit.

    Examples
    --------
    >>> from spicestat.simulate import simulate_cohort
    >>> cohort = simulate_cohort(8, 80, n_blocks=2)
    >>> spice_fit(cohort.trials, block="block", trial="trial", people=cohort.people).tidy()["module"].unique().tolist()
    ['beta']
    >>> learners = spice_fit(cohort.trials, block="block", trial="trial", model="choice", epochs=20)
    >>> learners.coefficients.participants[:2]
    ('p1', 'p2')
    """
    reading: dict[str, Any] = {
        "participant": participant,
        "choice": choice,
        "reward": reward,
        "rt": rt,
        "block": block,
        "trial": trial,
        "experiment": experiment,
        "occasion": occasion,
        "stimulus": stimulus,
        "options": options,
        "attributes": attributes,
        "context": context,
        "forced": forced,
        "gain": gain,
        "loss": loss,
        "foregone": foregone,
        "state2": state2,
        "choice2": choice2,
        "inputs": inputs,
        "covariates": covariates,
        "people": people,
        "actions": actions,
        "missing": missing,
        "reward_scaling": reward_scaling,
    }
    if isinstance(model, ModelDeclaration) and not inputs and not isinstance(trials, TrialTable):
        reading["inputs"] = model.inputs
    pooled = model if isinstance(model, str) and (model == "history" or model in TASKS) else None
    # a population keeps the weights of those finite who always made the same choice
    table = _table(trials, reading, unusable="exclude" if pooled is None else "keep")
    if pooled is not None:
        network = {
            "structure": structure,
            "criterion": criterion,
            "degree": degree,
            "threshold": threshold,
            "epochs": epochs,
            "learning_rate": learning_rate,
            "hidden_size": hidden_size,
            "embedding_size": embedding_size,
            "dropout": dropout,
            "n_members": n_members,
            "device": device,
            "checkpoint": checkpoint,
        }
        _refuse_settings(network, pooled)
        refuse_constant(table)
        if pooled in TASKS:
            return fit_task(table, TASKS[pooled], seed_number(seed), progress)
        check_plain(table)
        return fit_history(table, seed_number(seed), progress)
    name, (rnn_class, config) = _model(model)
    if isinstance(model, str) and table.inputs:
        raise ConfigError(
            f"the model '{model}' has no use for additional inputs", got=list(table.inputs), do="pass a custom model"
        )
    if issubclass(rnn_class, DeclaredModel):
        _check_inputs(rnn_class.declaration, table)
    if rt is not None and not rnn_class.needs_times:
        raise ConfigError(
            f"the model '{name}' has no use for response times",
            got=rt,
            do="pass model='drift_diffusion', or leave rt out",
        )
    table = _in_reward_unit(table, rnn_class, config, name)
    data = SequenceDataset.from_trials(table)
    zero, unit = table.reward_zero_and_unit
    estimator = SpiceEstimator(
        rnn_class,
        config,
        hidden_size=hidden_size,
        dropout=dropout,
        embedding_size=embedding_size,
        n_actions=table.n_actions,
        n_participants=table.n_participants,
        n_experiments=len(table.experiments),
        epochs=epochs,
        learning_rate=learning_rate,
        n_members=n_members,
        spice_library_polynomial_degree=degree,
        spice_optim_threshold=threshold,
        spice_structure=structure,
        spice_criterion=criterion,
        device=device,
        checkpoint=checkpoint,
        random_state=seed,
        progress=progress,
        # with "minmax" coefficients are per range of the rewards, whether or not the range starts at 0
        reward_unit=unit if table.record["reward_scaling"]["method"] == "unit" else 1.0,
        reward_middle=(sum(table.record["reward_range"]) / 2 - zero) / unit,
    )
    estimator.fit_dataset(data)
    return assemble_fit(table, data, estimator.fitted_model_, name)


def load_fit(
    folder: str | Path, rnn_class: type[BaseRNN] | None = None, spice_config: SpiceConfig | None = None
) -> SpiceFit | HistoryFit | TaskFit:
    """Read a fit that `SpiceFit.save`, `HistoryFit.save`, `TaskFit.save` or ``spicestat fit`` wrote.

    Nothing in it is executed.

    Parameters
    ----------
    folder : path
        Fit folder.
    rnn_class, spice_config : optional
        Needed for a custom model.

    Returns
    -------
    SpiceFit, HistoryFit or TaskFit
        Of the kind that was saved.

    Raises
    ------
    StorageError
        The folder does not hold a fit, or is damaged.
    """
    files = read_sealed(folder, "fit")
    if HISTORY_MANIFEST in files:
        return _load_history(files, folder)
    if TASK_MANIFEST in files:
        return _load_task(files, folder)
    model, extra = unpack_model(files, rnn_class, spice_config)
    (table, coefficients), scores = unpack_tables(files), extra.get("scores")
    if not isinstance(scores, dict):
        raise StorageError(f"'{folder}' lacks scores in its manifest", do="save the fit again")
    equations = model.equations
    _check_same("equations", table, coefficients, equations.n_participants, equations.terms, folder)
    inclusion = coefficients.frame["inclusion_prob"].to_numpy(dtype="float64").reshape(equations.status.shape)
    model = replace(model, inclusion=inclusion)
    # fits of earlier versions were not pooled, or do not say how well
    if "log_marginal" not in coefficients.info.get("population", {}):
        data = SequenceDataset.from_trials(table)
        coefficients = _pooled_coefficients(table, data, model, coefficients.info)
    return SpiceFit(table, model, coefficients, pd.DataFrame(scores))


def _load_history(files: Mapping[str, bytes], folder: str | Path) -> HistoryFit:
    pooled, scores = unpack_pooled(files)
    table, coefficients = unpack_tables(files)
    terms = tuple((BETA, name) for name in pooled.names)
    _check_same("weights", table, coefficients, len(pooled.n_choices), terms, folder)
    fit = HistoryFit(table, pooled, coefficients, pd.DataFrame(scores))
    network = unpack_network(files)
    if network is None:
        return fit
    if network.n_people != table.n_participants:
        raise StorageError(f"trials and network in '{folder}' have different participants", do="save the fit again")
    return fit.with_network(network)


def _load_task(files: Mapping[str, bytes], folder: str | Path) -> TaskFit:
    task, estimates, scores = unpack_estimates(files)
    table, coefficients = unpack_tables(files)
    terms = tuple((task.name, one.name) for one in task.parameters)
    _check_same("estimates", table, coefficients, len(estimates.own), terms, folder)
    return TaskFit(table, task, estimates, coefficients, pd.DataFrame(scores))


def _check_same(
    what: str,
    table: TrialTable,
    coefficients: CoefficientTable,
    n_participants: int,
    terms: tuple[tuple[str, str], ...],
    folder: str | Path,
) -> None:
    """Raise `StorageError` where the files of a fit are of different participants or terms."""
    same_people = n_participants == table.n_participants and coefficients.participants == table.participants
    if not (same_people and coefficients.terms == terms):
        raise StorageError(
            f"trials, {what} and coefficients in '{folder}' have different participants or terms",
            do="save the fit again",
        )


def _table(
    trials: TableSource | TrialTable, reading: dict[str, Any], *, unusable: Literal["exclude", "keep"]
) -> TrialTable:
    """Read the trials; a `TrialTable` is read already, so nothing about columns goes with it."""
    if not isinstance(trials, TrialTable):
        return read_trials(trials, **reading, unusable=unusable)
    given = _given(reading)
    if given:
        raise ConfigError("a TrialTable has been read already", got=given, do="pass these to read_trials()")
    return trials


def _given(settings: dict[str, Any]) -> list[str]:
    """Return the names of those settings of `spice_fit` that differ from its defaults."""
    defaults = {name: parameter.default for name, parameter in signature(spice_fit).parameters.items()}
    return [
        name
        for name, value in settings.items()
        if not (value is defaults[name] or (isinstance(value, str | int | float) and value == defaults[name]))
    ]


def _refuse_settings(settings: dict[str, Any], model: str) -> None:
    given = _given(settings)
    if given:
        raise ConfigError(
            f"the model '{model}' has no network, and no equations of modules to search for",
            got=", ".join(given),
            do="leave these settings out, or pass model='choice' or another model with a network",
        )


def _model(model: Model) -> tuple[str, tuple[type[BaseRNN], SpiceConfig]]:
    if isinstance(model, str) and model in PRECODED:
        return model, PRECODED[model]
    if isinstance(model, ModelDeclaration):
        return model.name, model.build()
    if is_programmed(model):
        return model[0].__name__, model
    raise ConfigError(
        "unknown model",
        got=model,
        allowed=f"{', '.join(('history', *PRECODED, *TASKS))}, a ModelDeclaration, or (BaseRNN subclass, SpiceConfig)",
    )


def _in_reward_unit(table: TrialTable, rnn_class: type[BaseRNN], config: SpiceConfig, name: str) -> TrialTable:
    """Divide rewards by their largest size, if the model knows what is in the unit of reward; else leave them."""
    if table.record["reward_scaling"]["method"] != "none":
        return table
    low, high = table.record["reward_range"]
    unit = max(abs(low), abs(high)) or 1.0
    named = {name for module in config.rnn_modules for name in (module, *config.signals(module))}
    if rnn_class.reward_units is None or not named <= set(rnn_class.reward_units):
        if unit > _LARGE_REWARD:
            warn_user(
                f"rewards range from {low:g} to {high:g} and are used as they are, as the model '{name}' does not say "
                "which of its states are in the unit of reward. Try: set `reward_units` in its class, or divide "
                "the rewards by a round number",
                ScaleWarning,
            )
        return table
    # adding 0 turns -0 into 0
    note = f"rewards {low + 0.0:g} to {high + 0.0:g}"
    if unit != 1.0:
        note += f", divided by {unit:g} inside; coefficients are in the unit of the data"
    if rnn_class.centred_states:
        note += f"; values start at {(low + high) / 2:g}"
    return table.rescaled({"method": "unit", "unit": unit}, note)


def _check_inputs(model: ModelDeclaration, table: TrialTable) -> None:
    if tuple(table.inputs) != tuple(model.inputs):
        raise ConfigError(
            "the additional inputs of the trials are not those of the model",
            got=list(table.inputs),
            allowed=list(model.inputs),
            do="declare the model with these `inputs`, in this order",
        )


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
    coefficients = _pooled_coefficients(table, data, model, info, population)
    fit = SpiceFit(table, model, coefficients, scores)
    for text in fit.contradictions:
        warn_user(text + ".", ContradictionWarning)
    return fit


def _pooled_coefficients(
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
