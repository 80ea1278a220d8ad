"""Simulated studies: participants are drawn from a fitted distribution, play, and are estimated and analysed."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from spicestat.agents.simulation import simulate_model
from spicestat.coefficients import refuse_occasions
from spicestat.equations.estimate.refit import refit
from spicestat.equations.structure.equation_set import BETA, FREE, EquationSet
from spicestat.errors import ConfigError, DataError, NumericalError, SpicestatWarning
from spicestat.fit.api import SpiceFit
from spicestat.fit.fitted_model import FittedModel
from spicestat.fit.table import lay_out_refit
from spicestat.group.api import spice_group
from spicestat.group.inputs.links import find_link
from spicestat.group.methods.multivariate_meta import multivariate_meta_regression
from spicestat.group.result import GroupResult
from spicestat.models.base import BaseRNN
from spicestat.trials.reading import read_trials
from spicestat.trials.sequences import SequenceDataset
from spicestat.trials.table import TrialTable, describe_blocks

__all__ = ["Population", "Simulator", "StudyPlan", "fitted_population", "simulate_studies", "stable_equations"]

Simulator = Callable[[BaseRNN, EquationSet, int, int, int], pd.DataFrame]
"""Takes model, equations of N participants, trials per block, blocks and a seed; gives a table of their trials."""

_COVARIATE = "covariate"
_NUMBERS = ("estimate", "std_error", "p_value", "conf_low", "conf_high")


@dataclass(frozen=True, eq=False)
class Population:
    """Normal distribution of K free coefficients over participants, linked, in the unit of the data.

    Attributes
    ----------
    terms : tuple of (module, term), length K
    mean : ndarray of shape (K,)
    covariance : ndarray of shape (K, K)
    links : tuple of str, length K
    """

    terms: tuple[tuple[str, str], ...]
    mean: np.ndarray
    covariance: np.ndarray
    links: tuple[str, ...]

    def draw(self, rng: np.random.Generator, shift: np.ndarray) -> np.ndarray:
        """Draw coefficients (N, K) on the natural scale, with means shifted by ``shift`` (N, K) on the link scale."""
        values, vectors = np.linalg.eigh(self.covariance)
        noise = rng.normal(size=shift.shape) * np.sqrt(values.clip(0.0)) @ vectors.T
        linked = self.mean + shift + noise
        columns = [find_link(name).to_natural(linked[:, k]) for k, name in enumerate(self.links)]
        return np.stack(columns, axis=1)


@dataclass(frozen=True, eq=False)
class StudyPlan:
    """What all simulated studies have in common."""

    model: FittedModel
    population: Population
    position: int
    covariate: str
    n_blocks: int
    environment: Any
    simulate: Simulator | None
    n_actions: int
    counterfactual: bool
    method: str
    group_settings: dict[str, Any]


def fitted_population(fit: SpiceFit, group: GroupResult | None = None) -> Population:
    """Return how a fit's free coefficients are distributed over participants.

    Parameters
    ----------
    fit : SpiceFit
        With one structure for everybody.
    group : GroupResult, optional
        Takes the place of a multivariate random-effects meta-analysis of the fit's identified participants.

    Raises
    ------
    ConfigError
        Structures differ between participants, or the group model lacks a coefficient.
    DataError
        Too few participants are identified.
    """
    refuse_occasions(fit.coefficients, "a population of simulated participants")
    equations, result = fit.model.equations, fit.model.refit
    if (equations.status != equations.status[0]).any():
        raise ConfigError(
            "participants have different equations, which have no common distribution",
            do="fit with structure='population'",
        )
    free = np.flatnonzero(equations.status[0] == FREE)
    terms = tuple(equations.terms[position] for position in free)
    if group is not None:
        return _group_population(group, terms)
    known = result.converged & ~result.unidentified & ~result.at_bound.any(axis=1)
    if known.sum() < max(4, len(free) + 2):
        raise DataError(
            "too few participants are identified to know how coefficients are distributed",
            got=f"{int(known.sum())} of {len(known)}",
            do="pass group=spice_group(fit, '~ 1', method=...), or a fit with more trials",
        )
    factors = fit.model.unit_factors[free]
    V = result.covariance[known][:, free[:, None], free] * np.outer(factors, factors)
    estimates = equations.coefficients[known][:, free] * factors
    found = multivariate_meta_regression(estimates, V, np.ones((int(known.sum()), 1)))
    return Population(terms, found.beta[:, 0], found.sigma, ("identity",) * len(terms))


def _group_population(group: GroupResult, terms: tuple[tuple[str, str], ...]) -> Population:
    """Read means, standard deviations and, where there are some, correlations off a group model."""
    if group.design is None:
        raise ConfigError("the group model does not say who it is about", do="pass a result of spice_group")
    names, table = list(group.design.names), group.coefficients
    # the mean over the participants of the group model, whatever its covariates are
    average = group.design.matrix.mean(axis=0)
    mean, sd, correlation = np.full(len(terms), np.nan), np.full(len(terms), np.nan), np.eye(len(terms))
    for position, (module, term) in enumerate(terms):
        rows = table[(table["module"] == module) & (table["sparse_term"] == term)]
        gamma = rows[rows["effect"] == "fixed"].set_index("term")["estimate"]
        if set(gamma.index) & set(names):
            # a covariate may have no effect on some coefficients
            mean[position] = average @ gamma.reindex(names).fillna(0.0).to_numpy()
        spread = rows[(rows["effect"] == "ran_pars") & (rows["group"] == "participant")].set_index("term")["estimate"]
        sd[position] = spread.get("sd__(Intercept)", np.nan)
        for other, pair in enumerate(terms):
            known = spread.get(f"cor__(Intercept).{':'.join(pair)}", np.nan)
            if np.isfinite(known):
                correlation[position, other] = correlation[other, position] = known
    missing = [terms[position] for position in np.flatnonzero(~np.isfinite(mean + sd))]
    if missing:
        raise ConfigError(
            "the group model has no mean or no standard deviation between participants of some coefficients",
            got=missing,
            do="pass group=spice_group(fit, '~ 1') of all coefficients, or leave group out",
        )
    links = tuple(group.links.get(term, "identity") for term in terms)
    return Population(terms, mean, correlation * np.outer(sd, sd), links)


def simulate_studies(
    plan: StudyPlan, n: int, n_trials: int, effect: float, studies: Sequence[int], seed: Sequence[int]
) -> list[dict[str, Any]]:
    """Simulate some studies of one design, estimate all their participants together, and analyse each.

    Parameters
    ----------
    plan : StudyPlan
    n, n_trials : int
        Participants of a study, and trials of each.
    effect : float
        Of the covariate, on the link scale.
    studies : sequence of int
        Their numbers.
    seed : sequence of int
        Seed of everything that is drawn.
    """
    rng = np.random.default_rng(list(seed))
    covariates = [_drawn_covariate(plan.covariate, n, rng) for _ in studies]
    x = np.concatenate(covariates)
    labels = [f"p{number}" for number in range(len(x))]
    design = {"n_participants": n, "n_trials": n_trials, "effect": effect}
    with warnings.catch_warnings():
        # what they say is counted in the columns
        warnings.simplefilter("ignore", SpicestatWarning)
        together = _simulated_fit(plan, x, labels, n_trials, effect, rng)
        rows = []
        for number, study in enumerate(studies):
            own = slice(number * n, (number + 1) * n)
            people = pd.DataFrame({"participant": labels[own], _COVARIATE: x[own]})
            rows.append(design | {"study": study} | _analysed(plan, _of_participants(together, labels[own]), people))
    return rows


def _drawn_covariate(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=n) if kind == "continuous" else rng.permutation(np.arange(n) % 2).astype("float64")


def _analysed(plan: StudyPlan, fit: SpiceFit | None, people: pd.DataFrame) -> dict[str, Any]:
    """Run the group analysis of one study; what it cannot say is NaN."""
    row: dict[str, Any] = dict.fromkeys(_NUMBERS, np.nan)
    row |= {"converged": False, "share_unidentified": np.nan, "same_scale": True, "message": ""}
    if fit is None:
        return row | {"message": "all participants made the same choice throughout"}
    try:
        result = spice_group(fit, f"~ {_COVARIATE}", data=people, method=plan.method, **plan.group_settings)
    except (DataError, NumericalError) as error:
        return row | {"message": str(error)}
    module, term = plan.population.terms[plan.position]
    table = result.tidy()
    rows = table[(table["module"] == module) & (table["sparse_term"] == term) & (table["term"] == _COVARIATE)]
    if not len(rows):
        return row | {"message": "left out of the group model"}
    found = rows.iloc[0]
    glance = result.glance()
    own = glance[(glance["module"] == module) & (glance["sparse_term"] == term)]
    about = (own if len(own) else glance).iloc[0]
    row |= {name: float(found[name]) for name in _NUMBERS}
    row |= {"converged": bool(about["converged"]), "share_unidentified": float(about["share_unidentified"])}
    return row | {"same_scale": result.links.get((module, term), "identity") == plan.population.links[plan.position]}


def _simulated_fit(
    plan: StudyPlan, x: np.ndarray, labels: list[str], n_trials: int, effect: float, rng: np.random.Generator
) -> SpiceFit:
    """Draw participants with covariates ``x``, let them play, and estimate their coefficients."""
    factors = plan.model.unit_factors
    equations = _repeated(plan.model.equations, plan.population, len(x), factors)
    shift = np.zeros((len(x), len(plan.population.terms)))
    shift[:, plan.position] = effect * (x if plan.covariate == "continuous" else x - 0.5)
    true = stable_equations(plan.model.network, _inserted(equations, plan.population.draw(rng, shift), factors))
    table = _played(plan, true, labels, n_trials, int(rng.integers(2**31)))
    model = plan.model.with_participants(np.full(table.n_participants, -1))
    start = _repeated(equations, plan.population, table.n_participants, factors)
    # all start from the same values, so that their median would only repeat the first start
    starts: list[np.ndarray] | None = None if model.network.starts else []
    found = refit(model.network, SequenceDataset.from_trials(table), start, starts)
    return _fit_of(table, model.with_refit(found))


def _fit_of(table: TrialTable, model: FittedModel) -> SpiceFit:
    result = model.refit
    free = (result.equations.status == FREE).astype("float64")
    info = {"model": type(model.network).__name__}
    coefficients = lay_out_refit(table, result, free, info, model.unit_factors)
    scores = pd.DataFrame({"model": ["refit"], "nll": [result.nll], "n_trials": [int(result.n_trials.sum())]})
    return SpiceFit(table, model, coefficients, scores)


def _of_participants(fit: SpiceFit, labels: list[str]) -> SpiceFit | None:
    """Return the fit of some participants; those with unusable choices are not in it."""
    table = fit.trials
    codes = np.flatnonzero([label in set(labels) for label in table.participants])
    if not len(codes):
        return None
    rows = np.isin(table.frame["participant"].to_numpy(), codes)
    frame = table.frame[rows].reset_index(drop=True)
    kept, block = np.unique(frame["block"].to_numpy(), return_inverse=True)
    frame = frame.assign(participant=np.searchsorted(codes, frame["participant"]), block=block.astype("int64"))
    part = replace(
        table,
        frame=frame,
        participants=tuple(table.participants[code] for code in codes),
        blocks=describe_blocks(frame, table.blocks["label"].iloc[kept].tolist()),
        people=table.people.iloc[codes].reset_index(drop=True),
        rows=table.rows[rows],
    )
    return _fit_of(part, fit.model.with_participants(codes))


def _repeated(equations: EquationSet, population: Population, n: int, factors: np.ndarray) -> EquationSet:
    """Equations of N participants at the population's mean."""
    status = np.repeat(equations.status[:1], n, axis=0)
    blank = EquationSet(equations.libraries, equations.states, np.zeros(status.shape), status)
    at_mean = [
        float(find_link(name).to_natural(np.array(value)))
        for name, value in zip(population.links, population.mean, strict=True)
    ]
    return blank.with_coefficients(_inserted(blank, np.tile(at_mean, (n, 1)), factors).coefficients)


def _inserted(equations: EquationSet, values: np.ndarray, factors: np.ndarray) -> EquationSet:
    """Equations with free coefficients (N, K) in the unit of the data, which ``factors`` (all terms) led to."""
    coefficients, free = equations.coefficients.copy(), np.flatnonzero(equations.status[0] == FREE)
    coefficients[:, free] = values / factors[free]
    return equations.with_coefficients(coefficients)


def stable_equations(model: BaseRNN, equations: EquationSet) -> EquationSet:
    """Keep own states from growing without bound, inverse temperatures from changing sign, and constants in bounds."""
    limited = equations.coefficients.copy()
    for name, (low, high) in model.bounds.items():
        position = equations.terms.index((BETA, name))
        limited[:, position] = limited[:, position].clip(low, high)
    limited[:, equations.own_state] = limited[:, equations.own_state].clip(-1.0, 1.0)
    is_beta = np.array([module == BETA for module, _ in equations.terms])
    mean_sign = np.sign(np.median(limited, axis=0))
    wrong = is_beta & (np.sign(limited) == -mean_sign)
    return equations.with_coefficients(np.where(wrong, 0.0, limited))


def _played(plan: StudyPlan, equations: EquationSet, labels: list[str], n_trials: int, seed: int) -> TrialTable:
    model = plan.model.with_participants(np.full(len(labels), -1)).network
    per_block = n_trials // plan.n_blocks
    if plan.simulate is None:
        played = simulate_model(model, equations, plan.environment, per_block, plan.n_blocks, seed=seed, labels=labels)
        frame = played.trials
    else:
        frame = plan.simulate(model, equations, per_block, plan.n_blocks, seed)
        frame = frame.assign(participant=np.array(labels, dtype=object)[frame["participant"].to_numpy(dtype="int64")])
    every = [f"reward_{action}" for action in range(1, plan.n_actions + 1)]
    counterfactual = plan.counterfactual and set(every) <= set(frame)
    return read_trials(
        frame,
        reward=every if counterfactual else "reward",
        rt="rt" if "rt" in frame else None,
        block="block",
        trial="trial",
        actions=range(1, plan.n_actions + 1),
        covariates=[],
    )
