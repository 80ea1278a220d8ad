"""Multiple imputation by chained equations: numbers by predictive mean matching, categories by multinomial models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["chained_equations"]

_ROUNDS, _DONORS = 10, 5
_NEWTON, _ENOUGH = 25, 1e-8


def chained_equations(
    columns: Sequence[np.ndarray],
    n_levels: Sequence[int],
    known: np.ndarray,
    n_imputations: int,
    seed: int,
) -> list[list[np.ndarray]]:
    r"""Fill in missing values several times, each from its distribution given all others.

    A number's model is a linear regression on all other columns, standardised, with weights :math:`\beta_j \sim N(0,
    \sigma^2)`, so that few people and many columns do no harm; with a draw of its parameters, the
    value of one of the five people who are predicted to be nearest is taken (predictive mean matching). A category's
    model is a multinomial logistic regression with a like prior, with a draw of its parameters by their normal
    approximation.

    Parameters
    ----------
    columns : sequence of ndarray of shape (n,)
        Numbers, missing ones NaN; or codes of levels from 0, missing ones -1.
    n_levels : sequence of int
        0 for numbers, else the number of levels.
    known : ndarray of shape (n, q)
        What is known of everybody and predicts too, such as outcomes.
    n_imputations : int
    seed : int

    Returns
    -------
    list of length n_imputations of list of ndarray of shape (n,)
        The columns, complete.

    References
    ----------
    van Buuren & Groothuis-Oudshoorn (2011), https://doi.org/10.18637/jss.v045.i03.

    Examples
    --------
    >>> x, y = np.arange(20.0), np.arange(20.0)
    >>> y[7] = np.nan
    >>> filled = chained_equations([x, y], [0, 0], np.empty((20, 0)), 3, seed=1)
    >>> [bool(4 <= complete[1][7] <= 10) for complete in filled]
    [True, True, True]
    """
    missing = [np.isnan(column) if not levels else column < 0 for column, levels in zip(columns, n_levels, strict=True)]
    order = [k for k in np.argsort([gaps.sum() for gaps in missing], kind="stable") if missing[k].any()]
    return [
        _completed(columns, n_levels, known, missing, order, np.random.default_rng([seed, number]))
        for number in range(n_imputations)
    ]


def _completed(
    columns: Sequence[np.ndarray],
    n_levels: Sequence[int],
    known: np.ndarray,
    missing: Sequence[np.ndarray],
    order: Sequence[int],
    rng: np.random.Generator,
) -> list[np.ndarray]:
    filled = [column.copy() for column in columns]
    for k in order:
        filled[k][missing[k]] = rng.choice(columns[k][~missing[k]], missing[k].sum())
    for _ in range(_ROUNDS if len(order) > 1 else 1):
        for k in order:
            others = [_numbers(filled[j], n_levels[j]) for j in range(len(columns)) if j != k]
            X = _standardised(np.column_stack([known, *others]), ~missing[k])
            draw = _matched if not n_levels[k] else _drawn_levels
            filled[k][missing[k]] = draw(filled[k], X, missing[k], n_levels[k], rng)
    return filled


def _numbers(column: np.ndarray, levels: int) -> np.ndarray:
    """Return a column as numbers, a category as indicators (n, levels - 1)."""
    return np.asarray(column[:, None] if not levels else (column[:, None] == np.arange(1, levels)), dtype="float64")


def _standardised(X: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Centre and scale by the rows that are there; without columns that are constant in these."""
    spread = X[there].std(axis=0)
    varies = spread > 1e-12 * np.maximum(np.abs(X).max(axis=0, initial=0.0), 1e-300)
    return np.asarray((X[:, varies] - X[there][:, varies].mean(axis=0)) / spread[varies])


def _matched(y: np.ndarray, X: np.ndarray, gaps: np.ndarray, _: int, rng: np.random.Generator) -> np.ndarray:
    """Draw numbers from those whose predictions are nearest."""
    own, p = y[~gaps], X.shape[1]
    seen, away = X[~gaps], own - own.mean()
    precision = seen.T @ seen + np.eye(p)
    weights = np.linalg.solve(precision, seen.T @ away)
    left = max(float(away @ away - weights @ precision @ weights), 1e-12 * float(away @ away))
    variance = left / rng.chisquare(max(len(own) - 1, 1))
    root = np.linalg.cholesky(np.linalg.inv(precision))
    drawn = weights + np.sqrt(variance) * root @ rng.standard_normal(p)
    shift = np.sqrt(variance / len(own)) * rng.standard_normal()
    apart = np.abs((X[gaps] @ drawn + shift)[:, None] - (seen @ weights)[None])
    donors = np.argsort(apart, axis=1, kind="stable")[:, :_DONORS]
    chosen = rng.integers(0, donors.shape[1], len(donors))
    return np.asarray(own[donors[np.arange(len(donors)), chosen]])


def _drawn_levels(y: np.ndarray, X: np.ndarray, gaps: np.ndarray, levels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw levels from a multinomial logistic regression."""
    X = np.column_stack([np.ones(len(X)), X])
    seen, made = X[~gaps], (y[~gaps][:, None] == np.arange(1, levels)).astype("float64")
    p, free = X.shape[1], levels - 1
    # as in the linear model: the logistic distribution has the variance pi^2 / 3
    prior = np.kron(np.eye(free), np.diag([1e-2, *np.full(p - 1, 3.0 / np.pi**2)]))
    weights = np.zeros(p * free)

    def parts(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        chance = _chances(seen, at, free)
        slope = (seen.T @ (made - chance)).T.ravel() - prior @ at
        bent = np.einsum("ni,nja,nk->jiak", seen, _spread(chance), seen).reshape(p * free, p * free) + prior
        return chance, slope, bent

    for _ in range(_NEWTON):
        _, slope, bent = parts(weights)
        step = np.linalg.solve(bent, slope)
        weights = weights + step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < _ENOUGH:
            break
    root = np.linalg.cholesky(np.linalg.inv(parts(weights)[2]))
    chance = _chances(X[gaps], weights + root @ rng.standard_normal(p * free), free)
    upto = np.cumsum(np.column_stack([1.0 - chance.sum(axis=1), chance]), axis=1)
    return np.asarray((rng.random(len(chance))[:, None] > upto[:, :-1]).sum(axis=1), dtype=y.dtype)


def _chances(X: np.ndarray, weights: np.ndarray, free: int) -> np.ndarray:
    """Probabilities (n, levels - 1) of all levels but the first."""
    logits = np.column_stack([np.zeros(len(X)), X @ weights.reshape(free, -1).T])
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray((odds / odds.sum(axis=1, keepdims=True))[:, 1:])


def _spread(chance: np.ndarray) -> np.ndarray:
    """Covariance (n, levels - 1, levels - 1) of indicators."""
    return np.asarray(chance[:, :, None] * np.eye(chance.shape[1]) - chance[:, :, None] * chance[:, None])
