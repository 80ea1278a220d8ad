"""Predictions of choices: for people who were fitted and for people who were not, integrated over what is unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, qmc

from spicestat.pooled.packed import Floats, Ints
from spicestat.pooled.softmax import softmax
from spicestat.pooled.states import StateRows

__all__ = [
    "Kind",
    "covariance_root",
    "predict_at",
    "predict_fitted",
    "predict_mixed",
    "predict_new",
    "probabilities_of",
    "sampled",
]

_SEED = 20261128


@cache
def _normal_points(n_points: int, size: int) -> Floats:
    """Evenly spread standard normal points, in pairs of opposite sign, (n_points, size); always the same."""
    sobol = qmc.Sobol(size, seed=_SEED).random(max(n_points // 2, 1))
    points = norm.ppf(np.clip(sobol, 1e-12, 1.0 - 1e-12))
    return np.concatenate([points, -points])


def probabilities_of(logits: Floats, offered: npt.NDArray[np.bool_] | None = None) -> Floats:
    """Probabilities of A actions on axis 1 of logits, (R, A) or (R, A, Q); 0 where not on offer, (R, A)."""
    if offered is not None:
        logits = np.where(offered if logits.ndim == 2 else offered[..., None], logits, -np.inf)
    return softmax(logits, 1)


def sampled(probabilities: Floats, rng: np.random.Generator) -> Ints:
    """Draw one of A actions from each row of probabilities (R, A).

    Examples
    --------
    >>> sampled(np.array([[0.0, 1.0], [1.0, 0.0]]), np.random.default_rng(0)).tolist()
    [1, 0]
    """
    passed = np.cumsum(probabilities[:, :-1], axis=1) <= rng.random((len(probabilities), 1))
    return np.asarray(passed.sum(axis=1))


def predict_at(rows: StateRows, weights: Floats) -> Floats:
    """Probabilities (R, A) at everybody's weights (N, K), in logits per unit of the state."""
    logits = np.einsum("rak,rk->ra", rows.values, weights[rows.person])
    return probabilities_of(logits, rows.offered)


def predict_fitted(rows: StateRows, mean: Floats, covariance: Floats, points: int = 64) -> Floats:
    """Probabilities (R, A) for people who were fitted, averaged over their posteriors.

    Parameters
    ----------
    rows : StateRows
        R choices of K states.
    mean : ndarray of shape (N, K)
        Posterior means, in logits per unit of the state.
    covariance : ndarray of shape (N, L, L)
        Posterior covariances of the first L weights; the others are known.
    points : int, default 64
        Number of quasi-random weights per person.
    """
    n_own = covariance.shape[1]
    draws = _normal_points(points, n_own)
    out = np.empty(rows.values.shape[:2])
    for person, at in _by_person(rows):
        weights = np.repeat(mean[person][None], len(draws), axis=0)
        weights[:, :n_own] += draws @ covariance_root(covariance[person]).T
        out[at] = probabilities_of(rows.values[at] @ weights.T, _some(rows.offered, at)).mean(axis=2)
    return out


def _some(offered: npt.NDArray[np.bool_] | None, at: slice) -> npt.NDArray[np.bool_] | None:
    return None if offered is None else offered[at]


def covariance_root(covariance: Floats) -> Floats:
    """Square root of a covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of people in a population.

    Attributes
    ----------
    share : float
        How many people are of it.
    mean : ndarray of shape (K,)
        Means of their weights, in logits per unit of the state.
    covariance : ndarray of shape (L, L)
        Of the first L weights; the others are shared.
    guesses : bool
        Whether all actions are equally likely for them, whatever has happened.
    """

    share: float
    mean: Floats
    covariance: Floats
    guesses: bool


def predict_new(rows: StateRows, kinds: Sequence[Kind], points: int = 1024, learn: bool = False) -> Floats:
    """Probabilities (R, A) for people who were not fitted, integrated over the population.

    Parameters
    ----------
    rows : StateRows
        R choices of K states; every person's rows in order of time.
    kinds : sequence of Kind
    points : int, default 1024
        Number of quasi-random people of each kind.
    learn : bool, default False
        Whether a person's earlier choices among the rows count for the later ones.
    """
    everybody = np.concatenate([_some_people(kind, points) for kind in kinds])
    prior = np.repeat([kind.share for kind in kinds], len(everybody) // len(kinds))
    prior = prior / prior.sum()
    out = np.empty(rows.values.shape[:2])
    for _, at in _by_person(rows):
        predicted = probabilities_of(rows.values[at] @ everybody.T, _some(rows.offered, at))
        belief = _beliefs(predicted, rows.choice[at], prior) if learn else prior[None]
        out[at] = (predicted * belief[:, None]).sum(axis=2)
    return out


def predict_mixed(
    rows: StateRows, who: Ints, fitted: Callable[[StateRows], Floats], new: Callable[[StateRows], Floats]
) -> Floats:
    """Probabilities (R, A) for people of both kinds.

    Parameters
    ----------
    rows : StateRows
        R choices, with codes of people of their own.
    who : int ndarray of shape (R,)
        Codes of the same people among those who were fitted, below 0 for those who were not.
    fitted, new : callable
        Predict rows whose codes are ``who``'s (`predict_fitted`), and rows of people who were not (`predict_new`).
    """
    out = np.empty(rows.values.shape[:2])
    for known, codes, predict in ((who >= 0, who, fitted), (who < 0, rows.person, new)):
        # everybody's rows have to lie together, in the order of the codes
        at = np.flatnonzero(known)[np.argsort(codes[known], kind="stable")]
        if len(at):
            out[at] = predict(replace(rows.rows(at), person=codes[at]))
    return out


def _some_people(kind: Kind, points: int) -> Floats:
    """Weights of quasi-random people of one kind, (Q, K)."""
    n_own = len(kind.covariance)
    moves = _normal_points(points, n_own) @ covariance_root(kind.covariance).T
    weights = np.repeat(kind.mean[None], len(moves), axis=0)
    weights[:, :n_own] += moves
    return np.zeros_like(weights) if kind.guesses else weights


def _beliefs(shares: Floats, choice: Ints, prior: Floats) -> Floats:
    """Posterior share of each quasi-random person before each choice, (R, Q)."""
    log_p = np.log(np.take_along_axis(shares, choice[:, None, None], axis=1)[:, 0])
    seen = np.cumsum(log_p, axis=0) - log_p + np.log(np.maximum(prior, 1e-300))
    belief = np.exp(seen - seen.max(axis=1, keepdims=True))
    return np.asarray(belief / belief.sum(axis=1, keepdims=True))


def _by_person(rows: StateRows) -> list[tuple[int, slice]]:
    """Everybody's rows, which lie together."""
    people, start = np.unique(rows.person, return_index=True)
    stop = [*start[1:], len(rows.person)]
    return [(int(p), slice(int(a), int(b))) for p, a, b in zip(people, start, stop, strict=True)]
