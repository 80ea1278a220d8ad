"""fit_spice: replaces a trained network's modules with sparse equations, without estimating them on the choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from spicestat._checks import whole_number
from spicestat.agents.agents import AgentNetwork, AgentSpice
from spicestat.agents.simulation import simulate_model
from spicestat.agents.stepper import n_embedded
from spicestat.equations.discover import SparseSettings, Structure, sparse_equations
from spicestat.equations.estimate.forward import copied, equation_nll
from spicestat.equations.trajectories import Trajectory, record_trajectories
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.models.config import SpiceConfig
from spicestat.simulate.environments import BanditsDrift
from spicestat.spice.dataset import DatasetRNN
from spicestat.spice.off_policy import joined_trajectories, off_policy_sessions
from spicestat.spice.signals import module_signals
from spicestat.trials.sequences import SequenceDataset

__all__ = ["FittingData", "fit_spice", "fitting_data"]

_BLOCKS, _TRIALS, _SIGMA = 20, 100, 0.2


def fit_spice(
    rnn_modules: Sequence[str],
    control_signals: Sequence[str],
    agent_rnn: AgentNetwork,
    data: DatasetRNN | SequenceDataset | None = None,
    polynomial_degree: int = 2,
    optimizer_threshold: float = 0.05,
    optimizer_alpha: float = 0.1,
    participant_id: int | None = None,
    verbose: bool = False,
    *,
    library_setup: Mapping[str, Sequence[str]] | None = None,
    filter_setup: Mapping[str, Sequence[object]] | None = None,
    optimizer_type: Any = "STLSQ",
    structure: Structure = "participant",
    n_sessions_off_policy: int = 0,
    n_trials_off_policy: int = 1000,
    seed: int = 0,
) -> tuple[AgentSpice, float]:
    """Replace a trained network's modules with sparse equations.

    The equations are a sparse regression on what the networks do, with the networks' inverse
    temperatures. Unlike those of `SpiceEstimator` they are not estimated on the choices, and have no
    standard errors. Coefficients are as regressed; none is set to 1. Nothing that is passed is changed.

    Parameters
    ----------
    rnn_modules : sequence of str
        Modules to replace. The others remain networks.
    control_signals : sequence of str
        Names under which the model records the inputs of its modules.
    agent_rnn : AgentNetwork
        A trained agent. Where its model has no participant embedding, all sequences are those of one
        participant, and the equations count for everybody.
    data : DatasetRNN or SequenceDataset, optional
        Trials on which the networks are watched and the loss is computed. Default: the agent plays by its
        networks, as every participant, 20 sessions of 100 trials of ``BanditsDrift(sigma=0.2)``.
    polynomial_degree : int, default 2
        Degree of the candidate terms, 1 or more.
    optimizer_threshold : float, default 0.05
        Terms with a smaller coefficient are dropped, 0 or more.
    optimizer_alpha : float, default 0.1
        Ridge penalty, 0 or more.
    participant_id : int, optional
        Fit this participant only; default: all in ``data``.
    verbose : bool, default False
        Print the equations and the loss.
    library_setup : mapping of str to sequence of str, optional
        For each module the names of its inputs, in the order of the model's ``call_module``. Default: every control
        signal that a module gets, as `module_signals` finds by watching it.
    filter_setup : mapping of str to filters, optional
        See `SpiceConfig`. Default: the actions that a module is called for.
    optimizer_type : {"STLSQ", "SR3_L1", "SR3_weighted_l1"} or pysindy optimizer, default "STLSQ"
        See `sparse_regression`; an optimizer object has a threshold and a penalty of its own.
    structure : {"participant", "population"}, default "participant"
        One structure for each participant, or one for all.
    n_sessions_off_policy : int, default 0
        Sessions per participant on which the networks are watched too; see `off_policy_sessions`. They do
        not enter the loss.
    n_trials_off_policy : int, default 1000
        Trials of such a session.
    seed : int, default 0
        Seed of everything that is drawn.

    Returns
    -------
    AgentSpice
        Plays by the equations.
    float
        Its mean negative log-likelihood per choice of ``data``, in nats.

    Raises
    ------
    ConfigError
        A name, setting or participant is unknown.

    Examples
    --------
    >>> from spicestat.models.precoded import LearningRateRNN
    >>> model = LearningRateRNN(n_actions=2, n_participants=2)
    >>> signals = ["c_action", "c_reward", "c_value_reward"]
    >>> agent, loss = fit_spice(list(model.submodules_rnn), signals, AgentNetwork(model), polynomial_degree=1)
    >>> agent.get_participant_ids(), loss > 0
    ((0, 1), True)
    """
    settings = SparseSettings(
        degree=polynomial_degree,
        threshold=optimizer_threshold,
        alpha=optimizer_alpha,
        structure=structure,
        optimizer=optimizer_type,
    )
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
    equations = sparse_equations(prepared.model, prepared.data, prepared.config, settings, prepared.trajectories)
    loss = equation_nll(prepared.model, prepared.data, equations)
    fitted = np.flatnonzero(prepared.data.trials_per_participant.numpy()).tolist()
    agent = AgentSpice(prepared.model, equations, deterministic=agent_rnn.deterministic, participant_ids=fitted)
    if verbose:
        for code in fitted:
            print(f"participant {code}:")
            agent.print_model(code)
        print(f"loss: {loss:.4f} nats per choice")
    return agent, loss


@dataclass(frozen=True, eq=False)
class FittingData:
    """What sparse equations are found from.

    Attributes
    ----------
    model : BaseRNN
        A copy of the agent's, on the CPU.
    data : SequenceDataset
        The participants' choices.
    config : SpiceConfig
        Modules, signals and filters.
    trajectories : dict of str to Trajectory
        What the networks do on the data and on off-policy sessions.
    """

    model: BaseRNN
    data: SequenceDataset
    config: SpiceConfig
    trajectories: dict[str, Trajectory]


def fitting_data(
    rnn_modules: Sequence[str],
    control_signals: Sequence[str],
    agent_rnn: AgentNetwork,
    data: DatasetRNN | SequenceDataset | None = None,
    *,
    participant_id: int | None = None,
    library_setup: Mapping[str, Sequence[str]] | None = None,
    filter_setup: Mapping[str, Sequence[object]] | None = None,
    n_sessions_off_policy: int = 0,
    n_trials_off_policy: int = 1000,
    seed: int = 0,
) -> FittingData:
    """Watch an agent's networks; see `fit_spice` for the parameters and errors."""
    if not isinstance(agent_rnn, AgentNetwork) or isinstance(agent_rnn, AgentSpice):
        raise ConfigError("agent_rnn must play by networks", got=type(agent_rnn).__name__, allowed="AgentNetwork")
    model = copied(agent_rnn.model).to("cpu")
    sequences = _own_sequences(model, _sequences(model, data, seed), participant_id)
    n_inputs = int(sequences.inputs.shape[-1])
    setup = module_signals(model, rnn_modules, control_signals, n_inputs) if library_setup is None else library_setup
    config = SpiceConfig(list(rnn_modules), list(control_signals), setup, filter_setup or {})
    trajectories = record_trajectories(model, sequences, config)
    if whole_number("n_sessions_off_policy", n_sessions_off_policy, 0):
        made_up = off_policy_sessions(sequences, n_sessions_off_policy, n_trials_off_policy, seed=seed)
        trajectories = joined_trajectories(trajectories, record_trajectories(model, made_up, config))
    return FittingData(model, sequences, config, trajectories)


def _sequences(model: BaseRNN, data: DatasetRNN | SequenceDataset | None, seed: int) -> SequenceDataset:
    if data is None:
        task = BanditsDrift(_SIGMA, model.n_actions, seed=seed)
        return simulate_model(model, None, task, _TRIALS, _BLOCKS, seed=seed).data
    if isinstance(data, SequenceDataset):
        return data.to("cpu")
    return SequenceDataset.from_arrays(data.xs.cpu(), data.ys.cpu(), n_embedded(model) or None)


def _own_sequences(model: BaseRNN, data: SequenceDataset, participant_id: int | None) -> SequenceDataset:
    """Select a participant's sequences; give all to participant 0 where the model tells nobody apart."""
    if participant_id is not None:
        rows = torch.nonzero(data.participant == int(participant_id)).squeeze(1)
        if not len(rows):
            raise ConfigError(
                "participant_id is not a participant in the data",
                got=participant_id,
                allowed=sorted(set(data.participant.tolist())),
            )
        data = data.select(rows)
    if n_embedded(model):
        return data
    return replace(data, participant=torch.zeros_like(data.participant), n_participants=1)
