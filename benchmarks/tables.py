"""Simulated sessions as the table that a user has."""

import numpy as np
import pandas as pd

from spicestat.pooled.packed import Sessions


def as_table(data: Sessions) -> pd.DataFrame:
    """Lay sessions out with a row per trial, ordered by participant, block and trial; a person's are together."""
    time, session = np.nonzero(data.choice >= 0)
    order = np.lexsort((time, session))
    time, session = time[order], session[order]
    block = np.arange(len(data.person)) - np.searchsorted(data.person, data.person)
    columns = {"participant": data.person[session], "block": block[session], "choice": data.choice[time, session]}
    return pd.DataFrame(columns | {"reward": data.received[time, session]})
