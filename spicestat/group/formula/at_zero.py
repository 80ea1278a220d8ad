"""Say where rows of a table are effects at a value that nobody has."""

from __future__ import annotations

from spicestat.group.formula.design import Design

__all__ = ["effects_at_zero"]


def effects_at_zero(design: Design) -> tuple[str, ...]:
    """Return a sentence for each number that others are multiplied with and that nobody has 0 of.

    With ``drug * anxiety`` the row of the drug is its effect on people of anxiety 0, which may be far from all of them.

    Examples
    --------
    >>> import pandas as pd
    >>> from spicestat.group.formula.design import build_design
    >>> people = pd.DataFrame({"participant": range(5), "drug": list("abaab"), "age": [20.0, 30, 40, 50, 35]})
    >>> print(*effects_at_zero(build_design("~ drug * age", people)))
    rows of drug are effects where age is 0, which nobody has (20 to 50); with scale(age) they are those at its mean
    >>> effects_at_zero(build_design("~ drug * scale(age)", people))
    ()
    >>> effects_at_zero(build_design("~ drug + age", people))
    ()
    """
    found, products = [], [set(term.split(":")) for term in design.terms]
    for name, columns in design.terms.items():
        partners = [other for other in design.terms if other != name and {name, other} in products]
        low, high = design.matrix[:, columns[0]].min(), design.matrix[:, columns[0]].max()
        if partners and len(columns) == 1 and low < high and not low <= 0.0 <= high:
            found.append(
                f"rows of {', '.join(partners)} are effects where {name} is 0, which nobody has ({low:.4g} to "
                f"{high:.4g}); with scale({name}) they are those at its mean"
            )
    return tuple(found)
