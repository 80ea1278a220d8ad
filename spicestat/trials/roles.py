"""Roles of what is on the screen: stimuli, options, attributes, contexts, forced trials, gains and losses."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from spicestat._files.tables import check_numeric, first_rows
from spicestat.errors import ColumnError, ConfigError, DataError
from spicestat.trials.checks import code_rewards
from spicestat.trials.labels import code_labels, label_key, labels_to_series, tidy_text
from spicestat.trials.table import TrialTable

__all__ = [
    "Attributes",
    "Columns",
    "Options",
    "Roles",
    "WITHOUT_NETWORK",
    "items_of",
    "losses_of",
    "read_rewards",
    "read_shown",
    "refuse_shown",
]

Columns = str | Sequence[str]
Options = Sequence[str] | Mapping[Any, str]
Attributes = Mapping[str, Sequence[str] | Mapping[Any, str]]
Codes = npt.NDArray[np.int64]

_SINGLE = ("forced", "gain", "loss", "foregone", "state2", "choice2")
_TRUE, _FALSE = ("true", "t", "yes", "1", "1.0"), ("false", "f", "no", "0", "0.0")


@dataclass(frozen=True)
class Roles:
    """Columns of what is known of a trial beside choice and reward.

    Attributes
    ----------
    stimulus, context : tuple of str
    options : tuple of str
        One column for each action (`positions`) or for each place on the screen.
    positions : tuple, optional
        The actions, in the order of ``options``, where choices are positions; None where they are the items taken.
    attributes : mapping of str to tuple of str, or to mapping of action to str
    forced, gain, loss, foregone, state2, choice2 : str, optional
    """

    stimulus: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    positions: tuple[Hashable, ...] | None = None
    attributes: Mapping[str, tuple[str, ...] | Mapping[Any, str]] | None = None
    context: tuple[str, ...] = ()
    forced: str | None = None
    gain: str | None = None
    loss: str | None = None
    foregone: str | None = None
    state2: str | None = None
    choice2: str | None = None

    @classmethod
    def of(
        cls,
        *,
        stimulus: Columns | None = None,
        options: Options | None = None,
        attributes: Attributes | None = None,
        context: Columns | None = None,
        **single: str | None,
    ) -> Roles:
        """Read the roles as `read_trials` is given them.

        Raises
        ------
        ConfigError
            Options or attributes are not what they should be.

        Examples
        --------
        >>> Roles.of(options={"left": "stim_left", "right": "stim_right"}).positions
        ('left', 'right')
        """
        positions = tuple(options) if isinstance(options, Mapping) else None
        columns = tuple(options.values()) if isinstance(options, Mapping) else _listed(options)
        if options is not None and (isinstance(options, str) or len(columns) < 2):
            raise ConfigError(
                "`options` names two or more columns",
                got=repr(options),
                do="pass the columns with the items on offer, as options=['card_left', 'card_right'] where choices are "
                "items, or options={'left': 'stim_left', 'right': 'stim_right'} where they are positions",
            )
        if attributes is not None and not isinstance(attributes, Mapping):
            raise ConfigError(
                "`attributes` says for each attribute which columns hold it",
                got=repr(attributes),
                do="pass a mapping such as {'amount': ['amount_sooner', 'amount_later']}, columns in the order of the "
                "actions",
            )
        if single.get("choice2") is not None and single.get("state2") is None:
            raise ConfigError("`choice2` needs `state2`, the state that it was made in", got=single["choice2"])
        named = {
            name: dict(given) if isinstance(given, Mapping) else _listed(given)
            for name, given in (attributes or {}).items()
        }
        return cls(_listed(stimulus), columns, positions, named or None, _listed(context), **single)

    @property
    def items_are_chosen(self) -> bool:
        """Whether choices are the items taken, and not positions."""
        return bool(self.options) and self.positions is None

    @property
    def n_places(self) -> int | None:
        """Number of places on the screen, where choices are items."""
        return len(self.options) if self.items_are_chosen else None

    @property
    def known_before_choice(self) -> bool:
        """Whether anything is known before a first choice."""
        return bool(self.stimulus or self.options or self.attributes or self.context)

    @property
    def labelled(self) -> tuple[str, ...]:
        """Columns that hold labels, which stay as they are written."""
        return (*self.stimulus, *self.options, *(name for name in (self.state2, self.choice2) if name is not None))

    def by_role(self) -> dict[str, list[str]]:
        """Return the columns of every role."""
        attributes: list[str] = []
        for given in (self.attributes or {}).values():
            attributes += list(given.values() if isinstance(given, Mapping) else given)
        roles = {
            "stimulus": list(self.stimulus),
            "options": list(self.options),
            "attributes": attributes,
            "context": list(self.context),
        }
        return roles | {role: [] if name is None else [name] for role, name in self.single.items()}

    @property
    def single(self) -> dict[str, str | None]:
        """Roles of one column at most."""
        return {role: getattr(self, role) for role in _SINGLE}

    def ordered(self, actions: Sequence[Hashable]) -> Roles:
        """Bring options and attributes into the order of the actions.

        Raises
        ------
        ConfigError
            An action has no column, or a column has no action.
        """
        options, positions = self.options, self.positions
        if positions is not None:
            options = _in_order("options", dict(zip(positions, options, strict=True)), actions)
            positions = tuple(actions)
        expected = self.n_places or len(actions)
        attributes = {}
        for name, given in (self.attributes or {}).items():
            if isinstance(given, Mapping):
                if self.items_are_chosen:
                    raise ConfigError(
                        f"the columns of attribute '{name}' are given by action, and choices are items",
                        do=f"list them in the order of the options: {list(given.values())!r}",
                    )
                attributes[name] = _in_order(f"attribute '{name}'", given, actions)
                continue
            if len(given) != expected:
                raise ConfigError(
                    f"attribute '{name}' needs one column for each {'option' if self.n_places else 'action'}",
                    got=f"{len(given)} columns for {expected}: {', '.join(map(str, self.options or actions))}",
                    do="list one column for each, in this order",
                )
            attributes[name] = given
        return Roles(self.stimulus, options, positions, attributes or None, self.context, **self.single)

    def plain(self) -> dict[str, Any]:
        """Return plain data for the record of the trials, once `ordered`."""
        attributes = {name: list(columns) for name, columns in (self.attributes or {}).items()}
        return {
            "stimulus": list(self.stimulus),
            "options": list(self.options),
            "items_are_chosen": self.items_are_chosen,
            "attributes": attributes,
            "context": list(self.context),
            **self.single,
        }


def _listed(given: Columns | None) -> tuple[str, ...]:
    return () if given is None else (given,) if isinstance(given, str) else tuple(given)


def _in_order(what: str, given: Mapping[Any, str], actions: Sequence[Hashable]) -> tuple[str, ...]:
    by_key = {label_key(action): column for action, column in given.items()}
    if set(by_key) != set(map(label_key, actions)):
        raise ConfigError(
            f"{what} must name one column for each action",
            got=", ".join(map(str, given)),
            allowed=", ".join(map(str, actions)),
            do="name a column for each of these, one without entries for an action that is never on offer",
        )
    return tuple(by_key[label_key(action)] for action in actions)


def items_of(
    table: pd.DataFrame, roles: Roles, choice: str, actions: Sequence[Hashable] | None
) -> tuple[Hashable, ...] | None:
    """Return the items that can be chosen, where choices are items: the actions.

    Raises
    ------
    DataError
        No choice is an item on offer.
    """
    if not roles.items_are_chosen:
        return None if actions is None else tuple(actions)
    offered = pd.concat([table[name] for name in roles.options], ignore_index=True)
    items = code_labels(offered.rename("options"), "option")[1]
    taken = code_labels(table[choice], "choice")[1]
    if taken and not set(map(label_key, taken)) & set(map(label_key, items)):
        told = ", ".join(f"{label!r}: {name!r}" for label, name in zip(taken, roles.options, strict=False))
        raise DataError(
            f"no choice in column '{choice}' is one of the items in {', '.join(map(repr, roles.options))}",
            got=f"choices {', '.join(map(repr, taken[:5]))}; items {', '.join(map(repr, items[:5]))}",
            do=f"if choices are positions, say which column holds the item of each: options={{{told}}}",
        )
    return items if actions is None else tuple(actions)


def read_shown(
    table: pd.DataFrame, roles: Roles, action: Codes, actions: Sequence[Hashable]
) -> tuple[pd.DataFrame, Codes | None]:
    """Check and tidy the columns of what was shown.

    Parameters
    ----------
    table : DataFrame
        The trials, in file order.
    roles : Roles
        Brought into the order of the actions.
    action : int64 ndarray, one per trial
        The choices, -1 for a missed trial.
    actions : sequence
        Their labels.

    Returns
    -------
    shown : DataFrame
        The columns of these roles, under their names: labels, or numbers.
    offered : int64 ndarray of shape (n, places) or None
        Codes of the items on offer, -1 where there is none: of the actions, where choices are items.

    Raises
    ------
    DataError, ColumnError
        A value is missing, or is not what it should be; the message names rows.
    """
    made = action >= 0
    columns = {name: _labels(table, name, "stimulus", made) for name in roles.stimulus}
    # the second stage may have been missed
    seconds = [name for name in (roles.state2, roles.choice2) if name is not None]
    columns |= {name: _labels(table, name, "second stage", np.zeros(len(table), dtype=bool)) for name in seconds}
    for name in roles.context:
        numeric = pd.api.types.is_numeric_dtype(table[name].dtype)
        columns[name] = _numbers(table, name, "context", made) if numeric else _labels(table, name, "context", made)
    offered = _offered(table, roles, actions, columns)
    if offered is not None:
        refuse_not_offered(table, roles, action, offered)
    for name, group in (roles.attributes or {}).items():
        for place, column in enumerate(group):
            there = made if offered is None else made & (offered[:, place] >= 0)
            columns[column] = _numbers(table, column, f"attribute '{name}'", there)
    if roles.forced is not None:
        columns[roles.forced] = _truth(table, roles.forced, made)
    outcomes = [name for name in (roles.gain, roles.loss, roles.foregone) if name is not None]
    columns |= {name: pd.Series(check_numeric(table, name, "reward").to_numpy()) for name in outcomes}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(table))), offered


def _labels(table: pd.DataFrame, name: str, what: str, made: npt.NDArray[np.bool_]) -> pd.Series[Any]:
    """Labels, as they are written; complete where there is a choice."""
    codes, labels = code_labels(tidy_text(table[name], what), what)
    _refuse_missing(table, name, what, made & (codes < 0), "fill in the labels or drop these rows")
    return _kept(labels, codes)


def _kept(labels: Sequence[Hashable], codes: Codes) -> pd.Series[Any]:
    """Labels of codes; as text where they are of several types, which no file can hold in one column."""
    same = len({type(label) for label in labels}) == 1
    return labels_to_series(labels if same else list(map(label_key, labels)), codes)


def _numbers(table: pd.DataFrame, name: str, what: str, needed: npt.NDArray[np.bool_]) -> pd.Series[Any]:
    values = check_numeric(table, name, what).to_numpy(dtype="float64", na_value=np.nan)
    _refuse_missing(table, name, what, needed & np.isnan(values), "fill in the numbers or drop these rows")
    return pd.Series(values)


def _truth(table: pd.DataFrame, name: str, made: npt.NDArray[np.bool_]) -> pd.Series[Any]:
    keys = np.array([label_key(value).casefold() if pd.notna(value) else "" for value in table[name].tolist()])
    yes, no = np.isin(keys, _TRUE), np.isin(keys, _FALSE)
    odd = made & ~yes & ~no
    if odd.any():
        raise ColumnError(
            f"column '{name}' must say which trials were forced",
            got=first_rows(table, odd, [name]),
            allowed="true and false, or 1 and 0",
            do="recode it, or drop these rows",
        )
    return pd.Series(yes)


def _refuse_missing(table: pd.DataFrame, name: str, what: str, lacking: npt.NDArray[np.bool_], do: str) -> None:
    if lacking.any():
        raise DataError(
            f"{what} column '{name}' has missing values where there is a choice",
            got=first_rows(table, lacking, [name]),
            do=do,
        )


def _offered(
    table: pd.DataFrame, roles: Roles, actions: Sequence[Hashable], columns: dict[str, pd.Series[Any]]
) -> Codes | None:
    """Codes of the items on offer, (n, places)."""
    if not roles.options:
        return None
    stacked = pd.concat([tidy_text(table[name], "option") for name in roles.options], ignore_index=True)
    codes, labels = code_labels(stacked.rename("options"), "option")
    if roles.items_are_chosen:
        position = {label_key(action): code for code, action in enumerate(actions)}
        unknown = [code for code, label in enumerate(labels) if label_key(label) not in position]
        if unknown:
            where = np.asarray(np.isin(codes, unknown).reshape(len(roles.options), -1).any(axis=0))
            raise DataError(
                "items on offer are not in actions",
                got=first_rows(table, where, roles.options),
                allowed=", ".join(map(repr, actions)),
                do="add them to actions",
            )
        recode = np.array([position[label_key(label)] for label in labels] + [-1], dtype=np.int64)
        codes, labels = recode[codes], tuple(actions)
    offered = codes.reshape(len(roles.options), -1).T
    for place, name in enumerate(roles.options):
        columns[name] = _kept(labels, offered[:, place])
    twice = np.zeros(len(table), dtype=bool)
    for place in range(1, offered.shape[1]):
        same = (offered[:, :place] == offered[:, [place]]).any(axis=1)
        twice |= np.asarray(same & (offered[:, place] >= 0))
    if twice.any():
        raise DataError(
            "the same item is on offer twice",
            got=first_rows(table, twice, roles.options),
            do="correct these rows; an empty cell says that there is no other option",
        )
    return offered


def refuse_not_offered(table: pd.DataFrame, roles: Roles, action: Codes, offered: Codes) -> None:
    """Raise `DataError` where what was chosen was not on offer."""
    if roles.items_are_chosen:
        there = (offered == action[:, None]).any(axis=1)
    else:
        there = np.take_along_axis(offered, np.maximum(action, 0)[:, None], axis=1)[:, 0] >= 0
    wrong = (action >= 0) & ~there
    if wrong.any():
        raise DataError(
            "choices were not on offer",
            got=first_rows(table, wrong, roles.options),
            allowed="one of the row's options",
            do="correct the choice or the options of these rows, or name the right columns in options",
        )


def read_rewards(
    table: pd.DataFrame,
    roles: Roles,
    reward: Columns | None,
    action: Codes,
    actions: Sequence[Hashable],
    offered: Codes | None,
    choice: str,
) -> npt.NDArray[np.float64]:
    """Return the observed reward of every action, (n, A), NaN where not observed.

    Parameters
    ----------
    table, roles, action, actions, offered
        As in, and from, `read_shown`.
    reward : str, sequence of str or None
        The column with the reward of the chosen action, or one for each action (for each option, where choices are
        items). None: gains and losses, or no outcome.
    choice : str
        The column of choices, for messages.

    Raises
    ------
    DataError, ColumnError, ConfigError
    """
    if reward is None:
        sums = _outcomes(table, roles)
        if sums is None:
            return np.full((len(table), len(actions)), np.nan)
        return code_rewards(sums.to_frame(), str(sums.name), action, actions, choice)
    if roles.items_are_chosen and offered is not None and not isinstance(reward, str):
        places = code_rewards(table, list(reward), action, roles.options, choice)
        rewards = np.full((len(table), len(actions)), np.nan)
        row, place = np.nonzero((offered >= 0) & (action >= 0)[:, None])
        rewards[row, offered[row, place]] = places[row, place]
        return rewards
    rewards = code_rewards(table, reward, action, actions, choice)
    if roles.foregone is not None:
        _add_foregone(table, roles.foregone, rewards, action, offered if roles.items_are_chosen else None)
    return rewards


def _outcomes(table: pd.DataFrame, roles: Roles) -> pd.Series[Any] | None:
    """Return the sum of gains and losses, or None where there are none."""
    parts = []
    for role, name in (("gain", roles.gain), ("loss", roles.loss)):
        if name is None:
            continue
        values = check_numeric(table, name, role).to_numpy()
        if role == "loss" and not (values < 0).any():
            values = -values
        odd = np.asarray(values < 0 if role == "gain" else values > 0)
        if odd.any():
            raise DataError(
                f"{role} column '{name}' has numbers of the wrong sign",
                got=first_rows(table, odd, [name]),
                allowed="gains of 0 or above; losses that are all of one sign",
                do="part gains from losses, or pass their sum as reward=...",
            )
        parts.append(values)
    return pd.Series(np.sum(parts, axis=0), name=roles.gain or roles.loss) if parts else None


def _add_foregone(
    table: pd.DataFrame, name: str, rewards: npt.NDArray[np.float64], action: Codes, offered: Codes | None
) -> None:
    """Put the outcome of the action that was not chosen, of two, among the rewards."""
    values = check_numeric(table, name, "reward").to_numpy()
    there = (action >= 0) & ~np.isnan(values)
    if offered is None:
        several = np.full(len(table), rewards.shape[1] != 2)
        other = 1 - action
    else:
        several = (offered >= 0).sum(axis=1) != 2
        other = np.where(offered >= 0, offered, 0).sum(axis=1) - action
    if (there & several).any():
        raise DataError(
            f"column '{name}' has one outcome of what was not chosen, and there were more or fewer than two options",
            got=first_rows(table, there & several, [name]),
            do="name one reward column for each option: reward=[...]",
        )
    rewards[there, other[there]] = values[there]


def losses_of(shown: pd.DataFrame, columns: Mapping[str, Any]) -> npt.NDArray[np.float64] | None:
    """Return the losses of coded trials, 0 or below; None where gains and losses are not told apart."""
    gain, loss = columns.get("gain"), columns.get("loss")
    if gain is None and loss is None:
        return None
    if loss is None:
        return np.zeros(len(shown))
    return np.asarray(-np.abs(shown[loss].to_numpy(dtype="float64")))


WITHOUT_NETWORK = ("stimulus", "options", "attributes", "context", "forced", "state2")


def refuse_shown(table: TrialTable) -> None:
    """Raise where trials have roles that networks have no use for.

    Raises
    ------
    ConfigError
    """
    columns = table.record["columns"]
    given = [role for role in WITHOUT_NETWORK if columns.get(role)]
    if given or table.record.get("feedback") == "none":
        raise ConfigError(
            "networks learn from choices and rewards, and have no use for other roles of columns",
            got=", ".join(given) or "reward=None",
            do="pass model='history', or leave these out",
        )
