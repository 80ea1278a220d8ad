"""TaskLikelihood: the likelihood of choices in the parameters of a task's model, in the form that group models need."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from spicestat.pooled.asked import checked_coefficients, checked_people
from spicestat.pooled.packed import Floats, Ints
from spicestat.tasks.task import Task
from spicestat.tasks.task_trials import TaskTrials

__all__ = ["TaskLikelihood", "UnconstrainedLikelihood", "by_name", "natural", "walk"]

_STEP = 1e-3
_END = 30.0
_MANY = 0.7
_PART, _WIDE = 1.0, 0.02
"""Steps of third derivatives: a part of standard deviations, and one along each parameter."""
_AT_ONCE = 200_000


def walk(task: Task, trials: TaskTrials, parameters: Mapping[str, Floats]) -> Iterator[tuple[int, bool, Floats]]:
    """Yield trial, whether it is its second stage, and what the model says of its actions, (Q, S, ...)."""
    said = task.utilities(trials, parameters)
    for t in trials.times:
        yield t, False, next(said)
        if trials.second is not None:
            yield t, True, next(said)


def natural(task: Task, unconstrained: Floats) -> Floats:
    """Return parameters (..., K) on the natural scale; a link's end is as far as numbers can tell it from others."""
    found = []
    for k, one in enumerate(task.parameters):
        place = unconstrained[..., k]
        found.append(one.found_link.to_natural(place if one.link == "identity" else np.clip(place, -_END, _END)))
    return np.stack(found, axis=-1)


def by_name(task: Task, values: Floats) -> dict[str, Floats]:
    """Return parameters (..., K) by name."""
    return {one.name: values[..., k] for k, one in enumerate(task.parameters)}


@dataclass(frozen=True, eq=False)
class TaskLikelihood:
    """Log-likelihood of P people's choices as a function of their K parameters, on the natural scale.

    Attributes
    ----------
    task : Task
    trials : TaskTrials
    participants : tuple of length P
    """

    task: Task
    trials: TaskTrials
    participants: tuple[Hashable, ...]

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The parameters, as (module, term); the module is the model."""
        return tuple((self.task.name, one.name) for one in self.task.parameters)

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self.participants), len(self.task.parameters)

    @property
    def own_links(self) -> dict[str, str]:
        """Link of each parameter that has one, by "module:term"."""
        return {f"{self.task.name}:{one.name}": one.link for one in self.task.parameters if one.link != "identity"}

    @property
    def n_trials(self) -> Ints:
        """Predicted choices of each participant, (P,)."""
        found = self._per_person(self.trials.predicted.sum(axis=0)[None].astype(float))[0]
        return np.asarray(found, dtype=np.int64)

    @property
    def by_chance(self) -> Floats | None:
        """Log-likelihood of each participant's choices if all actions are equally likely, (P,); None with times."""
        return None if self.trials.rt is not None else self.choices_by_chance

    @property
    def choices_by_chance(self) -> Floats:
        """Log-probability of each participant's choices if all actions on offer are equally likely, (P,)."""
        trials = self.trials
        n_offered = trials.n_actions if trials.offered is None else trials.offered.sum(axis=2)
        total = -np.where(trials.predicted, np.log(np.maximum(n_offered, 1)), 0.0).sum(axis=0)
        if trials.second is not None:
            made = trials.predicted & (trials.second >= 0)
            total -= made.sum(axis=0) * np.log(trials.second.max(initial=0) + 1)
        return np.asarray(self._per_person(total[None])[0])

    @property
    def low(self) -> Floats:
        """Lower bounds, (K,), excluded."""
        return np.array([one.range[0] for one in self.task.parameters])

    @property
    def high(self) -> Floats:
        """Upper bounds, (K,), excluded."""
        return np.array([one.range[1] for one in self.task.parameters])

    def log_likelihood(self, coefficients: np.ndarray) -> Floats:
        """Log-likelihood of each participant's choices, coefficients (Q, P, K) to (Q, P): nats; -inf out of range."""
        values = checked_coefficients(coefficients, (None, *self._shape))
        step = max(1, _AT_ONCE // max(self.trials.n_sessions * self.trials.n_slots, 1))
        parts = [self._log_likelihood(values[start : start + step]) for start in range(0, len(values), step)]
        found = np.concatenate(parts) if parts else np.zeros((0, len(self.participants)))
        return np.where(((values >= self.low) & (values <= self.high)).all(axis=2), found, -np.inf)

    def derivatives(self, coefficients: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Log-likelihood (P,), its gradient (P, K) and minus its Hessian (P, K, K), at coefficients (P, K).

        By central differences on the scale of the links, on which curvature has no end.
        """
        links = self.task.links
        here = checked_coefficients(coefficients, self._shape)
        moved = np.stack([link.to_unconstrained(here[:, k]) for k, link in enumerate(links)], axis=-1)
        value, slope, information = self.unconstrained().derivatives(moved)
        first = np.stack([link.derivative(moved[:, k]) for k, link in enumerate(links)], axis=-1)
        second = np.stack([link.second_derivative(moved[:, k]) for k, link in enumerate(links)], axis=-1)
        gradient = slope / first
        at = np.arange(len(links))
        information[:, at, at] += gradient * second
        return value, gradient, information / (first[:, :, None] * first[:, None, :])

    def probabilities(self, coefficients: np.ndarray) -> Floats:
        """Probabilities (T, Q, S, A) of the actions on each trial, first stages alone, at coefficients (Q, P, K)."""
        parameters = by_name(self.task, checked_coefficients(coefficients, (None, *self._shape))[:, self.trials.person])
        with np.errstate(all="ignore"):
            said = walk(self.task, self.trials, parameters)
            found = [self.task.rule.probabilities(each, self.trials, t) for t, second, each in said if not second]
        return np.stack(found)

    def unconstrained(self) -> UnconstrainedLikelihood:
        """Return the same as a function of parameters on the scale of their links."""
        return UnconstrainedLikelihood(self)

    def select(self, people: Sequence[int] | np.ndarray) -> TaskLikelihood:
        """Return the likelihood of some participants, by their positions; one may come more than once.

        Raises
        ------
        ConfigError
            A position is not from 0 to P - 1, or there is none.
        DataError
            None of these people made a choice.
        """
        index = checked_people(people, self.n_trials)
        own = [np.flatnonzero(self.trials.person == code) for code in index]
        person = np.repeat(np.arange(len(index)), [len(at) for at in own])
        labels = tuple(self.participants[position] for position in index)
        return replace(self, trials=self.trials.select(np.concatenate(own), person), participants=labels)

    def _log_likelihood(self, values: Floats) -> Floats:
        trials, rule = self.trials, self.task.rule
        parameters = by_name(self.task, values[:, trials.person])
        total = np.zeros((len(values), trials.n_sessions))
        with np.errstate(all="ignore"):
            for t, second, said in walk(self.task, trials, parameters):
                counts, choice = trials.predicted[t], trials.choice[t]
                if second and trials.second is not None:
                    counts, choice = counts & (trials.second[t] >= 0), np.maximum(trials.second[t], 0)
                if counts.all():
                    total += rule.log_probability(said, trials, t, choice)
                elif counts.any():
                    total += np.where(counts, rule.log_probability(said, trials, t, choice), 0.0)
        return self._per_person(np.where(np.isnan(total), -np.inf, total))

    def _per_person(self, values: Floats) -> Floats:
        """Sum over each person's blocks, (Q, S) to (Q, P)."""
        out = np.zeros((len(self.participants), len(values)))
        np.add.at(out, self.trials.person, values.T)
        return out.T


@dataclass(frozen=True, eq=False)
class UnconstrainedLikelihood:
    """The same log-likelihood, in parameters on the scale of their links, with derivatives by central differences.

    Attributes
    ----------
    natural : TaskLikelihood
    """

    natural: TaskLikelihood
    _last: list[tuple[Floats, ...]] = field(default_factory=list, repr=False)

    @property
    def participants(self) -> tuple[Hashable, ...]:
        """Labels."""
        return self.natural.participants

    @property
    def terms(self) -> tuple[tuple[str, str], ...]:
        """The parameters, as (module, term)."""
        return self.natural.terms

    @property
    def n_trials(self) -> Ints:
        """Predicted choices of each participant, (P,)."""
        return self.natural.n_trials

    @property
    def by_chance(self) -> Floats | None:
        """Log-likelihood of guesses, (P,); None with times."""
        return self.natural.by_chance

    @property
    def low(self) -> Floats:
        """Lower bounds, (K,): none."""
        return np.full(len(self.terms), -np.inf)

    @property
    def high(self) -> Floats:
        """Upper bounds, (K,): none."""
        return np.full(len(self.terms), np.inf)

    def log_likelihood(self, coefficients: np.ndarray) -> Floats:
        """Log-likelihood, coefficients (Q, P, K) to (Q, P)."""
        return self.natural.log_likelihood(natural(self.natural.task, coefficients))

    def derivatives(self, coefficients: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Log-likelihood (P,), its gradient (P, K) and minus its Hessian (P, K, K), at coefficients (P, K).

        Searches ask again for people who have arrived: what was last found of them is kept.
        """
        if not self._last or self._last[0][0].shape != coefficients.shape:
            self._last[:] = [(coefficients.copy(), *self._differences(coefficients))]
        last = self._last[0]
        moved = np.flatnonzero((coefficients != last[0]).any(axis=1))
        if len(moved):
            some = self.natural.select(moved).unconstrained() if self._worth(moved) else None
            found = self._differences(coefficients) if some is None else some._differences(coefficients[moved])
            for kept, new in zip(last, (coefficients[moved], *(f if some else f[moved] for f in found)), strict=True):
                kept[moved] = new
        value, slope, information = (kept.copy() for kept in last[1:])
        return value, slope, information

    def slopes(self, coefficients: np.ndarray) -> tuple[Floats, Floats]:
        """Log-likelihood (P,) and its gradient (P, K), at coefficients (P, K)."""
        n = coefficients.shape[1]
        one = _STEP * np.eye(n)
        found = self.log_likelihood(coefficients[None] + np.concatenate([np.zeros((1, n)), one, -one])[:, None])
        value, up, down = np.split(found, [1, n + 1])
        return value[0], (up - down).T / (2.0 * _STEP)

    def _worth(self, moved: Ints) -> bool:
        """Whether it is worth while to look at some people alone, who made choices."""
        return len(moved) < _MANY * len(self.participants) and bool(self.n_trials[moved].any())

    def _differences(self, coefficients: Floats) -> tuple[Floats, Floats, Floats]:
        n = coefficients.shape[1]
        one = _STEP * np.eye(n)
        pairs = [(i, j) for i in range(n) for j in range(i)]
        both = np.array([one[i] + one[j] for i, j in pairs]).reshape(-1, n)
        moves = np.concatenate([np.zeros((1, n)), one, -one, both, -both])
        found = self.log_likelihood(coefficients[None] + moves[:, None])
        value, up, down, up_both, down_both = np.split(found, np.cumsum([1, n, n, len(pairs)]))
        curvature = np.zeros((len(coefficients), n, n))
        for k in range(n):
            curvature[:, k, k] = (up[k] - 2.0 * value[0] + down[k]) / _STEP**2
        for (i, j), above, below in zip(pairs, up_both, down_both, strict=True):
            mixed = above - up[i] - up[j] + 2.0 * value[0] - down[i] - down[j] + below
            curvature[:, i, j] = curvature[:, j, i] = mixed / (2.0 * _STEP**2)
        return value[0], (up - down).T / (2.0 * _STEP), -curvature

    def skewness(self, coefficients: np.ndarray, covariance: np.ndarray) -> Floats:
        """Third derivatives contracted with covariances (P, K, K), (P, K), at coefficients (P, K)."""
        n = coefficients.shape[1]
        values, vectors = np.linalg.eigh(covariance)
        # along the axes of the covariance, in steps of a part of its own size
        along = _PART * (vectors * np.sqrt(values.clip(0.0))[:, None]).transpose(2, 0, 1)
        middles = coefficients + np.concatenate([np.zeros((1, n)), _WIDE * np.eye(n)])[:, None]
        moves = np.concatenate([np.zeros_like(along[:1]), along, -along])
        # all points at once, since a walk through the trials costs about the same for a few as for many
        found = self.log_likelihood((middles + moves[:, None]).reshape(-1, *coefficients.shape))
        middle, above, below = np.split(found.reshape(len(moves), n + 1, -1), [1, n + 1])
        here, *moved = (above - 2.0 * middle + below).sum(axis=0)
        return np.asarray((here - np.stack(moved)).T / (_WIDE * _PART**2))

    def select(self, people: Sequence[int] | np.ndarray) -> UnconstrainedLikelihood:
        """Return the likelihood of some participants, by position."""
        return UnconstrainedLikelihood(self.natural.select(people))
