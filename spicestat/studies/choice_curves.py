"""Posterior predictive checks of choice curves over trials."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from spicestat._checks import check_level, seed_number, whole_number
from spicestat.errors import ConfigError, DataError, ShapeError

__all__ = ["REFERENCES", "choice_curve_check", "choice_events", "reference_actions"]

REFERENCES = ("repeated", "most_rewarded", "better")
"""What a choice is compared with; see `reference_actions`."""


def reference_actions(
    kind: str, choice: np.ndarray, reward: np.ndarray, better: np.ndarray | None = None
) -> np.ndarray:
    """Return for each trial the action that a choice is compared with, -1 where there is none.

    Parameters
    ----------
    kind : {"repeated", "most_rewarded", "better"}
        "repeated": the action of the trial before. "most_rewarded": the action with the highest mean reward so far
        in the sequence, none before two actions have been tried or while the highest is a tie.
        "better": what ``better`` says.
    choice : int ndarray of shape (S, T)
        Actions from 0, -1 where missing.
    reward : ndarray of shape (S, T)
        Reward of the chosen action, NaN where missing.
    better : int ndarray of shape (S, T), optional
        The action that pays best in the task, -1 where unknown.

    Examples
    --------
    >>> choice, reward = np.array([[0, 1, 1, 0]]), np.array([[1.0, 0.0, 0.0, 1.0]])
    >>> reference_actions("repeated", choice, reward).tolist()
    [[-1, 0, 1, 1]]
    >>> reference_actions("most_rewarded", choice, reward).tolist()
    [[-1, -1, 0, 0]]
    """
    if kind not in REFERENCES:
        raise ConfigError("unknown reference of choices", got=repr(kind), allowed=", ".join(map(repr, REFERENCES)))
    if kind == "better":
        if better is None or better.shape != choice.shape:
            raise ConfigError(
                "with 'better' it must be known which action is best on every trial",
                got=None if better is None else better.shape,
                allowed=f"an array of shape {choice.shape}",
            )
        return np.asarray(better)
    if kind == "repeated":
        return np.concatenate([np.full((len(choice), 1), -1), choice[:, :-1]], axis=1)
    return _most_rewarded(choice, reward)


def choice_events(choice: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return 1 where the choice is the reference action, 0 where not, NaN where either is missing (-1)."""
    known = (choice >= 0) & (reference >= 0)
    return np.where(known, (choice == reference).astype("float64"), np.nan)


def choice_curve_check(
    observed: np.ndarray,
    replicate: Callable[[np.ndarray, np.random.Generator], np.ndarray],
    draws: np.ndarray,
    *,
    groups: Sequence[object] | None = None,
    n_bins: int = 10,
    n_replicates: int = 200,
    conf_level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare an observed choice curve with those of replicated data sets.

    Every replicate is made with another posterior draw of all participants' coefficients, so that its spread holds the
    uncertainty of the coefficients as well as the chance in choices.

    Parameters
    ----------
    observed : ndarray of shape (S, T)
        1 or 0, NaN where undefined; see `choice_events`.
    replicate : callable
        Takes coefficients (P, K) and a generator, gives events as in ``observed``: for the same sequences, or
        for other ones if ``groups`` is not given.
    draws : ndarray of shape (n, P, K)
        Posterior draws of the participants' coefficients.
    groups : sequence of length S, optional
        Makes one curve for each group of sequences, besides that of all.
    n_bins : int, default 10
        Bins of trials of about equal width.
    n_replicates : int, default 200
        At most n, evenly spread over the draws.
    conf_level : float, default 0.95
        Level of the interval over replicates.
    seed : int, default 0

    Returns
    -------
    DataFrame
        ``group`` (None for all), ``trial_low, trial_high`` (from 1), ``n_choices``, ``observed`` share, ``predicted``
        (mean over replicates), ``conf_low, conf_high``, and ``p_value``, the posterior predictive p-value: twice the
        share of replicates on the rarer side of the observed share, at most 1 (Meng 1994; conservative).

    References
    ----------
    Gelman, Meng & Stern (1996), https://www.jstor.org/stable/24306036; Meng (1994),
    https://doi.org/10.1214/aos/1176325622.

    Examples
    --------
    >>> observed = np.random.default_rng(1).random((40, 20)) < 0.7
    >>> table = choice_curve_check(
    ...     observed, lambda coefficients, rng: rng.random((40, 20)) < coefficients, np.full((50, 1, 1), 0.7), n_bins=2)
    >>> table[["trial_low", "trial_high", "n_choices"]].to_numpy().tolist()
    [[1, 10, 400], [11, 20, 400]]
    """
    seen = np.asarray(observed, dtype="float64")
    if seen.ndim != 2 or draws.ndim != 3:
        raise ShapeError(
            "events or draws have the wrong shape", got=(seen.shape, draws.shape), allowed="(S, T) (n, P, K)"
        )
    if groups is not None and len(groups) != len(seen):
        raise ShapeError("groups do not match the sequences", got=len(groups), allowed=len(seen))
    level = check_level(conf_level)
    count = min(whole_number("n_replicates", n_replicates, 1), len(draws))
    edges = np.linspace(0, seen.shape[1], min(whole_number("n_bins", n_bins, 1), seen.shape[1]) + 1).astype("int64")
    rng = np.random.default_rng(seed_number(seed))
    masks = _masks(groups, len(seen))
    curves = []
    for draw in np.linspace(0, len(draws) - 1, count).astype("int64"):
        events = np.asarray(replicate(draws[draw], rng), dtype="float64")
        if groups is not None and len(events) != len(seen):
            raise ShapeError(
                "with groups, replicates must be of the same sequences", got=len(events), allowed=len(seen)
            )
        curves.append([_curve(events if mask is None else events[mask], edges) for mask in masks.values()])
    simulated = np.array(curves)
    frames = [
        _table(group, seen if mask is None else seen[mask], simulated[:, position], edges, level)
        for position, (group, mask) in enumerate(masks.items())
    ]
    return pd.concat(frames, ignore_index=True)


def _masks(groups: Sequence[object] | None, n_sequences: int) -> dict[object, np.ndarray | None]:
    masks: dict[object, np.ndarray | None] = {None: None}
    for label in dict.fromkeys(groups or ()):
        mask = np.array([other == label for other in groups or ()])
        if len(mask) == n_sequences and mask.any():
            masks[label] = mask
    return masks


def _curve(events: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Share of events in each bin of trials, NaN where none is defined."""
    defined = np.isfinite(events)
    total, known = np.where(defined, events, 0.0).sum(axis=0), defined.sum(axis=0)
    ends = np.minimum(edges, events.shape[1])
    bins = [slice(low, high) for low, high in zip(ends[:-1], ends[1:], strict=True)]
    return np.array([total[part].sum() / known[part].sum() if known[part].sum() else np.nan for part in bins])


def _table(group: object, observed: np.ndarray, simulated: np.ndarray, edges: np.ndarray, level: float) -> pd.DataFrame:
    curve = _curve(observed, edges)
    counts = np.isfinite(observed).sum(axis=0)
    used = np.isfinite(curve) & np.isfinite(simulated).all(axis=0)
    if not used.any():
        raise DataError("no trial has both observed and replicated choices to compare", got=group)
    low, high = np.quantile(simulated[:, used], [0.5 - level / 2.0, 0.5 + level / 2.0], axis=0)
    rarer = np.minimum((simulated <= curve).mean(axis=0), (simulated >= curve).mean(axis=0))
    return pd.DataFrame(
        {
            "group": [group] * int(used.sum()),
            "trial_low": edges[:-1][used] + 1,
            "trial_high": edges[1:][used],
            "n_choices": np.array([counts[a:b].sum() for a, b in zip(edges[:-1], edges[1:], strict=True)])[used],
            "observed": curve[used],
            "predicted": simulated[:, used].mean(axis=0),
            "conf_low": low,
            "conf_high": high,
            "p_value": np.minimum(1.0, 2.0 * rarer)[used],
        }
    )


def _most_rewarded(choice: np.ndarray, reward: np.ndarray) -> np.ndarray:
    n_actions = int(choice.max(initial=0)) + 1
    chosen = choice[..., None] == np.arange(n_actions)
    told = chosen & np.isfinite(reward)[..., None]
    before = (np.zeros((len(choice), 1, n_actions)),)
    count = np.concatenate([*before, np.cumsum(told, axis=1)[:, :-1]], axis=1)
    total = np.concatenate([*before, np.cumsum(np.where(told, reward[..., None], 0.0), axis=1)[:, :-1]], axis=1)
    mean = np.divide(total, count, out=np.full(total.shape, -np.inf), where=count > 0)
    best = mean.argmax(axis=2)
    top = mean.max(axis=2)
    alone = (mean == top[..., None]).sum(axis=2) == 1
    return np.where(alone & ((count > 0).sum(axis=2) > 1), best, -1)
