"""Kernels that a group model predicts at levels of a covariate, as numbers, and their averages over structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from spicestat.errors import ConfigError
from spicestat.group.after.fitted import FittedGroup
from spicestat.pooled.kernel_shape import history_spread
from spicestat.pooled.kernels import Event, FittedMoves
from spicestat.pooled.packed import Floats
from spicestat.trials.labels import label_key

__all__ = ["Curves", "KernelLevels", "averaged_curves", "curves_of"]

_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class KernelLevels:
    """Kinds of people whose kernels are compared.

    Attributes
    ----------
    variable : str
        The covariate.
    labels : tuple of str, length m
        Its levels.
    rows : ndarray of shape (m, p)
        Row of the design of each, averaged over the other covariates.
    names : tuple of str, length p
        Columns of the design.
    contrasts : tuple of str, length q
    weights : ndarray of shape (q, m)
        Each contrast as a linear function of the levels.
    """

    variable: str
    labels: tuple[str, ...]
    rows: Floats
    names: tuple[str, ...]
    contrasts: tuple[str, ...]
    weights: Floats

    @property
    def combine(self) -> Floats:
        """Levels and then contrasts, each as a linear function of the levels, (m + q, m)."""
        return np.vstack([np.eye(len(self.rows)), self.weights])


@dataclass(frozen=True, eq=False)
class Curves:
    """Kernels of m levels over L lags, for one event.

    Attributes
    ----------
    mean : ndarray of shape (m, L)
        NaN where nobody reaches a lag.
    covariance : ndarray of shape (m L, m L)
    df : ndarray of shape (m + q, L + 1)
        Degrees of freedom of levels and q contrasts, at each lag and of the sum.
    withheld : bool
        Whether the group model's inference is withheld.
    silent : bool
        Whether the weights of all that the event changes are the population's, so that levels cannot differ.
    """

    mean: Floats
    covariance: Floats
    df: Floats
    withheld: bool
    silent: bool


def averaged_curves(each: Sequence[Curves], counts: Sequence[int]) -> tuple[Curves, int]:
    r"""Average kernels over structures, each of which counts as often as it was found.

    With shares :math:`w_s`, means :math:`k_s` and covariances :math:`V_s`, the covariance is
    :math:`\sum_s w_s [V_s + (k_s - \bar k)(k_s - \bar k)^\top]` (Burnham & Anderson 2004,
    doi:10.1177/0049124104268644). Structures that know nothing of differences, or whose group model is withheld, do not
    count; where none does, the first is returned. Degrees of freedom are the fewest of all that count.

    Parameters
    ----------
    each : sequence of S Curves
    counts : sequence of S int

    Returns
    -------
    tuple of (Curves, int)
        And how many structures they are averages over.

    Examples
    --------
    >>> one, other = (Curves(np.array([[k]]), np.eye(1), np.full((1, 2), 9.0), False, False) for k in (1.0, 4.0))
    >>> found, n = averaged_curves([one, other], [2, 1])
    >>> found.mean.tolist(), found.covariance.tolist(), n
    ([[2.0]], [[3.0]], 3)
    """
    known = [s for s, curves in enumerate(each) if not curves.silent and not curves.withheld] or [0]
    shares = np.array([counts[s] for s in known], dtype=float)
    n, shares = int(shares.sum()), shares / shares.sum()
    means = np.stack([each[s].mean.ravel() for s in known])
    away = means - shares @ means
    within = np.einsum("s,sab->ab", shares, np.stack([each[s].covariance for s in known]))
    covariance = within + np.einsum("s,sa,sb->ab", shares, away, away)
    df = np.min([each[s].df for s in known], axis=0)
    mean = (shares @ means).reshape(each[0].mean.shape)
    return replace(each[known[0]], mean=mean, covariance=covariance, df=df), n


def curves_of(model: FittedGroup, event: Event, fitted: FittedMoves, levels: KernelLevels) -> Curves:
    """Return the kernels that a group model predicts at levels of a covariate, as `kernel_effects` says.

    Raises
    ------
    ConfigError
        The model is not of all coefficients of this fit, estimates them separately, or has a link.
    """
    effects = _effects(model, fitted.terms, levels.names)
    places, deviation = _deviations(model, fitted)
    mean, reached = fitted.moves.mean[places], fitted.moves.n_events[places] > 0
    n, (m, L) = np.maximum(reached.sum(axis=0), 1), (len(levels.rows), reached.shape[1])
    own = deviation[:, None] + levels.rows @ effects.gamma
    weights = np.concatenate([own, np.tile(fitted.shared.estimate, (*own.shape[:2], 1))], axis=2)
    average = np.where(reached[..., None], mean, 0.0).sum(axis=0) / n[:, None]
    values = np.einsum("nlk,nck->ncl", mean, weights)
    reaches = np.tile(reached[:, None], (1, m, 1))
    curves = np.where(reaches, values, 0.0).sum(axis=0) / n
    n_own = len(fitted.terms)
    slope = np.einsum("lk,cp->clkp", average[:, :n_own], levels.rows).reshape(m * L, -1)
    shared = np.tile(average[:, n_own:], (m, 1))
    same = np.einsum("lk,nck->ncl", average, weights)
    flat = (len(mean), m * L)
    # with shared weights the means of own ones move, at all levels alike
    means = np.tile(average[:, :n_own], (m, 1))
    both = means @ fitted.shared.with_own @ shared.T
    covariance = slope @ effects.covariance @ slope.T + shared @ fitted.shared.covariance @ shared.T + both + both.T
    if not model.reads_choices:
        # estimates of people's own weights hold the shared ones
        covariance += means @ fitted.shared.of_own @ means.T
    covariance += history_spread(values.reshape(flat), same.reshape(flat), reaches.reshape(flat))
    curves[:, ~reached.any(axis=0)] = np.nan
    changed = np.abs(average[:, :n_own]).max(initial=0.0) > _NOTHING * np.abs(average).max(initial=0.0)
    combined = np.einsum("qm,mle->qle", levels.combine, slope.reshape(m, L, -1))
    total = combined[:, reached.any(axis=0)].sum(axis=1, keepdims=True)
    df = effects.df_of(np.concatenate([combined, total], axis=1))
    return Curves(curves, covariance, df, effects.withheld, silent=not changed)


class _Effects(NamedTuple):
    """Effects of p columns on K coefficients, (p, K), their covariance (K p, K p), degrees of freedom (K p,)."""

    gamma: Floats
    covariance: Floats
    df: Floats
    withheld: bool

    def df_of(self, slope: Floats) -> Floats:
        """Degrees of freedom of linear functions (..., K p), by Welch and Satterthwaite, between those involved."""
        parts = slope * (slope @ self.covariance)
        total, spread = parts.sum(axis=-1), (parts**2 / self.df).sum(axis=-1)
        involved = np.abs(slope) > 1e-12 * np.abs(slope).max(axis=-1, keepdims=True, initial=1e-300)
        low = np.where(involved, self.df, np.inf).min(axis=-1)
        high = np.where(involved, self.df, 0.0).max(axis=-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = np.where(spread > 0, total**2 / spread, high)
        return np.asarray(np.clip(found, low, np.maximum(low, high)))


def _effects(model: FittedGroup, terms: Sequence[tuple[str, str]], names: Sequence[str]) -> _Effects:
    joint = model.joint_covariance
    if joint is None:
        raise ConfigError(
            "kernels join all coefficients, and the method estimates each of them alone",
            got=f"method={model.method!r}",
            do='use method="hierarchical", or "multivariate_meta"',
        )
    linked = [":".join(term) for term in terms if model.links.get(term, "identity") != "identity"]
    if linked:
        raise ConfigError("kernels are sums of weights, which have a link", got=", ".join(linked), do="leave it out")
    fixed = model.coefficients[model.coefficients["effect"] == "fixed"]
    by_effect = fixed.set_index(["module", "sparse_term", "term"])
    known = set(zip(fixed["module"], fixed["sparse_term"], strict=True))
    lacking = [":".join(term) for term in terms if term not in known]
    if lacking:
        raise ConfigError(
            "kernels need all coefficients, and the group model lacks some",
            got=", ".join(lacking),
            do='leave out `modules` and `terms`, or use method="hierarchical"',
        )
    wanted = pd.MultiIndex.from_tuples([(*term, name) for term in terms for name in names])
    # a covariate that is kept off a coefficient has the effect 0 for certain
    gamma = by_effect["estimate"].reindex(wanted).fillna(0.0).to_numpy().reshape(len(terms), -1).T
    covariance = joint.reindex(index=wanted, columns=wanted).fillna(0.0).to_numpy()
    withheld = bool(fixed["conf_low"].isna().all())
    df = by_effect["df"].reindex(wanted).fillna(np.inf).to_numpy(dtype="float64")
    return _Effects(gamma, covariance, df, withheld)


def _deviations(model: FittedGroup, fitted: FittedMoves) -> tuple[np.ndarray, Floats]:
    """Return the participants of the model, as positions in the fit, and their deviations (n, K)."""
    values = model.ran_vals
    if values is None:
        raise ConfigError("the method gives no deviations of participants", do='use method="hierarchical"')
    own = values[values["term"] == "(Intercept)"]
    wide = own.assign(level=own["level"].map(label_key)).pivot_table(
        "estimate", "level", ["module", "sparse_term"], observed=True
    )
    keys = [label_key(label) for label in fitted.participants]
    places = np.flatnonzero([key in wide.index for key in keys])
    if len(places) < len(wide):
        raise ConfigError("the fit is not the one that the group model is of", got="other participants")
    chosen = wide.reindex(index=[keys[place] for place in places], columns=pd.MultiIndex.from_tuples(fitted.terms))
    return places, chosen.to_numpy(dtype="float64")
