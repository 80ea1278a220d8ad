r"""The likelihood of choices in the weights, with its derivatives up to the third.

With contrasts :math:`d_{tj}` (an action's states minus the chosen one's), person i's log-likelihood is
:math:`-\sum_t \log \sum_j \exp(d_{tj}^\top b_i)`, where the chosen action has contrast 0: concave in the weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spicestat.pooled.contrasts import Batch, Design
from spicestat.pooled.packed import Floats
from spicestat.pooled.softmax import over_actions

__all__ = ["Derivatives", "by_chance", "derivatives", "log_likelihood", "log_likelihoods", "skewness"]

_LOGITS = 100_000


class Derivatives(NamedTuple):
    """Log-likelihood of N people at their weights: value (N,), slope (N, K) and information (N, K, K)."""

    log_lik: Floats
    slope: Floats
    information: Floats


def _probabilities(batch: Batch, weights: Floats) -> tuple[Floats, Floats]:
    """Log-likelihood (n,) and probabilities of the actions that were not chosen, (n, A - 1, M)."""
    n, others, longest, states = batch.contrast.shape
    exact = weights.astype(batch.contrast.dtype, copy=False)[..., None]
    logits = np.matmul(batch.contrast.reshape(n, -1, states), exact).reshape(n, others, longest)
    if batch.closed is not None:
        logits = np.where(batch.closed, -np.inf, logits)
    top = np.maximum(over_actions(np.maximum, logits, 1), 0.0)
    odds = np.exp(logits - top[:, None])
    total = over_actions(np.add, odds, 1) + np.exp(-top)
    log_lik = batch.n_padding * np.log(others + 1.0) - (top + np.log(total)).sum(axis=1, dtype=np.float64)
    return log_lik, odds / total[:, None]


def log_likelihood(design: Design, weights: Floats) -> Floats:
    """Log-likelihood of every person's choices, shape (N,), at weights of shape (N, K)."""
    out = np.empty(design.n_people)
    for batch in design.batches:
        out[batch.people] = _probabilities(batch, weights[batch.people])[0]
    return out


def by_chance(design: Design) -> Floats:
    """Log-likelihood of every person's choices, shape (N,), if all actions on offer are equally likely."""
    return log_likelihood(design, np.zeros((design.n_people, design.n_states)))


def log_likelihoods(design: Design, weights: Floats) -> Floats:
    """Log-likelihood of every person's choices, shape (Q, N), at Q sets of weights, shape (Q, N, K)."""
    out = np.empty(weights.shape[:2])
    for batch in design.batches:
        n, others, longest, states = batch.contrast.shape
        flat = batch.contrast.reshape(n, -1, states)
        # so many sets at once that the logits stay in the processor's cache
        step = max(1, _LOGITS // (n * others * longest))
        for start in range(0, len(weights), step):
            some = weights[start : start + step, batch.people].transpose(1, 2, 0).astype(flat.dtype, copy=False)
            logits = np.matmul(flat, some).reshape(n, others, longest, -1)
            if batch.closed is not None:
                logits[batch.closed] = -np.inf
            top = np.maximum(over_actions(np.maximum, logits, 1), 0.0)
            logits -= top[:, None]
            np.exp(logits, out=logits)
            total = np.exp(-top)
            total += over_actions(np.add, logits, 1)
            np.log(total, out=total)
            total += top
            value = batch.n_padding[:, None] * np.log(others + 1.0) - total.sum(axis=1, dtype=np.float64)
            out[start : start + step, batch.people] = value.T
    return out


def derivatives(design: Design, weights: Floats) -> Derivatives:
    """Log-likelihood, its slope, and minus its curvature, at weights of shape (N, K)."""
    states = design.n_states
    log_lik = np.empty(design.n_people)
    slope, information = np.empty((design.n_people, states)), np.empty((design.n_people, states, states))
    for batch in design.batches:
        value, p = _probabilities(batch, weights[batch.people])
        flat = batch.contrast.reshape(len(p), -1, states)
        log_lik[batch.people] = value
        slope[batch.people] = -np.matmul(p.reshape(len(p), 1, -1), flat)[:, 0]
        information[batch.people] = _information(batch, p)
    return Derivatives(log_lik, slope, information)


def _information(batch: Batch, p: Floats) -> Floats:
    """Sum over choices of the covariance of the contrasts, (n, K, K)."""
    n, others, _, states = batch.contrast.shape
    flat = batch.contrast.reshape(n, -1, states)
    if others == 1:
        weighted = flat * (p * (1.0 - p)).reshape(n, -1, 1)
        return np.asarray(np.matmul(weighted.transpose(0, 2, 1), flat))
    weighted = batch.contrast * p[..., None]
    mean = over_actions(np.add, weighted, 1)
    squares = np.matmul(weighted.reshape(flat.shape).transpose(0, 2, 1), flat)
    return np.asarray(squares - np.matmul(mean.transpose(0, 2, 1), mean))


def skewness(design: Design, weights: Floats, covariance: Floats) -> Floats:
    r"""Third derivatives contracted with a covariance: :math:`c_{ik} = \mathrm{tr}(V_i\, \partial J_i/\partial b_k)`.

    Parameters
    ----------
    design : Design
    weights : ndarray of shape (N, K)
    covariance : ndarray of shape (N, K, K)
        :math:`V_i`; rows and columns of states whose weights are not a person's own are 0.

    Returns
    -------
    ndarray of shape (N, K)
        :math:`J_i` is the information of `derivatives`.
    """
    out = np.empty((design.n_people, design.n_states))
    for batch in design.batches:
        p = _probabilities(batch, weights[batch.people])[1]
        spread = covariance[batch.people].astype(batch.contrast.dtype, copy=False)
        out[batch.people] = _two_actions(batch, p, spread) if p.shape[1] == 1 else _many_actions(batch, p, spread)
    return out


def _squared(values: Floats, spread: Floats) -> Floats:
    """Squared length of each row of values (n, R, K) in a metric (n, K, K)."""
    return np.asarray(np.einsum("nrk,nrk->nr", np.matmul(values, spread), values))


def _two_actions(batch: Batch, p: Floats, spread: Floats) -> Floats:
    """With two alternatives the third cumulant is p (1 - p) (1 - 2p)."""
    flat, share = batch.contrast[:, 0], p[:, 0]
    third = share * (1.0 - share) * (1.0 - 2.0 * share) * _squared(flat, spread)
    return np.asarray(np.matmul(third[:, None], flat)[:, 0])


def _many_actions(batch: Batch, p: Floats, spread: Floats) -> Floats:
    """Sum over actions, the chosen one included, of probability, squared distance from the mean, and distance."""
    n, _, _, states = batch.contrast.shape
    mean = over_actions(np.add, batch.contrast * p[..., None], 1)
    away = (batch.contrast - mean[:, None]).reshape(n, -1, states)
    size = _squared(away, spread) * p.reshape(n, -1)
    size_chosen = _squared(mean, spread) * (1.0 - over_actions(np.add, p, 1))
    return np.asarray(np.matmul(size[:, None], away)[:, 0] - np.matmul(size_chosen[:, None], mean)[:, 0])
