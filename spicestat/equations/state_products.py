"""What a network on top of equations knows more, as sparse sums of products of states: candidates for further terms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from sklearn.linear_model import orthogonal_mp_gram

from spicestat.pooled.fit import PooledFit
from spicestat.pooled.packed import Floats, Sessions
from spicestat.pooled.states import State, row_places, state_products
from spicestat.training.state_network import StateNetwork

__all__ = ["propose_states"]

_ROWS = 15_000
_LEAST_SD = 1e-9


def propose_states(data: Sessions, fit: PooledFit, network: StateNetwork, n_terms: int = 12) -> tuple[State, ...]:
    """Regress what the network adds to the equations' logits on all states that it sees and their products in pairs.

    Terms are taken one at a time, each time the one that explains most of what is left once the fit's own states have
    had their share (orthogonal matching pursuit: Pati, Rezaiifar & Krishnaprasad, 1993, doi:10.1109/ACSSC.1993.342465).

    Parameters
    ----------
    data : Sessions
        What the fit was made from.
    fit : PooledFit
    network : StateNetwork
        On top of it.
    n_terms : int, default 12
        How many are proposed at most.

    Returns
    -------
    tuple of State
        None where the network is the equations.
    """
    if not network.members:
        return ()
    rows = fit.rows(data)
    before = fit.predict(rows)
    after = network.predict(data, before, rows.person)
    # what is not on offer has probability 0 in both
    added = np.log(np.where(before > 0, after, 1.0)) - np.log(np.where(before > 0, before, 1.0))
    candidates = tuple(_products(network.states, fit.states))
    some = np.unique(np.linspace(0, len(rows.choice) - 1, min(_ROWS, len(rows.choice))).astype(np.int64))
    values = _centred_values(data, candidates, some)
    known = _columns(rows.rows(some).values)
    basis, _ = np.linalg.qr(known)
    target, values = (part - basis @ (basis.T @ part) for part in (_columns(added[some][..., None]), values))
    size = values.std(axis=0)
    usable = np.flatnonzero(size > _LEAST_SD)
    values = values[:, usable] / size[usable]
    weights = orthogonal_mp_gram(values.T @ values, values.T @ target[:, 0], n_nonzero_coefs=min(n_terms, len(usable)))
    return tuple(candidates[usable[k]] for k in np.flatnonzero(weights))


def _products(seen: Sequence[State], own: Sequence[State]) -> Iterator[State]:
    """All states that the network sees but the fit lacks, and all products of two; a signal counts once."""
    known = {frozenset(declared.signals) for declared in own}
    pairs = (State(tuple(dict.fromkeys((*a.signals, *b.signals)))) for a, b in combinations(seen, 2))
    for declared in (*seen, *pairs):
        signals = frozenset(declared.signals)
        if signals not in known:
            known.add(signals)
            yield declared


def _centred_values(data: Sessions, states: Sequence[State], rows: np.ndarray) -> Floats:
    time, session = (places[rows] for places in row_places(data))
    out = np.empty((len(rows) * data.n_actions, len(states)))
    for k, product in enumerate(state_products(data, states, (time, session))):
        out[:, k] = _columns(np.broadcast_to(product, (len(rows), data.n_actions))[..., None])[:, 0]
    return out


def _columns(values: Floats) -> Floats:
    """Values (R, A, K) less their means over actions, as (R A, K)."""
    return np.asarray((values - values.mean(axis=1, keepdims=True)).reshape(-1, values.shape[2]))
