"""The usual derived quantities, such as learning rates, as expressions over the terms of equations."""

from __future__ import annotations

from spicestat.coefficients import CoefficientTable
from spicestat.group.after.expressions import term_name

__all__ = [
    "fixed_point",
    "forgetting_rate",
    "half_life",
    "inverse_temperature",
    "learning_rate",
    "perseveration",
    "standard_quantities",
]


def learning_rate(module: str) -> str:
    """Return 1 minus the share of the state that is kept: the rate at which it moves to its input.

    For modules such as ``x_value_reward_chosen`` of the model "rescorla_wagner". The models with a module
    ``x_learning_rate_reward`` have the rate as a term: ``x_learning_rate_reward["1"]``.

    Examples
    --------
    >>> learning_rate("x_value_reward_chosen")
    '1 - x_value_reward_chosen["x_value_reward_chosen"]'
    """
    return f"1 - {_own(module)}"


def forgetting_rate(module: str) -> str:
    """Return 1 minus the share of the state that is kept, for a state that decays.

    Examples
    --------
    >>> forgetting_rate("x_value_reward_not_chosen")
    '1 - x_value_reward_not_chosen["x_value_reward_not_chosen"]'
    """
    return f"1 - {_own(module)}"


def fixed_point(module: str) -> str:
    """Return the value to which a state decays: constant / (1 - share kept).

    Examples
    --------
    >>> fixed_point("x_value")
    'x_value["1"] / (1 - x_value["x_value"])'
    """
    return f"{term_name(module, '1')} / (1 - {_own(module)})"


def half_life(module: str) -> str:
    """Return the number of steps after which half of a deviation is left: log(1/2) / log(share kept).

    Defined for shares in (0, 1); for a larger share it is negative (the state grows).

    Examples
    --------
    >>> half_life("x_value")
    'log(0.5) / log(x_value["x_value"])'
    """
    return f"log(0.5) / log({_own(module)})"


def inverse_temperature(module: str, reward: str = "c_reward") -> str:
    """Return the inverse temperature of a module in log odds: reward's coefficient / (1 - share kept).

    For the models whose values are log odds ("rescorla_wagner", "forgetting"). In the others it is a term,
    such as ``beta["x_value_reward"]``.

    Examples
    --------
    >>> inverse_temperature("x_value")
    'x_value["c_reward"] / (1 - x_value["x_value"])'
    """
    return f"{term_name(module, reward)} / (1 - {_own(module)})"


def perseveration(module: str = "x_value_choice", action: str = "c_action") -> str:
    """Return the log odds that a trace of choices adds after a long run of the same choice.

    One choice adds the coefficient p of the action; with persistence d a long run adds
    p (1 + d + d^2 + ...) = p / (1 - d).

    Examples
    --------
    >>> perseveration()
    'x_value_choice["c_action"] / (1 - x_value_choice["x_value_choice"])'
    """
    return f"{term_name(module, action)} / (1 - {_own(module)})"


def standard_quantities(table: CoefficientTable) -> dict[str, str]:
    """Return the usual derived quantities that a table's terms allow, as named expressions.

    A module with its own state as a term that varies: its half-life; the fixed point, if it has a constant
    and no reward; ``learning_rate`` and ``inverse_temperature`` if rewards enter, ``perseveration`` if actions
    do, otherwise ``forgetting_rate``. Names are ``quantity(module)``.

    Examples
    --------
    >>> import pandas as pd
    >>> table = CoefficientTable.from_frame(pd.DataFrame({
    ...     "participant": "a", "module": "x_value", "term": ["1", "x_value"],
    ...     "estimate": [0.1, 0.8], "std_error": [0.02, 0.1]}))
    >>> list(standard_quantities(table))
    ['forgetting_rate(x_value)', 'half_life(x_value)', 'fixed_point(x_value)']
    """
    free = table.frame[table.frame["std_error"].notna()]
    pairs = set(zip(free["module"], free["term"], strict=True))
    found: dict[str, str] = {}
    for module in dict.fromkeys(module for module, _ in table.terms):
        if (module, module) not in pairs:
            continue
        if (module, "c_reward") in pairs:
            found[f"learning_rate({module})"] = learning_rate(module)
            found[f"inverse_temperature({module})"] = inverse_temperature(module)
        elif (module, "c_action") in pairs:
            found[f"perseveration({module})"] = perseveration(module)
        else:
            found[f"forgetting_rate({module})"] = forgetting_rate(module)
        found[f"half_life({module})"] = half_life(module)
        if (module, "1") in pairs and (module, "c_reward") not in pairs:
            found[f"fixed_point({module})"] = fixed_point(module)
    return found


def _own(module: str) -> str:
    return term_name(module, module)
