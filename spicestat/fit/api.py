"""spice_fit: from a table of trials to every participant's coefficients, in one call."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, Literal, overload

from spicestat._checks import seed_number
from spicestat._files.tables import TableSource
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress
from spicestat.equations.discover import Structure
from spicestat.equations.select.criteria import Criterion
from spicestat.errors import (
    ConfigError,
    ScaleWarning,
    warn_user,
)
from spicestat.fit.estimator import SpiceEstimator
from spicestat.fit.history import HistoryFit, check_plain, fit_history
from spicestat.fit.network_fit import SpiceFit, assemble_fit
from spicestat.fit.storage import is_programmed
from spicestat.fit.task_fit import TaskFit, fit_task
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.models.precoded import PRECODED, DeclaredModel, ModelDeclaration
from spicestat.tasks import TASKS, TaskName
from spicestat.trials.joining import Tables
from spicestat.trials.reading import TrialColumns, TrialTable, read_trials
from spicestat.trials.roles import Attributes, Columns, Options
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.unusable import refuse_constant

__all__ = ["FitSettings", "spice_fit"]

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
