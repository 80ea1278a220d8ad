"""optimize_for_participant: tunes the sparse regression of a single participant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from spicestat._checks import real_number
from spicestat.agents.agents import AgentNetwork
from spicestat.equations.discover import SparseSettings
from spicestat.equations.sparse_tuning import tune_sparse
from spicestat.spice.dataset import DatasetRNN
from spicestat.spice.fitting import fitting_data
from spicestat.trials.sequences import SequenceDataset

__all__ = ["optimize_for_participant"]


def optimize_for_participant(
    participant_id: int,
    agent_rnn: AgentNetwork,
    data: DatasetRNN | SequenceDataset,
    metric_rnn: float | None,
    rnn_modules: Sequence[str],
    control_signals: Sequence[str],
    library_setup: Mapping[str, Sequence[str]] | None,
    filter_setup: Mapping[str, Sequence[object]] | None,
    polynomial_degree: int,
    n_sessions_off_policy: int,
    n_trials_optuna: int = 50,
    verbose: bool = False,
    *,
    optimizer_type: str = "STLSQ",
    n_trials_off_policy: int = 1000,
    storage: str | Path | None = None,
    study_name: str = "spicestat",
    n_jobs: int = 1,
    seed: int = 0,
    timeout: float | None = None,
) -> dict[str, str | float]:
    """Find the threshold and ridge penalty whose equations describe a participant's choices best.

    Unlike SPICE, which compares the equations' probabilities with the network's, this judges equations by
    the choices: Optuna minimises the Bayesian information criterion per choice (`description_length`). The
    first trial is ``fit_spice``'s default, threshold .05 and penalty .1, so the result is never worse.

    Parameters
    ----------
    participant_id : int
        Participant code in ``data``.
    agent_rnn : AgentNetwork
        A trained agent.
    data : DatasetRNN or SequenceDataset
        Trials of this participant, and perhaps of others.
    metric_rnn : float, optional
        Mean negative log-likelihood per choice that the network reaches on these trials, in nats. The search ends early
        once the equations, penalised for their coefficients, do as well. None: no early end.
    rnn_modules, control_signals, library_setup, filter_setup : optional
        See `fit_spice`; the setups may be None.
    polynomial_degree : int
        Degree of the candidate terms, 1 or more.
    n_sessions_off_policy : int
        Sessions of random choices on which the networks are watched too, 0 or more; see
        `off_policy_sessions`.
    n_trials_optuna : int, default 50
        Trials of the search, those in the storage included.
    verbose : bool, default False
        Print progress lines.
    optimizer_type : {"STLSQ", "SR3_L1", "SR3_weighted_l1"}, default "STLSQ"
        See `sparse_regression`.
    n_trials_off_policy : int, default 1000
        Trials of an off-policy session.
    storage, study_name, n_jobs, seed, timeout : optional
        See `tune_sparse`: the search can be resumed and runs in parallel, and its result depends on neither.

    Returns
    -------
    dict
        ``optimizer_type``, ``optimizer_alpha``, ``optimizer_threshold``: pass them to `fit_spice`; ``value``:
        what they reach, in nats per choice; ``n_trials``: how many trials the study has.

    Raises
    ------
    ConfigError
        A name, setting or participant is unknown, or the storage holds a study of other data or settings.
    NumericalError
        No setting gives equations with a finite likelihood.
    StorageError
        The storage cannot be used.

    Examples
    --------
    >>> from spicestat.models.precoded import LEARNING_RATE_RNN_CONFIG, LearningRateRNN
    >>> from spicestat.simulate import AgentQ, BanditsDrift
    >>> from spicestat.spice import create_dataset
    >>> data, _, _ = create_dataset(AgentQ(seed=1), BanditsDrift(sigma=0.2, seed=1), n_trials=50, n_sessions=2)
    >>> found = optimize_for_participant(
    ...     1, AgentNetwork(LearningRateRNN(n_actions=2, n_participants=2)), data, None,
    ...     LEARNING_RATE_RNN_CONFIG.rnn_modules, LEARNING_RATE_RNN_CONFIG.control_parameters, None, None,
    ...     polynomial_degree=1, n_sessions_off_policy=0, n_trials_optuna=10)
    >>> list(found), found["n_trials"]
    (['optimizer_type', 'optimizer_alpha', 'optimizer_threshold', 'value', 'n_trials'], 10)
    """
    prepared = fitting_data(
        rnn_modules,
        control_signals,
        agent_rnn,
        data,
        participant_id=participant_id,
        library_setup=library_setup,
        filter_setup=filter_setup,
        n_sessions_off_policy=n_sessions_off_policy,
        n_trials_off_policy=n_trials_off_policy,
        seed=seed,
    )
    stop_at = None if metric_rnn is None else real_number("metric_rnn", metric_rnn, float("-inf"))
    tuned = tune_sparse(
        prepared.model,
        prepared.data,
        prepared.config,
        SparseSettings(
            degree=polynomial_degree, threshold=0.05, alpha=0.1, structure="participant", optimizer=optimizer_type
        ),
        n_trials_optuna,
        trajectories=prepared.trajectories,
        stop_at=stop_at,
        seed=seed,
        storage=storage,
        study_name=study_name,
        n_jobs=n_jobs,
        timeout=timeout,
        progress=_print_progress if verbose else None,
    )
    ((code, settings),) = tuned.settings.items()
    return {
        "optimizer_type": optimizer_type,
        "optimizer_alpha": settings.alpha,
        "optimizer_threshold": settings.threshold,
        "value": tuned.values[code],
        "n_trials": tuned.n_trials[code],
    }


def _print_progress(stage: str, done: int, total: int, message: str) -> None:
    print(f"{stage} {done}/{total}: {message}")
