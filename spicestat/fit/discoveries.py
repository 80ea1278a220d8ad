"""Discoveries: what a fit's library of states did not know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from spicestat._display import html_block
from spicestat.pooled.discovery import Discovery

if TYPE_CHECKING:
    from spicestat.fit.history import HistoryFit
    from spicestat.fit.task_fit import TaskFit

__all__ = ["Discoveries", "terms_frame"]


@dataclass(frozen=True, eq=False, repr=False)
class Discoveries:
    """States beyond the library, or beside a task's model, that predict left-out blocks better.

    Attributes
    ----------
    terms : DataFrame
        One row per state that was found, in the order in which they were found: ``term``, ``shared`` (one weight for
        everybody), ``instead_of`` (states that it made superfluous), ``gain`` and ``gain_per_choice`` (rise of the
        log-likelihood of left-out blocks, nats). No row where the library says it all.
    fit : HistoryFit or TaskFit
        With these states; the fit itself where nothing was found, and always of a `TaskFit`.
    n_candidates : int
        How many states were candidates.
    """

    terms: pd.DataFrame
    fit: HistoryFit | TaskFit
    n_candidates: int

    @property
    def _known(self) -> str:
        return "model" if hasattr(self.fit, "task") else "library"

    def tidy(self) -> pd.DataFrame:
        """Return ``terms`` (a copy)."""
        return self.terms.copy()

    def __repr__(self) -> str:
        if self.terms.empty:
            return f"Discoveries: nothing beyond the {self._known} among {self.n_candidates} candidates"
        table = self.terms.to_string(index=False, float_format="{:.4f}".format)
        return f"Discoveries: {len(self.terms)} of {self.n_candidates} candidates\n{table}"

    def _repr_html_(self) -> str:
        return html_block("Discoveries", [f"{len(self.terms)} of {self.n_candidates} candidates"], self.terms)


def terms_frame(found: Discovery) -> pd.DataFrame:
    """Lay proposals out as `Discoveries.terms`."""
    rows = [
        (p.state.name, not p.own, ", ".join(s.name for s in p.instead_of), p.gain, p.gain / found.n_choices)
        for p in found.proposals
    ]
    columns = ["term", "shared", "instead_of", "gain", "gain_per_choice"]
    return pd.DataFrame(rows, columns=columns).astype({"shared": bool, "gain": float, "gain_per_choice": float})
