r"""How well a fit predicts each block of a person when that block is left out, without fitting again.

The person's posterior without block f is reached by one Newton step from the posterior with it,
:math:`b_{-f} = \hat b - (H - J_f)^{-1} g_f`, where g and J are the block's slope and information and H is the whole
posterior's curvature. The population stays as it is, so that what it learned from the block is not taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from spicestat.pooled.contrasts import Design, make_design
from spicestat.pooled.em import PopulationFit
from spicestat.pooled.logit import derivatives, log_likelihood
from spicestat.pooled.packed import Floats, Ints
from spicestat.pooled.states import StateRows

__all__ = ["Folds", "block_units", "left_out", "make_folds"]

_LEAST_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Folds:
    """People's choices in U blocks, each of one person.

    Attributes
    ----------
    design : Design
        With U blocks in place of people.
    person : int ndarray of shape (U,)
        Whose block it is.
    """

    design: Design
    person: Ints

    def single(self) -> Folds:
        """Return the blocks in single precision."""
        return replace(self, design=self.design.single())

    def columns(self, keep: Sequence[int]) -> Folds:
        """Keep some of the states, by their positions."""
        return replace(self, design=self.design.columns(keep))


def make_folds(rows: StateRows, scale: Floats) -> Folds:
    """Make a block of each session; of a person with one session, five stretches of it.

    Parameters
    ----------
    rows : StateRows
    scale : ndarray of shape (K,)
        By what the states are divided.
    """
    person, unit = block_units(rows)
    order = np.argsort(unit, kind="stable")
    blocks = replace(rows, person=unit).rows(order)
    return Folds(make_design(blocks, len(person), scale), person)


def block_units(rows: StateRows) -> tuple[Ints, Ints]:
    """Return whose each of U blocks is (U,), and the block of each choice (R,); blocks as in `make_folds`."""
    sessions = np.unique(np.stack([rows.person, rows.session]), axis=1)
    single = np.bincount(sessions[0])[rows.person] == 1
    begins = np.searchsorted(rows.person, rows.person)
    count = np.bincount(rows.person)[rows.person]
    stretch = np.where(single, (np.arange(len(begins)) - begins) * _LEAST_FOLDS // count, rows.session)
    keys, unit = np.unique(np.stack([rows.person, stretch]), axis=1, return_inverse=True)
    return keys[0], unit.ravel().astype(np.int64)


def left_out(folds: Folds, fit: PopulationFit) -> Floats:
    """Log-likelihood of each block, (U,), at its person's posterior mode without it.

    Parameters
    ----------
    folds : Folds
        Of the states of the fit.
    fit : PopulationFit
    """
    own, weights = fit.population.own, fit.posterior.mode[folds.person]
    here = derivatives(folds.design, weights)
    information = here.information[:, own[:, None], own]
    total = np.zeros((len(fit.posterior.mode), len(own), len(own)))
    np.add.at(total, folds.person, information)
    curvature = total[folds.person] + fit.population.precision - information
    without = weights.copy()
    without[:, own] -= np.linalg.solve(curvature, here.slope[:, own][..., None])[..., 0]
    return log_likelihood(folds.design, without)
