"""Off-policy sessions: simulated trials that take networks beyond what participants chose."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from spicestat._checks import seed_number, whole_number
from spicestat.equations.trajectories import Trajectory
from spicestat.errors import DataError
from spicestat.trials.sequences import SequenceDataset

__all__ = ["joined_trajectories", "off_policy_sessions"]


def off_policy_sessions(
    data: SequenceDataset, n_sessions: int, n_trials: int = 1000, same_action: int = 5, seed: int = 0
) -> SequenceDataset:
    """Make up sessions of every participant in which actions are drawn at random.

    An action is repeated some times in a row. Rewards and additional inputs are drawn from those of the
    data, so that they are on the data's scale, and rewards of actions not chosen are shown if the data show
    them. The choices are nobody's: no likelihood should be computed from them.

    Parameters
    ----------
    data : SequenceDataset
        Whose participants to take, and what rewards and inputs look like.
    n_sessions : int
        Sessions per participant, 1 or more.
    n_trials : int, default 1000
        Trials per session, 2 or more.
    same_action : int, default 5
        How often an action is repeated.
    seed : int, default 0
        The same seed gives the same sessions.

    Raises
    ------
    ConfigError
        A number is out of range.
    DataError
        The data hold no reward.

    Examples
    --------
    >>> xs = torch.tensor([[[1.0, 0, 1, 0, 3], [0, 1, 0, 0, 3]]])
    >>> data = SequenceDataset.from_arrays(xs, xs[..., :2])
    >>> made_up = off_policy_sessions(data, n_sessions=2, n_trials=20)
    >>> tuple(made_up.actions.shape), made_up.participant.tolist()
    ((2, 19, 2), [3, 3])
    """
    whole_number("n_sessions", n_sessions, 1)
    whole_number("n_trials", n_trials, 2)
    whole_number("same_action", same_action, 1)
    rng = np.random.default_rng(seed_number(seed))
    codes = np.repeat(np.unique(data.participant.cpu().numpy()), n_sessions)
    shape, n_actions = (len(codes), n_trials), data.n_actions
    runs = rng.integers(n_actions, size=(len(codes), -(-n_trials // same_action)))
    actions = np.eye(n_actions)[np.repeat(runs, same_action, axis=1)[:, :n_trials]]
    rewards = _rewards(data, actions, rng)
    given = data.inputs[data.valid].cpu().numpy()
    inputs = given[rng.integers(len(given), size=shape)] if given.shape[1] else np.zeros((*shape, 0))
    ids = np.broadcast_to(np.stack([np.zeros_like(codes), np.zeros_like(codes), codes], axis=1)[:, None], (*shape, 3))
    xs = np.concatenate([actions, rewards, inputs, ids], axis=-1)
    return SequenceDataset.from_arrays(xs[:, :-1], actions[:, 1:], data.n_participants, data.n_experiments)


def _rewards(data: SequenceDataset, actions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw rewards (S, T, A) from those of the data's chosen actions; NaN where data of this kind show none."""
    observed = torch.isfinite(data.rewards) & data.valid[..., None]
    pool = data.rewards[observed & (data.actions > 0)].cpu().numpy()
    if not len(pool):
        raise DataError("the data hold no reward to draw from")
    rewards = pool[rng.integers(len(pool), size=actions.shape)]
    counterfactual = bool((observed & (data.actions == 0)).any())
    return rewards if counterfactual else np.where(actions > 0, rewards, np.nan)


def joined_trajectories(first: Mapping[str, Trajectory], second: Mapping[str, Trajectory]) -> dict[str, Trajectory]:
    """Put the rows of two recordings of the same modules behind each other."""
    return {
        module: Trajectory(
            np.concatenate([first[module].variables, second[module].variables]),
            np.concatenate([first[module].target, second[module].target]),
            np.concatenate([first[module].participant, second[module].participant]),
        )
        for module in first
    }
