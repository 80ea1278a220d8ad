"""Entry points of R's verbs on the task library: describe a task, and simulate it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from spicestat.r.envelopes import Envelope, check_settings, enveloped
from spicestat.r.send_fit import encoded, engine

__all__ = ["simulate_task", "task"]


def task(name: str) -> Envelope:
    """Describe a task of the library: texts, ``columns`` for R's `spice_fit()`, and the table ``parameters``.

    Examples
    --------
    >>> value = task("pst")["value"]
    >>> value["columns"]["options"], value["learns"]
    ({'left': 'stim_left', 'right': 'stim_right'}, True)
    """

    def work() -> dict[str, Any]:
        found = engine().spice_task(name)
        parameters = pd.DataFrame(
            [(one.name, one.meaning, one.link, *one.range) for one in found.parameters],
            columns=["term", "meaning", "link", "low", "high"],
        )
        return {
            **encoded({"parameters": parameters}),
            **{text: getattr(found, text) for text in ("name", "title", "equations", "source", "learns")},
            "roles": list(found.roles),
            # NULL is lost on the way to R, which knows by `learns`
            "columns": {role: column for role, column in found.columns.items() if column is not None},
        }

    return enveloped(work)


def simulate_task(name: str, options: Mapping[str, Any]) -> Envelope:
    """Run `spicestat.tasks.Task.simulate`; the value has the tables ``trials`` and ``truth``."""

    def work() -> dict[str, Any]:
        found = engine().spice_task(name)
        check_settings("simulate()", options, found.simulate)
        cohort = found.simulate(**dict(options))
        return encoded({"trials": cohort.trials, "truth": cohort.truth})

    return enveloped(work)
