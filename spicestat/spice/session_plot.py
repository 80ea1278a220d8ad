"""plot_session: what agents believed on each trial of a session, and what happened."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from spicestat._checks import whole_number
from spicestat._files.atomic import write_file
from spicestat.errors import ConfigError, StorageError
from spicestat.simulate.base_agent import Agent
from spicestat.spice.sessions import BanditSession, get_update_dynamics
from spicestat.trials.features import FeatureLayout

__all__ = ["plot_session"]

Style = tuple[str, str | tuple[int, tuple[int, ...]], float]

# colour, line style and width: agents that agree must stay visible beneath each other
_STYLES: Mapping[str, Style] = {
    "groundtruth": ("tab:blue", "solid", 2.2),
    "rnn": ("tab:orange", (0, (5, 2)), 1.6),
    "spice": ("tab:pink", (0, (2, 1)), 1.6),
    "sindy": ("tab:pink", (0, (2, 1)), 1.6),
    "benchmark": ("tab:grey", "solid", 1.2),
}

_SIGNALS = ("x_value_reward", "x_learning_rate_reward", "x_value_choice")
_TRIAL_VALUE = "x_value_trial"
_NAMES = {
    "x_value_reward": "reward value\n× β",
    "x_learning_rate_reward": "learning rate",
    "x_value_choice": "choice value\n× β",
    _TRIAL_VALUE: "trial value\n× β",
}
_INK, _PALE = "#333333", "#c9ced3"


@dataclass(frozen=True, eq=False)
class _Replay:
    """One agent's replay: values (T, A) by panel name, and how to draw them."""

    label: str
    style: Style
    values: Mapping[str, np.ndarray]
    n_actions: int


def plot_session(
    agents: Mapping[str, Agent],
    experiment: BanditSession | np.ndarray | torch.Tensor,
    labels: Sequence[str] | None = None,
    save: str | Path | None = None,
    display_choice: int = 0,
    reward_range: Sequence[float] | None = None,
    signals: Sequence[str] | None = None,
) -> tuple[Figure, np.ndarray]:
    """Draw a session as agents see it: one panel per quantity, one line per agent.

    The panels, from top to bottom: probability and logit ("Q-value") of one action, its reward value,
    learning rate and choice value before each trial, its trial value if an agent has one, and the trials
    themselves: which action was chosen, and which reward followed.

    Parameters
    ----------
    agents : mapping of str to Agent
        ``"groundtruth"`` (blue), ``"rnn"`` (orange), ``"spice"`` or ``"sindy"`` (pink), ``"benchmark"`` (grey).
        Every agent starts a new session for the replay.
    experiment : BanditSession, or array or tensor of shape (T, F)
        The session; for arrays see `get_update_dynamics`. Padding at its end is left out.
    labels : sequence of str, optional
        Names in the legend, in the order of ``agents``. Default: the keys.
    save : str or Path, optional
        Image file to write; its ending decides the format.
    display_choice : int, default 0
        The action that the lines are about.
    reward_range : (low, high), optional
        Rewards drawn as empty and as full circles. Default: the range in the session, and at least 0 to 1
        where no reward lies outside.
    signals : sequence of str, optional
        States to draw in place of reward value, learning rate, choice value and trial value.

    Returns
    -------
    (Figure, ndarray of Axes)
        The figure belongs to pyplot, so that ``plt.show()`` shows it; close it with ``plt.close(figure)``.
        No style is changed.

    Raises
    ------
    ConfigError
        An agent has an unknown key, agents differ in their actions, or a setting does not fit.
    ShapeError, DataError
        The experiment has the wrong shape or holds no trial.
    StorageError
        The file cannot be written.

    Examples
    --------
    >>> from spicestat.simulate.agentq import AgentQ
    >>> from spicestat.simulate.environments import BanditsDrift
    >>> from spicestat.spice.sessions import run_experiment
    >>> experiment, _, _ = run_experiment(AgentQ(seed=1), BanditsDrift(sigma=0.2, seed=1), 40)
    >>> figure, axes = plot_session({"groundtruth": AgentQ(), "benchmark": AgentQ(alpha_reward=0.5)}, experiment)
    >>> [axis.get_ylabel() for axis in axes][:2], len(axes)
    (['P(action 0)', 'Q-value'], 6)
    """
    keys = _checked_keys(agents, labels)
    drawn = tuple(signals) if signals is not None else _default_signals(agents)
    replays = [
        _replay(agent, experiment, key, label, drawn)
        for (_, agent), key, label in zip(agents.items(), keys, labels or list(agents), strict=True)
    ]
    action = _action(display_choice, replays)
    choices, rewards = _trials(experiment, replays[0])
    low, high = _range(rewards, reward_range)
    panels = ["probability", "q", *drawn]
    figure, axes = _panels([_varies(replays, panel, action) for panel in panels])
    titles = [f"P(action {action})", "Q-value", *(_NAMES.get(signal, signal) for signal in drawn)]
    for axis, panel, title in zip(axes, panels, titles, strict=False):
        _draw_lines(axis, replays, panel, action, title)
    axes[0].set_ylim(-0.04, 1.04)
    axes[0].legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(replays), frameon=False, fontsize=9)
    _draw_trials(axes[-1], choices, (rewards - low) / (high - low), (low, high), replays[0].n_actions)
    if save is not None:
        _save(figure, Path(save))
    return figure, axes


def _save(figure: Figure, path: Path) -> None:
    content = io.BytesIO()
    try:
        figure.savefig(content, dpi=200, format=path.suffix.removeprefix(".") or None)
    except ValueError as error:
        raise StorageError(f"the figure cannot be saved: {error}", got=str(path)) from error
    write_file(path, content.getvalue())


def _checked_keys(agents: Mapping[str, Agent], labels: Sequence[str] | None) -> list[str]:
    keys = [key.lower() for key in agents]
    unknown = [key for key, lower in zip(agents, keys, strict=True) if lower not in _STYLES]
    if unknown or not keys:
        raise ConfigError(
            "agents has unknown keys" if keys else "there is no agent", got=unknown, allowed=list(_STYLES)
        )
    if labels is not None and (isinstance(labels, str) or len(labels) != len(keys)):
        raise ConfigError(
            "labels must name every agent", got=labels, allowed=f"{len(keys)} names, in this order: {keys}"
        )
    others = [key for key, agent in agents.items() if not isinstance(agent, Agent)]
    if others:
        raise ConfigError(
            "these are not agents", got=others, do="pass estimator.rnn_agent and estimator.spice_agent, or an AgentQ"
        )
    sizes = sorted({agent.n_actions for agent in agents.values()})
    if len(sizes) > 1:
        raise ConfigError("the agents differ in their number of actions", got=sizes)
    return keys


def _default_signals(agents: Mapping[str, Agent]) -> tuple[str, ...]:
    return (*_SIGNALS, _TRIAL_VALUE) if any(_TRIAL_VALUE in agent.state for agent in agents.values()) else _SIGNALS


def _replay(
    agent: Agent, experiment: BanditSession | np.ndarray | torch.Tensor, key: str, label: str, signals: Sequence[str]
) -> _Replay:
    (q, states), probabilities, _ = get_update_dynamics(experiment, agent, additional_signals=signals)
    own = {signal: states[signal] for signal in signals if signal in agent.state}
    return _Replay(label, _STYLES[key], {"probability": probabilities, "q": q, **own}, agent.n_actions)


def _action(display_choice: int, replays: Sequence[_Replay]) -> int:
    action = whole_number("display_choice", display_choice, 0)
    if action >= replays[0].n_actions:
        raise ConfigError(
            "display_choice is not one of the actions", got=action, allowed=f"0 to {replays[0].n_actions - 1}"
        )
    return action


def _trials(experiment: BanditSession | np.ndarray | torch.Tensor, replay: _Replay) -> tuple[np.ndarray, np.ndarray]:
    """Return the choices (T,), -1 where missing, and the rewards of the chosen actions (T,)."""
    n_trials, n_actions = replay.values["q"].shape
    if isinstance(experiment, BanditSession):
        choices, rewards = np.asarray(experiment.choices, dtype="int64"), np.asarray(experiment.rewards, dtype=float)
    else:
        features = np.asarray(torch.as_tensor(experiment).detach().cpu(), dtype=float)
        features = features.reshape(-1, features.shape[-1])[:n_trials]
        layout = FeatureLayout(n_actions, features.shape[1])
        actions, rewards = features[:, layout.actions], features[:, layout.rewards]
        choices = np.where((actions > 0).any(axis=1), np.nan_to_num(actions, nan=-1.0).argmax(axis=1), -1)
    received = np.take_along_axis(rewards, np.maximum(choices, 0)[:, None], axis=1)[:, 0]
    return choices, np.where(choices >= 0, received, np.nan)


def _range(rewards: np.ndarray, given: Sequence[float] | None) -> tuple[float, float]:
    if given is None:
        observed = rewards[np.isfinite(rewards)]
        if not len(observed) or (observed.min() >= 0 and observed.max() <= 1):
            return 0.0, 1.0
        return float(observed.min()), float(max(observed.max(), observed.min() + 1e-9))
    if len(given) != 2 or not float(given[0]) < float(given[1]):
        raise ConfigError("reward_range is a pair of numbers, the smaller one first", got=list(given))
    return float(given[0]), float(given[1])


def _varies(replays: Sequence[_Replay], panel: str, action: int) -> bool:
    values = [replay.values[panel][:, action] for replay in replays if panel in replay.values]
    return bool(values) and bool(np.nanmax(values) > np.nanmin(values))


def _panels(tall: Sequence[bool]) -> tuple[Figure, np.ndarray]:
    # only here, as pyplot chooses a backend
    import matplotlib.pyplot as plt

    heights = [1.0 if varies else 0.3 for varies in tall] + [0.5]
    figure, axes = plt.subplots(
        len(heights),
        1,
        figsize=(9.0, 1.0 + 1.35 * sum(heights)),
        sharex=True,
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    column: np.ndarray = axes[:, 0]
    for axis in column:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=8, color=_PALE)
        axis.spines[["left", "bottom"]].set_color(_PALE)
    figure.align_ylabels(column)
    return figure, column


def _draw_lines(axis: Axes, replays: Sequence[_Replay], panel: str, action: int, title: str) -> None:
    axis.set_ylabel(title, fontsize=9)
    for replay in replays:
        if panel in replay.values:
            values = replay.values[panel][:, action]
            colour, dashes, width = replay.style
            axis.plot(
                np.arange(1, len(values) + 1),
                values,
                color=colour,
                linestyle=dashes,
                linewidth=width,
                label=replay.label,
            )
    if not _varies(replays, panel, action):
        axis.set_ylabel(title, fontsize=9, rotation=0, ha="right", va="center")
        axis.set_yticks(sorted({float(line.get_ydata()[0]) for line in axis.lines}))  # type: ignore[index, arg-type]
    if not axis.lines:
        axis.text(
            0.5, 0.5, "no agent has it", transform=axis.transAxes, ha="center", va="center", fontsize=8, color=_INK
        )


def _draw_trials(
    axis: Axes, choices: np.ndarray, share: np.ndarray, limits: tuple[float, float], n_actions: int
) -> None:
    """Draw one circle per trial in the row of its action, the fuller the larger the reward."""
    trial = np.arange(1, len(choices) + 1)
    made, seen = choices >= 0, np.isfinite(share)
    grey = np.clip(1.0 - share, 0.0, 1.0)
    rewarded = made & seen
    axis.scatter(
        trial[rewarded], choices[rewarded], c=np.repeat(grey[rewarded, None], 3, axis=1), s=16, edgecolors=_INK, lw=0.6
    )
    axis.scatter(trial[made & ~seen], choices[made & ~seen], c=_INK, s=14, marker="x", lw=0.8)
    axis.scatter(trial[~made], np.full((~made).sum(), -0.75), c=_INK, s=18, marker="|", lw=0.8)
    axis.set_ylim(n_actions - 0.4, -1.0 if (~made).any() else -0.6)
    axis.set_yticks(range(n_actions), [f"action {number}" for number in range(n_actions)])
    axis.set_xlabel("trial", fontsize=9, loc="left")
    axis.set_xlim(0, len(choices) + 1)
    keys = [_mark("o", "black", f"reward {limits[1]:.3g}"), _mark("o", "white", f"reward {limits[0]:.3g}")]
    keys += [_mark("x", _INK, "reward not seen")] * bool((made & ~seen).any())
    keys += [_mark("|", _INK, "no choice")] * bool((~made).any())
    axis.legend(handles=keys, loc="upper right", bbox_to_anchor=(1.0, -0.2), ncols=len(keys), frameon=False, fontsize=8)


def _mark(marker: str, colour: str, label: str) -> Line2D:
    return Line2D(
        [], [], linestyle="none", marker=marker, markersize=4, markerfacecolor=colour, markeredgecolor=_INK, label=label
    )
