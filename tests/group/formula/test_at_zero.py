"""Sentences about products with numbers of which nobody has 0."""

import numpy as np
import pandas as pd
import pytest

from spicestat import spice_group
from spicestat.group.formula.at_zero import effects_at_zero
from spicestat.group.formula.design import build_design

PEOPLE = pd.DataFrame(
    {
        "participant": range(12),
        "drug": list("aab") * 4,
        "site": list("xyzzyxyzxxzy"),
        "age": np.linspace(20.0, 42.0, 12),
        "born": np.array([1980.0, 1990.0, 1985.0] * 4) + np.tile([0.0, 0.0, 0.0, 0.0, -2.0, -1.0], 2),
        "debt": np.linspace(-9.0, -1.0, 12),
        "centred": np.linspace(-1.0, 1.0, 12),
    }
)


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("~ drug * age", [("drug", "age", "20 to 42")]),
        ("~ age:drug + drug + age", [("drug", "age", "20 to 42")]),
        ("~ (drug + site) * born", [("drug, site", "born", "1980 to 1990")]),
        ("~ drug * debt", [("drug", "debt", "-9 to -1")]),
        ("~ age * born", [("born", "age", "20 to 42"), ("age", "born", "1980 to 1990")]),
        ("~ drug * centred", []),
        ("~ drug * scale(age)", []),
        ("~ drug + age", []),
        ("~ drug * site", []),
        ("~ age + age:drug", []),
    ],
)
def test_what_is_said(formula, said):
    expected = [
        f"rows of {rows} are effects where {name} is 0, which nobody has ({span}); "
        f"with scale({name}) they are those at its mean"
        for rows, name, span in said
    ]
    assert list(effects_at_zero(build_design(formula, PEOPLE))) == expected


def test_scale_keeps_the_promise():
    """With the centred number the rows of the other one are what they are at its mean."""
    rng = np.random.default_rng(1)
    table = PEOPLE[["participant"]].assign(module="beta", term="value", std_error=0.1, estimate=rng.standard_normal(12))
    group = spice_group(table, "~ drug * age", data=PEOPLE, method="meta")
    assert any(message.startswith("rows of drug") for message in group.messages)
    assert "which nobody has (20 to 42)" in str(group).replace("\n", " ").replace("  ", " ")
    rows = group.tidy().set_index("term")["estimate"]
    centred = spice_group(table, "~ drug * scale(age)", data=PEOPLE, method="meta").tidy().set_index("term")["estimate"]
    assert centred["drugb"] == pytest.approx(rows["drugb"] + rows["drugb:age"] * PEOPLE["age"].mean())
