"""The table of group methods: a new method is a file with ``estimate`` and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module

from spicestat.errors import ConfigError
from spicestat.group.problem import GroupEstimates, GroupProblem

__all__ = ["METHODS", "Method", "find_method"]


@dataclass(frozen=True)
class Method:
    """How a group method is found and what it needs.

    Attributes
    ----------
    module : str
        Module with ``estimate(problem: GroupProblem) -> GroupEstimates``, imported when first used.
    label : str
        Shown in the column ``method`` of ``glance``.
    needs_std_error : bool, default True
        Whether coefficients without a positive standard error are left out.
    """

    module: str
    label: str
    needs_std_error: bool = True

    def load(self) -> Callable[[GroupProblem], GroupEstimates]:
        """Import the method."""
        estimate: Callable[[GroupProblem], GroupEstimates] = import_module(self.module).estimate
        return estimate


METHODS: Mapping[str, Method] = {
    "meta": Method("spicestat.group.meta", "meta"),
    "mixed": Method("spicestat.group.mixed", "mixed", needs_std_error=False),
    "ols": Method("spicestat.group.ols", "ols (naive)", needs_std_error=False),
}


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
