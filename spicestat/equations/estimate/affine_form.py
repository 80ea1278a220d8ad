"""Finds the affine form of a model's equations by probing one step of its forward pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from spicestat.equations.estimate.affine import AffineLikelihood, AffineState
from spicestat.equations.estimate.forward import EquationModel, row_equations
from spicestat.equations.structure.equation_set import BETA, FREE, EquationSet
from spicestat.models.base import BaseRNN

__all__ = ["find_affine"]

_TOLERANCE = 1e-9
_NOTHING = 1e-12

_HUGE, _AROUND = (8.0, 12.0), (4.0, 8.0)
"""Powers of ten between which to look for the value where a model clamps its states, and then to try it out."""

_LARGE, _CLAMPED = 1e5, 1e8
"""Values from here can be limits; values that should lie beyond, and lie below, have been clamped."""

_CELLS_AT_ONCE = 100_000

_N_SAMPLED = 4096
"""So many logits tell the weights of the states; all are then checked."""

_LONGEST_MEMORY = 12
"""Steps after which a state that depends on the data alone must have forgotten its start."""

_N_WHOLE = 16
"""Sequences that are run as a whole; single steps are checked in all."""


def find_affine(run: EquationModel) -> AffineLikelihood | None:
    """Return the likelihood by recursions, or None where the equations do not allow it.

    The model is stepped once from every trial of every sequence: from states 0 and 1, with the coefficients at
    0 and one of them at 1, which gives the recursion if there is one. It is believed if it predicts a step from
    random states with random coefficients, and the likelihood of whole sequences, to 1e-9. States that depend
    on the data alone (a memory of past choices) may enter like data.

    Parameters
    ----------
    run : EquationModel
        Model, data and structure.
    """
    if type(run.model).log_likelihood is not BaseRNN.log_likelihood:
        return None
    try:
        with torch.no_grad():
            rows = _spread(run)
            # a few sequences are enough to find out that the form does not hold, and where values are clamped
            some = _Trial(run, rows)
            few = some.states()
            states = _Trial(run, torch.arange(len(run.features))).states() if few else None
            if not few or not states or list(few) != list(states):
                return None
            limited = [replace(state, limit=some.limits[name]) for name, state in states.items()]
            found = AffineLikelihood(limited, run.data, _free_positions(run.equations))
            return found if _agrees_on_sequences(found, run, rows) else None
    # a model that cannot be run from any state, for a single step, is run as a whole
    except Exception:
        return None


def _spread(run: EquationModel) -> Tensor:
    """Return the positions of some sequences, the shortest and the longest among them."""
    by_length = torch.argsort(run.data.lengths, stable=True)
    return by_length[torch.linspace(0, len(by_length) - 1, min(_N_WHOLE, len(by_length))).round().long()]


def _agrees_on_sequences(found: AffineLikelihood, run: EquationModel, rows: Tensor) -> bool:
    """Whether the likelihood of some sequences is the model's: also the first step and what is counted."""
    random, scale = torch.Generator().manual_seed(1), run.data.largest_reward or 1.0
    sizes = torch.tensor([1.0 / scale if module == BETA else 1.0 for module, _ in run.equations.terms])
    draws = 0.5 + 0.5 * torch.randn((2, *run.equations.coefficients.shape), generator=random, dtype=torch.float64)
    # the smaller ones leave no state to grow without limit
    draws = draws * sizes * torch.tensor([1.0, 0.1])[:, None, None]
    free = torch.from_numpy(run.equations.status == FREE)
    coefficients = torch.where(free, draws, torch.from_numpy(run.equations.coefficients))
    expected = run.log_likelihood(coefficients, rows)
    value, inside = found.log_likelihood(coefficients, rows)
    close = (value - expected).abs() <= _TOLERANCE * (1 + expected.abs())
    return bool(inside[1].any()) and bool((close | ~inside).all())


def _free_positions(equations: EquationSet) -> list[int]:
    """Positions of the coefficients that are free for somebody."""
    positions: list[int] = np.flatnonzero((equations.status == FREE).any(axis=0)).tolist()
    return positions


@dataclass
class _Step:
    """Logits and states, each (N, A), after one step of N cells, one per sequence and trial."""

    logits: Tensor
    states: dict[str, Tensor]


@dataclass
class _Affine:
    """A constant (N, A) plus the coefficients' multiples of others, by their positions."""

    constant: Tensor
    parts: dict[int, Tensor] = field(default_factory=dict)

    def at(self, theta: Tensor) -> Tensor:
        """Value at coefficients (N, K)."""
        total = self.constant.clone()
        for position, part in self.parts.items():
            total.addcmul_(part, theta[:, position, None])
        return total


class _Trial:
    """One step of all cells of some sequences, from any states with any coefficients.

    A state is known if it depends on the data alone; `known` holds its values before each step. `forms` are
    the slope and shift of those states that the logits are made of.
    """

    def __init__(self, run: EquationModel, rows: Tensor) -> None:
        self.model, self.equations = run.model, run.equations
        _, n_steps, n_features = run.features.shape
        self.shape = (len(rows), n_steps, self.model.n_actions)
        self.features = run.features[rows].reshape(-1, 1, n_features)
        self.valid = (torch.arange(n_steps) < run.data.lengths[rows][:, None]).reshape(-1, 1)
        self.who = run.data.participant[rows].repeat_interleave(n_steps)
        self.names = list(self.model.start_values)
        self.known: dict[str, Tensor] = {}
        self.forms: dict[str, tuple[_Affine, _Affine]] = {}
        self.random = torch.Generator().manual_seed(0)
        self.free = _free_positions(self.equations)
        self.base = torch.from_numpy(self.equations.with_coefficients(self.equations.coefficients).coefficients)
        self.base[:, self.free] = 0.0

    def states(self) -> dict[str, AffineState] | None:
        """Return the states that the logits are made of, or None if these are not affine."""
        states = self._states()
        return self._states() if states is None and self._settle() else states

    def _states(self) -> dict[str, AffineState] | None:
        theta, before = self._random_theta(), self._random_values()
        tried = self._step(theta, before)
        weights = self._weights(tried, theta)
        expected, size = torch.zeros_like(tried.logits), torch.zeros_like(tried.logits)
        for name, weight in weights.items():
            part = tried.states[name] * (theta[:, weight, None] if isinstance(weight, int) else weight)
            expected, size = expected + part, size + part.abs()
        if not self._same(tried.logits, expected, size):
            return None
        self.forms = self._found_forms(weights)
        for name in self.forms:
            predicted, size = self._predicted(name, theta, before[name])
            if not self._same(tried.states[name], predicted, size):
                return None
        return {name: self._state(name, weights[name], *form) for name, form in self.forms.items()}

    def _predicted(self, name: str, theta: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Value of a state after a step, and how large the numbers are that it is the sum of."""
        slope, shift = self.forms[name]
        grown, added = slope.at(theta) * before, shift.at(theta)
        return grown + added, grown.abs() + added.abs()

    @property
    def limits(self) -> dict[str, float | None]:
        """Where the model clamps the states, None if unknown: where huge values end up, tried out around there."""
        theta, before = self._random_theta(), self._random_values(*_HUGE)
        after, limits = self._step(theta, before).states, dict[str, float | None]()
        for name in self.forms:
            predicted, _ = self._predicted(name, theta, before[name])
            ends = after[name].abs()[self.valid & (predicted.abs() > _CLAMPED)]
            limits[name] = float(ends.min()) if len(ends) and _LARGE <= float(ends.min()) < _CLAMPED else None
        before = {
            name: value.clamp(-(limits.get(name) or _LARGE), limits.get(name) or _LARGE)
            for name, value in self._random_values(*_AROUND).items()
        }
        after = self._step(theta, before).states
        for name, limit in limits.items():
            if limit is not None:
                predicted, _ = self._predicted(name, theta, before[name])
                expected = predicted.clamp(-limit, limit)
                limits[name] = limit if self._same(after[name], expected, expected.abs()) else None
        return limits

    def _step(self, theta: Tensor, before: dict[str, Tensor] | float) -> _Step:
        """Step all cells with coefficients theta, (K,) or (N, K), added to those that are not free."""
        logits, states = [], []
        for part in torch.split(torch.arange(len(self.features)), _CELLS_AT_ONCE):
            per_row = self.base[self.who[part]] + (theta if theta.ndim == 1 else theta[part])
            shape = (len(part), self.shape[2])
            values = {name: self._before(name, before, part) for name in self.names}
            modules, betas = row_equations(self.equations, per_row)
            with self.model.equations(modules, betas):
                one, after = self.model(self.features[part], prev_state=values, batch_first=True)
            logits.append(one[:, 0])
            states.append({name: after[name].expand(shape) for name in self.names})
        return _Step(torch.cat(logits), {name: torch.cat([each[name] for each in states]) for name in self.names})

    def _before(self, name: str, before: dict[str, Tensor] | float, part: Tensor) -> Tensor:
        if name in self.known:
            return self.known[name][part]
        if isinstance(before, dict):
            return before[name][part]
        return self.features.new_full((len(part), self.shape[2]), before)

    def _random_values(self, low: float = -1.0, high: float = 2.0) -> dict[str, Tensor]:
        """States (N, A) of all sizes between about 10**low and 10**high, so that a bend anywhere shows."""
        shape = (len(self.features), self.shape[2])
        values = {}
        for name in self.names:
            size = 10 ** (low + (high - low) * torch.rand(shape, generator=self.random, dtype=torch.float64))
            values[name] = size * torch.randn(shape, generator=self.random, dtype=torch.float64)
        return values

    def _random_theta(self) -> Tensor:
        """Coefficients (N, K), 0 where not free."""
        theta = torch.zeros(len(self.features), len(self.equations.terms), dtype=torch.float64)
        theta[:, self.free] = torch.randn(len(theta), len(self.free), generator=self.random, dtype=torch.float64)
        return theta

    def _same(self, one: Tensor, other: Tensor, size: Tensor) -> bool:
        return bool((((one - other).abs() <= _TOLERANCE * (1 + size)) | ~self.valid).all())

    def _weights(self, step: _Step, theta: Tensor) -> dict[str, int | float]:
        """Weight of each state in the logits: the position of its inverse temperature, or a number other than 0."""
        rest, weights = step.logits, dict[str, int | float]()
        for state in self.equations.states:
            position = self.equations.terms.index((BETA, state))
            if position in self.free:
                weights[state] = position
                rest = rest - step.states[state] * theta[:, position, None]
        others = [name for name in self.names if name not in weights]
        if not others:
            return weights
        usable = torch.nonzero(self.valid[:, 0]).squeeze(1)
        sample = usable[torch.randperm(len(usable), generator=self.random)[:_N_SAMPLED]]
        values = torch.stack([step.states[name][sample].reshape(-1) for name in others], dim=1)
        solution = torch.linalg.lstsq(values, rest[sample].reshape(-1, 1), driver="gelsd").solution[:, 0]
        found = zip(others, solution.tolist(), strict=True)
        return weights | {name: round(weight, 9) for name, weight in found if abs(weight) > _TOLERANCE}

    def _found_forms(self, names: Iterable[str]) -> dict[str, tuple[_Affine, _Affine]]:
        """Slope and shift of each state, from steps that start at 0 and 1."""
        zeros = torch.zeros(len(self.equations.terms), dtype=torch.float64)
        low, high = self._step(zeros, 0.0).states, self._step(zeros, 1.0).states
        forms = {name: (_Affine(high[name] - low[name]), _Affine(low[name])) for name in names}
        for position in self.free:
            if self.equations.terms[position][0] == BETA:
                continue
            one = zeros.clone()
            one[position] = 1.0
            at_low, at_high = self._step(one, 0.0).states, self._step(one, 1.0).states
            for name, (slope, shift) in forms.items():
                shift_part = at_low[name] - shift.constant
                slope_part = at_high[name] - at_low[name] - slope.constant
                for form, part, size in ((slope, slope_part, at_high[name]), (shift, shift_part, at_low[name])):
                    if self._matters(part, size):
                        form.parts[position] = part
        return forms

    def _matters(self, part: Tensor, size: Tensor) -> bool:
        return bool(((part.abs() > _NOTHING * (1 + size.abs())) & self.valid).any())

    def _state(self, name: str, weight: int | float, slope: _Affine, shift: _Affine) -> AffineState:
        position, number = (weight, 0.0) if isinstance(weight, int) else (None, weight)

        def laid_out(part: Tensor, padding: float) -> Tensor:
            return torch.where(self.valid, part, padding).reshape(self.shape).permute(1, 2, 0).contiguous()

        return AffineState(
            float(self.model.start_values[name]),
            position,
            number,
            laid_out(slope.constant, 1.0),
            laid_out(shift.constant, 0.0),
            {k: laid_out(part, 0.0) for k, part in slope.parts.items()},
            {k: laid_out(part, 0.0) for k, part in shift.parts.items()},
        )

    # --- states that depend on the data alone -----------------------------------------------------------------------

    def _settle(self) -> bool:
        """Find known states, by running all steps at once from guesses until these come true."""
        before = self._random_values()
        one, other = (self._step(self._random_theta(), before).states for _ in range(2))
        candidates = [name for name in self.names if self._same(one[name], other[name], one[name].abs())]
        values = {name: torch.full_like(one[name], float(self.model.start_values[name])) for name in candidates}
        settled: list[str] = []
        for _ in range(_LONGEST_MEMORY if candidates else 0):
            after = self._stepped_known(values)
            settled = [name for name in candidates if self._same(after[name], values[name], values[name].abs())]
            values = after
            if len(settled) == len(candidates):
                break
        # what has not settled must not have helped the others
        values = {name: values[name] for name in settled}
        after = self._stepped_known(values) if settled else {}
        if not all(self._same(after[name], values[name], values[name].abs()) for name in settled):
            self.known = {}
        return bool(self.known)

    def _stepped_known(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values (N, A) after a step from known ones, everything else being random."""
        self.known = {name: self._delayed(value, name) for name, value in values.items()}
        after = self._step(self._random_theta(), self._random_values()).states
        return {name: after[name] for name in values}

    def _delayed(self, value: Tensor, name: str) -> Tensor:
        """Values (N, A) before the steps after which a state has these."""
        whole = value.reshape(self.shape)
        first = torch.full_like(whole[:, :1], float(self.model.start_values[name]))
        return torch.cat([first, whole[:, :-1]], dim=1).reshape(value.shape)
