"""read_trials: reads a tidy table of choices and rewards, checks it once, and codes it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.missing_values import MissingValues, as_missing, mark_missing
from spicestat._files.tables import TableSource, check_numeric, read_table
from spicestat.errors import ConfigError, DataError
from spicestat.trials.checks import (
    check_roles,
    code_choices,
    code_complete,
    code_times,
    order_trials,
)
from spicestat.trials.covariates import PERSON, collect_covariates
from spicestat.trials.export_shapes import (
    notice_unnamed,
    refuse_several_rows,
    time_column,
    unused_columns,
)
from spicestat.trials.joining import Tables
from spicestat.trials.labels import labels_to_series, tidy_text
from spicestat.trials.missing_codes import notice_choices, notice_numbers
from spicestat.trials.occasions import code_units, occasion_columns, refuse_varying
from spicestat.trials.roles import Attributes, Columns, Options, Roles, items_of, read_rewards, read_shown
from spicestat.trials.table import TrialTable, count_missing, describe_blocks, load_trials
from spicestat.trials.unnamed_roles import notice_unseen
from spicestat.trials.unusable import Everybody, left_out_and_kept, unusable_participants

__all__ = ["ReadSettings", "TrialColumns", "TrialTable", "load_trials", "read_trials"]

Codes = npt.NDArray[np.int64]


class TrialColumns(TypedDict, total=False):
    """What `read_trials` and `spice_fit` take to read a table, for functions that pass it on."""

    participant: str
    choice: str
    reward: Columns | None
    rt: str | None
    block: str | None
    trial: str | None
    experiment: str | None
    occasion: Columns | None
    stimulus: Columns | None
    options: Options | None
    attributes: Attributes | None
    context: Columns | None
    forced: str | None
    gain: str | None
    loss: str | None
    foregone: str | None
    state2: str | None
    choice2: str | None
    inputs: Sequence[str]
    covariates: Sequence[str] | None
    people: Tables | None
    actions: Sequence[Hashable] | None
    missing: Any
    reward_scaling: Literal["minmax"] | None


class ReadSettings(TrialColumns, total=False):
    """All settings of `read_trials`, for functions that pass them on."""

    unusable: Literal["exclude", "keep", "error"]


def read_trials(
    source: TableSource,
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
    unusable: Literal["exclude", "keep", "error"] = "exclude",
) -> TrialTable:
    """Read a table with one row per trial, check it, and code it.

    Parameters
    ----------
    source : DataFrame, path, pattern or list of paths
        The trials; see `read_table` for the kinds of files and tables. In files, ids and labels stay
        text exactly as written (``1.10``, ``001``). Where there are several files (``"data/*.csv"``) and no column of
        participants, the ids are taken from the names of the files. Where a participant has several files, a column
        ``file`` tells them apart, which can be the ``block``.
    participant : str, default "participant"
        Column of participant ids, of any type. ``1``, ``1.0`` and ``"1"`` are one participant; ``"01"`` is another.
    choice : str, default "choice"
        Column of chosen actions, any labels; a missing value is a missed trial and is kept.
    reward : str, sequence of str or None, default "reward"
        One column with the reward of the chosen action, or one column per action, in action order (per option, where
        choices are items), if the rewards of actions not chosen were shown too. Missing means not observed. None:
        the task has no outcomes. Not needed where there is ``gain`` or ``loss``.
    rt : str, optional
        Column of response times in seconds, above 0, for models that use them. Missing means not
        known; times on trials without a choice are ignored.
    block : str, optional
        Column of blocks within a participant; learning starts afresh in each. Default: one block
        per participant and experiment.
    trial : str, optional
        Numeric column that orders the trials of a block. Default: the order of the rows, which must
        then have the rows of a block next to each other.
    experiment : str, optional
        Column of experiments or tasks.
    occasion : str or sequence of str, optional
        Columns, constant within blocks, on whose values a person may learn differently: a drug, a session, a mood
        before the block. Everybody then counts as one participant per combination of values that occurs, called
        ``s1:placebo``; ``people`` of the table has the person (column ``person``) and the occasion beside. Group
        models put the two together again: ``~ drug + (drug | participant)``. Without ``block``, each occasion is a
        block. May be the same column as ``block``. Where blocks are numbered anew on each occasion, so must trials be.
    stimulus : str or sequence of str, optional
        Columns of what was shown, such as a cue or a pair: what is learned is learned of each (of each combination of
        values), within its block. This and all that follows up to ``choice2`` is for ``model="history"``
        and models of tasks; see docs/tasks.md for which of them a task needs.
    options : sequence or mapping, optional
        Columns of the items on offer, to which values belong wherever they appear: ``["card_left", "card_right"]``
        where ``choice`` holds the item taken, which is the action then; ``{"left": "stim_left", "right":
        "stim_right"}`` where it holds the position. An empty cell means that there is no option.
    attributes : mapping, optional
        Numbers of each option that are known before the choice, such as amounts and delays:
        ``{"amount": ["amount_sooner", "amount_later"]}`` in the order of the actions (of the columns of ``options``,
        where choices are items), or ``{"amount": {"sooner": "amount_sooner", "later": "amount_later"}}``.
    context : str or sequence of str, optional
        Columns of what is known before the choice and is the same for all actions, such as a set size (numbers) or a
        commodity (labels).
    forced : str, optional
        Column that says (true or false) on which trials the choice was not free: they teach, and are not predicted.
    gain, loss : str, optional
        Columns of gains and losses of the chosen action, instead of ``reward``, which is their sum then: losses may
        count differently and be learned apart. Losses are numbers of 0 and below, or sizes of 0 and above.
    foregone : str, optional
        Column with the outcome of the action that was not chosen, where there are two.
    state2, choice2 : str, optional
        Columns of the state that a choice led to, and of the choice made there, before the reward: two-step tasks.
    inputs : sequence of str, default ()
        Numeric columns that a model with a network receives besides choices and rewards.
    covariates : sequence of str, optional
        Columns that describe participants, from ``source`` or ``people``. Default: every column of
        ``people`` and every unused column of ``source`` that is constant within participants (or occasions).
    people : DataFrame, path or list of these, optional
        A second table with the participant column and one row per participant; where there are occasions, it may
        have their columns too, and one row per participant and occasion. Several tables, as one of people and one of
        sites, are each joined on the columns that they share with participants and occasions, or, without the
        participant column, with covariates: a table of sites on ``site``.
    actions : sequence, optional
        Labels of all actions in the wanted order. Default: the sorted labels that occur.
    missing : value, sequence or mapping, optional
        Values that mean "not there": ``[-99, "NR"]`` in all columns but those of participants, experiments, blocks and
        trials, ``{"choice": [-1], "age": ["n.a."]}`` in some. Blank cells are missing anyway. Values that look like
        such codes are noticed; ``missing={"age": []}`` says that all values of a column are meant.
    reward_scaling : {"minmax"}, optional
        ``"minmax"`` maps the range of all observed rewards to 0..1, which moves their zero. Default: rewards as they
        are; `spice_fit` divides them by their largest size, so that units do not matter.
    unusable : {"exclude", "keep", "error"}, default "exclude"
        What to do with participants who made fewer than 2 choices or the same choice throughout:
        leave them out with an `~spicestat.errors.ExclusionWarning`, or raise; "keep" leaves only the former out.
        The latter's likelihood has no maximum of its own, but with a population it says that their weights are large.
        `spice_fit` keeps them where its model has one (``"history"``, published models of tasks).

    Returns
    -------
    TrialTable
        Its ``record`` has ``n_rows_read``, ``n_rows`` (kept), ``n_missing_choices``,
        ``n_missing_rewards`` (a choice without its reward), ``n_rewards_without_choice``,
        ``n_missing_times`` (a choice without its response time; only with ``rt``), ``n_missing_inputs``,
        ``unusable`` (as given), ``constant`` (participants who made the same choice throughout and were kept),
        ``excluded`` (participant and reason), ``reward_range`` (as read), ``reward_scaling``,
        ``reward_note``, ``feedback``, ``without_people_row``, ``n_people_unused``, ``varying`` (unused
        columns that vary within participants), ``columns`` (the column of each role), ``unused_columns`` (with the
        reason), ``unused_rows`` (their number by reason), ``missing`` (as it was given) and ``marked_missing`` (the
        values that were found, and how often). What was not used is printed, too. ``shown`` has the columns of
        ``stimulus`` to ``choice2`` under their own names.

    Raises
    ------
    ColumnError, DataError, CovariateError, ConfigError
        The table does not hold what it should; the message names the column and the first rows,
        numbered from 1.

    Warns
    -----
    SuspiciousDataWarning
        Values look like codes for "missing", labels differ only in case, blanks or zeros around a number, or a column
        for blocks, sessions, runs or trials, or for what was on the screen, is there and has no role.
    ExclusionWarning
        Participants are left out, or have no row in ``people``.

    Examples
    --------
    >>> table = pd.DataFrame({
    ...     "subject": ["b", "b", "b", "a", "a"],
    ...     "choice": ["left", None, "right", "right", "left"],
    ...     "reward": [1, None, 0, 0, 1],
    ...     "age": [31, 31, 31, 24, 24],
    ... })
    >>> trials = read_trials(table, participant="subject")
    >>> trials
    <TrialTable: 2 participants, 2 blocks, 5 trials, 2 actions, covariates: age>
    >>> trials.participants, trials.actions
    (('a', 'b'), ('left', 'right'))
    >>> trials.frame[["participant", "block", "trial", "choice", "reward_0", "reward_1"]]
       participant  block  trial  choice  reward_0  reward_1
    0            0      0      0       1       NaN       0.0
    1            0      0      1       0       1.0       NaN
    2            1      1      0       0       1.0       NaN
    3            1      1      1      -1       NaN       NaN
    4            1      1      2       1       NaN       0.0
    """
    _check_settings(reward_scaling, unusable, inputs, covariates)
    absent = as_missing(missing)
    occasions = occasion_columns(occasion, participant)
    screen = Roles.of(
        stimulus=stimulus,
        options=options,
        attributes=attributes,
        context=context,
        forced=forced,
        gain=gain,
        loss=loss,
        foregone=foregone,
        state2=state2,
        choice2=choice2,
    )
    outcome = _outcome_columns(reward, screen)
    ids = list(dict.fromkeys([participant, *_listed(experiment), *_listed(block), *occasions, *_listed(trial)]))
    labelled = list(dict.fromkeys([choice, *_listed(experiment), *_listed(block), *occasions, *screen.labelled]))
    table = read_table(source, ids=[participant], labels=labelled)
    table.columns = table.columns.map(str)
    n_rows_read = len(table)
    filled = np.flatnonzero(table.notna().any(axis=1).to_numpy()) if len(table.columns) else np.arange(n_rows_read)
    table = table.iloc[filled].reset_index(drop=True)
    roles: dict[str, list[str]] = {
        "participant": [participant],
        "choice": [choice],
        "reward": [outcome] if isinstance(outcome, str) else list(outcome or ()),
        "rt": _listed(rt),
        "block": _listed(block),
        "trial": _listed(trial),
        "experiment": _listed(experiment),
        "occasion": [name for name in occasions if name not in (block, experiment)],
        **screen.by_role(),
        "inputs": list(inputs),
        "covariates": list(covariates or ()),
    }
    check_roles(table, roles)
    used = [name for role, names in roles.items() if role != "covariates" for name in names]
    table, marked = mark_missing(table, absent, ids, labels=[choice])
    table = table.assign(**{name: tidy_text(table[name], "covariate") for name in table.columns if name not in used})

    person, participants = code_complete(table, participant, "participant")
    units = pd.DataFrame({participant: labels_to_series(participants)})
    if occasions:
        refuse_varying(table, [name for name in (participant, experiment, block) if name], occasions, block, trial)
        person, participants, units = code_units(table, participant, occasions)
    action, action_labels = code_choices(table, choice, items_of(table, screen, choice, actions), absent)
    refuse_several_rows(table, choice, roles["reward"], person, action >= 0)
    screen = screen.ordered(action_labels)
    shown, offered = read_shown(table, screen, action, action_labels)
    rewards = read_rewards(table, screen, outcome, action, action_labels, offered, choice)
    if actions is None and outcome is not None and not screen.items_are_chosen:
        _notice_missed(table, roles["reward"], rt or time_column(table, used), action, action_labels, choice, absent)
    times = code_times(table, rt, action)
    extra = {name: check_numeric(table, name, "input").to_numpy() for name in inputs}
    _notice_codes(table, roles["reward"], rewards, rt, times, extra, absent)
    task, experiments, label_code, block_labels = _code_tasks(table, experiment, block)
    key = (person * len(experiments) + task) * len(block_labels) + label_code
    sequence = np.unique(key, return_inverse=True)[1].astype(np.int64)
    order = order_trials(table, sequence, trial, [name for name in (participant, experiment, block) if name])
    notice_unnamed(table, sequence, order, {"block": block, "trial": trial}, [*used, *(covariates or ())])
    found = collect_covariates(
        table,
        person,
        participants,
        units=units,
        roles=used,
        covariates=covariates,
        people=people,
        missing=absent,
    )

    notice_unseen(table, choice, sequence, used, found.people.columns)

    first = np.ones(len(order), dtype=bool)
    first[order[1:]] = np.diff(sequence[order]) != 0
    opening = first & (not screen.known_before_choice)
    reasons = unusable_participants(person, action, opening, len(participants), len(action_labels))
    reasons, constant = left_out_and_kept(reasons, Everybody(participants, bool(occasions)), unusable)
    n_of_excluded = int(np.isin(person, list(reasons)).sum())
    order = order[~np.isin(person[order], list(reasons))]
    frame = pd.DataFrame(
        {
            "participant": _recode(person[order]),
            "experiment": _recode(task[order]),
            "block": _recode(sequence[order]),
        }
    )
    frame["trial"] = frame.groupby("block").cumcount().astype("int64")
    frame["choice"] = action[order]
    unscaled = rewards[order]
    scaled, reward_record = _scale_rewards(unscaled, reward_scaling, _feedback(outcome, screen) != "none")
    for code in range(len(action_labels)):
        frame[f"reward_{code}"] = scaled[:, code]
    if rt is not None:
        frame["rt"] = times[order]
    for name, values in extra.items():
        frame[name] = values[order]

    kept = [code for code in range(len(participants)) if code not in reasons]
    record = {
        "n_rows_read": n_rows_read,
        "n_rows": len(frame),
        **count_missing(frame, unscaled, rt, inputs),
        "n_rewards_without_choice": _rewards_without_choice(table, outcome, action),
        "unusable": unusable,
        "constant": [_plain(participants[code]) for code in constant],
        "excluded": [{"participant": _plain(participants[code]), "reason": why} for code, why in reasons.items()],
        **reward_record,
        "feedback": _feedback(outcome, screen),
        "without_people_row": [_plain(label) for label in found.without_row],
        "n_people_unused": found.n_unused_rows,
        "varying": list(found.varying),
        "unused_columns": unused_columns(table, used, found.people.columns, found.varying),
        "unused_rows": _unused_rows(n_rows_read - len(table), n_of_excluded),
        "missing": absent.plain(),
        "marked_missing": {**found.marked, **marked},
        "columns": {
            "participant": participant,
            "choice": choice,
            "reward": outcome if outcome is None or isinstance(outcome, str) else list(outcome),
            "rt": rt,
            "block": block,
            "trial": trial,
            "experiment": experiment,
            "occasion": occasions,
            **screen.plain(),
            "inputs": list(inputs),
            "covariates": [name for name in found.people.columns[1:] if name not in (PERSON, *occasions)],
        },
    }
    first = order[np.flatnonzero(frame["trial"].to_numpy() == 0)]
    return TrialTable(
        frame=frame,
        participants=tuple(participants[code] for code in kept),
        experiments=tuple(experiments[code] for code in np.unique(task[order])),
        actions=action_labels,
        inputs=tuple(inputs),
        blocks=describe_blocks(frame, [block_labels[code] for code in label_code[first]]),
        people=found.people.iloc[kept].reset_index(drop=True),
        rows=filled[order],
        record=record,
        shown=shown.iloc[order].reset_index(drop=True),
    )


def _check_settings(reward_scaling: object, unusable: object, *lists: object) -> None:
    if reward_scaling not in (None, "minmax"):
        raise ConfigError("reward_scaling is unknown", got=repr(reward_scaling), allowed="None or 'minmax'")
    if unusable not in ("exclude", "keep", "error"):
        raise ConfigError("unusable is unknown", got=repr(unusable), allowed="'exclude', 'keep' or 'error'")
    for names in lists:
        if isinstance(names, str):
            raise ConfigError("inputs and covariates are lists of columns", got=repr(names), do=f"pass [{names!r}]")


def _notice_missed(
    table: pd.DataFrame,
    rewards: Sequence[str],
    rt: str | None,
    action: Codes,
    labels: Sequence[Hashable],
    choice: str,
    missing: MissingValues,
) -> None:
    numbers = [
        pd.to_numeric(table[name], errors="coerce").to_numpy("float64", na_value=np.nan)
        for name in (*rewards, *_listed(rt))
    ]
    times = None if rt is None else numbers[len(rewards)]
    notice_choices(action, labels, np.stack(numbers[: len(rewards)], axis=1), times, choice, missing)


def _notice_codes(
    table: pd.DataFrame,
    names: Sequence[str],
    rewards: npt.NDArray[np.float64],
    rt: str | None,
    times: npt.NDArray[np.float64],
    extra: Mapping[str, npt.NDArray[np.float64]],
    missing: MissingValues,
) -> None:
    """Look for codes among the numbers of the roles; rewards of several columns are each looked at."""
    columns = {names[0]: rewards} if len(names) == 1 else {name: rewards[:, code] for code, name in enumerate(names)}
    for name, values in columns.items():
        notice_numbers(values, name, "reward", missing)
    if rt is not None:
        notice_numbers(times, rt, "response time", missing)
    for name, values in extra.items():
        notice_numbers(values, name, "input", missing)


def _outcome_columns(reward: Columns | None, screen: Roles) -> Columns | None:
    """Return the columns of rewards; None where they are gains and losses, or where there are none."""
    if screen.gain is None and screen.loss is None:
        if reward is None and screen.foregone is not None:
            raise ConfigError("`foregone` needs `reward`, the outcome of the chosen action", got=screen.foregone)
        return reward
    if reward not in (None, "reward") or screen.foregone is not None:
        raise ConfigError(
            "gains and losses are the reward of the chosen action",
            got=f"reward={reward!r}, foregone={screen.foregone!r}",
            do="leave these out, or leave gain and loss out",
        )
    return None


def _feedback(outcome: Columns | None, screen: Roles) -> str:
    if outcome is None:
        return "none" if screen.gain is None and screen.loss is None else "partial"
    return "partial" if isinstance(outcome, str) and screen.foregone is None else "counterfactual"


def _unused_rows(n_empty: int, n_excluded: int) -> dict[str, int]:
    counts = {"empty": n_empty, "of participants who are left out": n_excluded}
    return {reason: count for reason, count in counts.items() if count}


def _listed(name: str | None) -> list[str]:
    return [] if name is None else [name]


def _code_tasks(
    table: pd.DataFrame, experiment: str | None, block: str | None
) -> tuple[Codes, tuple[Hashable, ...], Codes, tuple[Hashable, ...]]:
    """Code experiments and block labels; a column not given is one experiment, or one block, called 0."""
    nothing: tuple[Codes, tuple[Hashable, ...]] = (np.zeros(len(table), dtype=np.int64), (0,))
    task, experiments = nothing if experiment is None else code_complete(table, experiment, "experiment")
    label_code, block_labels = nothing if block is None else code_complete(table, block, "block")
    return task, experiments, label_code, block_labels


def _recode(codes: Codes) -> Codes:
    """Close the gaps that left-out participants leave in the codes."""
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def _scale_rewards(
    rewards: npt.NDArray[np.float64], scaling: str | None, outcomes: bool
) -> tuple[npt.NDArray[np.float64], dict[str, Any]]:
    if np.isnan(rewards).all():
        if outcomes:
            raise DataError("the participants who are left have no rewards", do="check the reward column")
        return rewards, {"reward_range": None, "reward_scaling": {"method": "none"}, "reward_note": "no rewards"}
    low, high = float(np.nanmin(rewards)), float(np.nanmax(rewards))
    record: dict[str, Any] = {"reward_range": [low, high]}
    if scaling is None:
        record["reward_scaling"] = {"method": "none"}
        record["reward_note"] = f"rewards are as in the data, {low:g} to {high:g}"
        return rewards, record
    if low == high:
        raise DataError(
            "rewards cannot be scaled to 0..1 because they are all equal", got=low, do="drop reward_scaling='minmax'"
        )
    record["reward_scaling"] = {"method": "minmax", "min": low, "max": high}
    record["reward_note"] = f"rewards were mapped from {low:g}..{high:g} to 0..1, one range for all participants"
    return (rewards - low) / (high - low), record


def _rewards_without_choice(table: pd.DataFrame, reward: Columns | None, choice: Codes) -> int:
    """Count the rewards that are dropped because nobody knows which action they belong to."""
    return int(table.loc[choice < 0, reward].notna().sum()) if isinstance(reward, str) else 0


def _plain(label: Hashable) -> str | bool | int | float:
    return label if isinstance(label, str | bool | int | float) else str(label)
