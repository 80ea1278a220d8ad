"""Group methods: every other file in this folder is one, found by the file's name and described by its ``METHOD``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, fields
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from spicestat._checks import check_options
from spicestat.errors import ConfigError
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs

__all__ = ["METHODS", "Method", "find_method"]


@dataclass(frozen=True)
class Method:
    """What a group method is and what it needs; its file has one as ``METHOD``.

    Attributes
    ----------
    estimate : callable
        ``estimate(inputs: GroupInputs, settings) -> GroupEstimates``.
    label : str
        Shown in the column ``method`` of ``glance``.
    summary : str
        What the method does, in a line, for users who look for one.
    settings_class : dataclass, optional
        The method's settings, checked when made. Default: there are none.
    needs_std_error : bool, default True
        Whether coefficients without a positive standard error are left out.
    reads_estimates : bool, default True
        Whether the method takes participants' estimates, of which unusable ones are left out before.
    reads_choices : bool, default False
        Whether the method needs the likelihood of the choices; then everybody's choices count, also those of
        participants without an identified estimate.
    max_unidentified : float, default 0.2
        Share of participants without an identified estimate above which inference is withheld, in [0, 1].
    takes_random_parts : bool, default False
        Whether formulas may have random parts, such as ``(1 | site)``. Other methods take the rows for independent.
    """

    estimate: Callable[[GroupInputs, Any], GroupEstimates]
    label: str
    summary: str
    settings_class: Any = None
    needs_std_error: bool = True
    reads_estimates: bool = True
    reads_choices: bool = False
    max_unidentified: float = 0.2
    takes_random_parts: bool = False

    @property
    def name(self) -> str:
        """The method's name, as ``method=`` of `spice_group`: that of its file."""
        return self.estimate.__module__.rpartition(".")[2]

    @property
    def setting_fields(self) -> dict[str, Field[Any]]:
        """The method's settings by name, with their types and defaults."""
        return {} if self.settings_class is None else {field.name: field for field in fields(self.settings_class)}

    def settings(self, given: Mapping[str, Any]) -> Any:
        """Return the method's settings, or raise `ConfigError` for a name that it does not have."""
        check_options(given, list(self.setting_fields), f"the group method '{self.label}'")
        return None if self.settings_class is None else self.settings_class(**given)


METHODS: tuple[str, ...] = tuple(
    found.name for found in iter_modules([str(Path(__file__).parent)]) if found.name != "registry"
)
"""Names of the methods, whose files are imported when they are first used."""


def find_method(name: str, others: Sequence[str] = ()) -> Method:
    """Return a method by name, or raise `ConfigError`, which names ``others`` that the caller has, too.

    Examples
    --------
    >>> find_method("ols").label
    'ols (naive)'
    """
    if name not in METHODS:
        raise ConfigError("unknown group method", got=name, allowed=", ".join((*METHODS, *others)))
    method: Method = import_module(f"spicestat.group.methods.{name}").METHOD
    return method
