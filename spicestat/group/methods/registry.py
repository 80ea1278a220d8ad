"""The table of group methods: a new method is a file with ``estimate`` and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib import import_module
from typing import Any

from spicestat._checks import check_options
from spicestat.errors import ConfigError
from spicestat.group.inputs.contract import GroupEstimates, GroupInputs

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
        Module with ``estimate(inputs: GroupInputs, settings) -> GroupEstimates``, imported when first used, and a
        dataclass ``Settings`` if the method has settings.
    needs_std_error : bool, default True
        Whether coefficients without a positive standard error are left out.
    reads_estimates : bool, default True
        Whether the method takes participants' estimates, of which unusable ones are left out before.
    reads_choices : bool, default False
        Whether the method needs the likelihood of the choices; then everybody's choices count, also those of
        participants without an identified estimate.
    max_unidentified : float, default 0.2
        Share of participants without an identified estimate above which inference is withheld, in [0, 1].
    """

    name: str
    label: str
    module: str
    needs_std_error: bool = True
    reads_estimates: bool = True
    reads_choices: bool = False
    max_unidentified: float = 0.2

    def load(self) -> Callable[[GroupInputs, Any], GroupEstimates]:
        """Import the method."""
        estimate: Callable[[GroupInputs, Any], GroupEstimates] = import_module(self.module).estimate
        return estimate

    def settings(self, given: Mapping[str, Any]) -> Any:
        """Return the method's settings, or raise `ConfigError` for a name that it does not have."""
        check_options(given, self.setting_names(), f"the group method '{self.label}'")
        kind = getattr(import_module(self.module), "Settings", None)
        return None if kind is None else kind(**given)

    def setting_names(self) -> list[str]:
        """Return the names of the method's settings."""
        kind = getattr(import_module(self.module), "Settings", None)
        return [] if kind is None else [field.name for field in fields(kind)]


_HOME = "spicestat.group.methods"
# measured with 35 % (benchmarks/results/calibration.md, "short"): everybody's choices count, so nobody is missing
_ONE_STAGE: dict[str, Any] = {"needs_std_error": False, "reads_choices": True, "max_unidentified": 0.4}
_ALL = (
    Method("hierarchical", "hierarchical", f"{_HOME}.hierarchical", **_ONE_STAGE),
    Method("bayes", "bayes", f"{_HOME}.bayes", **_ONE_STAGE),
    Method("multivariate_meta", "multivariate meta", f"{_HOME}.multivariate_meta"),
    Method("bayes_meta", "bayes meta", f"{_HOME}.bayes_meta"),
    Method("meta", "meta", f"{_HOME}.meta"),
    Method("permutation", "permutation", f"{_HOME}.permutation"),
    Method("mixed", "mixed", f"{_HOME}.mixed", needs_std_error=False),
    Method("presence", "presence", f"{_HOME}.presence", reads_estimates=False),
    Method("hurdle", "hurdle", f"{_HOME}.hurdle"),
    Method("ols", "ols (naive)", f"{_HOME}.ols", needs_std_error=False),
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
