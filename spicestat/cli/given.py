"""Arguments as text: pairs, values and models that options give, and options that messages recommend."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from spicestat.errors import ConfigError, StorageError

__all__ = [
    "as_attributes",
    "as_effects",
    "as_fits",
    "as_kinds",
    "as_missing_values",
    "as_model",
    "as_named",
    "as_options",
    "as_settings",
    "as_spoken",
]


def as_options(given: list[str]) -> list[str] | dict[str, str] | None:
    """Read columns of items on offer, or ``action=column`` pairs.

    Examples
    --------
    >>> as_options(["card_left", "card_right"]), as_options(["left=stim_left", "right=stim_right"])
    (['card_left', 'card_right'], {'left': 'stim_left', 'right': 'stim_right'})
    """
    pairs = [text.partition("=") for text in given]
    if any(sign for _, sign, _ in pairs) and not all(sign and name and column for name, sign, column in pairs):
        raise ConfigError(
            "`--option` cannot be read", got=given, allowed="COLUMN for each option, or ACTION=COLUMN for each of them"
        )
    return {name: column for name, sign, column in pairs if sign} or given or None


def as_attributes(given: list[str]) -> dict[str, list[str]] | None:
    """Read ``name=column`` pairs, the columns of a name in the order of the actions.

    Examples
    --------
    >>> as_attributes(["amount=amount_sooner", "amount=amount_later"])
    {'amount': ['amount_sooner', 'amount_later']}
    """
    found: dict[str, list[str]] = {}
    for text in given:
        name, _, column = text.partition("=")
        if not name or not column:
            raise ConfigError("`--attribute` cannot be read", got=given, allowed="NAME=COLUMN for each action")
        found.setdefault(name, []).append(column)
    return found or None


def as_missing_values(given: list[str]) -> list[str] | dict[str, list[str]] | None:
    """Read values, or ``column=value`` pairs, of missing values; ``column=`` says that a column has none.

    Examples
    --------
    >>> as_missing_values(["-99", "NR"]), as_missing_values(["age=-99", "age=-98", "sex="])
    (['-99', 'NR'], {'age': ['-99', '-98'], 'sex': []})
    """
    pairs = [text.partition("=") for text in given]
    if not any(sign for _, sign, _ in pairs):
        return given or None
    if not all(sign and name for name, sign, _ in pairs):
        raise ConfigError(
            "`--missing` cannot be read", got=given, allowed="values for all columns, or COLUMN=VALUE for each of them"
        )
    columns: dict[str, list[str]] = {}
    for name, _, value in pairs:
        columns.setdefault(name, []).extend([value] if value else [])
    return columns


def as_spoken(message: object) -> str:
    """Write the argument that a message recommends as it is written on the command line.

    Examples
    --------
    >>> as_spoken("pass missing={'age': [-99, 'n.a.']}")
    'pass --missing age=-99 --missing age=n.a.'
    """

    def option(found: re.Match[str]) -> str:
        (name, values), *_ = ast.literal_eval(found.group(1)).items()
        return " ".join(f"--missing {shlex.quote(f'{name}={value}')}" for value in values or [""])

    return re.sub(r"missing=(\{'(?:[^'\\]|\\.)*': \[(?:'(?:[^'\\]|\\.)*'|[^'\]])*\]\})", option, str(message))


def as_settings(given: list[str], read: Callable[[str], Any] | None = None) -> dict[str, Any]:
    """Read ``name=value`` pairs; a name that is repeated has a list of values, and ``name.key=value`` is a mapping's.

    Values are read as numbers, true or false, or text, unless ``read`` says otherwise.

    Examples
    --------
    >>> as_settings(["seed=3", "knapp_hartung=false", "links.beta=log"])
    {'seed': 3, 'knapp_hartung': False, 'links': {'beta': 'log'}}
    >>> as_settings(["covariates_on=beta", "covariates_on=x_value_choice"])
    {'covariates_on': ['beta', 'x_value_choice']}
    """
    read = read or _value
    settings: dict[str, Any] = {}
    for text in given:
        # from the right: keys are names of modules, which may hold anything
        place, _, value = text.rpartition("=")
        name, dot, key = place.partition(".")
        before = settings.get(name)
        if not name or (dot and not key) or (before is not None and bool(dot) != isinstance(before, dict)):
            raise ConfigError(
                "`--set` cannot be read", got=given, allowed="name=value, or name.key=value for a mapping"
            )
        if dot:
            settings.setdefault(name, {})[key] = read(value)
        elif before is None:
            settings[name] = read(value)
        else:
            settings[name] = [*(before if isinstance(before, list) else [before]), read(value)]
    return settings


def _value(text: str) -> Any:
    """Read a number, true or false, and everything else as text."""
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def as_model(given: str) -> Any:
    """Return the model of a name, or the one that a ``.json`` file declares (`ModelDeclaration.to_dict`).

    Raises
    ------
    StorageError
        The file cannot be read.
    ConfigError
        It declares no model.

    Examples
    --------
    >>> as_model("choice")
    'choice'
    """
    if Path(given).suffix.lower() != ".json":
        return given
    from spicestat._files.atomic import parse_json
    from spicestat.models.precoded.declared import ModelDeclaration

    try:
        content = Path(given).read_bytes()
    except OSError as error:
        raise StorageError(f"the model cannot be read: {error}", got=given) from error
    return ModelDeclaration.from_dict(parse_json(content, given))


def as_fits(given: list[str]) -> dict[str, Path]:
    """Read ``NAME=FOLDER`` pairs; a folder alone is called what it is called.

    Examples
    --------
    >>> [name for name in as_fits(["fits/choice", "rw=fits/rescorla"])]
    ['choice', 'rw']
    """
    pairs = [text.rpartition("=") for text in given]
    names = [name or Path(folder).name for name, _, folder in pairs]
    if len(set(names)) < len(names):
        raise ConfigError("two fits have the same name", got=names, allowed="NAME=FOLDER with a name of its own")
    return {name: Path(folder) for name, (_, _, folder) in zip(names, pairs, strict=True)}


def as_effects(given: list[str]) -> Any:
    """Read numbers, or ``term=number`` pairs, with a list where a term is repeated.

    Examples
    --------
    >>> as_effects(["0.1", "0.2"]), as_effects(["drug=0.2", "drug:x=0", "drug:x=0.1"])
    ([0.1, 0.2], {'drug': [0.2], 'drug:x': [0, 0.1]})
    """
    if not any("=" in text for text in given):
        return [_value(text) for text in given]
    found: dict[str, list[Any]] = {}
    for text in given:
        name, value = _pair("--effect", text)
        found.setdefault(name, []).append(value)
    return found


def as_kinds(given: list[str]) -> Any:
    """Read one kind of covariates, or ``name=kind`` pairs.

    Examples
    --------
    >>> as_kinds(["binary"]), as_kinds(["drug=within", "site=8"])
    ('binary', {'drug': 'within', 'site': 8})
    """
    return _value(given[0]) if len(given) == 1 and "=" not in given[0] else as_named("--covariate", given)


def as_named(option: str, given: list[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs.

    Examples
    --------
    >>> as_named("--share", ["occasion=0.3", "site=0.1"])
    {'occasion': 0.3, 'site': 0.1}
    """
    return dict(_pair(option, text) for text in given)


def _pair(option: str, text: str) -> tuple[str, Any]:
    name, sign, value = text.rpartition("=")
    if not (name and sign and value):
        raise ConfigError(f"`{option}` cannot be read", got=text, allowed="NAME=VALUE")
    return name, _value(value)
