"""EquationSet: every participant's equations, and which terms are free, kept or excluded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from spicestat.equations.structure.library import ModuleLibrary

__all__ = ["BETA", "EXCLUDED", "FREE", "KEPT", "EquationSet"]

EXCLUDED, FREE, KEPT = 0, 1, 2
"""Status of a term: not in the equation; estimated; an own state that stays as it is (coefficient 1)."""

BETA = "beta"
"""Module name of the inverse temperatures."""


@dataclass(frozen=True, eq=False)
class EquationSet:
    """Equations of P participants over K coefficients: all modules' terms, then the inverse temperatures.

    Attributes
    ----------
    libraries : tuple of ModuleLibrary
        One per module.
    states : tuple of str
        States that have an inverse temperature.
    coefficients : ndarray of shape (P, K)
        0 where excluded, 1 where kept.
    status : int ndarray of shape (P, K)
        `EXCLUDED`, `FREE` or `KEPT`.
    """

    libraries: tuple[ModuleLibrary, ...]
    states: tuple[str, ...]
    coefficients: np.ndarray
    status: np.ndarray

    @cached_property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The K (module, term) pairs."""
        modules = [(library.module, term) for library in self.libraries for term in library.terms]
        return (*modules, *((BETA, state) for state in self.states))

    @cached_property
    def own_state(self) -> np.ndarray:
        """Which coefficients belong to a module's own state, bool ndarray of shape (K,)."""
        flags = [position == library.own_state for library in self.libraries for position in range(len(library.terms))]
        return np.array(flags + [False] * len(self.states))

    @property
    def n_participants(self) -> int:
        """Number of participants P."""
        return int(self.coefficients.shape[0])

    def positions(self, library: ModuleLibrary) -> slice:
        """Where a module's terms stand among the K coefficients."""
        start = 0
        for other in self.libraries:
            if other.module == library.module:
                return slice(start, start + len(other.terms))
            start += len(other.terms)
        raise KeyError(library.module)

    def with_coefficients(self, coefficients: np.ndarray) -> EquationSet:
        """Return the same structure with other coefficients; excluded ones become 0 and kept ones 1."""
        fixed = np.where(self.status == KEPT, 1.0, 0.0)
        return replace(self, coefficients=np.where(self.status == FREE, coefficients, fixed))

    def with_status(self, status: np.ndarray) -> EquationSet:
        """Return another structure: ``status`` (K,) for the population or (P, K) per participant."""
        full = np.broadcast_to(status, self.status.shape).copy()
        return replace(self, status=full).with_coefficients(self.coefficients)

    def text(self, participant: int) -> dict[str, str]:
        """Write a participant's equations, one per module, and its inverse temperatures.

        Examples
        --------
        >>> library = ModuleLibrary("x_value", ("x_value", "c_reward"), ((1, 0), (0, 1)))
        >>> ones = np.ones((1, 3), dtype="int8")
        >>> EquationSet((library,), ("x",), np.array([[0.8, 0.2, 3.0]]), ones).text(0)["x_value"]
        'x_value[k+1] = 0.800 x_value[k] + 0.200 c_reward[k]'
        """
        lines = {library.module: self._module_text(library, participant) for library in self.libraries}
        n_module_terms = len(self.terms) - len(self.states)
        for offset, state in enumerate(self.states):
            lines[f"{BETA}({state})"] = (
                f"{BETA}({state}) = {self.coefficients[participant, n_module_terms + offset]:.3f}"
            )
        return lines

    def _module_text(self, library: ModuleLibrary, participant: int) -> str:
        where = self.positions(library)
        values, status = self.coefficients[participant, where], self.status[participant, where]
        parts = [
            f"{value:.3f} {_with_time(library.variables, powers)}" if state != KEPT else f"{library.module}[k]"
            for value, state, powers in zip(values, status, library.powers, strict=True)
            if state != EXCLUDED
        ]
        return f"{library.module}[k+1] = {' + '.join(parts) or '0'}"


def _with_time(variables: Sequence[str], powers: Sequence[int]) -> str:
    parts = [
        f"{name}[k]" if power == 1 else f"{name}[k]^{power}"
        for name, power in zip(variables, powers, strict=True)
        if power
    ]
    return " ".join(parts) or "1"
