r"""A network on top of equations: what the states of the past, taken together, say beyond their weighted sum.

The logits of an action are those of the equations plus the output of a small network, the same for all actions, that
sees the action's states, their means over the other actions, the equations' own logits, and an embedding of the person:

.. math:: \log p_a \propto \log p^\text{equations}_a + g(x_a, \bar x_{-a}, \log p^\text{equations}_a, e_i).

While it is trained, the equations predict each choice from the person's other blocks, so that the network does not
learn to trust them more than is due. It begins as the equations, and stays what it was when it predicted left-out
blocks best: where there is nothing more to know, it is the equations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spicestat._runtime.threads import one_thread, seeded
from spicestat.pooled.cross_prediction import deal_blocks, predict_across
from spicestat.pooled.fit import PooledFit
from spicestat.pooled.packed import Floats, Ints, Sessions
from spicestat.pooled.states import State, state_rows
from spicestat.training.early_stopping import Training, train_until_worse

__all__ = ["StateNetwork", "restore_members", "train_state_network"]

_HIDDEN, _EMBEDDING, _DROPOUT = 64, 2, 0.4
_BATCH, _MOST_BATCHES = 512, 250
_TRAINING = Training(epochs=60, patience=8, learning_rate=3e-3, decay=1e-2, least_gain=1e-5)
_NOT_OFFERED = 1e-6
_ERRORS, _LEAST_KEPT = 2.0, 1e-3
"""Left-out choices have to be predicted better by so many standard errors over people, and nats per choice."""


class _Network(nn.Module):
    """States (R, A, F), log-probabilities of the equations (R, A) and codes (R,) to log-probabilities (R, A)."""

    def __init__(self, n_states: int, n_people: int) -> None:
        super().__init__()
        # the last embedding is that of everybody who was not fitted: none
        self.people = nn.Embedding(n_people + 1, _EMBEDDING)
        nn.init.normal_(self.people.weight, std=0.1)
        nn.init.zeros_(self.people.weight[n_people:])
        self.hidden = nn.Linear(2 * n_states + 1 + _EMBEDDING, _HIDDEN)
        self.readout = nn.Linear(_HIDDEN, 1)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)
        self.dropout = nn.Dropout(_DROPOUT)

    def forward(self, values: Tensor, log_p: Tensor, who: Tensor) -> Tensor:
        n_actions = values.shape[1]
        others = (values.sum(dim=1, keepdim=True) - values) / (n_actions - 1)
        centred = (log_p - log_p.mean(dim=1, keepdim=True))[..., None]
        me = self.dropout(self.people(who))[:, None].expand(-1, n_actions, -1)
        hidden = nn.functional.silu(self.hidden(torch.cat([values, others, centred, me], dim=-1)))
        return torch.log_softmax(log_p + self.readout(self.dropout(hidden))[..., 0], dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class StateNetwork:
    """A trained network, or several whose probabilities are averaged.

    Attributes
    ----------
    members : tuple of torch modules
        None of them where left-out choices were not predicted better than by the equations: it is the equations then.
    states : tuple of F State
        What it sees.
    scale : ndarray of shape (F,)
        By what the states are divided.
    n_people : int
    nll, nll_equations : float
        Mean negative log-likelihood of left-out choices, nats, by the network and by the equations.
    """

    members: tuple[nn.Module, ...]
    states: tuple[State, ...]
    scale: Floats
    n_people: int
    nll: float
    nll_equations: float

    def __repr__(self) -> str:
        size = f"{len(self.members)} members on {len(self.states)} states" if self.members else "the equations"
        return f"StateNetwork: {size}; NLL in left-out blocks {self.nll:.4f}, equations {self.nll_equations:.4f}"

    @property
    def n_free(self) -> int:
        """Number of weights."""
        return sum(weights.numel() for member in self.members for weights in member.parameters())

    def predict(self, data: Sessions, equations: Floats, known: Ints) -> Floats:
        """Probabilities (R, A) of choices.

        Parameters
        ----------
        data : Sessions
            With rewards in the unit of the fit.
        equations : ndarray of shape (R, A)
            Probabilities by the equations.
        known : int ndarray of shape (R,)
            Codes of the people among those who were fitted; below 0 for others.
        """
        if not self.members:
            return equations
        who = torch.from_numpy(np.where(known >= 0, known, self.n_people))
        values, log_p = _tensor(state_rows(data, self.states).values / self.scale), _tensor(_log(equations))
        with torch.no_grad(), one_thread():
            found = [member(values, log_p, who).double().exp() for member in self.members]
        mean = np.where(equations > 0, torch.stack(found).mean(dim=0).numpy(), 0.0)
        return np.asarray(mean / mean.sum(axis=1, keepdims=True))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the weights of all members by name, ``<member>/<name>``."""
        return {
            f"{place}/{name}": weights.detach().numpy()
            for place, member in enumerate(self.members)
            for name, weights in member.state_dict().items()
        }


def restore_members(arrays: Mapping[str, np.ndarray], n_states: int, n_people: int) -> tuple[nn.Module, ...]:
    """Make members of `StateNetwork.arrays`.

    Raises
    ------
    ValueError, RuntimeError
        An array is missing or has another shape.
    """
    places = sorted({int(name.partition("/")[0]) for name in arrays})
    return tuple(_restored(_part(arrays, place), n_states, n_people) for place in places)


def _part(arrays: Mapping[str, np.ndarray], place: int) -> dict[str, Tensor]:
    start = f"{place}/"
    return {k.removeprefix(start): torch.from_numpy(a.copy()) for k, a in arrays.items() if k.startswith(start)}


def _restored(weights: dict[str, Tensor], n_states: int, n_people: int) -> nn.Module:
    member = _Network(n_states, n_people)
    member.load_state_dict(weights)
    return member.eval()


def train_state_network(
    data: Sessions, fit: PooledFit, states: tuple[State, ...], members: int = 3, seed: int = 0
) -> StateNetwork:
    """Train networks on what equations leave.

    Parameters
    ----------
    data : Sessions
        What the equations were fitted to.
    fit : PooledFit
        The equations.
    states : tuple of F State
        What the network sees.
    members : int, default 3
        Each stops by another part of everybody's blocks, which it does not learn from.
    seed : int, default 0
        Of first weights, dropout and batches. The same seed, data and machine give the same numbers.

    Examples
    --------
    >>> from spicestat.pooled.fit import fit_pooled
    >>> from spicestat.pooled.packed import pack_sessions
    >>> from spicestat.pooled.states import state
    >>> rng = np.random.default_rng(0)
    >>> data = pack_sessions(rng.integers(0, 2, (20, 30)), rng.integers(0, 2, (20, 30)), np.arange(20) // 2, 2)
    >>> fit = fit_pooled(data, [state("last")])
    >>> network = train_state_network(data, fit, (state("last"), state(("choices", 0.5))))
    >>> len(network.members), network.nll <= network.nll_equations
    (0, True)
    """
    rows = fit.rows(data)
    fold = deal_blocks(rows, members)
    log_p = _log(predict_across(fit, rows, fold))
    values = state_rows(data, states).values
    scale = values.reshape(-1, len(states)).std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    given = _Given(
        _tensor(values / scale), _tensor(log_p), torch.from_numpy(rows.choice), torch.from_numpy(rows.person)
    )
    n_people, base = len(fit.n_choices), log_p[np.arange(len(log_p)), rows.choice]
    trained, reached = [], base.copy()
    for number in range(int(fold.max()) + 1):
        watched = fold == number
        if watched.all():
            continue
        with seeded(seed + number), one_thread():
            network = _Network(len(states), n_people)
            _run(network, given, watched)
            reached[watched] = given.gained(network.eval(), np.flatnonzero(watched))
        trained.append(network)
    kept = _is_better(reached - base, rows.person, n_people)
    nll = float(-(reached if kept else base).mean())
    return StateNetwork(tuple(trained) if kept else (), states, scale, n_people, nll, float(-base.mean()))


def _is_better(gain: Floats, person: Ints, n_people: int) -> bool:
    """Whether the gain of log-likelihood, (R,), is more than chance between people, and than the choice of an epoch."""
    each = np.bincount(person, gain, minlength=n_people)
    error = np.sqrt(((each - each.mean()) ** 2).sum())
    return bool(each.sum() > max(_ERRORS * error, _LEAST_KEPT * len(gain)))


@dataclass(frozen=True, eq=False)
class _Given:
    """What the network is told of R choices, and what they were."""

    values: Tensor
    log_p: Tensor
    choice: Tensor
    person: Tensor

    def log_likelihood(self, network: nn.Module, rows: Tensor) -> Tensor:
        """Log-probability of some of the choices."""
        found: Tensor = network(self.values[rows], self.log_p[rows], self.person[rows])
        return found.gather(1, self.choice[rows, None])[:, 0]

    def gained(self, network: nn.Module, rows: Any) -> Floats:
        """Return the same as numbers."""
        with torch.no_grad():
            return np.asarray(self.log_likelihood(network, torch.from_numpy(rows)).double().numpy())


def _run(network: nn.Module, given: _Given, watched: np.ndarray) -> None:
    """Train on the choices that are not watched, and leave the network as it was at its best, or as it began."""
    learned, seen = torch.from_numpy(np.flatnonzero(~watched)), np.flatnonzero(watched)
    size = max(_BATCH, len(learned) // _MOST_BATCHES)
    train_until_worse(
        network,
        _TRAINING,
        -(-len(learned) // size),
        lambda: torch.split(learned[torch.randperm(len(learned))], size),
        lambda rows: -given.log_likelihood(network, rows).mean(),
        lambda: -float(given.gained(network, seen).mean()),
        may_stay=True,
    )


def _log(probabilities: Floats) -> Floats:
    """Logarithms; of an action that is not on offer, of a probability that is next to nothing."""
    return np.asarray(np.log(np.where(probabilities > 0, probabilities, _NOT_OFFERED)))


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))
