"""simulate_model: all participants of a model play a task, by its networks or its equations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from spicestat._checks import seed_number, whole_number
from spicestat._runtime.threads import one_thread
from spicestat.agents.stepper import Stepper
from spicestat.equations.structure.equation_set import EquationSet
from spicestat.errors import ConfigError
from spicestat.models.base import BaseRNN
from spicestat.models.precoded import DeclaredModel
from spicestat.simulate.base_agent import softmax
from spicestat.simulate.user_environment import as_environment
from spicestat.trials.sequences import SequenceDataset

__all__ = ["Simulation", "simulate_model"]


@dataclass(frozen=True, eq=False)
class Simulation:
    """Choices and rewards of S simulated sequences of T trials.

    Attributes
    ----------
    participant : int ndarray of shape (S,)
        Participant codes of the model.
    label : ndarray of shape (S,)
        Their labels in `trials`.
    block : int ndarray of shape (S,)
        Blocks from 0.
    choice : int ndarray of shape (S, T)
        Actions from 0.
    rewards : ndarray of shape (S, T, A)
        NaN where not shown.
    probabilities : ndarray of shape (S, T, A)
        Probability of each action before the choice.
    """

    participant: np.ndarray
    label: np.ndarray
    block: np.ndarray
    choice: np.ndarray
    rewards: np.ndarray
    probabilities: np.ndarray

    def __repr__(self) -> str:
        sequences, trials, actions = self.rewards.shape
        return f"<Simulation: {sequences} sequences of {trials} trials, {actions} actions; see .trials>"

    @cached_property
    def trials(self) -> pd.DataFrame:
        """``participant, block, trial, choice, reward``, as `spice_fit` reads them, one row per trial.

        Blocks, trials and choices count from 1. If the task shows rewards of actions not chosen, also
        ``reward_1`` to ``reward_A``.
        """
        n_sequences, n_trials, n_actions = self.rewards.shape
        received = np.take_along_axis(self.rewards, self.choice[..., None], axis=2)
        columns = {
            "participant": np.repeat(self.label, n_trials),
            "block": np.repeat(self.block + 1, n_trials),
            "trial": np.tile(np.arange(1, n_trials + 1), n_sequences),
            "choice": self.choice.ravel() + 1,
            "reward": received.ravel(),
        }
        if np.isfinite(self.rewards).sum() > np.isfinite(received).sum():
            columns |= {f"reward_{action + 1}": self.rewards[..., action].ravel() for action in range(n_actions)}
        return pd.DataFrame(columns)

    @property
    def data(self) -> SequenceDataset:
        """The sequences as the models read them, with the codes of `participant`; needs two trials or more."""
        n_actions = self.rewards.shape[2]
        one_hot = np.eye(n_actions)[self.choice]
        ids = np.stack([self.block, np.zeros_like(self.block), self.participant], axis=1)
        ids = np.broadcast_to(ids[:, None], (*self.choice.shape, ids.shape[1]))
        xs = np.concatenate([one_hot, self.rewards, ids], axis=2)
        return SequenceDataset.from_arrays(xs[:, :-1], one_hot[:, 1:])

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood per choice, the first of each sequence left out: what a perfect fit reaches."""
        chosen = np.take_along_axis(self.probabilities, self.choice[..., None], axis=2)
        return float(-np.log(chosen[:, 1:]).mean())


def simulate_model(
    model: BaseRNN,
    equations: EquationSet | None,
    environment: Any,
    n_trials: int,
    n_blocks: int = 1,
    participants: Sequence[int] | None = None,
    seed: int = 0,
    labels: Sequence[object] | None = None,
) -> Simulation:
    """Let a model play a task, all participants and blocks at once; response times are not simulated.

    Parameters
    ----------
    model : BaseRNN
        A model without additional inputs; it is left as it is.
    equations : EquationSet, optional
        Equations to play by. Default: the model plays by its networks.
    environment : Bandits, or anything that `as_environment` takes
        The task; every block is a session of its own.
    n_trials : int
        Trials per block, 1 or more.
    n_blocks : int, default 1
        Blocks per participant.
    participants : sequence of int, optional
        Codes of the participants who play; a code may occur more than once. Default: everybody in the equations or the
        participant embedding, once each.
    seed : int, default 0
        The same seed gives the same trials.
    labels : sequence, optional
        Labels in `Simulation.trials`, one for each of ``participants``. Default: the codes, or numbers from 0 where a
        code occurs more than once.

    Returns
    -------
    Simulation

    Raises
    ------
    ConfigError
        A size is out of range, a participant unknown, or the task has another number of actions.

    Examples
    --------
    >>> from spicestat.models.precoded import LearningRateRNN
    >>> from spicestat.simulate.environments import BanditsDrift
    >>> played = simulate_model(LearningRateRNN(n_actions=2), None, BanditsDrift(sigma=0.1), 20, participants=[0, 0])
    >>> played.trials.shape, list(played.trials)
    ((40, 5), ['participant', 'block', 'trial', 'choice', 'reward'])
    """
    run = Stepper(model, equations)
    codes = np.arange(run.n_participants) if participants is None else np.asarray(participants, dtype="int64")
    names = _labels(codes, labels)
    n_trials, n_blocks = whole_number("n_trials", n_trials, 1), whole_number("n_blocks", n_blocks, 1)
    if not len(codes):
        raise ConfigError("nobody plays", got="no participants")
    if isinstance(model, DeclaredModel) and model.declaration.inputs:
        raise ConfigError(
            "a model with additional inputs cannot play a task, which has none",
            got=", ".join(model.declaration.inputs),
            do="simulate with a model without inputs",
        )
    rng = np.random.default_rng(seed_number(seed))
    task = as_environment(environment, model.n_actions).vectorized(len(codes) * n_blocks, rng)
    block = np.tile(np.arange(n_blocks), len(codes))
    choice = np.empty((len(block), n_trials), dtype="int64")
    rewards = np.empty((len(block), n_trials, model.n_actions))
    probabilities = np.empty_like(rewards)
    with one_thread():
        run.start(np.repeat(codes, n_blocks))
        for trial in range(n_trials):
            policy = softmax(run.logits.double().numpy())
            passed = np.cumsum(policy[:, :-1], axis=1) < rng.random((len(block), 1))
            probabilities[:, trial], choice[:, trial] = policy, passed.sum(axis=1)
            rewards[:, trial] = task.step(choice[:, trial])
            run.step(choice[:, trial], rewards[:, trial], block)
    participant = np.repeat(codes, n_blocks)
    return Simulation(participant, np.repeat(names, n_blocks), block, choice, rewards, probabilities)


def _labels(codes: np.ndarray, labels: Sequence[object] | None) -> np.ndarray:
    if labels is None:
        return codes if len(set(codes.tolist())) == len(codes) else np.arange(len(codes))
    if len(set(labels)) != len(codes):
        raise ConfigError("labels must name every participant once", got=len(set(labels)), allowed=len(codes))
    return pd.Series(list(labels)).to_numpy()
