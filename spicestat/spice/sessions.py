"""Sessions: agents play environments, or replay recorded choices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.progress import track

from spicestat._checks import whole_number
from spicestat.errors import ConfigError, DataError, ShapeError
from spicestat.simulate.arguments import rewards_per_action
from spicestat.simulate.base_agent import Agent
from spicestat.simulate.base_environment import Bandits
from spicestat.simulate.user_environment import as_environment
from spicestat.spice.dataset import DatasetRNN
from spicestat.trials.features import FeatureLayout

__all__ = ["BanditSession", "Dynamics", "create_dataset", "get_update_dynamics", "run_experiment"]

Dynamics = tuple[tuple[np.ndarray, dict[str, np.ndarray]], np.ndarray, Agent]


class BanditSession(NamedTuple):
    """Choices and rewards of one session of T trials.

    Slices, index arrays and boolean masks give the session of these trials: ``session[10:20]``.

    Attributes
    ----------
    choices : int ndarray of shape (T,)
        Actions from 0; -1 where there was no choice.
    rewards : ndarray of shape (T, A)
        Rewards per action, NaN where not shown.
    session : int ndarray of shape (T,)
        Number of the session or participant.
    n_trials : int
        T.

    Examples
    --------
    >>> session = BanditSession(np.array([0, 1, 1]), np.eye(2)[[0, 1, 1]], np.zeros(3, dtype=int), 3)
    >>> session[1:].choices, session.set_session(4).session
    (array([1, 1]), array([4, 4, 4]))
    """

    choices: np.ndarray
    rewards: np.ndarray
    session: np.ndarray
    n_trials: int

    def set_session(self, session: int) -> BanditSession:
        """Return a copy with another session number."""
        return self._replace(session=np.full_like(self.session, session))

    def __getitem__(self, trials: Any) -> BanditSession:  # type: ignore[override]
        kept = np.atleast_1d(np.arange(self.n_trials)[trials])
        return BanditSession(self.choices[kept], self.rewards[kept], self.session[kept], len(kept))


def run_experiment(
    agent: Agent, environment: Bandits | Any, n_trials: int, session_id: int = 0
) -> tuple[BanditSession, np.ndarray, np.ndarray]:
    """Let an agent play one session of T trials, and one more trial for the last prediction.

    Neither the agent nor a `Bandits` is reset, so that several experiments can follow each other; an
    environment of another kind is.

    Parameters
    ----------
    agent : Agent
        The agent that plays.
    environment : Bandits, or what `as_environment` takes
        What is played.
    n_trials : int
        Trials T of the session, 1 or more.
    session_id : int, default 0
        Its number.

    Returns
    -------
    experiment : BanditSession
        The first T trials.
    choices : int ndarray of shape (T + 1,)
        All choices.
    rewards : ndarray of shape (T + 1, A)
        All rewards, NaN where not shown.

    Raises
    ------
    ConfigError
        Agent and environment differ in the number of actions, or a number is out of range.

    Examples
    --------
    >>> from spicestat.simulate import AgentQ, BanditsDrift
    >>> experiment, choices, rewards = run_experiment(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 10)
    >>> experiment.n_trials, choices.shape, rewards.shape
    (10, (11,), (11, 2))
    """
    task = as_environment(environment, agent.n_actions)
    if not isinstance(environment, Bandits):
        task.new_sess()
    return _play(agent, task, whole_number("n_trials", n_trials, 1), session_id)


def create_dataset(
    agent: Agent | Sequence[Agent],
    environment: Bandits | Any,
    n_trials: int,
    n_sessions: int,
    sequence_length: int | None = None,
    stride: int = 1,
    sample_parameters: bool = False,
    device: torch.device | str | None = None,
    verbose: bool = False,
) -> tuple[DatasetRNN, list[BanditSession], list[dict[str, float]]]:
    """Let agents play S new sessions of T trials, and put them into the layout that the models read.

    Parameters
    ----------
    agent : Agent or sequence of Agent
        The agent that plays, or one agent per session.
    environment : Bandits, or what `as_environment` takes
        The task; it starts anew in every session.
    n_trials : int
        Trials per session T, 1 or more.
    n_sessions : int
        Number of sessions S, 1 or more.
    sequence_length, stride : int
        See `DatasetRNN`. Default: whole sessions.
    sample_parameters : bool, default False
        Whether every session draws new parameters; see ``parameter_variance`` of `AgentQ`.
    device : torch device, optional
        Where the tensors are put.
    verbose : bool, default False
        Whether to show a progress bar.

    Returns
    -------
    dataset : DatasetRNN
        ``xs`` (S, T, 2A + 1): choice one-hot, rewards per action (NaN where not shown; SPICE writes -1), and
        the number of the session as participant. ``ys`` (S, T, A): the next choice one-hot.
    sessions : list of BanditSession
        One per session.
    parameters : list of dict of str to float
        The agents' parameters, one dict per session; empty for agents that have none.

    Raises
    ------
    ConfigError
        A number is out of range, agents and environment differ in the number of actions, or the number of
        agents is not the number of sessions.

    Examples
    --------
    >>> from spicestat.simulate import AgentQ, BanditsDrift
    >>> dataset, sessions, parameters = create_dataset(AgentQ(seed=1), BanditsDrift(0.2, seed=1), 10, 3)
    >>> dataset.xs.shape, dataset.ys.shape, len(sessions), parameters[0]["alpha_reward"]
    (torch.Size([3, 10, 5]), torch.Size([3, 10, 2]), 3, 0.2)
    """
    n_trials, n_sessions = whole_number("n_trials", n_trials, 1), whole_number("n_sessions", n_sessions, 1)
    agents = list(agent) if isinstance(agent, Sequence) else [agent] * n_sessions
    if len(agents) != n_sessions or len({one.n_actions for one in agents}) != 1:
        raise ConfigError(
            "agent is one agent, or a list with one agent per session that all have the same actions",
            got=[one.n_actions for one in agents],
            do=f"pass {n_sessions} agents, one per session",
        )
    task = as_environment(environment, agents[0].n_actions)
    played, parameters = [], []
    for number, player in enumerate(track(agents, "Creating dataset") if verbose else agents):
        task.new_sess()
        player.new_sess(participant_id=number, sample_parameters=sample_parameters)
        played.append(_play(player, task, n_trials, number))
        parameters.append(dict(getattr(player, "parameters", {})))
    one_hot = np.eye(agents[0].n_actions)[np.stack([choices for _, choices, _ in played])]
    rewards = np.stack([rewards for _, _, rewards in played])
    numbers = np.broadcast_to(np.arange(n_sessions)[:, None, None], (n_sessions, n_trials, 1))
    xs = np.concatenate([one_hot[:, :-1], rewards[:, :-1], numbers], axis=-1)
    dataset = DatasetRNN(xs, one_hot[:, 1:], sequence_length=sequence_length, stride=stride, device=device)
    return dataset, [session for session, _, _ in played], [one for one in parameters if one]


def get_update_dynamics(
    experiment: BanditSession | np.ndarray | torch.Tensor,
    agent: Agent,
    additional_signals: Sequence[str] = ("x_value_reward", "x_learning_rate_reward", "x_value_choice"),
) -> Dynamics:
    """Replay a session through an agent, and record its states before every trial.

    Parameters
    ----------
    experiment : BanditSession, or array of shape (T, F) or (1, T, F)
        Features of `DatasetRNN`: ``F = 2A + 1`` (actions, rewards, participant) or ``F >= 2A + 3`` (actions,
        rewards, additional inputs, block, experiment, participant). Trailing steps whose actions are all NaN
        or -1 are padding and left out; such a step in between, or one of zeros only, is a missed trial.
    agent : Agent
        Starts a new session as this participant; the agent is not copied.
    additional_signals : sequence of str
        States to record.

    Returns
    -------
    (q, signals) : ndarray of shape (T, A), and dict of str to ndarray of shape (T, A)
        Logits, and the recorded states, times their inverse temperatures where they have one. All zeros for
        a state that the agent does not have.
    choice_probs : ndarray of shape (T, A)
        Choice probabilities.
    agent : Agent
        The agent after the last trial.

    Raises
    ------
    ShapeError
        The experiment has another shape.
    DataError
        It holds no trial.

    Examples
    --------
    >>> from spicestat.simulate import AgentQ
    >>> experiment = np.array([[1.0, 0.0, 1.0, np.nan, 0.0], [0.0, 1.0, np.nan, 0.0, 0.0]])
    >>> (q, signals), choice_probs, _ = get_update_dynamics(experiment, AgentQ(alpha_reward=0.4))
    >>> q
    array([[1.5, 1.5],
           [2.1, 1.5]])
    """
    features = _features(experiment, agent.n_actions)
    actions, rewards, inputs, ids = _parted(features, agent.n_actions)
    agent.new_sess(participant_id=int(ids[0, -1]), experiment_id=int(ids[0, -2]), additional_embedding_inputs=inputs[0])
    choices = np.where((actions > 0).any(axis=1), np.nan_to_num(actions, nan=-1.0).argmax(axis=1), -1)
    q, choice_probs = np.zeros(actions.shape), np.zeros(actions.shape)
    signals = {signal: np.zeros(actions.shape) for signal in additional_signals}
    for trial, choice in enumerate(choices):
        q[trial], choice_probs[trial] = agent.q, agent.get_choice_probs()
        for signal, values in signals.items():
            if signal in agent.state:
                values[trial] = agent.get_state_value(signal)
        agent.update(int(choice), rewards[trial], block=int(ids[trial, -3]), additional_inputs=inputs[trial])
    return (q, signals), choice_probs, agent


def _play(
    agent: Agent, environment: Bandits, n_trials: int, session_id: int
) -> tuple[BanditSession, np.ndarray, np.ndarray]:
    choices = np.empty(n_trials + 1, dtype="int64")
    rewards = np.empty((n_trials + 1, agent.n_actions))
    for trial in range(n_trials + 1):
        choices[trial] = choice = agent.get_choice()
        rewards[trial] = rewards_per_action(environment.step(choice), choice, agent.n_actions)
        agent.update(choice, rewards[trial])
    session = BanditSession(choices[:-1], rewards[:-1], np.full(n_trials, session_id, dtype="int64"), n_trials)
    return session, choices, rewards


def _features(experiment: BanditSession | np.ndarray | torch.Tensor, n_actions: int) -> np.ndarray:
    """Return the features (T, F) of a session as floats, without the padding at its end."""
    if isinstance(experiment, BanditSession):
        one_hot = np.asarray(experiment.choices)[:, None] == np.arange(n_actions)
        participant = np.reshape(experiment.session, (len(one_hot), -1))[:, :1]
        return np.concatenate([one_hot, experiment.rewards, participant], axis=1, dtype="float64")
    detached = experiment.detach().cpu() if isinstance(experiment, torch.Tensor) else experiment
    features = np.asarray(detached, dtype="float64")
    if features.ndim == 3 and len(features) == 1:
        features = features[0]
    if features.ndim != 2:
        raise ShapeError("the experiment has the wrong shape", got=features.shape, allowed="(T, F) or (1, T, F)")
    actions = features[:, FeatureLayout(n_actions, features.shape[1]).actions]
    trials = np.flatnonzero(~(np.isnan(actions) | (actions == -1)).all(axis=1))
    if not len(trials):
        raise DataError("the experiment holds no trial, only padding")
    return features[: trials[-1] + 1]


def _parted(features: np.ndarray, n_actions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Part features (T, F) into actions (T, A), rewards (T, A), inputs (T, I) and ids (T, 3)."""
    layout = FeatureLayout(n_actions, features.shape[1])
    ids = features[:, layout.ids]
    if not layout.has_blocks:
        ids = np.concatenate([np.zeros((len(ids), 2)), ids], axis=1)
    return features[:, layout.actions], features[:, layout.rewards], features[:, layout.inputs], np.nan_to_num(ids)
