"""The table of group methods: a new method is a file with ``estimate`` and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from spicestat.errors import ConfigError
from spicestat.group.problem import GroupEstimates, GroupProblem

__all__ = ["METHODS", "Method", "find_method"]


@dataclass(frozen=True)
class Method:
    """How a group method is found and what it needs.

    Attributes
    ----------
    name : str
        As ``method=`` of `spice_group`.
    label : str
        Shown in the column ``method`` of ``glance``.
    module : str
        Module with ``estimate(problem: GroupProblem, settings) -> GroupEstimates``, imported when first used, and, if the
        method has settings, a dataclass ``Settings``.
    needs_std_error : bool, default True
        Whether coefficients without a positive standard error are left out.
    reads_choices : bool, default False
        Whether the method needs the likelihood of the choices; then everybody's choices count, also those of
        participants without an identified estimate.
    """

    name: str
    label: str
    module: str
    needs_std_error: bool = True
    reads_choices: bool = False

    def load(self) -> Callable[[GroupProblem, Any], GroupEstimates]:
        """Import the method."""
        estimate: Callable[[GroupProblem, Any], GroupEstimates] = import_module(self.module).estimate
        return estimate

    def settings(self, given: Mapping[str, Any]) -> Any:
        """Return the method's settings, or raise `ConfigError` for a name that it does not have."""
        kind = getattr(import_module(self.module), "Settings", None)
        known = [] if kind is None else [field.name for field in fields(kind)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise ConfigError(
                f"the group method '{self.label}' has no such setting",
                got=", ".join(unknown),
                allowed=", ".join(known) or "(none)",
            )
        return None if kind is None else kind(**given)


_ALL = (
    Method("hierarchical", "hierarchical", "spicestat.group.hierarchical", needs_std_error=False, reads_choices=True),
    Method("meta", "meta", "spicestat.group.meta"),
    Method("mixed", "mixed", "spicestat.group.mixed", needs_std_error=False),
    Method("ols", "ols (naive)", "spicestat.group.ols", needs_std_error=False),
)
METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}
"""The methods by name."""


def find_method(name: str) -> Method:
    """Return a method by name, or raise `ConfigError`.

    Examples
    --------
    >>> find_method("ols").label
    'ols (naive)'
    """
    if name not in METHODS:
        raise ConfigError("unknown group method", got=name, allowed=", ".join(METHODS))
    return METHODS[name]
