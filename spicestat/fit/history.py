"""HistoryFit: weights of behavioural states in people's choices, pooled over the population."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from spicestat._checks import whole_number
from spicestat._display import html_block, screen, shortlist
from spicestat._runtime.blas import on_one_blas_thread
from spicestat._runtime.progress import Progress, silent
from spicestat.coefficients import CoefficientTable
from spicestat.equations.state_products import propose_states
from spicestat.equations.structure.equation_set import BETA
from spicestat.errors import ConfigError, ContradictionWarning, ConvergenceWarning, DataError, warn_user
from spicestat.fit.any_fit import ModuleFreeFit
from spicestat.fit.discoveries import Discoveries, terms_frame
from spicestat.fit.evidence import ModelEvidence, population_size
from spicestat.fit.history_files import pack_network, pack_pooled
from spicestat.fit.history_likelihood import HistoryLikelihood
from spicestat.fit.kernels import Kernels, fitted_moves, make_kernels, pooled_kernels
from spicestat.fit.packing import frame_rows, in_actions, pack_table
from spicestat.fit.plausibility import choice_shares_nll, without_history
from spicestat.fit.table import By, column_by, fit_info, lay_out
from spicestat.pooled.contrasts import make_design
from spicestat.pooled.discovery import discover_states
from spicestat.pooled.fit import Chosen, PooledFit, choose_states, fit_pooled, for_people
from spicestat.pooled.kernels import EVENTS, Event, FittedMoves
from spicestat.pooled.logit import by_chance
from spicestat.pooled.packed import Sessions
from spicestat.pooled.play import Played, Task, play_states
from spicestat.pooled.prediction import predict_mixed
from spicestat.pooled.rivals import Rivals, find_rivals
from spicestat.pooled.role_library import library_for
from spicestat.pooled.state_library import further_states, unlisted_states
from spicestat.pooled.state_signals import KINDS
from spicestat.pooled.states import State
from spicestat.training.state_network import StateNetwork, train_state_network
from spicestat.trials.table import TrialTable

__all__ = [
    "HistoryFit",
    "HistoryPrediction",
    "assemble_history",
    "fit_history",
    "history_on",
    "play_history",
    "unit_factors",
]

_IN_REWARD_UNIT = frozenset(kind for kind, about in KINDS.items() if about.earned) - {"losing", "winning", "fading"}
"""Kinds of signals that double where all rewards double."""

_LEAST_PEOPLE = 3


@dataclass(frozen=True, eq=False)
class HistoryPrediction:
    """Probabilities of R choices.

    Attributes
    ----------
    probabilities : ndarray of shape (R, A)
    row : int ndarray of shape (R,)
        Position of each choice in the `TrialTable`'s frame.
    """

    probabilities: np.ndarray
    row: np.ndarray


@dataclass(frozen=True, eq=False)
class HistoryFit(ModuleFreeFit):
    """A fitted model of choice history: which states of the past matter for the choices, and how much for whom.

    Attributes
    ----------
    trials : TrialTable
        The checked trials.
    pooled : PooledFit
        States, population and everybody's weights, in logits per unit of the state, with rewards as fractions of
        ``pooled.reward_size``.
    coefficients : CoefficientTable
        One row per participant and state (module ``beta``), in the unit of the data. ``estimate`` and ``std_error``
        are a person's own maximum-likelihood weights, missing (with ``at_bound``) where the choices do not bound
        them; ``pooled`` and ``pooled_sd`` are posterior means and standard deviations under the population.
        Weights that are the population's stand in everybody's rows with ``shared`` True, and group models leave
        them out.
    scores : DataFrame
        ``model`` (history, shares, guessing, left_out), ``nll`` (mean negative log-likelihood per choice, nats) and
        ``n_trials``: the fit's own predictions, everybody's choice shares, guessing, and the search's estimate of how
        well its states predict each block from the person's other blocks (a little too good, as the population has
        seen the block; `ladder` leaves it out altogether).
    """

    trials: TrialTable
    pooled: PooledFit
    coefficients: CoefficientTable
    scores: pd.DataFrame

    @cached_property
    @on_one_blas_thread
    def network(self) -> StateNetwork:
        """Networks on top of the equations, trained when they are first asked for; `save` keeps them.

        They take two to five times as long as the fit. Their ``nll`` and ``nll_equations`` are those of left-out
        blocks: what lies between is what people do and the equations do not say.
        """
        data, own = pack_table(self.trials, self.pooled.reward_size), self.pooled.states
        listed = library_for(data).states
        if not data.shown.before_choice:
            listed = (*listed, *unlisted_states())
        states = (*listed, *(declared for declared in own if declared not in listed))
        return train_state_network(data, self.pooled, states, seed=int(self.coefficients.info["seed"]))

    @cached_property
    def _rivals(self) -> Rivals:
        """What the search finds without some of the people."""
        pooled = self.pooled
        data = pack_table(self.trials, pooled.reward_size)
        return find_rivals(data, pooled.states, pooled.n_own)

    @cached_property
    def rival_fits(self) -> tuple[tuple[HistoryFit, int], ...]:
        """The fit and those of the other structures that `kernels` averages over, with how often each was found.

        They take about six times as long as the fit, once for a fit. There are no others with fewer than six people,
        and after `spice_update`.
        """
        if self._is_update:
            return ((self, 1),)
        data, seed = pack_table(self.trials, self.pooled.reward_size), int(self.coefficients.info["seed"])
        (_, own), *others = self._rivals.distinct
        fits = [(fit_pooled(data, chosen.states, chosen.n_own), count) for chosen, count in others]
        return (
            (self, own),
            *((assemble_history(self.trials, data, pooled, math.nan, seed), count) for pooled, count in fits),
        )

    @property
    def n_structures(self) -> int:
        """How many structures `kernels` averages over, those that were found several times counted as often.

        1 with fewer than six people, and after `spice_update`. Other structures are searched when first asked for.
        """
        return 1 if self._is_update else sum(count for _, count in self._rivals.distinct)

    @property
    def _is_update(self) -> bool:
        """Whether people's weights are of other trials than the states."""
        return "updated" in self.coefficients.info

    @property
    def states(self) -> tuple[State, ...]:
        """The states, those whose weights are people's own first."""
        return self.pooled.states

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole fit.

        ``log_lik``, ``aic`` and ``bic`` are those of everybody's own maximum-likelihood weights, as in
        `SpiceFit.glance`; ``log_marginal`` is the likelihood that is integrated over the population.
        """
        pooled = self.pooled
        n_people, n_shared = len(pooled.n_choices), len(pooled.states) - pooled.n_own
        n_free, log_lik = pooled.n_own * n_people + n_shared, float(pooled.own.log_lik.sum())
        own_choices = np.log(np.maximum(pooled.n_choices, 1)).sum()
        nll = self.scores.set_index("model")["nll"].to_dict()
        row = {
            "model": self.coefficients.info["model"],
            "n_participants": self.trials.n_participants,
            "n_excluded": len(self.trials.record["excluded"]),
            "n_actions": self.trials.n_actions,
            "nobs": int(pooled.n_choices.sum()),
            "n_states": len(pooled.states),
            "n_shared": n_shared,
            "n_coefficients": n_free,
            "log_lik": log_lik,
            "log_marginal": float(pooled.log_marginal.sum()),
            "aic": 2 * n_free - 2 * log_lik,
            "bic": float(pooled.n_own * own_choices + n_shared * math.log(max(pooled.n_choices.sum(), 1)))
            - 2 * log_lik,
            **{f"nll_{name}": nll.get(name, math.nan) for name in ("history", "shares", "guessing", "left_out")},
            "contradictions": "; ".join(self.contradictions),
            "rewards": self.trials.record["reward_note"],
            "share_unidentified": self.coefficients.share_unidentified,
            "converged": pooled.converged,
            "share_guessing": sum(kind.share for kind in pooled.kinds if kind.guesses),
        }
        return pd.DataFrame([row])

    @property
    def contradictions(self) -> tuple[str, ...]:
        """What in the scores cannot be true, or is no better than guessing, in words; usually nothing."""
        nll = dict(zip(self.scores["model"], self.scores["nll"], strict=True))
        return without_history(nll, int(self.pooled.n_choices.sum()), self.n_shares)

    def equations_frame(self, by: By = "pooled") -> pd.DataFrame:
        """Return everybody's equation as text, in the unit of the data.

        Columns ``participant, module, equation``; the logit is that of each action, up to a constant.

        Parameters
        ----------
        by : {"pooled", "ml"}, default "pooled"
            Whether weights are pooled, or each participant's own estimates.

        Raises
        ------
        ConfigError
            ``by`` is neither.
        """
        names = self.pooled.names
        wide = self.coefficients.wide(column_by(by)).to_numpy()
        texts = [
            "logit = " + " + ".join(f"{weight:.3f} {name}" for weight, name in zip(row, names, strict=True))
            for row in wide
        ]
        labels = pd.Series(self.trials.participants).to_numpy()
        return pd.DataFrame({"participant": labels, "module": BETA, "equation": texts})

    @on_one_blas_thread
    def kernels(
        self,
        *,
        events: Sequence[Event] = EVENTS,
        lags: int = 20,
        conf_level: float = 0.95,
        events_per_person: int = 60,
        structure: Literal["averaged", "given"] = "averaged",
    ) -> Kernels:
        """Ask what one reward, and one choice, does to the next choices; see `Kernels`.

        Parameters
        ----------
        events : sequence of {"reward", "choice"}
        lags : int, default 20
            How many choices after the event, at least 1; blocks end them.
        conf_level : float in (0, 1), default 0.95
            Of the intervals: normal for kernels and totals, quantiles of draws for what follows from their shape.
        events_per_person : int, default 60
            About how many trials of each person are changed, spread evenly over the blocks, at least 1. More take
            longer and say little more.
        structure : {"averaged", "given"}, default "averaged"
            "averaged": over the fit's states and those of eight searches without an eighth of the people each, which
            take about five times as long as the fit, once for a fit. "given": the fit's states are taken as known, as
            they are anyway with fewer than six people and after `spice_update`.

        Returns
        -------
        Kernels

        Raises
        ------
        ConfigError
            An unknown event or structure, or a number out of range.
        DataError
            All rewards are equal.

        Examples
        --------
        >>> from spicestat import simulate_cohort, spice_fit
        >>> cohort = simulate_cohort(12, 60, seed=1)
        >>> kernels = spice_fit(cohort.trials, block="block", trial="trial").kernels(lags=5)
        >>> kernels.lags.query("scope == 'population' and event == 'reward'")["lag"].tolist()
        [1, 2, 3, 4, 5]
        """
        lags, events_per_person = whole_number("lags", lags, 1), whole_number("events_per_person", events_per_person, 1)
        if structure not in ("averaged", "given"):
            raise ConfigError("unknown structure", got=repr(structure), allowed="'averaged' or 'given'")
        data = pack_table(self.trials, self.pooled.reward_size)
        rivals = self._rivals if structure == "averaged" and not self._is_update else None
        compute = partial(
            pooled_kernels, self.pooled, data, lags=lags, events_per_person=events_per_person, rivals=rivals
        )
        return make_kernels(compute, data, self.trials.participants, events, conf_level)

    def kernel_moves(self, event: Event, *, lags: int = 20, events_per_person: int = 60) -> FittedMoves:
        """Return everybody's kernels as functions of their weights, which group models of these read.

        The arguments are those of `kernels`.
        """
        lags, events_per_person = whole_number("lags", lags, 1), whole_number("events_per_person", events_per_person, 1)
        pooled = self.pooled
        data, factors = pack_table(self.trials, pooled.reward_size), unit_factors(pooled.states, pooled.reward_size)
        return fitted_moves(pooled, data, self.trials.participants, factors, event, lags, events_per_person)

    @on_one_blas_thread
    def discover(self) -> Discoveries:
        r"""Search for states that the library lacks, among two kinds of candidates.

        A second library holds what was done some choices ago, streaks, and products of these. `network` proposes up to
        twelve products of its own: what it adds to the equations, as a sparse sum. A state is taken where it raises the
        log-likelihood of left-out blocks by more than :math:`1 + \log C` nats for the choice among C candidates, and by
        more than its parameters; states of the fit that it makes superfluous are dropped. The better one of the two
        searches is returned. Beside the network, they take a few times as long as the fit.

        Returns
        -------
        Discoveries

        Examples
        --------
        >>> from spicestat import simulate_cohort, spice_fit
        >>> cohort = simulate_cohort(12, 60, seed=1)
        >>> spice_fit(cohort.trials, block="block", trial="trial").discover()
        Discoveries: nothing beyond the library among 161 candidates
        """
        pooled = self.pooled
        data = pack_table(self.trials, pooled.reward_size)
        begin = Chosen(pooled.states, pooled.n_own, ())
        ways = [way for way in (further_states(data.n_actions), propose_states(data, pooled, self.network)) if way]
        searches = [discover_states(data, begin, way) for way in ways]
        found, n_candidates = max(searches, key=lambda search: search.criterion), sum(s.n_candidates for s in searches)
        if not found.proposals:
            return Discoveries(terms_frame(found), self, n_candidates)
        refitted = fit_pooled(data, found.chosen.states, found.chosen.n_own)
        fit = assemble_history(
            self.trials, data, refitted, found.chosen.path[-1].left_out, self.coefficients.info["seed"]
        )
        return Discoveries(terms_frame(found), fit, n_candidates)

    @property
    def has_times(self) -> bool:
        """Whether response times are part of the likelihood."""
        return False

    def model_evidence(self) -> ModelEvidence:
        """Return what the choices say of the model; populations differ in means, covariances and shares of people."""
        pooled, data = self.pooled, pack_table(self.trials, self.pooled.reward_size)
        n_people, n_shared = len(pooled.n_choices), len(pooled.states) - pooled.n_own
        follow = [kind.mean.tobytes() for kind in pooled.kinds if not kind.guesses]
        return ModelEvidence(
            n_choices=pooled.n_choices,
            by_chance=by_chance(make_design(pooled.rows(data), n_people)),
            log_lik=pooled.own.log_lik,
            n_own=np.full(n_people, pooled.n_own + n_shared / n_people),
            log_marginal=pooled.log_marginal,
            # people far from the others share the others' means
            n_population=len(set(follow)) * population_size(pooled.n_own) + n_shared + len(pooled.kinds) - 1,
        )

    def choice_likelihood(self) -> HistoryLikelihood:
        """Return the likelihood of the choices in people's own weights, in the unit of the data.

        Weights that are the population's are held at their estimates; ``shared`` of the likelihood says how well these
        are known.

        Raises
        ------
        DataError
            No weight is people's own.
        """
        pooled = self.pooled
        if not pooled.n_own:
            raise DataError(
                "all weights are the population's: no difference between people predicted left-out blocks, so that "
                "there is nothing to compare",
                do="fit more trials per person, or a model with coefficients of everybody's own, such as 'choice'",
            )
        rows = pooled.rows(pack_table(self.trials, pooled.reward_size))
        factors = unit_factors(pooled.states, pooled.reward_size)
        return HistoryLikelihood.of(rows, pooled, factors, self.trials.participants)

    def predict(
        self, table: TrialTable, codes: np.ndarray, by: Literal["equations", "rnn"] = "equations"
    ) -> HistoryPrediction:
        """Predict the choices of a table, except the first of each block where nothing was shown, and forced ones.

        Parameters
        ----------
        table : TrialTable
            Trials with the same actions (unless these are items), roles and scaling as the fit's own.
        codes : int ndarray
            The fit's code of each participant of the table, below 0 for those that it does not know: they are
            predicted by the whole population, integrated over its weights, and nothing is learned from their choices.
        by : {"equations", "rnn"}, default "equations"
            "rnn": by `network`, which adds to the equations.
        """
        pooled, data = self.pooled, pack_table(table, self.pooled.reward_size)
        rows = pooled.rows(data)
        known = codes[rows.person]
        probabilities = predict_mixed(rows, known, pooled.predict, pooled.predict_new)
        if by == "rnn":
            probabilities = self.network.predict(data, probabilities, known)
        row = frame_rows(table, rows.session, rows.trial)
        return HistoryPrediction(in_actions(table, row, probabilities), row)

    def _own_files(self) -> dict[str, bytes]:
        own = pack_pooled(self.pooled, {str(name): values.tolist() for name, values in self.scores.items()})
        network = pack_network(self.network) if self._is_trained else {}
        return own | network

    def with_network(self, network: StateNetwork) -> HistoryFit:
        """Return the same fit with a network that was trained already."""
        there = replace(self)
        # where `cached_property` keeps it
        there.__dict__["network"] = network
        return there

    @property
    def _is_trained(self) -> bool:
        return "network" in self.__dict__

    def __repr__(self) -> str:
        return screen("\n".join(self._described()), "glance() and tidy()")

    def _repr_html_(self) -> str:
        title, *notes = self._described()
        columns = ["participant", "term", "estimate", "std_error", "pooled", "pooled_sd", "shared"]
        return html_block(title, notes, self.coefficients.frame[columns])

    def _described(self) -> list[str]:
        """Return sizes, states and scores, a line each."""
        glance, names = self.glance().iloc[0], self.pooled.names
        own, shared = names[: self.pooled.n_own], names[self.pooled.n_own :]
        return [
            f"HistoryFit: {self.coefficients.counted}, {glance['nobs']} choices among {shortlist(self.trials.actions)}",
            str(self.trials.record["reward_note"]),
            f"weights of each person: {', '.join(own) or 'none'}",
            f"weights of the population: {', '.join(shared) or 'none'}",
            f"NLL per choice: history {glance['nll_history']:.4f}; choice shares {glance['nll_shares']:.4f}, "
            f"guessing {glance['nll_guessing']:.4f}",
            *(
                []
                if math.isnan(glance["nll_left_out"])
                else [f"blocks left out, about: history {glance['nll_left_out']:.4f}; exactly, with others: ladder()"]
            ),
            *(
                [
                    f"the same for the network: {self.network.nll:.4f}, where the equations reach "
                    f"{self.network.nll_equations:.4f}"
                ]
                if self._is_trained
                else []
            ),
            *([] if self.pooled.converged else ["note: the estimation of the population did not converge"]),
            *(f"note: {text}" for text in self.contradictions),
        ]


def fit_history(table: TrialTable, seed: int = 0, progress: Progress | None = None) -> HistoryFit:
    """Choose states by left-out blocks and estimate their weights.

    Parameters
    ----------
    table : TrialTable
        Rewards are used as they stand in its frame.
    seed : int, default 0
        Recorded only: nothing in this fit is random.
    progress : callable, optional
        Called with (stage, done, total, message); stages are equations and refit.

    Raises
    ------
    DataError
        Too few people have two choices in a block.

    Warns
    -----
    ConvergenceWarning
        The estimation of the population did not converge.
    ContradictionWarning
        The states predict worse than nothing.
    """
    report = progress or silent
    data = pack_table(table)
    _check_people(data)
    report("equations", 0, 1, "searching states")
    chosen = choose_states(data)
    report("equations", 1, 1, f"{len(chosen.states)} states")
    last = chosen.path[-1].fit
    start = last if len(last.posterior.mode) == table.n_participants else None
    report("refit", 0, 1, "estimating weights")
    pooled = fit_pooled(data, chosen.states, chosen.n_own, start=start)
    report("refit", 1, 1, "")
    fit = assemble_history(table, data, pooled, chosen.path[-1].left_out, seed)
    if not pooled.converged:
        warn_user("the estimation of the population's weights did not converge.", ConvergenceWarning)
    for text in fit.contradictions:
        warn_user(text + ".", ContradictionWarning)
    return fit


def history_on(fit: HistoryFit, table: TrialTable, n_new: int) -> HistoryFit:
    """Estimate people's weights from other trials, with the states and the population of a fit."""
    data = pack_table(table, fit.pooled.reward_size)
    # no block was left out here
    found = assemble_history(table, data, for_people(fit.pooled, data), math.nan, fit.coefficients.info["seed"])
    info = {**found.coefficients.info, "updated": {"n_new": n_new, "n_known": table.n_participants - n_new}}
    return replace(found, coefficients=replace(found.coefficients, info=info))


def play_history(fit: HistoryFit, task: Task, n_trials: int, n_blocks: int, rng: np.random.Generator) -> Played:
    """Let everybody play blocks of a task by their pooled weights, a person's blocks next to each other.

    The largest reward of the task is 1 by size, as that of the fit's data is to the weights.
    """
    pooled = fit.pooled
    weights = np.repeat(pooled.pooled, n_blocks, axis=0)
    return play_states(pooled.states, weights, task, fit.trials.n_actions, n_trials, rng)


def unit_factors(states: Sequence[State], reward_size: float) -> np.ndarray:
    """By what weights are multiplied to be those of the unit of the data, (K,): per unit and degree of reward.

    Examples
    --------
    >>> from spicestat.pooled.states import state
    >>> unit_factors([state("last"), state(("rewarded", 0.5)), state("last", ("reward_rate", 0.5))], 25.0).tolist()
    [1.0, 0.04, 0.04]
    """
    degrees = [sum(signal.kind in _IN_REWARD_UNIT for signal in declared.signals) for declared in states]
    return np.asarray(reward_size ** -np.array(degrees, dtype="float64"))


def check_plain(table: TrialTable) -> None:
    """Refuse what this model has no use for.

    Raises
    ------
    ConfigError
        The table has response times or additional inputs.
    """
    for role, name in (("rt", "response times"), ("inputs", "additional inputs")):
        given = table.record["columns"].get(role)
        if given:
            raise ConfigError(f"the model 'history' has no use for {name}", got=given, do=f"leave {role} out")


def _check_people(data: Sessions) -> None:
    able = len(np.unique(data.person[(data.choice >= 0).sum(axis=0) > 1]))
    if able < _LEAST_PEOPLE:
        raise DataError(
            "too few people to learn what a population does: the model 'history' pools them",
            got=f"{able} with two or more choices in a block",
            allowed=f"{_LEAST_PEOPLE} or more",
            do='pass model="choice", which estimates everybody alone',
        )


def assemble_history(table: TrialTable, data: Sessions, pooled: PooledFit, left_out: float, seed: int) -> HistoryFit:
    """Put a fit together from its trials and pooled weights; ``left_out`` is the log-likelihood of left-out choices."""
    rows = pooled.rows(data)
    made = pooled.predict(rows)[np.arange(len(rows.choice)), rows.choice]
    nll = {"history": float(-np.log(made).mean())}
    nll |= choice_shares_nll(rows.person, rows.choice, table.n_participants, data.n_actions, rows.offered)
    nll["left_out"] = -left_out / len(made)
    scores = pd.DataFrame({"model": list(nll), "nll": list(nll.values()), "n_trials": len(made)})
    info = fit_info(table, "history", seed, "population")
    return HistoryFit(table, pooled, lay_out_weights(table, pooled, info), scores)


def lay_out_weights(table: TrialTable, pooled: PooledFit, info: Mapping[str, Any]) -> CoefficientTable:
    """Lay everybody's weights out as a coefficient table, in the unit of the data."""
    factors, n_own = unit_factors(pooled.states, pooled.reward_size), pooled.n_own
    n_people, n_states = pooled.pooled.shape
    estimate, std_error = (np.tile(values, (n_people, 1)) for values in (pooled.mean, pooled.std_error))
    estimate[:, :n_own], std_error[:, :n_own] = pooled.own.estimate, pooled.own.std_error
    covariance = np.full((n_people, n_states, n_states), np.nan)
    covariance[:, :n_own, :n_own] = pooled.own.covariance
    covariance[:, n_own:, n_own:] = pooled.mean_covariance[n_own:, n_own:]
    estimate, std_error = estimate * factors, std_error * factors
    # where there are several kinds of people, their shared weights differ a little: what is shown is their mean
    mean, sd = pooled.pooled.copy(), pooled.pooled_sd.copy()
    mean[:, n_own:], sd[:, n_own:] = pooled.mean[n_own:], pooled.std_error[n_own:]
    columns = {
        "pooled": mean * factors,
        "pooled_sd": sd * factors,
        "selected": np.full(estimate.shape, True),
        "shared": np.tile(np.arange(n_states) >= n_own, (n_people, 1)),
        "converged": np.full(estimate.shape, True),
        "at_bound": np.isnan(estimate),
    }
    terms = [(BETA, name) for name in pooled.names]
    covariance = covariance * np.outer(factors, factors)
    return lay_out(table, terms, estimate, std_error, covariance, pooled.n_choices, info, columns)
