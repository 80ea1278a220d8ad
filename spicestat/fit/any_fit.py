"""AnyFit: what all fits have, whatever their model is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

import pandas as pd

from spicestat._files.sealed import write_sealed
from spicestat._runtime.progress import Progress
from spicestat.coefficients import CoefficientTable
from spicestat.errors import ConfigError
from spicestat.fit.evidence import ModelEvidence
from spicestat.fit.storage import pack_tables
from spicestat.trials.table import TrialTable

if TYPE_CHECKING:  # the ladder fits fits
    from spicestat.fit.held_out import Over
    from spicestat.fit.history import HistoryFit
    from spicestat.fit.ladder import LadderResult
    from spicestat.fit.network_fit import SpiceFit
    from spicestat.fit.task_fit import TaskFit

__all__ = ["AnyFit", "ModuleFreeFit"]


class AnyFit(ABC):
    """Trials, coefficients of participants, scores, and what can be done with these alone."""

    trials: TrialTable
    coefficients: CoefficientTable
    scores: pd.DataFrame

    @property
    def people(self) -> pd.DataFrame:
        """Covariates, one row per participant."""
        return self.trials.people

    def tidy(self) -> pd.DataFrame:
        """Return the coefficient table (a copy), with people's own labels and their occasions where there are some."""
        return self.coefficients.tidy()

    def ladder(
        self,
        rungs: str | Sequence[str] | None = None,
        *,
        over: Over = "blocks",
        folds: int = 3,
        members: int = 1,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> LadderResult:
        """Compare what the model predicts of choices that were left out with what simpler models do.

        The arguments are those of `spice_ladder`.
        """
        from spicestat.fit.ladder import spice_ladder

        fit = cast("SpiceFit | HistoryFit | TaskFit", self)
        return spice_ladder(fit, rungs, over=over, folds=folds, members=members, seed=seed, progress=progress)

    def save(self, folder: str | Path) -> Path:
        """Write the fit into a folder, replacing an older fit there; `load_fit` reads it.

        Other files in the folder stay as they are. A full disk, an interrupt or a kill leaves the older fit intact.

        Raises
        ------
        StorageError
            The folder holds something else or cannot be written.
        """
        return write_sealed(folder, "fit", pack_tables(self.trials, self.coefficients) | self._own_files())

    @property
    @abstractmethod
    def has_times(self) -> bool:
        """Whether response times are part of the likelihood."""

    @abstractmethod
    def model_evidence(self) -> ModelEvidence:
        """Return what the choices say of the model, for comparisons with others."""

    @abstractmethod
    def _own_files(self) -> dict[str, bytes]:
        """Return the files of the model."""


class ModuleFreeFit(AnyFit):
    """A fit of weights or parameters, without a network whose modules are equations."""

    @property
    def model(self) -> NoReturn:
        """There is none: what needs the modules of a `SpiceFit`'s network ends here.

        Raises
        ------
        ConfigError
        """
        raise ConfigError(
            f"this needs a network with modules, and a {type(self).__name__} has none",
            do='fit with model="choice" or another',
        )

    @property
    def n_shares(self) -> int:
        """Number of free choice shares of everybody, which predictions are held against."""
        places = len(self.trials.record["columns"].get("options") or self.trials.actions)
        return (places - 1) * self.trials.n_participants
