"""Units: rewards are divided by one number for fitting; coefficients are reported in the unit of the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from spicestat.equations.structure.equation_set import EquationSet

__all__ = ["in_unit_of_data", "unit_factors"]


def unit_factors(equations: EquationSet, reward_units: Mapping[str, int] | None, unit: float) -> np.ndarray:
    r"""By what each coefficient must be multiplied to be in the unit of the data.

    With rewards divided by u, a value V has become V / u. The coefficient of a term with variables
    :math:`x_j^{k_j}` in the equation of a state of dimension d therefore changes by
    :math:`u^{d - \sum_j k_j d_j}`, where the dimension is 1 for what is in the unit of reward and 0 for pure
    numbers; an inverse temperature of a state of dimension d changes by :math:`u^{-d}`.

    Parameters
    ----------
    equations : EquationSet
        Gives the K coefficients.
    reward_units : mapping of str to int, optional
        Dimensions of modules, signals and states (`BaseRNN.reward_units`). None: everything is as it is.
    unit : float
        What rewards were divided by, above 0.

    Returns
    -------
    ndarray of shape (K,)

    Examples
    --------
    >>> from spicestat.equations.structure.library import ModuleLibrary
    >>> library = ModuleLibrary("x_value", ("x_value", "c_action"), ((0, 0), (1, 0), (0, 1)))
    >>> ones = np.ones((1, 4))
    >>> equations = EquationSet((library,), ("x_value",), ones, ones.astype("int8"))
    >>> unit_factors(equations, {"x_value": 1, "c_action": 0}, 10.0).tolist()
    [10.0, 1.0, 10.0, 0.1]
    """
    if reward_units is None or unit == 1.0:
        return np.ones(len(equations.terms))
    dimensions = [
        reward_units.get(library.module, 0)
        - sum(power * reward_units.get(name, 0) for name, power in zip(library.variables, powers, strict=True))
        for library in equations.libraries
        for powers in library.powers
    ]
    dimensions += [-reward_units.get(state, 0) for state in equations.states]
    return np.asarray(float(unit) ** np.array(dimensions, dtype="float64"))


def in_unit_of_data(equations: EquationSet, factors: np.ndarray) -> EquationSet:
    """Return equations with coefficients multiplied by ``factors`` (K,); a kept state stays 1."""
    return replace(equations, coefficients=equations.coefficients * factors)
