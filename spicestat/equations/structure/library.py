"""Candidate terms of a module's equation: monomials of its state and control signals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["ModuleLibrary"]


@dataclass(frozen=True)
class ModuleLibrary:
    """The candidate terms of one module.

    Attributes
    ----------
    module : str
        Module name, which is also the name of its own state in the terms.
    variables : tuple of str
        The module's state first, then its control signals.
    powers : tuple of K tuples
        Exponent of each variable in each term.

    Examples
    --------
    >>> library = ModuleLibrary("x_value", ("x_value", "c_reward"), ((0, 0), (1, 0), (1, 1)))
    >>> library.terms
    ('1', 'x_value', 'x_value c_reward')
    >>> library.factors
    ((), (0,), (0, 1))
    >>> library.own_state
    1
    """

    module: str
    variables: tuple[str, ...]
    powers: tuple[tuple[int, ...], ...]

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Names of the K terms, as pysindy writes them."""
        return tuple(_name(self.variables, powers) for powers in self.powers)

    @cached_property
    def factors(self) -> tuple[tuple[int, ...], ...]:
        """For each term the positions of the variables that are multiplied (see `ModuleEquation`)."""
        return tuple(
            tuple(position for position, power in enumerate(powers) for _ in range(power)) for powers in self.powers
        )

    @cached_property
    def own_state(self) -> int | None:
        """Position of the term that keeps the state (its own first power), or None."""
        keep = (1, *([0] * (len(self.variables) - 1)))
        return self.powers.index(keep) if keep in self.powers else None

    def evaluate(self, variables: np.ndarray) -> np.ndarray:
        """Map variables (N, n_variables) to terms (N, K)."""
        columns = [np.prod(variables[:, list(factors)], axis=1) for factors in self.factors]
        return np.stack(columns, axis=1)


def _name(variables: Sequence[str], powers: Sequence[int]) -> str:
    parts = [name if power == 1 else f"{name}^{power}" for name, power in zip(variables, powers, strict=True) if power]
    return " ".join(parts) or "1"
