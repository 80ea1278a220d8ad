"""Task: what a published model of a task is, and which columns of trials it reads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from spicestat.errors import ConfigError, DataError
from spicestat.group.inputs.links import Link, find_link
from spicestat.pooled.packed import Floats
from spicestat.tasks.choosing import SOFTMAX, Rule

if TYPE_CHECKING:
    from spicestat.tasks.playing import TaskCohort
    from spicestat.tasks.task_trials import TaskTrials

__all__ = ["Size", "Task", "TaskParameter", "World", "find_action"]

ROLES = (
    "stimulus",
    "options",
    "attributes",
    "context",
    "forced",
    "gain",
    "loss",
    "foregone",
    "state2",
    "choice2",
    "rt",
)
"""Roles beside choice and reward that a model may read or refuse."""
_ALWAYS = ("forced", "gain", "loss")
_EXAMPLES = {
    "stimulus": "stimulus='cue'",
    "options": "options={'left': 'stim_left', 'right': 'stim_right'}",
    "attributes": "attributes={'amount': ['amount_1', 'amount_2'], ...}, a column for each action",
    "context": "context='set_size', or a list of columns",
    "foregone": "foregone='outcome_unchosen'",
    "state2": "state2='state2'",
    "choice2": "choice2='choice2'",
    "rt": "rt='rt', in seconds",
}

World = Generator[Any, Any, None]
"""What a simulated task does: it yields what is shown, and then the outcome of each choice that it is sent."""


@dataclass(frozen=True)
class TaskParameter:
    """A parameter of a task's model.

    Attributes
    ----------
    name, meaning : str
    typical : float
        A usual value, at which estimation starts and about which people are simulated; where there is a ``unit``, for
        data whose largest number there is 1 in size.
    link : {"identity", "logit", "log"}
        Any number, a share in (0, 1), or a positive number: on this scale people are normally distributed.
    spread : float, default 0.5
        Standard deviation of simulated people on the scale of the link.
    unit : str, default ""
        With whose units it grows: "reward", an attribute, or "context"; after a "/" it shrinks, as a weight of values
        does ("1/reward").
    """

    name: str
    meaning: str
    typical: float
    link: str
    spread: float = 0.5
    unit: str = ""

    def start(self, sizes: Mapping[str, float]) -> float:
        """Return the usual value, on the scale of the link, where the largest rewards and attributes have these sizes.

        Examples
        --------
        >>> beta = TaskParameter("beta", "weight of values", 5.0, "log", unit="1/reward")
        >>> round(float(np.exp(beta.start({"reward": 100.0}))), 3)
        0.05
        """
        above, *below = self.unit.split("/")
        value = self.typical * (sizes.get(above, 1.0) or 1.0)
        for name in below:
            value /= sizes.get(name, 1.0) or 1.0
        return float(self.found_link.to_unconstrained(np.array(value)))

    @property
    def range(self) -> tuple[float, float]:
        """Values that are possible, both ends excluded."""
        return {"logit": (0.0, 1.0), "log": (0.0, np.inf)}.get(self.link, (-np.inf, np.inf))

    @property
    def found_link(self) -> Link:
        """The link."""
        return find_link(self.link)


@dataclass(frozen=True)
class Size:
    """Sizes of a simulated task: trials of a block, and blocks of all people, with person codes (S,)."""

    n_trials: int
    person: np.ndarray

    @property
    def n_sessions(self) -> int:
        """Number of blocks of all people, S."""
        return len(self.person)


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A task with its published model; each file of `spicestat.tasks` has some.

    Attributes
    ----------
    name : str
        As ``model=`` of `spice_fit`.
    title : str
    equations : str
        As published, in a line or a few.
    source : str
        Author, year, DOI.
    needs : tuple of tuple of str
        Roles of columns that the model reads beside choice and reward; of each tuple one is needed.
    takes : tuple of str
        Roles that it takes, but does not need.
    parameters : tuple of TaskParameter
    columns : mapping
        Arguments of `spice_fit` that fit the trials of `simulate`.
    actions : tuple
        Labels of the actions in simulated trials.
    utilities : callable
        ``utilities(trials, parameters)`` yields, for each trial, what decides between the actions, and then learns
        from what was chosen and came of it. Parameters are (Q, S) arrays by name.
    world : callable
        ``world(size, rng)``, see `World`.
    n_trials, n_blocks : int
        The usual numbers for a person.
    rule : Rule
        From what is yielded to probabilities; the softmax by default.
    learns : bool
        Whether there are outcomes to learn from; else ``reward=None``.
    labels : mapping of str to tuple
        Labels of stimuli, items and the like in simulated trials, by role.
    reward_size : float, default 1
        Size of the largest reward in simulated trials.
    check : callable, optional
        Raises where trials are not what the model is for.
    """

    name: str
    title: str
    equations: str
    source: str
    parameters: tuple[TaskParameter, ...]
    utilities: Callable[[TaskTrials, Mapping[str, Floats]], Iterator[Floats]]
    world: Callable[[Size, np.random.Generator], World]
    columns: Mapping[str, Any]
    actions: tuple[Hashable, ...]
    n_trials: int
    n_blocks: int = 1
    needs: tuple[tuple[str, ...], ...] = ()
    takes: tuple[str, ...] = ()
    rule: Rule = SOFTMAX
    learns: bool = True
    labels: Mapping[str, tuple[Hashable, ...]] = field(default_factory=dict)
    reward_size: float = 1.0
    check: Callable[[TaskTrials], None] | None = None

    @property
    def roles(self) -> tuple[str, ...]:
        """Roles of columns that the model reads, those of which one of several is enough joined by "or"."""
        own = ("choice", "reward") if self.learns else ("choice",)
        return (*own, *(" or ".join(group) for group in self.needs))

    @property
    def links(self) -> tuple[Link, ...]:
        """The parameters' links."""
        return tuple(one.found_link for one in self.parameters)

    def simulate(
        self,
        n_participants: int = 30,
        n_trials: int | None = None,
        *,
        seed: int = 0,
        parameters: Mapping[str, Any] | None = None,
    ) -> TaskCohort:
        """Let people play the task by its model.

        Parameters
        ----------
        n_participants : int, default 30
        n_trials : int, optional
            Trials of a block; default: the usual number.
        seed : int, default 0
        parameters : mapping of str to float or sequence of length n_participants, optional
            Values of some parameters; the others are drawn.

        Returns
        -------
        TaskCohort
            ``trials``, one row per trial, with the columns that `columns` names, and ``truth``, one row per person.

        Raises
        ------
        ConfigError
            A number is out of range, or a parameter is unknown.
        """
        from spicestat.tasks.playing import play_task

        return play_task(self, n_participants, n_trials, seed, dict(parameters or {}))

    def check_roles(self, columns: Mapping[str, Any], feedback: str | None) -> None:
        """Raise where trials lack a role that the model reads, or have one for which it has no use.

        Parameters
        ----------
        columns : mapping
            The record of a `TrialTable`.
        feedback : str, optional
            Likewise; "none" where there are no outcomes.

        Raises
        ------
        ConfigError
        """
        given = [role for role in ROLES if columns.get(role)]
        for group in self.needs:
            if not set(group) & set(given):
                raise ConfigError(
                    f"the model '{self.name}' needs the role {' or '.join(group)}",
                    got=", ".join(given) or "none of these",
                    do="pass " + " or ".join(_EXAMPLES[role] for role in group),
                )
        known = {*_ALWAYS, *self.takes, *(role for group in self.needs for role in group)}
        spare = [role for role in given if role not in known]
        if spare:
            raise ConfigError(
                f"the model '{self.name}' has no use for these roles of columns",
                got=", ".join(spare),
                allowed=", ".join(self.roles),
                do="leave them out, or pass model='history'",
            )
        if columns.get("inputs"):
            raise ConfigError(
                f"the model '{self.name}' has no use for additional inputs", got=list(columns["inputs"]), do="leave out"
            )
        if self.learns == (feedback == "none"):
            do = "name the column of rewards" if self.learns else "pass reward=None"
            what = "learns from rewards" if self.learns else "has no outcomes"
            raise ConfigError(f"the model '{self.name}' {what}", got=f"reward={columns.get('reward')!r}", do=do)

    def __repr__(self) -> str:
        lines = [f"Task {self.name}: {self.title} ({self.source})", f"  {self.equations}"]
        lines += [f"  reads {', '.join(self.roles)}"]
        lines += [f"  {one.name}: {one.meaning} ({one.link})" for one in self.parameters]
        return "\n".join(lines)


def find_action(actions: tuple[Hashable, ...], words: tuple[str, ...], what: str) -> int:
    """Return the position of the action that is called by one of some words, whatever their case.

    Raises
    ------
    DataError
        None is, or several are.

    Examples
    --------
    >>> find_action((0, 1), ("go", "1", "true"), "to go")
    1
    """
    found = [place for place, label in enumerate(actions) if str(label).strip().lower() in words]
    if len(found) != 1 or len(actions) != 2:
        raise DataError(
            f"it is not clear which of two choices is {what}",
            got=", ".join(map(repr, actions)),
            allowed=f"two labels, one of them one of {', '.join(map(repr, words))}",
            do="recode the choices",
        )
    return found[0]
