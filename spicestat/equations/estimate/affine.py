r"""Likelihood, gradient and Hessian by recursions, for equations that are affine in each state's own value.

Very many equations have the form

.. math:: v' = \Big(a_0 + \sum_k \theta_k a_k\Big) v + b_0 + \sum_k \theta_k b_k

for the value v of every state and action, where a and b depend on the data alone (constant learning rates,
learning rates that depend on rewards, forgetting, choice traces). Derivatives of v then follow the same recursion,

.. math:: \partial_k v' = A\, \partial_k v + a_k v + b_k, \qquad
          \partial_{kl} v' = A\, \partial_{kl} v + a_k\, \partial_l v + a_l\, \partial_k v

with :math:`A = a_0 + \sum_k \theta_k a_k`, and need no record of operations, as automatic differentiation does.
`find_affine` finds a and b by trying the model itself out, and refuses where the form does not hold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from spicestat.trials.sequences import SequenceDataset

__all__ = ["AffineLikelihood", "AffineState"]

_RANGE = 1e5
"""Values beyond are left to the model itself where nobody knows what it does with large ones."""

_CELLS_AT_ONCE = 2**17
"""Numbers per array that a processor's cache still holds; the fastest by trial."""

_FACTORS = 64
"""So many sums of probabilities relative to the largest, each between 1 and A, are multiplied without overflow."""


@dataclass(frozen=True, eq=False)
class AffineState:
    """The recursion of one state that the logits are made of, for S sequences of T steps.

    Attributes
    ----------
    start : float
        Value before the first step.
    position : int or None
        Its inverse temperature among the K coefficients.
    weight : float
        Its weight in the logits where it has none.
    slope, shift : Tensor of shape (T, A, S)
        :math:`a_0` and :math:`b_0`.
    slopes, shifts : dict of int to Tensor of shape (T, A, S)
        :math:`a_k` and :math:`b_k` by position among the K coefficients, without those that are 0 everywhere.
    limit : float or None
        Where the model clamps the value, if that is known.
    """

    start: float
    position: int | None
    weight: float
    slope: Tensor
    shift: Tensor
    slopes: dict[int, Tensor]
    shifts: dict[int, Tensor]
    limit: float | None = None

    @property
    def positions(self) -> list[int]:
        """Coefficients that move the state."""
        return sorted({*self.slopes, *self.shifts})

    def part(self, rows: Tensor, n_steps: int) -> AffineState:
        """Return the recursion of some sequences, for their first steps."""
        return self._changed(lambda whole: whole[:n_steps].index_select(2, rows))

    def unclamped(self, path: Tensor) -> AffineState:
        """Return the recursion with nothing that could change values (T, A, S) at the limit."""
        below = path.abs() < (math.inf if self.limit is None else self.limit)
        return self._changed(lambda whole: whole * below)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> AffineState:
        slopes, shifts = ({key: change(whole) for key, whole in those.items()} for those in (self.slopes, self.shifts))
        return replace(self, slope=change(self.slope), shift=change(self.shift), slopes=slopes, shifts=shifts)


class AffineLikelihood:
    """Softmax likelihood of S sequences under affine states.

    Parameters
    ----------
    states : sequence of AffineState
        Their weighted sum is the logits.
    data : SequenceDataset
        Targets.
    free : sequence of F int
        Coefficients to differentiate by, as positions among K.
    """

    def __init__(self, states: Sequence[AffineState], data: SequenceDataset, free: Sequence[int]) -> None:
        self.states, self.free, self.n_actions = tuple(states), [int(position) for position in free], data.n_actions
        self.participant, self.lengths = data.participant, data.lengths
        self.limited = any(state.limit is not None for state in self.states)
        self.column = {position: number for number, position in enumerate(self.free)}
        # one-hot targets (T, A, S), all 0 where there is none
        one_hot = torch.nn.functional.one_hot(data.targets, data.n_actions).to(torch.float64)
        self.targets = (one_hot * data.mask[..., None]).permute(1, 2, 0).contiguous()

    def log_likelihood(self, coefficients: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Log-likelihood of R sequences at C sets of coefficients.

        Parameters
        ----------
        coefficients : Tensor of shape (C, P, K)
        rows : int Tensor of shape (R,)
            Sequences.

        Returns
        -------
        (Tensor, bool Tensor), each of shape (C, R)
            Values, and whether they hold: not where states left the range of the recursion.
        """
        n_copies = coefficients.shape[0]
        value, inside = (torch.empty(len(rows), n_copies, dtype=kind) for kind in (torch.float64, torch.bool))
        for some in self._pieces(rows, _CELLS_AT_ONCE // max(1, n_copies * self.n_actions)):
            theta = coefficients[:, self.participant[rows[some]]].permute(2, 1, 0).contiguous()
            values, holds = self._values(theta, rows[some])
            if self.limited and not bool(holds.all()):
                row, copy = torch.nonzero(~holds, as_tuple=True)
                again = self._values(theta[:, row, copy].unsqueeze(-1), rows[some][row], clamped=True)
                values[row, copy], holds[row, copy] = again[0][:, 0], again[1][:, 0]
            value[some], inside[some] = values, holds
        return value.T, inside.T

    def _pieces(self, rows: Tensor, n_at_once: int) -> tuple[Tensor, ...]:
        """Where among the rows to find those of similar length, a piece that fits into memory at a time."""
        return torch.split(torch.argsort(self.lengths[rows], stable=True), max(1, n_at_once))

    def _values(self, theta: Tensor, rows: Tensor, clamped: bool = False) -> tuple[Tensor, Tensor]:
        """Return values and whether they hold, each (R, C), at coefficients (K, R, C)."""
        n_steps = int(self.lengths[rows].max())
        states = [state.part(rows, n_steps) for state in self.states]
        choices = _Choices(self.targets[:n_steps].index_select(2, rows).unsqueeze(-1))
        _, n_rows, n_copies = theta.shape
        shape = (self.n_actions, n_rows, n_copies)
        values = [theta.new_full(shape, state.start) for state in states]
        total, holds = theta.new_zeros(shape[1:]), torch.ones(shape[1:], dtype=torch.bool)
        n_at_once = max(1, _CELLS_AT_ONCE // math.prod(shape))
        for first in range(0, n_steps, n_at_once):
            steps = slice(first, min(n_steps, first + n_at_once))
            logits = None
            for index, state in enumerate(states):
                slope = _combined(state.slope, state.slopes, theta, steps)
                path = _combined(state.shift, state.shifts, theta, steps)
                values[index] = _run([values[index], *path.unbind(0)], slope, state.limit if clamped else None)
                holds &= _inside(path, state.limit)
                weight = state.weight if state.position is None else theta[state.position]
                weighted = choices.contrast(path).mul_(weight)
                logits = weighted if logits is None else logits.add_(weighted)
            assert logits is not None
            total += choices.log_likelihood(logits, steps)
        return total, holds

    def derivatives(self, coefficients: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Log-likelihood of R sequences with its derivatives.

        Parameters
        ----------
        coefficients : Tensor of shape (P, K)
        rows : int Tensor of shape (R,)
            Sequences.

        Returns
        -------
        value, gradient, hessian, inside : Tensors of shapes (R,), (R, F), (R, F, F) and (R,)
            ``inside`` says whether they hold: not where states left the range of the recursion.
        """
        n_rows, n_free = len(rows), len(self.free)
        value, inside = (torch.empty(n_rows, dtype=kind) for kind in (torch.float64, torch.bool))
        gradient = torch.empty(n_rows, n_free, dtype=torch.float64)
        hessian = torch.empty(n_rows, n_free, n_free, dtype=torch.float64)
        for some in self._pieces(rows, _CELLS_AT_ONCE // (len(self.targets) * self.n_actions)):
            theta = coefficients[self.participant[rows[some]]].T.unsqueeze(-1).contiguous()
            found = self._derivatives(theta, rows[some])
            if self.limited and not bool(found[-1].all()):
                row = torch.nonzero(~found[-1]).squeeze(1)
                for part, again in zip(found, self._derivatives(theta[:, row], rows[some][row], True), strict=True):
                    part[row] = again
            value[some], gradient[some], hessian[some], inside[some] = found
        return value, gradient, hessian, inside

    def _derivatives(self, theta: Tensor, rows: Tensor, clamped: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Do `derivatives` for a few sequences, at coefficients (K, R, 1)."""
        n_steps = int(self.lengths[rows].max())
        choices = _Choices(self.targets[:n_steps].index_select(2, rows).unsqueeze(-1))
        tangents = [_Tangents(state.part(rows, n_steps), theta, self.column, clamped) for state in self.states]
        logits = choices.contrast(tangents[0].path).mul_(tangents[0].weight)
        for each in tangents[1:]:
            logits.add_(choices.contrast(each.path).mul_(each.weight))
        pull, spread, centre = choices.pull_and_spread(logits)
        hessian = theta.new_zeros(len(self.free), len(self.free), len(rows))
        gradient = theta.new_zeros(len(self.free), len(rows))
        slopes: dict[int, Tensor] = {}
        for each in tangents:
            for column, slope in each.add_first_order(choices, pull, gradient, hessian):
                slopes[column] = slopes[column] + slope if column in slopes else slope
            each.add_second_order(choices.per_action(pull), hessian)
        centred = [(column, centre(slope)) for column, slope in slopes.items()]
        for number, (one, slope) in enumerate(centred):
            weighted = slope * spread
            for other, second in centred[number:]:
                product = (weighted * second).sum(dim=(0, 1, 3))
                hessian[one, other] -= product
                if one != other:
                    hessian[other, one] -= product
        holds = torch.stack([_inside(each.path, each.state.limit) for each in tangents]).all(dim=0)
        value = choices.log_likelihood(logits, slice(0, n_steps))
        return value[:, 0], gradient.T, hessian.permute(2, 0, 1), holds[:, 0]


class _Tangents:
    """A state's values and first derivatives for R sequences, all of shape (T, A, R, 1).

    Parameters
    ----------
    state : AffineState
        Of these sequences.
    theta : Tensor of shape (K, R, 1)
        Coefficients.
    column : dict of int to int
        Positions of free coefficients and their columns in the Hessian.
    clamped : bool
        Whether to clamp values at the limit, where derivatives are 0.
    """

    def __init__(self, state: AffineState, theta: Tensor, column: dict[int, int], clamped: bool) -> None:
        self.weight = theta.new_full((), state.weight) if state.position is None else theta[state.position]
        self.beta = None if state.position is None else column.get(state.position)
        whole = slice(0, len(state.slope))
        slope = _combined(state.slope, state.slopes, theta, whole)
        values = theta.new_full((len(slope) + 1, *slope.shape[1:]), state.start)
        values[1:] = _combined(state.shift, state.shifts, theta, whole)
        _run(values.unbind(0), slope, state.limit if clamped else None)
        self.path = values[1:]
        if clamped:
            state = state.unclamped(self.path[..., 0])
            slope = _combined(state.slope, state.slopes, theta, whole)
        self.state, self.slope = state, slope
        moving = [position for position in state.positions if position in column]
        self.columns = {position: column[position] for position in moving}
        tangents = values.new_zeros(len(values), len(moving), *values.shape[1:])
        for number, position in enumerate(moving):
            source = tangents[1:, number]
            if position in state.shifts:
                source.copy_(state.shifts[position].unsqueeze(-1))
            if position in state.slopes:
                source.addcmul_(state.slopes[position].unsqueeze(-1), values[:-1])
        _run(tangents.unbind(0), self.slope)
        self.paths = dict(zip(moving, tangents[1:].unbind(1), strict=True))
        self.before = dict(zip(moving, tangents[:-1].unbind(1), strict=True))

    def add_first_order(
        self, choices: _Choices, pull: Tensor, gradient: Tensor, hessian: Tensor
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the slopes of the logits by column, and add what needs only the pull on the logits."""
        if self.beta is not None:
            values = choices.contrast(self.path)
            gradient[self.beta] += (pull * values).sum(dim=(0, 1, 3))
            yield self.beta, values
        for position, path in self.paths.items():
            column, slope = self.columns[position], choices.contrast(path)
            along = (pull * slope).sum(dim=(0, 1))
            gradient[column] += (along * self.weight)[:, 0]
            if self.beta is not None:
                hessian[self.beta, column] += along[:, 0]
                hessian[column, self.beta] += along[:, 0]
            yield column, slope.mul_(self.weight)

    def add_second_order(self, pull: Tensor, hessian: Tensor) -> None:
        """Add what bent paths contribute, from the pull (T, A, R, 1) on the logits, by a recursion backwards."""
        bending = [position for position in self.columns if position in self.state.slopes]
        if not bending:
            return
        pulls = pull * self.weight
        steps, factors = pulls.unbind(0), self.slope.unbind(0)
        for step in range(len(steps) - 2, -1, -1):
            steps[step].addcmul_(factors[step + 1], steps[step + 1])
        for position in bending:
            bend = pulls * self.state.slopes[position].unsqueeze(-1)
            for other, before in self.before.items():
                product = (bend * before).sum(dim=(0, 1, 3))
                hessian[self.columns[position], self.columns[other]] += product
                hessian[self.columns[other], self.columns[position]] += product


def _run(values: Sequence[Tensor], slope: Tensor, limit: float | None = None) -> Tensor:
    """Turn a start and shifts (..., A, R, C) into values, in place, and return the last; slope (t, A, R, C)."""
    before, *steps = values
    for now, factor in zip(steps, slope.unbind(0), strict=True):
        before = now.addcmul_(factor, before)
        if limit is not None:
            now.clamp_(-limit, limit)
    return before


def _combined(constant: Tensor, parts: dict[int, Tensor], theta: Tensor, steps: slice) -> Tensor:
    """Constant plus the coefficients' parts, (t, A, R, C)."""
    total = constant[steps].unsqueeze(-1).expand(-1, -1, -1, theta.shape[-1])
    if not parts:
        return total.clone()
    first = True
    for position, part in parts.items():
        if first:
            total, first = torch.addcmul(total, part[steps].unsqueeze(-1), theta[position]), False
        else:
            total.addcmul_(part[steps].unsqueeze(-1), theta[position])
    return total


def _inside(path: Tensor, limit: float | None) -> Tensor:
    """Whether all values (t, A, R, C) are in the range of the recursion, (R, C)."""
    limit = _RANGE if limit is None else limit
    low, high = torch.aminmax(path)
    if bool(torch.maximum(-low, high) <= limit):
        return torch.ones(path.shape[2:], dtype=torch.bool)
    # not where one of them is NaN, either
    return path.abs().amax(dim=(0, 1)) <= limit


class _Choices:
    """Log-likelihood of targets (T, A, R, 1); for two actions in terms of the difference of their logits."""

    def __init__(self, targets: Tensor) -> None:
        self.two = targets.shape[1] == 2
        self.counts = targets.sum(dim=1)
        # +1 for action 1, -1 for action 0, 0 where nothing counts
        self.targets = targets[:, 1:] - targets[:, :1] if self.two else targets

    def contrast(self, path: Tensor) -> Tensor:
        """Take the difference (t, 1, ...) of two actions, or all of more (t, A, ...), which logits are a sum of."""
        return path[:, 1:] - path[:, :1] if self.two else path.clone()

    def log_likelihood(self, logits: Tensor, steps: slice) -> Tensor:
        """Sum (R, C) over steps; changes the logits."""
        targets, counts = self.targets[steps], self.counts[steps]
        if self.two:
            # log sigmoid(x) = min(x, 0) - log(1 + exp(-|x|)), with x = 0 where nothing counts
            signed = logits.mul_(targets)[:, 0]
            low = signed.clamp(max=0).sum(dim=0)
            idle = (len(counts) - counts.sum(dim=0)) * math.log(2)
            return low - _log_product(signed.abs_().neg_().exp_().add_(1)) + idle
        top = logits.amax(dim=1, keepdim=True)
        logits.sub_(top)
        chosen = (logits * targets).sum(dim=(0, 1))
        sizes = logits.exp_().sum(dim=1)
        return chosen - _log_product(torch.where(counts > 0, sizes, 1.0))

    def pull_and_spread(self, logits: Tensor) -> tuple[Tensor, Tensor, Callable[[Tensor], Tensor]]:
        """First derivatives by the logits, and W and f such that minus the second along D, E are W f(D) f(E)."""
        counts = self.counts.unsqueeze(1)
        if self.two:
            probability = torch.sigmoid(logits)
            wanted = (self.targets + counts) / 2
            return wanted - probability * counts, probability * (1 - probability) * counts, lambda slope: slope
        probability = torch.softmax(logits, dim=1)
        return (
            self.targets - probability * counts,
            probability * counts,
            lambda slope: slope - (probability * slope).sum(dim=1, keepdim=True),
        )

    def per_action(self, pull: Tensor) -> Tensor:
        """Pull on the logits (T, A, ...) from what `pull_and_spread` gave."""
        return torch.cat([-pull, pull], dim=1) if self.two else pull


def _log_product(sizes: Tensor) -> Tensor:
    """Sum of the logarithms of sizes (t, ...), each from 1 to the number of actions."""
    # a logarithm of a product takes less time than those of its factors
    parts = [part.prod(dim=0).log_() for part in torch.split(sizes, _FACTORS)]
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(dim=0)
